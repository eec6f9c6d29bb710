//! The names of parts, optimizers, schedulers and agents: the only place where identifiers are put together or read.

use crate::nn::OptimizerSpec;
use crate::paper::scale::Data;
use crate::schedule::OpenLoop;
use crate::{Error, Result};
use serde::Deserialize;
use std::fmt;

/// An optimizer of the experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimizer {
    /// SGD without momentum.
    Sgd,
    /// Adadelta.
    Adadelta,
    /// Adam.
    Adam,
    /// Adagrad.
    Adagrad,
    /// AdamW.
    Adamw,
    /// RMSprop.
    Rmsprop,
}

impl Optimizer {
    /// The optimizers of the paper's grids.
    pub const OF_GRIDS: [Optimizer; 4] = [Optimizer::Sgd, Optimizer::Adadelta, Optimizer::Adam, Optimizer::Adagrad];
    /// All of them, in the order of the table about them.
    pub const ALL: [Optimizer; 6] = [
        Optimizer::Sgd,
        Optimizer::Adam,
        Optimizer::Adamw,
        Optimizer::Adadelta,
        Optimizer::Adagrad,
        Optimizer::Rmsprop,
    ];

    /// The name in identifiers and configurations.
    pub fn name(self) -> &'static str {
        match self {
            Optimizer::Sgd => "sgd",
            Optimizer::Adadelta => "adadelta",
            Optimizer::Adam => "adam",
            Optimizer::Adagrad => "adagrad",
            Optimizer::Adamw => "adamw",
            Optimizer::Rmsprop => "rmsprop",
        }
    }

    /// Its settings, which are PyTorch's defaults.
    ///
    /// # Errors
    /// As [`OptimizerSpec::named`].
    pub fn spec(self) -> Result<OptimizerSpec> {
        OptimizerSpec::named(self.name())
    }
}

/// A scheduler of the paper's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// The initial learning rate, always.
    None,
    /// PyTorch's ConstantLR with its defaults.
    ConstantLr,
    /// PyTorch's OneCycleLR with its defaults, without momentum.
    OneCycle,
}

impl Scheduler {
    /// All of them.
    pub const ALL: [Scheduler; 3] = [Scheduler::None, Scheduler::ConstantLr, Scheduler::OneCycle];

    /// The name in identifiers.
    pub fn name(self) -> &'static str {
        match self {
            Scheduler::None => "none",
            Scheduler::ConstantLr => "constant-lr",
            Scheduler::OneCycle => "one-cycle",
        }
    }

    /// PyTorch's name.
    pub fn title(self) -> &'static str {
        match self {
            Scheduler::None => "no scheduler",
            Scheduler::ConstantLr => "ConstantLR",
            Scheduler::OneCycle => "OneCycleLR",
        }
    }

    /// The schedule over `horizon` intervals.
    pub fn schedule(self, horizon: usize) -> OpenLoop {
        match self {
            Scheduler::None => OpenLoop::Constant {},
            Scheduler::ConstantLr => OpenLoop::constant_lr(),
            // PyTorch cycles momentum by default and then refuses Adadelta; it is left out for all of them.
            Scheduler::OneCycle => OpenLoop::one_cycle(horizon).without_momentum(),
        }
    }
}

/// Whose formulation an agent learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// The paper's.
    Paper,
    /// Ours.
    Lrpilot,
}

impl Agent {
    /// Both.
    pub const BOTH: [Agent; 2] = [Agent::Paper, Agent::Lrpilot];

    /// The name in identifiers.
    pub fn name(self) -> &'static str {
        match self {
            Agent::Paper => "agent",
            Agent::Lrpilot => "lrpilot",
        }
    }

    /// The name in sentences.
    pub fn title(self) -> &'static str {
        match self {
            Agent::Paper => "the paper's agent",
            Agent::Lrpilot => "lrpilot",
        }
    }
}

/// One change to the paper's agent (section A.8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ablation {
    /// λ = 0 in the reward.
    LambdaZero,
    /// The reward is the negative validation loss.
    ValidationLoss,
    /// Another learning rate of the agent itself.
    AgentLr(f64),
}

impl Ablation {
    /// All of them, in the paper's order.
    pub const ALL: [Ablation; 5] = [
        Ablation::LambdaZero,
        Ablation::ValidationLoss,
        Ablation::AgentLr(0.01),
        Ablation::AgentLr(0.05),
        Ablation::AgentLr(0.1),
    ];

