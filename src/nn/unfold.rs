//! Convolution as one matrix product per image over its unfolded windows (im2col): any kernel, stride and padding.

use crate::nn::conv::Window;
use crate::nn::gemm::{
    Trans,
    Update::{Add, Overwrite},
    matmul,
};
use crate::nn::layer::Shape;
use crate::nn::simd::vectorized;
use std::ops::Range;

/// Columns of each phase that are moved at a time when every second column is wanted.
const HALF: usize = 8;

/// Scratch space for one image of a layer; small enough to stay in cache.
pub(crate) struct Unfolding {
    input: Shape,
    output: Shape,
    window: Window,
    /// The windows, `[input channels · kernel²][output positions]`.
    columns: Vec<f32>,
    d_columns: Vec<f32>,
    /// One image with its padding and its rows as [`place`] says, unless that is the image itself, and its gradient.
    frame: Vec<f32>,
    d_frame: Vec<f32>,
    /// The weights' gradient, transposed: `[input channels · kernel²][output channels]`.
    dw_transposed: Vec<f32>,
}

impl Unfolding {
    /// For windows on `input` that give `output`.
    pub fn new(input: Shape, output: Shape, window: Window) -> Self {
        let zeros = |len: usize| vec![0.0; len];
        let fan_in = input.channels * window.kernel * window.kernel;
        let mut unfolding = Unfolding {
            input,
            output,
            window,
            columns: Vec::new(),
            d_columns: Vec::new(),
            frame: Vec::new(),
            d_frame: Vec::new(),
            dw_transposed: zeros(fan_in * output.channels),
        };
        if !unfolding.is_pointwise() {
            let framed = window.padding > 0 || window.stride > 1;
            unfolding.columns = zeros(fan_in * output.height * output.width);
            unfolding.d_columns = unfolding.columns.clone();
            unfolding.frame = zeros(if framed { unfolding.padded().len() } else { 0 });
            unfolding.d_frame = unfolding.frame.clone();
        }
        unfolding
    }

    /// `y ← w ⋆ x`; `finish` is called with each image of `y` and its channels.
    pub fn forward(&mut self, w: &[f32], x: &[f32], y: &mut [f32], mut finish: impl FnMut(&mut [f32], Range<usize>)) {
        let (channels, positions) = (self.output.channels, self.output.height * self.output.width);
        for (image, out) in x.chunks_exact(self.input.len()).zip(y.chunks_exact_mut(self.output.len())) {
            let columns = self.unfolded(image);
            let fan_in = columns.len() / positions;
            matmul(channels, positions, fan_in, w, Trans::No, columns, Trans::No, out, Overwrite);
            finish(out, 0..channels);
        }
    }

    /// `dw` (overwritten) and, unless it is `None`, `dx` (overwritten) from `dy`; `prepare` is called with each image of
    /// `dy` and its place in the batch before it is used.
    pub fn backward(
        &mut self,
        w: &[f32],
        x: &[f32],
        dy: &mut [f32],
        mut dx: Option<&mut [f32]>,
        dw: &mut [f32],
        mut prepare: impl FnMut(&mut [f32], Range<usize>),
    ) {
        let (channels, positions) = (self.output.channels, self.output.height * self.output.width);
        let (fan_in, n, pointwise) = (dw.len() / channels, self.input.len(), self.is_pointwise());
        self.dw_transposed.fill(0.0);
        for (i, (image, d)) in x.chunks_exact(n).zip(dy.chunks_exact_mut(self.output.len())).enumerate() {
            prepare(d, i * d.len()..(i + 1) * d.len());
            self.unfolded(image);
            let columns = if pointwise { image } else { &self.columns };
            // Transposed, so that the product reads the long unfolding where it lies and packs only the gradient.
            matmul(fan_in, channels, positions, columns, Trans::No, d, Trans::Yes, &mut self.dw_transposed, Add);
            let Some(dx) = dx.as_deref_mut() else { continue };
            let d_image = &mut dx[i * n..(i + 1) * n];
            let d_columns = if pointwise { &mut *d_image } else { &mut self.d_columns };
            matmul(fan_in, positions, channels, w, Trans::Yes, d, Trans::No, d_columns, Overwrite);
            if !pointwise {
                self.fold(d_image);
            }
        }
        for (c, dw) in dw.chunks_exact_mut(fan_in).enumerate() {
            dw.iter_mut().zip(self.dw_transposed.chunks_exact(channels)).for_each(|(dw, row)| *dw = row[c]);
        }
    }

    /// A 1×1 kernel at every position: the image is its own unfolding.
    fn is_pointwise(&self) -> bool {
        self.window == Window { kernel: 1, stride: 1, padding: 0 }
    }

