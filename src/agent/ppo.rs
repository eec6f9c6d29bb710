//! Proximal policy optimisation, in execution order. Numbers in brackets are the details that matter ("The 37
//! implementation details of PPO", Huang et al. 2022); the reference behaviour is Stable-Baselines3's.

use crate::agent::config::{PpoConfig, Squash};
use crate::agent::distribution::{Head, log_prob_categorical, log_prob_gaussian, softmax};
use crate::agent::loss::{Minibatch, categorical_loss, gaussian_loss, value_loss};
use crate::agent::normalizer::{ReturnNormalizer, RunningMoments};
use crate::agent::policy::Policy;
use crate::agent::rollout::{Episode, Rollout, Slot, gae};
use crate::agent::tanh::tanh;
use crate::env::Space;
use crate::nn::init::{normal, orthogonal};
use crate::nn::kernels::sums::sum_sq;
use crate::nn::optimizer::OptimizerState;
use crate::nn::{LayerSpec, Mode, Network, Optimizer, OptimizerSpec, Shape};
use crate::rng::{Purpose, derive_seed, stream};
use crate::{Error, Result};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The agent.
pub struct Ppo {
    config: PpoConfig,
    seed: u64,
    space: Space,
    head: Head,
    actor: Network,
    critic: Network,
    log_std: Vec<f32>,
    log_std_grad: Vec<f32>,
    adam: [Optimizer; 3],
    moments: Option<RunningMoments>,
    return_norm: Option<ReturnNormalizer>,
    updates: u64,
}

/// Everything that changes in an agent, to be saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PpoState {
    /// Parameters of the policy network: weight `[out][in]` and bias `[out]` of each layer.
    pub actor: Vec<f32>,
    /// Parameters of the value network, likewise.
    pub critic: Vec<f32>,
    /// ln σ of each action dimension; empty for a categorical policy.
    pub log_std: Vec<f32>,
    /// Adam's states for these three.
    pub adam: [OptimizerState; 3],
    /// Statistics of the observations, if they are normalised.
    pub moments: Option<RunningMoments>,
    /// Statistics of the returns, if rewards are scaled.
    pub return_norm: Option<ReturnNormalizer>,
    /// Updates done.
    pub updates: u64,
}

/// Averages over the minibatches of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UpdateStats {
    /// Clipped surrogate loss.
    pub policy_loss: f64,
    /// Mean squared error of the values (without its weight).
    pub value_loss: f64,
    /// Entropy of the policy.
    pub entropy: f64,
    /// (r − 1) − ln r, averaged (Schulman's estimator).
    pub approx_kl: f64,
    /// Share of samples with |r − 1| above the clip range.
    pub clip_fraction: f64,
    /// 1 − Var(returns − values)/Var(returns), before the update.
    pub explained_variance: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Mean σ of the policy; 0 for a categorical one.
    pub action_sd: f64,
    /// Minibatches used.
    pub minibatches: usize,
}

impl Ppo {
    /// A new agent for observations of length `observation` and actions in `space`.
    ///
    /// # Errors
    /// [`Error::Config`] for settings out of range, or tanh squashing into a Box without finite bounds.
    pub fn new(config: PpoConfig, observation: usize, space: &Space, seed: u64) -> Result<Self> {
        config.check()?;
        let (head, outputs) = match space {
            Space::Discrete(n) => (Head::Categorical, *n),
            Space::Box { low, high } => {
                if config.squash == Squash::Tanh && !low.iter().chain(high).all(|b| b.is_finite()) {
                    return Err(Error::config("ppo.squash", "tanh needs finite bounds", "use squash = \"none\""));
                }
                (Head::Gaussian, low.len())
            }
        };
        // [1] Separate networks for policy and value; [2] orthogonal weights, gains √2 / policy_gain / 1, zero biases.
        let batch = config.batch_size;
        let actor = mlp(observation, &config.hidden, outputs, config.policy_gain, batch, seed, 0)?;
        let critic = mlp(observation, &config.hidden, 1, 1.0, batch, seed, 1)?;
        // [3] A state-independent log σ.
        let log_std = if head == Head::Gaussian { vec![config.log_std_init as f32; outputs] } else { Vec::new() };
        // [4] Adam with ε = 1e-5.
        let adam = |n| Optimizer::new(OptimizerSpec::Adam { betas: (0.9, 0.999), eps: 1e-5, weight_decay: 0.0 }, n);
        Ok(Ppo {
            adam: [adam(actor.params.len()), adam(critic.params.len()), adam(log_std.len())],
            moments: config.normalize_observation.then(|| RunningMoments::new(observation)),
            return_norm: None,
            log_std_grad: vec![0.0; log_std.len()],
            config,
            seed,
            space: space.clone(),
            head,
            actor,
            critic,
            log_std,
            updates: 0,
        })
    }

