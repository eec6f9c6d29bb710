//! Running statistics of observations and returns (Stable-Baselines3's `VecNormalize`).

use serde::{Deserialize, Serialize};

/// Values beyond ± this many standard deviations are clipped.
const CLIP: f32 = 10.0;
const EPSILON: f64 = 1e-8;

/// Mean and variance of a stream of vectors (Chan et al.'s parallel update), starting at 0 and 1 with a count of 1e-4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningMoments {
    /// Mean of each entry.
    pub mean: Vec<f64>,
    /// Population variance of each entry.
    pub variance: Vec<f64>,
    /// Vectors seen.
    pub count: f64,
}

impl RunningMoments {
    /// For vectors of length `dim`.
    pub fn new(dim: usize) -> Self {
        RunningMoments { mean: vec![0.0; dim], variance: vec![1.0; dim], count: 1e-4 }
    }

    /// Take in a batch of vectors, `[n][dim]`.
    pub fn update(&mut self, batch: &[f32]) {
        let dim = self.mean.len();
        let n = (batch.len() / dim) as f64;
        if n == 0.0 {
            return;
        }
        let total = self.count + n;
        for i in 0..dim {
            let column = || batch.iter().skip(i).step_by(dim).map(|v| f64::from(*v));
            let mean = column().sum::<f64>() / n;
            let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            let delta = mean - self.mean[i];
            let m2 = self.variance[i] * self.count + variance * n + delta * delta * self.count * n / total;
            self.mean[i] += delta * n / total;
            self.variance[i] = m2 / total;
        }
        self.count = total;
    }

    /// Normalise one vector in place, clipped to ±10.
    pub fn normalize(&self, values: &mut [f32]) {
        for ((v, mean), variance) in values.iter_mut().zip(&self.mean).zip(&self.variance) {
            *v = (((f64::from(*v) - mean) / (variance + EPSILON).sqrt()) as f32).clamp(-CLIP, CLIP);
        }
    }
}

/// Scales rewards by the running standard deviation of the discounted return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReturnNormalizer {
    moments: RunningMoments,
    returns: Vec<f64>,
}

impl ReturnNormalizer {
    /// For `slots` environments.
    pub fn new(slots: usize) -> Self {
        ReturnNormalizer { moments: RunningMoments::new(1), returns: vec![0.0; slots] }
    }

    /// Take in the rewards of one environment in order (`ended[t]`: the episode ended with step t) and scale them. A `slot`
    /// that was not there before begins with a return of 0.
    pub fn update_and_scale(&mut self, slot: usize, gamma: f64, rewards: &mut [f32], ended: &[bool]) {
        if slot >= self.returns.len() {
            self.returns.resize(slot + 1, 0.0);
        }
        let running = &mut self.returns[slot];
        let mut discounted = Vec::with_capacity(rewards.len());
        for (reward, ended) in rewards.iter().zip(ended) {
            *running = *running * gamma + f64::from(*reward);
            discounted.push(*running as f32);
            if *ended {
                *running = 0.0;
            }
        }
        self.moments.update(&discounted);
        let sd = (self.moments.variance[0] + EPSILON).sqrt();
        rewards.iter_mut().for_each(|r| *r = ((f64::from(*r) / sd) as f32).clamp(-CLIP, CLIP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fed in pieces, the moments are those of the whole (the initial count of 1e-4 disappears in the tolerance).
    #[test]
    fn moments_match_the_definition() {
        let data: Vec<f32> = (0..600).map(|i| (i as f32 * 0.7).sin() * 3.0 + (i % 2) as f32).collect();
        let mut moments = RunningMoments::new(2);
        for piece in data.chunks(2 * 37) {
            moments.update(piece);
        }
        for i in 0..2 {
            let column: Vec<f64> = data.iter().skip(i).step_by(2).map(|v| f64::from(*v)).collect();
            let mean = column.iter().sum::<f64>() / 300.0;
            let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 300.0;
            assert!((moments.mean[i] - mean).abs() < 1e-5);
            assert!((moments.variance[i] - variance).abs() < 1e-4);
        }
    }
}
