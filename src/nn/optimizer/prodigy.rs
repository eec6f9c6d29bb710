//! Prodigy (Mishchenko and Defazio 2023, arXiv 2306.06101): Adam whose step size follows an estimate d of the distance from
//! the initial weights to a solution. The learning rate is a factor of d, 1 as a rule.

use super::rules::apply;
use super::{OptimizerState, StepNorms, entries};
use crate::Result;
use crate::keys::{Allowed, Key};
use crate::nn::kernels::simd::vectorized;
use crate::nn::kernels::sums::{BLOCK, LANES};
use crate::range::{self, Range};
use serde::{Deserialize, Serialize};

/// Places in [`OptimizerState::scalars`]: the estimate d, which never falls, the numerator of the estimate, and the step size of
/// the last step.
const D: usize = 0;
const NUMERATOR: usize = 1;
const STEP_SIZE: usize = 2;

/// The settings, with the names and defaults of the authors' package `prodigyopt`. In TOML: `{ type = "prodigy", d_coef = 2.0 }`.
/// [`ProdigyConfig::KEYS`] has the ranges, and `lrpilot config` prints them with the defaults.
///
/// The package's `slice_p`, `beta3` and `growth_rate` are not offered and have their defaults: nothing is left out of the
/// sums, β₃ is √β₂, and d may grow without limit. With β₁ = 0 the package multiplies the gradient by the estimate after the
/// step's update; here it is the one before, as with every other β₁.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProdigyConfig {
    /// Decay rates (β₁, β₂) of the moments.
    pub betas: (f64, f64),
    /// d·ε is added to the denominator.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weight decay is decoupled, as in AdamW, or an L2 penalty.
    pub decouple: bool,
    /// Whether the step size has Adam's bias correction.
    pub use_bias_correction: bool,
    /// Whether the learning rate is left out of the denominator of the estimate, as a warm-up needs it.
    pub safeguard_warmup: bool,
    /// The first estimate.
    pub d0: f64,
    /// Factor of the estimate.
    pub d_coef: f64,
}

impl Default for ProdigyConfig {
    fn default() -> Self {
        ProdigyConfig {
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decouple: true,
            use_bias_correction: false,
            safeguard_warmup: false,
            d0: 1e-6,
            d_coef: 1.0,
        }
    }
}

