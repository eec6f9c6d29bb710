//! Elementwise functions and their derivatives, written so that the compiler can vectorise them for the CPU found at run
//! time. NaN stays NaN everywhere, so that divergence is seen.

use crate::nn::kernels::simd::vectorized;
use crate::nn::layers::{Layer, Mode, Pass};
use crate::nn::model::{Activation, Shape};

/// `ln 2` in two parts. The first has so few bits that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// 1.5·2²³. Adding it rounds a number to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// `2ⁿ` and `eʳ − 1` with `v = n·ln 2 + r` and `|r| ≤ ln 2 / 2`, for |v| < 88.
#[inline(always)]
fn exp_parts(v: f32) -> (f32, f32) {
    let shifted = v * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (v - n * LN2_HIGH) - n * LN2_LOW;
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    // This is the Taylor series; the first omitted term is below 2⁻²⁵ of the sum.
    let tail = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0));
    (power, r + r * r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * tail))))
}

/// `eᵛ` to about 2 units in the last place for |v| ≤ 87; 0 below −87, `e⁸⁷` above 87.
///
/// ```
/// assert!((lrpilot::nn::layers::activation::exp(1.0) - 1f32.exp()).abs() < 1e-6);
/// assert!(lrpilot::nn::layers::activation::exp(f32::NAN).is_nan());
/// ```
#[inline(always)]
pub fn exp(v: f32) -> f32 {
    let (power, r) = exp_parts(v.clamp(-87.0, 87.0));
    if v < -87.0 { 0.0 } else { power + power * r }
}

/// Hyperbolic tangent to a few units in the last place.
///
/// ```
/// assert!((lrpilot::nn::layers::activation::tanh(0.5) - 0.5f32.tanh()).abs() < 1e-6);
/// ```
#[inline(always)]
pub fn tanh(v: f32) -> f32 {
    // tanh|v| = −m/(2 + m) with m = e^(−2|v|) − 1, which loses nothing for small v.
    let (power, r) = exp_parts((-2.0 * v.abs()).clamp(-40.0, 0.0));
    let m = power * r + (power - 1.0);
    (-m / (2.0 + m)).copysign(v)
}

/// `max(v, 0)`, where NaN stays NaN as in PyTorch.
#[inline(always)]
pub fn relu(v: f32) -> f32 {
    if v < 0.0 { 0.0 } else { v }
}

/// `y ← act(y + b)` for every row of `y: [·][b.len()]`.
pub(crate) fn add_bias_and_activate(y: &mut [f32], b: &[f32], activation: Activation) {
    vectorized(
        #[inline(always)]
        || {
            for row in y.chunks_exact_mut(b.len()) {
                match activation {
                    Activation::Identity => row.iter_mut().zip(b).for_each(|(v, b)| *v += b),
                    Activation::Relu => row.iter_mut().zip(b).for_each(|(v, b)| *v = relu(*v + b)),
                    Activation::Tanh => row.iter_mut().zip(b).for_each(|(v, b)| *v = tanh(*v + b)),
                }
            }
        },
    );
}

/// `dy ← dy · act'(·)`, where the derivative is written as a function of the output `y`.
pub(crate) fn activation_backward(activation: Activation, y: &[f32], dy: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || match activation {
            Activation::Identity => {}
            Activation::Relu => {
                // The compiler must not know this value: it would make a masked store, which takes AMD's cores a dozen
                // cycles.
                let all = std::hint::black_box(u32::MAX);
                for (d, y) in dy.iter_mut().zip(y) {
                    // The test is `y ≤ 0` and not its negation, so that the gradient passes where y is NaN, as in PyTorch.
                    let kept = if *y <= 0.0 { 0 } else { all };
                    *d = f32::from_bits(d.to_bits() & kept);
                }
            }
            Activation::Tanh => dy.iter_mut().zip(y).for_each(|(d, y)| *d *= 1.0 - y * y),
        },
    );
}

/// An elementwise function as a layer of its own (`torch.nn.ReLU`, `torch.nn.Tanh`), for where it cannot be fused.
pub struct Elementwise {
    shape: Shape,
    activation: Activation,
}

impl Elementwise {
    /// The function on examples of shape `shape`.
    pub fn new(shape: Shape, activation: Activation) -> Self {
        Elementwise { shape, activation }
    }
}

impl Layer for Elementwise {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&mut self, pass: Pass<'_>, _: &mut [f32], y: &mut [f32], _: &mut Mode<'_>) {
        let (x, activation) = (pass.x, self.activation);
        vectorized(
            #[inline(always)]
            || match activation {
                Activation::Identity => y.copy_from_slice(x),
                Activation::Relu => y.iter_mut().zip(x).for_each(|(y, x)| *y = relu(*x)),
                Activation::Tanh => y.iter_mut().zip(x).for_each(|(y, x)| *y = tanh(*x)),
            },
        );
    }

    fn backward(&mut self, _: Pass<'_>, y: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, _: &mut [f32]) {
        activation_backward(self.activation, y, dy);
        if let Some(dx) = dx {
            dx.copy_from_slice(dy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against f64 on a grid: relative error below 3 units in the last place (2⁻²³ each).
    #[test]
    fn exp_and_tanh_match_f64() {
        for i in -86_999..=86_999 {
            let v = i as f32 * 1e-3;
            let want = f64::from(v).exp();
            assert!((f64::from(exp(v)) / want - 1.0).abs() < 3.0 * 2f64.powi(-23), "exp({v})");
            let (small, want) = (v * 0.1, (f64::from(v * 0.1)).tanh());
            assert!((f64::from(tanh(small)) - want).abs() <= 3.0 * 2f64.powi(-23) * want.abs(), "tanh({small})");
        }
    }

    #[test]
    fn edges() {
        assert_eq!((exp(0.0), exp(-1e9), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert_eq!((tanh(100.0), tanh(-100.0), tanh(0.0)), (1.0, -1.0, 0.0));
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && relu(f32::NAN).is_nan());
    }
}
