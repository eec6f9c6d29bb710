//! Batch normalisation (`torch.nn.BatchNorm2d`, `BatchNorm1d`).

use crate::nn::activation::relu;
use crate::nn::init::Init;
use crate::nn::layer::{Activation, Layer, Mode, ParamInfo, Shape};
use crate::nn::simd::vectorized;

/// Added to the variance.
const EPS: f64 = 1e-5;
/// Weight of the new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// `y = γ·(x − μ)/√(σ² + ε) + β` per channel, with the batch's μ and (biased) σ² while training and the running ones
/// (unbiased variance) in evaluation; then the activation.
pub struct BatchNorm {
    shape: Shape,
    activation: Activation,
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
}

impl BatchNorm {
    /// A layer on examples of shape `shape`, with an activation after it: the identity or ReLU.
    ///
    /// # Panics
    /// For another activation.
    pub fn new(shape: Shape, activation: Activation) -> Self {
        assert_ne!(activation, Activation::Tanh, "only ReLU is fused into a batch normalisation");
        BatchNorm { shape, activation, mean: vec![0.0; shape.channels], inverse_std: vec![0.0; shape.channels] }
    }

    fn positions(&self) -> usize {
        self.shape.height * self.shape.width
    }

    /// Mean and biased variance of channel `c`, in one pass over deviations from the first plane's mean.
    #[inline(always)]
    fn statistics(&self, x: &[f32], c: usize) -> (f64, f64) {
        let (len, n) = (self.shape.len(), self.positions());
        let planes = || x.chunks_exact(len).map(|image| &image[c * n..(c + 1) * n]);
        let count = (x.len() / len * n) as f64;
        let near = planes().next().map_or(0.0, |plane| (sums(plane, plane, |v, _| [v, 0.0])[0] / n as f64) as f32);
        let mut total = [0.0; 2];
        for plane in planes() {
            let part = sums(plane, plane, |v, _| [v - near, (v - near) * (v - near)]);
            total = [total[0] + part[0], total[1] + part[1]];
        }
        let offset = total[0] / count;
        (f64::from(near) + offset, (total[1] / count - offset * offset).max(0.0))
    }
}

/// Values that are added up in f32 lanes before they go to f64, so that rounding stays near 1e-6.
const BLOCK: usize = 2048;
/// Partial sums side by side: two of the widest vectors, to hide the latency of additions.
const LANES: usize = 32;

/// Two sums over pairs of values at once, in partial sums, which vectorise.
#[inline(always)]
fn sums(a: &[f32], b: &[f32], terms: impl Fn(f32, f32) -> [f32; 2]) -> [f64; 2] {
    let mut total = [0.0; 2];
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        let mut lanes = [[0.0f32; LANES]; 2];
        for (a, b) in a.iter().zip(b) {
            for i in 0..LANES {
                let [first, second] = terms(a[i], b[i]);
                lanes[0][i] += first;
                lanes[1][i] += second;
            }
        }
        for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            let [first, second] = terms(*a, *b);
            lanes[0][i] += first;
            lanes[1][i] += second;
        }
        total.iter_mut().zip(lanes).for_each(|(t, lanes)| *t += f64::from(pairwise(lanes)));
    }
    total
}

