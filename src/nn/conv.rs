//! Two-dimensional convolution (`torch.nn.Conv2d`), one matrix product per image over its unfolded windows.

use crate::nn::activation::{activation_backward, add_plane_bias_and_activate};
use crate::nn::gemm::{
    Into::{Add, Overwrite},
    Trans, matmul,
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
        let (columns, d_columns) = (Vec::new(), Vec::new());
        let mut layer = Conv2d { input, output, window, bias, activation, columns, d_columns, dw_transposed };
        if !layer.is_pointwise() {
            layer.columns = vec![0.0; layer.fan_in() * layer.positions()];
            layer.d_columns = layer.columns.clone();
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

    /// Call `f(row of the unfolding, output row, image row start, range of output columns inside the image)` for every
    /// run of positions that reads the image; the others read padding.
    #[inline(always)]
    fn runs(input: Shape, output: Shape, w: Window, mut f: impl FnMut(usize, usize, usize, usize, usize)) {
        let mut row = 0;
        for c in 0..input.channels {
            for ky in 0..w.kernel {
                for kx in 0..w.kernel {
                    // Output column j reads image column j·stride + kx − padding.
                    let first = w.padding.saturating_sub(kx).div_ceil(w.stride).min(output.width);
                    let last = match (input.width + w.padding).checked_sub(kx + 1) {
                        Some(room) => (room / w.stride + 1).clamp(first, output.width),
                        None => first,
                    };
                    for i in 0..output.height {
                        let y = i * w.stride + ky;
                        let start = (row * output.height + i) * output.width;
                        if y < w.padding || y >= input.height + w.padding || first == last {
                            f(start, start, 0, start + output.width, 0);
                            continue;
                        }
                        let image_row = (c * input.height + y - w.padding) * input.width;
                        let from = image_row + first * w.stride + kx - w.padding;
                        f(start, start + first, last - first, start + output.width, from);
                    }
                    row += 1;
                }
            }
        }
    }
}

/// Unfold `image` into `columns`.
fn unfold(input: Shape, output: Shape, w: Window, image: &[f32], columns: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            Conv2d::runs(input, output, w, |start, inside, n, end, from| {
                columns[start..inside].fill(0.0);
                let to = &mut columns[inside..inside + n];
                if n > 0 && w.stride == 1 {
                    copy_run(to, &image[from..from + n]);
                } else if n > 0 {
                    to.iter_mut().zip(image[from..].iter().step_by(w.stride)).for_each(|(t, v)| *t = *v);
                }
                columns[inside + n..end].fill(0.0);
            });
        },
    );
}

/// `to ← from`, a few dozen values: in place of a call of `memcpy`, two or three vectors, the last one overlapping.
#[inline(always)]
fn copy_run(to: &mut [f32], from: &[f32]) {
    let n = to.len();
    if n < 8 {
        to.iter_mut().zip(from).for_each(|(t, v)| *t = *v);
    } else if n < 16 {
        copy_chunks::<8>(to, from);
    } else {
        copy_chunks::<16>(to, from);
    }
}

#[inline(always)]
fn copy_chunks<const N: usize>(to: &mut [f32], from: &[f32]) {
    let last = to.len() - N;
    for at in (0..last).step_by(N).chain([last]) {
        let values: [f32; N] = std::array::from_fn(|i| from[at..at + N][i]);
        to[at..at + N].copy_from_slice(&values);
    }
}

/// Add `columns` back to the places of `image` that they came from.
fn fold(input: Shape, output: Shape, w: Window, columns: &[f32], image: &mut [f32]) {
    image.fill(0.0);
    vectorized(
        #[inline(always)]
        || {
            Conv2d::runs(input, output, w, |_, inside, n, _, from| {
                let values = &columns[inside..inside + n];
                if n > 0 && w.stride == 1 {
                    image[from..from + n].iter_mut().zip(values).for_each(|(d, v)| *d += v);
                } else if n > 0 {
                    image[from..].iter_mut().step_by(w.stride).zip(values).for_each(|(d, v)| *d += v);
                }
            });
        },
    );
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
                unfold(self.input, self.output, self.window, image, &mut self.columns);
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
                unfold(self.input, self.output, self.window, image, &mut self.columns);
            }
            let columns = if pointwise { image } else { &self.columns };
            let into = if i == 0 { Overwrite } else { Add };
            // Transposed, so that the product reads the long unfolding where it lies and packs only the gradient.
            matmul(fan_in, oc, positions, columns, Trans::No, d, Trans::Yes, &mut self.dw_transposed, into);
            vectorized(
                #[inline(always)]
                || db.iter_mut().zip(d.chunks_exact(positions)).for_each(|(b, plane)| *b += sum(plane)),
            );
            let Some(dx) = dx.as_deref_mut() else { continue };
            let d_image = &mut dx[i * n..(i + 1) * n];
            let d_columns = if pointwise { &mut *d_image } else { &mut self.d_columns };
            matmul(fan_in, positions, oc, w, Trans::Yes, d, Trans::No, d_columns, Overwrite);
            if !pointwise {
                fold(self.input, self.output, self.window, &self.d_columns, d_image);
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
