//! 3×3 convolutions with stride 1 by Winograd's minimal filtering F(2×2, 3×3): 16 multiplications where the definition
//! takes 36 (Lavin & Gray 2016, arXiv 1509.09308).
//!
//! The image is cut into overlapping 4×4 tiles. With `V = Bᵀ d B` of a tile, `U = G w Gᵀ` of a kernel, each of the 16
//! components of `U ⊙ V` summed over channels is one matrix product for all tiles, and `Aᵀ(·)A` of it is a 2×2 piece of
//! the output. Gradients are the adjoint steps, so they are exact for what the forward pass computes:
//! `D = A dy Aᵀ`, `dU = V Dᵀ`, `dw = Gᵀ dU G`, `Z = D Uᵀ`, and `B Z Bᵀ` is added up into `dx`.
//!
//! With the points 0, 1, −1, ∞ and the last row of `Bᵀ` negated, so that `A` has no negative corner:
//! ```text
//!      1  0 −1  0        1  0  0
//! Bᵀ = 0  1  1  0    G = ½  ½  ½    Aᵀ = 1  1  1  0
//!      0 −1  1  0        ½ −½  ½         0  1 −1  1
//!      0 −1  0  1        0  0  1
//! ```
//! Rounding is that of sums of sixteen values, about 1e-6 of the largest. Where the definition gives exactly zero, these sums
//! give rounding instead, which the first step of Adagrad, a multiple of the gradient's sign, would magnify: gradients of
//! weights that are too small to be told from it are set to zero.
//!
//! The channels of a position are neighbours, so a vector holds the same value of a tile for neighbouring channels.

mod transform;

use crate::nn::conv::Images;
use crate::nn::gemm::{
    Trans,
    Update::{self, Add, Overwrite},
    matmul, transpose,
};
use crate::nn::layer::Shape;
use crate::nn::simd::vectorized;
use std::ops::Range;
use transform::{Plane, Step, Transform};

/// Channels in a vector: their numbers are multiples of this, whatever the machine's vectors.
pub(crate) const LANES: usize = 16;
/// Places of a kernel.
const KERNEL: usize = 9;
/// Values of a tile.
const COMPONENTS: usize = 16;
/// Values in the tiles that are worked on at a time: 1 MB, half of a level-2 cache.
const CACHED: usize = 1 << 18;

/// A weight's gradient below this share of the largest component that it is made of is nothing but rounding.
const NOISE: f32 = 1e-6;

/// Scratch space of one layer for some rows of tiles.
pub(crate) struct Winograd {
    input: Shape,
    output: Shape,
    padding: usize,
    /// Tiles of an image in a column and in a row.
    down: usize,
    across: usize,
    /// Rows of tiles that are worked on at a time, of one image after the other.
    rows: usize,
    /// The kernels, `[input channel][place][output channel]`.
    kernels: Vec<f32>,
    /// `U: [component][input channel][output channel]`, its transpose in the last two, and its gradient.
    weights: Vec<f32>,
    transposed: Vec<f32>,
    d_weights: Vec<f32>,
    /// `V` or `Z: [component][tile][input channel]`.
    inputs: Tiles,
    /// The products or `D: [component][tile][output channel]`.
    outputs: Tiles,
}

/// `G w` for neighbouring output channels.
#[inline(always)]
fn kernel_transform(w: [[f32; LANES]; 3]) -> [[f32; LANES]; 4] {
    let (mut sum, mut difference) = ([0.0; LANES], [0.0; LANES]);
    for l in 0..LANES {
        let (ends, middle) = (0.5 * (w[0][l] + w[2][l]), 0.5 * w[1][l]);
        (sum[l], difference[l]) = (ends + middle, ends - middle);
    }
    [w[0], sum, difference, w[2]]
}

/// Transformed tiles.
struct Tiles {
    values: Vec<f32>,
    /// Between components: an odd number of cache lines, or they would compete for the same places in the cache.
    component: usize,
}

impl Tiles {
    fn new(tiles: usize, channels: usize) -> Self {
        let even = (tiles * channels).is_multiple_of(2 * LANES);
        let component = tiles * channels + if even { LANES } else { 0 };
        Tiles { values: vec![0.0; COMPONENTS * component], component }
    }

    fn component(&self, i: usize) -> &[f32] {
        &self.values[i * self.component..][..self.component]
    }

    fn component_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.values[i * self.component..][..self.component]
    }
}

