//! Scaling of rewards (Stable-Baselines3's `VecNormalize`).

use lrpilot_core::RunningMoments;
use serde::{Deserialize, Serialize};

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

    /// Take in the rewards of one environment in order (`done[t]`: the episode ended with step t) and scale them. A `slot`
    /// that was not there before begins with a return of 0.
    pub fn update_and_scale(&mut self, slot: usize, gamma: f64, rewards: &mut [f32], done: &[bool]) {
        if slot >= self.returns.len() {
            self.returns.resize(slot + 1, 0.0);
        }
        let running = &mut self.returns[slot];
        let mut discounted = Vec::with_capacity(rewards.len());
        for (reward, done) in rewards.iter().zip(done) {
            *running = *running * gamma + f64::from(*reward);
            discounted.push(*running as f32);
            if *done {
                *running = 0.0;
            }
        }
        self.moments.update(&discounted);
        let sd = (self.moments.variance[0] + RunningMoments::EPSILON).sqrt();
        rewards
            .iter_mut()
            .for_each(|r| *r = ((f64::from(*r) / sd) as f32).clamp(-RunningMoments::CLIP, RunningMoments::CLIP));
    }
}