    /// Advance every environment by `n_steps` with the policy as it stands, side by side on the current thread pool;
    /// `taken` is told the steps of each episode, or part of one, as it ends, from any thread.
    ///
    /// # Errors
    /// The first error of an environment, by slot.
    pub fn collect(&mut self, slots: &mut [Slot], taken: impl Fn(u64) + Sync) -> Result<Rollout> {
        let policy = self.policy();
        let this = &*self;
        let collect_one = |slot| this.collect_one(policy.clone(), slot, &taken);
        let pieces: Vec<Piece> = slots.par_iter_mut().map(collect_one).collect::<Result<_>>()?;
        let mut rollout = Rollout { slots: slots.len(), steps: self.config.n_steps, ..Rollout::default() };
        let mut last = Vec::new();
        let mut raw = Vec::new();
        let mut cut = Vec::new();
        for piece in pieces {
            cut.extend(piece.truncated.into_iter().map(|(t, o)| (rollout.rewards.len() + t, o)));
            rollout.observations.extend(piece.observations);
            rollout.actions.extend(piece.actions);
            rollout.log_probs.extend(piece.log_probs);
            rollout.rewards.extend(piece.rewards);
            rollout.ended.extend(piece.ended);
            rollout.episodes.extend(piece.episodes);
            last.extend(piece.last);
            raw.extend(piece.raw);
        }
        self.scale_rewards(&mut rollout);
        rollout.values = self.values(&rollout.observations);
        rollout.last_values = self.values(&last);
        // [5] A truncated episode's value goes on: bootstrap from V(terminal observation).
        for (index, observation) in cut {
            rollout.rewards[index] += self.config.gamma as f32 * self.values(&observation)[0];
        }
        self.estimate_advantages(&mut rollout);
        // [6] Statistics are frozen while a rollout is collected, so that they do not depend on the order of slots.
        if let Some(moments) = &mut self.moments {
            moments.update(&raw);
        }
        Ok(rollout)
    }

    fn collect_one(&self, mut policy: Policy, slot: &mut Slot, taken: &impl Fn(u64)) -> Result<Piece> {
        let outputs = policy.sizes[policy.sizes.len() - 1];
        let mut piece = Piece::default();
        let mut output = vec![0.0; outputs];
        policy.moments = None;
        let mut told = 0;
        for t in 0..self.config.n_steps {
            if slot.state.needs_reset {
                self.reset(slot)?;
            }
            let first = piece.observations.len();
            piece.raw.extend_from_slice(&slot.state.observation);
            piece.observations.extend_from_slice(&slot.state.observation);
            self.normalize(&mut piece.observations[first..]);
            policy.act(&piece.observations[first..], &mut output);
            let (sample, log_prob) = self.sample(&output, slot.state.index, slot.state.steps);
            let step = slot.env.step(&self.to_action(&sample))?;
            piece.actions.extend(sample);
            piece.log_probs.push(log_prob);
            piece.rewards.push(step.reward as f32);
            let ended = step.terminated || step.truncated;
            piece.ended.push(ended);
            let state = &mut slot.state;
            state.steps += 1;
            state.episode_return += step.reward;
            state.episode_length += 1;
            state.needs_reset = ended;
            state.observation = step.observation;
            if step.truncated && !step.terminated {
                let mut terminal = state.observation.clone();
                self.normalize(&mut terminal);
                piece.truncated.push((t, terminal));
            }
            if ended {
                piece.episodes.push(Episode {
                    slot: state.index,
                    seed: state.episode_seed,
                    episode_return: state.episode_return,
                    length: state.episode_length,
                    info: step.info,
                });
                taken((t + 1 - told) as u64);
                told = t + 1;
            }
        }
        if told < self.config.n_steps {
            taken((self.config.n_steps - told) as u64);
        }
        piece.last = slot.state.observation.clone();
        self.normalize(&mut piece.last);
        Ok(piece)
    }

    fn reset(&self, slot: &mut Slot) -> Result<()> {
        let state = &mut slot.state;
        state.episode_seed = derive_seed(self.seed, Purpose::Episode, state.index << 32 | state.episodes);
        state.observation = slot.env.reset(state.episode_seed)?;
        state.episodes += 1;
        (state.episode_return, state.episode_length, state.needs_reset) = (0.0, 0, false);
        Ok(())
    }

