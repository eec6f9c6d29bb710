//! Acting in environments: side by side, or in lockstep. Numbers in brackets go on from `ppo.rs`.

use crate::agent::config::Squash;
use crate::agent::distribution::{Head, log_prob_categorical, log_prob_gaussian, softmax};
use crate::agent::rollout::{Episode, Slot, SlotState};
use crate::env::{Space, Step, VectorEnv};
use crate::nn::init::normal;
use crate::rng::{self, Purpose, stream};
use crate::{Error, Result};
use lrpilot_core::{Policy, tanh};
use rand::RngExt as _;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Everything that acting needs. It is a value: a collector and the state of an environment, sent to another process,
/// give the same [`Trajectory`] there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collector {
    /// The policy network, with the statistics that observations are normalised by.
    pub policy: Policy,
    /// What its outputs mean.
    pub head: Head,
    /// ln σ of each action dimension; empty for a categorical policy.
    pub log_std: Vec<f32>,
    /// How a Gaussian sample becomes an action.
    pub squash: Squash,
    /// The space of actions.
    pub space: Space,
    /// Seed of the agent: of episodes and of sampled actions.
    pub seed: u64,
    /// Steps of each environment.
    pub n_steps: usize,
    /// Environments that run the same episodes, in groups of neighbours; ≥ 1.
    pub siblings: u64,
}

/// What one environment went through in a collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// Observations as the policy saw them, `[steps][observation]`.
    pub observations: Vec<f32>,
    /// The same before normalisation.
    pub raw: Vec<f32>,
    /// Raw samples before clipping or squashing, `[steps][action]`.
    pub actions: Vec<f32>,
    /// Their log-probabilities.
    pub log_probs: Vec<f64>,
    /// Rewards.
    pub rewards: Vec<f32>,
    /// Whether the episode ended with the step.
    pub done: Vec<bool>,
    /// Steps at which an episode was truncated, with the normalised observation after them.
    pub truncated: Vec<(usize, Vec<f32>)>,
    /// Normalised observation after the last step.
    pub last: Vec<f32>,
    /// Episodes that ended.
    pub episodes: Vec<Episode>,
}

/// Collects from many environments. Results never depend on which executor it is.
pub trait RolloutExecutor: Sync {
    /// The trajectories of all `slots`, in their order. `on_steps(n)` is called from worker threads after each episode, or
    /// each part of one that this rollout holds, with its number of steps.
    ///
    /// # Errors
    /// The first error of an environment, by slot.
    fn rollouts(
        &self,
        collector: &Collector,
        slots: &mut [Slot],
        on_steps: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Trajectory>>;
}

/// The threads of the current rayon pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalPool;

impl RolloutExecutor for LocalPool {
    fn rollouts(
        &self,
        collector: &Collector,
        slots: &mut [Slot],
        on_steps: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Trajectory>> {
        slots.par_iter_mut().map(|slot| collector.collect(slot, on_steps)).collect()
    }
}

impl Collector {
    /// Advance one environment by `n_steps`.
    ///
    /// # Errors
    /// The environment's own.
    pub fn collect(&self, slot: &mut Slot, on_steps: &(dyn Fn(u64) + Sync)) -> Result<Trajectory> {
        let mut acting = self.acting();
        for t in 0..self.n_steps {
            if slot.state.needs_reset {
                let seed = self.begin_episode(&mut slot.state);
                slot.state.observation = slot.env.reset(seed)?;
            }
            let action = acting.act(&slot.state);
            let step = slot.env.step(&action)?;
            acting.take(t, step, &mut slot.state, on_steps);
        }
        Ok(acting.finish(&slot.state, on_steps))
    }

    /// Advance all environments of `envs` by `n_steps`, one step of each at a time. The trajectories are those of
    /// [`Collector::collect`] on each environment alone.
    ///
    /// # Errors
    /// The environments' own; [`Error::Bug`] if there is not one state for each.
    pub fn collect_lockstep(
        &self,
        envs: &mut dyn VectorEnv,
        states: &mut [SlotState],
        on_steps: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Trajectory>> {
        if states.len() != envs.count() {
            return Err(Error::Bug(format!("{} states for {} environments", states.len(), envs.count())));
        }
        let mut acting: Vec<Acting<'_>> = states.iter().map(|_| self.acting()).collect();
        for t in 0..self.n_steps {
            for (i, state) in states.iter_mut().enumerate().filter(|(_, s)| s.needs_reset) {
                let seed = self.begin_episode(state);
                state.observation = envs.reset(i, seed)?;
            }
            let actions: Vec<Vec<f32>> = acting.iter_mut().zip(&*states).map(|(a, s)| a.act(s)).collect();
            for ((acting, state), step) in acting.iter_mut().zip(&mut *states).zip(envs.step(&actions)?) {
                acting.take(t, step, state, on_steps);
            }
        }
        Ok(acting.into_iter().zip(states).map(|(a, s)| a.finish(s, on_steps)).collect())
    }

    fn acting(&self) -> Acting<'_> {
        let mut policy = self.policy.clone();
        policy.moments = None;
        let output = vec![0.0; policy.outputs()];
        Acting { collector: self, policy, output, trajectory: Trajectory::default(), told: 0 }
    }

