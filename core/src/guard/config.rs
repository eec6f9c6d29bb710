//! What the guard counts as a fault, and what it does about one.

use super::detector::Pace;
use crate::Result;
use crate::range::{Range, check, count};
use serde::{Deserialize, Serialize};

/// Thresholds of a [`Guard`](super::Guard). Losses are compared with each other only, so no threshold has their unit: a
/// loss times any factor gives the same verdicts.
///
/// With x the loss, m its running level, s the usual change |xₜ − xₜ₋₁| from one loss to the next and P the progress so
/// far (the level at the start minus the lowest), a loss is *high* if x − m > `spike_share`·P. The score of the spike rule
/// starts at 0 and is never below; a high loss adds min((x − m)/s, `spike_clip`) − 1 to it, any other one takes 1 away.
///
/// ```
/// use lrpilot_core::guard::GuardConfig;
/// let config: GuardConfig = serde_json::from_str(r#"{"lr_factor": 0.1, "max_rollbacks": 3}"#).unwrap();
/// assert_eq!(config, GuardConfig { lr_factor: 0.1, max_rollbacks: 3, ..GuardConfig::default() });
/// let error = GuardConfig { lr_factor: 2.0, ..config }.check().unwrap_err();
/// assert_eq!(error.to_string(), "guard.lr_factor: 2 is not a number in (0, 1); give one that is");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Steps at the start in which only numbers that are none and enormous losses are faults, ≥ 1.
    pub warm_up_steps: u32,
    /// The same for a caller of [`Guard::interval`](super::Guard::interval), in intervals; the probe counts as one.
    pub warm_up_intervals: u32,
    /// Steps that the running level and the usual change are averaged over (exponentially, after as many), ≥ 1.
    pub memory_steps: u32,
    /// The same in intervals.
    pub memory_intervals: u32,
    /// Spike: the score above reaches this, > 0.
    pub spike_score_steps: f64,
    /// The same in intervals.
    pub spike_score_intervals: f64,
    /// How much a single loss counts at most, for the score and for the running statistics, in usual changes s; > 1.
    pub spike_clip: f64,
    /// In intervals, P counts as at least this share of the level at the start: one or two of them in a run that has hardly
    /// learned may differ by their batches alone; ≥ 0.
    pub least_progress_intervals: f64,
    /// How high is high, as a share of the progress P, ≥ 0.
    pub spike_share: f64,
    /// A single loss is a fault if x − m is above this many times the largest of P, |level at the start| and the largest
    /// rise x − m seen before; > 0.
    pub enormous: f64,
    /// Drift: losses are averaged over blocks of this many steps, or of a 32nd of the run so far if that is more, ≥ 1.
    /// Blocks of intervals begin at one.
    pub drift_block_steps: u32,
    /// Drift: this many blocks in a row are higher than the one before, ≥ 2.
    pub drift_blocks: u32,
    /// Drift: and the last of them is above the lowest block by this share of P, ≥ 0.
    pub drift_share: f64,
    /// Drift: and by this many times s·√(2/n), about the noise of a difference of two blocks, with n the length of a block
    /// and s the usual change when the lowest block ended; ≥ 0.
    pub drift_noise: f64,
    /// Factor on the learning rate at each roll-back, in (0, 1).
    pub lr_factor: f64,
    /// Steps without a fault over which one roll-back's factor is undone, linearly; 0: never. One fault may have been bad
    /// luck and is forgiven entirely; each further one lowers what the factor recovers to by `lr_factor`, so that a
    /// learning rate that is too high is not tried again and again.
    pub recovery_steps: u64,
    /// Roll-backs in the run before the guard gives up.
    pub max_rollbacks: u32,
    /// Roll-backs to the same snapshot before the guard gives up.
    pub max_in_a_row: u32,
}

impl Default for GuardConfig {
    fn default() -> Self {
        GuardConfig {
            warm_up_steps: 20,
            warm_up_intervals: 2,
            memory_steps: 50,
            memory_intervals: 10,
            spike_score_steps: 15.0,
            spike_score_intervals: 3.0,
            spike_clip: 4.0,
            least_progress_intervals: 0.2,
            spike_share: 0.5,
            enormous: 4.0,
            drift_block_steps: 32,
            drift_blocks: 4,
            drift_share: 0.3,
            drift_noise: 5.0,
            lr_factor: 0.5,
            recovery_steps: 1000,
            max_rollbacks: 8,
            max_in_a_row: 3,
        }
    }
}

impl GuardConfig {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let most = u64::from(u32::MAX);
        for (key, value, least) in [
            ("warm_up_steps", self.warm_up_steps, 1),
            ("warm_up_intervals", self.warm_up_intervals, 1),
            ("memory_steps", self.memory_steps, 1),
            ("memory_intervals", self.memory_intervals, 1),
            ("drift_block_steps", self.drift_block_steps, 1),
            ("drift_blocks", self.drift_blocks, 2),
        ] {
            count(format_args!("guard.{key}"), value, least, most)?;
        }
        for (key, value, range) in [
            ("spike_score_steps", self.spike_score_steps, Range::Positive),
            ("spike_score_intervals", self.spike_score_intervals, Range::Positive),
            ("spike_clip", self.spike_clip, Range::Above(1.0)),
            ("least_progress_intervals", self.least_progress_intervals, Range::NotNegative),
            ("spike_share", self.spike_share, Range::NotNegative),
            ("enormous", self.enormous, Range::Positive),
            ("drift_share", self.drift_share, Range::NotNegative),
            ("drift_noise", self.drift_noise, Range::NotNegative),
            ("lr_factor", self.lr_factor, Range::Inside),
        ] {
            check(format_args!("guard.{key}"), value, range)?;
        }
        Ok(())
    }

    pub(super) fn steps(&self) -> Pace {
        Pace {
            warm_up: self.warm_up_steps,
            memory: self.memory_steps,
            spike: self.spike_score_steps,
            block: self.drift_block_steps,
            least_progress: 0.0,
        }
    }

    pub(super) fn intervals(&self) -> Pace {
        Pace {
            warm_up: self.warm_up_intervals,
            memory: self.memory_intervals,
            spike: self.spike_score_intervals,
            block: 1,
            least_progress: self.least_progress_intervals,
        }
    }
}