impl ProdigyConfig {
    /// The keys of the optimizer `prodigy`.
    pub const KEYS: &[Key] = &[
        Key::new("betas", Allowed::Pair(Range::BelowOne), "decay rates of the two moments"),
        Key::new("eps", Allowed::Number(Range::Positive), "d times this is added to the denominator"),
        Key::new("weight_decay", Allowed::Number(Range::NotNegative), "weight decay"),
        Key::new("decouple", Allowed::Flag, "decoupled weight decay, not an L2 penalty"),
        Key::new("use_bias_correction", Allowed::Flag, "Adam's bias correction of the step size"),
        Key::new("safeguard_warmup", Allowed::Flag, "estimate d in a way that bears a warm-up"),
        Key::new("d0", Allowed::Number(Range::Positive), "first estimate of the distance d"),
        Key::new("d_coef", Allowed::Number(Range::Positive), "factor of the estimate"),
    ];

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key (`optimizer.d0`), the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let check = |key: &str, v: f64, range: Range| range::check(format_args!("optimizer.{key}"), v, range);
        check("betas", self.betas.0, Range::BelowOne)?;
        check("betas", self.betas.1, Range::BelowOne)?;
        check("eps", self.eps, Range::Positive)?;
        check("weight_decay", self.weight_decay, Range::NotNegative)?;
        check("d0", self.d0, Range::Positive)?;
        check("d_coef", self.d_coef, Range::Positive)
    }

    /// The scalars before the first step.
    pub(super) fn scalars(&self) -> Vec<f64> {
        vec![self.d0, 0.0, 0.0]
    }

    /// The first half of a step: takes the gradient into the moments and into the estimate of d. It returns whether there is
    /// a step to be taken and counted, which there is not while the learning rate, or every gradient so far, is zero.
    ///
    /// The tensors are the initial weights w₀, the average s of gradients, and the two moments. The sums go over all
    /// parameters in their order, whatever the layers.
    pub(super) fn begin(&self, state: &mut OptimizerState, w: &[f32], g: &[f32], lr: f64) -> bool {
        let (k, d) = (state.steps, state.scalars[D]);
        state.scalars[STEP_SIZE] = 0.0;
        let tensors = entries(&mut state.tensors, 0..w.len());
        if k == 0 {
            tensors[0].copy_from_slice(w);
        }
        if lr == 0.0 {
            return false;
        }
        let step_size = d * lr * if self.use_bias_correction { self.bias_correction(k + 1) } else { 1.0 };
        let beta3 = self.betas.1.sqrt();
        let gain = d / self.d0 * if self.safeguard_warmup { d } else { step_size };
        let [correlation, size] = self.take_in(w, g, tensors, (d, beta3 as f32, gain as f32));
        if size == 0.0 {
            return false;
        }
        let numerator = beta3 * state.scalars[NUMERATOR] + d / self.d0 * step_size * correlation;
        let estimate = self.d_coef * numerator / size;
        state.scalars.copy_from_slice(&[d.max(estimate), numerator, step_size]);
        true
    }

    /// Adam's correction of the step size in step number `step`, from 1 on.
    fn bias_correction(&self, step: u64) -> f64 {
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        correction(self.betas.1).sqrt() / correction(self.betas.0)
    }

    /// Moves s and the moments, and returns Σ g·(w₀ − w) and Σ|s|. `factors` are d, β₃ and the factor of g in s.
    fn take_in(
        &self,
        w: &[f32],
        g: &[f32],
        [start, average, mean, square]: [&mut [f32]; 4],
        (d, beta3, gain): (f64, f32, f32),
    ) -> [f64; 2] {
        let decay = if self.decouple { 0.0 } else { self.weight_decay as f32 };
        let (beta1, beta2) = (self.betas.0 as f32, self.betas.1 as f32);
        let (gain1, gain2) = ((d * (1.0 - self.betas.0)) as f32, (d * d * (1.0 - self.betas.1)) as f32);
        vectorized(
            #[inline(always)]
            || {
                let values = w.iter().zip(g).zip(&mut *average).zip(mean.iter_mut().zip(square));
                values.for_each(|(((w, g), s), (m, v))| {
                    let g = g + decay * w;
                    *m = beta1 * *m + gain1 * g;
                    *v = beta2 * *v + gain2 * g * g;
                    *s = beta3 * *s + gain * g;
                });
                let correlation = sum([w, g, start], |[w, g, start]| (g + decay * w) * (start - w));
                [correlation, sum([average], |[s]| s.abs())]
            },
        )
    }

    /// The second half of a step, for a range of the parameters.
    pub(super) fn apply(&self, scalars: &[f64], w: &mut [f32], g: &[f32], tensors: [&mut [f32]; 4]) -> StepNorms {
        let (step_size, eps) = (scalars[STEP_SIZE] as f32, (scalars[D] * self.eps) as f32);
        let decay = if self.decouple { (self.weight_decay * scalars[STEP_SIZE]) as f32 } else { 0.0 };
        let [_, _, mean, square] = tensors;
        apply(w, g, [mean, square], move |w, _, [m, v]| {
            // While d is tiny, a step is not much more than the rounding of a weight, and d is estimated from such steps. So
            // the decayed weight is rounded before the step, as the package does; w less the difference is exactly it.
            w - ((w - decay * w) - step_size * *m / (v.sqrt() + eps))
        })
    }
}

/// Σ f over the entries of `columns`, which have one length. The order of summation is that of
/// [`sum_sq`](crate::nn::kernels::sums::sum_sq).
#[inline(always)]
fn sum<const N: usize>(columns: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f64 {
    let columns = columns.map(|column| column.as_chunks::<LANES>());
    let (chunks, rest) = columns[0];
    let mut total = 0.0;
    for block in (0..chunks.len()).step_by(BLOCK / LANES) {
        let mut lanes = [0.0f32; LANES];
        for i in block..chunks.len().min(block + BLOCK / LANES) {
            let chunk = columns.map(|(chunks, _)| chunks[i]);
            lanes.iter_mut().enumerate().for_each(|(l, lane)| *lane += f(chunk.map(|values| values[l])));
        }
        total += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
    }
    (0..rest.len()).fold(total, |total, l| total + f64::from(f(columns.map(|(_, rest)| rest[l]))))
}
