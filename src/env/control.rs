//! From actions to learning rates: the controller shared by the environment and by a frozen policy.

use crate::env::knobs::KnobRange;
use crate::env::observation::{Context, Memory, Observation};
use crate::range::{self, Range};
use crate::task::config::check_bounds;
use crate::task::{AnchorRule, Knobs, Measurement, TaskSpec};
use crate::{Error, Result, limits};
use serde::{Deserialize, Serialize};

/// How an action a becomes a learning rate η. Everywhere u = clip(a, −1, 1) and η is clamped to its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// η = a (paper, A.2): the Box is the LR bounds.
    Linear {},
    /// log η runs linearly from the lower to the upper bound as u runs from −1 to 1.
    Log {},
    /// log10 η ← log10 η + step·u.
    Multiplicative {
        /// Decades at u = 1, > 0.
        step: f64,
    },
    /// As `multiplicative`, but u = 0 follows a linear decay to zero at H + 1: in interval t = 1, …, H
    /// η ← η·(H − t + 1)/(H − t + 2)·10^(step·u).
    Drift {
        /// Decades at u = 1, > 0.
        step: f64,
    },
    /// η = base(t)·exp(α·tanh a) on a schedule given as numbers; a = 0 gives the base run bit for bit.
    Anchored {
        /// LR of each interval of the base schedule; the last one is held.
        base: Vec<f64>,
        /// Strength α > 0.
        alpha: f64,
    },
}

impl Action {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    fn check(&self) -> Result<()> {
        match self {
            Action::Linear {} | Action::Log {} => Ok(()),
            Action::Multiplicative { step } | Action::Drift { step } => {
                range::check("env.action.step", *step, Range::Positive)
            }
            Action::Anchored { base, .. } if base.is_empty() => {
                Err(Error::config("env.action.base", "the base schedule is empty", "give one LR per interval"))
            }
            Action::Anchored { base, alpha } => {
                range::check("env.action.alpha", *alpha, Range::Positive)?;
                let lr =
                    |(i, lr): (usize, &f64)| range::check(format_args!("env.action.base[{i}]"), *lr, Range::Positive);
                base.iter().enumerate().try_for_each(lr)
            }
        }
    }
}

/// How an episode's first learning rate is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum InitialLr {
    /// One number.
    Fixed {
        /// > 0, finite.
        lr: f64,
    },
    /// The anchor: see [`anchor_lr`].
    Anchor {},
    /// Log-uniform within `decades` on either side of the anchor.
    NearAnchor {
        /// ≥ 0.
        decades: f64,
    },
    /// Log-uniform over a range.
    LogUniform {
        /// > 0.
        min: f64,
        /// > `min`.
        max: f64,
    },
}

impl InitialLr {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub(super) fn check(self) -> Result<()> {
        match self {
            InitialLr::Fixed { lr } => range::check("env.initial_lr.lr", lr, Range::Positive),
            InitialLr::NearAnchor { decades } => range::check("env.initial_lr.decades", decades, Range::NotNegative),
            InitialLr::LogUniform { min, max } => check_bounds("env.initial_lr", (min, max)),
            InitialLr::Anchor {} => Ok(()),
        }
    }

    /// How far from the anchor a given initial LR may be, in decades, for a policy that learned from these: as far as it has
    /// seen, and [`ANCHOR_REACH`] where that is not said in terms of the anchor.
    fn reach(self) -> f64 {
        match self {
            InitialLr::Anchor {} => 0.0,
            InitialLr::NearAnchor { decades } => decades,
            InitialLr::Fixed { .. } | InitialLr::LogUniform { .. } => ANCHOR_REACH,
        }
    }

    /// The LR that every episode started from, if it was one.
    fn fixed(self) -> Option<f64> {
        if let InitialLr::Fixed { lr } = self { Some(lr) } else { None }
    }
}