impl Winograd {
    /// For images of shape `input` with `padding` zeros around them; both numbers of channels are multiples of [`LANES`].
    pub fn new(input: Shape, output: Shape, padding: usize) -> Self {
        let (down, across) = (output.height.div_ceil(2), output.width.div_ceil(2));
        let rows = (CACHED / (COMPONENTS * (input.channels + output.channels) * across)).max(1);
        let weights = vec![0.0; COMPONENTS * input.channels * output.channels];
        Winograd {
            input,
            output,
            padding,
            down,
            across,
            rows,
            kernels: vec![0.0; KERNEL * input.channels * output.channels],
            transposed: weights.clone(),
            d_weights: weights.clone(),
            weights,
            inputs: Tiles::new(rows * across, input.channels),
            outputs: Tiles::new(rows * across, output.channels),
        }
    }

    /// The rows of tiles of `images` images, as many at a time as are worked on together.
    fn blocks(&self, images: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (total, rows) = (images * self.down, self.rows);
        (0..total).step_by(rows).map(move |first| first..(first + rows).min(total))
    }

    /// What a block of tiles covers of the output.
    fn covered(&self, block: &Range<usize>) -> Range<usize> {
        let Shape { height, .. } = self.output;
        let start = |row: usize| {
            row / self.down * self.output.len() + (row % self.down * 2).min(height) * self.output.row_len()
        };
        start(block.start)..start(block.end)
    }

    /// Values of the largest part of the output that is worked on at a time.
    pub fn piece_len(&self) -> usize {
        self.rows * 2 * self.output.row_len()
    }

    /// `y ← w ⋆ x`; `finish` is called with each piece of `y` and its place in the batch.
    pub fn forward(
        &mut self,
        w: &[f32],
        x: &[f32],
        mut y: Images<'_>,
        mut finish: impl FnMut(&mut [f32], Range<usize>),
    ) {
        self.transform_weights(w);
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        for block in self.blocks(x.len() / self.input.len()) {
            let tiles = block.len() * self.across;
            self.transform(Step::Input(x), &block);
            for (i, u) in self.weights.chunks_exact(outputs * inputs).enumerate() {
                let (v, m) = (self.inputs.component(i), self.outputs.component_mut(i));
                matmul(tiles, outputs, inputs, v, Trans::No, u, Trans::No, m, Overwrite);
            }
            let place = self.covered(&block);
            let piece = y.piece(&place);
            self.transform(Step::Output(piece), &block);
            finish(piece, place);
        }
    }

    /// `dw` (overwritten) and, unless it is `None`, `dx` (updated) from `dy`, with the weights of the last forward pass;
    /// `prepare` is called with each piece of `dy` and its place in the batch before it is used.
    pub fn backward(
        &mut self,
        x: &[f32],
        mut dy: Images<'_>,
        mut dx: Option<(&mut [f32], Update)>,
        dw: &mut [f32],
        mut prepare: impl FnMut(&mut [f32], Range<usize>),
    ) {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let components = self.weights.chunks_exact(outputs * inputs);
        for (u, to) in components.zip(self.transposed.chunks_exact_mut(outputs * inputs)) {
            transpose(u, inputs, outputs, to);
        }
        self.d_weights.fill(0.0);
        for block in self.blocks(x.len() / self.input.len()) {
            let tiles = block.len() * self.across;
            let place = self.covered(&block);
            let piece = dy.piece(&place);
            prepare(piece, place);
            self.transform(Step::Input(x), &block);
            self.transform(Step::OutputGradient(piece), &block);
            for (i, du) in self.d_weights.chunks_exact_mut(outputs * inputs).enumerate() {
                let (v, d) = (self.inputs.component(i), self.outputs.component(i));
                matmul(inputs, outputs, tiles, v, Trans::Yes, d, Trans::No, du, Add);
            }
            let Some((dx, update)) = dx.as_mut() else { continue };
            for (i, u) in self.transposed.chunks_exact(outputs * inputs).enumerate() {
                let (d, z) = (self.outputs.component(i), self.inputs.component_mut(i));
                matmul(tiles, inputs, outputs, d, Trans::No, u, Trans::No, z, Overwrite);
            }
            self.transform(Step::InputGradient(dx, *update), &block);
        }
        self.collect_weight_gradients(dw);
    }

    /// One of the transforms of a block of tiles.
    fn transform(&mut self, step: Step<'_>, block: &Range<usize>) {
        let origin = self.covered(block).start;
        let (shape, tiles, padding, origin) = match step {
            Step::Input(_) | Step::InputGradient(..) => (self.input, &mut self.inputs, self.padding, 0),
            Step::Output(_) | Step::OutputGradient(_) => (self.output, &mut self.outputs, 0, origin),
        };
        let plane = Plane { shape, origin, padding, down: self.down, across: self.across };
        let rows = block.clone();
        pulp::Arch::new().dispatch(Transform {
            step,
            plane,
            rows,
            tiles: &mut tiles.values,
            component: tiles.component,
        });
    }

