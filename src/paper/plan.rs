//! What the paper's tables and figures take: a list of parts, each of which can be run alone.

use crate::Result;
use crate::env::Reward;
use crate::nn::OptimizerSpec;
use crate::nn::optimizer::line_search::LineSearchConfig;
use crate::paper::names::{Ablation, Agent, KnobTask, Optimizer, PartId, Scheduler};
use crate::paper::scale::{Data, Scale};
use crate::rng;
use crate::run::compare::log_grid;
use crate::run::config::RunConfig;
use crate::schedule::OpenLoop;
use crate::task::SupervisedConfig;
use lrpilot_core::HyperparameterRange;

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
    pub id: PartId,
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
        grid: PartId,
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
        agent: PartId,
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

    /// Epochs of one of its runs; 0 for [`Work::Best`], whose task is its grid's.
    pub fn horizon(&self) -> usize {
        self.task().map_or(0, |t| t.horizon)
    }

    /// The task; `None` for [`Work::Best`], whose task is its grid's.
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

/// Seeds of evaluations; those of grids and agents are others.
pub fn fresh_seeds(scale: Scale, seed: u64) -> Vec<u64> {
    (0..scale.seeds()).map(|i| rng::evaluation_seed(seed, i)).collect()
}

/// Builds the list of parts.
struct Planner {
    scale: Scale,
    seed: u64,
    parts: Vec<Part>,
}

/// All parts of `scale` from `seed`, in the order in which they are run.
///
/// # Errors
/// As [`Optimizer::spec`].
pub fn plan(scale: Scale, seed: u64) -> Result<Vec<Part>> {
    let mut planner = Planner { scale, seed, parts: Vec::new() };
    for experiment in Experiment::ALL {
        match experiment {
            Experiment::Mnist => planner.mnist()?,
            Experiment::Cifar => planner.cifar()?,
            Experiment::Steps => planner.steps(),
            Experiment::Sls => planner.sls(),
            Experiment::Ablations => planner.ablations(),
            Experiment::Knobs => planner.knobs()?,
            Experiment::Optimizers => planner.optimizers()?,
            Experiment::Replay => planner.replay(),
        }
    }
    Ok(planner.parts)
}

impl Planner {
    fn fresh(&self) -> Vec<u64> {
        fresh_seeds(self.scale, self.seed)
    }

    fn add(&mut self, experiment: Experiment, id: PartId, work: Work) {
        self.parts.push(Part { id, experiment, work });
    }

    /// A grid on one seed, and its best learning rate on fresh ones.
    fn grid(&mut self, experiment: Experiment, data: Data, optimizer: Optimizer, scheduler: Scheduler) -> Result<()> {
        let task = self.scale.task(data, optimizer.spec()?);
        let schedule = scheduler.schedule(task.horizon);
        let lrs = log_grid(Scale::LR_RANGE, self.scale.grid_points());
        let seeds = vec![rng::tuning_seed(self.seed, 0)];
        let grid = PartId::grid(data, optimizer, scheduler);
        self.add(experiment, grid.clone(), Work::Runs { task, schedule, lrs, seeds });
        let seeds = self.fresh();
        self.add(experiment, PartId::best(data, optimizer, scheduler), Work::Best { grid, seeds });
        Ok(())
    }

    /// The learning rates of the tables on fresh seeds.
    fn table_lrs(
        &mut self,
        experiment: Experiment,
        data: Data,
        optimizer: Optimizer,
        scheduler: Scheduler,
        lrs: &[f64],
    ) -> Result<()> {
        let task = self.scale.task(data, optimizer.spec()?);
        let schedule = scheduler.schedule(task.horizon);
        let work = Work::Runs { task, schedule, lrs: lrs.to_vec(), seeds: self.fresh() };
        self.add(experiment, PartId::table_lrs(data, optimizer, scheduler), work);
        Ok(())
    }

    /// Agents of the seeds 0, 1, …: `make` configures each.
    fn agent(&mut self, experiment: Experiment, id: PartId, initial_lr: Option<f64>, make: impl Fn(u64) -> RunConfig) {
        let configs = (0..self.scale.seeds()).map(|i| make(self.seed + i)).collect();
        self.add(experiment, id, Work::Agent { configs, initial_lr, seeds: self.fresh() });
    }

    /// Agents of both formulations that start from `lr`.
    fn both_agents(&mut self, experiment: Experiment, data: Data, lr: f64) {
        let (scale, task) = (self.scale, self.scale.task(data, OptimizerSpec::default()));
        let paper = |seed| scale.paper_agent(task.clone(), lr, seed);
        self.agent(experiment, PartId::agent(data, Agent::Paper, lr), Some(lr), paper);
        let pilot = |seed| scale.pilot_agent(task.clone(), seed);
        self.agent(experiment, PartId::agent(data, Agent::Lrpilot, lr), Some(lr), pilot);
    }