    fn normalize(&self, observation: &mut [f32]) {
        if let Some(moments) = &self.moments {
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
        let bound = |((a, low), high): ((&f32, &f32), &f32)| match self.config.squash {
            Squash::None => a.clamp(*low, *high),
            Squash::Tanh => low + (tanh(*a) + 1.0) * 0.5 * (high - low),
        };
        sample.iter().zip(low).zip(high).map(bound).collect()
    }

    fn scale_rewards(&mut self, rollout: &mut Rollout) {
        if !self.config.normalize_reward {
            return;
        }
        let norm = self.return_norm.get_or_insert_with(|| ReturnNormalizer::new(rollout.slots));
        let n = rollout.steps;
        for slot in 0..rollout.slots {
            let range = slot * n..(slot + 1) * n;
            norm.update_and_scale(slot, self.config.gamma, &mut rollout.rewards[range.clone()], &rollout.ended[range]);
        }
    }

    /// V of normalised observations, in batches.
    fn values(&mut self, observations: &[f32]) -> Vec<f32> {
        let dim = self.space_observation();
        let mut values = Vec::with_capacity(observations.len() / dim);
        for chunk in observations.chunks(self.config.batch_size * dim) {
            values.extend_from_slice(self.critic.forward(chunk, chunk.len() / dim, &mut Mode::Eval));
        }
        values
    }

    fn space_observation(&self) -> usize {
        self.actor.param_infos()[0].shape[1]
    }

    /// [9] GAE for each environment; the value target is advantage + value.
    fn estimate_advantages(&self, rollout: &mut Rollout) {
        let n = rollout.steps;
        rollout.advantages.clear();
        for slot in 0..rollout.slots {
            let range = slot * n..(slot + 1) * n;
            rollout.advantages.extend(gae(
                &rollout.rewards[range.clone()],
                &rollout.values[range.clone()],
                &rollout.ended[range],
                rollout.last_values[slot],
                self.config.gamma,
                self.config.gae_lambda,
            ));
        }
        rollout.returns = rollout.advantages.iter().zip(&rollout.values).map(|(a, v)| a + v).collect();
    }

    /// Improve policy and values on a rollout. `remaining` is the share of the run still ahead, in [0, 1], for annealing.
    pub fn update(&mut self, rollout: &Rollout, remaining: f64) -> UpdateStats {
        // [10] The LR falls linearly to zero if asked to.
        let lr = self.config.learning_rate * if self.config.anneal_lr { remaining } else { 1.0 };
        let n = rollout.advantages.len();
        let mut order: Vec<usize> = (0..n).collect();
        let mut sums = UpdateStats::default();
        let mut batch = Minibatch::default();
        'epochs: for epoch in 0..self.config.n_epochs {
            // [11] A new permutation for each epoch, cut into minibatches.
            order.shuffle(&mut stream(self.seed, Purpose::Minibatch, self.updates << 16 | epoch as u64));
            for indices in order.chunks(self.config.batch_size) {
                batch.gather(rollout, indices, self.config.normalize_advantage);
                let stats = self.gradient(&batch);
                sums.add(&stats);
                // [12] Stop before a step that would take the policy too far.
                if self.config.target_kl.is_some_and(|kl| stats.approx_kl > 1.5 * kl) {
                    break 'epochs;
                }
                self.apply_gradient(lr);
            }
        }
        self.updates += 1;
        let mut stats = sums.mean();
        stats.explained_variance = explained_variance(&rollout.values, &rollout.returns);
        let sd = self.log_std.iter().map(|s| f64::from(s.exp())).sum::<f64>();
        stats.action_sd = sd / self.log_std.len().max(1) as f64;
        stats
    }

    /// Losses on a minibatch and their gradients, left in the networks and `log_std_grad`, clipped by the global norm.
    fn gradient(&mut self, batch: &Minibatch) -> UpdateStats {
        let n = batch.len;
        let mut stats = UpdateStats { minibatches: 1, ..UpdateStats::default() };
        let mut no_dropout = stream(0, Purpose::Dropout, 0);
        let (config, head, log_std) = (&self.config, self.head, &self.log_std);
        let log_std_grad = &mut self.log_std_grad;
        log_std_grad.fill(0.0);
        self.actor.forward(&batch.observations, n, &mut Mode::Train(&mut no_dropout));
        stats.policy_loss = self.actor.backward(&batch.observations, n, |output, d| match head {
            Head::Gaussian => gaussian_loss(config, batch, output, d, log_std, log_std_grad, &mut stats),
            Head::Categorical => categorical_loss(config, batch, output, d, &mut stats),
        });
        self.critic.forward(&batch.observations, n, &mut Mode::Train(&mut no_dropout));
        stats.value_loss = self.critic.backward(&batch.observations, n, |v, d| value_loss(config, batch, v, d));
        // [16] Clip by the norm over everything.
        let grads: [&mut [f32]; 3] = [&mut self.actor.grads, &mut self.critic.grads, &mut self.log_std_grad];
        stats.grad_norm = grads.iter().map(|g| sum_sq(g)).sum::<f64>().sqrt();
        let factor = self.config.max_grad_norm / (stats.grad_norm + 1e-6);
        if factor < 1.0 {
            grads.into_iter().flatten().for_each(|g| *g *= factor as f32);
        }
        stats
    }

