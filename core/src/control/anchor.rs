//! The anchor: an initial learning rate that needs no tuning, from the weights and gradients of the untrained network.

use crate::range::{Range, check};
use crate::{Group, Measurement, Result};
use serde::{Deserialize, Serialize};

/// What kind of optimizer trains the network, as far as its learning rate's scale goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum OptimizerFamily {
    /// Stochastic gradient descent: steps are proportional to the gradient.
    Sgd {
        /// Momentum in [0, 1).
        momentum: f64,
    },
    /// Adam, AdamW, NAdam, RAdam, RMSprop and the like: steps are about as large as the learning rate.
    Adam,
    /// Adagrad.
    Adagrad,
    /// Adadelta.
    Adadelta,
}

/// How an initial LR follows from the weights and gradients of the untrained network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorRule {
    /// Geometric mean over groups of ‖w‖/‖g‖, times the factor > 0.
    WeightOverGradient(f64),
    /// Root mean square of all weights, times the factor > 0.
    WeightRms(f64),
}

impl AnchorRule {
    /// The rule for a kind of optimizer.
    ///
    /// ```
    /// use lrpilot_core::{AnchorRule, OptimizerFamily};
    /// assert_eq!(AnchorRule::of(OptimizerFamily::Sgd { momentum: 0.9 }), AnchorRule::WeightOverGradient(1e-3));
    /// assert_eq!(AnchorRule::of(OptimizerFamily::Adam), AnchorRule::WeightRms(1e-2));
    /// ```
    pub fn of(family: OptimizerFamily) -> Self {
        match family {
            OptimizerFamily::Sgd { momentum } if momentum > 0.0 => AnchorRule::WeightOverGradient(1e-3),
            OptimizerFamily::Sgd { .. } => AnchorRule::WeightOverGradient(1e-2),
            OptimizerFamily::Adadelta => AnchorRule::WeightRms(10.0),
            OptimizerFamily::Adagrad => AnchorRule::WeightRms(0.1),
            OptimizerFamily::Adam => AnchorRule::WeightRms(1e-2),
        }
    }

    /// The anchor LR, clamped to `bounds`. Groups without weights or gradient are left out. Where norms are absent or
    /// not finite it is the geometric mean of the bounds.
    ///
    /// ```
    /// use lrpilot_core::{AnchorRule, Group, Measurement};
    /// let probe = Measurement { weight_norms: vec![2.0, 8.0], grad_norms: vec![1.0, 1.0], ..Measurement::default() };
    /// let groups = [Group::new("a", 10), Group::new("b", 7)];
    /// let lr = AnchorRule::WeightOverGradient(0.01).lr(&probe, &groups, (1e-6, 1.0));
    /// assert!((lr - 0.04).abs() < 1e-12); // 0.01 · √(2 · 8)
    /// let lr = AnchorRule::WeightRms(0.01).lr(&probe, &groups, (1e-6, 1.0));
    /// assert!((lr - 0.02).abs() < 1e-12); // 0.01 · √((4 + 64)/17)
    /// ```
    pub fn lr(self, probe: &Measurement, groups: &[Group], bounds: (f64, f64)) -> f64 {
        self.measured(probe, groups).map_or((bounds.0 * bounds.1).sqrt(), |lr| lr.clamp(bounds.0, bounds.1))
    }

    /// The anchor LR as it is measured; `None` where norms are absent or not finite.
    pub(crate) fn measured(self, probe: &Measurement, groups: &[Group]) -> Option<f64> {
        let lr = match self {
            AnchorRule::WeightOverGradient(factor) => {
                let pairs = probe.weight_norms.iter().zip(&probe.grad_norms);
                let logs: Vec<f64> = pairs.filter(|(w, g)| **w > 0.0 && **g > 0.0).map(|(w, g)| (w / g).ln()).collect();
                if logs.is_empty() { f64::NAN } else { factor * (logs.iter().sum::<f64>() / logs.len() as f64).exp() }
            }
            AnchorRule::WeightRms(factor) => {
                let parameters: usize = groups.iter().map(|g| g.size).sum();
                let sum_sq: f64 = probe.weight_norms.iter().map(|w| w * w).sum();
                let known = !probe.weight_norms.is_empty();
                if known { factor * (sum_sq / parameters.max(1) as f64).sqrt() } else { f64::NAN }
            }
        };
        lr.is_finite().then_some(lr)
    }

    /// Check the factor.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    pub fn check(self) -> Result<()> {
        let (AnchorRule::WeightOverGradient(factor) | AnchorRule::WeightRms(factor)) = self;
        check("anchor", factor, Range::Positive)
    }
}

/// The initial LR to use: `initial` if it is finite, positive and within `distance` decades of the anchor, otherwise the
/// anchor. The paper's actions do not depend on it.
///
/// ```
/// use lrpilot_core::control::anchor::start_lr;
/// assert_eq!((start_lr(0.01, 0.1, 1.5), start_lr(0.01, 0.1, 0.3), start_lr(f64::NAN, 0.1, 1.5)), (0.01, 0.1, 0.1));
/// ```
pub fn start_lr(initial: f64, anchor: f64, distance: f64) -> f64 {
    let near = initial.is_finite() && initial > 0.0 && (initial / anchor).log10().abs() <= distance;
    if near { initial } else { anchor }
}
