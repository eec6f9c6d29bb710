//! Optimizers that equal PyTorch's up to rounding; methods that need no learning rate or no schedule: a line search, Prodigy,
//! Schedule-Free SGD and AdamW.

pub mod line_search;
pub mod prodigy;
mod rules;
pub mod schedule_free;
mod spec;

pub use spec::OptimizerSpec;

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use prodigy::ProdigyConfig;
use rules::{AdamStep, Decay, NadamStep, RadamStep, Rmsprop, Sgd, apply, share_and_rest};
use schedule_free::{ScheduleFreeAdamw, ScheduleFreeSgd, to_average};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The state of an optimizer: the step count, and the state tensors and numbers of its rule. They are serialised by position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizerState {
    /// Steps taken since [`Optimizer::reset`].
    pub steps: u64,
    /// The state tensors (momentum buffer, first and second moment, …), each as long as the parameters.
    pub tensors: Vec<AlignedVec>,
    /// Numbers that belong to all parameters together (Prodigy's estimate d, …).
    pub scalars: Vec<f64>,
}

/// The entries of the state tensors in `range`; empty slices stand for tensors that the rule does not have.
fn entries(tensors: &mut [AlignedVec], range: Range<usize>) -> [&mut [f32]; 4] {
    let mut tensors = tensors.iter_mut().map(|tensor| &mut tensor[range.clone()]);
    std::array::from_fn(|_| tensors.next().unwrap_or_default())
}

/// Squared norms of one step in a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepNorms {
    /// Σ(Δw)².
    pub update_sq: f64,
    /// Σg², with the same bits as [`sum_sq`](crate::nn::kernels::sums::sum_sq).
    pub grad_sq: f64,
}

/// An optimizer over one contiguous slice of parameters.
///
/// ```
/// use lrpilot::nn::{Optimizer, OptimizerSpec};
/// let mut sgd = Optimizer::new(OptimizerSpec::default(), 1);
/// let mut w = [1.0];
/// sgd.step(&mut w, &[0.5], 0.1);
/// assert!((w[0] - 0.95).abs() < 1e-7);
/// ```
pub struct Optimizer {
    spec: OptimizerSpec,
    /// The settings in use, which [`Optimizer::set_hyperparameters`] may change.
    now: OptimizerSpec,
    state: OptimizerState,
    /// The parameters that wait until an evaluation at another point is over.
    waiting: AlignedVec,
}

impl Optimizer {
    /// An optimizer for `n` parameters.
    pub fn new(spec: OptimizerSpec, n: usize) -> Self {
        let state = OptimizerState { steps: 0, tensors: vec![zeros(n); spec.state_tensors()], scalars: spec.scalars() };
        let waiting = zeros(if spec.averaging().is_some() { n } else { 0 });
        let mut optimizer = Optimizer { now: spec.clone(), spec, state, waiting };
        optimizer.reset();
        optimizer
    }

    /// Forgets all state; the optimizer is then like a new one.
    pub fn reset(&mut self) {
        let start = match self.spec {
            OptimizerSpec::Adagrad { initial_accumulator_value, .. } => initial_accumulator_value,
            _ => 0.0,
        };
        self.now.clone_from(&self.spec);
        self.state.steps = 0;
        self.state.tensors.iter_mut().for_each(|s| s.fill(start));
        self.state.scalars = self.spec.scalars();
    }

    /// The state, for saving.
    pub fn state(&self) -> &OptimizerState {
        &self.state
    }

    /// Restores the saved state of an optimizer with the same settings and size.
    ///
    /// # Panics
    /// If the number or the length of the state tensors or the number of scalars differs.
    pub fn set_state(&mut self, state: &OptimizerState) {
        assert_eq!(self.state.tensors.len(), state.tensors.len());
        self.state.scalars.copy_from_slice(&state.scalars);
        self.state.steps = state.steps;
        self.state.tensors.iter_mut().zip(&state.tensors).for_each(|(a, b)| a.copy_from_slice(b));
    }

