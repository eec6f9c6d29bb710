//! The configuration of a run: task, environment, agent and budget in one structure.

use crate::agent::PpoConfig;
use crate::env::{EnvConfig, Formulation};
use crate::keys::Allowed::{Count, OneOf, Table};
use crate::keys::Key;
use crate::range;
use crate::task::{ExternalConfig, Preset, TaskConfig, TaskSource};
use crate::{Error, Result, limits};
use serde::{Deserialize, Serialize};

/// How much is spent on learning, and how the policy is chosen. [`LearnConfig::KEYS`] has the ranges, and
/// `lrpilot config` prints them with the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnConfig {
    /// Training epochs in all.
    pub epochs: u64,
    /// Episodes side by side.
    pub environments: usize,
    /// Snapshots tried on validation B.
    pub candidates: usize,
    /// Episodes for each candidate.
    pub selection_seeds: usize,
}

impl LearnConfig {
    /// The keys of `[learn]`.
    pub const KEYS: &[Key] = &[
        Key::new(
            "epochs",
            Count(1, limits::EPOCHS),
            "training epochs (decision intervals) in all, selection included; at least one rollout and the selection",
        ),
        Key::new("environments", Count(1, limits::ENVIRONMENTS), "training runs side by side"),
        Key::new("candidates", Count(1, limits::CANDIDATES), "latest policies that are tried on validation B"),
        Key::new(
            "selection_seeds",
            Count(0, limits::TRIALS),
            "training runs that each candidate is tried on; 0 keeps the latest policy",
        ),
    ];
}

/// A run, complete. `config.toml` of a run folder holds exactly this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// What is trained.
    pub task: TaskConfig,
    /// The decision process.
    pub env: EnvConfig,
    /// Budget and selection.
    pub learn: LearnConfig,
    /// The agent.
    pub ppo: PpoConfig,
}

impl RunConfig {
    /// The keys of a configuration file.
    pub const KEYS: &[Key] = &[
        Key::new("seed", Count(0, limits::SEED), "seed of the policy and of everything random"),
        Key::new("task", OneOf("kind", TaskConfig::VARIANTS), "What is trained."),
        Key::new("env", Table(EnvConfig::KEYS), "What the agent sees, does and is paid."),
        Key::new("learn", Table(LearnConfig::KEYS), "How much is spent on learning, and how the policy is chosen."),
        Key::new("ppo", Table(PpoConfig::KEYS), "The agent, with the names of Stable-Baselines3."),
    ];

    /// The defaults of a formulation on a task.
    pub fn new(task: TaskConfig, formulation: Formulation) -> Self {
        let env = EnvConfig { formulation, ..EnvConfig::default() };
        let (learn, ppo) = match formulation {
            Formulation::Paper => (
                LearnConfig { epochs: 10_000, environments: 1, candidates: 1, selection_seeds: 0 },
                PpoConfig { learning_rate: 1e-3, ..PpoConfig::default() },
            ),
            Formulation::Pilot => (
                LearnConfig { epochs: 10_000, environments: 20, candidates: 8, selection_seeds: 4 },
                PpoConfig {
                    n_steps: 25,
                    batch_size: 125,
                    n_epochs: 10,
                    learning_rate: 1e-3,
                    gamma: 1.0,
                    gae_lambda: 0.95,
                    log_std_init: -0.7,
                    ..PpoConfig::default()
                },
            ),
        };
        RunConfig { seed: 0, task, env, learn, ppo }
    }

    /// The defaults of a formulation on tasks that are not lrpilot's own.
    ///
    /// ```
    /// use lrpilot::env::Formulation;
    /// use lrpilot::task::{Preset, ConfiguredTask};
    /// # let my_tasks = ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?;
    /// let config = lrpilot::RunConfig::of_source(&my_tasks, Formulation::Pilot);
    /// assert_eq!(config.learn.epochs, 10_000);
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    pub fn of_source(source: &dyn TaskSource, formulation: Formulation) -> Self {
        let (name, identity) = (source.name().to_owned(), source.identity().to_string());
        let task = ExternalConfig { name, horizon: source.spec().horizon, identity };
        RunConfig::new(TaskConfig::External(task), formulation)
    }

    /// The configuration of a preset, on which a file and settings are laid.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name, listing the known ones.
    pub fn preset(name: &str, formulation: Formulation) -> Result<Self> {
        let preset = Preset::from_name(name).ok_or_else(|| {
            let names = Preset::ALL.map(Preset::name).join(", ");
            Error::usage(format!("`{name}` is neither a task nor a file"), format!("tasks: {names}"))
        })?;
        Ok(RunConfig::new(preset.config(), formulation))
    }

    /// The configuration as text: what `config.toml` of a run folder holds.
    ///
    /// # Errors
    /// [`Error::Bug`].
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Bug(format!("a configuration cannot be written: {e}")))
    }

    /// Learn for `epochs` instead. Where that is less than one rollout of a single environment (2,048 steps in the paper's
    /// formulation), all of it is one rollout.
    pub fn set_budget(&mut self, epochs: u64) {
        self.learn.epochs = epochs;
        if self.learn.environments == 1 {
            self.ppo.n_steps = self.ppo.n_steps.min(epochs as usize);
        }
    }

    /// Epochs that one update trains.
    pub fn rollout_epochs(&self) -> u64 {
        (self.learn.environments * self.ppo.n_steps) as u64
    }

    /// Epochs set aside for trying the candidates.
    pub fn selection_epochs(&self) -> u64 {
        self.trial_epochs(self.learn.candidates)
    }

    fn trial_epochs(&self, candidates: usize) -> u64 {
        (candidates * self.learn.selection_seeds * self.task.horizon()) as u64
    }

    /// Updates that the budget allows.
    pub fn updates(&self) -> usize {
        let left = self.learn.epochs.saturating_sub(self.selection_epochs());
        (left / self.rollout_epochs().max(1)) as usize
    }

    /// Epochs that learning takes, selection included: the budget without what no further update fits in.
    pub fn planned_epochs(&self) -> u64 {
        let updates = self.updates();
        updates as u64 * self.rollout_epochs() + self.trial_epochs(self.learn.candidates.min(updates))
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let LearnConfig { epochs, environments, candidates, selection_seeds } = self.learn;
        range::count("seed", self.seed, 0, limits::SEED)?;
        range::count("learn.epochs", epochs, 1, limits::EPOCHS)?;
        range::count("learn.environments", environments, 1, limits::ENVIRONMENTS)?;
        range::count("learn.candidates", candidates, 1, limits::CANDIDATES)?;
        range::count("learn.selection_seeds", selection_seeds, 0, limits::TRIALS)?;
        self.env.check()?;
        self.ppo.check()?;
        range::count("learn.environments × ppo.n_steps", self.rollout_epochs(), 1, limits::ROLLOUT)?;
        self.task.check()?;
        let numbers = environments as u128 * self.task.numbers()?;
        range::count("learn.environments: numbers in all networks", numbers, 0, limits::NUMBERS)
    }
}
