//! Momentum and weight decay as further actions (paper, A.1: mentioned there, not reported).

use crate::range::{self, Range};
use crate::task::{Knobs, TaskSpec};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A further setting of the optimizer that the agent chooses for each interval; u = clip(a, −1, 1).
///
/// In TOML: `knobs = [{ knob = "momentum", min = 0.5, max = 0.99 }]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "knob", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KnobRange {
    /// Momentum (β₁ of Adam): 1 − μ runs log-linearly from 1 − `min` to 1 − `max` as u runs from −1 to 1.
    Momentum {
        /// In [0, 1).
        min: f64,
        /// In (`min`, 1).
        max: f64,
    },
    /// Weight decay: log-linear from `min` to `max`.
    WeightDecay {
        /// > 0.
        min: f64,
        /// > `min`.
        max: f64,
    },
}

impl KnobRange {
    /// Both, over the ranges that are in use: momentum 0.5 to 0.99, weight decay 1e-6 to 1e-2.
    pub fn all() -> Vec<KnobRange> {
        vec![KnobRange::Momentum { min: 0.5, max: 0.99 }, KnobRange::WeightDecay { min: 1e-6, max: 1e-2 }]
    }

    /// Check the range by itself.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the values and the remedy.
    pub fn check(&self) -> Result<()> {
        let (name, min, max, range) = match *self {
            KnobRange::Momentum { min, max } => ("momentum", min, max, Range::BelowOne),
            KnobRange::WeightDecay { min, max } => ("weight-decay", min, max, Range::Positive),
        };
        range::check(format_args!("env.knobs.{name}.min"), min, range)?;
        range::check(format_args!("env.knobs.{name}.max"), max, range)?;
        range::check(format_args!("env.knobs.{name}.max"), max, Range::Above(min))
    }

    /// Check that the task's optimizer has this setting.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_task(&self, spec: &TaskSpec) -> Result<()> {
        let (accepted, name, remedy) = match self {
            KnobRange::Momentum { .. } => (spec.accepts_momentum, "momentum", "give it a momentum, e.g. 0.9"),
            KnobRange::WeightDecay { .. } => (spec.accepts_weight_decay, "weight decay", "leave this knob out"),
        };
        if accepted {
            return Ok(());
        }
        Err(Error::config("env.knobs", format!("the task's optimizer takes no {name} from outside"), remedy))
    }

    /// Set the knob by an action; NaN counts as 0.
    ///
    /// ```
    /// use lrpilot::env::KnobRange;
    /// use lrpilot::task::Knobs;
    /// let mut knobs = Knobs::lr(0.1);
    /// KnobRange::Momentum { min: 0.0, max: 0.99 }.set(1.0, &mut knobs);
    /// KnobRange::WeightDecay { min: 1e-6, max: 1e-2 }.set(0.0, &mut knobs);
    /// assert!((knobs.momentum.unwrap() - 0.99).abs() < 1e-12 && (knobs.weight_decay.unwrap() - 1e-4).abs() < 1e-12);
    /// ```
    pub fn set(&self, action: f32, knobs: &mut Knobs) {
        let u = if action.is_nan() { 0.0 } else { f64::from(action).clamp(-1.0, 1.0) };
        let between = |a: f64, b: f64| (a.ln() + (u + 1.0) / 2.0 * (b / a).ln()).exp();
        match *self {
            KnobRange::Momentum { min, max } => knobs.momentum = Some(1.0 - between(1.0 - min, 1.0 - max)),
            KnobRange::WeightDecay { min, max } => knobs.weight_decay = Some(between(min, max)),
        }
    }
}
