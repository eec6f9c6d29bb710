//! A policy's specification and the run at hand, at work.

use crate::control::action::{Action, Standing};
use crate::control::anchor::{AnchorRule, OptimizerFamily, start_lr};
use crate::control::divergence::{Decision, OnDivergence};
use crate::control::observation::{Context, Memory, Observation};
use crate::range::{Range, check, count};
use crate::{Error, Group, HyperparameterRange, Hyperparameters, Measurement, Result};
use serde::{Deserialize, Serialize};

/// What was learned, apart from the network's weights: how a policy sees and acts. It is part of the policy file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// What is seen.
    pub observation: Observation,
    /// What is done.
    pub action: Action,
    /// Further settings that the policy chooses, one action each after the LR's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hyperparameters: Vec<HyperparameterRange>,
    /// What follows divergence.
    pub on_divergence: OnDivergence,
    /// Default initial LR, finite and > 0; the anchor if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_lr: Option<f64>,
    /// Largest distance of an initial LR from the anchor, in decades, ≥ 0. Beyond it the anchor is used: the policy has
    /// not learned to start there.
    pub max_anchor_distance: f64,
    /// Parameter groups that [`Observation::Paper`] has an entry for; 0 for the others, which see any number.
    #[serde(default)]
    pub observed_groups: usize,
}

impl PolicySpec {
    /// Length of an action: the LR's and one for each further setting.
    pub fn action_dim(&self) -> usize {
        1 + self.hyperparameters.len()
    }

    /// Length of an observation.
    pub fn observation_dim(&self) -> usize {
        self.observation.dim(self.observed_groups)
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        self.action.check()?;
        self.on_divergence.check()?;
        self.hyperparameters.iter().try_for_each(HyperparameterRange::check)?;
        self.initial_lr.map_or(Ok(()), |lr| check("initial_lr", lr, Range::Positive))?;
        check("max_anchor_distance", self.max_anchor_distance, Range::NotNegative)
    }
}

/// The run at hand, as far as a schedule needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Intervals in the run, H ≥ 1.
    pub horizon: usize,
    /// η is clamped to this range, 0 < min < max.
    pub lr_bounds: (f64, f64),
    /// The parameter groups that norms are measured of, in order.
    pub groups: Vec<Group>,
    /// How the anchor LR follows from the untrained network.
    pub anchor: AnchorRule,
    /// What else is known of the run; only pretrained policies look at it.
    #[serde(default, skip_serializing_if = "RunFacts::is_empty")]
    pub facts: RunFacts,
}

/// What is known of a run before its first step. What the caller does not know is absent.
///
/// ```
/// use lrpilot_core::{RunFacts, RunSpec, OptimizerFamily};
/// let run = RunSpec::new(30, OptimizerFamily::Adam, Vec::new());
/// assert_eq!(run.facts.optimizer, Some(OptimizerFamily::Adam));
/// let facts = RunFacts { steps: Some(6_000), examples: Some(50_000), batch_size: Some(128), ..run.facts };
/// assert!((facts.epochs().unwrap() - 15.36).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunFacts {
    /// Optimizer steps in the run, T ≥ 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Training examples, N ≥ 1; absent for a stream, in which none comes twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<u64>,
    /// Examples in a batch, B ≥ 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
    /// The optimizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerFamily>,
    /// Whether the caller can measure after any number of steps, so that the policy may choose when. Otherwise it decides
    /// once an interval.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub free_intervals: bool,
}

impl RunFacts {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == RunFacts::default()
    }

    /// How often the run sees each example, T·B/N; absent where one of the three is.
    pub fn epochs(&self) -> Option<f64> {
        Some(self.steps? as f64 * self.batch_size? as f64 / self.examples? as f64)
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [("steps", self.steps), ("examples", self.examples), ("batch_size", self.batch_size)] {
            value.map_or(Ok(()), |v| count(format_args!("facts.{key}"), v, 1, u64::MAX))?;
        }
        match self.optimizer {
            Some(OptimizerFamily::Sgd { momentum }) => check("facts.optimizer.momentum", momentum, Range::BelowOne),
            _ => Ok(()),
        }
    }
}

impl RunSpec {
    /// Most intervals that a run may have.
    pub const MAX_HORIZON: u64 = 100_000_000;

    /// A run of `horizon` intervals with the bounds [1e-6, 1] ([1e-6, 10] for Adadelta, whose default is 1).
    ///
    /// ```
    /// use lrpilot_core::{Group, OptimizerFamily, RunSpec};
    /// let run = RunSpec::new(30, OptimizerFamily::Adam, vec![Group::new("all", 10_000)]);
    /// assert_eq!((run.horizon, run.lr_bounds), (30, (1e-6, 1.0)));
    /// ```
    pub fn new(horizon: usize, family: OptimizerFamily, groups: Vec<Group>) -> Self {
        let max = if family == OptimizerFamily::Adadelta { 10.0 } else { 1.0 };
        let facts = RunFacts { optimizer: Some(family), ..RunFacts::default() };
        RunSpec { horizon, lr_bounds: (1e-6, max), groups, anchor: AnchorRule::of(family), facts }
    }

    /// The anchor LR of the untrained network that `probe` measured.
    pub fn anchor_lr(&self, probe: &Measurement) -> f64 {
        self.anchor.lr(probe, &self.groups, self.lr_bounds)
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        count("horizon", self.horizon, 1, RunSpec::MAX_HORIZON)?;
        check_bounds("lr_bounds", self.lr_bounds)?;
        self.facts.check()?;
        self.anchor.check()
    }
}

