//! Two-dimensional convolution (`torch.nn.Conv2d`), one matrix product per image over its unfolded windows.

use crate::nn::activation::{activation_backward, add_plane_bias_and_activate};
use crate::nn::gemm::{
    Trans,
    Update::{Add, Overwrite},
    matmul,
};
use crate::nn::init::Init;
use crate::nn::layer::{Activation, Layer, Mode, ParamInfo, Shape};
use crate::nn::simd::vectorized;

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

/// `y = act(w ⋆ x + b)` with `w: [channels][input channels][kernel][kernel]`.
pub struct Conv2d {
    input: Shape,
    output: Shape,
    window: Window,
    bias: bool,
    activation: Activation,
    /// Unfolded windows of one image, `[input channels · kernel²][output positions]`; small enough to stay in cache.
    columns: Vec<f32>,
    d_columns: Vec<f32>,
    /// One image with its padding, where there is any, and its gradient.
    frame: Vec<f32>,
    d_frame: Vec<f32>,
    /// The weights' gradient, transposed: `[input channels · kernel²][channels]`.
    dw_transposed: Vec<f32>,
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
        let dw_transposed = vec![0.0; channels * input.channels * kernel * kernel];
        let mut layer = Conv2d {
            input,
            output,
            window,
            bias,
            activation,
            columns: Vec::new(),
            d_columns: Vec::new(),
            frame: Vec::new(),
            d_frame: Vec::new(),
            dw_transposed,
        };
        if !layer.is_pointwise() {
            layer.columns = vec![0.0; layer.fan_in() * layer.positions()];
            layer.d_columns = layer.columns.clone();
            layer.frame = vec![0.0; if padding > 0 { layer.padded().len() } else { 0 }];
            layer.d_frame = layer.frame.clone();
        }
        Ok(layer)
    }

    fn fan_in(&self) -> usize {
        self.input.channels * self.window.kernel * self.window.kernel
    }

    fn positions(&self) -> usize {
        self.output.height * self.output.width
    }

    /// A 1×1 kernel at every position: the image is its own unfolding.
    fn is_pointwise(&self) -> bool {
        self.window == Window { kernel: 1, stride: 1, padding: 0 }
    }

    /// Side lengths of the image with its padding.
    fn padded(&self) -> Shape {
        let Shape { channels, height, width } = self.input;
        Shape::image(channels, height + 2 * self.window.padding, width + 2 * self.window.padding)
    }

    /// Unfold `image` into `self.columns`.
    fn unfold(&mut self, image: &[f32]) {
        let (input, padded, w) = (self.input, self.padded(), self.window);
        let (output, columns, frame) = (self.output, &mut self.columns, &mut self.frame);
        vectorized(
            #[inline(always)]
            || {
                let mut image = image;
                if w.padding > 0 {
                    for (i, row) in image.chunks_exact(input.width).enumerate() {
                        copy_run(&mut frame[frame_row(i, input, padded, w)], row);
                    }
                    image = frame;
                }
                match w.stride {
                    1 => unfold::<1>(image, padded, output, w, columns),
                    2 => unfold::<2>(image, padded, output, w, columns),
                    _ => unfold::<0>(image, padded, output, w, columns),
                }
            },
        );
    }

    /// Add `self.d_columns` back to the places of `image` that the columns came from.
    fn fold(&mut self, image: &mut [f32]) {
        let (input, padded, output, w) = (self.input, self.padded(), self.output, self.window);
        let (columns, frame) = (&self.d_columns, &mut self.d_frame);
        vectorized(
            #[inline(always)]
            || {
                let target = if w.padding == 0 { &mut *image } else { &mut *frame };
                target.fill(0.0);
                match w.stride {
                    1 => fold::<1>(columns, padded, output, w, target),
                    2 => fold::<2>(columns, padded, output, w, target),
                    _ => fold::<0>(columns, padded, output, w, target),
                }
                if w.padding > 0 {
                    for (i, row) in image.chunks_exact_mut(input.width).enumerate() {
                        copy_run(row, &frame[frame_row(i, input, padded, w)]);
                    }
                }
            },
        );
    }
}

/// Where row `i` of all channels' rows stands in the padded image.
fn frame_row(i: usize, input: Shape, padded: Shape, w: Window) -> std::ops::Range<usize> {
    let (channel, row) = (i / input.height, i % input.height);
    let start = (channel * padded.height + row + w.padding) * padded.width + w.padding;
    start..start + input.width
}

/// Copy every window of the padded `image` into a column. `STRIDE` is the stride where it is known at compile time,
/// else 0.
#[inline(always)]
fn unfold<const STRIDE: usize>(image: &[f32], padded: Shape, output: Shape, w: Window, columns: &mut [f32]) {
    let stride = if STRIDE > 0 { STRIDE } else { w.stride };
    let read = (output.width - 1) * stride + 1;
    let mut rows = columns.chunks_exact_mut(output.width);
    for plane in image.chunks_exact(padded.height * padded.width) {
        for corner in 0..w.kernel * w.kernel {
            let first = corner / w.kernel * padded.width + corner % w.kernel;
            for (i, to) in rows.by_ref().take(output.height).enumerate() {
                let from = &plane[first + i * stride * padded.width..][..read];
                if stride == 1 {
                    copy_run(to, from);
                } else {
                    for (to, v) in to.iter_mut().zip(from.iter().step_by(stride)) {
                        *to = *v;
                    }
                }
            }
        }
    }
}

