//! The configuration of a pretrained policy's learning.

use crate::agent::PpoConfig;
use crate::env::Masks;
use crate::range::{self, Range};
use crate::task::{DistributionConfig, TaskConfig};
use crate::{Error, Result, limits};
use lrpilot_core::generalist::{Base, Residual};
use serde::{Deserialize, Serialize};

/// How a pretrained policy is learned. The defaults are those that the shipped one was learned with.
///
/// ```
/// use lrpilot::run::generalist::GeneralistConfig;
/// let config = GeneralistConfig::default();
/// config.check()?;
/// let text = config.to_toml()?;
/// assert_eq!(GeneralistConfig::from_toml(&text, "an example")?, config);
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneralistConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// The distribution of tasks.
    pub tasks: DistributionConfig,
    /// The tasks whose responses the anchor is fitted to.
    pub bank: BankConfig,
    /// Budget and selection.
    pub learn: GeneralistLearnConfig,
    /// What episodes keep from the policy.
    pub masks: Masks,
    /// The base schedule.
    pub base: Base,
    /// How actions move the residual.
    pub residual: Residual,
    /// The agent.
    pub ppo: PpoConfig,
    /// The one task to learn on and to be chosen on, in place of the distribution: a specialist that starts and acts as a
    /// pretrained policy does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<TaskConfig>,
}

/// The tasks whose responses to the learning rate the anchor is fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BankConfig {
    /// How many; each is trained once for each of [`LEVELS`](super::LEVELS).
    pub tasks: u64,
    /// Decades that are added to the regression: a policy can lower what is too high.
    pub offset: f64,
    /// Penalty of the ridge regression, > 0, for standardised facts.
    pub ridge: f64,
}

impl Default for BankConfig {
    fn default() -> Self {
        BankConfig { tasks: 800, offset: 0.25, ridge: 3.0 }
    }
}

/// Budget and selection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneralistLearnConfig {
    /// Tasks in an update; each is trained by `ppo.siblings` episodes.
    pub groups: usize,
    /// Updates of the agent.
    pub updates: usize,
    /// Decay of the average of the weights by update, in [0, 1).
    pub average: f64,
    /// Updates between two scores on the tasks of selection.
    pub score_every: usize,
    /// Training runs of each task of selection for a score; every second one in a [plain](super::Loop) loop.
    pub score_seeds: usize,
}

impl Default for GeneralistLearnConfig {
    fn default() -> Self {
        GeneralistLearnConfig { groups: 32, updates: 300, average: 0.98, score_every: 10, score_seeds: 2 }
    }
}

impl Default for GeneralistConfig {
    fn default() -> Self {
        GeneralistConfig {
            seed: 0,
            tasks: DistributionConfig::default(),
            bank: BankConfig::default(),
            learn: GeneralistLearnConfig::default(),
            masks: Masks::default(),
            base: Base::default(),
            residual: Residual::default(),
            ppo: PpoConfig {
                n_steps: 24,
                batch_size: 1024,
                n_epochs: 8,
                learning_rate: 1e-3,
                anneal_lr: true,
                gamma: 1.0,
                gae_lambda: 0.97,
                normalize_advantage: false,
                target_kl: Some(0.03),
                log_std_init: -0.7,
                log_std_final: Some(-1.8),
                siblings: 8,
                ..PpoConfig::default()
            },
            on: None,
        }
    }
}

impl GeneralistConfig {
    /// Environments: groups times siblings.
    pub fn environments(&self) -> usize {
        self.learn.groups * self.ppo.siblings
    }

    /// Decisions in an update.
    pub fn decisions(&self) -> u64 {
        (self.environments() * self.ppo.n_steps) as u64
    }

    /// The configuration as text.
    ///
    /// # Errors
    /// [`Error::Bug`].
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Bug(format!("a configuration cannot be written: {e}")))
    }

    /// A configuration from text; what it does not say has its default. `place` is for messages.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn from_toml(text: &str, place: &str) -> Result<Self> {
        let config: GeneralistConfig = crate::settings::parse(text, place)?;
        config.check()?;
        Ok(config)
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let GeneralistLearnConfig { groups, updates, average, score_every, score_seeds } = self.learn;
        range::count("seed", self.seed, 0, limits::SEED)?;
        self.tasks.check()?;
        range::count("bank.tasks", self.bank.tasks, 20, limits::TRIALS)?;
        range::check("bank.offset", self.bank.offset, Range::Finite)?;
        range::check("bank.ridge", self.bank.ridge, Range::Positive)?;
        range::count("learn.groups", groups, 1, limits::ENVIRONMENTS)?;
        range::count("learn.updates", updates, 1, limits::EPOCHS)?;
        range::check("learn.average", average, Range::BelowOne)?;
        range::count("learn.score_every", score_every, 1, limits::EPOCHS)?;
        range::count("learn.score_seeds", score_seeds, 1, limits::TRIALS)?;
        for (key, share) in [
            ("gradients", self.masks.gradients),
            ("held_back", self.masks.held_back),
            ("first_held_back", self.masks.first_held_back),
            ("examples", self.masks.examples),
            ("own_moments", self.masks.own_moments),
            ("given_lr", self.masks.given_lr),
            ("snapshots", self.masks.snapshots),
        ] {
            range::check(format_args!("masks.{key}"), share, Range::Share)?;
        }
        self.on.as_ref().map_or(Ok(()), TaskConfig::check)?;
        self.base.check()?;
        self.residual.check()?;
        self.ppo.check()?;
        range::count("learn.groups × ppo.siblings", self.environments() as u64, 1, limits::ENVIRONMENTS)?;
        range::count("decisions in an update", self.decisions(), 1, limits::ROLLOUT)
    }
}
