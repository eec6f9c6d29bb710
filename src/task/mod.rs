//! What is trained: data sets, models and the [`Task`] trait. Knows nothing of rewards, agents or schedules.

pub mod config;
pub mod data;
pub mod quadratic;
mod size;
pub mod supervised;

pub use config::{Preset, QuadraticConfig, SupervisedConfig, TaskConfig};
pub use quadratic::{NoisyQuadratic, expected_loss, optimal_schedule};
pub use supervised::Supervised;

use crate::Result;
use serde::{Deserialize, Serialize};

/// What a controller sets for the coming interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knobs {
    /// Learning rate η, > 0.
    pub lr: f64,
    /// Momentum (SGD) or β₁ (Adam) in [0, 1), where the task accepts it; `None` keeps the task's own.
    pub momentum: Option<f64>,
    /// Weight decay ≥ 0, where the task accepts it; `None` keeps the task's own.
    pub weight_decay: Option<f64>,
}

impl Knobs {
    /// A learning rate and nothing else.
    pub fn lr(lr: f64) -> Self {
        Knobs { lr, momentum: None, weight_decay: None }
    }
}

/// Facts about a task that do not change while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Name for people.
    pub name: String,
    /// Names of the layers that have parameters, in order; the length of the per-layer vectors of a [`Measurement`].
    pub layers: Vec<String>,
    /// Number of trained values.
    pub parameters: usize,
    /// Decision intervals H in an episode, ≥ 1.
    pub horizon: usize,
    /// Optimizer steps in an interval, ≥ 1.
    pub steps_per_interval: usize,
    /// Examples in a batch.
    pub batch_size: usize,
    /// Loss of a model that knows nothing (ln of the number of classes), where there is such a thing.
    pub chance_loss: Option<f64>,
    /// Range of learning rates that make sense, 0 < min < max.
    pub lr_bounds: (f64, f64),
    /// Initial learning rate in use where nobody chooses one (PyTorch's default for the optimizer).
    pub default_lr: f64,
    /// Factor on ‖w‖/‖g‖ (or rms(w) for Adam-like optimizers) that gives the anchor LR; see design of `pilot`.
    pub anchor: AnchorRule,
    /// Whether [`Knobs::momentum`] is accepted.
    pub accepts_momentum: bool,
    /// Whether [`Knobs::weight_decay`] is accepted.
    pub accepts_weight_decay: bool,
    /// Whether the optimizer finds its own step sizes, so that [`Knobs::lr`] is ignored.
    pub finds_lr: bool,
}

/// How an initial LR follows from the weights and gradients of the untrained network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorRule {
    /// Geometric mean over layers of ‖w‖/‖g‖, times the factor.
    WeightOverGradient(f64),
    /// Root mean square of all weights, times the factor.
    WeightRms(f64),
}

/// What is known after an interval. The first one of an episode is a probe: loss and gradient of one batch, no update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Intervals done so far, 0 for the probe.
    pub interval: usize,
    /// Mean training loss over the interval's batches, each before its update.
    pub train_loss: f64,
    /// Mean over the first half of the batches.
    pub train_loss_first_half: f64,
    /// Mean over the second half.
    pub train_loss_second_half: f64,
    /// Mean loss on validation set A after the interval.
    pub val_loss: f64,
    /// Accuracy on validation set A, in [0, 1].
    pub val_accuracy: f64,
    /// ‖g‖ of each layer, mean over the interval's batches.
    pub grad_norms: Vec<f64>,
    /// ‖w‖ of each layer at the end.
    pub weight_norms: Vec<f64>,
    /// ‖Δw‖ of each layer, root mean square over the interval's steps; 0 for the probe.
    pub update_norms: Vec<f64>,
    /// Mean over batches of the global gradient norm.
    pub grad_norm_mean: f64,
    /// Standard deviation over batches of the global gradient norm.
    pub grad_norm_sd: f64,
    /// ‖w_end − w_start‖ over the interval.
    pub displacement: f64,
    /// √Σ‖Δw_step‖² over the interval.
    pub path_length: f64,
    /// Optimizer steps so far in the episode.
    pub steps: u64,
    /// Mean step size, where the optimizer finds its own (line search).
    pub step_size: Option<f64>,
    /// Forward passes on batches beyond one for each optimizer step (line search).
    pub extra_forward_passes: u64,
    /// NaN or infinity in loss, weights or gradients.
    pub diverged: bool,
    /// At chance, and the first layer had no gradient in the last batches, which hold at least as many examples as a full
    /// one: dead units, which training cannot revive.
    pub stuck: bool,
}

/// Everything that an episode's future depends on, so that it can be put back bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    /// Seed of the episode.
    pub seed: u64,
    /// Intervals done.
    pub interval: usize,
    /// Optimizer steps done.
    pub steps: u64,
    /// Trained values.
    pub params: Vec<f32>,
    /// Untrained state of the network.
    pub buffers: Vec<f32>,
    /// State of the optimizer.
    pub optimizer: Option<crate::nn::optimizer::OptimizerState>,
    /// Last step size of a line search.
    pub step_size: Option<f64>,
}

/// Data held back from training.
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
/// Divergence is a value in the [`Measurement`], not an error.
pub trait Task: Send {
    /// Facts that do not change.
    fn spec(&self) -> &TaskSpec;

    /// Start an episode: new weights and batch order from `seed`. Returns the probe.
    fn reset(&mut self, seed: u64) -> Result<Measurement>;

    /// Train one interval.
    fn advance(&mut self, knobs: &Knobs) -> Result<Measurement>;

    /// Mean loss and accuracy on held-back data.
    fn evaluate(&mut self, split: Split) -> Result<(f64, f64)>;

    /// Save the state.
    fn snapshot(&self) -> TaskState;

    /// Put a saved state back.
    ///
    /// # Errors
    /// If the state is of another task.
    fn restore(&mut self, state: &TaskState) -> Result<()>;
}