    fn apply_gradient(&mut self, lr: f64) {
        let [actor, critic, log_std] = &mut self.adam;
        actor.step(&mut self.actor.params, &self.actor.grads, lr);
        critic.step(&mut self.critic.params, &self.critic.grads, lr);
        log_std.step(&mut self.log_std, &self.log_std_grad, lr);
    }

    /// The deterministic policy as it stands: the mean of the Gaussian, or the logits.
    pub fn policy(&self) -> Policy {
        let infos = self.actor.param_infos();
        let mut sizes = vec![infos[0].shape[1]];
        sizes.extend(infos.iter().filter(|i| i.shape.len() == 2).map(|i| i.shape[0]));
        Policy::new(sizes, self.actor.params.to_vec(), self.moments.clone())
    }

    /// Everything that changes, to be saved.
    pub fn state(&self) -> PpoState {
        PpoState {
            actor: self.actor.params.to_vec(),
            critic: self.critic.params.to_vec(),
            log_std: self.log_std.clone(),
            adam: self.adam.each_ref().map(|a| a.state().clone()),
            moments: self.moments.clone(),
            return_norm: self.return_norm.clone(),
            updates: self.updates,
        }
    }

    /// Put back what [`Ppo::state`] gave.
    ///
    /// # Errors
    /// [`Error::Bug`] if the state is of an agent of another size.
    pub fn set_state(&mut self, state: PpoState) -> Result<()> {
        let PpoState { actor, critic, log_std, adam, moments, return_norm, updates } = state;
        let sizes = [(actor.len(), self.actor.params.len()), (critic.len(), self.critic.params.len())];
        if sizes.iter().any(|(a, b)| a != b) || log_std.len() != self.log_std.len() {
            return Err(Error::Bug("the saved agent has another size".into()));
        }
        self.actor.params.copy_from_slice(&actor);
        self.critic.params.copy_from_slice(&critic);
        self.log_std = log_std;
        self.adam.iter_mut().zip(&adam).for_each(|(a, s)| a.set_state(s));
        (self.moments, self.return_norm, self.updates) = (moments, return_norm, updates);
        Ok(())
    }
}

/// What one environment contributes to a rollout.
#[derive(Default)]
struct Piece {
    observations: Vec<f32>,
    raw: Vec<f32>,
    actions: Vec<f32>,
    log_probs: Vec<f64>,
    rewards: Vec<f32>,
    ended: Vec<bool>,
    truncated: Vec<(usize, Vec<f32>)>,
    last: Vec<f32>,
    episodes: Vec<Episode>,
}

impl UpdateStats {
    fn add(&mut self, other: &UpdateStats) {
        self.policy_loss += other.policy_loss;
        self.value_loss += other.value_loss;
        self.entropy += other.entropy;
        self.approx_kl += other.approx_kl;
        self.clip_fraction += other.clip_fraction;
        self.grad_norm += other.grad_norm;
        self.minibatches += 1;
    }

    fn mean(mut self) -> Self {
        let n = self.minibatches.max(1) as f64;
        for v in [
            &mut self.policy_loss,
            &mut self.value_loss,
            &mut self.entropy,
            &mut self.approx_kl,
            &mut self.clip_fraction,
            &mut self.grad_norm,
        ] {
            *v /= n;
        }
        self
    }
}

/// 1 − Var(y − ŷ)/Var(y), or NaN if y does not vary.
fn explained_variance(predicted: &[f32], actual: &[f32]) -> f64 {
    let variance = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64
    };
    let actual: Vec<f64> = actual.iter().map(|v| f64::from(*v)).collect();
    let error: Vec<f64> = actual.iter().zip(predicted).map(|(a, p)| a - f64::from(*p)).collect();
    1.0 - variance(&error) / variance(&actual)
}

/// A tanh MLP with orthogonal weights.
fn mlp(
    inputs: usize,
    hidden: &[usize],
    outputs: usize,
    gain: f64,
    batch: usize,
    seed: u64,
    index: u64,
) -> Result<Network> {
    let mut layers: Vec<LayerSpec> =
        hidden.iter().flat_map(|&units| [LayerSpec::Dense { units }, LayerSpec::Tanh {}]).collect();
    layers.push(LayerSpec::Dense { units: outputs });
    let mut network = Network::new(Shape::flat(inputs), &layers, batch)?;
    let mut rng = stream(seed, Purpose::Policy, index);
    let infos = network.param_infos().to_vec();
    let mut rest = &mut network.params[..];
    for (i, info) in infos.iter().enumerate() {
        let (values, tail) = rest.split_at_mut(info.len());
        if let [rows, cols] = info.shape[..] {
            let last = i + 2 == infos.len();
            orthogonal(values, rows, cols, if last { gain as f32 } else { std::f32::consts::SQRT_2 }, &mut rng);
        }
        rest = tail;
    }
    Ok(network)
}
