//! What a schedule sets for the coming interval, and the ranges in which a policy may set it.

use crate::range::{Range, check};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The optimizer's settings of an interval.
///
/// ```
/// use lrpilot_core::Hyperparameters;
/// let set = Hyperparameters::lr(0.1);
/// assert_eq!((set.lr, set.momentum), (0.1, None), "the optimizer keeps its own momentum");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Learning rate η, > 0.
    pub lr: f64,
    /// Momentum (SGD) or β₁ (Adam) in [0, 1), where the schedule sets it; `None` keeps the optimizer's own.
    pub momentum: Option<f64>,
    /// Weight decay ≥ 0, where the schedule sets it; `None` keeps the optimizer's own.
    pub weight_decay: Option<f64>,
}

impl Hyperparameters {
    /// A learning rate and nothing else.
    pub fn lr(lr: f64) -> Self {
        Hyperparameters { lr, momentum: None, weight_decay: None }
    }
}

/// A setting, beside the learning rate, that a policy may choose (paper, A.1: mentioned there, not reported).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HyperparameterName {
    /// Momentum of SGD, β₁ of Adam.
    Momentum,
    /// Weight decay.
    WeightDecay,
}

/// A setting that a policy chooses for each interval, and its range. u = clip(a, −1, 1) runs over the range
/// log-linearly: in weight decay itself, and in 1 − μ for a momentum μ.
///
/// In TOML: `hyperparameters = [{ name = "momentum", min = 0.5, max = 0.99 }]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HyperparameterRange {
    /// Which setting.
    #[serde(alias = "knob")]
    pub name: HyperparameterName,
    /// Smallest value: in [0, 1) for momentum, > 0 for weight decay.
    pub min: f64,
    /// Largest value, > `min`; below 1 for momentum.
    pub max: f64,
}

impl HyperparameterRange {
    /// Both settings, over the ranges that are in use: momentum 0.5 to 0.99, weight decay 1e-6 to 1e-2.
    pub fn all() -> Vec<HyperparameterRange> {
        vec![
            HyperparameterRange { name: HyperparameterName::Momentum, min: 0.5, max: 0.99 },
            HyperparameterRange { name: HyperparameterName::WeightDecay, min: 1e-6, max: 1e-2 },
        ]
    }

    /// Check the range by itself.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let (name, range) = match self.name {
            HyperparameterName::Momentum => ("momentum", Range::BelowOne),
            HyperparameterName::WeightDecay => ("weight-decay", Range::Positive),
        };
        let place = format!("env.hyperparameters.{name}");
        check(format!("{place}.min"), self.min, range)?;
        check(format!("{place}.max"), self.max, range)?;
        if self.min < self.max {
            return Ok(());
        }
        Err(Error::config(place, format!("[{}, {}] is not a range", self.min, self.max), "give min < max"))
    }

    /// Set the hyperparameter by an action; an action that is NaN counts as 0.
    ///
    /// ```
    /// use lrpilot_core::{HyperparameterName, HyperparameterRange, Hyperparameters};
    /// let mut set = Hyperparameters::lr(0.1);
    /// HyperparameterRange { name: HyperparameterName::Momentum, min: 0.0, max: 0.99 }.apply(1.0, &mut set);
    /// HyperparameterRange { name: HyperparameterName::WeightDecay, min: 1e-6, max: 1e-2 }.apply(0.0, &mut set);
    /// assert!((set.momentum.unwrap() - 0.99).abs() < 1e-12 && (set.weight_decay.unwrap() - 1e-4).abs() < 1e-12);
    /// ```
    pub fn apply(&self, action: f32, hyperparameters: &mut Hyperparameters) {
        let u = if action.is_nan() { 0.0 } else { f64::from(action).clamp(-1.0, 1.0) };
        let between = |a: f64, b: f64| (a.ln() + (u + 1.0) / 2.0 * (b / a).ln()).exp();
        match self.name {
            HyperparameterName::Momentum => {
                hyperparameters.momentum = Some(1.0 - between(1.0 - self.min, 1.0 - self.max));
            }
            HyperparameterName::WeightDecay => hyperparameters.weight_decay = Some(between(self.min, self.max)),
        }
    }
}
