//! A frozen policy, and the same in a run.

use crate::told::Told;
use crate::{exception, json};
use lrpilot_core::generalist::{Generalist, NEWEST};
use lrpilot_core::schedule::{RunningSchedule, ScheduleState};
use lrpilot_core::{Decision, Error, Group, Measurement, OptimizerFamily, RunSpec, Schedule};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::Path;

/// The names of the policies that come with lrpilot, the newest first.
#[pyfunction]
pub fn pretrained_names() -> Vec<&'static str> {
    let older = Generalist::names().filter(|name| *name != NEWEST);
    std::iter::once(NEWEST).chain(older).collect()
}

/// The content of the file of a policy that comes with lrpilot.
#[pyfunction]
pub fn pretrained_file<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, Generalist::pretrained_file(name).map_err(exception)?))
}

/// A frozen policy, from the content of a policy file.
#[pyclass(frozen, module = "lrpilot._native")]
pub struct Policy {
    schedule: Schedule,
}

#[pymethods]
impl Policy {
    /// Read the content of a policy file; `place` is for messages.
    #[new]
    fn new(data: &[u8], place: &str) -> PyResult<Self> {
        Ok(Policy { schedule: Schedule::from_bytes(data, Path::new(place)).map_err(exception)? })
    }

    /// Start a run. `groups` holds size, ‖w‖ and ‖g‖ of each group of parameters before the first step.
    #[pyo3(signature = (total, optimizer, groups, *, momentum=0.0, bounds=None, steps=None, examples=None,
        batch_size=None, free=false, train_loss=None, val_loss=None, lr=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn start(
        &self,
        total: usize,
        optimizer: &str,
        groups: Vec<(usize, f64, f64)>,
        momentum: f64,
        bounds: Option<(f64, f64)>,
        steps: Option<u64>,
        examples: Option<u64>,
        batch_size: Option<u64>,
        free: bool,
        train_loss: Option<f64>,
        val_loss: Option<f64>,
        lr: Option<f64>,
    ) -> PyResult<Run> {
        let names = groups.iter().enumerate().map(|(i, (size, ..))| Group::new(i.to_string(), *size));
        let mut spec = RunSpec::new(total, family(optimizer, momentum).map_err(exception)?, names.collect());
        spec.lr_bounds = bounds.unwrap_or(spec.lr_bounds);
        spec.facts.steps = steps;
        spec.facts.examples = examples;
        spec.facts.batch_size = batch_size;
        spec.facts.free_intervals = free;
        let probe = Measurement {
            train_loss,
            val_loss,
            weight_norms: groups.iter().map(|(_, w, _)| *w).collect(),
            grad_norms: groups.iter().map(|(_, _, g)| *g).collect(),
            ..Measurement::default()
        };
        Run::start(self.schedule.clone(), spec, &probe, lr, 0, 0).map_err(exception)
    }

    /// Go on with a run whose state was saved.
    fn resume(&self, state: &str) -> PyResult<Run> {
        let read = |e: serde_json::Error| {
            exception(Error::config("state", e.to_string(), "restore what `state` of a run returned"))
        };
        let (spec, interval, steps, saved): (RunSpec, usize, u64, ScheduleState) =
            serde_json::from_str(state).map_err(read)?;
        let mut run = Run::start(self.schedule.clone(), spec, &Measurement::default(), None, interval, steps)
            .map_err(exception)?;
        run.running.set_state(saved).map_err(exception)?;
        Ok(run)
    }
}

pub fn family(name: &str, momentum: f64) -> Result<OptimizerFamily, Error> {
    match name {
        "sgd" => Ok(OptimizerFamily::Sgd { momentum }),
        "adam" => Ok(OptimizerFamily::Adam),
        "adagrad" => Ok(OptimizerFamily::Adagrad),
        "adadelta" => Ok(OptimizerFamily::Adadelta),
        other => Err(Error::config("family", format!("{other:?}"), "give sgd, adam, adagrad or adadelta")),
    }
}

