//! Batch normalisation (`torch.nn.BatchNorm2d`, `BatchNorm1d`).

use crate::nn::init::Init;
use crate::nn::kernels::simd::{slab_len, vectorized};
use crate::nn::layers::activation::relu;
use crate::nn::layers::{Activation, Layer, Mode, ParamInfo, Shape};

/// Added to the variance.
const EPS: f64 = 1e-5;
/// Weight of the new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// `y = γ·(x − μ)/√(σ² + ε) + β` per channel, with the batch's μ and (biased) σ² while training and the running ones
/// (unbiased variance) in evaluation; then the activation. Images are `[row][column][channel]`.
pub struct BatchNorm {
    shape: Shape,
    activation: Activation,
    /// Positions taken in.
    seen: usize,
    inverse_std: Vec<f32>,
    affine: Affine,
    /// What the backward pass takes off a gradient, and off it for each unit of deviation, for each place in a slab.
    offset: Vec<f32>,
    slope: Vec<f32>,
    /// Two sums for each place in a slab: over a block in f32, over all in f64.
    partial: [Vec<f32>; 2],
    total: [Vec<f64>; 2],
}

/// What normalisation does to the value at each place of a slab: channel after channel, again and again.
struct Affine {
    mean: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Slabs that are added up in f32 before the sums go to f64, so that rounding stays near 1e-6.
const BLOCK: usize = 64;

impl BatchNorm {
    /// A layer on examples of shape `shape`, with an activation after it: the identity or ReLU.
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
            seen: 0,
            inverse_std: vec![0.0; shape.channels],
            affine: Affine { mean: slab.clone(), scale: slab.clone(), shift: slab.clone() },
            offset: slab.clone(),
            slope: slab.clone(),
            partial: [slab.clone(), slab],
            total: [total.clone(), total],
        }
    }

    /// Add to `self.total` two values for each position: what `terms` makes of a value of `x`, one of `d`, and mean, scale
    /// and shift.
    #[inline(always)]
    fn add_up(&mut self, x: &[f32], d: &[f32], terms: impl Fn(f32, f32, [f32; 3]) -> [f32; 2]) {
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

    /// Bring the sums for each channel together at the beginning of `self.total`.
    fn sum_places(&mut self) {
        let channels = self.shape.channels;
        for total in &mut self.total {
            for i in channels..total.len() {
                total[i % channels] += total[i];
            }
        }
    }

    /// Begin the statistics of a batch.
    pub(crate) fn begin(&mut self) {
        self.total.iter_mut().for_each(|t| t.fill(0.0));
        self.seen = 0;
    }

    /// Take in a piece of the batch: deviations from the values of its first position are added up.
    pub(crate) fn take_in(&mut self, piece: &[f32]) {
        if self.seen == 0 {
            spread(&mut self.affine.mean, &piece[..self.shape.channels]);
        }
        self.seen += piece.len() / self.shape.channels;
        vectorized(
            #[inline(always)]
            || {
                self.add_up(
                    piece,
                    piece,
                    #[inline(always)]
                    |x, _, [near, ..]| [x - near, (x - near) * (x - near)],
                )
            },
        );
    }

    /// Mean and biased variance of each channel of what was taken in, to `self.total`.
    fn conclude(&mut self) {
        self.sum_places();
        let (count, [means, variances]) = (self.seen as f64, &mut self.total);
        for ((mean, variance), near) in means.iter_mut().zip(variances).zip(&self.affine.mean).take(self.shape.channels)
        {
            let offset = *mean / count;
            *variance = (*variance / count - offset * offset).max(0.0);
            *mean = f64::from(*near) + offset;
        }
    }
}

/// Write the values of each channel to every place of a slab that belongs to it.
fn spread(slab: &mut [f32], channels: &[f32]) {
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

    fn forward(&mut self, p: &[f32], b: &mut [f32], x: &[f32], y: &mut [f32], _: usize, mode: &mut Mode<'_>) {
        if let Mode::Train(_) = mode {
            self.begin();
            self.take_in(x);
        }
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
        self.gradients(p, x, dy, self.activation, grads);
        if let Some(dx) = dx {
            self.pass_back(x, dy, self.activation, dx);
        }
    }
}

