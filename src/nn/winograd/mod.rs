//! 3×3 convolutions with stride 1 by Winograd's minimal filtering F(2×2, 3×3): 16 multiplications where the definition
//! takes 36 (Lavin & Gray 2016, arXiv 1509.09308).
//!
//! The image is cut into overlapping 4×4 tiles. With `V = Bᵀ d B` of a tile, `U = G w Gᵀ` of a kernel, each of the 16
//! components of `U ⊙ V` summed over channels is one matrix product for all tiles, and `Aᵀ(·)A` of it is a 2×2 piece of
//! the output. Gradients are the adjoint steps, so they are exact for what the forward pass computes:
//! `D = A dy Aᵀ`, `dU = D Vᵀ`, `dw = Gᵀ dU G`, `Z = Uᵀ D`, and `B Z Bᵀ` is added up into `dx`.
//!
//! With the points 0, 1, −1, ∞ and the last row of `Bᵀ` negated, so that `A` has no negative corner:
//! ```text
//!      1  0 −1  0        1  0  0
//! Bᵀ = 0  1  1  0    G = ½  ½  ½    Aᵀ = 1  1  1  0
//!      0 −1  1  0        ½ −½  ½         0  1 −1  1
//!      0 −1  0  1        0  0  1
//! ```
//! Rounding is that of sums of sixteen values, about 1e-6 of the largest. Where the definition gives exactly zero, this may
//! give rounding instead, which the first step of Adagrad, a multiple of the gradient's sign, magnifies.
//!
//! Neighbouring tiles lie in neighbouring lanes of a vector, so rows are split into even and odd columns first.
//! Vectors may run over the end of a row: what they write there is overwritten by the next one, and every buffer has
//! room for one vector more.

mod frame;
mod transform;

use crate::nn::gemm::{
    Trans,
    Update::{Add, Overwrite},
    matmul_strided,
};
use crate::nn::layer::Shape;
use crate::nn::simd::vectorized;
use crate::nn::unfold::copy_run;
use frame::{Frame, Tiles};
use std::ops::Range;
use transform::{Grid, InputGradient, Step, Transform};

/// Lanes of the widest vector; the room for running over.
const LANES: usize = 16;
/// Values of a tile.
const COMPONENTS: usize = 16;
/// Tiles side by side that fill vectors well: smaller images are transformed several at a time.
const ENOUGH_ACROSS: usize = 2 * LANES;
/// Values in the tiles that are worked on at a time, 1.25 MB: larger images are cut into strips.
const CACHED: usize = 5 << 16;

/// Scratch space of one layer for a piece of the batch.
pub(crate) struct Winograd {
    input: Shape,
    output: Shape,
    padding: usize,
    /// Tiles of an image in a column and in a row.
    down: usize,
    across: usize,
    /// Images transformed together, side by side with one tile between them.
    group: usize,
    /// Rows of tiles transformed together.
    strip: usize,
    /// `U: [component][output channel][input channel]` and its gradient.
    weights: Vec<f32>,
    d_weights: Vec<f32>,
    /// `V` or `Z`.
    inputs: Tiles,
    /// The products or `D`.
    outputs: Tiles,
    /// A strip of the input with its padding, of the output and, in two overlapping parts, of the input's gradient.
    x: Frame,
    y: Frame,
    dx: [Frame; 2],
    /// Rows of a plane in one piece.
    plane: Vec<f32>,
}

/// Some images of the batch, and the rows of their tiles from `top` on.
#[derive(Clone, Copy)]
struct Piece {
    images: usize,
    top: usize,
    /// The tiles; those between two images belong to neither.
    grid: Grid,
}