    /// `U = G w Gᵀ`.
    fn transform_weights(&mut self, w: &[f32]) {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        transpose(w, outputs, KERNEL * inputs, &mut self.kernels);
        let (kernels, weights) = (self.kernels.as_chunks::<LANES>().0, self.weights.as_chunks_mut::<LANES>().0);
        let vectors = outputs / LANES;
        vectorized(
            #[inline(always)]
            || {
                for (c, kernel) in kernels.chunks_exact(KERNEL * vectors).enumerate() {
                    for o in 0..vectors {
                        let mut columns = [[[0.0; LANES]; 4]; 3];
                        for (i, column) in columns.iter_mut().enumerate() {
                            let at = |row: usize| kernel[(3 * row + i) * vectors + o];
                            *column = kernel_transform([at(0), at(1), at(2)]);
                        }
                        for i in 0..4 {
                            let row = kernel_transform([columns[0][i], columns[1][i], columns[2][i]]);
                            for (j, u) in row.into_iter().enumerate() {
                                weights[((4 * i + j) * inputs + c) * vectors + o] = u;
                            }
                        }
                    }
                }
            },
        );
    }

    /// `dw = Gᵀ dU G`.
    fn collect_weight_gradients(&self, dw: &mut [f32]) {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        for (pair, dw) in dw.as_chunks_mut::<9>().0.iter_mut().enumerate() {
            let g = |u: [f32; 4]| {
                let half = 0.5 * (u[1] + u[2]);
                [u[0] + half, 0.5 * (u[1] - u[2]), half + u[3]]
            };
            let (o, c) = (pair / inputs, pair % inputs);
            let at = |i: usize, j: usize| self.d_weights[((4 * i + j) * inputs + c) * outputs + o];
            let largest = (0..COMPONENTS).fold(0.0f32, |largest, i| largest.max(at(i / 4, i % 4).abs()));
            let columns = [0, 1, 2, 3].map(|j| g([at(0, j), at(1, j), at(2, j), at(3, j)]));
            for i in 0..3 {
                let row = g([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                let resolved = row.map(|v| if v.abs() < NOISE * largest { 0.0 } else { v });
                dw[3 * i..3 * i + 3].copy_from_slice(&resolved);
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
        /// Outputs and gradients are those of the unfolded convolution: odd and even sides, blocks that end within an image
        /// and blocks of several. Every value is finished and prepared once.
        #[test]
        fn is_the_unfolded_convolution(
            channels in (1usize..3, 1usize..3), sides in (1usize..30, 1usize..30), padding in 0usize..4,
            batch in 1usize..9, rows in 1usize..12, add: bool,
        ) {
            let window = Window { kernel: 3, stride: 1, padding };
            let input = Shape::image(LANES * channels.0, sides.0 + 2, sides.1 + 2);
            let output = Shape::image(LANES * channels.1, sides.0 + 2 * padding, sides.1 + 2 * padding);
            let mut winograd = Winograd::new(input, output, padding);
            winograd.rows = rows.min(winograd.rows);
            let mut unfolding = Unfolding::new(input, output, window);
            let w = values(9 * input.channels * output.channels, 0);
            let (x, dy) = (values(batch * input.len(), 1), values(batch * output.len(), 2));
            let one_more = |out: &mut [f32], _: Range<usize>| out.iter_mut().for_each(|v| *v += 1.0);
            let (before, update) = if add { (values(x.len(), 3), Add) } else { (vec![f32::NAN; x.len()], Overwrite) };
            let (mut y, mut want) = (vec![f32::NAN; dy.len()], vec![f32::NAN; dy.len()]);
            winograd.forward(&w, &x, Images::All(&mut y), one_more);
            unfolding.forward(&w, &x, Images::All(&mut want), one_more);
            assert_close(&y, &want, 9 * input.channels)?;
            let gradients = || (dy.clone(), before.clone(), vec![f32::NAN; w.len()]);
            let double = |d: &mut [f32], _: Range<usize>| d.iter_mut().for_each(|v| *v *= 2.0);
            let (mut dy_1, mut dx, mut dw) = gradients();
            let (mut dy_2, mut want_dx, mut want_dw) = gradients();
            winograd.backward(&x, Images::All(&mut dy_1), Some((&mut dx, update)), &mut dw, double);
            unfolding.backward(&x, Images::All(&mut dy_2), Some((&mut want_dx, update)), &mut want_dw, double);
            prop_assert_eq!(dy_1, dy_2);
            assert_close(&dx, &want_dx, 9 * output.channels)?;
            assert_close(&dw, &want_dw, dy.len() / output.channels)?;
        }
    }
}
