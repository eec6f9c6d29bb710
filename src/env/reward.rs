//! Rewards: pure functions of what happened in one interval.

use crate::Result;
use crate::keys::{Allowed, Key, Variant};
use crate::range::{self, Range};
use serde::{Deserialize, Serialize};

/// What a reward may depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Validation loss of the untrained network.
    pub initial: f64,
    /// Smallest validation loss before this interval (the probe's included).
    pub best: f64,
    /// Validation loss before this interval.
    pub previous: f64,
    /// Validation loss after it.
    pub current: f64,
    /// Intervals finished, this one included: 1 ≤ t ≤ H.
    pub interval: usize,
    /// Intervals in the episode, H.
    pub horizon: usize,
}

/// Which reward. In TOML: `{ type = "paper", gamma = 10.0, lambda = 1.0 }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reward {
    /// r = γ(best − val) + λ(H − t) (paper, eq. 1 and 3), best taken before the epoch.
    Paper {
        /// Weight γ ≥ 0 of the improvement.
        gamma: f64,
        /// Weight λ ≥ 0 of the epochs left.
        lambda: f64,
    },
    /// r = −val (paper, A.8).
    NegativeLoss {},
    /// r = ln(val₋₁ + ε) − ln(val + ε), which adds up to ln((val₀ + ε)/(val_H + ε)) over an episode.
    LogImprovement {
        /// Floor ε > 0 on the loss.
        epsilon: f64,
        /// Whether losses above the untrained network's count as that one. A network that overfits badly then costs what it
        /// had gained and no more; otherwise a few such episodes weigh more than all others, and policies learn to stop.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        capped: bool,
    },
}

impl Reward {
    /// The rewards with their keys.
    pub const VARIANTS: &[Variant] = &[
        Variant::new(
            "paper",
            "gamma·(best loss before - loss) + lambda·(intervals left)",
            &[
                Key::new("gamma", Allowed::Number(Range::NotNegative), "weight of the improvement"),
                Key::new("lambda", Allowed::Number(Range::NotNegative), "weight of the intervals left"),
            ],
        ),
        Variant::new("negative-loss", "minus the loss", &[]),
        Variant::new(
            "log-improvement",
            "by how much ln(loss + epsilon) fell",
            &[
                Key::new("epsilon", Allowed::Number(Range::Positive), "added to the loss"),
                Key::optional(
                    "capped",
                    Allowed::Flag,
                    "whether losses above the untrained network's count as that one",
                    "false",
                ),
            ],
        ),
    ];

    /// The paper's constants: γ = 10, λ = 1.
    pub const PAPER: Reward = Reward::Paper { gamma: 10.0, lambda: 1.0 };

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        match *self {
            Reward::Paper { gamma, lambda } => {
                range::check("env.reward.gamma", gamma, Range::NotNegative)?;
                range::check("env.reward.lambda", lambda, Range::NotNegative)
            }
            Reward::LogImprovement { epsilon, .. } => range::check("env.reward.epsilon", epsilon, Range::Positive),
            Reward::NegativeLoss {} => Ok(()),
        }
    }

    /// The reward of an interval that did not diverge.
    ///
    /// ```
    /// use lrpilot::env::{Outcome, Reward};
    /// let outcome = Outcome { initial: 0.8, best: 0.5, previous: 0.75, current: 0.25, interval: 98, horizon: 100 };
    /// assert_eq!(Reward::PAPER.of(&outcome), 10.0 * (0.5 - 0.25) + 1.0 * 2.0);
    /// assert_eq!(Reward::NegativeLoss {}.of(&outcome), -0.25);
    /// let worse = Outcome { current: 8.0, ..outcome };
    /// let [plain, capped] = [false, true].map(|capped| Reward::LogImprovement { epsilon: 0.0, capped }.of(&worse));
    /// assert!((plain - (0.75f64 / 8.0).ln()).abs() < 1e-12 && (capped - (0.75f64 / 0.8).ln()).abs() < 1e-12);
    /// ```
    pub fn of(&self, o: &Outcome) -> f64 {
        match *self {
            Reward::Paper { gamma, lambda } => gamma * (o.best - o.current) + lambda * (o.horizon - o.interval) as f64,
            Reward::NegativeLoss {} => -o.current,
            Reward::LogImprovement { epsilon, capped } => {
                let most = if capped { o.initial } else { f64::INFINITY };
                (o.previous.min(most) + epsilon).ln() - (o.current.min(most) + epsilon).ln()
            }
        }
    }
}

/// The paper's reward for divergence from a uniform number in [0, 1) (A.2: a random number from 1000 to 2000).
///
/// ```
/// assert_eq!(lrpilot::env::paper_divergence_reward(0.25), -1250.0);
/// ```
pub fn paper_divergence_reward(uniform: f64) -> f64 {
    -(1000.0 + 1000.0 * uniform)
}
