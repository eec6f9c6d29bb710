//! Optimizers that equal PyTorch's up to rounding, and a line search.

pub mod line_search;
mod rules;
mod spec;

pub use spec::OptimizerSpec;

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use rules::{AdamStep, Rmsprop, apply, share_and_rest};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The state of an optimizer: the step count, and the state tensors of its rule. They are serialised by position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizerState {
    /// Steps taken since [`Optimizer::reset`].
    pub steps: u64,
    /// The state tensors (momentum buffer, first and second moment, …), each as long as the parameters.
    pub tensors: Vec<AlignedVec>,
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
}

impl Optimizer {
    /// An optimizer for `n` parameters.
    pub fn new(spec: OptimizerSpec, n: usize) -> Self {
        let tensors = vec![zeros(n); spec.state_tensors()];
        let mut optimizer = Optimizer { now: spec.clone(), spec, state: OptimizerState { steps: 0, tensors } };
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
    }

    /// The state, for saving.
    pub fn state(&self) -> &OptimizerState {
        &self.state
    }

    /// Restores the saved state of an optimizer with the same settings and size.
    ///
    /// # Panics
    /// If the number or the length of the state tensors differs.
    pub fn set_state(&mut self, state: &OptimizerState) {
        assert_eq!(self.state.tensors.len(), state.tensors.len());
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
            OptimizerSpec::Adam { betas, weight_decay, .. } | OptimizerSpec::Adamw { betas, weight_decay, .. } => {
                betas.0 = new_momentum.unwrap_or(betas.0);
                *weight_decay = new_decay.unwrap_or(*weight_decay);
            }
            OptimizerSpec::Adadelta { weight_decay, .. } | OptimizerSpec::Adagrad { weight_decay, .. } => {
                set(weight_decay, new_decay);
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
        self.state.steps += 1;
        for (range, norms) in layers.iter().zip(norms) {
            *norms = self.step_range(&mut params[range.clone()], &grads[range.clone()], lr, range.clone());
        }
    }

    /// Updates one range of the parameters.
    fn step_range(&mut self, w: &mut [f32], g: &[f32], lr: f64, range: Range<usize>) -> StepNorms {
        let steps = self.state.steps;
        let mut tensors = self.state.tensors.iter_mut().map(|tensor| &mut tensor[range.clone()]);
        let state = std::array::from_fn::<&mut [f32], 3, _>(|_| tensors.next().unwrap_or_default());
        let lr32 = lr as f32;
        match self.now {
            OptimizerSpec::Sgd { momentum, nesterov, weight_decay } => {
                let [velocity, ..] = state;
                if velocity.is_empty() {
                    return apply(w, g, [], move |w, g, _| lr32 * (g + weight_decay * w));
                }
                // The momentum buffer begins with the first gradient.
                let kept = if steps == 1 { 0.0 } else { momentum };
                if nesterov {
                    apply(w, g, [velocity], move |w, g, [m]| {
                        let g = g + weight_decay * w;
                        *m = kept * *m + g;
                        lr32 * (g + momentum * *m)
                    })
                } else {
                    apply(w, g, [velocity], move |w, g, [m]| {
                        *m = kept * *m + (g + weight_decay * w);
                        lr32 * *m
                    })
                }
            }
            OptimizerSpec::Adam { betas, eps, weight_decay } => {
                let adam = AdamStep::new(lr, betas, eps, steps);
                let decay = weight_decay as f32;
                let [m, v, _] = state;
                apply(w, g, [m, v], move |w, g, moments| adam.update(g + decay * w, moments))
            }
            OptimizerSpec::Adamw { betas, eps, weight_decay } => {
                let adam = AdamStep::new(lr, betas, eps, steps);
                let decay = (lr * weight_decay) as f32;
                let [m, v, _] = state;
                apply(w, g, [m, v], move |w, g, moments| decay * w + adam.update(g, moments))
            }
            OptimizerSpec::Adadelta { rho, eps, weight_decay } => {
                let (rho, rest) = share_and_rest(rho);
                let [square, delta, _] = state;
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
        }
    }
}
