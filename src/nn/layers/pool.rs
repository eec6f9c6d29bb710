//! Pooling: maximum over windows and mean over whole planes.

use crate::nn::kernels::simd::vectorized;
use crate::nn::layers::activation::relu;
use crate::nn::layers::{Layer, Mode, Pass};
use crate::nn::model::Shape;
use std::ops::Range;

/// Maximum over disjoint windows (`torch.nn.MaxPool2d(size)`). Rows and columns that fill no window are left out, the first of
/// equal maxima gets the gradient, and NaN wins. A ReLU before the maximum may be fused; it is applied after the maximum, which
/// is the same function of fewer values.
pub struct MaxPool {
    input: Shape,
    output: Shape,
    size: usize,
    with_relu: bool,
    /// Distance from the beginning of a window to each of its taps, row by row.
    taps: Vec<usize>,
    /// For each output, the index of the tap that holds the maximum, or [`CUT_OFF`].
    chosen: Vec<u32>,
}

/// Channels whose maxima are computed side by side.
const LANES: usize = 16;

/// Stands for a tap where ReLU lets no gradient pass.
const CUT_OFF: u32 = u32::MAX;

impl MaxPool {
    /// A layer over windows of side `size`. `with_relu` says whether a ReLU comes before the maximum.
    ///
    /// # Errors
    /// A message, if `size` is zero or larger than the image.
    pub fn new(input: Shape, size: usize, with_relu: bool, max_batch: usize) -> Result<Self, String> {
        if size == 0 || size > input.height || size > input.width {
            return Err(format!("a pooling window of side {size} on an image {}×{}", input.height, input.width));
        }
        let output = Shape::image(input.channels, input.height / size, input.width / size);
        let tap = |i: usize| i / size * input.row_len() + i % size * input.channels;
        let taps = (0..size * size).map(tap).collect();
        Ok(MaxPool { input, output, size, with_relu, taps, chosen: vec![0; output.len() * max_batch] })
    }

    fn windows(&self) -> Windows {
        Windows { input: self.input, output: self.output, size: self.size }
    }

    /// Pools a chunk of the input, which covers `range` of the batch, and writes the maxima to where they belong in `y`. A
    /// chunk begins and ends between rows of windows.
    pub(crate) fn pool(&mut self, chunk: &[f32], range: &Range<usize>, y: &mut [f32]) {
        let (windows, channels, with_relu) = (self.windows(), self.input.channels, self.with_relu);
        let within = windows.within(range);
        let outputs = within.start * channels..within.end * channels;
        let outputs =
            y[outputs.clone()].chunks_exact_mut(channels).zip(self.chosen[outputs].chunks_exact_mut(channels));
        let taps = &self.taps;
        vectorized(
            #[inline(always)]
            || {
                for (i, (y, chosen)) in within.zip(outputs) {
                    let window = &chunk[windows.start(i) - range.start..];
                    let (y, y_rest) = y.as_chunks_mut::<LANES>();
                    let (chosen, chosen_rest) = chosen.as_chunks_mut::<LANES>();
                    for (c, (y, chosen)) in y.iter_mut().zip(chosen).enumerate() {
                        choose(&window[c * LANES..], taps, with_relu, y, chosen);
                    }
                    let rest = &window[channels - y_rest.len()..];
                    for (c, (y, chosen)) in y_rest.iter_mut().zip(chosen_rest).enumerate() {
                        let (y, chosen) = (std::array::from_mut(y), std::array::from_mut(chosen));
                        choose(&rest[c..], taps, with_relu, y, chosen);
                    }
                }
            },
        );
    }

    /// Computes the gradient of a chunk of the input, which covers `range` of the batch as in [`MaxPool::pool`].
    pub(crate) fn input_gradient(&self, dy: &[f32], range: &Range<usize>, chunk: &mut [f32]) {
        let (windows, channels) = (self.windows(), self.input.channels);
        if !(self.input.height.is_multiple_of(self.size) && self.input.width.is_multiple_of(self.size)) {
            chunk.fill(0.0);
        }
        let within = windows.within(range);
        let outputs = within.start * channels..within.end * channels;
        let outputs = dy[outputs.clone()].chunks_exact(channels).zip(self.chosen[outputs].chunks_exact(channels));
        let taps = &self.taps;
        vectorized(
            #[inline(always)]
            || {
                for (i, (dy, chosen)) in within.zip(outputs) {
                    let window = &mut chunk[windows.start(i) - range.start..];
                    for (tap, offset) in taps.iter().enumerate() {
                        let dx = &mut window[*offset..][..channels];
                        for ((dx, dy), chosen) in dx.iter_mut().zip(dy).zip(chosen) {
                            *dx = if *chosen == tap as u32 { *dy } else { 0.0 };
                        }
                    }
                }
            },
        );
    }
}

