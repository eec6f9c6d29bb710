//! Optimizers, equal to PyTorch's to rounding.

use serde::{Deserialize, Serialize};

/// Which optimizer, with PyTorch's defaults. In TOML: `{ type = "sgd", momentum = 0.9 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// `torch.optim.SGD`.
    Sgd {
        /// Momentum factor μ, ≥ 0.
        #[serde(default)]
        momentum: f32,
        /// Nesterov momentum; needs `momentum > 0`.
        #[serde(default)]
        nesterov: bool,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
    },
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        OptimizerSpec::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }
}

/// The state of an optimizer: moment estimates in slices as long as the parameters, and the step count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizerState {
    /// Steps taken since [`Optimizer::reset`].
    pub steps: u64,
    /// The slots (momentum buffer, first and second moment, …), each as long as the parameters.
    pub slots: Vec<Vec<f32>>,
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
    /// The settings; momentum and weight decay may be changed between steps.
    pub spec: OptimizerSpec,
    state: OptimizerState,
}

impl Optimizer {
    /// An optimizer for `n` parameters.
    pub fn new(spec: OptimizerSpec, n: usize) -> Self {
        let slots = match spec {
            OptimizerSpec::Sgd { momentum, .. } => usize::from(momentum != 0.0),
        };
        Optimizer { spec, state: OptimizerState { steps: 0, slots: vec![vec![0.0; n]; slots] } }
    }

    /// Forget all state, as a new optimizer would be.
    pub fn reset(&mut self) {
        self.state.steps = 0;
        self.state.slots.iter_mut().for_each(|s| s.fill(0.0));
    }

    /// The state, to be saved.
    pub fn state(&self) -> &OptimizerState {
        &self.state
    }

    /// Put back a saved state of an optimizer with the same settings and size.
    ///
    /// # Panics
    /// If the number or length of the slots differs.
    pub fn set_state(&mut self, state: &OptimizerState) {
        assert_eq!(self.state.slots.len(), state.slots.len());
        self.state.steps = state.steps;
        self.state.slots.iter_mut().zip(&state.slots).for_each(|(a, b)| a.copy_from_slice(b));
    }

    /// One step with learning rate `lr`.
    pub fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f64) {
        self.state.steps += 1;
        let first = self.state.steps == 1;
        match self.spec {
            OptimizerSpec::Sgd { momentum, nesterov, weight_decay } => {
                let lr = lr as f32;
                if momentum == 0.0 {
                    params.iter_mut().zip(grads).for_each(|(w, g)| *w -= lr * (g + weight_decay * *w));
                    return;
                }
                let buffer = &mut self.state.slots[0];
                for ((w, g), b) in params.iter_mut().zip(grads).zip(buffer) {
                    let g = g + weight_decay * *w;
                    *b = if first { g } else { momentum * *b + g };
                    *w -= lr * if nesterov { g + momentum * *b } else { *b };
                }
            }
        }
    }
}
