//! 3×3 convolutions with stride 1 by Winograd's minimal filtering F(4×4, 3×3): 36 multiplications where the definition
//! takes 144 (Lavin & Gray 2016, arXiv 1509.09308).
//!
//! The image is cut into overlapping 6×6 tiles. With `V = Bᵀ d B` of a tile, `U = G w Gᵀ` of a kernel, each of the 36
//! components of `U ⊙ V` summed over channels is one matrix product for all tiles, and `Aᵀ(·)A` of it is a 4×4 block
//! of the output. Gradients are the adjoint steps, so they are exact for what the forward pass computes:
//! `D = A dy Aᵀ`, `dU = V Dᵀ`, `dw = Gᵀ dU G`, `Z = D Uᵀ`, and `B Z Bᵀ` is added up into `dx`.
//!
//! The points are 0, ±a, ±b, ∞. Each point has a row of `Bᵀ`, a column of `Aᵀ` and a row of `G`. The row of `Bᵀ` holds the
//! coefficients, lowest first, of the polynomial that is zero at the other finite points. The column of `Aᵀ` holds the powers
//! of the point. The row of `G` holds these powers divided by the value of that polynomial at the point:
//! ```text
//!      a²b²    0  −a²−b²   0    1  0
//!       0   −ab²   −b²     a    1  0              1  1   1   1   1  0
//! Bᵀ =  0    ab²   −b²    −a    1  0         Aᵀ = 0  a  −a   b  −b  0
//!       0   −a²b   −a²     b    1  0              0  a²  a²  b²  b² 0
//!       0    a²b   −a²    −b    1  0              0  a³ −a³  b³ −b³ 1
//!       0   a²b²    0   −a²−b²  0  1
//! ```
//! With a = ¾ and b = 1½ the rounding error is half of what it is with the usual points, 1 and 2: see
//! `rounding_is_that_of_good_points` below. Where the definition gives exactly zero, these sums give a rounding error
//! instead. The first step of Adagrad, which is a multiple of the gradient's sign, would magnify it. Gradients of weights
//! that are too small to be told from rounding are therefore set to zero.
//!
//! The channels of a position are neighbours, so a vector holds the same value of a tile for several channels.

mod kernels;
mod transform;

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::{
    Trans,
    Update::{self, Add, Overwrite},
    matmul,
};
use crate::nn::kernels::window::Images;
use crate::nn::model::Shape;
use kernels::Kernels;
use std::ops::Range;
use transform::{Plane, Step, Transform};

/// Channels in a vector. The numbers of channels are multiples of this on every machine, whatever its vectors.
pub(crate) const LANES: usize = 16;
/// Taps of a kernel.
const KERNEL: usize = 9;
/// Side of a tile.
const SIDE: usize = 6;
/// Side of a tile's output.
const OUT: usize = 4;
/// Values of a tile.
const COMPONENTS: usize = SIDE * SIDE;
/// The points beside 0 and ∞ are ±A and ±B, and their squares.
const A: f32 = 0.75;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;

/// Values in the tiles of a block: 1 MB. With a level-2 cache of 512 KB, half or twice that is no faster.
const CACHED: usize = 1 << 18;

/// Scratch space of one layer for a block, which is some rows of tiles.
pub(crate) struct Winograd {
    input: Shape,
    output: Shape,
    padding: usize,
    /// Tiles of an image in a column and in a row.
    down: usize,
    across: usize,
    /// Rows of tiles in a block, which may reach over several images.
    rows: usize,
    kernels: Kernels,
    /// `V` or `Z: [component][tile][input channel]`.
    inputs: Tiles,
    /// The products or `D: [component][tile][output channel]`.
    outputs: Tiles,
}

/// Transformed tiles.
struct Tiles {
    values: AlignedVec,
    /// Distance between components. It is an odd number of cache lines, because components at an even distance would
    /// compete for the same cache sets.
    component: usize,
}

impl Tiles {
    fn new(tiles: usize, channels: usize) -> Self {
        let even = (tiles * channels).is_multiple_of(2 * LANES);
        let component = tiles * channels + if even { LANES } else { 0 };
        Tiles { values: zeros(COMPONENTS * component), component }
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
        let (down, across) = (output.height.div_ceil(OUT), output.width.div_ceil(OUT));
        let rows = (CACHED / (COMPONENTS * (input.channels + output.channels) * across)).max(1);
        Winograd {
            input,
            output,
            padding,
            down,
            across,
            rows,
            kernels: Kernels::new(input.channels, output.channels),
            inputs: Tiles::new(rows * across, input.channels),
            outputs: Tiles::new(rows * across, output.channels),
        }
    }

    /// The blocks of `images` images, as ranges of rows of tiles.
    fn blocks(&self, images: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (total, rows) = (images * self.down, self.rows);
        (0..total).step_by(rows).map(move |first| first..(first + rows).min(total))
    }

