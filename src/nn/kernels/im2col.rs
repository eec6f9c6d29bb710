//! Convolution of any kernel, stride and padding by im2col: the windows of an image are copied to the rows of a matrix, so
//! that one matrix product per image does the rest.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::{
    Trans,
    Update::{self, Add, Overwrite},
    matmul,
};
use crate::nn::kernels::simd::vectorized;
use crate::nn::kernels::window::{Images, Window};
use crate::nn::model::Shape;
use std::ops::Range;

/// Values that are copied at a time. A copy may go beyond the end of a span: the next one overwrites the surplus, and every
/// buffer has room for it.
const COPIED: usize = 16;

/// Scratch space for one image of a layer, which is small enough to stay in cache.
pub(crate) struct Im2col {
    input: Shape,
    output: Shape,
    window: Window,
    /// The image with its padding.
    padded: Shape,
    /// The windows, `[output positions][kernel²·input channels]`.
    windows: AlignedVec,
    d_windows: AlignedVec,
    /// One image with its padding, and its gradient.
    frame: AlignedVec,
    d_frame: AlignedVec,
    /// The weights in the order of the windows, `[output channels][kernel²·input channels]`: the channels of a kernel tap
    /// are neighbours. Beside them their transpose.
    weights: AlignedVec,
    transposed: AlignedVec,
    /// The gradient of `transposed`.
    d_transposed: AlignedVec,
}

impl Im2col {
    /// For images of shape `input` whose windows give `output`.
    pub fn new(input: Shape, output: Shape, window: Window) -> Self {
        let Window { kernel, padding, .. } = window;
        let padded = Shape::image(input.channels, input.height + 2 * padding, input.width + 2 * padding);
        let fan_in = input.channels * kernel * kernel;
        Im2col {
            input,
            output,
            window,
            padded,
            windows: zeros(fan_in * output.positions() + COPIED),
            d_windows: zeros(fan_in * output.positions()),
            frame: zeros(padded.len() + COPIED),
            d_frame: zeros(padded.len()),
            weights: zeros(fan_in * output.channels),
            transposed: zeros(fan_in * output.channels),
            d_transposed: zeros(fan_in * output.channels),
        }
    }

    /// `y ← w ⋆ x`. `finish` is called with each image of `y` and its range in the batch.
    pub fn forward(
        &mut self,
        w: &[f32],
        x: &[f32],
        mut y: Images<'_>,
        mut finish: impl FnMut(&mut [f32], Range<usize>),
    ) {
        self.arrange_weights(w);
        let (channels, positions, fan_in) = (self.output.channels, self.output.positions(), self.fan_in());
        for (i, image) in x.chunks_exact(self.input.len()).enumerate() {
            let range = i * self.output.len()..(i + 1) * self.output.len();
            let out = y.chunk(&range);
            self.im2col(image);
            matmul(positions, channels, fan_in, &self.windows, Trans::No, &self.transposed, Trans::No, out, Overwrite);
            finish(out, range);
        }
    }

    /// Computes `dw` (overwritten) and, unless it is `None`, `dx` (updated) from `dy`, with the weights of the last forward
    /// pass. `prepare` is called with each image of `dy` before it is used, and its range in the batch.
    pub fn backward(
        &mut self,
        x: &[f32],
        mut dy: Images<'_>,
        mut dx: Option<(&mut [f32], Update)>,
        dw: &mut [f32],
        mut prepare: impl FnMut(&mut [f32], Range<usize>),
    ) {
        let (channels, positions, fan_in) = (self.output.channels, self.output.positions(), self.fan_in());
        let n = self.input.len();
        self.d_transposed.fill(0.0);
        for (i, image) in x.chunks_exact(n).enumerate() {
            let range = i * self.output.len()..(i + 1) * self.output.len();
            let d = dy.chunk(&range);
            prepare(d, range);
            self.im2col(image);
            matmul(fan_in, channels, positions, &self.windows, Trans::Yes, d, Trans::No, &mut self.d_transposed, Add);
            let Some((dx, update)) = dx.as_mut() else { continue };
            let d_windows = &mut self.d_windows;
            matmul(positions, fan_in, channels, d, Trans::No, &self.weights, Trans::No, d_windows, Overwrite);
            self.col2im(&mut dx[i * n..(i + 1) * n], *update);
        }
        for (o, c, tap, at) in self.weight_positions() {
            dw[(o * self.input.channels + c) * self.taps() + tap] = self.d_transposed[at * channels + o];
        }
    }

