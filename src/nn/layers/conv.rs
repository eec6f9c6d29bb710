//! Two-dimensional convolution (`torch.nn.Conv2d`): where it lies with a kernel of one position, by Winograd's algorithm
//! where that pays, else through unfolded windows.

use crate::nn::init::Init;
use crate::nn::kernels::conv1x1::PointwiseConv;
use crate::nn::kernels::gemm::Update::{self, Overwrite};
use crate::nn::kernels::im2col::Unfolding;
use crate::nn::kernels::simd::{slab_len, vectorized};
use crate::nn::kernels::winograd::{self, Winograd};
use crate::nn::layers::activation::{activation_backward, add_bias_and_activate};
use crate::nn::layers::{Activation, Layer, Mode, ParamInfo, Shape};
use std::ops::Range;

/// How a square kernel slides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side, ≥ 1.
    pub kernel: usize,
    /// Step, ≥ 1.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
}

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

/// How the products are done.
enum Method {
    /// Position by position.
    Pointwise(PointwiseConv),
    /// Through unfolded windows.
    Unfolded(Box<Unfolding>),
    /// In transformed tiles.
    Winograd(Box<Winograd>),
}

impl Method {
    fn new(input: Shape, output: Shape, window: Window) -> Self {
        // Whole vectors of channels: with fewer the transforms would cost more than the multiplications they save. So they
        // would where an output fills only a corner of a tile.
        let suits = [input, output].iter().all(|s| s.channels.is_multiple_of(winograd::LANES))
            && output.height.min(output.width) > 2;
        match window {
            Window { kernel: 1, stride, padding: 0 } => Method::Pointwise(PointwiseConv::new(input, output, stride)),
            Window { kernel: 3, stride: 1, padding } if suits => {
                Method::Winograd(Box::new(Winograd::new(input, output, padding)))
            }
            _ => Method::Unfolded(Box::new(Unfolding::new(input, output, window))),
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

    /// Number of weights.
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

    fn forward(&mut self, p: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        let (w, b) = p.split_at(self.weights());
        let activation = self.activation;
        self.convolve(w, x, Images::All(y), |piece, _| {
            if !b.is_empty() {
                add_bias_and_activate(piece, b, activation);
            }
        });
    }

    fn backward(
        &mut self,
        p: &[f32],
        x: &[f32],
        y: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        grads: &mut [f32],
        _: usize,
    ) {
        let w_len = self.weights();
        let (dw, db) = grads.split_at_mut(w_len);
        let (activation, mut slab) = (self.activation, std::mem::take(&mut self.slab));
        db.fill(0.0);
        let dx = dx.map(|dx| (dx, Overwrite));
        self.convolve_backward(&p[..w_len], x, Images::All(dy), dx, dw, |piece, place| {
            if activation != Activation::Identity {
                activation_backward(activation, &y[place], piece);
            }
            if !db.is_empty() {
                add_column_sums(piece, &mut slab, db);
            }
        });
        self.slab = slab;
    }
}

/// The images on the output side of a convolution, which works on them piece by piece: some rows or an image at a time.
pub(crate) enum Images<'a> {
    /// Those of a batch, kept.
    All(&'a mut [f32]),
    /// Room for a piece, [`Conv2d::piece_len`] values: each takes the place of the one before.
    Piece(&'a mut [f32]),
}

impl Images<'_> {
    /// The piece that has this place in the batch.
    pub fn piece(&mut self, place: &Range<usize>) -> &mut [f32] {
        match self {
            Images::All(images) => &mut images[place.clone()],
            Images::Piece(room) => &mut room[..place.len()],
        }
    }
}

impl Conv2d {
    /// Values of the largest piece. Pieces begin with an even row.
    pub(crate) fn piece_len(&self) -> usize {
        match &self.method {
            Method::Pointwise(_) | Method::Unfolded(_) => self.output.len(),
            Method::Winograd(winograd) => winograd.piece_len(),
        }
    }

    /// `y ← w ⋆ x`; `finish` is called with each piece of `y` and its place in the batch, as long as it is still in cache.
    pub(crate) fn convolve(
        &mut self,
        w: &[f32],
        x: &[f32],
        y: Images<'_>,
        finish: impl FnMut(&mut [f32], Range<usize>),
    ) {
        match &mut self.method {
            Method::Pointwise(pointwise) => pointwise.forward(w, x, y, finish),
            Method::Unfolded(unfolding) => unfolding.forward(w, x, y, finish),
            Method::Winograd(winograd) => winograd.forward(w, x, y, finish),
        }
    }

    /// `dw` (overwritten) and, unless it is `None`, `dx` (updated) from `dy`, after `convolve` with the same `w` and `x`;
    /// `prepare` is called with each piece of `dy` and its place in the batch just before it is used.
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
            Method::Pointwise(pointwise) => pointwise.backward(w, x, dy, dx, dw, prepare),
            Method::Unfolded(unfolding) => unfolding.backward(x, dy, dx, dw, prepare),
            Method::Winograd(winograd) => winograd.backward(x, dy, dx, dw, prepare),
        }
    }
}

/// Add each column of `rows: [·][sums.len()]` to its entry of `sums`; `slab` is a multiple of that long.
pub(crate) fn add_column_sums(rows: &[f32], slab: &mut [f32], sums: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            slab.fill(0.0);
            for rows in rows.chunks(slab.len()) {
                slab.iter_mut().zip(rows).for_each(|(s, v)| *s += v);
            }
            for row in slab.chunks_exact(sums.len()) {
                sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
        },
    );
}