    /// The range of the output that a block covers.
    fn covered(&self, block: &Range<usize>) -> Range<usize> {
        let Shape { height, .. } = self.output;
        let start = |row: usize| {
            row / self.down * self.output.len() + (row % self.down * OUT).min(height) * self.output.row_len()
        };
        start(block.start)..start(block.end)
    }

    /// Values of the output that the largest block covers.
    pub fn chunk_len(&self) -> usize {
        self.rows * OUT * self.output.row_len()
    }

    /// `y ← w ⋆ x`. `finish` is called with each chunk of `y` and its range in the batch.
    pub fn forward(
        &mut self,
        w: &[f32],
        x: &[f32],
        mut y: Images<'_>,
        mut finish: impl FnMut(&mut [f32], Range<usize>),
    ) {
        self.kernels.transform(w);
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        for block in self.blocks(x.len() / self.input.len()) {
            let tiles = block.len() * self.across;
            self.transform(Step::Input(x), &block);
            for (i, u) in self.kernels.components().enumerate() {
                let (v, m) = (self.inputs.component(i), self.outputs.component_mut(i));
                matmul(tiles, outputs, inputs, v, Trans::No, u, Trans::No, m, Overwrite);
            }
            let range = self.covered(&block);
            let chunk = y.chunk(&range);
            self.transform(Step::Output(chunk), &block);
            finish(chunk, range);
        }
    }

    /// Computes `dw` (overwritten) and, unless it is `None`, `dx` (updated) from `dy`, with the weights of the last forward
    /// pass. `prepare` is called with each chunk of `dy` before it is used, and its range in the batch.
    pub fn backward(
        &mut self,
        x: &[f32],
        mut dy: Images<'_>,
        mut dx: Option<(&mut [f32], Update)>,
        dw: &mut [f32],
        mut prepare: impl FnMut(&mut [f32], Range<usize>),
    ) {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        self.kernels.prepare_gradients();
        for block in self.blocks(x.len() / self.input.len()) {
            let tiles = block.len() * self.across;
            let range = self.covered(&block);
            let chunk = dy.chunk(&range);
            prepare(chunk, range);
            self.transform(Step::Input(x), &block);
            self.transform(Step::OutputGradient(chunk), &block);
            for (i, du) in self.kernels.d_components().enumerate() {
                let (v, d) = (self.inputs.component(i), self.outputs.component(i));
                matmul(inputs, outputs, tiles, v, Trans::Yes, d, Trans::No, du, Add);
            }
            let Some((dx, update)) = dx.as_mut() else { continue };
            for (i, u) in self.kernels.transposed().enumerate() {
                let (d, z) = (self.outputs.component(i), self.inputs.component_mut(i));
                matmul(tiles, inputs, outputs, d, Trans::No, u, Trans::No, z, Overwrite);
            }
            self.transform(Step::InputGradient(dx, *update), &block);
        }
        self.kernels.gradients(dw);
    }

    /// Runs one of the transforms on a block of tiles.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernels::im2col::Im2col;
    use crate::nn::kernels::window::Window;
    use crate::rng::{Purpose, stream};
    use proptest::prelude::*;

    /// Uniform in [−1, 1).
    fn values(len: usize, index: u64) -> Vec<f32> {
        let mut rng = stream(0, Purpose::Data, index);
        (0..len).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    /// Sums of `terms` products of numbers below 2, each rounded to 6e-8 of a partial sum; a value at a wrong position or left
    /// out would change them by some tenths.
    fn assert_close(a: &[f32], b: &[f32], terms: usize) -> Result<(), TestCaseError> {
        let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let tolerance = 1e-5 + 1e-6 * terms as f32 + 1e-5 * largest;
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            prop_assert!((a - b).abs() <= tolerance, "{}: {} and {}, tolerance {}", i, a, b, tolerance);
        }
        Ok(())
    }

    /// Root mean square of the differences, relative to that of `want`.
    fn relative_rms(got: &[f32], want: &[f64]) -> f64 {
        let square = |x: f64| x * x;
        let differences: f64 = got.iter().zip(want).map(|(&g, w)| square(f64::from(g) - w)).sum();
        (differences / want.iter().copied().map(square).sum::<f64>()).sqrt()
    }

