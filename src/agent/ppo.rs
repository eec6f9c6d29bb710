//! Proximal policy optimisation, in execution order. Numbers in brackets are the details that matter ("The 37
//! implementation details of PPO", Huang et al. 2022); the reference behaviour is Stable-Baselines3's.

use crate::agent::collector::{Collector, LocalPool, RolloutExecutor, Trajectory};
use crate::agent::config::{PpoConfig, Squash};
use crate::agent::distribution::Head;
use crate::agent::loss::{Minibatch, categorical_loss, gaussian_loss, value_loss};
use crate::agent::normalizer::ReturnNormalizer;
use crate::agent::rollout::{Rollout, Slot, check_indices, compare_siblings, gae};
use crate::agent::stats::UpdateStats;
use crate::env::Space;
use crate::nn::init::orthogonal;
use crate::nn::kernels::sums::sum_sq;
use crate::nn::optimizer::OptimizerState;
use crate::nn::{LayerSpec, Mode, Network, Optimizer, OptimizerSpec, Shape};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use lrpilot_core::{Policy, RunningMoments};
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};

/// The agent.
///
/// ```
/// use lrpilot::agent::{Ppo, PpoConfig, Slot};
/// use lrpilot::env::{Env, EnvConfig, LrEnv};
/// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
/// use std::sync::Arc;
/// let source = Arc::new(ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?);
/// let parts = EnvConfig::default().parts(source.spec())?;
/// let env = LrEnv::new(source, parts)?;
/// let config = PpoConfig { n_steps: 60, ..PpoConfig::default() };
/// let mut ppo = Ppo::new(config, env.observation_space().dim(), &env.action_space(), 0)?;
/// let mut slots = [Slot::new(0, Box::new(env))];
/// let rollout = ppo.collect(&mut slots, |_| {})?;
/// let stats = ppo.update(&rollout, 1.0);
/// assert!(stats.approx_kl.is_finite() && rollout.episodes.len() == 2, "an episode has 30 intervals");
/// # Ok::<(), lrpilot::Error>(())
/// ```
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

impl PpoState {
    /// The value network, for `inputs` numbers and hidden layers of these widths; its one output is V.
    ///
    /// # Errors
    /// [`Error::Config`] if the parameters are those of a network of another size.
    pub fn value_network(&self, inputs: usize, hidden: &[usize]) -> Result<Policy> {
        let sizes: Vec<usize> = [&[inputs], hidden, &[1]].concat();
        let (have, want) = (self.critic.len(), Policy::param_count(&sizes));
        if have != want {
            let message = format!("the value network has {have} parameters, not {want}");
            return Err(Error::config("ppo.hidden", message, "give the configuration that the agent was made with"));
        }
        Ok(Policy::new(sizes, self.critic.clone(), self.moments.clone()))
    }
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

    /// Advance every environment by `n_steps` with the policy as it stands, side by side on the current thread pool.
    /// `on_steps(n)` is called from worker threads after each episode, or each part of one that this rollout holds, with
    /// its number of steps.
    ///
    /// # Errors
    /// [`Error::Bug`] if two slots have the same index; otherwise the first error of an environment, by slot.
    pub fn collect(&mut self, slots: &mut [Slot], on_steps: impl Fn(u64) + Sync) -> Result<Rollout> {
        self.collect_on(&LocalPool, slots, on_steps)
    }

    /// [`Ppo::collect`] on another executor.
    ///
    /// # Errors
    /// As [`Ppo::collect`].
    pub fn collect_on(
        &mut self,
        executor: &dyn RolloutExecutor,
        slots: &mut [Slot],
        on_steps: impl Fn(u64) + Sync,
    ) -> Result<Rollout> {
        check_indices(slots)?;
        let trajectories = executor.rollouts(&self.collector(), slots, &on_steps)?;
        Ok(self.gather(trajectories))
    }

    /// Everything that acting with the policy as it stands needs.
    pub fn collector(&self) -> Collector {
        Collector {
            policy: self.policy(),
            head: self.head,
            log_std: self.log_std.clone(),
            squash: self.config.squash,
            space: self.space.clone(),
            seed: self.seed,
            n_steps: self.config.n_steps,
            siblings: self.config.siblings as u64,
        }
    }

    /// The rollout of `trajectories`, one per environment in order: with values, advantages and returns.
    pub fn gather(&mut self, trajectories: Vec<Trajectory>) -> Rollout {
        let mut rollout = Rollout { slots: trajectories.len(), steps: self.config.n_steps, ..Rollout::default() };
        let (mut last, mut raw, mut cut) = (Vec::new(), Vec::new(), Vec::new());
        for t in trajectories {
            cut.extend(t.truncated.into_iter().map(|(step, o)| (rollout.rewards.len() + step, o)));
            rollout.observations.extend(t.observations);
            rollout.actions.extend(t.actions);
            rollout.log_probs.extend(t.log_probs);
            rollout.rewards.extend(t.rewards);
            rollout.done.extend(t.done);
            rollout.episodes.extend(t.episodes);
            last.extend(t.last);
            raw.extend(t.raw);
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
        rollout
    }

    fn scale_rewards(&mut self, rollout: &mut Rollout) {
        if !self.config.normalize_reward {
            return;
        }
        let norm = self.return_norm.get_or_insert_with(|| ReturnNormalizer::new(rollout.slots));
        let n = rollout.steps;
        for slot in 0..rollout.slots {
            let range = slot * n..(slot + 1) * n;
            norm.update_and_scale(slot, self.config.gamma, &mut rollout.rewards[range.clone()], &rollout.done[range]);
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
                &rollout.done[range],
                rollout.last_values[slot],
                self.config.gamma,
                self.config.gae_lambda,
            ));
        }
        rollout.returns = rollout.advantages.iter().zip(&rollout.values).map(|(a, v)| a + v).collect();
        if self.config.siblings > 1 {
            compare_siblings(&mut rollout.advantages, n, self.config.siblings);
        }
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
        if let Some(end) = self.config.log_std_final {
            self.log_std.fill((end + (self.config.log_std_init - end) * remaining) as f32);
        }
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
        if self.config.log_std_final.is_none() {
            log_std.step(&mut self.log_std, &self.log_std_grad, lr);
        }
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

/// 1 − Var(y − ŷ)/Var(y), or NaN if y does not vary.
fn explained_variance(predicted: &[f32], actual: &[f32]) -> f64 {
    let variance = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64
    };
    let actual: Vec<f64> = actual.iter().map(|v| f64::from(*v)).collect();
    let error: Vec<f64> = actual.iter().zip(predicted).map(|(a, p)| a - f64::from(*p)).collect();
    match variance(&actual) {
        0.0 => f64::NAN,
        all => 1.0 - variance(&error) / all,
    }
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
