//! What is trained: data sets, models, the [`Task`] trait and where tasks come from. Knows nothing of rewards, agents or
//! schedules.

pub mod config;
pub mod data;
pub mod distribution;
pub mod quadratic;
mod size;
pub mod source;
pub mod supervised;

pub use config::{ExternalConfig, Preset, QuadraticConfig, SupervisedConfig, TaskConfig};
pub use distribution::{
    DistributionConfig, DrawnSource, DrawnTask, FamilyWeights, PowerLawConfig, TaskDistribution, selection_tasks,
};
pub use quadratic::{NoisyQuadratic, expected_loss, optimal_schedule};
pub use source::{ConfiguredTask, TaskMixture, TaskSource};
pub use supervised::Supervised;

use crate::{Error, Result};
use lrpilot_core::{AnchorRule, Group, Hyperparameters, Measurement, OptimizerFamily, RunFacts, RunSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Prefixes the place of an error in the model or the optimizer, which do not know the table that they stand in.
pub(super) fn in_task(error: Error) -> Error {
    match error {
        Error::Config { place, message, remedy } => Error::config(format!("task.{place}"), message, remedy),
        other => other,
    }
}

/// Facts about a task that do not change while it runs.
///
/// ```
/// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
/// let source = ConfiguredTask::new(&Preset::Digits.config(), None)?;
/// let spec = source.spec();
/// assert_eq!((spec.horizon, spec.groups.len(), spec.parameters()), (50, 3, 3466)); // an MLP 64–32–32–10
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Name for people.
    pub name: String,
    /// The parameter groups (layers) that norms are measured of, in order.
    pub groups: Vec<Group>,
    /// Decision intervals H in an episode, ≥ 1.
    pub horizon: usize,
    /// Optimizer steps in an interval, ≥ 1.
    pub steps_per_interval: usize,
    /// Examples in a batch.
    pub batch_size: usize,
    /// Training examples; absent for a stream, in which none comes twice.
    pub examples: Option<usize>,
    /// The optimizer, where a policy may know it.
    pub optimizer: Option<OptimizerFamily>,
    /// Loss of a model that knows nothing, where there is such a thing: ln of the number of classes, or the mean squared error
    /// of the best constant.
    pub chance_loss: Option<f64>,
    /// Range of learning rates that make sense, 0 < min < max.
    pub lr_bounds: (f64, f64),
    /// Initial learning rate in use where nobody chooses one (PyTorch's default for the optimizer).
    pub default_lr: f64,
    /// Rule for the anchor LR.
    pub anchor: AnchorRule,
    /// Whether [`Hyperparameters::momentum`] is accepted.
    pub accepts_momentum: bool,
    /// Whether [`Hyperparameters::weight_decay`] is accepted.
    pub accepts_weight_decay: bool,
    /// Whether the optimizer finds its own step sizes, so that [`Hyperparameters::lr`] is ignored.
    pub finds_lr: bool,
}

impl TaskSpec {
    /// Number of trained values.
    pub fn parameters(&self) -> usize {
        self.groups.iter().map(|g| g.size).sum()
    }

    /// What a schedule needs to know of a run of the task.
    pub fn run(&self) -> RunSpec {
        let facts = RunFacts {
            steps: Some(self.steps()),
            examples: self.examples.map(|n| n as u64),
            batch_size: Some(self.batch_size as u64),
            optimizer: self.optimizer,
            free_intervals: false,
        };
        let (horizon, lr_bounds, groups, anchor) = (self.horizon, self.lr_bounds, self.groups.clone(), self.anchor);
        RunSpec { horizon, lr_bounds, groups, anchor, facts }
    }

    /// Optimizer steps in a run, T.
    pub fn steps(&self) -> u64 {
        self.horizon as u64 * self.steps_per_interval as u64
    }
}

/// Data held back from training.
///
/// ```
/// use lrpilot::{Split, TaskSource};
/// # let source = lrpilot::task::ConfiguredTask::new(&lrpilot::task::Preset::Digits.config(), None)?;
/// let mut task = source.task(0)?;
/// task.reset(0)?;
/// let (loss, accuracy) = task.evaluate(Split::ValidationB)?;
/// assert!(loss > 2.0 && accuracy < 0.3, "it is untrained");
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Split {
    /// Validation A: may be looked at during training (reward, metric-driven schedules).
    ValidationA,
    /// Validation B: chooses between policies and between settings.
    ValidationB,
    /// Test: looked at once, at the end.
    Test,
}