/// What a controller is: the part of the environment that a frozen policy carries with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// What is seen.
    pub observation: Observation,
    /// What is done.
    pub action: Action,
    /// η is clamped to this range, in which 0 < min < max.
    pub lr_bounds: (f64, f64),
    /// Intervals in a run, H ≥ 1.
    pub horizon: usize,
    /// Layers seen by [`Observation::Paper`].
    pub layers: usize,
    /// How the anchor LR follows from the untrained network.
    pub anchor: AnchorRule,
    /// LR that a run starts from which is told none, finite and > 0; the anchor if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_lr: Option<f64>,
    /// Distance of a given initial LR from the anchor, in decades, beyond which the anchor replaces it, ≥ 0; see
    /// [`start_lr`].
    #[serde(default = "anchor_reach")]
    pub anchor_reach: f64,
    /// LR factor after divergence, 0 < factor < 1.
    pub divergence_factor: f64,
    /// Further settings, one action each after the LR's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knobs: Vec<KnobRange>,
}

impl Control {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        check_bounds("control.lr_bounds", self.lr_bounds)?;
        range::count("control.horizon", self.horizon, 1, limits::HORIZON)?;
        range::count("control.layers", self.layers, 0, limits::LAYERS)?;
        let (AnchorRule::WeightOverGradient(factor) | AnchorRule::WeightRms(factor)) = self.anchor;
        range::check("control.anchor", factor, Range::Positive)?;
        self.initial_lr.map_or(Ok(()), |lr| range::check("control.initial_lr", lr, Range::Positive))?;
        range::check("control.anchor_reach", self.anchor_reach, Range::NotNegative)?;
        range::check("control.divergence_factor", self.divergence_factor, Range::Inside)?;
        self.knobs.iter().try_for_each(KnobRange::check)?;
        self.action.check()
    }

    /// Length of an action: the LR's and one for each knob.
    pub fn action_dim(&self) -> usize {
        1 + self.knobs.len()
    }

    /// Length of an observation.
    pub fn observation_dim(&self) -> usize {
        self.observation.dim(self.layers)
    }
}

/// The anchor: an initial LR that needs no tuning, from the weights and the gradients of the untrained network.
///
/// Geometric mean over layers of ‖w‖/‖g‖, or the root mean square of the weights, times the rule's factor; clamped to
/// `bounds`. Layers without weights or gradient are left out.
pub fn anchor_lr(rule: AnchorRule, probe: &Measurement, parameters: usize, bounds: (f64, f64)) -> f64 {
    let lr = match rule {
        AnchorRule::WeightOverGradient(factor) => {
            let pairs = probe.weight_norms.iter().zip(&probe.grad_norms);
            let logs: Vec<f64> = pairs.filter(|(w, g)| **w > 0.0 && **g > 0.0).map(|(w, g)| (w / g).ln()).collect();
            factor * (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp()
        }
        AnchorRule::WeightRms(factor) => {
            let sum_sq: f64 = probe.weight_norms.iter().map(|w| w * w).sum();
            factor * (sum_sq / parameters.max(1) as f64).sqrt()
        }
    };
    if lr.is_finite() { lr.clamp(bounds.0, bounds.1) } else { (bounds.0 * bounds.1).sqrt() }
}

/// [`Control::anchor_reach`] of a policy that learned from starts that are not near the anchor.
const ANCHOR_REACH: f64 = 1.5;

fn anchor_reach() -> f64 {
    ANCHOR_REACH
}

/// Where a run starts that is told to start from `initial`: there, or from the anchor if that is more than `reach` decades
/// away or `initial` is not a finite number > 0. The paper's actions do not depend on it.
///
/// ```
/// use lrpilot::env::start_lr;
/// assert_eq!((start_lr(0.01, 0.1, 1.5), start_lr(0.01, 0.1, 0.3), start_lr(f64::NAN, 0.1, 1.5)), (0.01, 0.1, 0.1));
/// ```
pub fn start_lr(initial: f64, anchor: f64, reach: f64) -> f64 {
    let near = initial.is_finite() && initial > 0.0 && (initial / anchor).log10().abs() <= reach;
    if near { initial } else { anchor }
}

/// A running controller: turns actions into knobs and measurements into observations.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    control: Control,
    state: ControllerState,
}

/// What changes in a [`Controller`] during an episode, to be saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControllerState {
    memory: Memory,
    lr: f64,
    anchor: f64,
    interval: usize,
    action: f64,
}

