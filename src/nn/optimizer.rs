//! Optimizers, equal to PyTorch's to rounding.

use crate::nn::simd::vectorized;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Which optimizer, with PyTorch's names and defaults. In TOML: `{ type = "sgd", momentum = 0.9 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// `torch.optim.SGD`.
    Sgd {
        /// Momentum factor μ in [0, 1).
        #[serde(default)]
        momentum: f32,
        /// Nesterov momentum; needs `momentum > 0`.
        #[serde(default)]
        nesterov: bool,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
    },
    /// `torch.optim.Adam`.
    Adam {
        /// Decay rates (β₁, β₂) of the moments, each in [0, 1).
        #[serde(default = "adam_betas")]
        betas: (f64, f64),
        /// ε > 0 in the denominator.
        #[serde(default = "adam_eps")]
        eps: f64,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f64,
    },
    /// `torch.optim.AdamW` (decoupled weight decay).
    Adamw {
        /// Decay rates (β₁, β₂) of the moments, each in [0, 1).
        #[serde(default = "adam_betas")]
        betas: (f64, f64),
        /// ε > 0 in the denominator.
        #[serde(default = "adam_eps")]
        eps: f64,
        /// Decoupled weight decay, ≥ 0.
        #[serde(default = "adamw_decay")]
        weight_decay: f64,
    },
    /// `torch.optim.Adadelta`.
    Adadelta {
        /// Decay rate ρ of the averages, in [0, 1).
        #[serde(default = "adadelta_rho")]
        rho: f64,
        /// ε > 0 under the square roots.
        #[serde(default = "adadelta_eps")]
        eps: f32,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
    },
    /// `torch.optim.Adagrad`.
    Adagrad {
        /// The LR of step t is divided by 1 + (t − 1)·`lr_decay`; ≥ 0.
        #[serde(default)]
        lr_decay: f64,
        /// ε > 0 in the denominator.
        #[serde(default = "adagrad_eps")]
        eps: f32,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
        /// Where the sums of squares start, ≥ 0.
        #[serde(default)]
        initial_accumulator_value: f32,
    },
    /// `torch.optim.RMSprop`.
    Rmsprop {
        /// Decay rate α of the average of squares, in [0, 1).
        #[serde(default = "rmsprop_alpha")]
        alpha: f64,
        /// ε > 0 in the denominator.
        #[serde(default = "rmsprop_eps")]
        eps: f32,
        /// Momentum factor in [0, 1).
        #[serde(default)]
        momentum: f32,
        /// Normalise by the variance rather than the second moment.
        #[serde(default)]
        centered: bool,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
    },
}

fn adam_betas() -> (f64, f64) {
    (0.9, 0.999)
}
fn adam_eps() -> f64 {
    1e-8
}
fn adamw_decay() -> f64 {
    1e-2
}
fn adadelta_rho() -> f64 {
    0.9
}
fn adadelta_eps() -> f32 {
    1e-6
}
fn adagrad_eps() -> f32 {
    1e-10
}
fn rmsprop_alpha() -> f64 {
    0.99
}
fn rmsprop_eps() -> f32 {
    1e-8
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        OptimizerSpec::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }
}