    /// Against sums in 64 bits. With the points 1 and 2 the three are 1.6e-6, 1.7e-6 and 1.0e-6; here 8e-7, 8e-7 and 5e-7.
    #[test]
    fn rounding_is_that_of_good_points() {
        const SIDE: usize = 16;
        const CHANNELS: usize = 64;
        let input = Shape::image(CHANNELS, SIDE + 2, SIDE + 2);
        let output = Shape::image(CHANNELS, SIDE, SIDE);
        let (w, x, mut dy) = (values(9 * CHANNELS * CHANNELS, 0), values(input.len(), 1), values(output.len(), 2));
        let (mut want, mut want_dx) = (vec![0.0f64; output.len()], vec![0.0f64; input.len()]);
        let mut want_dw = vec![0.0f64; w.len()];
        for step in 0..SIDE * SIDE * 9 {
            let (position, tap) = (step / 9, step % 9);
            let (top, left, i, j) = (position / SIDE, position % SIDE, tap / 3, tap % 3);
            let (at, from) = (CHANNELS * position, CHANNELS * ((top + i) * (SIDE + 2) + left + j));
            for pair in 0..CHANNELS * CHANNELS {
                let (o, c) = (pair / CHANNELS, pair % CHANNELS);
                let (weight, (x, dy)) = (9 * pair + 3 * i + j, (f64::from(x[from + c]), f64::from(dy[at + o])));
                want[at + o] += f64::from(w[weight]) * x;
                want_dx[from + c] += f64::from(w[weight]) * dy;
                want_dw[weight] += x * dy;
            }
        }
        let mut winograd = Winograd::new(input, output, 0);
        let (mut y, mut dx, mut dw) = (vec![0.0; output.len()], vec![0.0; input.len()], vec![0.0; w.len()]);
        winograd.forward(&w, &x, Images::All(&mut y), |_, _| ());
        winograd.backward(&x, Images::All(&mut dy), Some((&mut dx, Overwrite)), &mut dw, |_, _| ());
        let rounding = [relative_rms(&y, &want), relative_rms(&dx, &want_dx), relative_rms(&dw, &want_dw)];
        assert!(rounding.iter().zip([1.2e-6, 1.2e-6, 7e-7]).all(|(r, limit)| *r < limit), "{rounding:?}");
    }

    proptest! {
        /// The image and the output gradient have one nonzero value each, in the same tile or in different ones, so at most one
        /// weight has a gradient.
        #[test]
        fn a_gradient_of_zero_is_zero(x_at in 0usize..100, dy_at in 0usize..64, x_value: f32, dy_value: f32) {
            let (input, output) = (Shape::image(LANES, 10, 10), Shape::image(LANES, 8, 8));
            let mut winograd = Winograd::new(input, output, 0);
            let (mut x, mut dy) = (vec![0.0; input.len()], vec![0.0; output.len()]);
            let size = |v: f32| 1.0 + v.abs().min(9.0);
            (x[LANES * x_at], dy[LANES * dy_at]) = (size(x_value), size(dy_value));
            let mut dw = vec![f32::NAN; KERNEL * LANES * LANES];
            winograd.backward(&x, Images::All(&mut dy), None, &mut dw, |_, _| ());
            let (down, right) = ((x_at / 10).wrapping_sub(dy_at / 8), (x_at % 10).wrapping_sub(dy_at % 8));
            let weight = (down < 3 && right < 3).then(|| 3 * down + right);
            for (i, dw) in dw.into_iter().enumerate() {
                prop_assert_eq!(dw != 0.0, Some(i) == weight, "{}: {}", i, dw);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Outputs and gradients equal those of im2col: for odd and even sides, for blocks that end within an image and blocks
        /// of several images. Every value is finished and prepared once.
        #[test]
        fn equals_im2col(
            channels in (1usize..3, 1usize..3), sides in (1usize..30, 1usize..30), padding in 0usize..4,
            batch in 1usize..9, rows in 1usize..12, add: bool,
        ) {
            let window = Window { kernel: 3, stride: 1, padding };
            let input = Shape::image(LANES * channels.0, sides.0 + 2, sides.1 + 2);
            let output = Shape::image(LANES * channels.1, sides.0 + 2 * padding, sides.1 + 2 * padding);
            let mut winograd = Winograd::new(input, output, padding);
            winograd.rows = rows.min(winograd.rows);
            let mut im2col = Im2col::new(input, output, window);
            let w = values(9 * input.channels * output.channels, 0);
            let (x, dy) = (values(batch * input.len(), 1), values(batch * output.len(), 2));
            let one_more = |out: &mut [f32], _: Range<usize>| out.iter_mut().for_each(|v| *v += 1.0);
            let (before, update) = if add { (values(x.len(), 3), Add) } else { (vec![f32::NAN; x.len()], Overwrite) };
            let (mut y, mut want) = (vec![f32::NAN; dy.len()], vec![f32::NAN; dy.len()]);
            winograd.forward(&w, &x, Images::All(&mut y), one_more);
            im2col.forward(&w, &x, Images::All(&mut want), one_more);
            assert_close(&y, &want, 9 * input.channels)?;
            let gradients = || (dy.clone(), before.clone(), vec![f32::NAN; w.len()]);
            let double = |d: &mut [f32], _: Range<usize>| d.iter_mut().for_each(|v| *v *= 2.0);
            let (mut dy_1, mut dx, mut dw) = gradients();
            let (mut dy_2, mut want_dx, mut want_dw) = gradients();
            winograd.backward(&x, Images::All(&mut dy_1), Some((&mut dx, update)), &mut dw, double);
            im2col.backward(&x, Images::All(&mut dy_2), Some((&mut want_dx, update)), &mut want_dw, double);
            prop_assert_eq!(dy_1, dy_2);
            assert_close(&dx, &want_dx, 9 * output.channels)?;
            assert_close(&dw, &want_dw, dy.len() / output.channels)?;
        }
    }
}
