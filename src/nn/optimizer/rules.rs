//! The update rules, value by value, in loops that vectorise.

use super::StepNorms;
use crate::nn::kernels::simd::vectorized;
use crate::nn::kernels::sums;

/// Values whose squared steps are added up in f32 lanes before the sums go to f64. It is half of the block of
/// [`sums::sum_sq`]; the squared gradient is summed over whole blocks, because its sum must have the same bits.
const BLOCK: usize = sums::BLOCK / 2;
/// Number of partial sums of squares, and of values that are updated side by side.
const LANES: usize = sums::LANES;

/// w ← w − step(w, g, s) for every value, where `s` holds the value's entry of each state tensor.
#[inline(always)]
pub(super) fn apply<const N: usize>(
    w: &mut [f32],
    g: &[f32],
    state: [&mut [f32]; N],
    step: impl Fn(f32, f32, &mut [f32; N]) -> f32,
) -> StepNorms {
    vectorized(
        #[inline(always)]
        || {
            let (w, w_rest) = w.as_chunks_mut::<LANES>();
            let (g, g_rest) = g.as_chunks::<LANES>();
            let mut state = state.map(|s| s.as_chunks_mut::<LANES>());
            let mut norms = StepNorms::default();
            let (mut g_sums, mut g_tail) = ([0.0; LANES], 0.0);
            for block in (0..w.len()).step_by(BLOCK / LANES) {
                let mut sums = [0.0; LANES];
                let end = block + BLOCK / LANES;
                for i in block..w.len().min(end) {
                    let chunk = state.each_mut().map(|(chunks, _)| &mut chunks[i]);
                    update(&mut w[i], &g[i], chunk, [&mut sums, &mut g_sums], &step);
                }
                norms.update_sq += total(&sums);
                if end.is_multiple_of(sums::BLOCK / LANES) && end <= w.len() {
                    norms.grad_sq += total(&g_sums);
                    g_sums = [0.0; LANES];
                }
            }
            for (l, (w, g)) in w_rest.iter_mut().zip(g_rest).enumerate() {
                let mut values = state.each_ref().map(|(_, rest)| rest[l]);
                let delta = step(*w, *g, &mut values);
                *w -= delta;
                state.iter_mut().zip(values).for_each(|((_, rest), value)| rest[l] = value);
                norms.update_sq += f64::from(delta * delta);
                g_tail += f64::from(g * g);
            }
            norms.grad_sq += total(&g_sums) + g_tail;
            norms
        },
    )
}

#[inline(always)]
fn total(sums: &[f32; LANES]) -> f64 {
    sums.iter().map(|&s| f64::from(s)).sum()
}

/// One chunk of [`apply`]. It works on copies, which the compiler keeps in vector registers.
#[inline(always)]
fn update<const N: usize>(
    w: &mut [f32; LANES],
    g: &[f32; LANES],
    mut state: [&mut [f32; LANES]; N],
    [sums, g_sums]: [&mut [f32; LANES]; 2],
    step: &impl Fn(f32, f32, &mut [f32; N]) -> f32,
) {
    let mut new = state.each_ref().map(|s| **s);
    let mut deltas = [0.0; LANES];
    for l in 0..LANES {
        let mut values = new.each_ref().map(|s| s[l]);
        deltas[l] = step(w[l], g[l], &mut values);
        for n in 0..N {
            new[n][l] = values[n];
        }
    }
    for l in 0..LANES {
        w[l] -= deltas[l];
        sums[l] += deltas[l] * deltas[l];
        g_sums[l] += g[l] * g[l];
    }
    state.iter_mut().zip(new).for_each(|(old, new)| **old = new);
}

/// β and 1 − β in f32. The difference is computed in f64, as PyTorch does; 1 − 0.999 in f32 would be off by 1.3e-5.
pub(super) fn share_and_rest(beta: f64) -> (f32, f32) {
    (beta as f32, (1.0 - beta) as f32)
}

/// The constants of one step of SGD.
pub(super) struct Sgd {
    pub momentum: f32,
    /// The share of the momentum buffer that is kept.
    pub kept: f32,
    pub nesterov: bool,
    pub weight_decay: f32,
    pub lr: f32,
}

impl Sgd {
    /// The state tensor is the momentum buffer, where there is one.
    pub(super) fn apply(&self, w: &mut [f32], g: &[f32], [velocity, ..]: [&mut [f32]; 4]) -> StepNorms {
        let Sgd { momentum, kept, nesterov, weight_decay, lr } = *self;
        if velocity.is_empty() {
            return apply(w, g, [], move |w, g, _| lr * (g + weight_decay * w));
        }
        if nesterov {
            return apply(w, g, [velocity], move |w, g, [m]| {
                let g = g + weight_decay * w;
                *m = kept * *m + g;
                lr * (g + momentum * *m)
            });
        }
        apply(w, g, [velocity], move |w, g, [m]| {
            *m = kept * *m + (g + weight_decay * w);
            lr * *m
        })
    }
}

/// Weight decay of one step: added to the gradient, or decoupled and multiplied by the learning rate.
#[derive(Clone, Copy)]
pub(super) struct Decay {
    pub coupled: f32,
    pub decoupled: f32,
}

impl Decay {
    pub(super) fn new(weight_decay: f64, decoupled: bool, lr: f64) -> Self {
        if decoupled {
            return Decay { coupled: 0.0, decoupled: (lr * weight_decay) as f32 };
        }
        Decay { coupled: weight_decay as f32, decoupled: 0.0 }
    }
}

