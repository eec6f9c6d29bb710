//! Environments side by side, for Gymnasium: arrays go in and out as bytes, in the machine's order.

use crate::config::{formulation, with_settings};
use crate::exception;
use lrpilot::env::{Env as _, Info, LrEnv, Space, Step};
use lrpilot::run::StopFlag;
use lrpilot::task::ConfiguredTask;
use lrpilot::{Error, Result, RunConfig, TaskSource};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use rayon::prelude::*;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often signals are looked for while environments step.
const POLL: Duration = Duration::from_millis(50);
/// Most environments in one object.
const MAX_COUNT: usize = 100_000;

type Bounds = (Vec<f32>, Vec<f32>);
/// Observations `[environment][entry]` (f32), rewards (f64), terminations and truncations (u8), and
/// `[environment][field of Info]` (f64).
type Arrays<'py> = (
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
);

/// Environments of one task, which is loaded once.
#[pyclass(frozen, module = "lrpilot._native")]
pub struct Environments {
    /// Empty while a call is under way.
    envs: Mutex<Vec<LrEnv>>,
    count: usize,
    actions: usize,
    observation_bounds: Bounds,
    action_bounds: Bounds,
}

/// What one environment is to do.
enum Order {
    Reset(u64),
    Step(Vec<f32>),
}

#[pymethods]
impl Environments {
    /// `count` environments of the preset `task`, with `settings` such as `task.horizon=10`. `data` is the folder of the
    /// data sets, for presets that need one.
    #[new]
    fn new(
        py: Python<'_>,
        task: &str,
        count: usize,
        formulation: &str,
        settings: Vec<String>,
        data: Option<PathBuf>,
    ) -> PyResult<Self> {
        py.detach(|| Environments::make(task, count, formulation, &settings, data)).map_err(exception)
    }

    /// Lowest and highest value of each entry of an observation.
    #[getter]
    fn observation_bounds(&self) -> Bounds {
        self.observation_bounds.clone()
    }

    /// Lowest and highest value of each entry of an action.
    #[getter]
    fn action_bounds(&self) -> Bounds {
        self.action_bounds.clone()
    }

    /// Begin an episode in each environment; returns the first observations.
    fn reset<'py>(&self, py: Python<'py>, seeds: Vec<u64>) -> PyResult<Bound<'py, PyByteArray>> {
        let steps = self.carry_out(py, seeds.into_iter().map(Order::Reset).collect())?;
        Ok(observations(py, &steps))
    }

    /// One step of each environment with its part of `actions` (f32); an environment that is given a seed begins an episode
    /// instead, with the reward 0.
    fn step<'py>(&self, py: Python<'py>, actions: &[u8], seeds: Vec<Option<u64>>) -> PyResult<Arrays<'py>> {
        let size = size_of::<f32>();
        if actions.len() != seeds.len() * self.actions * size {
            let message = format!("{} bytes for {} environments", actions.len(), seeds.len());
            let remedy = format!("give {} float32 for each", self.actions);
            return Err(exception(Error::config("actions", message, remedy)));
        }
        let number = |b: &[u8]| f32::from_ne_bytes(b.try_into().unwrap_or_default());
        let orders = actions.chunks_exact(self.actions * size).zip(seeds).map(|(action, seed)| match seed {
            Some(seed) => Order::Reset(seed),
            None => Order::Step(action.chunks_exact(size).map(number).collect()),
        });
        let steps = self.carry_out(py, orders.collect())?;
        let flags =
            |of: fn(&Step) -> bool| PyByteArray::new(py, &steps.iter().map(|s| u8::from(of(s))).collect::<Vec<_>>());
        Ok((
            observations(py, &steps),
            doubles(py, steps.iter().map(|s| s.reward)),
            flags(|s| s.terminated),
            flags(|s| s.truncated),
            doubles(py, steps.iter().flat_map(|s| columns(&s.info))),
        ))
    }
}