impl BatchNorm {
    /// The forward pass, in training after `x` was taken in; `added` is added before the activation, which is ReLU or the
    /// identity.
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
        let channels = self.shape.channels;
        let (running_mean, running_var) = b.split_at_mut(channels);
        if let Mode::Train(_) = mode {
            self.conclude();
        }
        let count = self.seen as f64;
        for c in 0..channels {
            let (mean, variance) = match mode {
                Mode::Eval => (f64::from(running_mean[c]), f64::from(running_var[c])),
                Mode::Train(_) => {
                    let (mean, variance) = (self.total[0][c], self.total[1][c]);
                    // A single value has no unbiased variance; its own, zero, is used.
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
        self.affine.set(p, &self.inverse_std);
        vectorized(
            #[inline(always)]
            || self.affine.apply(x, added, activation == Activation::Relu, y),
        );
    }

    /// The gradients of `γ` and `β`, and what [`BatchNorm::pass_back`] needs; `activation` may be ReLU only if nothing was
    /// added before it.
    pub(crate) fn gradients(&mut self, p: &[f32], x: &[f32], dy: &[f32], activation: Activation, grads: &mut [f32]) {
        self.affine.set(p, &self.inverse_std);
        self.total.iter_mut().for_each(|t| t.fill(0.0));
        match activation {
            Activation::Relu => self.add_up_gradients::<true>(x, dy),
            _ => self.add_up_gradients::<false>(x, dy),
        }
        self.sum_places();
        let channels = self.shape.channels;
        let count = (x.len() / channels) as f64;
        for c in 0..channels {
            let inverse_std = self.inverse_std[c];
            let d_gamma = self.total[1][c] * f64::from(inverse_std);
            (grads[c], grads[channels + c]) = (d_gamma as f32, self.total[0][c] as f32);
            self.offset[c] = (self.total[0][c] / count) as f32;
            self.slope[c] = (d_gamma / count) as f32 * inverse_std;
        }
        repeat(&mut self.offset, channels);
        repeat(&mut self.slope, channels);
    }

    fn add_up_gradients<const RELU: bool>(&mut self, x: &[f32], dy: &[f32]) {
        vectorized(
            #[inline(always)]
            || {
                self.add_up(
                    x,
                    dy,
                    #[inline(always)]
                    |x, d, affine| {
                        let d = passing::<RELU>(d, x, affine);
                        [d, d * (x - affine[0])]
                    },
                )
            },
        );
    }

    /// The gradient of a piece of the input, after [`BatchNorm::gradients`] of the whole batch.
    pub(crate) fn pass_back(&self, x: &[f32], dy: &[f32], activation: Activation, dx: &mut [f32]) {
        match activation {
            Activation::Relu => self.pass_back_through::<true>(x, dy, dx),
            _ => self.pass_back_through::<false>(x, dy, dx),
        }
    }

    fn pass_back_through<const RELU: bool>(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let (slab, Affine { mean, scale, shift }) = (self.offset.len(), &self.affine);
        vectorized(
            #[inline(always)]
            || {
                for ((dx, d), x) in dx.chunks_mut(slab).zip(dy.chunks(slab)).zip(x.chunks(slab)) {
                    let n = dx.len();
                    let (d, x, mean, scale, shift) = (&d[..n], &x[..n], &mean[..n], &scale[..n], &shift[..n]);
                    let (offset, slope) = (&self.offset[..n], &self.slope[..n]);
                    for i in 0..n {
                        let d = passing::<RELU>(d[i], x[i], [mean[i], scale[i], shift[i]]);
                        dx[i] = scale[i] * (d - offset[i] - (x[i] - mean[i]) * slope[i]);
                    }
                }
            },
        );
    }
}

/// Write the first `channels` values of a slab again and again.
fn repeat(slab: &mut [f32], channels: usize) {
    let (first, rest) = slab.split_at_mut(channels);
    spread(rest, first);
}

impl Affine {
    /// From `γ, β` in `p` and the first channels' means.
    fn set(&mut self, p: &[f32], inverse_std: &[f32]) {
        let channels = inverse_std.len();
        let (gamma, beta) = p.split_at(channels);
        for c in 0..channels {
            self.scale[c] = gamma[c] * inverse_std[c];
        }
        self.shift[..channels].copy_from_slice(beta);
        for slab in [&mut self.mean, &mut self.scale, &mut self.shift] {
            repeat(slab, channels);
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

/// The gradient `d` past ReLU, if there is one: none where the output was cut off. Whether it was is found out anew, which
/// costs less than reading the output.
#[inline(always)]
fn passing<const RELU: bool>(d: f32, x: f32, affine: [f32; 3]) -> f32 {
    if RELU && normalized(x, affine) <= 0.0 { 0.0 } else { d }
}