    /// Sets the momentum (β₁ for Adam) and the weight decay of the next steps. `None` restores the optimizer's own value, and
    /// optimizers that do not accept a hyperparameter ignore it.
    pub fn set_hyperparameters(&mut self, new_momentum: Option<f64>, new_decay: Option<f64>) {
        self.now.clone_from(&self.spec);
        let accepts_momentum = self.spec.accepts_momentum();
        let set = |old: &mut f32, new: Option<f64>| *old = new.map_or(*old, |v| v as f32);
        match &mut self.now {
            OptimizerSpec::Sgd { momentum, weight_decay, .. }
            | OptimizerSpec::Rmsprop { momentum, weight_decay, .. } => {
                if accepts_momentum {
                    set(momentum, new_momentum);
                }
                set(weight_decay, new_decay);
            }
            OptimizerSpec::Adam { betas, weight_decay, .. }
            | OptimizerSpec::Adamw { betas, weight_decay, .. }
            | OptimizerSpec::Nadam { betas, weight_decay, .. }
            | OptimizerSpec::Radam { betas, weight_decay, .. }
            | OptimizerSpec::Prodigy(ProdigyConfig { betas, weight_decay, .. }) => {
                betas.0 = new_momentum.unwrap_or(betas.0);
                *weight_decay = new_decay.unwrap_or(*weight_decay);
            }
            OptimizerSpec::Adadelta { weight_decay, .. } | OptimizerSpec::Adagrad { weight_decay, .. } => {
                set(weight_decay, new_decay);
            }
            OptimizerSpec::ScheduleFreeSgd(ScheduleFreeSgd { weight_decay, .. })
            | OptimizerSpec::ScheduleFreeAdamw(ScheduleFreeAdamw { weight_decay, .. }) => {
                *weight_decay = new_decay.unwrap_or(*weight_decay);
            }
            OptimizerSpec::Sls(_) => {}
        }
    }

