//! A task that is written in Python, in several copies.
//!
//! The learner trains many networks side by side, each in a thread of its own (`lockstep.rs`). Python is called by one
//! thread alone, with what all copies want at once, so that a task may train them together on one device, and so that its
//! random numbers come in a fixed order.

use crate::lockstep::{self, Ask};
use crate::told::Told;
use lrpilot::task::{load_state, save_state};
use lrpilot::{Error, Measurement, Result, Split, Task, TaskSource, TaskSpec};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The hyperparameters of the coming interval.
#[pyclass(frozen, get_all, module = "lrpilot._native")]
pub struct Hyperparameters {
    /// The learning rate.
    lr: f64,
}

#[pymethods]
impl Hyperparameters {
    #[new]
    fn new(lr: f64) -> Self {
        Hyperparameters { lr }
    }

    fn __repr__(&self) -> String {
        format!("Hyperparameters(lr={})", self.lr)
    }
}

/// The copies, as an object of Python with `reset`, `advance` and perhaps `save`, `load` and `evaluate`.
pub struct Copies {
    object: Py<PyAny>,
    spec: TaskSpec,
    count: usize,
    /// Tasks made outside of the lockstep.
    made: AtomicUsize,
    saves: bool,
    evaluates: bool,
}

/// What Python gave for one copy.
#[derive(Default)]
pub struct Answer {
    reported: Reported,
    state: Vec<u8>,
    loss: f64,
}

/// A measurement as a dictionary of Python says it.
#[derive(Default)]
struct Reported {
    told: Told,
    steps: Option<u64>,
    diverged: bool,
}

impl Copies {
    /// `count` copies in `object`, which `saves` if it has `save` and `load`, and `evaluates` if it has `evaluate`.
    pub fn new(object: Py<PyAny>, spec: TaskSpec, count: usize, saves: bool, evaluates: bool) -> Self {
        Copies { object, spec, count, made: AtomicUsize::new(0), saves, evaluates }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Ask Python for several copies at once. All of them want the same, or there is but one.
    pub fn answer(&self, asks: &[(usize, Ask)]) -> Result<Vec<Answer>> {
        Python::attach(|py| {
            asks.first().map_or(Ok(Vec::new()), |(copy, first)| match first {
                Ask::Reset(_) => self.train(py, "reset", asks),
                Ask::Advance(_) => self.train(py, "advance", asks),
                Ask::Save => {
                    let state = self.call(py, "save", (*copy,))?;
                    let state = state.extract::<Vec<u8>>().map_err(|e| self.failed(e))?;
                    Ok(vec![Answer { state, ..Answer::default() }])
                }
                Ask::Load(state) => {
                    self.call(py, "load", (*copy, PyBytes::new(py, state)))?;
                    Ok(vec![Answer::default()])
                }
                Ask::Evaluate => {
                    let loss = self.call(py, "evaluate", (*copy,))?.extract().map_err(|e| self.failed(e))?;
                    Ok(vec![Answer { loss, ..Answer::default() }])
                }
            })
        })
    }

    /// `reset` or `advance`, with one entry for each copy, `None` for those that are left alone.
    fn train(&self, py: Python<'_>, method: &str, asks: &[(usize, Ask)]) -> Result<Vec<Answer>> {
        let mut arguments: Vec<Bound<'_, PyAny>> = vec![py.None().into_bound(py); self.count];
        for (copy, ask) in asks {
            arguments[*copy] = match ask {
                Ask::Reset(seed) => PyInt::new(py, *seed).into_any(),
                Ask::Advance(lr) => Bound::new(py, Hyperparameters { lr: *lr }).map_err(|e| self.failed(e))?.into_any(),
                _ => return Err(Error::Bug(format!("{method} among other calls"))),
            };
        }
        let list = PyList::new(py, arguments).map_err(|e| self.failed(e))?;
        let answers = self.call(py, method, (list,))?;
        let one = |(copy, _): &(usize, Ask)| {
            let value = answers.get_item(copy).map_err(|e| self.failed(e))?;
            Ok(Answer { reported: self.reported(method, &value)?, ..Answer::default() })
        };
        asks.iter().map(one).collect()
    }

    fn call<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> Result<Bound<'py, PyAny>> {
        self.object.bind(py).call_method1(method, arguments).map_err(|e| self.failed(e))
    }

    fn failed(&self, error: PyErr) -> Error {
        Error::task(&self.spec.name, error)
    }

