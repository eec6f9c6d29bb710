//! Learning a policy on a task that is written in Python.

use crate::config::with_settings;
use crate::elsewhere::{Elsewhere, States};
use crate::lockstep::Lockstep;
use crate::run::family;
use crate::task::{Copies, Source};
use crate::{ConfigError, exception};
use lrpilot::env::Formulation;
use lrpilot::limits;
use lrpilot::range;
use lrpilot::record::progress::{Progress, Status};
use lrpilot::run::{Executor, StopFlag};
use lrpilot::{Error, Group, Learned, Learner, Result, RunConfig, RunContext, RunSpec, TaskSource, TaskSpec, learn_in};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// `lrpilot.TaskSpec`, attribute by attribute.
#[derive(FromPyObject)]
pub struct Spec {
    name: String,
    horizon: usize,
    groups: Vec<usize>,
    optimizer: String,
    momentum: f64,
    lr_bounds: (f64, f64),
    interval_steps: usize,
    batch_size: usize,
    examples: Option<usize>,
}

impl Spec {
    /// The same for the learner.
    pub fn checked(self) -> Result<TaskSpec> {
        range::count("spec.horizon", self.horizon, 1, limits::HORIZON)?;
        range::count("spec.interval_steps", self.interval_steps, 1, limits::INTERVAL_STEPS)?;
        range::count("spec.groups: number of groups", self.groups.len(), 1, limits::LAYERS)?;
        range::bounds("spec.lr_bounds", self.lr_bounds)?;
        let groups = self.groups.iter().enumerate().map(|(i, size)| Group::new(i.to_string(), *size));
        let run = RunSpec::new(self.horizon, family(&self.optimizer, self.momentum)?, groups.collect());
        run.check()?;
        Ok(TaskSpec {
            name: self.name,
            groups: run.groups,
            horizon: self.horizon,
            steps_per_interval: self.interval_steps,
            batch_size: self.batch_size,
            examples: self.examples,
            optimizer: run.facts.optimizer,
            chance_loss: None,
            lr_bounds: self.lr_bounds,
            default_lr: 1e-3,
            anchor: run.anchor,
            accepts_momentum: false,
            accepts_weight_decay: false,
            finds_lr: false,
        })
    }
}

/// Learn a policy on `count` copies of a task. `budget` is the number of intervals to train in all; `settings` are as in
/// configuration files. With a function `elsewhere`, the copies here are not trained; it has that done, by
/// [`do_parts`](crate::elsewhere::do_parts). Returns the content of the policy file, and the loss that it was chosen by.
#[pyfunction]
#[pyo3(signature = (copies, spec, count, *, saves, evaluates, budget, seed, folder, settings, progress, elsewhere=None))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub fn learn<'py>(
    py: Python<'py>,
    copies: Py<PyAny>,
    spec: Spec,
    count: usize,
    saves: bool,
    evaluates: bool,
    budget: u64,
    seed: u64,
    folder: Option<PathBuf>,
    settings: Vec<String>,
    progress: Option<Py<PyAny>>,
    elsewhere: Option<Py<PyAny>>,
) -> PyResult<(Bound<'py, PyBytes>, Option<f64>)> {
    let spec = spec.checked().map_err(exception)?;
    if folder.is_some() && !saves {
        return Err(ConfigError::new_err(
            "folder: the task has no save() and load(), so learning cannot go on after an interruption; write them, or leave \
             the folder out and save the policy",
        ));
    }
    let (source, executor): (Arc<dyn TaskSource>, Box<dyn Executor>) = match elsewhere {
        Some(function) => {
            let name = spec.name.clone();
            (Arc::new(States(spec)), Box::new(Elsewhere { function, name }))
        }
        None => {
            let copies = Arc::new(Copies::new(copies, spec, count, saves, evaluates));
            (Arc::new(Source(Arc::clone(&copies))), Box::new(Lockstep(copies)))
        }
    };
    let stop = StopFlag::new();
    let config = planned(&*source, count, budget, seed, &settings).map_err(exception)?;
    let reporter = Reporter::new(progress, &stop, config.planned_epochs());
    let learned = py.detach(|| {
        let context = RunContext { progress: &reporter, stop: &stop, executor: &*executor, ..RunContext::local() };
        match &folder {
            Some(folder) => learn_in(folder, &config, &source, &context),
            None => learn_in_memory(&config, &source, &context),
        }
    });
    reporter.raised()?;
    let learned = learned.map_err(exception)?;
    let file = learned.to_bytes().map_err(exception)?;
    Ok((PyBytes::new(py, &file), learned.provenance().selection_loss))
}

fn planned(source: &dyn TaskSource, count: usize, budget: u64, seed: u64, settings: &[String]) -> Result<RunConfig> {
    let mut config = RunConfig::of_source(source, Formulation::Pilot);
    (config.seed, config.learn.environments) = (seed, count);
    config.set_budget(budget);
    let config = with_settings(&config, settings)?;
    if config.learn.environments != count {
        let message = format!("{} in settings", config.learn.environments);
        return Err(Error::config("learn.environments", message, "give environments= instead"));
    }
    Ok(config)
}

/// [`learn_in`] without files.
fn learn_in_memory(config: &RunConfig, source: &Arc<dyn TaskSource>, context: &RunContext<'_>) -> Result<Learned> {
    let mut learner = Learner::new(config.clone(), Arc::clone(source))?;
    let mut best = f64::NEG_INFINITY;
    while learner.updates_done() < learner.updates_planned() {
        if context.stop.is_set() {
            return Err(Error::interrupted());
        }
        let record = learner.update(context.executor, |epochs| context.progress.advance(epochs))?;
        best = best.max(record.mean_return.unwrap_or(best));
        context.progress.status(Status { current: record.mean_return, best: best.is_finite().then_some(best) });
    }
    learner.select(context.executor, context.stop, |epochs| context.progress.advance(epochs))
}

/// Calls the caller's function after each update. What it raises stops the learning.
struct Reporter<'a> {
    function: Option<Py<PyAny>>,
    stop: &'a StopFlag,
    done: AtomicU64,
    total: u64,
    raised: Mutex<Option<PyErr>>,
}

impl<'a> Reporter<'a> {
    fn new(function: Option<Py<PyAny>>, stop: &'a StopFlag, total: u64) -> Self {
        Reporter { function, stop, done: AtomicU64::new(0), total, raised: Mutex::new(None) }
    }

    fn keep(&self, result: PyResult<()>) {
        if let Err(error) = result {
            self.stop.set();
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    fn raised(&self) -> PyResult<()> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

impl Progress for Reporter<'_> {
    fn advance(&self, epochs: u64) {
        self.done.fetch_add(epochs, Ordering::SeqCst);
    }

    fn status(&self, status: Status) {
        let Some(function) = &self.function else { return };
        let done = self.done.load(Ordering::SeqCst);
        self.keep(Python::attach(|py| function.call1(py, (done, self.total, status.current)).map(|_| ())));
    }

    fn message(&self, text: &str) {
        let warn = |py: Python<'_>| {
            let text = CString::new(text.replace('\0', " "))?;
            PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)
        };
        self.keep(Python::attach(warn));
    }
}