    /// The name in tables.
    pub fn title(self) -> String {
        match self {
            Ablation::LambdaZero => "λ = 0".into(),
            Ablation::ValidationLoss => "reward −validation loss".into(),
            Ablation::AgentLr(lr) => format!("agent's learning rate {lr}"),
        }
    }

    fn name(self) -> String {
        match self {
            Ablation::LambdaZero => "lambda-0".into(),
            Ablation::ValidationLoss => "validation-loss".into(),
            Ablation::AgentLr(lr) => format!("agent-lr-{lr}"),
        }
    }
}

/// Over what momentum and weight decay are tried as further actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnobTask {
    /// SGD with momentum 0.9.
    SgdMomentum,
    /// Adam.
    Adam,
}

impl KnobTask {
    /// Both.
    pub const BOTH: [KnobTask; 2] = [KnobTask::SgdMomentum, KnobTask::Adam];

    /// The name in tables.
    pub fn title(self) -> &'static str {
        match self {
            KnobTask::SgdMomentum => "SGD with momentum",
            KnobTask::Adam => "Adam",
        }
    }

    fn name(self) -> &'static str {
        match self {
            KnobTask::SgdMomentum => "sgd-momentum",
            KnobTask::Adam => Optimizer::Adam.name(),
        }
    }
}

/// The identifier of a part, such as `mnist/sgd/one-cycle/grid`. Records and folders of runs hold it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartId(String);

impl PartId {
    /// Every learning rate of the grid on one seed.
    ///
    /// ```
    /// use lrpilot::paper::Data;
    /// use lrpilot::paper::names::{Optimizer, PartId, Scheduler};
    /// let id = PartId::grid(Data::Mnist, Optimizer::Sgd, Scheduler::OneCycle);
    /// assert_eq!(id.as_str(), "mnist/sgd/one-cycle/grid");
    /// ```
    pub fn grid(data: Data, optimizer: Optimizer, scheduler: Scheduler) -> Self {
        Self::of_optimizer(data, optimizer, scheduler, "grid")
    }

    /// The best learning rate of that grid on fresh seeds.
    pub fn best(data: Data, optimizer: Optimizer, scheduler: Scheduler) -> Self {
        Self::of_optimizer(data, optimizer, scheduler, "best")
    }

    /// The learning rates of the tables on fresh seeds.
    pub fn table_lrs(data: Data, optimizer: Optimizer, scheduler: Scheduler) -> Self {
        Self::of_optimizer(data, optimizer, scheduler, "runs")
    }

    fn of_optimizer(data: Data, optimizer: Optimizer, scheduler: Scheduler, what: &str) -> Self {
        PartId(format!("{}/{}/{}/{what}", data.name(), optimizer.name(), scheduler.name()))
    }

    /// Agents that start from `lr`.
    pub fn agent(data: Data, agent: Agent, lr: f64) -> Self {
        PartId(format!("{}/{}/{lr:e}", data.name(), agent.name()))
    }

    fn on_mnist(agent: Agent, what: &str) -> Self {
        PartId(format!("{}/{}/{what}", Data::Mnist.name(), agent.name()))
    }

    /// The paper's agents after `budget` steps.
    pub fn steps(budget: u64) -> Self {
        Self::on_mnist(Agent::Paper, &format!("{budget}-steps"))
    }

    /// The paper's agents with one thing changed.
    pub fn ablation(ablation: Ablation) -> Self {
        Self::on_mnist(Agent::Paper, &ablation.name())
    }

    /// Our agents with the learning rate as their only action, or with three actions.
    pub fn knobs(task: KnobTask, three_actions: bool) -> Self {
        let what = if three_actions { "knobs" } else { "lr" };
        Self::on_mnist(Agent::Lrpilot, &format!("{}/{what}", task.name()))
    }

    /// Our agents over `optimizer`; over Adam they are those of [`PartId::knobs`] with one action.
    pub fn over(optimizer: Optimizer) -> Self {
        match optimizer {
            Optimizer::Adam => Self::knobs(KnobTask::Adam, false),
            other => Self::on_mnist(Agent::Lrpilot, other.name()),
        }
    }

    /// Schedules of one seed replayed on the others.
    pub fn replay(agent: Agent) -> Self {
        Self::on_mnist(agent, "replay")
    }

