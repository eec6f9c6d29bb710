//! Learning whose training is done in other processes.
//!
//! Here the learner has its agent and, between rollouts, the saved states of the copies. What is to be trained goes out in
//! parts through a function of Python: a state with the collector, or a trial. [`do_parts`] does them where they arrive. It
//! keeps nothing, so a part that was lost is done again to the same bits.

use crate::config::with_settings;
use crate::exception;
use crate::learn::Spec;
use crate::task::{Copies, Source, identity};
use lrpilot::agent::{Collector, RolloutExecutor, Slot, SlotState, Trajectory};
use lrpilot::env::{Formulation, LrEnv};
use lrpilot::run::{Executor, JobSpec, StopFlag, Trial, run_trial};
use lrpilot::task::{load_state, save_state};
use lrpilot::{Error, Hyperparameters, Measurement, Result, RunConfig, Split, Task, TaskSource, TaskSpec};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// In errors about what is sent.
const PLACE: &str = "elsewhere";

/// Does the learner's work by a function of Python. It is called with what all parts have in common and with the parts, and
/// returns a result for each.
pub struct Elsewhere {
    /// The function, from bytes and a list of bytes to a list of bytes.
    pub function: Py<PyAny>,
    /// Name of the task.
    pub name: String,
}

impl Elsewhere {
    fn done(&self, common: &Option<&Collector>, parts: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let common = save_state(PLACE, common)?;
        let done: Vec<Vec<u8>> = Python::attach(|py| {
            let parts = PyList::new(py, parts.iter().map(|part| PyBytes::new(py, part)))?;
            self.function.call1(py, (PyBytes::new(py, &common), parts))?.extract(py)
        })
        .map_err(|e| Error::task(&self.name, e))?;
        if done.len() != parts.len() {
            return Err(Error::Bug(format!("{} results for {} parts", done.len(), parts.len())));
        }
        Ok(done)
    }
}

impl RolloutExecutor for Elsewhere {
    fn rollouts(
        &self,
        collector: &Collector,
        slots: &mut [Slot],
        on_steps: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Trajectory>> {
        let states = slots.iter().map(|slot| save_state(PLACE, &slot.save()?)).collect::<Result<Vec<_>>>()?;
        let take = |(slot, done): (&mut Slot, Vec<u8>)| {
            let (state, trajectory): (SlotState, Trajectory) = load_state(PLACE, &done)?;
            slot.load(&state)?;
            on_steps(collector.n_steps as u64);
            Ok(trajectory)
        };
        let done = self.done(&Some(collector), &states)?;
        slots.iter_mut().zip(done).map(take).collect()
    }
}

impl Executor for Elsewhere {
    fn trials(
        &self,
        _: &dyn TaskSource,
        jobs: &[&JobSpec],
        stop: &StopFlag,
        sink: &(dyn Fn(usize, Trial) -> Result<()> + Sync),
    ) -> Result<()> {
        if stop.is_set() {
            return Err(Error::interrupted());
        }
        let jobs = jobs.iter().map(to_json).collect::<Result<Vec<_>>>()?;
        let done = self.done(&None, &jobs)?;
        done.iter().enumerate().try_for_each(|(i, trial)| sink(i, from_json(trial)?))
    }

    fn each(&self, count: usize, work: &(dyn Fn(usize) -> Result<()> + Sync)) -> Result<()> {
        (0..count).try_for_each(work)
    }
}

/// Tasks of which only the states are here.
pub struct States(pub TaskSpec);

impl TaskSource for States {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn task(&self, _: u64) -> Result<Box<dyn Task>> {
        Ok(Box::new(State { spec: self.0.clone(), state: Vec::new() }))
    }

    fn spec(&self) -> &TaskSpec {
        &self.0
    }

    fn identity(&self) -> serde_json::Value {
        identity(&self.0)
    }
}

/// The state of a task that is trained elsewhere.
struct State {
    spec: TaskSpec,
    state: Vec<u8>,
}

impl State {
    fn trained<T>(&self) -> Result<T> {
        Err(Error::Bug(format!("the task `{}` is trained elsewhere", self.spec.name)))
    }
}

impl Task for State {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// Only a fixed initial learning rate has the learner begin a run beside its rollouts.
    fn reset(&mut self, _: u64) -> Result<Measurement> {
        Err(Error::config(
            "env.initial_lr",
            format!("a run of `{}` is asked for, which is trained elsewhere", self.spec.name),
            "leave out a fixed one: runs start near their anchor",
        ))
    }

    fn advance(&mut self, _: &Hyperparameters) -> Result<Measurement> {
        self.trained()
    }

    fn evaluate(&mut self, _: Split) -> Result<(f64, f64)> {
        self.trained()
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok(self.state.clone())
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.state = state.to_vec();
        Ok(())
    }
}

/// Do parts of the work of [`learn`](crate::learn::learn), one after the other, with the one copy in `copies`, which has
/// `save` and `load`. `settings` are those of the learning.
#[pyfunction]
#[pyo3(signature = (copies, spec, *, evaluates, settings, common, parts))]
pub fn do_parts<'py>(
    py: Python<'py>,
    copies: Py<PyAny>,
    spec: Spec,
    evaluates: bool,
    settings: Vec<String>,
    common: Vec<u8>,
    parts: Vec<Vec<u8>>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let copies = Copies::new(copies, spec.checked().map_err(exception)?, 1, true, evaluates);
    let source: Arc<dyn TaskSource> = Arc::new(Source(Arc::new(copies)));
    let done = py.detach(|| match load_state(PLACE, &common)? {
        Some(collector) => do_rollouts(&source, &collector, &settings, &parts),
        None => do_trials(&*source, &parts),
    });
    Ok(done.map_err(exception)?.iter().map(|result| PyBytes::new(py, result)).collect())
}

fn do_rollouts(
    source: &Arc<dyn TaskSource>,
    collector: &Collector,
    settings: &[String],
    states: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>> {
    let config = with_settings(&RunConfig::of_source(&**source, Formulation::Pilot), settings)?;
    let parts = config.env.parts(source.spec())?;
    let mut slot = Slot::new(0, Box::new(LrEnv::new(Arc::clone(source), parts)?));
    let mut one = |state: &Vec<u8>| {
        slot.load(&load_state(PLACE, state)?)?;
        let trajectory = collector.collect(&mut slot, &|_| ())?;
        save_state(PLACE, &(slot.save()?, trajectory))
    };
    states.iter().map(&mut one).collect()
}

fn do_trials(source: &dyn TaskSource, jobs: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let mut task = source.task(0)?;
    let mut one = |job: &Vec<u8>| {
        let job: JobSpec = from_json(job)?;
        to_json(&run_trial(&mut *task, &job.schedule, job.seed, job.record)?)
    };
    jobs.iter().map(&mut one).collect()
}

/// Jobs and trials have fields that a format without names cannot leave out.
fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Bug(format!("{PLACE}: a value as JSON: {e}")))
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|e| Error::Bug(format!("{PLACE}: a value from JSON: {e}")))
}