impl OptimizerSpec {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let share = |key: &str, v: f64| in_range(key, v, "in [0, 1)", (0.0..1.0).contains(&v));
        let decay = |v: f64| in_range("weight_decay", v, "a finite number ≥ 0", v.is_finite() && v >= 0.0);
        let positive = |key: &str, v: f64| in_range(key, v, "a finite number > 0", v.is_finite() && v > 0.0);
        match *self {
            OptimizerSpec::Sgd { momentum, nesterov, weight_decay } => {
                if nesterov && momentum == 0.0 {
                    let remedy = "give momentum, e.g. 0.9, or leave nesterov out";
                    return Err(Error::config("task.optimizer.nesterov", "needs momentum > 0", remedy));
                }
                share("momentum", momentum.into())?;
                decay(weight_decay.into())
            }
            OptimizerSpec::Adam { betas, eps, weight_decay } | OptimizerSpec::Adamw { betas, eps, weight_decay } => {
                share("betas", betas.0)?;
                share("betas", betas.1)?;
                positive("eps", eps)?;
                decay(weight_decay)
            }
            OptimizerSpec::Adadelta { rho, eps, weight_decay } => {
                share("rho", rho)?;
                positive("eps", eps.into())?;
                decay(weight_decay.into())
            }
            OptimizerSpec::Adagrad { lr_decay, eps, weight_decay, initial_accumulator_value } => {
                let start = f64::from(initial_accumulator_value);
                in_range("lr_decay", lr_decay, "a finite number ≥ 0", lr_decay.is_finite() && lr_decay >= 0.0)?;
                in_range("initial_accumulator_value", start, "a finite number ≥ 0", start.is_finite() && start >= 0.0)?;
                positive("eps", eps.into())?;
                decay(weight_decay.into())
            }
            OptimizerSpec::Rmsprop { alpha, eps, momentum, weight_decay, .. } => {
                share("alpha", alpha)?;
                share("momentum", momentum.into())?;
                positive("eps", eps.into())?;
                decay(weight_decay.into())
            }
        }
    }

    /// The LR that PyTorch uses where none is given.
    pub fn default_lr(&self) -> f64 {
        match self {
            OptimizerSpec::Adadelta { .. } => 1.0,
            OptimizerSpec::Adagrad { .. } | OptimizerSpec::Rmsprop { .. } => 1e-2,
            _ => 1e-3,
        }
    }

    /// Whether momentum (SGD, RMSprop) or β₁ (Adam, AdamW) can be changed between steps.
    pub fn accepts_momentum(&self) -> bool {
        match self {
            OptimizerSpec::Sgd { momentum, .. } | OptimizerSpec::Rmsprop { momentum, .. } => *momentum > 0.0,
            OptimizerSpec::Adam { .. } | OptimizerSpec::Adamw { .. } => true,
            _ => false,
        }
    }

    /// Whether weight decay can be changed between steps: all of them.
    pub fn accepts_weight_decay(&self) -> bool {
        true
    }

    fn slots(&self) -> usize {
        match self {
            OptimizerSpec::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            OptimizerSpec::Adam { .. } | OptimizerSpec::Adamw { .. } | OptimizerSpec::Adadelta { .. } => 2,
            OptimizerSpec::Adagrad { .. } => 1,
            OptimizerSpec::Rmsprop { momentum, centered, .. } => {
                1 + usize::from(*momentum > 0.0) + usize::from(*centered)
            }
        }
    }
}

fn in_range(key: &str, value: f64, wanted: &str, ok: bool) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::config(format!("task.optimizer.{key}"), format!("{value} is not {wanted}"), "see PyTorch's ranges"))
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
    spec: OptimizerSpec,
    /// The settings in use, which [`Optimizer::set_knobs`] may change.
    now: OptimizerSpec,
    state: OptimizerState,
}

impl Optimizer {
    /// An optimizer for `n` parameters.
    pub fn new(spec: OptimizerSpec, n: usize) -> Self {
        let slots = vec![vec![0.0; n]; spec.slots()];
        let mut optimizer = Optimizer { now: spec.clone(), spec, state: OptimizerState { steps: 0, slots } };
        optimizer.reset();
        optimizer
    }

    /// Forget all state, as a new optimizer would be.
    pub fn reset(&mut self) {
        let start = match self.spec {
            OptimizerSpec::Adagrad { initial_accumulator_value, .. } => initial_accumulator_value,
            _ => 0.0,
        };
        self.now.clone_from(&self.spec);
        self.state.steps = 0;
        self.state.slots.iter_mut().for_each(|s| s.fill(start));
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

    /// Use another momentum (β₁ for Adam) or weight decay from here on; `None` goes back to the optimizer's own.
    /// Ignored by optimizers that do not accept it.
    pub fn set_knobs(&mut self, new_momentum: Option<f64>, new_decay: Option<f64>) {
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
        }
    }