impl Winograd {
    /// For images of shape `input` with `padding` zeros around them.
    pub fn new(input: Shape, output: Shape, padding: usize) -> Self {
        let (down, across) = (output.height.div_ceil(2), output.width.div_ceil(2));
        let per_tile = COMPONENTS * (input.channels + output.channels);
        let cached = CACHED / per_tile;
        let group = ((ENOUGH_ACROSS + 1) / (across + 1)).min(cached / (down * (across + 1))).max(1);
        let side_by_side = group * (across + 1) - 1;
        let strip = (cached / side_by_side).clamp(1, down);
        let weights = vec![0.0; COMPONENTS * input.channels * output.channels];
        let frame = |rows: usize| Frame::new(rows, side_by_side + padding);
        Winograd {
            input,
            output,
            padding,
            down,
            across,
            group,
            strip,
            d_weights: weights.clone(),
            weights,
            inputs: Tiles::new(input.channels, strip * side_by_side),
            outputs: Tiles::new(output.channels, strip * side_by_side),
            x: frame(2 * strip + 2),
            y: frame(2 * strip),
            dx: [frame(2 * strip + 2), frame(2 * strip + 2)],
            plane: vec![0.0; (2 * strip + 2) * (2 * across + 2) + 2 * LANES],
        }
    }

    /// The strips of `images` images.
    fn strips(&self, images: usize) -> impl Iterator<Item = Piece> + use<> {
        let (down, strip, across) = (self.down, self.strip, images * (self.across + 1) - 1);
        let piece = move |top| Piece { images, top, grid: Grid { down: strip.min(down - top), across } };
        (0..down).step_by(strip).map(piece)
    }

    /// `y ← w ⋆ x`; `finish` is called with each piece of a plane of `y` and its channel.
    pub fn forward(&mut self, w: &[f32], x: &[f32], y: &mut [f32], mut finish: impl FnMut(&mut [f32], Range<usize>)) {
        self.transform_weights(w);
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let (x_len, y_len) = (self.input.len(), self.output.len());
        for (group, y) in y.chunks_mut(self.group * y_len).enumerate() {
            for piece in self.strips(y.len() / y_len) {
                self.transform_inputs(&x[group * self.group * x_len..], piece);
                for (i, u) in self.weights.chunks_exact(outputs * inputs).enumerate() {
                    let (u, v, m) = ((u, inputs), self.inputs.component(i), self.outputs.component_mut(i));
                    matmul_strided(outputs, piece.grid.tiles(), inputs, u, Trans::No, v, Trans::No, m, Overwrite);
                }
                self.collect_outputs(y, piece, &mut finish);
            }
        }
    }

    /// `dw` (overwritten) and, unless it is `None`, `dx` (overwritten) from `dy`; `prepare` is called with a few images of
    /// `dy` and their place in the batch before they are used.
    pub fn backward(
        &mut self,
        w: &[f32],
        x: &[f32],
        dy: &mut [f32],
        mut dx: Option<&mut [f32]>,
        dw: &mut [f32],
        mut prepare: impl FnMut(&mut [f32], Range<usize>),
    ) {
        self.transform_weights(w);
        self.d_weights.fill(0.0);
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let (x_len, y_len) = (self.input.len(), self.output.len());
        for (group, dy) in dy.chunks_mut(self.group * y_len).enumerate() {
            let (images, x_start, y_start) = (dy.len() / y_len, group * self.group * x_len, group * self.group * y_len);
            prepare(dy, y_start..y_start + dy.len());
            for piece in self.strips(images) {
                let tiles = piece.grid.tiles();
                self.transform_inputs(&x[x_start..], piece);
                self.transform_output_gradients(dy, piece);
                for (i, du) in self.d_weights.chunks_exact_mut(outputs * inputs).enumerate() {
                    let (d, v, du) = (self.outputs.component(i), self.inputs.component(i), (du, inputs));
                    matmul_strided(outputs, inputs, tiles, d, Trans::No, v, Trans::Yes, du, Add);
                }
                let Some(dx) = dx.as_deref_mut() else { continue };
                for (i, u) in self.weights.chunks_exact(outputs * inputs).enumerate() {
                    let (u, d, z) = ((u, inputs), self.outputs.component(i), self.inputs.component_mut(i));
                    matmul_strided(inputs, tiles, outputs, u, Trans::Yes, d, Trans::No, z, Overwrite);
                }
                self.collect_input_gradients(&mut dx[x_start..x_start + images * x_len], piece);
            }
        }
        self.collect_weight_gradients(dw);
    }