    /// Stochastic line search.
    pub fn line_search() -> Self {
        PartId(format!("{}/sls", Data::Mnist.name()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A row of the paper's tables, or ours beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Agents.
    Agent(Agent),
    /// The grid of an optimizer.
    Plain(Optimizer),
    /// An optimizer with the table's scheduler.
    Scheduled(Optimizer),
}

impl Row {
    /// The row that the paper calls `label`, e.g. `Agent`, `SGD`, `Adam-Sch`; upper and lower case are the same.
    ///
    /// # Errors
    /// [`Error::Bug`] for any other name.
    ///
    /// ```
    /// use lrpilot::paper::names::{Optimizer, Row};
    /// assert_eq!(Row::named("Adam-Sch")?, Row::Scheduled(Optimizer::Adam));
    /// assert!(Row::named("Lion").is_err());
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    pub fn named(label: &str) -> Result<Row> {
        let lower = label.to_lowercase();
        if let Some(agent) = Agent::BOTH.into_iter().find(|a| a.name() == lower) {
            return Ok(Row::Agent(agent));
        }
        let (name, scheduled) = match lower.strip_suffix("-sch") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let optimizer = Optimizer::ALL.into_iter().find(|o| o.name() == name);
        let optimizer = optimizer.ok_or_else(|| Error::Bug(format!("{label} is no row of the paper's tables")))?;
        Ok(if scheduled { Row::Scheduled(optimizer) } else { Row::Plain(optimizer) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored runs of version 0.1.0 carry these identifiers.
    #[test]
    fn identifiers_are_those_of_stored_runs() {
        let (mnist, cifar, sgd) = (Data::Mnist, Data::Cifar100, Optimizer::Sgd);
        for (id, stored) in [
            (PartId::grid(mnist, sgd, Scheduler::None), "mnist/sgd/none/grid"),
            (PartId::best(cifar, Optimizer::Adadelta, Scheduler::None), "cifar-100/adadelta/none/best"),
            (PartId::table_lrs(mnist, Optimizer::Adam, Scheduler::ConstantLr), "mnist/adam/constant-lr/runs"),
            (PartId::agent(mnist, Agent::Paper, 5e-4), "mnist/agent/5e-4"),
            (PartId::agent(cifar, Agent::Lrpilot, 5e-3), "cifar-100/lrpilot/5e-3"),
            (PartId::steps(20_000), "mnist/agent/20000-steps"),
            (PartId::ablation(Ablation::LambdaZero), "mnist/agent/lambda-0"),
            (PartId::ablation(Ablation::ValidationLoss), "mnist/agent/validation-loss"),
            (PartId::ablation(Ablation::AgentLr(0.05)), "mnist/agent/agent-lr-0.05"),
            (PartId::knobs(KnobTask::SgdMomentum, true), "mnist/lrpilot/sgd-momentum/knobs"),
            (PartId::over(Optimizer::Adam), "mnist/lrpilot/adam/lr"),
            (PartId::over(Optimizer::Rmsprop), "mnist/lrpilot/rmsprop"),
            (PartId::replay(Agent::Lrpilot), "mnist/lrpilot/replay"),
            (PartId::line_search(), "mnist/sls"),
        ] {
            assert_eq!(id.as_str(), stored);
        }
    }

    /// PyTorch's defaults, as the plan held them when it wrote them out.
    #[test]
    fn optimizers_have_pytorchs_defaults() {
        let (betas, eps) = ((0.9, 0.999), 1e-8);
        let rmsprop =
            OptimizerSpec::Rmsprop { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0 };
        let adagrad =
            OptimizerSpec::Adagrad { lr_decay: 0.0, eps: 1e-10, weight_decay: 0.0, initial_accumulator_value: 0.0 };
        for (optimizer, spec) in [
            (Optimizer::Sgd, OptimizerSpec::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }),
            (Optimizer::Adam, OptimizerSpec::Adam { betas, eps, weight_decay: 0.0 }),
            (Optimizer::Adamw, OptimizerSpec::Adamw { betas, eps, weight_decay: 1e-2 }),
            (Optimizer::Adadelta, OptimizerSpec::Adadelta { rho: 0.9, eps: 1e-6, weight_decay: 0.0 }),
            (Optimizer::Adagrad, adagrad),
            (Optimizer::Rmsprop, rmsprop),
        ] {
            assert_eq!(optimizer.spec().unwrap(), spec);
        }
    }
}
