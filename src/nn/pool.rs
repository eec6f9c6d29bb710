//! Pooling: maximum over windows and mean over whole planes.

use crate::nn::activation::relu;
use crate::nn::layer::{Layer, Mode, Shape};
use crate::nn::simd::vectorized;

/// Maximum over disjoint windows (`torch.nn.MaxPool2d(size)`): rows and columns that fill no window are left out, the
/// first of equal maxima gets the gradient, and NaN wins. A ReLU before it may be fused: after it, it is the same function
/// and has fewer values to look at.
pub struct MaxPool {
    input: Shape,
    output: Shape,
    size: usize,
    with_relu: bool,
    /// For each output, the place of its maximum in its window, counted row by row, or [`CUT_OFF`]; images are
    /// `[row][column][channel]`.
    chosen: Vec<u32>,
}

/// In place of a maximum's place where ReLU lets no gradient pass.
const CUT_OFF: u32 = u32::MAX;

impl MaxPool {
    /// A layer over windows of side `size`, of the values or of what ReLU makes of them.
    ///
    /// # Errors
    /// A message, if `size` is zero or larger than the image.
    pub fn new(input: Shape, size: usize, with_relu: bool, max_batch: usize) -> Result<Self, String> {
        if size == 0 || size > input.height || size > input.width {
            return Err(format!("a pooling window of side {size} on an image {}×{}", input.height, input.width));
        }
        let output = Shape::image(input.channels, input.height / size, input.width / size);
        Ok(MaxPool { input, output, size, with_relu, chosen: vec![0; output.len() * max_batch] })
    }

    fn windows(&self) -> Windows {
        Windows { input: self.input, output: self.output, size: self.size }
    }
}

impl Layer for MaxPool {
    fn output(&self) -> Shape {
        self.output
    }

    fn forward(&mut self, _: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        let (windows, channels, with_relu) = (self.windows(), self.input.channels, self.with_relu);
        let outputs = y.chunks_exact_mut(channels).zip(self.chosen.chunks_exact_mut(channels));
        vectorized(
            #[inline(always)]
            || {
                for (i, (y, chosen)) in outputs.enumerate() {
                    for place in 0..windows.places() {
                        let x = &x[windows.start(i, place)..][..channels];
                        for ((x, y), chosen) in x.iter().zip(&mut *y).zip(&mut *chosen) {
                            // The value at the first place always stays, a later one if it is larger or NaN.
                            let better = place == 0 || *x > *y || x.is_nan();
                            *y = if better { *x } else { *y };
                            *chosen = if better { place as u32 } else { *chosen };
                        }
                    }
                    if with_relu {
                        for (y, chosen) in y.iter_mut().zip(chosen) {
                            *chosen = if *y <= 0.0 { CUT_OFF } else { *chosen };
                            *y = relu(*y);
                        }
                    }
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
        let (windows, channels) = (self.windows(), self.input.channels);
        if !(self.input.height.is_multiple_of(self.size) && self.input.width.is_multiple_of(self.size)) {
            dx.fill(0.0);
        }
        let outputs = dy.chunks_exact(channels).zip(self.chosen.chunks_exact(channels));
        vectorized(
            #[inline(always)]
            || {
                for (i, (dy, chosen)) in outputs.enumerate() {
                    for place in 0..windows.places() {
                        let dx = &mut dx[windows.start(i, place)..][..channels];
                        for ((dx, dy), chosen) in dx.iter_mut().zip(dy).zip(chosen) {
                            *dx = if *chosen == place as u32 { *dy } else { 0.0 };
                        }
                    }
                }
            },
        );
    }
}

/// Where the places of the windows are.
#[derive(Clone, Copy)]
struct Windows {
    input: Shape,
    output: Shape,
    size: usize,
}

impl Windows {
    #[inline(always)]
    fn places(self) -> usize {
        self.size * self.size
    }

    /// Where the channels at a place of window `i` begin, windows being counted through the batch.
    #[inline(always)]
    fn start(self, i: usize, place: usize) -> usize {
        let Windows { input, output, size } = self;
        let (row, column) = (i / output.width, i % output.width);
        let (image, row) = (row / output.height, row % output.height);
        let (y, x) = (row * size + place / size, column * size + place % size);
        image * input.len() + y * input.row_len() + x * input.channels
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
        let (len, channels, n) = (self.input.len(), self.input.channels, self.input.positions() as f32);
        vectorized(
            #[inline(always)]
            || {
                for (image, y) in x.chunks_exact(len).zip(y.chunks_exact_mut(channels)) {
                    y.fill(0.0);
                    for position in image.chunks_exact(channels) {
                        y.iter_mut().zip(position).for_each(|(y, v)| *y += v);
                    }
                    y.iter_mut().for_each(|y| *y /= n);
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
        let (len, channels, n) = (self.input.len(), self.input.channels, self.input.positions() as f32);
        dy.iter_mut().for_each(|d| *d /= n);
        for (image, d) in dx.chunks_exact_mut(len).zip(dy.chunks_exact(channels)) {
            image.chunks_exact_mut(channels).for_each(|position| position.copy_from_slice(d));
        }
    }
}