/// Whether `bounds` are finite, positive and in order.
///
/// # Errors
/// [`Error::Config`] naming `place` and the values.
pub fn check_bounds(place: &str, (min, max): (f64, f64)) -> Result<()> {
    if min.is_finite() && max.is_finite() && 0.0 < min && min < max {
        return Ok(());
    }
    let message = format!("[{min}, {max}] is not a range of learning rates");
    Err(Error::config(place, message, "give two finite numbers with 0 < min < max"))
}

/// Turns actions into hyperparameters and measurements into observations and decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    policy: PolicySpec,
    run: RunSpec,
    state: ControllerState,
}

/// What changes in a [`Controller`] during a run: plain numbers, to be saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControllerState {
    memory: Memory,
    lr: f64,
    anchor: f64,
    interval: usize,
    action: f64,
    /// The last interval that was not undone; what a roll-back goes back to.
    last_good: Measurement,
}

impl Controller {
    /// A controller at rest; [`Controller::start`] begins an episode.
    pub fn new(policy: PolicySpec, run: RunSpec) -> Self {
        let lr = (run.lr_bounds.0 * run.lr_bounds.1).sqrt();
        let (memory, last_good) = (Memory::default(), Measurement::default());
        let state = ControllerState { memory, lr, anchor: lr, interval: 0, action: 0.0, last_good };
        Controller { policy, run, state }
    }

    /// The LR that a run told to start at `initial` (or not told) starts at: see [`PolicySpec::max_anchor_distance`].
    pub fn initial_lr(&self, anchor: f64, initial: Option<f64>) -> f64 {
        let wanted = initial.or(self.policy.initial_lr);
        wanted.map_or(anchor, |lr| start_lr(lr, anchor, self.policy.max_anchor_distance))
    }

    /// Begin an episode from the probe at `initial_lr`, with the anchor for reference; writes the first observation.
    pub fn start(&mut self, probe: &Measurement, initial_lr: f64, anchor: f64, out: &mut Vec<f32>) {
        (self.state.lr, self.state.anchor) = (self.clamp(initial_lr), anchor);
        (self.state.interval, self.state.action) = (0, 0.0);
        self.state.last_good = probe.clone();
        self.observe_as(probe, false, out);
    }

    /// Apply an action and return the hyperparameters of the coming interval. An action that is not finite counts as 0.
    pub fn act(&mut self, action: &[f32]) -> Hyperparameters {
        let standing = Standing {
            lr: self.state.lr,
            interval: self.state.interval,
            horizon: self.run.horizon,
            lr_bounds: self.run.lr_bounds,
        };
        let (lr, understood) = self.policy.action.lr(action.first().copied().unwrap_or(0.0), &standing);
        self.state.action = understood;
        self.state.lr = self.clamp(lr);
        let mut hyperparameters = Hyperparameters::lr(self.state.lr);
        for (range, action) in self.policy.hyperparameters.iter().zip(&action[1.min(action.len())..]) {
            range.apply(*action, &mut hyperparameters);
        }
        hyperparameters
    }

    /// Take in the measurement of the finished interval and decide what follows; writes the next observation, which is
    /// always finite. After [`Decision::RollBack`] the LR is lower, and the observation is of the state gone back to.
    pub fn observe(&mut self, m: &Measurement, out: &mut Vec<f32>) -> Decision {
        self.state.interval = (self.state.interval + 1).min(self.run.horizon);
        let decision = self.policy.on_divergence.decide(m);
        match (decision, self.policy.on_divergence) {
            (Decision::RollBack, OnDivergence::RollBack { factor, .. }) => {
                self.state.lr = self.clamp(self.state.lr * factor);
                let last_good = std::mem::take(&mut self.state.last_good);
                self.observe_as(&last_good, true, out);
                self.state.last_good = last_good;
            }
            _ => {
                self.observe_as(m, false, out);
                self.state.last_good.clone_from(m);
            }
        }
        decision
    }

    fn observe_as(&mut self, m: &Measurement, rolled_back: bool, out: &mut Vec<f32>) {
        let context = Context {
            interval: self.state.interval,
            horizon: self.run.horizon,
            lr: self.state.lr,
            anchor: self.state.anchor,
            action: self.state.action,
            rolled_back,
        };
        self.policy.observation.observe(&mut self.state.memory, m, &context, out);
        out.iter_mut().for_each(|v| *v = if v.is_finite() { *v } else { 0.0 });
        // A network with another number of groups than the policy knows must not stop a training run.
        out.resize(self.policy.observation_dim(), 0.0);
    }

    fn clamp(&self, lr: f64) -> f64 {
        let (min, max) = self.run.lr_bounds;
        if lr.is_nan() { min } else { lr.clamp(min, max) }
    }

    /// The learning rate in use.
    pub fn lr(&self) -> f64 {
        self.state.lr
    }

    /// Intervals finished.
    pub fn interval(&self) -> usize {
        self.state.interval
    }

    /// Losses seen so far.
    pub fn memory(&self) -> &Memory {
        &self.state.memory
    }

    /// The last interval that was not undone; the probe before the first.
    pub fn last_good(&self) -> &Measurement {
        &self.state.last_good
    }

    /// The state, to be saved.
    pub fn state(&self) -> &ControllerState {
        &self.state
    }

    /// Put back a saved state.
    pub fn set_state(&mut self, state: ControllerState) {
        self.state = state;
    }

    /// How the policy sees and acts.
    pub fn policy(&self) -> &PolicySpec {
        &self.policy
    }

    /// The run at hand.
    pub fn run(&self) -> &RunSpec {
        &self.run
    }
}
