//! PPO's settings.

use crate::keys::Allowed::{Count, Counts, Flag, Name, Number};
use crate::keys::{Choice, Key};
use crate::range::{self, Range};
use crate::{Result, limits};
use serde::{Deserialize, Serialize};

/// How a Gaussian sample becomes an action in the Box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Squash {
    /// Clipped to the bounds when it is handed to the environment.
    #[default]
    None,
    /// tanh, scaled to the bounds (which must be finite).
    Tanh,
}

/// PPO's settings; the defaults are Stable-Baselines3's. [`PpoConfig::KEYS`] has the ranges, and `lrpilot config` prints
/// them with the defaults of the formulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// Steps of each environment per update.
    pub n_steps: usize,
    /// Minibatch size.
    pub batch_size: usize,
    /// Passes over the rollout.
    pub n_epochs: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Whether it falls linearly to 0 over the run.
    pub anneal_lr: bool,
    /// Discount γ.
    pub gamma: f64,
    /// λ of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Clip range ε of the probability ratio.
    pub clip_range: f64,
    /// Clip range of the value's change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_range_vf: Option<f64>,
    /// Whether advantages are normalised in each minibatch.
    pub normalize_advantage: bool,
    /// Weight of the entropy.
    pub ent_coef: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Stop an update when the approximate KL divergence exceeds 1.5 times this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_kl: Option<f64>,
    /// Widths of the tanh layers.
    pub hidden: Vec<usize>,
    /// Initial log σ.
    pub log_std_init: f64,
    /// Where log σ ends. With it log σ is not learned but goes there linearly, so that exploration neither collapses nor
    /// lasts: the frozen policy is deterministic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_std_final: Option<f64>,
    /// Environments that run the same episodes, in groups of neighbours, and differ in their sampled actions alone. Above 1,
    /// advantages are compared within a group; see [`compare_siblings`](crate::agent::compare_siblings).
    #[serde(skip_serializing_if = "is_one")]
    pub siblings: usize,
    /// Gain of the policy head's orthogonal initial weights.
    pub policy_gain: f64,
    /// How a sample becomes an action.
    pub squash: Squash,
    /// Whether observations are normalised by running statistics.
    pub normalize_observation: bool,
    /// Whether rewards are scaled by the running sd of the discounted return.
    pub normalize_reward: bool,
}

impl Default for PpoConfig {
    fn default() -> Self {
        PpoConfig {
            n_steps: 2048,
            batch_size: 64,
            n_epochs: 10,
            learning_rate: 3e-4,
            anneal_lr: false,
            gamma: 0.99,
            gae_lambda: 0.95,
            clip_range: 0.2,
            clip_range_vf: None,
            normalize_advantage: true,
            ent_coef: 0.0,
            vf_coef: 0.5,
            max_grad_norm: 0.5,
            target_kl: None,
            hidden: vec![64, 64],
            log_std_init: 0.0,
            log_std_final: None,
            siblings: 1,
            policy_gain: 0.01,
            squash: Squash::None,
            normalize_observation: false,
            normalize_reward: false,
        }
    }
}

impl Squash {
    /// The names with what they stand for.
    pub const CHOICES: &[Choice] = &[
        Choice::new("none", "actions are cut off at their bounds"),
        Choice::new("tanh", "actions are bent into their bounds"),
    ];
}

impl PpoConfig {
    /// The keys of `[ppo]`.
    pub const KEYS: &[Key] = &[
        Key::new("n_steps", Count(1, limits::ROLLOUT), "steps of each environment in an update"),
        Key::new("batch_size", Count(1, limits::ROLLOUT), "steps in a minibatch"),
        Key::new("n_epochs", Count(1, limits::PASSES), "passes over the steps of an update"),
        Key::new("learning_rate", Number(Range::Positive), "learning rate of the agent's own Adam"),
        Key::new("anneal_lr", Flag, "whether it falls linearly to 0 over the learning"),
        Key::new("gamma", Number(Range::Share), "discount"),
        Key::new("gae_lambda", Number(Range::Share), "λ of generalised advantage estimation"),
        Key::new("clip_range", Number(Range::Positive), "clip range of the probability ratio"),
        Key::optional("clip_range_vf", Number(Range::Positive), "clip range of the value's change", "no clipping"),
        Key::new("normalize_advantage", Flag, "whether advantages are normalised in each minibatch"),
        Key::new("ent_coef", Number(Range::NotNegative), "weight of the entropy"),
        Key::new("vf_coef", Number(Range::NotNegative), "weight of the value loss"),
        Key::new("max_grad_norm", Number(Range::Positive), "largest norm of the gradient"),
        Key::optional(
            "target_kl",
            Number(Range::Positive),
            "an update stops when the KL divergence exceeds 1.5 times this",
            "no limit",
        ),
        Key::new("hidden", Counts(1, limits::HIDDEN), "widths of the tanh layers of policy and value network"),
        Key::new("log_std_init", Number(Range::Finite), "initial log σ of the actions"),
        Key::optional(
            "log_std_final",
            Number(Range::Finite),
            "where log σ ends; with it, log σ is not learned but goes there linearly",
            "log σ is learned",
        ),
        Key::new(
            "siblings",
            Count(1, limits::ENVIRONMENTS),
            "environments that run the same episodes with other actions; above 1, advantages are compared among them",
        ),
        Key::new("policy_gain", Number(Range::Positive), "gain of the policy's last layer's initial weights"),
        Key::new("squash", Name(Squash::CHOICES), "how actions are kept in their bounds"),
        Key::new("normalize_observation", Flag, "whether observations are normalised by a running mean and deviation"),
        Key::new("normalize_reward", Flag, "whether rewards are divided by the running deviation of the return"),
    ];

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        range::count("ppo.n_steps", self.n_steps, 1, limits::ROLLOUT)?;
        range::count("ppo.batch_size", self.batch_size, 1, limits::ROLLOUT)?;
        range::count("ppo.n_epochs", self.n_epochs, 1, limits::PASSES)?;
        range::count("ppo.siblings", self.siblings, 1, limits::ENVIRONMENTS)?;
        range::count("ppo.hidden: number of layers", self.hidden.len(), 0, limits::LAYERS)?;
        self.hidden.iter().try_for_each(|h| range::count("ppo.hidden", *h, 1, limits::HIDDEN))?;
        let parameters: u64 = self.hidden.windows(2).map(|w| w[0] as u64 * w[1] as u64).sum();
        range::count("ppo.hidden: number of parameters", parameters, 0, limits::POLICY)?;
        for (key, value, range) in [
            ("learning_rate", Some(self.learning_rate), Range::Positive),
            ("clip_range", Some(self.clip_range), Range::Positive),
            ("clip_range_vf", self.clip_range_vf, Range::Positive),
            ("max_grad_norm", Some(self.max_grad_norm), Range::Positive),
            ("target_kl", self.target_kl, Range::Positive),
            ("policy_gain", Some(self.policy_gain), Range::Positive),
            ("gamma", Some(self.gamma), Range::Share),
            ("gae_lambda", Some(self.gae_lambda), Range::Share),
            ("ent_coef", Some(self.ent_coef), Range::NotNegative),
            ("vf_coef", Some(self.vf_coef), Range::NotNegative),
            ("log_std_init", Some(self.log_std_init), Range::Finite),
            ("log_std_final", self.log_std_final, Range::Finite),
        ] {
            value.map_or(Ok(()), |v| range::check(format_args!("ppo.{key}"), v, range))?;
        }
        Ok(())
    }
}

fn is_one(n: &usize) -> bool {
    *n == 1
}
