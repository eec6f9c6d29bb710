//! From actions to learning rates.

use crate::range::{Range, check};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How an action a becomes a learning rate η. Everywhere u = clip(a, −1, 1), and η is clamped to its bounds afterwards.
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
    #[serde(alias = "anchored")]
    Residual {
        /// LR of each interval of the base schedule; the last one is held.
        base: Vec<f64>,
        /// Strength α > 0.
        alpha: f64,
    },
}

/// Where a run stands when an action is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// LR of the last interval (the initial one before the first).
    pub lr: f64,
    /// Intervals done, t.
    pub interval: usize,
    /// Intervals in the run, H.
    pub horizon: usize,
    /// Bounds of the LR.
    pub lr_bounds: (f64, f64),
}

impl Action {
    /// The LR of the coming interval, not yet clamped to the bounds, and the action as it was understood (clipped to ±1,
    /// raw for `linear`). An action that is not finite counts as 0.
    ///
    /// ```
    /// use lrpilot_core::control::action::{Action, Standing};
    /// let standing = Standing { lr: 0.1, interval: 0, horizon: 10, lr_bounds: (1e-6, 1.0) };
    /// let (lr, u) = Action::Multiplicative { step: 0.5 }.lr(-7.0, &standing);
    /// assert!((lr - 0.1 * 10f64.powf(-0.5)).abs() < 1e-15);
    /// assert_eq!(u, -1.0);
    /// ```
    pub fn lr(&self, action: f32, standing: &Standing) -> (f64, f64) {
        let raw = if action.is_finite() { f64::from(action) } else { 0.0 };
        let u = raw.clamp(-1.0, 1.0);
        let (min, max) = standing.lr_bounds;
        match self {
            Action::Linear {} => (raw, raw),
            Action::Log {} => ((min.ln() + (u + 1.0) / 2.0 * (max / min).ln()).exp(), u),
            Action::Multiplicative { step } => (standing.lr * 10f64.powf(step * u), u),
            Action::Drift { step } => {
                let left = standing.horizon.saturating_sub(standing.interval).max(1) as f64;
                (standing.lr * left / (left + 1.0) * 10f64.powf(step * u), u)
            }
            Action::Residual { base, alpha } => {
                let base = base[standing.interval.min(base.len() - 1)];
                (if raw == 0.0 { base } else { base * (alpha * raw.tanh()).exp() }, u)
            }
        }
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        match self {
            Action::Linear {} | Action::Log {} => Ok(()),
            Action::Multiplicative { step } | Action::Drift { step } => {
                check("env.action.step", *step, Range::Positive)
            }
            Action::Residual { base, alpha } => {
                check("env.action.alpha", *alpha, Range::Positive)?;
                if base.is_empty() {
                    let remedy = "give one LR for each interval";
                    return Err(Error::config("env.action.base", "the base schedule is empty", remedy));
                }
                base.iter()
                    .enumerate()
                    .try_for_each(|(i, lr)| check(format_args!("env.action.base[{i}]"), *lr, Range::Positive))
            }
        }
    }
}