    /// One step with learning rate `lr`.
    pub fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f64) {
        let all = 0..params.len();
        self.step_with_norms(params, grads, lr, std::slice::from_ref(&all), &mut [0.0]);
    }

    /// One step with learning rate `lr` that also adds Σ(Δw)² of each layer to `update_sq`. `layers` must cover the
    /// parameters.
    pub fn step_with_norms(
        &mut self,
        params: &mut [f32],
        grads: &[f32],
        lr: f64,
        layers: &[Range<usize>],
        update_sq: &mut [f64],
    ) {
        self.state.steps += 1;
        for (range, sum) in layers.iter().zip(update_sq) {
            *sum += self.step_range(&mut params[range.clone()], &grads[range.clone()], lr, range.clone());
        }
    }

    /// Update one range of the parameters; returns Σ(Δw)².
    fn step_range(&mut self, w: &mut [f32], g: &[f32], lr: f64, range: Range<usize>) -> f64 {
        let steps = self.state.steps;
        let [a, b, c] = slots(&mut self.state.slots, range);
        let lr32 = lr as f32;
        match self.now {
            OptimizerSpec::Sgd { momentum, nesterov, weight_decay } => {
                if a.is_empty() {
                    return apply(w, g, &mut [], &mut [], |w, g, _, _| lr32 * (g + weight_decay * w));
                }
                let ahead = momentum;
                let momentum = if steps == 1 { 0.0 } else { momentum };
                if nesterov {
                    apply(w, g, a, &mut [], |w, g, m, _| {
                        let g = g + weight_decay * w;
                        *m = momentum * *m + g;
                        lr32 * (g + ahead * *m)
                    })
                } else {
                    apply(w, g, a, &mut [], |w, g, m, _| {
                        *m = momentum * *m + (g + weight_decay * w);
                        lr32 * *m
                    })
                }
            }
            OptimizerSpec::Adam { betas, eps, weight_decay } => {
                let adam = AdamStep::new(lr, betas, eps, steps);
                let decay = weight_decay as f32;
                apply(w, g, a, b, |w, g, m, v| adam.update(g + decay * w, m, v))
            }
            OptimizerSpec::Adamw { betas, eps, weight_decay } => {
                let adam = AdamStep::new(lr, betas, eps, steps);
                let decay = (lr * weight_decay) as f32;
                apply(w, g, a, b, |w, g, m, v| decay * w + adam.update(g, m, v))
            }
            OptimizerSpec::Adadelta { rho, eps, weight_decay } => {
                let (rho, rest) = share_and_rest(rho);
                apply(w, g, a, b, |w, g, square, delta| {
                    let g = g + weight_decay * w;
                    *square = rho * *square + rest * g * g;
                    let step = (*delta + eps).sqrt() / (*square + eps).sqrt() * g;
                    *delta = rho * *delta + rest * step * step;
                    lr32 * step
                })
            }
            OptimizerSpec::Adagrad { lr_decay, eps, weight_decay, .. } => {
                let lr = (lr / (1.0 + (steps - 1) as f64 * lr_decay)) as f32;
                apply(w, g, a, &mut [], |w, g, sum, _| {
                    let g = g + weight_decay * w;
                    *sum += g * g;
                    lr * g / (sum.sqrt() + eps)
                })
            }
            OptimizerSpec::Rmsprop { alpha, eps, momentum, centered, weight_decay } => {
                let (buffer, mean) = if momentum_slot(&self.spec) { (b, c) } else { (c, b) };
                rmsprop(
                    w,
                    g,
                    [a, buffer, mean],
                    lr32,
                    &Rmsprop { alpha: share_and_rest(alpha), eps, momentum, centered, weight_decay },
                )
            }
        }
    }
}

fn momentum_slot(spec: &OptimizerSpec) -> bool {
    matches!(spec, OptimizerSpec::Rmsprop { momentum, .. } if *momentum > 0.0)
}

/// The range of up to three slots; the missing ones are empty.
fn slots(slots: &mut [Vec<f32>], range: Range<usize>) -> [&mut [f32]; 3] {
    let mut rest = slots.iter_mut();
    [(); 3].map(|()| rest.next().map_or(&mut [][..], |s| &mut s[range.clone()]))
}