/// The adjoint of [`unfold`].
#[inline(always)]
fn fold<const STRIDE: usize>(columns: &[f32], padded: Shape, output: Shape, w: Window, image: &mut [f32]) {
    let stride = if STRIDE > 0 { STRIDE } else { w.stride };
    let written = (output.width - 1) * stride + 1;
    let mut rows = columns.chunks_exact(output.width);
    for plane in image.chunks_exact_mut(padded.height * padded.width) {
        for corner in 0..w.kernel * w.kernel {
            let first = corner / w.kernel * padded.width + corner % w.kernel;
            for (i, from) in rows.by_ref().take(output.height).enumerate() {
                let to = &mut plane[first + i * stride * padded.width..][..written];
                for (to, v) in to.iter_mut().step_by(stride).zip(from) {
                    *to += *v;
                }
            }
        }
    }
}

/// `to ← from`, a few dozen values: in place of a call of `memcpy`, two or three vectors, the last one overlapping.
#[inline(always)]
fn copy_run(to: &mut [f32], from: &[f32]) {
    match to.len() {
        0..8 => {
            for (to, v) in to.iter_mut().zip(from) {
                *to = *v;
            }
        }
        8..16 => copy_chunks::<8>(to, from),
        _ => copy_chunks::<16>(to, from),
    }
}

#[inline(always)]
fn copy_chunks<const N: usize>(to: &mut [f32], from: &[f32]) {
    let last = to.len() - N;
    let mut at = 0;
    loop {
        let values: [f32; N] = std::array::from_fn(|i| from[at..at + N][i]);
        to[at..at + N].copy_from_slice(&values);
        if at == last {
            return;
        }
        at = (at + N).min(last);
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
        let (oc, fan_in, positions, pointwise) =
            (self.output.channels, self.fan_in(), self.positions(), self.is_pointwise());
        let (w, b) = p.split_at(oc * fan_in);
        for (image, out) in x.chunks_exact(self.input.len()).zip(y.chunks_exact_mut(oc * positions)) {
            if !pointwise {
                self.unfold(image);
            }
            let columns = if pointwise { image } else { &self.columns };
            matmul(oc, positions, fan_in, w, Trans::No, columns, Trans::No, out, Overwrite);
            if self.bias {
                add_plane_bias_and_activate(out, b, positions, self.activation);
            }
        }
    }

    fn backward(
        &mut self,
        p: &[f32],
        x: &[f32],
        y: &[f32],
        dy: &mut [f32],
        mut dx: Option<&mut [f32]>,
        grads: &mut [f32],
        _: usize,
    ) {
        activation_backward(self.activation, y, dy);
        let (oc, fan_in, positions, pointwise) =
            (self.output.channels, self.fan_in(), self.positions(), self.is_pointwise());
        let w = &p[..oc * fan_in];
        let (dw, db) = grads.split_at_mut(oc * fan_in);
        db.fill(0.0);
        let n = self.input.len();
        for (i, (image, d)) in x.chunks_exact(n).zip(dy.chunks_exact(oc * positions)).enumerate() {
            if !pointwise {
                self.unfold(image);
            }
            let columns = if pointwise { image } else { &self.columns };
            let into = if i == 0 { Overwrite } else { Add };
            // Transposed, so that the product reads the long unfolding where it lies and packs only the gradient.
            matmul(fan_in, oc, positions, columns, Trans::No, d, Trans::Yes, &mut self.dw_transposed, into);
            vectorized(
                #[inline(always)]
                || {
                    for (b, plane) in db.iter_mut().zip(d.chunks_exact(positions)) {
                        *b += sum(plane);
                    }
                },
            );
            let Some(dx) = dx.as_deref_mut() else { continue };
            let d_image = &mut dx[i * n..(i + 1) * n];
            let d_columns = if pointwise { &mut *d_image } else { &mut self.d_columns };
            matmul(fan_in, positions, oc, w, Trans::Yes, d, Trans::No, d_columns, Overwrite);
            if !pointwise {
                self.fold(d_image);
            }
        }
        for (c, dw) in dw.chunks_exact_mut(fan_in).enumerate() {
            dw.iter_mut().zip(self.dw_transposed.chunks_exact(oc)).for_each(|(dw, row)| *dw = row[c]);
        }
    }
}

/// The sum of `values` in sixteen partial sums, which vectorise and lose less than one running sum.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(l, v)| *l += v);
    }
    lanes.iter().sum::<f32>() + rest
}