/// The constants of one Adam step.
pub(super) struct AdamStep {
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
    pub(super) fn new(lr: f64, betas: (f64, f64), eps: f64, steps: u64) -> Self {
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
    pub(super) fn update(&self, g: f32, moments: &mut [f32; 2]) -> f32 {
        let denominator = self.take_in(g, moments);
        self.step_size * moments[0] / denominator
    }

    /// Moves the moments and returns the denominator.
    #[inline(always)]
    fn take_in(&self, g: f32, [m, v]: &mut [f32; 2]) -> f32 {
        *m += self.rest1 * (g - *m);
        *v = self.beta2 * *v + self.rest2 * g * g;
        v.sqrt() / self.root_correction2 + self.eps
    }
}

/// The constants of one NAdam step: Adam that looks ahead along the momentum, which grows with the steps.
pub(super) struct NadamStep {
    adam: AdamStep,
    /// Step sizes along the gradient and along its average.
    gradient_lr: f32,
    average_lr: f32,
}

impl NadamStep {
    /// The momentum μ of step number `step`.
    pub(super) fn momentum(beta1: f64, decay: f64, step: u64) -> f64 {
        beta1 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * decay))
    }

    /// `product` is the product of all μ up to this step.
    pub(super) fn new(lr: f64, betas: (f64, f64), eps: f64, decay: f64, (steps, product): (u64, f64)) -> Self {
        let [now, next] = [steps, steps + 1].map(|step| Self::momentum(betas.0, decay, step));
        NadamStep {
            adam: AdamStep::new(lr, betas, eps, steps),
            gradient_lr: (lr * (1.0 - now) / (1.0 - product)) as f32,
            average_lr: (lr * next / (1.0 - product * next)) as f32,
        }
    }

    #[inline(always)]
    pub(super) fn update(&self, g: f32, moments: &mut [f32; 2]) -> f32 {
        let denominator = self.adam.take_in(g, moments);
        (self.gradient_lr * g + self.average_lr * moments[0]) / denominator
    }
}

/// The constants of one RAdam step.
pub(super) struct RadamStep {
    adam: AdamStep,
    /// Step size along the average of gradients, where it is divided by the second moment.
    adaptive_lr: Option<f32>,
}

impl RadamStep {
    pub(super) fn new(lr: f64, betas: (f64, f64), eps: f64, steps: u64) -> Self {
        let decayed = betas.1.powf(steps as f64);
        // The length of the second moment's average, after infinitely many steps and now.
        let longest = 2.0 / (1.0 - betas.1) - 1.0;
        let length = longest - 2.0 * steps as f64 * decayed / (1.0 - decayed);
        let variance = |length: f64| (length - 4.0) * (length - 2.0) / length;
        let adam = AdamStep::new(lr, betas, eps, steps);
        let rectified = lr / (1.0 - betas.0.powf(steps as f64)) * (1.0 - decayed).sqrt();
        let adaptive_lr = (length > 5.0).then(|| (rectified * (variance(length) / variance(longest)).sqrt()) as f32);
        RadamStep { adam, adaptive_lr }
    }

    #[inline(always)]
    pub(super) fn update(&self, g: f32, moments: &mut [f32; 2]) -> f32 {
        self.adam.take_in(g, moments);
        let [m, v] = *moments;
        self.adaptive_lr.map_or(self.adam.step_size * m, |lr| lr * m / (v.sqrt() + self.adam.eps))
    }
}

/// The constants of one RMSprop step.
pub(super) struct Rmsprop {
    /// α and 1 − α.
    pub alpha: (f32, f32),
    pub eps: f32,
    pub momentum: f32,
    pub weight_decay: f32,
    pub lr: f32,
}

impl Rmsprop {
    /// The state tensors are the average of squares, then the momentum buffer and the average of gradients where they are used.
    pub(super) fn apply(
        &self,
        w: &mut [f32],
        g: &[f32],
        state: [&mut [f32]; 4],
        momentum: bool,
        centered: bool,
    ) -> StepNorms {
        let [square, second, third, _] = state;
        match (momentum, centered) {
            (false, false) => apply(w, g, [square], |w, g, [s]| self.lr * self.direction(w, g, s, None)),
            (false, true) => {
                apply(w, g, [square, second], |w, g, [s, mean]| self.lr * self.direction(w, g, s, Some(mean)))
            }
            (true, false) => apply(w, g, [square, second], |w, g, [s, buffer]| {
                *buffer = self.momentum * *buffer + self.direction(w, g, s, None);
                self.lr * *buffer
            }),
            (true, true) => apply(w, g, [square, second, third], |w, g, [s, buffer, mean]| {
                *buffer = self.momentum * *buffer + self.direction(w, g, s, Some(mean));
                self.lr * *buffer
            }),
        }
    }

    /// The normalised gradient.
    #[inline(always)]
    fn direction(&self, w: f32, g: f32, square: &mut f32, mean: Option<&mut f32>) -> f32 {
        let (alpha, rest) = self.alpha;
        let g = g + self.weight_decay * w;
        *square = alpha * *square + rest * g * g;
        let mut variance = *square;
        if let Some(mean) = mean {
            *mean += rest * (g - *mean);
            variance -= *mean * *mean;
        }
        g / (variance.sqrt() + self.eps)
    }
}
