//! The native module of the Python package `lrpilot`: frozen policies at work.
//!
//! It knows numbers and no tensors. What a training loop measured comes in as lists, learning rates go out; `lrpilot.torch`
//! and its siblings do the rest.

mod guard;
mod run;

use lrpilot_core::Error;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use serde::Serialize;

pyo3::create_exception!(lrpilot, ConfigError, PyValueError, "A setting that is not in its range.");
pyo3::create_exception!(lrpilot, DataError, PyValueError, "A policy file that is not what it should be.");

/// The exception for an error of the core; its message names place, value and remedy.
fn exception(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Config { .. } => ConfigError::new_err(message),
        Error::Data { .. } => DataError::new_err(message),
        Error::Io { .. } => PyOSError::new_err(message),
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
    module.add_class::<guard::Guard>()?;
    module.add_class::<run::Policy>()?;
    module.add_class::<run::Run>()
}
