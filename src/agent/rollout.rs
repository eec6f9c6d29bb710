//! Environments side by side, what they went through, and generalised advantage estimation.

use crate::env::{Env, Info};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// An environment with its place in an episode.
pub struct Slot {
    /// The environment.
    pub env: Box<dyn Env>,
    pub(super) state: SlotState,
}

/// What has to be saved of a slot to go on with the same bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlotState {
    /// Position among the slots.
    pub index: u64,
    /// Steps taken in all episodes.
    pub steps: u64,
    /// Episodes started.
    pub episodes: u64,
    /// Observation to act on; empty before the first episode.
    pub observation: Vec<f32>,
    /// Whether the next step must begin with a reset.
    pub needs_reset: bool,
    /// Return of the episode so far, undiscounted.
    pub episode_return: f64,
    /// Length of the episode so far.
    pub episode_length: u64,
    /// Seed of the episode.
    pub episode_seed: u64,
    /// The environment's own state; filled by [`Slot::save`] only.
    pub env: Vec<u8>,
}

impl Slot {
    /// Slot number `index`, which keys its random streams: slots that are collected together have different ones.
    pub fn new(index: usize, env: Box<dyn Env>) -> Self {
        Slot { env, state: SlotState { index: index as u64, needs_reset: true, ..SlotState::default() } }
    }

    /// Everything the slot's future depends on.
    ///
    /// # Errors
    /// If the environment cannot be saved.
    pub fn save(&self) -> Result<SlotState> {
        let env = if self.state.episodes == 0 { Vec::new() } else { self.env.save()? };
        Ok(SlotState { env, ..self.state.clone() })
    }

    /// Put back what [`Slot::save`] gave.
    ///
    /// # Errors
    /// If the environment cannot be restored.
    pub fn load(&mut self, saved: &SlotState) -> Result<()> {
        if saved.episodes > 0 {
            self.env.load(&saved.env)?;
        }
        self.state = SlotState { env: Vec::new(), ..saved.clone() };
        Ok(())
    }
}

/// Refuse slots with one index in common: they would share their seeds and the noise of their actions.
pub(super) fn check_indices(slots: &[Slot]) -> Result<()> {
    let mut indices: Vec<u64> = slots.iter().map(|s| s.state.index).collect();
    indices.sort_unstable();
    match indices.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::Bug(format!("two slots have the index {}", pair[0]))),
        None => Ok(()),
    }
}

/// A finished episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Slot that it ran in.
    pub slot: u64,
    /// Seed that it was reset with.
    pub seed: u64,
    /// Undiscounted return.
    pub episode_return: f64,
    /// Steps.
    pub length: u64,
    /// Report of its last step.
    pub info: Info,
}

/// What all environments went through in one collection: `[slot][step]`, slot-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollout {
    /// Environments.
    pub slots: usize,
    /// Steps of each.
    pub steps: usize,
    /// Observations as the networks saw them, `[slots·steps][observation]`.
    pub observations: Vec<f32>,
    /// Raw samples before clipping or squashing, `[slots·steps][action]`.
    pub actions: Vec<f32>,
    /// Their log-probabilities.
    pub log_probs: Vec<f64>,
    /// Rewards, scaled if the agent scales them; truncated steps hold γ·V(terminal observation) in addition.
    pub rewards: Vec<f32>,
    /// Whether the episode ended with the step.
    pub done: Vec<bool>,
    /// V(observation).
    pub values: Vec<f32>,
    /// V(observation after the last step) of each slot.
    pub last_values: Vec<f32>,
    /// Generalised advantage estimates.
    pub advantages: Vec<f32>,
    /// Advantage + value: the target of the value network.
    pub returns: Vec<f32>,
    /// Episodes that ended, in slot order.
    pub episodes: Vec<Episode>,
}

