//! What the paper's tables and figures take: a list of parts, each of which can be run alone.

use crate::env::{KnobRange, Reward};
use crate::nn::OptimizerSpec;
use crate::nn::line_search::LineSearchConfig;
use crate::paper::scale::{Data, Scale};
use crate::rng::{Purpose, derive_seed};
use crate::run::compare::log_grid;
use crate::run::config::RunConfig;
use crate::schedule::OpenLoop;
use crate::task::SupervisedConfig;

/// What can be chosen with `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Experiment {
    /// Tables 1 to 9 and figures 1 and 9: grids, schedulers and agents on MNIST.
    Mnist,
    /// Tables 1 and 10 and figure 2: the same on CIFAR-100.
    Cifar,
    /// Figures 3 to 5: agents after more steps.
    Steps,
    /// Figure 6: stochastic line search.
    Sls,
    /// Section A.8 and figures 7 to 9: simpler rewards, other learning rates of the agent.
    Ablations,
    /// Momentum and weight decay as further actions.
    Knobs,
    /// The agent over every optimizer.
    Optimizers,
    /// Schedules found on one seed replayed on the others (A.7).
    Replay,
}

impl Experiment {
    /// All of them, in the order in which they are run.
    pub const ALL: [Experiment; 8] = [
        Experiment::Mnist,
        Experiment::Replay,
        Experiment::Sls,
        Experiment::Cifar,
        Experiment::Steps,
        Experiment::Ablations,
        Experiment::Knobs,
        Experiment::Optimizers,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Experiment::Mnist => "mnist",
            Experiment::Cifar => "cifar-100",
            Experiment::Steps => "steps",
            Experiment::Sls => "sls",
            Experiment::Ablations => "ablations",
            Experiment::Knobs => "knobs",
            Experiment::Optimizers => "optimizers",
            Experiment::Replay => "replay",
        }
    }
}

/// A piece of work with an identifier such as `mnist/sgd/one-cycle/grid`.
#[derive(Clone, Debug)]
pub struct Part {
    /// Identifier.
    pub id: String,
    /// What it belongs to.
    pub experiment: Experiment,
    /// What is to be done.
    pub work: Work,
}

/// What a part does.
#[derive(Clone, Debug)]
pub enum Work {
    /// Train with every initial learning rate on every seed.
    Runs {
        /// The task, with its optimizer.
        task: SupervisedConfig,
        /// The schedule on the initial learning rate.
        schedule: OpenLoop,
        /// Initial learning rates.
        lrs: Vec<f64>,
        /// Seeds of weights and batch order.
        seeds: Vec<u64>,
    },
    /// Train with the best learning rate of a grid again on fresh seeds: the smallest of 100 losses is a lucky one.
    Best {
        /// Identifier of the grid.
        grid: String,
        /// Fresh seeds.
        seeds: Vec<u64>,
    },
    /// Learn policies and try each on fresh seeds.
    Agent {
        /// One configuration for each policy.
        configs: Vec<RunConfig>,
        /// Initial learning rate of the trials; the anchor if absent.
        initial_lr: Option<f64>,
        /// Fresh seeds.
        seeds: Vec<u64>,
    },
    /// Replay the schedule that policy 1 of an agent made on each seed on all seeds.
    Replay {
        /// Identifier of the agent.
        agent: String,
        /// Its task.
        task: SupervisedConfig,
        /// The seeds.
        seeds: Vec<u64>,
    },
}

impl Part {
    /// Epochs that it trains.
    pub fn epochs(&self, all: &[Part]) -> u64 {
        let intervals = match &self.work {
            Work::Runs { task, lrs, seeds, .. } => (lrs.len() * seeds.len() * task.horizon) as u64,
            Work::Best { grid, seeds } => {
                let of = all.iter().find(|p| p.id == *grid).map_or(0, |p| p.horizon());
                (seeds.len() * of) as u64
            }
            Work::Agent { configs, seeds, .. } => {
                let learning =
                    if self.is_learned_before(all) { 0 } else { configs.iter().map(RunConfig::planned_epochs).sum() };
                learning + (configs.len() * seeds.len() * self.horizon()) as u64
            }
            Work::Replay { seeds, task, .. } => (seeds.len() * seeds.len() * task.horizon) as u64,
        };
        intervals * self.epochs_per_interval()
    }