    /// Takes one step with learning rate `lr`.
    pub fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f64) {
        let all = 0..params.len();
        self.step_with_norms(params, grads, lr, std::slice::from_ref(&all), &mut [StepNorms::default()]);
    }

    /// Takes one step with learning rate `lr` and writes each layer's `norms`. `layers` must cover the parameters.
    pub fn step_with_norms(
        &mut self,
        params: &mut [f32],
        grads: &[f32],
        lr: f64,
        layers: &[Range<usize>],
        norms: &mut [StepNorms],
    ) {
        self.begin_step(params, grads, lr);
        for (range, norms) in layers.iter().zip(norms) {
            *norms = self.step_range(&mut params[range.clone()], &grads[range.clone()], lr, range.clone());
        }
    }

    /// What a step does with all parameters together, before any of them changes.
    fn begin_step(&mut self, params: &[f32], grads: &[f32], lr: f64) {
        let taken = match &self.now {
            OptimizerSpec::Prodigy(config) => config.begin(&mut self.state, params, grads, lr),
            OptimizerSpec::Nadam { betas, momentum_decay, .. } => {
                self.state.scalars[0] *= NadamStep::momentum(betas.0, *momentum_decay, self.state.steps + 1);
                true
            }
            other => {
                if let Some((_, average)) = other.averaging() {
                    average.begin(&mut self.state, params, lr);
                }
                true
            }
        };
        self.state.steps += u64::from(taken);
    }

    /// Puts the point at which the network is to be evaluated and used in the place of the parameters. That is the average
    /// of Schedule-Free methods, whose parameters are the point where gradients are taken; others leave `params` alone.
    ///
    /// [`Optimizer::leave_evaluation`] has to be called before the next step.
    ///
    /// ```
    /// use lrpilot::nn::{Optimizer, OptimizerSpec};
    /// let mut sgd = Optimizer::new(OptimizerSpec::named("schedule-free-sgd")?, 1);
    /// let mut w = [1.0];
    /// sgd.step(&mut w, &[1.0], 0.5); // z = 0.5, x = 0.5
    /// sgd.step(&mut w, &[1.0], 0.5); // z = 0, x = (0.5 + 0)/2, y = 0.1·z + 0.9·x
    /// assert!((w[0] - 0.225).abs() < 1e-6);
    /// sgd.enter_evaluation(&mut w);
    /// assert!((w[0] - 0.25).abs() < 1e-6);
    /// sgd.leave_evaluation(&mut w);
    /// assert!((w[0] - 0.225).abs() < 1e-6);
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    pub fn enter_evaluation(&mut self, params: &mut [f32]) {
        if let (Some((beta, _)), 1..) = (self.now.averaging(), self.state.steps) {
            self.waiting.copy_from_slice(params);
            to_average(params, &self.state.tensors[0], beta);
        }
    }

    /// Puts back what `params` were before [`Optimizer::enter_evaluation`], to the bit.
    pub fn leave_evaluation(&mut self, params: &mut [f32]) {
        if let (Some(_), 1..) = (self.now.averaging(), self.state.steps) {
            params.copy_from_slice(&self.waiting);
        }
    }

    /// Updates one range of the parameters.
    fn step_range(&mut self, w: &mut [f32], g: &[f32], lr: f64, range: Range<usize>) -> StepNorms {
        let lr32 = lr as f32;
        let OptimizerState { steps, ref mut tensors, ref scalars } = self.state;
        let state = entries(tensors, range);
        match self.now {
            OptimizerSpec::Sgd { momentum, nesterov, weight_decay } => {
                // The momentum buffer begins with the first gradient.
                let kept = if steps == 1 { 0.0 } else { momentum };
                Sgd { momentum, kept, nesterov, weight_decay, lr: lr32 }.apply(w, g, state)
            }
            OptimizerSpec::Adam { betas, eps, weight_decay } => {
                let adam = AdamStep::new(lr, betas, eps, steps);
                let decay = weight_decay as f32;
                let [m, v, ..] = state;
                apply(w, g, [m, v], move |w, g, moments| adam.update(g + decay * w, moments))
            }
            OptimizerSpec::Adamw { betas, eps, weight_decay } => {
                let adam = AdamStep::new(lr, betas, eps, steps);
                let decay = (lr * weight_decay) as f32;
                let [m, v, ..] = state;
                apply(w, g, [m, v], move |w, g, moments| decay * w + adam.update(g, moments))
            }
            OptimizerSpec::Nadam { betas, eps, weight_decay, momentum_decay, decoupled_weight_decay } => {
                let nadam = NadamStep::new(lr, betas, eps, momentum_decay, (steps, scalars[0]));
                let decay = Decay::new(weight_decay, decoupled_weight_decay, lr);
                let [m, v, ..] = state;
                apply(w, g, [m, v], move |w, g, moments| {
                    decay.decoupled * w + nadam.update(g + decay.coupled * w, moments)
                })
            }
            OptimizerSpec::Radam { betas, eps, weight_decay, decoupled_weight_decay } => {
                let radam = RadamStep::new(lr, betas, eps, steps);
                let decay = Decay::new(weight_decay, decoupled_weight_decay, lr);
                let [m, v, ..] = state;
                apply(w, g, [m, v], move |w, g, moments| {
                    decay.decoupled * w + radam.update(g + decay.coupled * w, moments)
                })
            }
            OptimizerSpec::Adadelta { rho, eps, weight_decay } => {
                let (rho, rest) = share_and_rest(rho);
                let [square, delta, ..] = state;
                apply(w, g, [square, delta], move |w, g, [square, delta]| {
                    let g = g + weight_decay * w;
                    *square = rho * *square + rest * g * g;
                    let step = (*delta + eps).sqrt() / (*square + eps).sqrt() * g;
                    *delta = rho * *delta + rest * step * step;
                    lr32 * step
                })
            }
            OptimizerSpec::Adagrad { lr_decay, eps, weight_decay, .. } => {
                let lr = (lr / (1.0 + (steps - 1) as f64 * lr_decay)) as f32;
                let [sum, ..] = state;
                apply(w, g, [sum], move |w, g, [sum]| {
                    let g = g + weight_decay * w;
                    *sum += g * g;
                    lr * g / (sum.sqrt() + eps)
                })
            }
            // `lr` is the step size that the line search found.
            OptimizerSpec::Sls(_) => apply(w, g, [], move |_, g, _| lr32 * g),
            OptimizerSpec::Rmsprop { alpha, eps, momentum, centered, weight_decay } => {
                let has_momentum = self.spec.accepts_momentum();
                let rule = Rmsprop { alpha: share_and_rest(alpha), eps, momentum, weight_decay, lr: lr32 };
                rule.apply(w, g, state, has_momentum, centered)
            }
            OptimizerSpec::Prodigy(config) => config.apply(scalars, w, g, state),
            OptimizerSpec::ScheduleFreeSgd(config) => config.apply(scalars, w, g, state),
            OptimizerSpec::ScheduleFreeAdamw(config) => config.apply((scalars, steps), w, g, state),
        }
    }
}
