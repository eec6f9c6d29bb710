//! A frozen deterministic policy: tanh layers and a linear head, evaluated one observation at a time.

use crate::agent::normalizer::RunningMoments;
use crate::agent::tanh::tanh;
use crate::nn::kernels::simd::vectorized;
use serde::{Deserialize, Serialize};

/// Accumulators of a dot product; fixed, so that the order of summation does not depend on the machine.
const LANES: usize = 16;

/// A multilayer perceptron with tanh between its layers.
///
/// ```
/// use lrpilot::agent::Policy;
/// let mut policy = Policy::new(vec![1, 1], vec![2.0, 0.5], None);
/// let mut action = [0.0];
/// policy.act(&[3.0], &mut action);
/// assert_eq!(action, [6.5]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Widths: observation, hidden layers, output.
    pub sizes: Vec<usize>,
    /// For each layer its weight `[out][in]` and bias `[out]`.
    pub params: Vec<f32>,
    /// Statistics by which observations are normalised, if any.
    pub moments: Option<RunningMoments>,
    #[serde(skip)]
    scratch: [Vec<f32>; 2],
}

impl Policy {
    /// A policy with these parameters.
    ///
    /// # Panics
    /// If the number of parameters does not fit the sizes; see [`Policy::param_count`].
    pub fn new(sizes: Vec<usize>, params: Vec<f32>, moments: Option<RunningMoments>) -> Self {
        assert_eq!(params.len(), Self::param_count(&sizes));
        Policy { sizes, params, moments, scratch: Default::default() }
    }

    /// Number of parameters of a network with these sizes.
    pub fn param_count(sizes: &[usize]) -> usize {
        sizes.windows(2).map(|w| w[1] * (w[0] + 1)).sum()
    }

    /// The network's output for one observation. Allocates only in the first call.
    ///
    /// # Panics
    /// If the observation or `out` has the wrong length.
    pub fn act(&mut self, observation: &[f32], out: &mut [f32]) {
        assert_eq!(observation.len(), self.sizes[0]);
        let [x, y] = &mut self.scratch;
        x.clear();
        x.extend_from_slice(observation);
        if let Some(moments) = &self.moments {
            moments.normalize(x);
        }
        let mut params = &self.params[..];
        for (layer, pair) in self.sizes.windows(2).enumerate() {
            let (weight, rest) = params.split_at(pair[0] * pair[1]);
            let (bias, rest) = rest.split_at(pair[1]);
            params = rest;
            let last = layer + 2 == self.sizes.len();
            y.clear();
            y.resize(pair[1], 0.0);
            affine(weight, bias, x, y);
            if !last {
                y.iter_mut().for_each(|v| *v = tanh(*v));
            }
            std::mem::swap(x, y);
        }
        out.copy_from_slice(x);
    }
}

/// y = W·x + b.
fn affine(weight: &[f32], bias: &[f32], x: &[f32], y: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for ((row, b), y) in weight.chunks_exact(x.len()).zip(bias).zip(y) {
                *y = dot(row, x) + b;
            }
        },
    );
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}