    /// Whether an earlier part learns the same policies.
    pub(super) fn is_learned_before(&self, all: &[Part]) -> bool {
        let Work::Agent { configs, .. } = &self.work else { return false };
        let mut earlier = all.iter().take_while(|p| p.id != self.id);
        earlier.any(|p| matches!(&p.work, Work::Agent { configs: others, .. } if others == configs))
    }

    /// Epochs of an interval of its task.
    pub fn epochs_per_interval(&self) -> u64 {
        self.task().map_or(1, epochs_per_interval)
    }

    /// Training runs, counting a policy's whole training as one.
    pub fn jobs(&self) -> usize {
        match &self.work {
            Work::Runs { lrs, seeds, .. } => lrs.len() * seeds.len(),
            Work::Best { seeds, .. } => seeds.len(),
            Work::Agent { configs, seeds, .. } => configs.len() * (1 + seeds.len()),
            Work::Replay { seeds, .. } => seeds.len() * seeds.len(),
        }
    }

    /// Epochs of one of its runs; 0 where another part knows.
    pub fn horizon(&self) -> usize {
        self.task().map_or(0, |t| t.horizon)
    }

    /// The task; `None` where another part knows.
    pub fn task(&self) -> Option<&SupervisedConfig> {
        match &self.work {
            Work::Runs { task, .. } | Work::Replay { task, .. } => Some(task),
            Work::Agent { configs, .. } => configs.first().and_then(|c| c.task.supervised()),
            Work::Best { .. } => None,
        }
    }
}

/// Epochs of an interval of `task`; all of this plan's are whole numbers of epochs.
pub fn epochs_per_interval(task: &SupervisedConfig) -> u64 {
    task.interval_steps.map_or(1, |steps| (steps / task.steps_per_epoch()) as u64)
}