    /// The windows of `image`.
    fn unfolded<'a>(&'a mut self, image: &'a [f32]) -> &'a [f32] {
        if self.is_pointwise() {
            return image;
        }
        self.unfold(image);
        &self.columns
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
                if !frame.is_empty() {
                    for (i, row) in image.chunks_exact(input.width).enumerate() {
                        let start = frame_row(i, input, padded, w);
                        match w.stride {
                            1 => copy_run(&mut frame[start + w.padding..][..input.width], row),
                            stride => spread_row(row, w.padding, stride, &mut frame[start..start + padded.width]),
                        }
                    }
                    image = frame;
                }
                unfold(image, padded, output, w, columns);
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
                let target = if frame.is_empty() { &mut *image } else { &mut *frame };
                target.fill(0.0);
                fold(columns, padded, output, w, target);
                if !frame.is_empty() {
                    for (i, row) in image.chunks_exact_mut(input.width).enumerate() {
                        let start = frame_row(i, input, padded, w);
                        match w.stride {
                            1 => copy_run(row, &frame[start + w.padding..][..input.width]),
                            stride => collect_row(&frame[start..start + padded.width], w.padding, stride, row),
                        }
                    }
                }
            },
        );
    }
}

/// Where row `i` of all channels' rows begins in the padded image.
fn frame_row(i: usize, input: Shape, padded: Shape, w: Window) -> usize {
    let (channel, row) = (i / input.height, i % input.height);
    (channel * padded.height + row + w.padding) * padded.width
}

/// Where column `x` of a padded row of `width` stands when the columns 0, `stride`, 2·`stride`, … come first, then
/// 1, 1 + `stride`, …: what a window's corner sees of a row is in one piece then.
#[inline(always)]
fn place(x: usize, stride: usize, width: usize) -> usize {
    let (phase, longer) = (x % stride, width % stride);
    phase * (width / stride) + phase.min(longer) + x / stride
}

/// Copy a row to its padded place, columns of equal phase together.
#[inline(always)]
fn spread_row(row: &[f32], padding: usize, stride: usize, to: &mut [f32]) {
    let (width, chunks) = (to.len(), row.as_chunks::<{ 2 * HALF }>());
    if stride == 2 {
        let places = [place(padding, 2, width), place(padding + 1, 2, width)];
        for (i, chunk) in chunks.0.iter().enumerate() {
            for (phase, at) in places.into_iter().enumerate() {
                let half: [f32; HALF] = std::array::from_fn(|i| chunk[2 * i + phase]);
                to[at + i * HALF..][..HALF].copy_from_slice(&half);
            }
        }
    }
    let done = if stride == 2 { row.len() - chunks.1.len() } else { 0 };
    for (x, v) in row.iter().enumerate().skip(done) {
        to[place(x + padding, stride, width)] = *v;
    }
}

/// The inverse of [`spread_row`].
#[inline(always)]
fn collect_row(from: &[f32], padding: usize, stride: usize, row: &mut [f32]) {
    let (width, len) = (from.len(), row.len());
    let mut done = 0;
    if stride == 2 {
        let (even, odd) = (&from[place(padding, 2, width)..], &from[place(padding + 1, 2, width)..]);
        for (i, chunk) in row.as_chunks_mut::<{ 2 * HALF }>().0.iter_mut().enumerate() {
            let (even, odd) = (&even[i * HALF..][..HALF], &odd[i * HALF..][..HALF]);
            for k in 0..HALF {
                chunk[2 * k] = even[k];
                chunk[2 * k + 1] = odd[k];
            }
        }
        done = len / (2 * HALF) * (2 * HALF);
    }
    for (x, v) in row.iter_mut().enumerate().skip(done) {
        *v = from[place(x + padding, stride, width)];
    }
}

/// Copy every window of the padded `image`, whose rows stand as [`place`] says, into a column.
#[inline(always)]
fn unfold(image: &[f32], padded: Shape, output: Shape, w: Window, columns: &mut [f32]) {
    let mut rows = columns.chunks_exact_mut(output.width);
    for plane in image.chunks_exact(padded.height * padded.width) {
        for corner in 0..w.kernel * w.kernel {
            let first = corner / w.kernel * padded.width + place(corner % w.kernel, w.stride, padded.width);
            for (i, to) in rows.by_ref().take(output.height).enumerate() {
                copy_run(to, &plane[first + i * w.stride * padded.width..][..output.width]);
            }
        }
    }
}

/// The adjoint of [`unfold`].
#[inline(always)]
fn fold(columns: &[f32], padded: Shape, output: Shape, w: Window, image: &mut [f32]) {
    let mut rows = columns.chunks_exact(output.width);
    for plane in image.chunks_exact_mut(padded.height * padded.width) {
        for corner in 0..w.kernel * w.kernel {
            let first = corner / w.kernel * padded.width + place(corner % w.kernel, w.stride, padded.width);
            for (i, from) in rows.by_ref().take(output.height).enumerate() {
                let to = &mut plane[first + i * w.stride * padded.width..][..output.width];
                for (to, v) in to.iter_mut().zip(from) {
                    *to += *v;
                }
            }
        }
    }
}

/// `to ← from`, a few dozen values: in place of a call of `memcpy`, two or three vectors, the last one overlapping.
#[inline(always)]
pub(crate) fn copy_run(to: &mut [f32], from: &[f32]) {
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
