//! The base schedule, and the residual that a policy adds to it.

use crate::Result;
use crate::range::{Range, check};
use serde::{Deserialize, Serialize};

/// The base schedule b(s) of the share s of the run that is done: it rises log-linearly from `floor` until s = `warmup`,
/// and all of it is multiplied by 1 − s, so that it ends at zero.
///
/// ```
/// use lrpilot_core::generalist::Base;
/// let base = Base::default(); // a tenth at first, a sixteenth of the run for the rise
/// assert!((base.at(0.0) - 0.1).abs() < 1e-12);
/// assert_eq!((base.at(0.5), base.at(1.0)), (0.5, 0.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Share of the run in which it rises, in [0, 1).
    pub warmup: f64,
    /// Where it begins, in (0, 1].
    pub floor: f64,
}

impl Default for Base {
    fn default() -> Self {
        Base { warmup: 1.0 / 16.0, floor: 0.1 }
    }
}

impl Base {
    /// b(s) for s in [0, 1].
    pub fn at(&self, s: f64) -> f64 {
        let risen = if s < self.warmup { self.floor.powf(1.0 - s / self.warmup) } else { 1.0 };
        risen * (1.0 - s).max(0.0)
    }

    /// Check the ranges.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        check("base.warmup", self.warmup, Range::BelowOne)?;
        check("base.floor", self.floor, Range::Factor)
    }
}

/// How an action u in [−1, 1] moves the residual m, in decades: m ← clamp(m + Δ·u, low, high), with Δ by the share of the
/// run that is done.
///
/// ```
/// use lrpilot_core::generalist::Residual;
/// let residual = Residual::default();
/// assert_eq!(residual.moved(0.25, 0.0, 0.5), 0.25, "no action, no change");
/// assert_eq!(residual.moved(0.0, 1.0, 0.05), residual.early);
/// assert_eq!(residual.moved(-2.9, -7.0, 0.5), residual.low, "actions are clipped, and so is the residual");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// Δ before a tenth of the run is done, > 0.
    pub early: f64,
    /// Δ until four fifths are done, > 0.
    pub middle: f64,
    /// Δ afterwards, > 0.
    pub late: f64,
    /// Least residual, < 0.
    pub low: f64,
    /// Largest residual, > 0.
    pub high: f64,
}

impl Default for Residual {
    fn default() -> Self {
        Residual { early: 0.5, middle: 0.4, late: 0.5, low: -3.0, high: 1.2 }
    }
}

impl Residual {
    /// The residual after an action at share `s` of the run; an action that is not finite counts as 0.
    pub fn moved(&self, m: f64, action: f64, s: f64) -> f64 {
        let delta = match s {
            s if s < 0.1 => self.early,
            s if s < 0.8 => self.middle,
            _ => self.late,
        };
        let u = if action.is_finite() { action.clamp(-1.0, 1.0) } else { 0.0 };
        (m + delta * u).clamp(self.low, self.high)
    }

    /// Check the ranges.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [
            ("early", self.early),
            ("middle", self.middle),
            ("late", self.late),
            ("high", self.high),
            ("low, its distance from 0", -self.low),
        ] {
            check(format_args!("residual.{key}"), value, Range::Positive)?;
        }
        Ok(())
    }
}