/// The optimizers of the paper's grids, by the names of its tables.
pub fn grid_optimizers() -> [(&'static str, OptimizerSpec); 4] {
    let named = |name: &str| optimizer(name);
    [("sgd", named("sgd")), ("adadelta", named("adadelta")), ("adam", named("adam")), ("adagrad", named("adagrad"))]
}

/// PyTorch's defaults of the optimizer called `name`, which is one of ours.
fn optimizer(name: &str) -> OptimizerSpec {
    let (betas, eps) = ((0.9, 0.999), 1e-8);
    match name {
        "adam" => OptimizerSpec::Adam { betas, eps, weight_decay: 0.0 },
        "adamw" => OptimizerSpec::Adamw { betas, eps, weight_decay: 1e-2 },
        "adadelta" => OptimizerSpec::Adadelta { rho: 0.9, eps: 1e-6, weight_decay: 0.0 },
        "adagrad" => {
            OptimizerSpec::Adagrad { lr_decay: 0.0, eps: 1e-10, weight_decay: 0.0, initial_accumulator_value: 0.0 }
        }
        "rmsprop" => {
            OptimizerSpec::Rmsprop { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0 }
        }
        _ => OptimizerSpec::default(),
    }
}

/// The schedulers of the paper's tables: none, PyTorch's ConstantLR and OneCycleLR with their defaults.
fn scheduler(name: &str, horizon: usize) -> OpenLoop {
    match name {
        "constant-lr" => OpenLoop::Constant { factor: 1.0 / 3.0, total_iters: 5 },
        // PyTorch cycles momentum by default and then refuses Adadelta; it is left out for all of them.
        "one-cycle" => OpenLoop::one_cycle(horizon).without_momentum(),
        _ => OpenLoop::Fixed {},
    }
}

/// A learning rate as it stands in identifiers: `5e-4`.
pub fn lr_name(lr: f64) -> String {
    format!("{lr:e}")
}

/// Seeds of evaluations; those of grids and agents are others.
pub fn fresh_seeds(scale: Scale, seed: u64) -> Vec<u64> {
    (0..scale.seeds()).map(|i| derive_seed(seed, Purpose::Bootstrap, 1 + i)).collect()
}

/// Builds the list of parts.
struct Planner {
    scale: Scale,
    seed: u64,
    parts: Vec<Part>,
}

/// All parts of `scale` from `seed`, in the order in which they are run.
pub fn plan(scale: Scale, seed: u64) -> Vec<Part> {
    let mut planner = Planner { scale, seed, parts: Vec::new() };
    for experiment in Experiment::ALL {
        match experiment {
            Experiment::Mnist => planner.mnist(),
            Experiment::Cifar => planner.cifar(),
            Experiment::Steps => planner.steps(),
            Experiment::Sls => planner.sls(),
            Experiment::Ablations => planner.ablations(),
            Experiment::Knobs => planner.knobs(),
            Experiment::Optimizers => planner.optimizers(),
            Experiment::Replay => planner.replay(),
        }
    }
    planner.parts
}

impl Planner {
    fn fresh(&self) -> Vec<u64> {
        fresh_seeds(self.scale, self.seed)
    }

    fn add(&mut self, experiment: Experiment, id: String, work: Work) {
        self.parts.push(Part { id, experiment, work });
    }

    /// A grid on one seed, and its best learning rate on fresh ones.
    fn grid(&mut self, experiment: Experiment, data: Data, (name, optimizer): (&str, OptimizerSpec), schedule: &str) {
        let task = self.scale.task(data, optimizer);
        let id = format!("{}/{name}/{schedule}", data.name());
        let (lrs, schedule) = (log_grid(Scale::LR_RANGE, self.scale.grid_points()), scheduler(schedule, task.horizon));
        let seeds = vec![derive_seed(self.seed, Purpose::Episode, 1 << 62)];
        self.add(experiment, format!("{id}/grid"), Work::Runs { task, schedule, lrs, seeds });
        let seeds = self.fresh();
        self.add(experiment, format!("{id}/best"), Work::Best { grid: format!("{id}/grid"), seeds });
    }

    /// The learning rates of the tables on fresh seeds.
    fn at_lrs(&mut self, experiment: Experiment, data: Data, name: &str, schedule: &str, lrs: &[f64]) {
        let task = self.scale.task(data, optimizer(name));
        let id = format!("{}/{name}/{schedule}/runs", data.name());
        let schedule = scheduler(schedule, task.horizon);
        self.add(experiment, id, Work::Runs { task, schedule, lrs: lrs.to_vec(), seeds: self.fresh() });
    }

    /// Agents of the seeds 0, 1, …: `make` configures each.
    fn agent(&mut self, experiment: Experiment, id: &str, initial_lr: Option<f64>, make: impl Fn(u64) -> RunConfig) {
        let configs = (0..self.scale.seeds()).map(|i| make(self.seed + i)).collect();
        self.add(experiment, id.to_owned(), Work::Agent { configs, initial_lr, seeds: self.fresh() });
    }

    /// Agents of both formulations that start from `lr`.
    fn both_agents(&mut self, experiment: Experiment, data: Data, lr: f64) {
        let (scale, task) = (self.scale, self.scale.task(data, OptimizerSpec::default()));
        let (data, name) = (data.name(), lr_name(lr));
        let paper = |seed| scale.paper_agent(task.clone(), lr, seed);
        self.agent(experiment, &format!("{data}/agent/{name}"), Some(lr), paper);
        let pilot = |seed| scale.pilot_agent(task.clone(), seed);
        self.agent(experiment, &format!("{data}/lrpilot/{name}"), Some(lr), pilot);
    }

    fn mnist(&mut self) {
        for (name, spec) in grid_optimizers() {
            for schedule in ["none", "constant-lr", "one-cycle"] {
                self.grid(Experiment::Mnist, Data::Mnist, (name, spec.clone()), schedule);
                if schedule != "none" && name != "adagrad" {
                    self.at_lrs(Experiment::Mnist, Data::Mnist, name, schedule, self.scale.lrs());
                }
            }
        }
        for &lr in self.scale.lrs() {
            self.both_agents(Experiment::Mnist, Data::Mnist, lr);
        }
    }

    fn cifar(&mut self) {
        for (name, spec) in grid_optimizers().into_iter().take(3) {
            self.grid(Experiment::Cifar, Data::Cifar100, (name, spec), "none");
            self.at_lrs(Experiment::Cifar, Data::Cifar100, name, "one-cycle", &[Scale::CIFAR_LR]);
        }
        self.both_agents(Experiment::Cifar, Data::Cifar100, Scale::CIFAR_LR);
    }

    /// Agents of the paper's formulation with twice and five times the budget.
    fn steps(&mut self) {
        let (scale, lr) = (self.scale, 1e-3);
        for budget in scale.step_budgets().into_iter().skip(1) {
            let task = scale.task(Data::Mnist, OptimizerSpec::default());
            let make = |seed| {
                let mut config = scale.paper_agent(task.clone(), lr, seed);
                config.set_budget(budget);
                config
            };
            self.agent(Experiment::Steps, &format!("mnist/agent/{budget}-steps"), Some(lr), make);
        }
    }

    fn sls(&mut self) {
        let task = self.scale.task(Data::Mnist, OptimizerSpec::Sls(LineSearchConfig::default()));
        // The search ignores the learning rate.
        let work = Work::Runs { task, schedule: OpenLoop::Fixed {}, lrs: vec![1.0], seeds: self.fresh() };
        self.add(Experiment::Sls, "mnist/sls".into(), work);
    }

    fn ablations(&mut self) {
        let (scale, lr) = (self.scale, 1e-3);
        let task = scale.task(Data::Mnist, OptimizerSpec::default());
        let rewards =
            [("lambda-0", Reward::Paper { gamma: 10.0, lambda: 0.0 }), ("validation-loss", Reward::NegativeLoss {})];
        for (name, reward) in rewards {
            let make = |seed| {
                let mut config = scale.paper_agent(task.clone(), lr, seed);
                config.env.reward = Some(reward);
                config
            };
            self.agent(Experiment::Ablations, &format!("mnist/agent/{name}"), Some(lr), make);
        }
        for agent_lr in [0.01, 0.05, 0.1] {
            let make = |seed| {
                let mut config = scale.paper_agent(task.clone(), lr, seed);
                config.ppo.learning_rate = agent_lr;
                config
            };
            self.agent(Experiment::Ablations, &format!("mnist/agent/agent-lr-{agent_lr}"), Some(lr), make);
        }
    }

    /// Learning rate alone, then with momentum and weight decay, over SGD and Adam.
    fn knobs(&mut self) {
        let scale = self.scale;
        let sgd = OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        for (name, optimizer) in [("sgd-momentum", sgd), ("adam", optimizer("adam"))] {
            let task = scale.task(Data::Mnist, optimizer);
            let alone = |seed| scale.pilot_agent(task.clone(), seed);
            self.agent(Experiment::Knobs, &format!("mnist/lrpilot/{name}/lr"), None, alone);
            let with_knobs = |seed| {
                let mut config = scale.pilot_agent(task.clone(), seed);
                config.env.knobs = KnobRange::all();
                config
            };
            self.agent(Experiment::Knobs, &format!("mnist/lrpilot/{name}/knobs"), None, with_knobs);
        }
    }

    fn optimizers(&mut self) {
        let scale = self.scale;
        for name in ["sgd", "adamw", "adadelta", "adagrad", "rmsprop"] {
            let task = scale.task(Data::Mnist, optimizer(name));
            let make = |seed| scale.pilot_agent(task.clone(), seed);
            self.agent(Experiment::Optimizers, &format!("mnist/lrpilot/{name}"), None, make);
        }
    }

    fn replay(&mut self) {
        let (task, name) = (self.scale.task(Data::Mnist, OptimizerSpec::default()), lr_name(1e-3));
        for method in ["agent", "lrpilot"] {
            let task = if method == "lrpilot" { self.scale.with_decisions(task.clone()) } else { task.clone() };
            let work = Work::Replay { agent: format!("mnist/{method}/{name}"), task, seeds: self.fresh() };
            self.add(Experiment::Replay, format!("mnist/{method}/replay"), work);
        }
    }
}
