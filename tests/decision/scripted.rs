//! A task whose measurements are written down beforehand, with a record of what it was asked to do; and the real tasks
//! that the tests share.

use lrpilot::env::{EnvConfig, EnvParts, Formulation, LrEnv};
use lrpilot::task::{
    ConfiguredTask, Preset, QuadraticConfig, Split, SupervisedConfig, Task, TaskConfig, TaskSource, TaskSpec,
};
use lrpilot::{Error, Result};
use lrpilot_core::{AnchorRule, Group, Hyperparameters, Measurement};
use std::sync::{Arc, Mutex};

/// What a scripted task was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Reset(u64),
    Advance(Hyperparameters),
    Save(usize),
    Load(usize),
}

/// The source of a scripted task; all its tasks write to one log.
pub struct Scripted {
    pub probe: Measurement,
    pub intervals: Vec<Measurement>,
    spec: TaskSpec,
    pub log: Arc<Mutex<Vec<Call>>>,
}

/// A measurement with a loss on held-back data, the same in training, and norms of two groups.
pub fn told(interval: usize, loss: f64) -> Measurement {
    Measurement {
        interval,
        train_loss: Some(loss),
        val_loss: Some(loss),
        grad_norms: vec![0.5, 2.0 * loss],
        weight_norms: vec![2.0, 8.0],
        ..Measurement::default()
    }
}

/// A measurement of an interval that diverged.
pub fn diverged(interval: usize) -> Measurement {
    Measurement { diverged: true, ..told(interval, f64::NAN) }
}

/// A measurement of dead units.
pub fn stuck(interval: usize) -> Measurement {
    Measurement { stuck: true, ..told(interval, 2.3) }
}

impl Scripted {
    /// One interval for each measurement after the probe.
    pub fn new(probe: Measurement, intervals: Vec<Measurement>) -> Arc<Self> {
        let spec = TaskSpec {
            name: "scripted".into(),
            groups: vec![Group::new("a", 3), Group::new("b", 5)],
            horizon: intervals.len(),
            steps_per_interval: 1,
            batch_size: 1,
            examples: None,
            optimizer: None,
            chance_loss: None,
            lr_bounds: (1e-6, 1.0),
            default_lr: 1e-3,
            anchor: AnchorRule::WeightOverGradient(1e-2),
            accepts_momentum: true,
            accepts_weight_decay: true,
            finds_lr: false,
        };
        Arc::new(Scripted { probe, intervals, spec, log: Arc::default() })
    }

    /// A script of losses that are held-back and training losses alike; the first is the probe's.
    pub fn losses(losses: &[f64]) -> Arc<Self> {
        Scripted::new(told(0, losses[0]), (1..losses.len()).map(|i| told(i, losses[i])).collect())
    }

    pub fn calls(&self) -> Vec<Call> {
        self.log.lock().unwrap().clone()
    }

    /// The learning rates of the intervals so far.
    pub fn lrs(&self) -> Vec<f64> {
        let lr = |call: Call| if let Call::Advance(h) = call { Some(h.lr) } else { None };
        self.calls().into_iter().filter_map(lr).collect()
    }
}

struct ScriptedTask {
    probe: Measurement,
    intervals: Vec<Measurement>,
    spec: TaskSpec,
    log: Arc<Mutex<Vec<Call>>>,
    /// Intervals advanced; a script goes on after a roll-back, so this is not loaded.
    at: usize,
    /// What stands for the weights: the number of the interval that they come from.
    weights: usize,
}

impl ScriptedTask {
    fn note(&self, call: Call) {
        self.log.lock().unwrap().push(call);
    }
}

impl Task for ScriptedTask {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn reset(&mut self, seed: u64) -> Result<Measurement> {
        self.note(Call::Reset(seed));
        (self.at, self.weights) = (0, 0);
        Ok(self.probe.clone())
    }

    fn advance(&mut self, hyperparameters: &Hyperparameters) -> Result<Measurement> {
        self.note(Call::Advance(*hyperparameters));
        let measured = self.intervals.get(self.at).cloned();
        self.at += 1;
        self.weights = self.at;
        measured.ok_or_else(|| Error::Bug("the script is over".into()))
    }

    fn evaluate(&mut self, _: Split) -> Result<(f64, f64)> {
        Ok((self.weights as f64, 0.0))
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.note(Call::Save(self.weights));
        Ok([self.at, self.weights].iter().flat_map(|v| (*v as u64).to_le_bytes()).collect())
    }

    /// The script goes on where it is within an episode; a task that was not begun takes the saved place.
    fn load(&mut self, state: &[u8]) -> Result<()> {
        let number = |i: usize| u64::from_le_bytes(state[8 * i..8 * i + 8].try_into().unwrap()) as usize;
        self.weights = number(1);
        self.at = self.at.max(number(0));
        self.note(Call::Load(self.weights));
        Ok(())
    }
}

impl TaskSource for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn task(&self, _: u64) -> Result<Box<dyn Task>> {
        let (probe, intervals, spec) = (self.probe.clone(), self.intervals.clone(), self.spec.clone());
        Ok(Box::new(ScriptedTask { probe, intervals, spec, log: self.log.clone(), at: 0, weights: 0 }))
    }

    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn identity(&self) -> serde_json::Value {
        serde_json::json!("scripted")
    }
}

/// The parts of a formulation for the tasks of a source.
pub fn parts(source: &dyn TaskSource, formulation: Formulation) -> EnvParts {
    EnvConfig { formulation, ..EnvConfig::default() }.parts(source.spec()).unwrap()
}

pub fn env<S: TaskSource + 'static>(source: &Arc<S>, parts: &EnvParts) -> LrEnv {
    LrEnv::new(source.clone(), parts.clone()).unwrap()
}

/// Digits with fewer intervals.
pub fn digits(horizon: usize) -> Arc<ConfiguredTask> {
    digits_with(|c| c.horizon = horizon)
}

pub fn digits_with(change: impl Fn(&mut SupervisedConfig)) -> Arc<ConfiguredTask> {
    let TaskConfig::Supervised(mut config) = Preset::Digits.config() else { unreachable!() };
    change(&mut config);
    Arc::new(ConfiguredTask::new(&TaskConfig::Supervised(config), None).unwrap())
}

/// A small noisy quadratic.
pub fn quadratic(horizon: usize) -> ConfiguredTask {
    let name = format!("quadratic {horizon}");
    let config = QuadraticConfig { name, dimensions: 5, interval_steps: 3, horizon, ..QuadraticConfig::default() };
    ConfiguredTask::new(&TaskConfig::NoisyQuadratic(config), None).unwrap()
}