    /// Kernel taps: the positions of the kernel.
    fn taps(&self) -> usize {
        self.window.kernel * self.window.kernel
    }

    fn fan_in(&self) -> usize {
        self.taps() * self.input.channels
    }

    /// Each weight in the order of `w`: its output channel, its input channel, its kernel tap, and the index that the latter
    /// two have in a window.
    fn weight_positions(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> + use<> {
        let (inputs, taps) = (self.input.channels, self.taps());
        let of_output = move |o| (0..inputs).flat_map(move |c| (0..taps).map(move |tap| (o, c, tap, tap * inputs + c)));
        (0..self.output.channels).flat_map(of_output)
    }

    /// Fills `self.weights` and `self.transposed` from `w: [output channel][input channel][kernel tap]`.
    fn arrange_weights(&mut self, w: &[f32]) {
        let (channels, fan_in) = (self.output.channels, self.fan_in());
        for ((o, _, _, at), w) in self.weight_positions().zip(w) {
            self.weights[o * fan_in + at] = *w;
            self.transposed[at * channels + o] = *w;
        }
    }

    /// The range of each row of the image in the padded image.
    fn rows_in_frame(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (padding, row, len) = (self.window.padding, self.padded.row_len(), self.input.row_len());
        let first = (padding * self.padded.width + padding) * self.input.channels;
        (0..self.input.height).map(move |y| first + y * row..first + y * row + len)
    }

    /// Copies every window of `image` to `self.windows`.
    fn im2col(&mut self, image: &[f32]) {
        for (row, range) in image.chunks_exact(self.input.row_len()).zip(self.rows_in_frame()) {
            self.frame[range].copy_from_slice(row);
        }
        let (padded, output, w) = (self.padded, self.output, self.window);
        let (frame, windows) = (&self.frame[..], &mut self.windows[..]);
        vectorized(
            #[inline(always)]
            || {
                let (span, mut at) = (w.kernel * padded.channels, 0);
                for y in 0..output.height {
                    for x in 0..output.width {
                        for k in 0..w.kernel {
                            let from = span_start(padded, w, y, x, k);
                            for i in (0..span).step_by(COPIED) {
                                windows[at + i..][..COPIED].copy_from_slice(&frame[from + i..][..COPIED]);
                            }
                            at += span;
                        }
                    }
                }
            },
        );
    }

    /// Adds up `self.d_windows` at the positions of the image that the windows were copied from, and updates `image` by the
    /// sums.
    fn col2im(&mut self, image: &mut [f32], update: Update) {
        let (padded, output, w) = (self.padded, self.output, self.window);
        let (windows, frame) = (&self.d_windows[..], &mut self.d_frame[..]);
        vectorized(
            #[inline(always)]
            || {
                let span = w.kernel * padded.channels;
                let mut windows = windows.chunks_exact(span);
                frame.fill(0.0);
                for y in 0..output.height {
                    for x in 0..output.width {
                        for (k, window) in windows.by_ref().take(w.kernel).enumerate() {
                            let from = span_start(padded, w, y, x, k);
                            frame[from..from + span].iter_mut().zip(window).for_each(|(to, v)| *to += *v);
                        }
                    }
                }
            },
        );
        for (row, range) in image.chunks_exact_mut(self.input.row_len()).zip(self.rows_in_frame()) {
            match update {
                Overwrite => row.copy_from_slice(&self.d_frame[range]),
                Add => row.iter_mut().zip(&self.d_frame[range]).for_each(|(to, v)| *to += *v),
            }
        }
    }
}

/// Where row `k` of the window of output position (`y`, `x`) begins in the padded image. A row of a window is one contiguous
/// span.
#[inline(always)]
fn span_start(padded: Shape, w: Window, y: usize, x: usize, k: usize) -> usize {
    ((y * w.stride + k) * padded.width + x * w.stride) * padded.channels
}
