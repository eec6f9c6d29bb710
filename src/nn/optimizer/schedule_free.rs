//! Schedule-Free SGD and AdamW (Defazio et al. 2024, arXiv 2405.15682). Steps are taken at z, x is the average of z, and
//! gradients are those at y = (1 − β)·z + β·x. The parameters are y while a network trains; it is x that is good for use, see
//! [`Optimizer::enter_evaluation`](super::Optimizer::enter_evaluation).
//!
//! Statistics of batch normalisation are those that training saw at y. The authors advise to compute them anew at x before
//! an evaluation; that is not done here.

use super::rules::{apply, share_and_rest};
use super::{OptimizerState, StepNorms};
use crate::keys::{Allowed, Key};
use crate::range::{self, Range};
use crate::{Result, limits};
use serde::{Deserialize, Serialize};

/// Places in [`OptimizerState::scalars`]: the largest learning rate so far, the sum of all weights of the average; and of the
/// last step the learning rate after warm-up, and the share that the new z has in the average.
const LR_MAX: usize = 0;
const WEIGHT_SUM: usize = 1;
const LR: usize = 2;
const SHARE: usize = 3;

const DECAY: Key = Key::new("weight_decay", Allowed::Number(Range::NotNegative), "weight decay, taken at y");
const WARMUP: Key =
    Key::new("warmup_steps", Allowed::Count(0, limits::INTERVAL_STEPS), "steps in which the learning rate rises");
const R: Key = Key::new("r", Allowed::Number(Range::NotNegative), "power of the step's number in the average");
const LR_POWER: Key =
    Key::new("weight_lr_power", Allowed::Number(Range::NotNegative), "power of the learning rate in the average");

/// The settings of Schedule-Free SGD, with the names and defaults of the authors' package `schedulefree`. In TOML:
/// `{ type = "schedule-free-sgd", warmup_steps = 100 }`. [`ScheduleFreeSgd::KEYS`] has the ranges.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleFreeSgd {
    /// β, the share of x in y.
    pub momentum: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Steps of a linear warm-up.
    pub warmup_steps: u64,
    /// Power of the step's number in the weights of the average.
    pub r: f64,
    /// Power of the largest learning rate so far in the weights of the average.
    pub weight_lr_power: f64,
}

/// The settings of Schedule-Free AdamW, with the names and defaults of the authors' package `schedulefree`. In TOML:
/// `{ type = "schedule-free-adamw", warmup_steps = 100 }`. [`ScheduleFreeAdamw::KEYS`] has the ranges.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleFreeAdamw {
    /// β, the share of x in y, and β₂, the decay rate of the second moment.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Steps of a linear warm-up.
    pub warmup_steps: u64,
    /// Power of the step's number in the weights of the average.
    pub r: f64,
    /// Power of the largest learning rate so far in the weights of the average.
    pub weight_lr_power: f64,
}

impl Default for ScheduleFreeSgd {
    fn default() -> Self {
        ScheduleFreeSgd { momentum: 0.9, weight_decay: 0.0, warmup_steps: 0, r: 0.0, weight_lr_power: 2.0 }
    }
}

impl Default for ScheduleFreeAdamw {
    fn default() -> Self {
        let (betas, eps) = ((0.9, 0.999), 1e-8);
        ScheduleFreeAdamw { betas, eps, weight_decay: 0.0, warmup_steps: 0, r: 0.0, weight_lr_power: 2.0 }
    }
}

impl ScheduleFreeSgd {
    /// The keys of the optimizer `schedule-free-sgd`.
    pub const KEYS: &[Key] = &[
        Key::new("momentum", Allowed::Number(Range::Inside), "share of the average x in y, where gradients are taken"),
        DECAY,
        WARMUP,
        R,
        LR_POWER,
    ];

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key (`optimizer.momentum`), the value and the remedy.
    pub fn check(&self) -> Result<()> {
        range::check("optimizer.momentum", self.momentum, Range::Inside)?;
        range::check("optimizer.weight_decay", self.weight_decay, Range::NotNegative)?;
        self.average().check()
    }

    pub(super) fn average(&self) -> Average {
        Average { warmup_steps: self.warmup_steps, r: self.r, weight_lr_power: self.weight_lr_power }
    }

    /// The second half of a step, for a range of the parameters.
    pub(super) fn apply(&self, scalars: &[f64], w: &mut [f32], g: &[f32], tensors: [&mut [f32]; 4]) -> StepNorms {
        let (moves, decay) = (Moves::new(scalars, self.momentum), self.weight_decay as f32);
        let [z, ..] = tensors;
        apply(w, g, [z], move |y, g, [z]| moves.step(y, g + decay * y, z))
    }
}

