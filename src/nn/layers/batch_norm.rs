//! Batch normalisation (`torch.nn.BatchNorm2d`, `BatchNorm1d`).

use crate::nn::init::Init;
use crate::nn::kernels::simd::{slab_len, vectorized};
use crate::nn::layers::activation::relu;
use crate::nn::layers::{Layer, Mode, ParamInfo, Pass};
use crate::nn::model::{Activation, Shape};

/// ε, which is added to the variance.
const EPS: f64 = 1e-5;
/// Weight of the new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// `y = act(γ·(x − μ)/√(σ² + ε) + β)` per channel. Training uses μ and the biased σ² of the batch; evaluation uses the running
/// mean and the running unbiased variance. Images are `[row][column][channel]`.
///
/// Values that differ between channels are repeated over a *slab*, which is a whole number of positions (`slab_len`).
pub struct BatchNorm {
    shape: Shape,
    activation: Activation,
    /// Number of positions that were accumulated.
    count: usize,
    inverse_std: Vec<f32>,
    affine: Affine,
    /// The backward pass is `dx = scale·(dy − offset − (x − μ)·slope)`, tiled over a slab, with `offset = mean(dy)` and
    /// `slope = mean(dy·(x − μ))/(σ² + ε)`.
    offset: Vec<f32>,
    slope: Vec<f32>,
    /// Two sums for each index of a slab: over a block in f32, and over the batch in f64.
    partial: [Vec<f32>; 2],
    total: [Vec<f64>; 2],
}

/// The normalisation `(x − mean)·scale + shift`, its values tiled over a slab.
struct Affine {
    mean: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Slabs that are added up in f32 before the sums go to f64. This keeps rounding near 1e-6.
const BLOCK: usize = 64;

impl BatchNorm {
    /// A layer on examples of shape `shape`. The activation is the identity or ReLU.
    ///
    /// # Panics
    /// For another activation.
    pub fn new(shape: Shape, activation: Activation) -> Self {
        assert_ne!(activation, Activation::Tanh, "only ReLU is fused into a batch normalisation");
        let slab = vec![0.0; slab_len(shape.channels)];
        let total = vec![0.0; slab.len()];
        BatchNorm {
            shape,
            activation,
            count: 0,
            inverse_std: vec![0.0; shape.channels],
            affine: Affine { mean: slab.clone(), scale: slab.clone(), shift: slab.clone() },
            offset: slab.clone(),
            slope: slab.clone(),
            partial: [slab.clone(), slab],
            total: [total.clone(), total],
        }
    }

    /// Adds two terms for each value to `self.total`: the result of `terms` for a value of `x`, the one of `d`, and their mean,
    /// scale and shift.
    #[inline(always)]
    fn add_terms(&mut self, x: &[f32], d: &[f32], terms: impl Fn(f32, f32, [f32; 3]) -> [f32; 2]) {
        let slab = self.offset.len();
        for (x, d) in x.chunks(BLOCK * slab).zip(d.chunks(BLOCK * slab)) {
            let [first, second] = &mut self.partial;
            first.fill(0.0);
            second.fill(0.0);
            for (x, d) in x.chunks(slab).zip(d.chunks(slab)) {
                let (n, Affine { mean, scale, shift }) = (x.len(), &self.affine);
                let (d, mean, scale, shift) = (&d[..n], &mean[..n], &scale[..n], &shift[..n]);
                let (first, second) = (&mut first[..n], &mut second[..n]);
                for i in 0..n {
                    let terms = terms(x[i], d[i], [mean[i], scale[i], shift[i]]);
                    first[i] += terms[0];
                    second[i] += terms[1];
                }
            }
            for (total, partial) in self.total.iter_mut().zip(&self.partial) {
                total.iter_mut().zip(partial).for_each(|(t, p)| *t += f64::from(*p));
            }
        }
    }

    /// Adds up the sums of each channel at the beginning of `self.total`.
    fn sum_positions(&mut self) {
        let channels = self.shape.channels;
        for total in &mut self.total {
            for i in channels..total.len() {
                total[i % channels] += total[i];
            }
        }
    }

    /// Resets the statistics before a batch.
    pub(crate) fn reset(&mut self) {
        self.total.iter_mut().for_each(|t| t.fill(0.0));
        self.count = 0;
    }

