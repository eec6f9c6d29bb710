//! Convolution as one matrix product per image over its unfolded windows (im2col): any kernel, stride and padding.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::{
    Trans,
    Update::{self, Add, Overwrite},
    matmul,
};
use crate::nn::kernels::simd::vectorized;
use crate::nn::layers::Shape;
use crate::nn::layers::conv::{Images, Window};
use std::ops::Range;

/// Values that are copied at a time; what is copied beyond a run is overwritten by the next one, and every buffer has
/// room for it.
const CHUNK: usize = 16;

/// Scratch space for one image of a layer; small enough to stay in cache.
pub(crate) struct Unfolding {
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
    /// The weights with the channels of a corner together, `[output channels][kernel²·input channels]`, and their
    /// transpose.
    weights: AlignedVec,
    transposed: AlignedVec,
    /// The transpose's gradient.
    d_transposed: AlignedVec,
}

impl Unfolding {
    /// For windows on `input` that give `output`.
    pub fn new(input: Shape, output: Shape, window: Window) -> Self {
        let Window { kernel, padding, .. } = window;
        let padded = Shape::image(input.channels, input.height + 2 * padding, input.width + 2 * padding);
        let fan_in = input.channels * kernel * kernel;
        Unfolding {
            input,
            output,
            window,
            padded,
            windows: zeros(fan_in * output.positions() + CHUNK),
            d_windows: zeros(fan_in * output.positions()),
            frame: zeros(padded.len() + CHUNK),
            d_frame: zeros(padded.len()),
            weights: zeros(fan_in * output.channels),
            transposed: zeros(fan_in * output.channels),
            d_transposed: zeros(fan_in * output.channels),
        }
    }

    /// `y ← w ⋆ x`; `finish` is called with each image of `y` and its place in the batch.
    pub fn forward(
        &mut self,
        w: &[f32],
        x: &[f32],
        mut y: Images<'_>,
        mut finish: impl FnMut(&mut [f32], Range<usize>),
    ) {
        self.reorder_weights(w);
        let (channels, positions, fan_in) = (self.output.channels, self.output.positions(), self.fan_in());
        for (i, image) in x.chunks_exact(self.input.len()).enumerate() {
            let place = i * self.output.len()..(i + 1) * self.output.len();
            let out = y.piece(&place);
            self.unfold(image);
            matmul(positions, channels, fan_in, &self.windows, Trans::No, &self.transposed, Trans::No, out, Overwrite);
            finish(out, place);
        }
    }

    /// `dw` (overwritten) and, unless it is `None`, `dx` (updated) from `dy`, with the weights of the last forward pass;
    /// `prepare` is called with each image of `dy` and its place in the batch before it is used.
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
            let place = i * self.output.len()..(i + 1) * self.output.len();
            let d = dy.piece(&place);
            prepare(d, place);
            self.unfold(image);
            matmul(fan_in, channels, positions, &self.windows, Trans::Yes, d, Trans::No, &mut self.d_transposed, Add);
            let Some((dx, update)) = dx.as_mut() else { continue };
            let d_windows = &mut self.d_windows;
            matmul(positions, fan_in, channels, d, Trans::No, &self.weights, Trans::No, d_windows, Overwrite);
            self.fold(&mut dx[i * n..(i + 1) * n], *update);
        }
        for (o, c, corner, at) in self.weight_places() {
            dw[(o * self.input.channels + c) * self.corners() + corner] = self.d_transposed[at * channels + o];
        }
    }

    fn corners(&self) -> usize {
        self.window.kernel * self.window.kernel
    }

    fn fan_in(&self) -> usize {
        self.corners() * self.input.channels
    }

    /// Each weight: its output channel, input channel and corner, and where the latter two stand in a window.
    fn weight_places(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> + use<> {
        let (inputs, corners) = (self.input.channels, self.corners());
        let of_output =
            move |o| (0..inputs).flat_map(move |c| (0..corners).map(move |corner| (o, c, corner, corner * inputs + c)));
        (0..self.output.channels).flat_map(of_output)
    }

    fn reorder_weights(&mut self, w: &[f32]) {
        let (channels, fan_in) = (self.output.channels, self.fan_in());
        for ((o, _, _, at), w) in self.weight_places().zip(w) {
            self.weights[o * fan_in + at] = *w;
            self.transposed[at * channels + o] = *w;
        }
    }

    /// Where the rows of the image begin in the padded one.
    fn rows_in_frame(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (padding, row, len) = (self.window.padding, self.padded.row_len(), self.input.row_len());
        let first = (padding * self.padded.width + padding) * self.input.channels;
        (0..self.input.height).map(move |y| first + y * row..first + y * row + len)
    }

    /// Copy every window of `image` to `self.windows`.
    fn unfold(&mut self, image: &[f32]) {
        for (row, place) in image.chunks_exact(self.input.row_len()).zip(self.rows_in_frame()) {
            self.frame[place].copy_from_slice(row);
        }
        let (padded, output, w) = (self.padded, self.output, self.window);
        let (frame, windows) = (&self.frame[..], &mut self.windows[..]);
        vectorized(
            #[inline(always)]
            || {
                let (run, mut at) = (w.kernel * padded.channels, 0);
                for y in 0..output.height {
                    for x in 0..output.width {
                        for k in 0..w.kernel {
                            let from = first_of_run(padded, w, y, x, k);
                            for i in (0..run).step_by(CHUNK) {
                                windows[at + i..][..CHUNK].copy_from_slice(&frame[from + i..][..CHUNK]);
                            }
                            at += run;
                        }
                    }
                }
            },
        );
    }

    /// Add up `self.d_windows` at the places of an image that the windows came from, and update `image` by that.
    fn fold(&mut self, image: &mut [f32], update: Update) {
        let (padded, output, w) = (self.padded, self.output, self.window);
        let (windows, frame) = (&self.d_windows[..], &mut self.d_frame[..]);
        vectorized(
            #[inline(always)]
            || {
                let run = w.kernel * padded.channels;
                let mut windows = windows.chunks_exact(run);
                frame.fill(0.0);
                for y in 0..output.height {
                    for x in 0..output.width {
                        for (k, window) in windows.by_ref().take(w.kernel).enumerate() {
                            let from = first_of_run(padded, w, y, x, k);
                            frame[from..from + run].iter_mut().zip(window).for_each(|(to, v)| *to += *v);
                        }
                    }
                }
            },
        );
        for (row, place) in image.chunks_exact_mut(self.input.row_len()).zip(self.rows_in_frame()) {
            match update {
                Overwrite => row.copy_from_slice(&self.d_frame[place]),
                Add => row.iter_mut().zip(&self.d_frame[place]).for_each(|(to, v)| *to += *v),
            }
        }
    }
}

/// Where row `k` of the window at output row `y` and column `x` begins in the padded image.
#[inline(always)]
fn first_of_run(padded: Shape, w: Window, y: usize, x: usize, k: usize) -> usize {
    ((y * w.stride + k) * padded.width + x * w.stride) * padded.channels
}
