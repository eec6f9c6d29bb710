//! How much of the paper is run: which data, networks, budgets and seeds.

use crate::agent::PpoConfig;
use crate::env::{Action, EnvConfig, Formulation, InitialLr, Reward};
use crate::nn::OptimizerSpec;
use crate::nn::model::ModelSpec;
use crate::run::config::{LearnConfig, RunConfig};
use crate::task::data::{DatasetName, Objective, SplitConfig};
use crate::task::{SupervisedConfig, TaskConfig};
use serde::Deserialize;

/// The three sizes. Methods, tables and figures are the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// About a minute: the embedded digits stand in for both data sets. Shows that everything runs, and nothing else.
    Smoke,
    /// About an hour on 2 cores: fewer images and smaller networks; epochs, budgets, seeds and methods as in the paper.
    Laptop,
    /// The paper's sizes: all images, the network of PyTorch's MNIST example.
    Full,
}

/// The two data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Data {
    /// MNIST.
    #[serde(rename = "mnist")]
    Mnist,
    /// CIFAR-100 with its 100 classes.
    #[serde(rename = "cifar-100")]
    Cifar100,
}

impl Data {
    /// The name in part identifiers.
    pub fn name(self) -> &'static str {
        match self {
            Data::Mnist => "mnist",
            Data::Cifar100 => "cifar-100",
        }
    }

    /// The name in headings.
    pub fn title(self) -> &'static str {
        match self {
            Data::Mnist => "MNIST",
            Data::Cifar100 => "CIFAR-100",
        }
    }
}