    /// Read what `reset` or `advance` returned.
    fn reported(&self, method: &str, value: &Bound<'_, PyAny>) -> Result<Reported> {
        let place = format!("{}.{method}", self.spec.name);
        let wrong = |message: String, remedy: &str| Error::config(&place, message, remedy);
        let Ok(entries) = value.cast::<PyDict>() else {
            let message = format!("it returned {}", value.get_type());
            return Err(wrong(message, "return a dictionary such as {\"val_loss\": 0.5}"));
        };
        let mut r = Reported::default();
        for (key, value) in entries {
            let key = key.to_string();
            let unreadable = |e: PyErr| wrong(format!("{key}: {e}"), "see lrpilot.Measurement for what it may be");
            match key.as_str() {
                "losses" => r.told.losses = value.extract().map_err(unreadable)?,
                "grad_sq" => r.told.grad_sq = value.extract().map_err(unreadable)?,
                "weight_norms" => r.told.weight_norms = value.extract().map_err(unreadable)?,
                "train_loss" => r.told.train_loss = value.extract().map_err(unreadable)?,
                "val_loss" => r.told.val_loss = value.extract().map_err(unreadable)?,
                "steps" => r.steps = value.extract().map_err(unreadable)?,
                "diverged" => r.diverged = value.extract().map_err(unreadable)?,
                _ => {
                    return Err(wrong(format!("unknown key {key:?}"), "see lrpilot.Measurement for those it may have"));
                }
            }
        }
        let groups = self.spec.groups.len();
        for norms in r.told.grad_sq.iter().chain(Some(&r.told.weight_norms).filter(|w| !w.is_empty())) {
            if norms.len() != groups {
                let message = format!("norms of {} groups, but the task has {groups}", norms.len());
                return Err(wrong(message, "give one for each entry of spec.groups, or leave norms out"));
            }
        }
        if r.told.losses.is_empty() && r.told.train_loss.is_none() && r.told.val_loss.is_none() {
            return Err(wrong("there is no loss".into(), "give val_loss, train_loss or losses"));
        }
        Ok(r)
    }
}

/// Where the copies come from, for the learner.
pub struct Source(pub Arc<Copies>);

impl TaskSource for Source {
    fn name(&self) -> &str {
        &self.0.spec.name
    }

    fn task(&self, _: u64) -> Result<Box<dyn Task>> {
        let index = lockstep::copy().unwrap_or_else(|| self.0.made.fetch_add(1, Ordering::SeqCst));
        if index >= self.0.count {
            let message = format!("copy {index} of {} is asked for", self.0.count);
            return Err(Error::config(
                "env.initial_lr",
                message,
                "leave out a fixed one: runs start near their anchor",
            ));
        }
        Ok(Box::new(Copy { copies: Arc::clone(&self.0), index, interval: 0, steps: 0, loss: f64::NAN }))
    }

    fn spec(&self) -> &TaskSpec {
        &self.0.spec
    }

    fn identity(&self) -> serde_json::Value {
        identity(&self.0.spec)
    }
}

/// What decides the results of runs on tasks in Python, as far as it is known here.
pub fn identity(spec: &TaskSpec) -> serde_json::Value {
    serde_json::json!({ "python": spec })
}

/// One copy as a task of the learner.
struct Copy {
    copies: Arc<Copies>,
    index: usize,
    interval: usize,
    steps: u64,
    /// The latest loss.
    loss: f64,
}

impl Copy {
    fn ask(&self, ask: Ask) -> Result<Answer> {
        lockstep::ask(&self.copies, self.index, ask)
    }

    fn measured(&mut self, mut m: Measurement, reported: &Reported) -> Measurement {
        m.diverged |= reported.diverged;
        self.loss = m.loss();
        m
    }
}

impl Task for Copy {
    fn spec(&self) -> &TaskSpec {
        &self.copies.spec
    }

    fn reset(&mut self, seed: u64) -> Result<Measurement> {
        let reported = self.ask(Ask::Reset(seed))?.reported;
        (self.interval, self.steps) = (0, 0);
        Ok(self.measured(reported.told.of_probe(), &reported))
    }

    fn advance(&mut self, hyperparameters: &lrpilot::Hyperparameters) -> Result<Measurement> {
        let reported = self.ask(Ask::Advance(hyperparameters.lr))?.reported;
        let spec = &self.copies.spec;
        self.interval += 1;
        self.steps += reported.steps.unwrap_or(spec.steps_per_interval as u64);
        let m = reported.told.of_interval(spec.groups.len(), self.interval, self.steps);
        Ok(self.measured(m, &reported))
    }

    /// Without a method `evaluate` it is the latest loss, whatever the split.
    fn evaluate(&mut self, _: Split) -> Result<(f64, f64)> {
        let loss = if self.copies.evaluates { self.ask(Ask::Evaluate)?.loss } else { self.loss };
        Ok((loss, 0.0))
    }

    /// Of a task that cannot be saved, nothing.
    fn save(&self) -> Result<Vec<u8>> {
        let state = if self.copies.saves { self.ask(Ask::Save)?.state } else { Vec::new() };
        save_state(&self.copies.spec.name, &(state, self.interval, self.steps, self.loss))
    }

    /// A task that cannot be saved stays as it is.
    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (state, interval, steps, loss) = load_state(&self.copies.spec.name, state)?;
        (self.interval, self.steps, self.loss) = (interval, steps, loss);
        if self.copies.saves {
            self.ask(Ask::Load(state))?;
        }
        Ok(())
    }
}