impl Controller {
    /// A controller at rest; [`Controller::start`] begins an episode.
    pub fn new(control: Control) -> Self {
        let lr = (control.lr_bounds.0 * control.lr_bounds.1).sqrt();
        let state = ControllerState { memory: Memory::default(), lr, anchor: lr, interval: 0, action: 0.0 };
        Controller { control, state }
    }

    /// Begin an episode from the probe at `initial_lr`, with the anchor for reference; writes the first observation.
    pub fn start(&mut self, probe: &Measurement, initial_lr: f64, anchor: f64, out: &mut Vec<f32>) {
        (self.state.lr, self.state.anchor, self.state.interval, self.state.action) =
            (self.clamp(initial_lr), anchor, 0, 0.0);
        self.observe_as(probe, false, out);
    }

    /// Apply an action and return the knobs of the coming interval. A non-finite action counts as 0.
    pub fn act(&mut self, action: &[f32]) -> Knobs {
        let raw = action.first().map_or(0.0, |a| f64::from(*a));
        let raw = if raw.is_finite() { raw } else { 0.0 };
        let u = raw.clamp(-1.0, 1.0);
        let (min, max) = self.control.lr_bounds;
        let lr = match &self.control.action {
            Action::Linear {} => raw,
            Action::Log {} => (min.ln() + (u + 1.0) / 2.0 * (max / min).ln()).exp(),
            Action::Multiplicative { step } => self.state.lr * 10f64.powf(step * u),
            Action::Drift { step } => {
                let left = self.control.horizon.saturating_sub(self.state.interval).max(1) as f64;
                self.state.lr * left / (left + 1.0) * 10f64.powf(step * u)
            }
            Action::Anchored { base, alpha } => {
                let base = base[self.state.interval.min(base.len() - 1)];
                if raw == 0.0 { base } else { base * (alpha * raw.tanh()).exp() }
            }
        };
        self.state.action = if matches!(self.control.action, Action::Linear {}) { raw } else { u };
        self.state.lr = self.clamp(lr);
        let mut knobs = Knobs::lr(self.state.lr);
        for (range, action) in self.control.knobs.iter().zip(&action[1.min(action.len())..]) {
            range.set(*action, &mut knobs);
        }
        knobs
    }

    /// Take in the measurement of the finished interval; writes the next observation.
    pub fn observe(&mut self, m: &Measurement, out: &mut Vec<f32>) {
        self.state.interval = (self.state.interval + 1).min(self.control.horizon);
        self.observe_as(m, false, out);
    }

    /// The interval diverged and was undone to the state measured by `m`: lower the LR; writes the next observation.
    pub fn roll_back(&mut self, m: &Measurement, out: &mut Vec<f32>) {
        self.state.interval = (self.state.interval + 1).min(self.control.horizon);
        self.state.lr = self.clamp(self.state.lr * self.control.divergence_factor);
        self.observe_as(m, true, out);
    }

    fn observe_as(&mut self, m: &Measurement, rolled_back: bool, out: &mut Vec<f32>) {
        let context = Context {
            interval: self.state.interval,
            horizon: self.control.horizon,
            lr: self.state.lr,
            anchor: self.state.anchor,
            action: self.state.action,
            rolled_back,
        };
        self.control.observation.observe(&mut self.state.memory, m, &context, out);
    }

    fn clamp(&self, lr: f64) -> f64 {
        let (min, max) = self.control.lr_bounds;
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

    /// The state, to be saved.
    pub fn state(&self) -> &ControllerState {
        &self.state
    }

    /// Put back a saved state.
    pub fn set_state(&mut self, state: ControllerState) {
        self.state = state;
    }

    /// What the controller is.
    pub fn control(&self) -> &Control {
        &self.control
    }
}

/// The controller of a task with the parts chosen in a configuration.
pub fn control_for(
    spec: &TaskSpec,
    observation: Observation,
    action: Action,
    initial_lr: InitialLr,
    divergence_factor: f64,
    knobs: Vec<KnobRange>,
) -> Control {
    Control {
        knobs,
        observation,
        action,
        lr_bounds: spec.lr_bounds,
        horizon: spec.horizon,
        layers: spec.layers.len(),
        anchor: spec.anchor,
        initial_lr: initial_lr.fixed(),
        anchor_reach: initial_lr.reach(),
        divergence_factor,
    }
}