/// Generalised advantage estimation (Schulman et al. 2016) over one environment's steps, from the last to the first:
/// δ_t = r_t + γ V_{t+1} − V_t, A_t = δ_t + γλ A_{t+1}; both stop at the end of an episode.
///
/// ```
/// let a = lrpilot::agent::gae(&[1.0, 1.0], &[0.5, 0.5], &[false, true], 9.0, 1.0, 1.0);
/// assert_eq!(a, [1.5, 0.5]);
/// ```
pub fn gae(rewards: &[f32], values: &[f32], done: &[bool], last_value: f32, gamma: f64, lambda: f64) -> Vec<f32> {
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (f64::from(last_value), 0.0);
    for t in (0..rewards.len()).rev() {
        let goes_on = f64::from(u8::from(!done[t]));
        let value = f64::from(values[t]);
        let delta = f64::from(rewards[t]) + gamma * next_value * goes_on - value;
        next_advantage = delta + gamma * lambda * goes_on * next_advantage;
        next_value = value;
        advantages[t] = next_advantage as f32;
    }
    advantages
}

/// Largest advantage among siblings, in multiples of their spread.
const SIBLING_CLIP: f64 = 2.5;
/// Spread of a group's advantages, as a share of the usual one, below which it is not divided by: flat tasks must not shout.
const SIBLING_FLOOR: f64 = 0.3;

/// Compare advantages within groups of `siblings` neighbouring environments, which run the same episodes: from each
/// advantage `[slot][step]` the mean of its group at the same step is taken; the rest is divided by the group's spread
/// (root mean square; at least 0.3 of that of all groups) and clipped to ±2.5. What the task decides, and not the
/// action, is gone then. A last group that is smaller is compared within itself.
///
/// ```
/// let mut a = [1.0, 3.0, 10.0, 10.0]; // two groups of two environments, one step each
/// lrpilot::agent::compare_siblings(&mut a, 1, 2);
/// assert_eq!(a, [-1.0, 1.0, 0.0, 0.0]);
/// ```
pub fn compare_siblings(advantages: &mut [f32], steps: usize, siblings: usize) {
    for group in advantages.chunks_mut(steps * siblings) {
        let members = group.len() / steps;
        for t in 0..steps {
            let mean = (0..members).map(|i| f64::from(group[i * steps + t])).sum::<f64>() / members as f64;
            (0..members).for_each(|i| group[i * steps + t] -= mean as f32);
        }
    }
    let rms = |values: &[f32]| {
        (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt()
    };
    let usual = rms(advantages);
    for group in advantages.chunks_mut(steps * siblings) {
        let spread = rms(group).max(SIBLING_FLOOR * usual) + 1e-8;
        group.iter_mut().for_each(|a| *a = (f64::from(*a) / spread).clamp(-SIBLING_CLIP, SIBLING_CLIP) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::gae;
    use proptest::prelude::*;

    /// A_t = Σ_k (γλ)^k δ_{t+k} up to the episode's end, written out.
    fn slow_gae(r: &[f32], v: &[f32], done: &[bool], last: f32, gamma: f64, lambda: f64) -> Vec<f64> {
        let n = r.len();
        let next = |t: usize| if done[t] { 0.0 } else { f64::from(if t + 1 < n { v[t + 1] } else { last }) };
        let delta = |t: usize| f64::from(r[t]) + gamma * next(t) - f64::from(v[t]);
        let advantage = |t: usize| {
            let end = (t..n).find(|k| done[*k]).unwrap_or(n - 1);
            (t..=end).map(|k| (gamma * lambda).powi((k - t) as i32) * delta(k)).sum()
        };
        (0..n).map(advantage).collect()
    }

    proptest! {
        #[test]
        fn matches_the_definition(
            steps in prop::collection::vec((-2.0f32..2.0, -2.0f32..2.0, prop::bool::weighted(0.2)), 1..30),
            last in -2.0f32..2.0, gamma in 0.0f64..=1.0, lambda in 0.0f64..=1.0,
        ) {
            let r: Vec<f32> = steps.iter().map(|s| s.0).collect();
            let v: Vec<f32> = steps.iter().map(|s| s.1).collect();
            let done: Vec<bool> = steps.iter().map(|s| s.2).collect();
            let fast = gae(&r, &v, &done, last, gamma, lambda);
            for (a, b) in fast.iter().zip(slow_gae(&r, &v, &done, last, gamma, lambda)) {
                prop_assert!((f64::from(*a) - b).abs() < 1e-4);
            }
        }
    }
}