    /// Accumulates the statistics of a chunk of the batch. The deviations from the values of the batch's first position are
    /// added up, which loses fewer digits than the values themselves.
    pub(crate) fn accumulate(&mut self, chunk: &[f32]) {
        if self.count == 0 {
            tile(&mut self.affine.mean, &chunk[..self.shape.channels]);
        }
        self.count += chunk.len() / self.shape.channels;
        vectorized(
            #[inline(always)]
            || {
                self.add_terms(
                    chunk,
                    chunk,
                    #[inline(always)]
                    |x, _, [near, ..]| [x - near, (x - near) * (x - near)],
                )
            },
        );
    }

    /// Computes mean and biased variance of each channel from the sums, in place, in `self.total`.
    fn finish_statistics(&mut self) {
        self.sum_positions();
        let (count, [means, variances]) = (self.count as f64, &mut self.total);
        for ((mean, variance), near) in means.iter_mut().zip(variances).zip(&self.affine.mean).take(self.shape.channels)
        {
            let offset = *mean / count;
            *variance = (*variance / count - offset * offset).max(0.0);
            *mean = f64::from(*near) + offset;
        }
    }
}

/// Writes the channels' values to every position of a slab.
fn tile(slab: &mut [f32], channels: &[f32]) {
    slab.chunks_exact_mut(channels.len()).for_each(|position| position.copy_from_slice(channels));
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

    fn forward(&mut self, pass: Pass<'_>, buffers: &mut [f32], y: &mut [f32], mode: &mut Mode<'_>) {
        if let Mode::Train(_) = mode {
            self.reset();
            self.accumulate(pass.x);
        }
        self.normalize(pass, buffers, None, y, mode);
    }

    fn backward(&mut self, pass: Pass<'_>, _: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, grads: &mut [f32]) {
        self.param_gradients(pass.params, pass.x, dy, self.activation, grads);
        if let Some(dx) = dx {
            self.input_gradient(pass.x, dy, self.activation, dx);
        }
    }
}

impl BatchNorm {
    /// The forward pass; in training all of `pass.x` must have been accumulated. `added` is added before the activation.
    pub(crate) fn normalize(
        &mut self,
        pass: Pass<'_>,
        buffers: &mut [f32],
        added: Option<&[f32]>,
        y: &mut [f32],
        mode: &mut Mode<'_>,
    ) {
        let channels = self.shape.channels;
        let (running_mean, running_var) = buffers.split_at_mut(channels);
        if let Mode::Train(_) = mode {
            self.finish_statistics();
        }
        let count = self.count as f64;
        for c in 0..channels {
            let (mean, variance) = match mode {
                Mode::Eval => (f64::from(running_mean[c]), f64::from(running_var[c])),
                Mode::Train(_) => {
                    let (mean, variance) = (self.total[0][c], self.total[1][c]);
                    // A single value has no unbiased variance; zero, its biased one, is used.
                    let unbiased = variance * count / (count - 1.0).max(1.0);
                    let mix = |old: f32, new: f64| ((1.0 - MOMENTUM) * f64::from(old) + MOMENTUM * new) as f32;
                    running_mean[c] = mix(running_mean[c], mean);
                    running_var[c] = mix(running_var[c], unbiased);
                    (mean, variance)
                }
            };
            self.affine.mean[c] = mean as f32;
            self.inverse_std[c] = (1.0 / (variance + EPS).sqrt()) as f32;
        }
        self.affine.set(pass.params, &self.inverse_std);
        let with_relu = self.activation == Activation::Relu;
        vectorized(
            #[inline(always)]
            || self.affine.apply(pass.x, added, with_relu, y),
        );
    }

    /// Computes the gradients of γ and β, and the statistics that [`BatchNorm::input_gradient`] needs. `dy` is the gradient
    /// after `activation`, which may be ReLU only if nothing was added before it.
    pub(crate) fn param_gradients(
        &mut self,
        params: &[f32],
        x: &[f32],
        dy: &[f32],
        activation: Activation,
        grads: &mut [f32],
    ) {
        self.affine.set(params, &self.inverse_std);
        self.total.iter_mut().for_each(|t| t.fill(0.0));
        match activation {
            Activation::Relu => self.add_terms_gradients::<true>(x, dy),
            _ => self.add_terms_gradients::<false>(x, dy),
        }
        self.sum_positions();
        let channels = self.shape.channels;
        let count = (x.len() / channels) as f64;
        for c in 0..channels {
            let inverse_std = self.inverse_std[c];
            let d_gamma = self.total[1][c] * f64::from(inverse_std);
            (grads[c], grads[channels + c]) = (d_gamma as f32, self.total[0][c] as f32);
            self.offset[c] = (self.total[0][c] / count) as f32;
            self.slope[c] = (d_gamma / count) as f32 * inverse_std;
        }
        tile_first(&mut self.offset, channels);
        tile_first(&mut self.slope, channels);
    }