impl ScheduleFreeAdamw {
    /// The keys of the optimizer `schedule-free-adamw`.
    pub const KEYS: &[Key] = &[
        Key::new("betas", Allowed::Pair(Range::Inside), "share of the average x in y, decay rate of the second moment"),
        Key::new("eps", Allowed::Number(Range::Positive), "added to the denominator"),
        DECAY,
        WARMUP,
        R,
        LR_POWER,
    ];

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key (`optimizer.betas`), the value and the remedy.
    pub fn check(&self) -> Result<()> {
        range::check("optimizer.betas", self.betas.0, Range::Inside)?;
        range::check("optimizer.betas", self.betas.1, Range::Inside)?;
        range::check("optimizer.eps", self.eps, Range::Positive)?;
        range::check("optimizer.weight_decay", self.weight_decay, Range::NotNegative)?;
        self.average().check()
    }

    pub(super) fn average(&self) -> Average {
        Average { warmup_steps: self.warmup_steps, r: self.r, weight_lr_power: self.weight_lr_power }
    }

    /// The second half of step number `step`, for a range of the parameters.
    pub(super) fn apply(
        &self,
        (scalars, step): (&[f64], u64),
        w: &mut [f32],
        g: &[f32],
        tensors: [&mut [f32]; 4],
    ) -> StepNorms {
        let (moves, decay, eps) = (Moves::new(scalars, self.betas.0), self.weight_decay as f32, self.eps as f32);
        let (beta2, rest2) = share_and_rest(self.betas.1);
        let correction2 = (1.0 - self.betas.1.powf(step as f64)) as f32;
        let [z, square, ..] = tensors;
        apply(w, g, [z, square], move |y, g, [z, v]| {
            *v = beta2 * *v + rest2 * g * g;
            moves.step(y, g / ((*v / correction2).sqrt() + eps) + decay * y, z)
        })
    }
}

/// How x averages z, and the warm-up.
#[derive(Clone, Copy)]
pub(super) struct Average {
    warmup_steps: u64,
    r: f64,
    weight_lr_power: f64,
}

impl Average {
    fn check(self) -> Result<()> {
        range::count("optimizer.warmup_steps", self.warmup_steps, 0, limits::INTERVAL_STEPS)?;
        range::check("optimizer.r", self.r, Range::NotNegative)?;
        range::check("optimizer.weight_lr_power", self.weight_lr_power, Range::NotNegative)
    }

    /// The first half of a step: z begins at the initial weights, and the sum of weights grows.
    pub(super) fn begin(self, state: &mut OptimizerState, params: &[f32], lr: f64) {
        let k = state.steps as f64;
        if state.steps == 0 {
            state.tensors[0].copy_from_slice(params);
        }
        let warm = state.steps >= self.warmup_steps;
        let lr = if warm { lr } else { lr * (k + 1.0) / self.warmup_steps as f64 };
        let lr_max = state.scalars[LR_MAX].max(lr);
        let weight = (k + 1.0).powf(self.r) * lr_max.powf(self.weight_lr_power);
        let weight_sum = state.scalars[WEIGHT_SUM] + weight;
        // The weights are zero as long as the learning rates are.
        let share = if weight_sum == 0.0 { 0.0 } else { weight / weight_sum };
        state.scalars.copy_from_slice(&[lr_max, weight_sum, lr, share]);
    }
}

/// The moves of y and z in one step.
#[derive(Clone, Copy)]
struct Moves {
    /// Share of the new z in the average.
    share: f32,
    /// Factor of the direction in the move of y.
    y_lr: f32,
    z_lr: f32,
}

impl Moves {
    fn new(scalars: &[f64], beta: f64) -> Self {
        let (lr, share) = (scalars[LR], scalars[SHARE]);
        Moves { share: share as f32, y_lr: (lr * (1.0 - beta * (1.0 - share))) as f32, z_lr: lr as f32 }
    }

    /// Moves z along `direction` and returns what is to be taken from y. Averaging x and interpolating y from it come to
    /// y ← y + c·(z − y) − lr·(1 − β·(1 − c))·direction, so that x need not be kept.
    #[inline(always)]
    fn step(self, y: f32, direction: f32, z: &mut f32) -> f32 {
        let delta = self.share * (y - *z) + self.y_lr * direction;
        *z -= self.z_lr * direction;
        delta
    }
}

/// x from y (in `params`) and z: y + (1 − 1/β)·(z − y).
pub(super) fn to_average(params: &mut [f32], z: &[f32], beta: f64) {
    let weight = (1.0 - 1.0 / beta) as f32;
    params.iter_mut().zip(z).for_each(|(y, z)| *y += weight * (z - *y));
}