impl Scale {
    /// All scales, smallest first.
    pub const ALL: [Scale; 3] = [Scale::Smoke, Scale::Laptop, Scale::Full];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Smoke => "smoke",
            Scale::Laptop => "laptop",
            Scale::Full => "full",
        }
    }

    /// What was trained, for the report.
    pub fn description(self) -> &'static str {
        match self {
            Scale::Smoke => {
                "smoke: 500 of the embedded 8×8 digits in place of MNIST and CIFAR-100, MLP 64–16–10, 4 epochs, a few \
                 grid points; shows that everything runs, not what the paper measures"
            }
            Scale::Laptop => {
                "laptop: 1,000 MNIST images with an MLP 784–32–10 and 2,000 CIFAR-100 images with an MLP 3072–64–100, \
                 batch 64; epochs, grids, budgets and seeds as in the paper"
            }
            Scale::Full => {
                "full: 50,000 MNIST images with the network of PyTorch's MNIST example and 40,000 CIFAR-100 images with \
                 the same network on three channels, batch 64"
            }
        }
    }

    /// Points of the grid of initial learning rates (paper §3: 100).
    pub fn grid_points(self) -> usize {
        if self == Scale::Smoke { 4 } else { 100 }
    }

    /// Agent seeds, and fresh seeds of every evaluation (paper §3: 5).
    pub fn seeds(self) -> u64 {
        if self == Scale::Smoke { 2 } else { 5 }
    }

    /// Epochs that an agent may use (paper §3: 10,000).
    pub fn budget(self) -> u64 {
        if self == Scale::Smoke { 64 } else { 10_000 }
    }

    /// Budgets of figures 3, 4 and 5.
    pub fn step_budgets(self) -> [u64; 3] {
        [1, 2, 5].map(|n| n * self.budget())
    }

    /// Initial and agent learning rates (paper §3).
    pub fn lrs(self) -> &'static [f64] {
        &[5e-4, 1e-3, 5e-3, 1e-2]
    }

    /// The initial learning rate of single experiments on MNIST.
    pub const MNIST_LR: f64 = 1e-3;

    /// The range of the grid of initial learning rates (paper §3).
    pub const LR_RANGE: (f64, f64) = (1e-6, 1.0);

    /// The initial learning rate on CIFAR-100 (paper, Table 10).
    pub const CIFAR_LR: f64 = 5e-3;

    /// The task on `data` under `optimizer`.
    pub fn task(self, data: Data, optimizer: OptimizerSpec) -> SupervisedConfig {
        let (dataset, train_images, held_back, test, model, horizon) = match (self, data) {
            (Scale::Smoke, _) => (DatasetName::Digits, 500, 200, 200, "mlp-16", 4),
            (Scale::Laptop, Data::Mnist) => (DatasetName::Mnist, 1000, 500, 2000, "mlp-32", 100),
            (Scale::Laptop, Data::Cifar100) => (DatasetName::Cifar100, 2000, 500, 2000, "mlp-64", 100),
            (Scale::Full, Data::Mnist) => (DatasetName::Mnist, 50_000, 5000, 10_000, "mnist-cnn", 100),
            (Scale::Full, Data::Cifar100) => (DatasetName::Cifar100, 40_000, 5000, 10_000, "cifar-cnn", 100),
        };
        let data_config =
            SplitConfig { train_images, val_a: held_back, val_b: held_back, test, label_noise: 0.0, data_seed: 0 };
        SupervisedConfig {
            name: format!("{} ({})", data.name(), self.name()),
            dataset,
            objective: Objective::Classification,
            csv: None,
            data: data_config,
            model: ModelSpec::Name(model.into()),
            optimizer,
            batch_size: 64,
            interval_steps: None,
            horizon,
            lr_bounds: Self::LR_RANGE,
        }
    }

    /// An agent of the paper's formulation: its own learning rate is the initial one (paper A.2).
    pub fn paper_agent(self, task: SupervisedConfig, lr: f64, seed: u64) -> RunConfig {
        let mut config = RunConfig { seed, ..RunConfig::new(TaskConfig::Supervised(task), Formulation::Paper) };
        config.env.initial_lr = Some(InitialLr::Fixed { lr });
        config.ppo.learning_rate = lr;
        config.set_budget(self.budget());
        config
    }

    /// Epochs between two decisions of lrpilot's agents: with 20 decisions in a run of 100 epochs it learns more from the
    /// same number of epochs than with 100.
    pub fn decision_epochs(self) -> usize {
        if self == Scale::Smoke { 2 } else { 5 }
    }

    /// `task` as lrpilot's agents see it: as many epochs in fewer and longer intervals.
    pub fn with_decisions(self, task: SupervisedConfig) -> SupervisedConfig {
        let epochs = self.decision_epochs();
        let (interval_steps, horizon) = (Some(epochs * task.steps_per_epoch()), task.horizon / epochs);
        SupervisedConfig { interval_steps, horizon, ..task }
    }

    /// An agent of formulation `pilot` at the same budget. On MNIST it learns from within a factor of two of the anchor,
    /// and the anchor replaces whatever initial learning rate is further away: one policy serves every row of the tables.
    /// On CIFAR-100, where there is one row, it starts from that row's learning rate, as the paper's agent does: there the
    /// anchor overfits within ten epochs, and for the same reason the reward is capped.
    ///
    /// Settings were chosen at laptop scale with agent and evaluation seeds that the tables do not use;
    /// `docs/lab/results.md` says what was tried.
    pub fn pilot_agent(self, task: SupervisedConfig, seed: u64) -> RunConfig {
        let (initial_lr, reward) = match task.dataset {
            DatasetName::Cifar100 => {
                let capped = Reward::LogImprovement { epsilon: 1e-3, capped: true };
                (InitialLr::Fixed { lr: Self::CIFAR_LR }, Some(capped))
            }
            _ => (InitialLr::NearAnchor { decades: 0.3 }, None),
        };
        let task = TaskConfig::Supervised(self.with_decisions(task));
        let mut config = RunConfig { seed, ..RunConfig::new(task, Formulation::Pilot) };
        config.env = EnvConfig {
            initial_lr: Some(initial_lr),
            action: Some(Action::Multiplicative { step: 1.5 }),
            reward,
            ..config.env
        };
        // A hundred episodes in all: small updates with many passes over each, which a target for the KL divergence keeps
        // from going too far.
        config.learn = LearnConfig { environments: 4, candidates: 4, selection_seeds: 3, ..config.learn };
        config.ppo = PpoConfig {
            n_steps: 20,
            batch_size: 40,
            n_epochs: 40,
            learning_rate: 2e-3,
            gae_lambda: 0.85,
            log_std_init: -1.3,
            target_kl: Some(0.07),
            normalize_reward: true,
            ..config.ppo
        };
        if self == Scale::Smoke {
            (config.learn.candidates, config.learn.selection_seeds) = (1, 1);
            (config.ppo.n_steps, config.ppo.batch_size, config.ppo.n_epochs) = (2, 4, 2);
        }
        config.set_budget(self.budget() / self.decision_epochs() as u64);
        config
    }
}