impl Layer for MaxPool {
    fn output(&self) -> Shape {
        self.output
    }

    fn forward(&mut self, pass: Pass<'_>, _: &mut [f32], y: &mut [f32], _: &mut Mode<'_>) {
        self.pool(pass.x, &(0..pass.x.len()), y);
    }

    fn backward(&mut self, _: Pass<'_>, _: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, _: &mut [f32]) {
        if let Some(dx) = dx {
            self.input_gradient(dy, &(0..dx.len()), dx);
        }
    }
}

/// Where the windows of a batch are.
#[derive(Clone, Copy)]
struct Windows {
    input: Shape,
    output: Shape,
    size: usize,
}

impl Windows {
    /// The windows, counted through the batch, in a range of the input that begins and ends between their rows.
    fn within(self, range: &Range<usize>) -> Range<usize> {
        let Windows { input, output, size } = self;
        let before = |at: usize| {
            let (image, row) = (at / input.len(), at % input.len() / input.row_len());
            (image * output.height + (row / size).min(output.height)) * output.width
        };
        before(range.start)..before(range.end)
    }

    /// The index in the batch of the first value of window `i`.
    #[inline(always)]
    fn start(self, i: usize) -> usize {
        let Windows { input, output, size } = self;
        let (row, column) = (i / output.width, i % output.width);
        let (image, row) = (row / output.height, row % output.height);
        image * input.len() + row * size * input.row_len() + column * size * input.channels
    }
}

/// Computes the maxima of neighbouring channels over the taps of the window at the beginning of `x`, and which taps hold them.
#[inline(always)]
fn choose<const N: usize>(x: &[f32], taps: &[usize], with_relu: bool, y: &mut [f32; N], chosen: &mut [u32; N]) {
    let at = |offset: usize| *x[offset..].first_chunk::<N>().expect("a window lies inside its image");
    let (mut largest, mut holders) = (at(taps[0]), [0; N]);
    for (tap, offset) in taps.iter().enumerate().skip(1) {
        let x = at(*offset);
        for l in 0..N {
            // The first of equal values stays, and NaN wins.
            let better = x[l] > largest[l] || x[l].is_nan();
            largest[l] = if better { x[l] } else { largest[l] };
            holders[l] = if better { tap as u32 } else { holders[l] };
        }
    }
    if with_relu {
        for l in 0..N {
            holders[l] = if largest[l] <= 0.0 { CUT_OFF } else { holders[l] };
            largest[l] = relu(largest[l]);
        }
    }
    (*y, *chosen) = (largest, holders);
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

    fn forward(&mut self, pass: Pass<'_>, _: &mut [f32], y: &mut [f32], _: &mut Mode<'_>) {
        let (len, channels, n) = (self.input.len(), self.input.channels, self.input.positions() as f32);
        vectorized(
            #[inline(always)]
            || {
                for (image, y) in pass.x.chunks_exact(len).zip(y.chunks_exact_mut(channels)) {
                    y.fill(0.0);
                    for position in image.chunks_exact(channels) {
                        y.iter_mut().zip(position).for_each(|(y, v)| *y += v);
                    }
                    y.iter_mut().for_each(|y| *y /= n);
                }
            },
        );
    }

    fn backward(&mut self, _: Pass<'_>, _: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, _: &mut [f32]) {
        let Some(dx) = dx else { return };
        let (len, channels, n) = (self.input.len(), self.input.channels, self.input.positions() as f32);
        dy.iter_mut().for_each(|d| *d /= n);
        for (image, d) in dx.chunks_exact_mut(len).zip(dy.chunks_exact(channels)) {
            image.chunks_exact_mut(channels).for_each(|position| position.copy_from_slice(d));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of equal values gets the gradient, as in PyTorch, both in whole vectors of channels and in the rest.
    #[test]
    fn the_first_of_equal_maxima_gets_the_gradient() {
        let input = Shape::image(LANES + 1, 2, 2);
        let mut pool = MaxPool::new(input, 2, false, 1).unwrap();
        let (x, mut y) = (vec![3.0; input.len()], vec![0.0; LANES + 1]);
        pool.pool(&x, &(0..x.len()), &mut y);
        assert_eq!(y, [3.0; LANES + 1]);
        let mut dx = vec![f32::NAN; input.len()];
        pool.input_gradient(&[2.0; LANES + 1], &(0..x.len()), &mut dx);
        let (first, others) = dx.split_at(LANES + 1);
        assert!(first.iter().all(|d| *d == 2.0) && others.iter().all(|d| *d == 0.0), "{dx:?}");
    }
}
