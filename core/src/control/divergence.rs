//! What follows divergence, in learning and in deployment alike.

use crate::Measurement;
use crate::Result;
use crate::range::{Range, check};
use serde::{Deserialize, Serialize};

/// What a training loop does after an interval.
///
/// ```
/// use lrpilot_core::{Decision, Measurement, OptimizerFamily, RunSpec, Schedule};
/// let run = RunSpec::new(5, OptimizerFamily::Adam, Vec::new());
/// let mut schedule = Schedule::constant(0.1).start(&run, &Measurement::default())?;
/// match schedule.observe(&Measurement { diverged: true, ..Measurement::default() }) {
///     Decision::GoOn => {} // open-loop schedules never ask for anything else
///     Decision::RollBack => unreachable!("only learned schedules roll back"),
/// }
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum Decision {
    /// Train the next interval with the new hyperparameters.
    GoOn,
    /// Put weights and optimizer back to where the interval began, then train the next interval with the new
    /// hyperparameters. The interval counts as used.
    RollBack,
}

/// What follows divergence (NaN or infinity; for roll-back also a network stuck at chance with dead units).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OnDivergence {
    /// The episode ends with r = −(1000 + 1000·U), U uniform in [0, 1) (paper, A.2). In deployment the run goes on, and
    /// it is the caller's to stop it.
    Terminate {},
    /// Back to the interval's start with the LR times `factor`; in learning with the reward `reward`.
    RollBack {
        /// 0 < factor < 1.
        factor: f64,
        /// ≤ 0, finite.
        reward: f64,
    },
}

impl OnDivergence {
    /// Whether an interval may have to be undone, so that a snapshot is needed before each.
    pub fn rolls_back(&self) -> bool {
        matches!(self, OnDivergence::RollBack { .. })
    }

    /// What follows the measured interval.
    ///
    /// ```
    /// use lrpilot_core::{Decision, Measurement, control::OnDivergence};
    /// let dead = Measurement { stuck: true, ..Measurement::default() };
    /// assert_eq!(OnDivergence::RollBack { factor: 0.1, reward: -0.2 }.decide(&dead), Decision::RollBack);
    /// assert_eq!(OnDivergence::Terminate {}.decide(&dead), Decision::GoOn);
    /// ```
    pub fn decide(&self, m: &Measurement) -> Decision {
        if self.rolls_back() && (m.diverged || m.stuck) { Decision::RollBack } else { Decision::GoOn }
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let OnDivergence::RollBack { factor, reward } = *self else { return Ok(()) };
        check("env.on_divergence.factor", factor, Range::Inside)?;
        check("env.on_divergence.reward", reward, Range::NotPositive)
    }
}
