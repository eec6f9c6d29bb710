//! The guard of a training run, for loops in Python.

use crate::exception;
use lrpilot_core::Error;
use lrpilot_core::guard::{self, AuditEvent, GuardConfig, GuardState, Verdict};
use pyo3::prelude::*;

/// Watches the losses of a run. Snapshots are the caller's, and so are the learning rate and the log's file.
#[pyclass(module = "lrpilot._native")]
pub struct Guard {
    inner: guard::Guard,
}

#[pymethods]
impl Guard {
    /// A guard at the start of a run; `settings` is a JSON object with fields of `GuardConfig`.
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let remedy = "give fields of `GuardConfig` of the crate lrpilot-core";
        let config: GuardConfig = read("guard.settings", settings, remedy)?;
        Ok(Guard { inner: guard::Guard::new(config).map_err(exception)? })
    }

    /// Take in one optimizer step: `"healthy"`, `"roll-back"` or `"give-up"`.
    #[pyo3(signature = (step, loss, grad_norm=None))]
    fn step(&mut self, step: u64, loss: f64, grad_norm: Option<f64>) -> &'static str {
        match self.inner.step(step, loss, grad_norm) {
            Verdict::Healthy => "healthy",
            Verdict::RollBack { .. } => "roll-back",
            Verdict::GiveUp { .. } => "give-up",
        }
    }

    /// Factor on the schedule's learning rate, in (0, 1].
    #[getter]
    fn lr_factor(&self) -> f64 {
        self.inner.lr_factor()
    }

    /// Whether the run's state is good enough to be kept as a snapshot.
    #[getter]
    fn is_calm(&self) -> bool {
        self.inner.is_calm()
    }

    /// Tell that a snapshot was taken after `step`; where the answer is `False` it should be thrown away.
    fn snapshot_taken(&mut self, step: u64) -> bool {
        self.inner.snapshot_taken(step)
    }

    /// What happened since the last call, one JSON object each.
    fn drain_events(&mut self) -> Vec<String> {
        self.inner.drain_events().iter().map(AuditEvent::to_json_line).collect()
    }

    /// Everything that changes, as JSON.
    fn state(&self) -> PyResult<String> {
        crate::json(self.inner.state())
    }

    /// Go on from a saved state.
    fn set_state(&mut self, state: &str) -> PyResult<()> {
        let saved: GuardState = read("guard.state", state, "restore what `state` of a guard returned")?;
        self.inner.set_state(saved).map_err(exception)
    }
}

fn read<T: serde::de::DeserializeOwned>(place: &str, text: &str, remedy: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|e| exception(Error::config(place, e.to_string(), remedy)))
}
