//! Pooling: maximum over windows and mean over whole planes.

use crate::nn::conv::sum;
use crate::nn::layer::{Layer, Mode, Shape};
use crate::nn::simd::vectorized;

/// Maximum over disjoint windows (`torch.nn.MaxPool2d(size)`): rows and columns that fill no window are left out, the
/// first of equal maxima gets the gradient, and NaN wins.
pub struct MaxPool {
    input: Shape,
    output: Shape,
    size: usize,
    /// For each output, the place of its maximum in its window, counted row by row.
    chosen: Vec<u32>,
}

impl MaxPool {
    /// A layer over windows of side `size`.
    ///
    /// # Errors
    /// A message, if `size` is zero or larger than the image.
    pub fn new(input: Shape, size: usize, max_batch: usize) -> Result<Self, String> {
        if size == 0 || size > input.height || size > input.width {
            return Err(format!("a pooling window of side {size} on an image {}×{}", input.height, input.width));
        }
        let output = Shape::image(input.channels, input.height / size, input.width / size);
        Ok(MaxPool { input, output, size, chosen: vec![0; output.len() * max_batch] })
    }
}

impl Layer for MaxPool {
    fn output(&self) -> Shape {
        self.output
    }

    fn forward(&mut self, _: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        let (input, output, size) = (self.input, self.output, self.size);
        let rows = y.chunks_exact_mut(output.width).zip(self.chosen.chunks_exact_mut(output.width));
        vectorized(
            #[inline(always)]
            || {
                for (r, (y, chosen)) in rows.enumerate() {
                    let first = (r / output.height * input.height + r % output.height * size) * input.width;
                    let windows = &x[first..first + size * input.width];
                    maximum(size, windows, input.width, y, chosen);
                }
            },
        );
    }

    fn backward(
        &mut self,
        _: &[f32],
        _: &[f32],
        _: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        _: &mut [f32],
        _: usize,
    ) {
        let Some(dx) = dx else { return };
        let (input, output, size) = (self.input, self.output, self.size);
        if input.height % size != 0 || input.width % size != 0 {
            dx.fill(0.0);
        }
        let rows = dy.chunks_exact(output.width).zip(self.chosen.chunks_exact(output.width));
        vectorized(
            #[inline(always)]
            || {
                for (r, (dy, chosen)) in rows.enumerate() {
                    let first = (r / output.height * input.height + r % output.height * size) * input.width;
                    let windows = &mut dx[first..first + size * input.width];
                    match size {
                        2 => spread::<2>(2, windows, input.width, dy, chosen),
                        _ => spread::<0>(size, windows, input.width, dy, chosen),
                    }
                }
            },
        );
    }
}

/// Outputs of 2×2 windows that are found at a time; the last ones of a row overlap those before.
const PIECE: usize = 8;

/// The pieces that cover `len` outputs: where each begins.
#[inline(always)]
fn pieces(len: usize) -> impl Iterator<Item = usize> {
    (0..len.div_ceil(PIECE)).map(move |i| (i * PIECE).min(len - PIECE))
}

/// One row of outputs from `size` rows of the input.
#[inline(always)]
fn maximum(size: usize, windows: &[f32], width: usize, y: &mut [f32], chosen: &mut [u32]) {
    if size == 2 && y.len() >= PIECE {
        for at in pieces(y.len()) {
            let rows = [&windows[2 * at..][..2 * PIECE], &windows[width + 2 * at..][..2 * PIECE]];
            let (mut best, mut places) = ([0.0; PIECE], [0; PIECE]);
            for (place, (row, kx)) in [(rows[0], 0), (rows[0], 1), (rows[1], 0), (rows[1], 1)].into_iter().enumerate() {
                for i in 0..PIECE {
                    keep_larger(row[2 * i + kx], place as u32, &mut best[i], &mut places[i]);
                }
            }
            y[at..at + PIECE].copy_from_slice(&best);
            chosen[at..at + PIECE].copy_from_slice(&places);
        }
        return;
    }
    for (place, (row, kx)) in windows.chunks_exact(width).flat_map(|row| (0..size).map(move |kx| (row, kx))).enumerate()
    {
        for ((y, chosen), window) in y.iter_mut().zip(&mut *chosen).zip(row.chunks_exact(size)) {
            keep_larger(window[kx], place as u32, y, chosen);
        }
    }
}

/// The value at the first place always stays, a later one if it is larger or NaN.
#[inline(always)]
fn keep_larger(v: f32, place: u32, best: &mut f32, chosen: &mut u32) {
    let better = place == 0 || v > *best || v.is_nan();
    *best = if better { v } else { *best };
    *chosen = if better { place } else { *chosen };
}

/// The gradients of `size` rows of the input from one row of outputs; see [`maximum`]. `SIZE` is `size` where it is known
/// at compile time, else 0.
#[inline(always)]
fn spread<const SIZE: usize>(size: usize, windows: &mut [f32], width: usize, dy: &[f32], chosen: &[u32]) {
    let size = if SIZE > 0 { SIZE } else { size };
    for (ky, row) in windows.chunks_exact_mut(width).enumerate() {
        for ((dy, chosen), window) in dy.iter().zip(chosen).zip(row.chunks_exact_mut(size)) {
            for (kx, v) in window.iter_mut().enumerate() {
                *v = if *chosen == (ky * size + kx) as u32 { *dy } else { 0.0 };
            }
        }
    }
}

/// Mean over each channel's positions (`torch.nn.AdaptiveAvgPool2d(1)`).
pub struct GlobalAvgPool {
    input: Shape,
}

impl GlobalAvgPool {
    /// A layer over whole planes of `input`.
    pub fn new(input: Shape) -> Self {
        GlobalAvgPool { input }
    }
}

impl Layer for GlobalAvgPool {
    fn output(&self) -> Shape {
        Shape::flat(self.input.channels)
    }

    fn forward(&mut self, _: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        let n = self.input.height * self.input.width;
        vectorized(
            #[inline(always)]
            || {
                for (y, plane) in y.iter_mut().zip(x.chunks_exact(n)) {
                    *y = sum(plane) / n as f32;
                }
            },
        );
    }

    fn backward(
        &mut self,
        _: &[f32],
        _: &[f32],
        _: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        _: &mut [f32],
        _: usize,
    ) {
        let Some(dx) = dx else { return };
        let n = self.input.height * self.input.width;
        dx.chunks_exact_mut(n).zip(dy).for_each(|(plane, d)| plane.fill(*d / n as f32));
    }
}