    fn mnist(&mut self) -> Result<()> {
        for optimizer in Optimizer::OF_GRIDS {
            for scheduler in Scheduler::ALL {
                self.grid(Experiment::Mnist, Data::Mnist, optimizer, scheduler)?;
                if scheduler != Scheduler::None && optimizer != Optimizer::Adagrad {
                    self.table_lrs(Experiment::Mnist, Data::Mnist, optimizer, scheduler, self.scale.lrs())?;
                }
            }
        }
        for &lr in self.scale.lrs() {
            self.both_agents(Experiment::Mnist, Data::Mnist, lr);
        }
        Ok(())
    }

    fn cifar(&mut self) -> Result<()> {
        for optimizer in [Optimizer::Sgd, Optimizer::Adadelta, Optimizer::Adam] {
            self.grid(Experiment::Cifar, Data::Cifar100, optimizer, Scheduler::None)?;
            let lrs = [Scale::CIFAR_LR];
            self.table_lrs(Experiment::Cifar, Data::Cifar100, optimizer, Scheduler::OneCycle, &lrs)?;
        }
        self.both_agents(Experiment::Cifar, Data::Cifar100, Scale::CIFAR_LR);
        Ok(())
    }

    /// Agents of the paper's formulation with twice and five times the budget.
    fn steps(&mut self) {
        let (scale, lr) = (self.scale, Scale::MNIST_LR);
        for budget in scale.step_budgets().into_iter().skip(1) {
            let task = scale.task(Data::Mnist, OptimizerSpec::default());
            let make = |seed| {
                let mut config = scale.paper_agent(task.clone(), lr, seed);
                config.set_budget(budget);
                config
            };
            self.agent(Experiment::Steps, PartId::steps(budget), Some(lr), make);
        }
    }

    fn sls(&mut self) {
        let task = self.scale.task(Data::Mnist, OptimizerSpec::Sls(LineSearchConfig::default()));
        let schedule = Scheduler::None.schedule(task.horizon);
        // The search ignores the learning rate.
        let work = Work::Runs { task, schedule, lrs: vec![1.0], seeds: self.fresh() };
        self.add(Experiment::Sls, PartId::line_search(), work);
    }

    fn ablations(&mut self) {
        let (scale, lr) = (self.scale, Scale::MNIST_LR);
        let task = scale.task(Data::Mnist, OptimizerSpec::default());
        for ablation in Ablation::ALL {
            let make = |seed| {
                let mut config = scale.paper_agent(task.clone(), lr, seed);
                match ablation {
                    Ablation::LambdaZero => config.env.reward = Some(Reward::Paper { gamma: 10.0, lambda: 0.0 }),
                    Ablation::ValidationLoss => config.env.reward = Some(Reward::NegativeLoss {}),
                    Ablation::AgentLr(agent_lr) => config.ppo.learning_rate = agent_lr,
                }
                config
            };
            self.agent(Experiment::Ablations, PartId::ablation(ablation), Some(lr), make);
        }
    }

    /// Learning rate alone, then with momentum and weight decay, over SGD and Adam.
    fn knobs(&mut self) -> Result<()> {
        let scale = self.scale;
        for knob_task in KnobTask::BOTH {
            let optimizer = match knob_task {
                KnobTask::SgdMomentum => OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 },
                KnobTask::Adam => Optimizer::Adam.spec()?,
            };
            let task = scale.task(Data::Mnist, optimizer);
            let alone = |seed| scale.pilot_agent(task.clone(), seed);
            self.agent(Experiment::Knobs, PartId::knobs(knob_task, false), None, alone);
            let with_knobs = |seed| {
                let mut config = scale.pilot_agent(task.clone(), seed);
                config.env.hyperparameters = HyperparameterRange::all();
                config
            };
            self.agent(Experiment::Knobs, PartId::knobs(knob_task, true), None, with_knobs);
        }
        Ok(())
    }

    /// Every optimizer but Adam, whose agents are among those of [`Experiment::Knobs`].
    fn optimizers(&mut self) -> Result<()> {
        let scale = self.scale;
        for optimizer in Optimizer::ALL.into_iter().filter(|o| *o != Optimizer::Adam) {
            let task = scale.task(Data::Mnist, optimizer.spec()?);
            let make = |seed| scale.pilot_agent(task.clone(), seed);
            self.agent(Experiment::Optimizers, PartId::over(optimizer), None, make);
        }
        Ok(())
    }

    fn replay(&mut self) {
        let task = self.scale.task(Data::Mnist, OptimizerSpec::default());
        for who in Agent::BOTH {
            let task = match who {
                Agent::Paper => task.clone(),
                Agent::Lrpilot => self.scale.with_decisions(task.clone()),
            };
            let agent = PartId::agent(Data::Mnist, who, Scale::MNIST_LR);
            let work = Work::Replay { agent, task, seeds: self.fresh() };
            self.add(Experiment::Replay, PartId::replay(who), work);
        }
    }
}