/// A policy in a run.
#[pyclass(module = "lrpilot._native")]
pub struct Run {
    schedule: Schedule,
    spec: RunSpec,
    running: RunningSchedule,
    /// Intervals and optimizer steps done.
    interval: usize,
    steps: u64,
}

impl Run {
    fn start(
        mut schedule: Schedule,
        spec: RunSpec,
        probe: &Measurement,
        given: Option<f64>,
        interval: usize,
        steps: u64,
    ) -> Result<Self, Error> {
        if let Schedule::Learned { lr, .. } | Schedule::Generalist { lr, .. } = &mut schedule {
            *lr = given;
        }
        let running = schedule.start(&spec, probe)?;
        let set = running.hyperparameters();
        if set.momentum.is_some() || set.weight_decay.is_some() {
            let message = "the policy sets momentum or weight decay, too";
            return Err(Error::config("policy", message, "use one that sets the learning rate alone"));
        }
        Ok(Run { schedule, spec, running, interval, steps })
    }
}

#[pymethods]
impl Run {
    /// The learning rate of step number `i`, from 0, of the coming interval.
    fn lr_at(&self, i: u64) -> f64 {
        self.running.lr_at(i)
    }

    /// After how many optimizer steps the policy wants to decide; `None` where the interval is the caller's.
    fn steps_to_decision(&self) -> Option<u64> {
        self.running.steps_to_decision()
    }

    /// Take in an interval of `steps` optimizer steps and decide on the next one. `losses` are those of its batches as far
    /// as they are known, `grad_sq` Σg² of each group in some of the steps; in its place, `grad_norms` holds norms of whole
    /// gradients. Returns whether to roll back.
    #[pyo3(signature = (steps, *, losses, grad_sq, weight_norms, train_loss=None, val_loss=None, grad_norms=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn observe(
        &mut self,
        steps: u64,
        losses: Vec<f64>,
        grad_sq: Vec<Vec<f64>>,
        weight_norms: Vec<f64>,
        train_loss: Option<f64>,
        val_loss: Option<f64>,
        grad_norms: Option<Vec<f64>>,
    ) -> bool {
        self.interval += 1;
        self.steps += steps;
        let grad_norms = grad_norms.unwrap_or_default();
        let told = Told { losses, grad_sq, weight_norms, train_loss, val_loss, grad_norms };
        let m = told.of_interval(self.spec.groups.len(), self.interval, self.steps);
        self.running.observe(&m) == Decision::RollBack
    }

    /// The last decision as JSON: what it did, and each input of the policy with its value and its influence on the action
    /// against an input of 0. `None` in a run that was resumed, until the next measurement.
    fn explain(&self) -> PyResult<Option<String>> {
        let Some(decided) = self.running.decided() else { return Ok(None) };
        let explained = self.running.explain(&vec![0.0; decided.observation.len()]).map_err(exception)?;
        json(&explained).map(Some)
    }

    /// Let the run have `total` intervals; a number of steps that is known grows alike.
    fn extend(&mut self, total: usize) -> PyResult<()> {
        let mut spec = self.spec.clone();
        let grown = |steps: u64| (steps as f64 * total as f64 / self.spec.horizon as f64).round() as u64;
        spec.horizon = total;
        spec.facts.steps = spec.facts.steps.map(grown);
        let (interval, steps) = (self.interval, self.steps);
        let mut run = Run::start(self.schedule.clone(), spec, &Measurement::default(), None, interval, steps)
            .map_err(exception)?;
        run.running.set_state(self.running.state()).map_err(exception)?;
        *self = run;
        Ok(())
    }

    /// Everything that changes, with the facts of the run, as JSON.
    fn state(&self) -> PyResult<String> {
        json(&(&self.spec, self.interval, self.steps, self.running.state()))
    }
}