/// The sum, halves added to halves.
#[inline(always)]
fn pairwise(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

impl Layer for BatchNorm {
    fn output(&self) -> Shape {
        self.shape
    }

    fn params(&self) -> Vec<ParamInfo> {
        let info = |name: &str, value| ParamInfo {
            name: name.into(),
            shape: vec![self.shape.channels],
            init: Init::Constant(value),
        };
        vec![info("weight", 1.0), info("bias", 0.0)]
    }

    fn buffers(&self) -> Vec<ParamInfo> {
        let info = |name: &str, value| ParamInfo {
            name: name.into(),
            shape: vec![self.shape.channels],
            init: Init::Constant(value),
        };
        vec![info("running_mean", 0.0), info("running_var", 1.0)]
    }

    fn forward(&mut self, p: &[f32], b: &mut [f32], x: &[f32], y: &mut [f32], _: usize, mode: &mut Mode<'_>) {
        self.normalize(p, b, x, None, self.activation, y, mode);
    }

    fn backward(
        &mut self,
        p: &[f32],
        x: &[f32],
        _: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        grads: &mut [f32],
        _: usize,
    ) {
        self.gradients(p, x, dy, self.activation, dx, grads);
    }
}

impl BatchNorm {
    /// The forward pass; `added` is added before the activation, which is ReLU or the identity.
    pub(crate) fn normalize(
        &mut self,
        p: &[f32],
        b: &mut [f32],
        x: &[f32],
        added: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
        mode: &mut Mode<'_>,
    ) {
        let (channels, n) = (self.shape.channels, self.positions());
        let (running_mean, running_var) = b.split_at_mut(channels);
        let count = (x.len() / channels) as f64;
        // Channel after channel, so that what the statistics have read is still in cache when it is normalised.
        for c in 0..channels {
            let (mean, variance) = match mode {
                Mode::Eval => (f64::from(running_mean[c]), f64::from(running_var[c])),
                Mode::Train(_) => {
                    let (mean, variance) = vectorized(
                        #[inline(always)]
                        || self.statistics(x, c),
                    );
                    // A single value has no unbiased variance; its own, zero, is used.
                    let unbiased = variance * count / (count - 1.0).max(1.0);
                    let mix = |old: f32, new: f64| ((1.0 - MOMENTUM) * f64::from(old) + MOMENTUM * new) as f32;
                    running_mean[c] = mix(running_mean[c], mean);
                    running_var[c] = mix(running_var[c], unbiased);
                    (mean, variance)
                }
            };
            self.mean[c] = mean as f32;
            self.inverse_std[c] = (1.0 / (variance + EPS).sqrt()) as f32;
            let affine = self.affine(p, c);
            vectorized(
                #[inline(always)]
                || {
                    for start in (c * n..x.len()).step_by(self.shape.len()) {
                        let plane = start..start + n;
                        let added = added.map(|a| &a[plane.clone()]);
                        affine.apply(&x[plane.clone()], added, activation == Activation::Relu, &mut y[plane]);
                    }
                },
            );
        }
    }

    /// The backward pass; `activation` may be ReLU only if nothing was added before it.
    pub(crate) fn gradients(
        &mut self,
        p: &[f32],
        x: &[f32],
        dy: &[f32],
        activation: Activation,
        mut dx: Option<&mut [f32]>,
        grads: &mut [f32],
    ) {
        let with_relu = activation == Activation::Relu;
        vectorized(
            #[inline(always)]
            || {
                for c in 0..self.shape.channels {
                    let affine = self.affine(p, c);
                    // Where the output was cut off no gradient passes. Whether it was is found out anew, which costs less
                    // than reading the output.
                    if with_relu {
                        let passing = |d: f32, x: f32| if affine.of(x) <= 0.0 { 0.0 } else { d };
                        self.channel_gradients(c, affine, x, dy, passing, dx.as_deref_mut(), grads);
                    } else {
                        self.channel_gradients(c, affine, x, dy, |d, _| d, dx.as_deref_mut(), grads);
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn affine(&self, p: &[f32], c: usize) -> Affine {
        let (gamma, beta) = p.split_at(self.shape.channels);
        Affine { mean: self.mean[c], scale: gamma[c] * self.inverse_std[c], shift: beta[c] }
    }

    #[inline(always)]
    fn channel_gradients(
        &self,
        c: usize,
        affine: Affine,
        x: &[f32],
        dy: &[f32],
        passing: impl Fn(f32, f32) -> f32,
        dx: Option<&mut [f32]>,
        grads: &mut [f32],
    ) {
        let (channels, n, len) = (self.shape.channels, self.positions(), self.shape.len());
        let images = x.len() / len;
        let count = (images * n) as f64;
        let Affine { mean, scale, .. } = affine;
        let range = |i: usize| i * len + c * n..i * len + (c + 1) * n;
        let mut total = [0.0; 2];
        for i in 0..images {
            let part = sums(
                &dy[range(i)],
                &x[range(i)],
                #[inline(always)]
                |d, x| {
                    let d = passing(d, x);
                    [d, d * (x - mean)]
                },
            );
            total = [total[0] + part[0], total[1] + part[1]];
        }
        let inverse_std = self.inverse_std[c];
        let d_gamma = total[1] * f64::from(inverse_std);
        grads[c] = d_gamma as f32;
        grads[channels + c] = total[0] as f32;
        let Some(dx) = dx else { return };
        let (a, b) = ((total[0] / count) as f32, (d_gamma / count) as f32 * inverse_std);
        for i in 0..images {
            let (dy, x) = (&dy[range(i)], &x[range(i)]);
            let each = dx[range(i)].iter_mut().zip(dy).zip(x);
            each.for_each(|((dx, d), x)| *dx = scale * (passing(*d, *x) - a - (x - mean) * b));
        }
    }
}

/// What normalisation does to the values of one channel.
#[derive(Clone, Copy)]
struct Affine {
    mean: f32,
    scale: f32,
    shift: f32,
}

impl Affine {
    /// `y ← act(affine(x) + added)`.
    #[inline(always)]
    fn apply(self, x: &[f32], added: Option<&[f32]>, with_relu: bool, y: &mut [f32]) {
        let each = y.iter_mut().zip(x);
        match (added, with_relu) {
            (None, false) => each.for_each(|(y, x)| *y = self.of(*x)),
            (None, true) => each.for_each(|(y, x)| *y = relu(self.of(*x))),
            (Some(a), false) => each.zip(a).for_each(|((y, x), a)| *y = self.of(*x) + a),
            (Some(a), true) => each.zip(a).for_each(|((y, x), a)| *y = relu(self.of(*x) + a)),
        }
    }

    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        (x - self.mean) * self.scale + self.shift
    }
}