/// w ← w − step(w, g, slots) for every value; returns Σ step². A missing slot is given as an empty slice.
#[inline(always)]
fn apply(
    w: &mut [f32],
    g: &[f32],
    a: &mut [f32],
    b: &mut [f32],
    step: impl Fn(f32, f32, &mut f32, &mut f32) -> f32,
) -> f64 {
    vectorized(
        #[inline(always)]
        || match (a.is_empty(), b.is_empty()) {
            (true, _) => blocks(w, g, |w, g, _| step(w, g, &mut 0.0, &mut 0.0)),
            (false, true) => blocks(w, g, |w, g, i| step(w, g, &mut a[i], &mut 0.0)),
            (false, false) => {
                let n = w.len();
                let (a, b) = (&mut a[..n], &mut b[..n]);
                blocks(w, g, |w, g, i| step(w, g, &mut a[i], &mut b[i]))
            }
        },
    )
}

/// Values whose squared steps are added up in f32 lanes before they go to f64.
const BLOCK: usize = 512;
const LANES: usize = 16;

#[inline(always)]
fn blocks(w: &mut [f32], g: &[f32], mut step: impl FnMut(f32, f32, usize) -> f32) -> f64 {
    let mut total = 0.0;
    let mut first = 0;
    for (w, g) in w.chunks_mut(BLOCK).zip(g.chunks(BLOCK)) {
        let mut lanes = [0.0f32; LANES];
        for (i, (w, g)) in w.iter_mut().zip(g).enumerate() {
            let delta = step(*w, *g, first + i);
            *w -= delta;
            lanes[i % LANES] += delta * delta;
        }
        total += lanes.iter().map(|l| f64::from(*l)).sum::<f64>();
        first += BLOCK;
    }
    total
}

/// β and 1 − β in f32. The difference is taken in f64 as PyTorch does: 1 − 0.999 in f32 would be off by 1.3e-5.
fn share_and_rest(beta: f64) -> (f32, f32) {
    (beta as f32, (1.0 - beta) as f32)
}

/// The constants of one Adam step.
struct AdamStep {
    /// 1 − β₁.
    rest1: f32,
    beta2: f32,
    /// 1 − β₂.
    rest2: f32,
    step_size: f32,
    root_correction2: f32,
    eps: f32,
}

impl AdamStep {
    fn new(lr: f64, betas: (f64, f64), eps: f64, steps: u64) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        let (beta2, rest2) = share_and_rest(betas.1);
        AdamStep {
            rest1: share_and_rest(betas.0).1,
            beta2,
            rest2,
            step_size: (lr / correction(betas.0)) as f32,
            root_correction2: correction(betas.1).sqrt() as f32,
            eps: eps as f32,
        }
    }

    #[inline(always)]
    fn update(&self, g: f32, m: &mut f32, v: &mut f32) -> f32 {
        *m += self.rest1 * (g - *m);
        *v = self.beta2 * *v + self.rest2 * g * g;
        self.step_size * *m / (v.sqrt() / self.root_correction2 + self.eps)
    }
}

struct Rmsprop {
    /// α and 1 − α.
    alpha: (f32, f32),
    eps: f32,
    momentum: f32,
    centered: bool,
    weight_decay: f32,
}

fn rmsprop(w: &mut [f32], g: &[f32], [square, buffer, mean]: [&mut [f32]; 3], lr: f32, s: &Rmsprop) -> f64 {
    let (alpha, rest) = s.alpha;
    vectorized(
        #[inline(always)]
        || {
            blocks(w, g, |w, g, i| {
                let g = g + s.weight_decay * w;
                square[i] = alpha * square[i] + rest * g * g;
                let mut variance = square[i];
                if s.centered {
                    mean[i] += rest * (g - mean[i]);
                    variance -= mean[i] * mean[i];
                }
                let step = g / (variance.sqrt() + s.eps);
                if buffer.is_empty() {
                    return lr * step;
                }
                buffer[i] = s.momentum * buffer[i] + step;
                lr * buffer[i]
            })
        },
    )
}