    /// `U = G w Gᵀ`.
    fn transform_weights(&mut self, w: &[f32]) {
        let pairs = self.input.channels * self.output.channels;
        for (pair, w) in w.as_chunks::<9>().0.iter().enumerate() {
            let g = |w: [f32; 3]| {
                let (ends, middle) = (0.5 * (w[0] + w[2]), 0.5 * w[1]);
                [w[0], ends + middle, ends - middle, w[2]]
            };
            let columns = [0, 1, 2].map(|c| g([w[c], w[3 + c], w[6 + c]]));
            let rows = [0, 1, 2, 3].map(|i| g([columns[0][i], columns[1][i], columns[2][i]]));
            for (i, row) in rows.into_iter().enumerate() {
                for (j, v) in row.into_iter().enumerate() {
                    self.weights[(4 * i + j) * pairs + pair] = v;
                }
            }
        }
    }

    /// `dw = Gᵀ dU G`.
    fn collect_weight_gradients(&self, dw: &mut [f32]) {
        let pairs = self.input.channels * self.output.channels;
        for (pair, dw) in dw.as_chunks_mut::<9>().0.iter_mut().enumerate() {
            let g = |u: [f32; 4]| {
                let half = 0.5 * (u[1] + u[2]);
                [u[0] + half, 0.5 * (u[1] - u[2]), half + u[3]]
            };
            let at = |i: usize, j: usize| self.d_weights[(4 * i + j) * pairs + pair];
            let columns = [0, 1, 2, 3].map(|j| g([at(0, j), at(1, j), at(2, j), at(3, j)]));
            for i in 0..3 {
                let row = g([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                dw[3 * i..3 * i + 3].copy_from_slice(&row);
            }
        }
    }

    /// `V` of a piece of the images that `x` begins with.
    fn transform_inputs(&mut self, x: &[f32], Piece { images, top, grid }: Piece) {
        let Shape { channels, height, width } = self.input;
        let first = 2 * top as isize - self.padding as isize;
        for channel in 0..channels {
            for image in 0..images {
                let plane = &x[(image * channels + channel) * height * width..];
                self.x.load(plane, (height, width), first, self.padding, image * (self.across + 1));
            }
            let tiles = self.inputs.of(channel);
            pulp::Arch::new().dispatch(Transform { step: Step::Input, grid, tiles, frame: &mut self.x });
        }
    }

    /// `D` of a piece of `dy`; zero between the images.
    fn transform_output_gradients(&mut self, dy: &[f32], Piece { images, top, grid }: Piece) {
        let Shape { channels, height, width } = self.output;
        for channel in 0..channels {
            for image in 0..images {
                let plane = &dy[(image * channels + channel) * height * width..];
                self.y.load(plane, (height, width), 2 * top as isize, 0, image * (self.across + 1));
            }
            let tiles = self.outputs.of(channel);
            pulp::Arch::new().dispatch(Transform { step: Step::OutputGradient, grid, tiles, frame: &mut self.y });
        }
    }

    /// A piece of `y` from the products of its tiles.
    fn collect_outputs(&mut self, y: &mut [f32], piece: Piece, finish: &mut impl FnMut(&mut [f32], Range<usize>)) {
        let Piece { images, top, grid } = piece;
        let Shape { channels, height, width } = self.output;
        let rows = (2 * grid.down).min(height - 2 * top);
        for channel in 0..channels {
            let tiles = self.outputs.of(channel);
            pulp::Arch::new().dispatch(Transform { step: Step::Output, grid, tiles, frame: &mut self.y });
            for image in 0..images {
                let start = ((image * channels + channel) * height + 2 * top) * width;
                let to = &mut y[start..start + rows * width];
                self.y.store(2 * grid.down, image * (self.across + 1), None, width, &mut self.plane);
                to.copy_from_slice(&self.plane[..rows * width]);
                finish(to, channel..channel + 1);
            }
        }
    }

    /// A piece of `dx` from `Z`. Its first two rows were begun by the strip above.
    fn collect_input_gradients(&mut self, dx: &mut [f32], Piece { images, top, grid }: Piece) {
        let Shape { channels, height, width } = self.input;
        let (padded, p, rows) = (2 * self.across + 2, self.padding, 2 * grid.down + 2);
        for channel in 0..channels {
            let tiles = self.inputs.of(channel);
            pulp::Arch::new().dispatch(InputGradient { grid, tiles, frames: &mut self.dx });
            for image in 0..images {
                let start = (image * channels + channel) * height * width;
                let to = &mut dx[start..start + height * width];
                let ([left, right], plane) = (&self.dx, &mut self.plane[..]);
                left.store(rows, image * (self.across + 1), Some(right), padded, plane);
                vectorized(
                    #[inline(always)]
                    move || {
                        let from = plane.chunks_exact(padded).take(rows).enumerate().skip(p.saturating_sub(2 * top));
                        let first = (2 * top).saturating_sub(p);
                        for ((row, from), to) in from.zip(to.chunks_exact_mut(width).skip(first)) {
                            if row < 2 && top > 0 {
                                to.iter_mut().zip(&from[p..]).for_each(|(to, v)| *to += v);
                            } else {
                                copy_run(to, &from[p..p + width]);
                            }
                        }
                    },
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::conv::Window;
    use crate::nn::unfold::Unfolding;
    use crate::rng::{Purpose, stream};
    use proptest::prelude::*;

    /// Uniform in [−1, 1).
    fn values(len: usize, index: u64) -> Vec<f32> {
        let mut rng = stream(0, Purpose::Data, index);
        (0..len).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    /// Sums of `terms` products of numbers below 2, each rounded to 6e-8 of a partial sum; a value at a wrong place or left
    /// out would change them by some tenths.
    fn assert_close(a: &[f32], b: &[f32], terms: usize) -> Result<(), TestCaseError> {
        let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let tolerance = 1e-5 + 1e-6 * terms as f32 + 1e-5 * largest;
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            prop_assert!((a - b).abs() <= tolerance, "{}: {} and {}, tolerance {}", i, a, b, tolerance);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Outputs and gradients are those of the unfolded convolution: odd and even sides, groups of small images, the
        /// last of them incomplete, strips of large ones. Every value is finished and prepared once.
        #[test]
        fn is_the_unfolded_convolution(
            channels in (1usize..20, 1usize..20), sides in (1usize..40, 1usize..70), padding in 0usize..4,
            batch in 1usize..9, strip in 1usize..4,
        ) {
            let window = Window { kernel: 3, stride: 1, padding };
            let input = Shape::image(channels.0, sides.0 + 2, sides.1 + 2);
            let output = Shape::image(channels.1, sides.0 + 2 * padding, sides.1 + 2 * padding);
            let mut winograd = Winograd::new(input, output, padding);
            winograd.strip = winograd.strip.min(strip);
            let mut unfolding = Unfolding::new(input, output, window);
            let w = values(9 * channels.0 * channels.1, 1);
            let (x, dy) = (values(batch * input.len(), 2), values(batch * output.len(), 3));

            let (mut y, mut want) = (vec![f32::NAN; dy.len()], vec![f32::NAN; dy.len()]);
            winograd.forward(&w, &x, &mut y, |y, _| y.iter_mut().for_each(|v| *v += 1.0));
            unfolding.forward(&w, &x, &mut want, |y, _| y.iter_mut().for_each(|v| *v += 1.0));
            assert_close(&y, &want, 9 * channels.0)?;

            let gradients = || (dy.clone(), vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]);
            let double = |d: &mut [f32], _: Range<usize>| d.iter_mut().for_each(|v| *v *= 2.0);
            let (mut dy_1, mut dx, mut dw) = gradients();
            let (mut dy_2, mut want_dx, mut want_dw) = gradients();
            winograd.backward(&w, &x, &mut dy_1, Some(&mut dx), &mut dw, double);
            unfolding.backward(&w, &x, &mut dy_2, Some(&mut want_dx), &mut want_dw, double);
            prop_assert_eq!(dy_1, dy_2);
            assert_close(&dx, &want_dx, 9 * channels.1)?;
            assert_close(&dw, &want_dw, dy.len() / channels.1)?;
        }
    }
}