    /// Count a new episode and return its seed.
    fn begin_episode(&self, state: &mut SlotState) -> u64 {
        state.episode_seed = rng::episode_seed(self.seed, state.index / self.siblings, state.episodes);
        state.episodes += 1;
        (state.episode_return, state.episode_length, state.needs_reset) = (0.0, 0, false);
        state.episode_seed
    }

    fn normalize(&self, observation: &mut [f32]) {
        if let Some(moments) = &self.policy.moments {
            moments.normalize(observation);
        }
    }

    /// [7] Sample an action; its log-probability is that of the raw sample, before clipping or squashing.
    fn sample(&self, output: &[f32], slot: u64, step: u64) -> (Vec<f32>, f64) {
        let mut rng = stream(self.seed, Purpose::Action, slot << 32 | step);
        match self.head {
            Head::Gaussian => {
                let draw = |(mean, log_std): (&f32, &f32)| mean + log_std.exp() * normal(&mut rng) as f32;
                let sample: Vec<f32> = output.iter().zip(&self.log_std).map(draw).collect();
                let log_prob = log_prob_gaussian(&sample, output, &self.log_std);
                (sample, log_prob)
            }
            Head::Categorical => {
                let mut probabilities = Vec::new();
                softmax(output, &mut probabilities);
                let mut left: f64 = rng.random();
                let mut choice = output.len() - 1;
                for (i, p) in probabilities.iter().enumerate() {
                    left -= p;
                    if left < 0.0 {
                        choice = i;
                        break;
                    }
                }
                (vec![choice as f32], log_prob_categorical(choice, output))
            }
        }
    }

    /// [8] What the environment gets: the sample clipped to its Box, or squashed into it.
    fn to_action(&self, sample: &[f32]) -> Vec<f32> {
        let Space::Box { low, high } = &self.space else { return sample.to_vec() };
        let bound = |((a, low), high): ((&f32, &f32), &f32)| match self.squash {
            Squash::None => a.clamp(*low, *high),
            Squash::Tanh => low + (tanh(*a) + 1.0) * 0.5 * (high - low),
        };
        sample.iter().zip(low).zip(high).map(bound).collect()
    }
}

/// A collector at work in one environment.
struct Acting<'a> {
    collector: &'a Collector,
    policy: Policy,
    output: Vec<f32>,
    trajectory: Trajectory,
    /// Steps that `on_steps` has been told of.
    told: usize,
}

impl Acting<'_> {
    /// The action for the state's observation.
    fn act(&mut self, state: &SlotState) -> Vec<f32> {
        let (collector, trajectory) = (self.collector, &mut self.trajectory);
        let first = trajectory.observations.len();
        trajectory.raw.extend_from_slice(&state.observation);
        trajectory.observations.extend_from_slice(&state.observation);
        collector.normalize(&mut trajectory.observations[first..]);
        self.policy.act(&trajectory.observations[first..], &mut self.output);
        let (sample, log_prob) = collector.sample(&self.output, state.index, state.steps);
        let action = collector.to_action(&sample);
        trajectory.actions.extend(sample);
        trajectory.log_probs.push(log_prob);
        action
    }

    /// Take in what step number `t` of the rollout gave.
    fn take(&mut self, t: usize, step: Step, state: &mut SlotState, on_steps: &(dyn Fn(u64) + Sync)) {
        let done = step.terminated || step.truncated;
        self.trajectory.rewards.push(step.reward as f32);
        self.trajectory.done.push(done);
        state.steps += 1;
        state.episode_return += step.reward;
        state.episode_length += 1;
        state.needs_reset = done;
        state.observation = step.observation;
        if step.truncated && !step.terminated {
            let mut terminal = state.observation.clone();
            self.collector.normalize(&mut terminal);
            self.trajectory.truncated.push((t, terminal));
        }
        if done {
            self.trajectory.episodes.push(Episode {
                slot: state.index,
                seed: state.episode_seed,
                episode_return: state.episode_return,
                length: state.episode_length,
                info: step.info,
            });
            on_steps((t + 1 - self.told) as u64);
            self.told = t + 1;
        }
    }

    fn finish(mut self, state: &SlotState, on_steps: &(dyn Fn(u64) + Sync)) -> Trajectory {
        if self.told < self.collector.n_steps {
            on_steps((self.collector.n_steps - self.told) as u64);
        }
        self.trajectory.last = state.observation.clone();
        self.collector.normalize(&mut self.trajectory.last);
        self.trajectory
    }
}
