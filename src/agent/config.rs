//! PPO's settings.

use crate::{Error, Result};
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

/// PPO's settings; the defaults are Stable-Baselines3's.
///
/// | key | default | purpose | range |
/// |---|---|---|---|
/// | `n_steps` | 2048 | steps of each environment per update | ≥ 1 |
/// | `batch_size` | 64 | minibatch | ≥ 1 |
/// | `n_epochs` | 10 | passes over the rollout | ≥ 1 |
/// | `learning_rate` | 3e-4 | Adam's LR | > 0 |
/// | `anneal_lr` | false | LR falls linearly to 0 | |
/// | `gamma` | 0.99 | discount γ | [0, 1] |
/// | `gae_lambda` | 0.95 | λ of GAE | [0, 1] |
/// | `clip_range` | 0.2 | clip ε of the ratio | > 0 |
/// | `clip_range_vf` | none | clip of the value's change | > 0 |
/// | `normalize_advantage` | true | per minibatch | |
/// | `ent_coef` | 0 | weight of the entropy | ≥ 0 |
/// | `vf_coef` | 0.5 | weight of the value loss | ≥ 0 |
/// | `max_grad_norm` | 0.5 | global clip | > 0 |
/// | `target_kl` | none | stop the update above 1.5 × this | > 0 |
/// | `hidden` | [64, 64] | tanh layers of policy and value nets | each ≥ 1 |
/// | `log_std_init` | 0 | initial log σ | finite |
/// | `policy_gain` | 0.01 | gain of the policy head's initial weights | > 0 |
/// | `squash` | none | see [`Squash`] | |
/// | `normalize_observation` | false | running mean and sd, clip ±10 | |
/// | `normalize_reward` | false | divide by the running sd of the discounted return, clip ±10 | |
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
            policy_gain: 0.01,
            squash: Squash::None,
            normalize_observation: false,
            normalize_reward: false,
        }
    }
}

impl PpoConfig {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let counts = [("n_steps", self.n_steps), ("batch_size", self.batch_size), ("n_epochs", self.n_epochs)];
        for (key, value) in counts.into_iter().chain(self.hidden.iter().map(|h| ("hidden", *h))) {
            ensure(key, value as f64, value > 0, "at least 1")?;
        }
        let positive = [
            ("learning_rate", Some(self.learning_rate)),
            ("clip_range", Some(self.clip_range)),
            ("clip_range_vf", self.clip_range_vf),
            ("max_grad_norm", Some(self.max_grad_norm)),
            ("target_kl", self.target_kl),
            ("policy_gain", Some(self.policy_gain)),
        ];
        for (key, value) in positive.into_iter().filter_map(|(k, v)| Some((k, v?))) {
            ensure(key, value, value.is_finite() && value > 0.0, "a finite number > 0")?;
        }
        for (key, value) in [("gamma", self.gamma), ("gae_lambda", self.gae_lambda)] {
            ensure(key, value, (0.0..=1.0).contains(&value), "a number in [0, 1]")?;
        }
        for (key, value) in [("ent_coef", self.ent_coef), ("vf_coef", self.vf_coef)] {
            ensure(key, value, value.is_finite() && value >= 0.0, "a finite number ≥ 0")?;
        }
        ensure("log_std_init", self.log_std_init, self.log_std_init.is_finite(), "a finite number")
    }
}

fn ensure(key: &str, value: f64, ok: bool, wanted: &str) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::config(format!("ppo.{key}"), format!("{value} is not allowed"), format!("give {wanted}")))
}