/// A training problem that advances one decision interval (an epoch, or k optimizer steps) at a time.
///
/// Divergence is a value in the [`Measurement`], not an error. An environment needs a loss in each measurement; norms may
/// be absent. `examples/own_task.rs` implements it for a struct with weights of its own.
///
/// ```
/// use lrpilot::Hyperparameters;
/// use lrpilot::task::{ConfiguredTask, Preset, Split, Task, TaskSource};
/// let mut task = ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?.task(0)?;
/// let untrained = task.reset(3)?;
/// let trained = task.advance(&Hyperparameters::lr(0.5))?;
/// assert!(trained.loss() < untrained.loss());
/// let (saved, (loss, _)) = (task.save()?, task.evaluate(Split::Test)?);
/// task.advance(&Hyperparameters::lr(0.5))?;
/// task.load(&saved)?; // back to where it was, bit for bit
/// assert_eq!(task.evaluate(Split::Test)?.0, loss);
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub trait Task: Send {
    /// Facts that do not change.
    fn spec(&self) -> &TaskSpec;

    /// Start an episode: new weights and batch order from `seed`, the same for equal seeds. Returns the probe.
    ///
    /// # Errors
    /// The task's own; see [`Error::task`].
    fn reset(&mut self, seed: u64) -> Result<Measurement>;

    /// Train one interval.
    ///
    /// # Errors
    /// The task's own.
    fn advance(&mut self, hyperparameters: &Hyperparameters) -> Result<Measurement>;

    /// Whether [`Task::advance_steps`] works; a task that does not say so trains whole intervals only.
    fn trains_single_steps(&self) -> bool {
        false
    }

    /// Train `steps` optimizer steps, whatever the length of an interval is otherwise; step number i of them, from 0, with
    /// the learning rate `lr(i)`. Any split of a run into such calls gives the same weights.
    ///
    /// # Errors
    /// The task's own; [`Error::Bug`] if the task trains whole intervals only.
    fn advance_steps(
        &mut self,
        steps: u64,
        lr: &dyn Fn(u64) -> f64,
        hyperparameters: &Hyperparameters,
    ) -> Result<Measurement> {
        let _ = (steps, lr, hyperparameters);
        Err(Error::Bug(format!("the task `{}` trains whole intervals only", self.spec().name)))
    }

    /// Mean loss and accuracy (0 where there is no such thing) on held-back data.
    ///
    /// # Errors
    /// The task's own.
    fn evaluate(&mut self, split: Split) -> Result<(f64, f64)>;

    /// Everything the episode's future depends on, in whatever form; [`save_state`] writes one that serde knows.
    ///
    /// # Errors
    /// The task's own.
    fn save(&self) -> Result<Vec<u8>>;

    /// Put back what [`Task::save`] gave, bit for bit.
    ///
    /// # Errors
    /// If the state is of another task.
    fn load(&mut self, state: &[u8]) -> Result<()>;
}

/// Train the coming interval of a run: `steps` optimizer steps where the schedule chooses their number, otherwise a whole
/// interval of the task; each step with the rate `lr(i)`, i from 0, where the task can do that, otherwise all of them with
/// that of the middle.
///
/// ```
/// use lrpilot::Hyperparameters;
/// use lrpilot::task::{ConfiguredTask, Preset, Task, TaskSource, train_interval};
/// let mut task = ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?.task(0)?;
/// task.reset(0)?;
/// let m = train_interval(&mut *task, Some(3), &|i| 0.5 / (1.0 + i as f64), &Hyperparameters::lr(0.5))?;
/// assert_eq!(m.steps, 3);
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// The task's own; [`Error::Bug`] for a number of steps that a task of whole intervals cannot train.
pub fn train_interval(
    task: &mut dyn Task,
    steps: Option<u64>,
    lr: &dyn Fn(u64) -> f64,
    hyperparameters: &Hyperparameters,
) -> Result<Measurement> {
    let interval = task.spec().steps_per_interval as u64;
    match (task.trains_single_steps(), steps) {
        (true, steps) => task.advance_steps(steps.unwrap_or(interval), lr, hyperparameters),
        (false, None) => task.advance(&Hyperparameters { lr: lr(interval / 2), ..*hyperparameters }),
        (false, Some(steps)) => task.advance_steps(steps, lr, hyperparameters),
    }
}

/// A task's state as bytes (postcard).
///
/// ```
/// use lrpilot::task::{load_state, save_state};
/// let bytes = save_state("my-task", &(3u64, vec![0.5f64]))?;
/// let (step, weights): (u64, Vec<f64>) = load_state("my-task", &bytes)?;
/// assert_eq!((step, weights), (3, vec![0.5]));
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Bug`] if the type cannot be encoded.
pub fn save_state(task: &str, state: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_stdvec(state).map_err(|e| Error::Bug(format!("the task `{task}` cannot be saved: {e}")))
}

/// The state in `bytes` that [`save_state`] made.
///
/// # Errors
/// [`Error::Bug`] if it is of another type.
pub fn load_state<T: DeserializeOwned>(task: &str, bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|e| Error::Bug(format!("the saved state is not of the task `{task}`: {e}")))
}
