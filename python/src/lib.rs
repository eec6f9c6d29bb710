//! The native module of the Python package `lrpilot`: frozen policies at work, environments, and learning on tasks that are
//! written in Python.
//!
//! It knows numbers and no tensors. What a training loop measured comes in as lists, learning rates go out; `lrpilot.torch`
//! and its siblings do the rest.

mod config;
mod elsewhere;
mod environments;
mod guard;
mod learn;
mod lockstep;
mod run;
mod task;
mod told;

use lrpilot::Error;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use serde::Serialize;

pyo3::create_exception!(lrpilot, ConfigError, PyValueError, "A setting that is not in its range.");
pyo3::create_exception!(lrpilot, DataError, PyValueError, "A policy file that is not what it should be.");

/// The exception for an error, whose message names place, value and remedy; of a task in Python it is what that raised.
fn exception(error: impl Into<Error>) -> PyErr {
    let error = error.into();
    let message = error.to_string();
    match error {
        Error::Config { .. } | Error::Usage { .. } => ConfigError::new_err(message),
        Error::Data { .. } => DataError::new_err(message),
        Error::Io { .. } => PyOSError::new_err(message),
        Error::Task { source, .. } => match source.downcast::<PyErr>() {
            Ok(raised) => *raised,
            Err(_) => PyRuntimeError::new_err(message),
        },
        _ => PyRuntimeError::new_err(message),
    }
}

/// A value as JSON.
fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|e| exception(Error::Bug(format!("a value as JSON: {e}"))))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("ConfigError", module.py().get_type::<ConfigError>())?;
    module.add("DataError", module.py().get_type::<DataError>())?;
    module.add("PanicException", module.py().get_type::<pyo3::panic::PanicException>())?;
    module.add_function(wrap_pyfunction!(run::pretrained_names, module)?)?;
    module.add_function(wrap_pyfunction!(run::pretrained_file, module)?)?;
    module.add_function(wrap_pyfunction!(learn::learn, module)?)?;
    module.add_function(wrap_pyfunction!(elsewhere::do_parts, module)?)?;
    module.add_class::<environments::Environments>()?;
    module.add_class::<guard::Guard>()?;
    module.add_class::<run::Policy>()?;
    module.add_class::<run::Run>()?;
    module.add_class::<task::Hyperparameters>()
}
