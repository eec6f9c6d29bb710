//! PPO's losses on a minibatch and their derivatives by the networks' outputs; the numbers go on from `ppo.rs`.

use crate::agent::config::PpoConfig;
use crate::agent::distribution::{entropy_gaussian, log_prob_categorical, log_prob_gaussian, softmax};
use crate::agent::rollout::Rollout;
use crate::agent::stats::UpdateStats;

/// Loss −min(r·A, clip(r, 1 − ε, 1 + ε)·A) of one sample and its derivative by ln r (Schulman et al. 2017, eq. 7).
///
/// ```
/// use lrpilot::agent::clipped_surrogate;
/// assert_eq!(clipped_surrogate(1.0, 2.0, 0.2), (-2.0, -2.0));
/// assert_eq!(clipped_surrogate(1.5, 2.0, 0.2), (-2.4, 0.0)); // no reward for going further
/// assert_eq!(clipped_surrogate(1.5, -2.0, 0.2), (3.0, 3.0)); // but a way back
/// ```
pub fn clipped_surrogate(ratio: f64, advantage: f64, clip: f64) -> (f64, f64) {
    let (free, clipped) = (ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage);
    if free <= clipped { (-free, -free) } else { (-clipped, 0.0) }
}

/// The samples of a gradient step.
#[derive(Default)]
pub(super) struct Minibatch {
    pub(super) len: usize,
    pub(super) observations: Vec<f32>,
    actions: Vec<f32>,
    log_probs: Vec<f64>,
    advantages: Vec<f64>,
    values: Vec<f32>,
    returns: Vec<f32>,
}

impl Minibatch {
    pub(super) fn gather(&mut self, rollout: &Rollout, indices: &[usize], normalize: bool) {
        self.len = indices.len();
        let total = rollout.advantages.len();
        gather_rows(&mut self.observations, &rollout.observations, total, indices);
        gather_rows(&mut self.actions, &rollout.actions, total, indices);
        gather_rows(&mut self.log_probs, &rollout.log_probs, total, indices);
        gather_rows(&mut self.values, &rollout.values, total, indices);
        gather_rows(&mut self.returns, &rollout.returns, total, indices);
        self.advantages.clear();
        self.advantages.extend(indices.iter().map(|i| f64::from(rollout.advantages[*i])));
        // [13] Advantages are normalised within the minibatch (sample standard deviation).
        if normalize && self.len > 1 {
            let n = self.len as f64;
            let mean = self.advantages.iter().sum::<f64>() / n;
            let variance = self.advantages.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / (n - 1.0);
            self.advantages.iter_mut().for_each(|a| *a = (*a - mean) / (variance.sqrt() + 1e-8));
        }
    }
}

fn gather_rows<T: Copy>(out: &mut Vec<T>, from: &[T], rows: usize, indices: &[usize]) {
    let width = from.len() / rows;
    out.clear();
    indices.iter().for_each(|i| out.extend_from_slice(&from[i * width..(i + 1) * width]));
}

/// [14] The clipped surrogate for a Gaussian: writes ∂L/∂mean and ∂L/∂log σ, returns the policy loss.
pub(super) fn gaussian_loss(
    config: &PpoConfig,
    batch: &Minibatch,
    means: &[f32],
    d: &mut [f32],
    log_std: &[f32],
    log_std_grad: &mut [f32],
    stats: &mut UpdateStats,
) -> f64 {
    let (dim, n) = (log_std.len(), batch.len as f64);
    let mut loss = 0.0;
    for i in 0..batch.len {
        let row = i * dim..(i + 1) * dim;
        let (action, mean) = (&batch.actions[row.clone()], &means[row.clone()]);
        let log_prob = log_prob_gaussian(action, mean, log_std);
        let by_log_prob = surrogate(config, batch, i, log_prob, &mut loss, stats) / n;
        for (k, d) in d[row].iter_mut().enumerate() {
            let sd = f64::from(log_std[k]).exp();
            let z = f64::from(action[k] - mean[k]) / sd;
            *d = (by_log_prob * z / sd) as f32;
            log_std_grad[k] += (by_log_prob * (z * z - 1.0)) as f32;
        }
    }
    stats.entropy = entropy_gaussian(log_std);
    log_std_grad.iter_mut().for_each(|g| *g -= config.ent_coef as f32);
    loss / n
}

/// The clipped surrogate for a categorical distribution: writes ∂L/∂logits, returns the policy loss.
pub(super) fn categorical_loss(
    config: &PpoConfig,
    batch: &Minibatch,
    logits: &[f32],
    d: &mut [f32],
    stats: &mut UpdateStats,
) -> f64 {
    let (choices, n) = (logits.len() / batch.len, batch.len as f64);
    let (mut loss, mut p) = (0.0, Vec::new());
    for i in 0..batch.len {
        let row = i * choices..(i + 1) * choices;
        let choice = batch.actions[i] as usize;
        softmax(&logits[row.clone()], &mut p);
        let log_prob = log_prob_categorical(choice, &logits[row.clone()]);
        let by_log_prob = surrogate(config, batch, i, log_prob, &mut loss, stats) / n;
        let entropy: f64 = -p.iter().map(|p| p * p.max(1e-300).ln()).sum::<f64>();
        stats.entropy += entropy / n;
        for (k, d) in d[row].iter_mut().enumerate() {
            let chosen = f64::from(u8::from(k == choice));
            let by_entropy = config.ent_coef / n * p[k] * (p[k].max(1e-300).ln() + entropy);
            *d = (by_log_prob * (chosen - p[k]) + by_entropy) as f32;
        }
    }
    loss / n
}

/// One sample's part of the surrogate: adds the loss and the statistics, returns ∂loss/∂ln π.
fn surrogate(
    config: &PpoConfig,
    batch: &Minibatch,
    i: usize,
    log_prob: f64,
    loss: &mut f64,
    stats: &mut UpdateStats,
) -> f64 {
    let log_ratio = log_prob - batch.log_probs[i];
    let ratio = log_ratio.exp();
    let (value, derivative) = clipped_surrogate(ratio, batch.advantages[i], config.clip_range);
    *loss += value;
    let n = batch.len as f64;
    stats.approx_kl += (ratio - 1.0 - log_ratio) / n;
    stats.clip_fraction += f64::from(u8::from((ratio - 1.0).abs() > config.clip_range)) / n;
    derivative
}

/// [15] Mean squared error of the values, optionally clipped around the old ones; writes its weighted derivative.
pub(super) fn value_loss(config: &PpoConfig, batch: &Minibatch, values: &[f32], d: &mut [f32]) -> f64 {
    let n = batch.len as f64;
    let mut loss = 0.0;
    for i in 0..batch.len {
        let (value, old) = (f64::from(values[i]), f64::from(batch.values[i]));
        let (used, slope) = match config.clip_range_vf {
            Some(clip) if (value - old).abs() > clip => (old + (value - old).clamp(-clip, clip), 0.0),
            _ => (value, 1.0),
        };
        let error = used - f64::from(batch.returns[i]);
        loss += error * error / n;
        d[i] = (config.vf_coef * 2.0 * error * slope / n) as f32;
    }
    loss
}
