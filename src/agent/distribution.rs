//! The policy's distributions: log-probabilities and their derivatives by the network's outputs.

use serde::{Deserialize, Serialize};
use std::f64::consts::{E, PI};

/// What the policy network's outputs mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Head {
    /// Means of independent Gaussians; log σ are parameters of their own.
    Gaussian,
    /// Logits of a categorical distribution.
    Categorical,
}

/// ln N(a; μ, σ²) summed over dimensions.
///
/// ```
/// let p = lrpilot::agent::log_prob_gaussian(&[1.0], &[0.0], &[0.0]);
/// assert!((p - (-0.5 - 0.5 * (2.0 * std::f64::consts::PI).ln())).abs() < 1e-12);
/// ```
pub fn log_prob_gaussian(action: &[f32], mean: &[f32], log_std: &[f32]) -> f64 {
    let one = |((a, m), s): ((&f32, &f32), &f32)| {
        let (s, z) = (f64::from(*s), f64::from(a - m) / f64::from(*s).exp());
        -0.5 * z * z - s - 0.5 * (2.0 * PI).ln()
    };
    action.iter().zip(mean).zip(log_std).map(one).sum()
}

/// Σ (log σ + ½ ln 2πe).
pub(super) fn entropy_gaussian(log_std: &[f32]) -> f64 {
    log_std.iter().map(|s| f64::from(*s) + 0.5 * (2.0 * PI * E).ln()).sum()
}

/// ln p(choice) of a categorical distribution with these logits.
///
/// ```
/// assert!((lrpilot::agent::log_prob_categorical(1, &[0.0, 0.0]) + 2f64.ln()).abs() < 1e-7);
/// ```
pub fn log_prob_categorical(choice: usize, logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
    f64::from(logits[choice] - max) - sum.ln()
}

/// Probabilities of the choices.
pub(super) fn softmax(logits: &[f32], out: &mut Vec<f64>) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.clear();
    out.extend(logits.iter().map(|l| f64::from(l - max).exp()));
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|p| *p /= sum);
}