    fn add_terms_gradients<const RELU: bool>(&mut self, x: &[f32], dy: &[f32]) {
        vectorized(
            #[inline(always)]
            || {
                self.add_terms(
                    x,
                    dy,
                    #[inline(always)]
                    |x, d, affine| {
                        let d = before_relu::<RELU>(d, x, affine);
                        [d, d * (x - affine[0])]
                    },
                )
            },
        );
    }

    /// Computes the gradient of a chunk of the input, after [`BatchNorm::param_gradients`] of the whole batch.
    pub(crate) fn input_gradient(&self, x: &[f32], dy: &[f32], activation: Activation, dx: &mut [f32]) {
        match activation {
            Activation::Relu => self.input_gradient_through::<true>(x, dy, dx),
            _ => self.input_gradient_through::<false>(x, dy, dx),
        }
    }

    fn input_gradient_through<const RELU: bool>(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let (slab, Affine { mean, scale, shift }) = (self.offset.len(), &self.affine);
        vectorized(
            #[inline(always)]
            || {
                for ((dx, d), x) in dx.chunks_mut(slab).zip(dy.chunks(slab)).zip(x.chunks(slab)) {
                    let n = dx.len();
                    let (d, x, mean, scale, shift) = (&d[..n], &x[..n], &mean[..n], &scale[..n], &shift[..n]);
                    let (offset, slope) = (&self.offset[..n], &self.slope[..n]);
                    for i in 0..n {
                        let d = before_relu::<RELU>(d[i], x[i], [mean[i], scale[i], shift[i]]);
                        dx[i] = scale[i] * (d - offset[i] - (x[i] - mean[i]) * slope[i]);
                    }
                }
            },
        );
    }
}

/// Writes the first `channels` values of a slab to its other positions.
fn tile_first(slab: &mut [f32], channels: usize) {
    let (first, rest) = slab.split_at_mut(channels);
    tile(rest, first);
}

impl Affine {
    /// Sets all values from γ and β in `params`, and from the means at the beginning of `self.mean`.
    fn set(&mut self, params: &[f32], inverse_std: &[f32]) {
        let channels = inverse_std.len();
        let (gamma, beta) = params.split_at(channels);
        for c in 0..channels {
            self.scale[c] = gamma[c] * inverse_std[c];
        }
        self.shift[..channels].copy_from_slice(beta);
        for slab in [&mut self.mean, &mut self.scale, &mut self.shift] {
            tile_first(slab, channels);
        }
    }

    /// `y ← act(affine(x) + added)`.
    #[inline(always)]
    fn apply(&self, x: &[f32], added: Option<&[f32]>, with_relu: bool, y: &mut [f32]) {
        let slab = self.mean.len();
        for (i, (x, y)) in x.chunks(slab).zip(y.chunks_mut(slab)).enumerate() {
            let added = added.map(|a| &a[i * slab..][..x.len()]);
            match (added, with_relu) {
                (None, false) => self.apply_to(
                    x,
                    x,
                    y,
                    #[inline(always)]
                    |v, _| v,
                ),
                (None, true) => self.apply_to(
                    x,
                    x,
                    y,
                    #[inline(always)]
                    |v, _| relu(v),
                ),
                (Some(a), false) => self.apply_to(
                    x,
                    a,
                    y,
                    #[inline(always)]
                    |v, a| v + a,
                ),
                (Some(a), true) => self.apply_to(
                    x,
                    a,
                    y,
                    #[inline(always)]
                    |v, a| relu(v + a),
                ),
            }
        }
    }

    #[inline(always)]
    fn apply_to(&self, x: &[f32], added: &[f32], y: &mut [f32], finish: impl Fn(f32, f32) -> f32) {
        let n = y.len();
        let (x, added, mean) = (&x[..n], &added[..n], &self.mean[..n]);
        let (scale, shift) = (&self.scale[..n], &self.shift[..n]);
        for i in 0..n {
            y[i] = finish(normalized(x[i], [mean[i], scale[i], shift[i]]), added[i]);
        }
    }
}

#[inline(always)]
fn normalized(x: f32, [mean, scale, shift]: [f32; 3]) -> f32 {
    (x - mean) * scale + shift
}

/// The gradient before ReLU, if there is one: zero where ReLU cut the value off, `d` elsewhere. Computing the value again costs
/// less than reading the output.
#[inline(always)]
fn before_relu<const RELU: bool>(d: f32, x: f32, affine: [f32; 3]) -> f32 {
    if RELU && normalized(x, affine) <= 0.0 { 0.0 } else { d }
}
