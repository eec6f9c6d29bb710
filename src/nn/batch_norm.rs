//! Batch normalisation (`torch.nn.BatchNorm2d`, `BatchNorm1d`).

use crate::nn::init::Init;
use crate::nn::layer::{Layer, Mode, ParamInfo, Shape};
use crate::nn::simd::vectorized;

/// Added to the variance.
const EPS: f64 = 1e-5;
/// Weight of the new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// `y = γ·(x − μ)/√(σ² + ε) + β` per channel, with the batch's μ and (biased) σ² while training and the running ones
/// (unbiased variance) in evaluation.
pub struct BatchNorm {
    shape: Shape,
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
}

impl BatchNorm {
    /// A layer on examples of shape `shape`.
    pub fn new(shape: Shape) -> Self {
        BatchNorm { shape, mean: vec![0.0; shape.channels], inverse_std: vec![0.0; shape.channels] }
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
const BLOCK: usize = 1024;

/// Two sums over pairs of values at once, in sixteen partial sums, which vectorise.
#[inline(always)]
fn sums(a: &[f32], b: &[f32], terms: impl Fn(f32, f32) -> [f32; 2]) -> [f64; 2] {
    let mut total = [0.0; 2];
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        let mut lanes = [[0.0f32; 16]; 2];
        for (a, b) in a.iter().zip(b) {
            for i in 0..16 {
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
        total.iter_mut().zip(lanes).for_each(|(t, lanes)| *t += lanes.iter().map(|l| f64::from(*l)).sum::<f64>());
    }
    total
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

    fn forward(&mut self, p: &[f32], b: &mut [f32], x: &[f32], y: &mut [f32], batch: usize, mode: &mut Mode<'_>) {
        let (channels, n) = (self.shape.channels, self.positions());
        let (running_mean, running_var) = b.split_at_mut(channels);
        let count = (batch * n) as f64;
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
        }
        let (gamma, beta) = p.split_at(channels);
        vectorized(
            #[inline(always)]
            || {
                for (plane, (x, y)) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).enumerate() {
                    let c = plane % channels;
                    let (scale, mean, shift) = (gamma[c] * self.inverse_std[c], self.mean[c], beta[c]);
                    y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale + shift);
                }
            },
        );
    }

    fn backward(
        &mut self,
        p: &[f32],
        x: &[f32],
        _: &[f32],
        dy: &mut [f32],
        mut dx: Option<&mut [f32]>,
        grads: &mut [f32],
        batch: usize,
    ) {
        vectorized(
            #[inline(always)]
            || {
                for c in 0..self.shape.channels {
                    self.backward_channel(c, p, x, dy, dx.as_deref_mut(), grads, batch);
                }
            },
        );
    }
}

impl BatchNorm {
    #[inline(always)]
    fn backward_channel(
        &self,
        c: usize,
        p: &[f32],
        x: &[f32],
        dy: &[f32],
        dx: Option<&mut [f32]>,
        grads: &mut [f32],
        batch: usize,
    ) {
        let (channels, n, len) = (self.shape.channels, self.positions(), self.shape.len());
        let count = (batch * n) as f64;
        let (mean, inverse_std) = (self.mean[c], self.inverse_std[c]);
        let range = |i: usize| i * len + c * n..i * len + (c + 1) * n;
        let mut total = [0.0; 2];
        for i in 0..batch {
            let part = sums(&dy[range(i)], &x[range(i)], |d, x| [d, d * (x - mean)]);
            total = [total[0] + part[0], total[1] + part[1]];
        }
        let d_gamma = total[1] * f64::from(inverse_std);
        grads[c] = d_gamma as f32;
        grads[channels + c] = total[0] as f32;
        let Some(dx) = dx else { return };
        let scale = p[c] * inverse_std;
        let (a, b) = ((total[0] / count) as f32, (d_gamma / count) as f32 * inverse_std);
        for i in 0..batch {
            let (dy, x) = (&dy[range(i)], &x[range(i)]);
            let each = dx[range(i)].iter_mut().zip(dy).zip(x);
            each.for_each(|((dx, d), x)| *dx = scale * (d - a - (x - mean) * b));
        }
    }
}
