//! Two-dimensional convolution (`torch.nn.Conv2d`). 1×1 kernels are plain matrix products; 3×3 kernels with stride 1 use
//! Winograd's F(4×4, 3×3) where that is faster; everything else uses im2col.

use crate::nn::init::Init;
use crate::nn::kernels::conv1x1::Conv1x1;
use crate::nn::kernels::gemm::Update::{self, Overwrite};
use crate::nn::kernels::im2col::Im2col;
use crate::nn::kernels::simd::slab_len;
use crate::nn::kernels::sums::add_column_sums;
use crate::nn::kernels::window::{Images, Window};
use crate::nn::kernels::winograd::{self, Winograd};
use crate::nn::layers::activation::{activation_backward, add_bias_and_activate};
use crate::nn::layers::{Layer, Mode, ParamInfo, Pass};
use crate::nn::model::{Activation, Shape};
use std::ops::Range;

/// `y = act(w ⋆ x + b)` with `w: [channels][input channels][kernel][kernel]`, images as `[row][column][channel]`.
pub struct Conv2d {
    input: Shape,
    output: Shape,
    window: Window,
    bias: bool,
    activation: Activation,
    method: Method,
    /// Scratch space for sums over positions.
    slab: Vec<f32>,
}

/// How the products are computed.
enum Method {
    Conv1x1(Conv1x1),
    Im2col(Box<Im2col>),
    Winograd(Box<Winograd>),
}

impl Method {
    fn new(input: Shape, output: Shape, window: Window) -> Self {
        // Winograd's transforms need whole vectors of channels and outputs that fill more than a corner of a tile. Otherwise
        // they cost more than the multiplications that they save.
        let suits_winograd = [input, output].iter().all(|s| s.channels.is_multiple_of(winograd::LANES))
            && output.height.min(output.width) > 2;
        match window {
            Window { kernel: 1, stride, padding: 0 } => Method::Conv1x1(Conv1x1::new(input, output, stride)),
            Window { kernel: 3, stride: 1, padding } if suits_winograd => {
                Method::Winograd(Box::new(Winograd::new(input, output, padding)))
            }
            _ => Method::Im2col(Box::new(Im2col::new(input, output, window))),
        }
    }
}

impl Conv2d {
    /// A layer from `input` to `channels`, with a bias or without.
    ///
    /// # Errors
    /// A message, if a number is zero or the kernel is larger than the padded image.
    pub fn new(
        input: Shape,
        channels: usize,
        window: Window,
        bias: bool,
        activation: Activation,
    ) -> Result<Self, String> {
        let Window { kernel, stride, padding } = window;
        if channels == 0 || kernel == 0 || stride == 0 {
            return Err(format!(
                "a convolution with channels {channels}, kernel {kernel}, stride {stride}; all must be at least 1"
            ));
        }
        let side = |n: usize| -> Result<usize, String> {
            let padded = padding.checked_mul(2).and_then(|p| n.checked_add(p)).ok_or("the padding is too large")?;
            let room = padded.checked_sub(kernel).ok_or_else(|| {
                format!(
                    "kernel {kernel} is larger than the padded image {}×{} + 2·{padding}",
                    input.height, input.width
                )
            })?;
            Ok(room / stride + 1)
        };
        let output = Shape::image(channels, side(input.height)?, side(input.width)?);
        let method = Method::new(input, output, window);
        let slab = vec![0.0; slab_len(channels)];
        Ok(Conv2d { input, output, window, bias, activation, method, slab })
    }

    fn fan_in(&self) -> usize {
        self.input.channels * self.window.kernel * self.window.kernel
    }

    /// Number of weights, without the bias.
    pub(crate) fn weights(&self) -> usize {
        self.output.channels * self.fan_in()
    }
}

impl Layer for Conv2d {
    fn output(&self) -> Shape {
        self.output
    }

    fn params(&self) -> Vec<ParamInfo> {
        let init = Init::Uniform { fan_in: self.fan_in() };
        let (oc, ic, k) = (self.output.channels, self.input.channels, self.window.kernel);
        let mut infos = vec![ParamInfo { name: "weight".into(), shape: vec![oc, ic, k, k], init }];
        if self.bias {
            infos.push(ParamInfo { name: "bias".into(), shape: vec![oc], init });
        }
        infos
    }

    fn forward(&mut self, pass: Pass<'_>, _: &mut [f32], y: &mut [f32], _: &mut Mode<'_>) {
        let (w, b) = pass.params.split_at(self.weights());
        let activation = self.activation;
        self.convolve(w, pass.x, Images::All(y), |chunk, _| {
            if !b.is_empty() {
                add_bias_and_activate(chunk, b, activation);
            }
        });
    }

    fn backward(&mut self, pass: Pass<'_>, y: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, grads: &mut [f32]) {
        let w_len = self.weights();
        let (dw, db) = grads.split_at_mut(w_len);
        let (activation, mut slab) = (self.activation, std::mem::take(&mut self.slab));
        db.fill(0.0);
        let dx = dx.map(|dx| (dx, Overwrite));
        self.convolve_backward(&pass.params[..w_len], pass.x, Images::All(dy), dx, dw, |chunk, range| {
            if activation != Activation::Identity {
                activation_backward(activation, &y[range], chunk);
            }
            if !db.is_empty() {
                add_column_sums(chunk, &mut slab, db);
            }
        });
        self.slab = slab;
    }
}

impl Conv2d {
    /// Values of the largest chunk. Every chunk begins with an even row.
    pub(crate) fn chunk_len(&self) -> usize {
        match &self.method {
            Method::Conv1x1(_) | Method::Im2col(_) => self.output.len(),
            Method::Winograd(winograd) => winograd.chunk_len(),
        }
    }

    /// `y ← w ⋆ x`. `finish` is called with each chunk of `y`, while it is still in cache, and the chunk's range in the
    /// batch.
    pub(crate) fn convolve(
        &mut self,
        w: &[f32],
        x: &[f32],
        y: Images<'_>,
        finish: impl FnMut(&mut [f32], Range<usize>),
    ) {
        match &mut self.method {
            Method::Conv1x1(conv1x1) => conv1x1.forward(w, x, y, finish),
            Method::Im2col(im2col) => im2col.forward(w, x, y, finish),
            Method::Winograd(winograd) => winograd.forward(w, x, y, finish),
        }
    }

    /// Computes `dw` (overwritten) and, unless it is `None`, `dx` (updated) from `dy`, after `convolve` with the same `w`
    /// and `x`. `prepare` is called with each chunk of `dy` just before it is used, and the chunk's range in the batch.
    pub(crate) fn convolve_backward(
        &mut self,
        w: &[f32],
        x: &[f32],
        dy: Images<'_>,
        dx: Option<(&mut [f32], Update)>,
        dw: &mut [f32],
        prepare: impl FnMut(&mut [f32], Range<usize>),
    ) {
        match &mut self.method {
            Method::Conv1x1(conv1x1) => conv1x1.backward(w, x, dy, dx, dw, prepare),
            Method::Im2col(im2col) => im2col.backward(x, dy, dx, dw, prepare),
            Method::Winograd(winograd) => winograd.backward(x, dy, dx, dw, prepare),
        }
    }
}