impl Environments {
    fn make(
        task: &str,
        count: usize,
        formulation_name: &str,
        settings: &[String],
        data: Option<PathBuf>,
    ) -> Result<Self> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Error::config("count", count.to_string(), format!("give 1 to {MAX_COUNT} environments")));
        }
        let config = with_settings(&RunConfig::preset(task, formulation(formulation_name)?)?, settings)?;
        let source: Arc<dyn TaskSource> = Arc::new(ConfiguredTask::new(&config.task, data.as_deref())?);
        let parts = config.env.parts(source.spec())?;
        let make = |_| LrEnv::new(Arc::clone(&source), parts.clone());
        let envs = (0..count).map(make).collect::<Result<Vec<_>>>()?;
        let (observation_bounds, action_bounds) =
            (bounds(&envs[0].observation_space()), bounds(&envs[0].action_space()));
        let actions = action_bounds.0.len();
        Ok(Environments { envs: Mutex::new(envs), count, actions, observation_bounds, action_bounds })
    }

    /// Let each environment do what is asked of it. One alone does so in this thread, which may be in a process that was
    /// forked; several do so in the thread pool while this thread looks for signals.
    fn carry_out(&self, py: Python<'_>, orders: Vec<Order>) -> PyResult<Vec<Step>> {
        if orders.len() != self.count {
            let message = format!("{} values for {} environments", orders.len(), self.count);
            return Err(exception(Error::config("count", message, "give one for each environment")));
        }
        let mut envs = std::mem::take(&mut *self.envs.lock().unwrap_or_else(PoisonError::into_inner));
        if envs.is_empty() {
            return Err(PyRuntimeError::new_err("the environments are in use by another thread; give each its own"));
        }
        let (envs, steps) = if self.count == 1 {
            py.detach(|| {
                let steps = all(&mut envs, orders, &StopFlag::new());
                (envs, Ok(steps))
            })
        } else {
            on_pool(py, envs, move |envs, stop| all(envs, orders, stop))?
        };
        *self.envs.lock().unwrap_or_else(PoisonError::into_inner) = envs;
        steps?.map_err(exception)
    }
}

/// Carry out one order in each environment; the first error, by environment, is that of all.
fn all(envs: &mut [LrEnv], orders: Vec<Order>, stop: &StopFlag) -> Result<Vec<Step>> {
    let one = |(env, order): (&mut LrEnv, Order)| match order {
        _ if stop.is_set() => Err(Error::interrupted()),
        Order::Step(action) => env.step(&action),
        Order::Reset(seed) => env.reset(seed).map(|observation| Step {
            observation,
            reward: 0.0,
            terminated: false,
            truncated: false,
            info: Info::default(),
        }),
    };
    if envs.len() == 1 {
        return envs.iter_mut().zip(orders).map(one).collect();
    }
    let steps: Vec<Result<Step>> = envs.par_iter_mut().zip(orders).map(one).collect();
    steps.into_iter().collect()
}

/// Do `work` in the thread pool. A signal that raises an exception in Python, such as Ctrl-C, asks it to stop.
fn on_pool<T: Send + 'static>(
    py: Python<'_>,
    mut envs: Vec<LrEnv>,
    work: impl FnOnce(&mut [LrEnv], &StopFlag) -> T + Send + 'static,
) -> PyResult<(Vec<LrEnv>, PyResult<T>)> {
    let (stop, (send, receive)) = (StopFlag::new(), channel());
    let asked = stop.clone();
    rayon::spawn(move || {
        let result = work(&mut envs, &asked);
        // Nobody waits any more only if this process is ending.
        let _ = send.send((envs, result));
    });
    py.detach(move || {
        let mut raised = None;
        loop {
            match receive.recv_timeout(POLL) {
                Ok((envs, result)) => return Ok((envs, raised.map_or(Ok(result), Err))),
                Err(RecvTimeoutError::Disconnected) => return Err(PyRuntimeError::new_err("the thread pool ended")),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(error) = Python::attach(|py| py.check_signals()) {
                stop.set();
                raised.get_or_insert(error);
            }
        }
    })
}

fn bounds(space: &Space) -> Bounds {
    match space {
        Space::Box { low, high } => (low.clone(), high.clone()),
        Space::Discrete(n) => (vec![0.0], vec![n.saturating_sub(1) as f32]),
    }
}

fn observations<'py>(py: Python<'py>, steps: &[Step]) -> Bound<'py, PyByteArray> {
    let bytes: Vec<u8> = steps.iter().flat_map(|s| &s.observation).flat_map(|v| v.to_ne_bytes()).collect();
    PyByteArray::new(py, &bytes)
}

fn doubles(py: Python<'_>, values: impl Iterator<Item = f64>) -> Bound<'_, PyByteArray> {
    PyByteArray::new(py, &values.flat_map(f64::to_ne_bytes).collect::<Vec<u8>>())
}

/// In the order in which `lrpilot.gym` names them.
fn columns(info: &Info) -> [f64; 6] {
    let Info { lr, val_loss, train_loss, val_accuracy, rolled_back, diverged } = *info;
    [lr, val_loss, train_loss, val_accuracy, rolled_back as f64, f64::from(u8::from(diverged))]
}
