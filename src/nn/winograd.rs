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
//! Neighbouring tiles lie in neighbouring lanes of a vector, so rows are split into even and odd columns first.
//! Vectors may run over the end of a row: what they write there is overwritten by the next one, and every buffer has
//! room for one vector more.

use crate::nn::gemm::{Trans, Update, matmul_strided};
use crate::nn::layer::Shape;
use crate::nn::simd::vectorized;
use crate::nn::unfold::copy_run;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Lanes of the widest vector; the room for running over.
const LANES: usize = 16;
/// Values of a tile.
const COMPONENTS: usize = 16;
/// Tiles worth a matrix product: smaller images are transformed several at a time.
const ENOUGH_TILES: usize = 64;

/// Scratch space of one layer for a group of images; small enough for a level-2 cache with the networks of this crate.
pub(crate) struct Winograd {
    input: Shape,
    output: Shape,
    padding: usize,
    grid: Grid,
    /// Images transformed together.
    group: usize,
    /// `U: [component][output channel][input channel]` and its gradient.
    weights: Vec<f32>,
    d_weights: Vec<f32>,
    /// `V` or `Z`.
    inputs: Tiles,
    /// The products or `D`.
    outputs: Tiles,
    /// A plane of the input with its padding, of the output and, in two overlapping parts, of the input's gradient.
    x: Frame,
    y: Frame,
    dx: [Frame; 2],
    /// A plane, its rows in one piece.
    plane: Vec<f32>,
}

/// How many tiles cover an image.
#[derive(Clone, Copy)]
struct Grid {
    down: usize,
    across: usize,
}

impl Winograd {
    /// For images of shape `input` with `padding` zeros around them.
    pub fn new(input: Shape, output: Shape, padding: usize) -> Self {
        let grid = Grid { down: output.height.div_ceil(2), across: output.width.div_ceil(2) };
        let tiles = grid.down * grid.across;
        let group = ENOUGH_TILES.div_ceil(tiles);
        let weights = vec![0.0; COMPONENTS * input.channels * output.channels];
        let frame = |rows: usize| Frame::new(rows, grid.across + padding);
        Winograd {
            input,
            output,
            padding,
            grid,
            group,
            d_weights: weights.clone(),
            weights,
            inputs: Tiles::new(input.channels, group * tiles),
            outputs: Tiles::new(output.channels, group * tiles),
            x: frame(2 * grid.down + 2),
            y: frame(2 * grid.down),
            dx: [frame(2 * grid.down + 2), frame(2 * grid.down + 2)],
            plane: vec![0.0; (2 * grid.down + 2) * (2 * grid.across + 2) + 2 * LANES],
        }
    }

    /// `y ← w ⋆ x`; `finish` is called with each plane of `y` and its channel.
    pub fn forward(&mut self, w: &[f32], x: &[f32], y: &mut [f32], mut finish: impl FnMut(&mut [f32], Range<usize>)) {
        self.transform_weights(w);
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let (x_len, y_len) = (self.input.len(), self.output.len());
        for (first, y) in y.chunks_mut(self.group * y_len).enumerate() {
            let tiles = y.len() / y_len * self.grid.down * self.grid.across;
            self.transform_inputs(&x[first * self.group * x_len..], y.len() / y_len);
            for (component, u) in self.weights.chunks_exact(outputs * inputs).enumerate() {
                let (v, m) = (self.inputs.component(component), self.outputs.component_mut(component));
                matmul_strided(outputs, tiles, inputs, (u, inputs), Trans::No, v, Trans::No, m, Update::Overwrite);
            }
            self.collect_outputs(y, &mut finish);
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
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let (x_len, y_len) = (self.input.len(), self.output.len());
        self.d_weights.fill(0.0);
        for (first, dy) in dy.chunks_mut(self.group * y_len).enumerate() {
            let (images, x_start, y_start) = (dy.len() / y_len, first * self.group * x_len, first * self.group * y_len);
            let tiles = images * self.grid.down * self.grid.across;
            prepare(dy, y_start..y_start + dy.len());
            self.transform_inputs(&x[x_start..], images);
            self.transform_output_gradients(dy);
            for (component, du) in self.d_weights.chunks_exact_mut(outputs * inputs).enumerate() {
                let (d, v) = (self.outputs.component(component), self.inputs.component(component));
                matmul_strided(outputs, inputs, tiles, d, Trans::No, v, Trans::Yes, (du, inputs), Update::Add);
            }
            let Some(dx) = dx.as_deref_mut() else { continue };
            for (component, u) in self.weights.chunks_exact(outputs * inputs).enumerate() {
                let (d, z) = (self.outputs.component(component), self.inputs.component_mut(component));
                matmul_strided(inputs, tiles, outputs, (u, inputs), Trans::Yes, d, Trans::No, z, Update::Overwrite);
            }
            self.collect_input_gradients(&mut dx[x_start..x_start + images * x_len]);
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
            for i in 0..4 {
                let row = g([columns[0][i], columns[1][i], columns[2][i]]);
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

    /// `V` of the first `images` images of `x`.
    fn transform_inputs(&mut self, x: &[f32], images: usize) {
        let Shape { channels, height, width } = self.input;
        let per_image = self.grid.down * self.grid.across;
        for channel in 0..channels {
            for image in 0..images {
                let plane = &x[(image * channels + channel) * height * width..];
                self.x.load(plane, height, width, self.padding);
                let tiles = self.inputs.from(channel, image * per_image);
                pulp::Arch::new().dispatch(Transform { step: Step::Input, grid: self.grid, tiles, frame: &mut self.x });
            }
        }
    }

    /// `D` of the images of `dy`.
    fn transform_output_gradients(&mut self, dy: &[f32]) {
        let Shape { channels, height, width } = self.output;
        let (images, per_image) = (dy.len() / self.output.len(), self.grid.down * self.grid.across);
        for channel in 0..channels {
            for image in 0..images {
                let plane = &dy[(image * channels + channel) * height * width..];
                self.y.load(plane, height, width, 0);
                let tiles = self.outputs.from(channel, image * per_image);
                let step = Step::OutputGradient;
                pulp::Arch::new().dispatch(Transform { step, grid: self.grid, tiles, frame: &mut self.y });
            }
        }
    }

    /// `y` from the products of its tiles.
    fn collect_outputs(&mut self, y: &mut [f32], finish: &mut impl FnMut(&mut [f32], Range<usize>)) {
        let Shape { channels, height, width } = self.output;
        let (images, per_image) = (y.len() / self.output.len(), self.grid.down * self.grid.across);
        for channel in 0..channels {
            for image in 0..images {
                let tiles = self.outputs.from(channel, image * per_image);
                let step = Step::Output;
                pulp::Arch::new().dispatch(Transform { step, grid: self.grid, tiles, frame: &mut self.y });
                let start = (image * channels + channel) * height * width;
                let to = &mut y[start..start + height * width];
                self.y.store(width, &mut self.plane);
                to.copy_from_slice(&self.plane[..height * width]);
                finish(to, channel..channel + 1);
            }
        }
    }

    /// `dx` from `Z`.
    fn collect_input_gradients(&mut self, dx: &mut [f32]) {
        let Shape { channels, height, width } = self.input;
        let (images, per_image) = (dx.len() / self.input.len(), self.grid.down * self.grid.across);
        let (padded, p) = (2 * self.grid.across + 2, self.padding);
        for channel in 0..channels {
            for image in 0..images {
                let tiles = self.inputs.from(channel, image * per_image);
                let frames = &mut self.dx;
                pulp::Arch::new().dispatch(InputGradient { grid: self.grid, tiles, frames });
                let start = (image * channels + channel) * height * width;
                let to = &mut dx[start..start + height * width];
                let [here, next] = &mut self.dx;
                here.add(next);
                here.store(padded, &mut self.plane);
                for (row, to) in to.chunks_exact_mut(width).enumerate() {
                    copy_run(to, &self.plane[(row + p) * padded + p..][..width]);
                }
            }
        }
    }
}

/// The transformed tiles of a group of images: `[channel][component][tile]`, so that what one plane is turned into stays
/// in a level-1 cache.
struct Tiles {
    values: Vec<f32>,
    /// Between components, and between channels: an odd number of cache lines, or the rows of a product would compete for
    /// the same places in the cache.
    component: usize,
    channel: usize,
}

impl Tiles {
    fn new(channels: usize, tiles: usize) -> Self {
        let component = (tiles + LANES).next_multiple_of(LANES);
        let channel = COMPONENTS * component + LANES;
        Tiles { values: vec![0.0; channels * channel + component], component, channel }
    }

    /// The matrix of a component, a row for each channel, with the distance between rows.
    fn component(&self, i: usize) -> (&[f32], usize) {
        (&self.values[i * self.component..], self.channel)
    }

    fn component_mut(&mut self, i: usize) -> (&mut [f32], usize) {
        (&mut self.values[i * self.component..], self.channel)
    }

    /// The components of `channel` from `tile` on.
    fn from(&mut self, channel: usize, tile: usize) -> From<'_> {
        From { values: &mut self.values[channel * self.channel + tile..], stride: self.component }
    }
}

/// Components that begin at the first tile of a plane.
struct From<'a> {
    values: &'a mut [f32],
    stride: usize,
}

/// The components apart, of one length: that lets the compiler check one index for all of them.
type Components<'a> = [&'a mut [f32]; COMPONENTS];

impl<'a> From<'a> {
    #[inline(always)]
    fn components(self) -> Components<'a> {
        let mut rest = self.values;
        let mut components = Components::default();
        for component in &mut components {
            let (first, others) = rest.split_at_mut(self.stride);
            *component = first;
            rest = others;
        }
        components
    }
}

/// Column `j` of a vector of tiles.
#[inline(always)]
fn column<S: Simd>(tiles: &Components<'_>, j: usize, tile: usize) -> Four<S> {
    [
        vector::<S>(tiles[j], tile),
        vector::<S>(tiles[4 + j], tile),
        vector::<S>(tiles[8 + j], tile),
        vector::<S>(tiles[12 + j], tile),
    ]
}

/// A plane as its even and its odd columns, rows a fixed distance apart.
struct Frame {
    stride: usize,
    even: Vec<f32>,
    odd: Vec<f32>,
}

impl Frame {
    /// Zeros for `rows` rows of `pairs` pairs of columns, and one pair more.
    fn new(rows: usize, pairs: usize) -> Self {
        let stride = (pairs + 1).next_multiple_of(LANES) + LANES;
        let half = vec![0.0; rows * stride];
        Frame { stride, even: half.clone(), odd: half }
    }

    /// The even and the odd columns of a row.
    #[inline(always)]
    fn row(&self, row: usize) -> (&[f32], &[f32]) {
        let start = row * self.stride;
        (&self.even[start..][..self.stride], &self.odd[start..][..self.stride])
    }

    #[inline(always)]
    fn row_mut(&mut self, row: usize) -> (&mut [f32], &mut [f32]) {
        let start = row * self.stride;
        (&mut self.even[start..][..self.stride], &mut self.odd[start..][..self.stride])
    }

    /// Copy the plane that `from` begins with behind `padding` rows and columns of zeros; zeros follow each row
    /// and the last one.
    fn load(&mut self, from: &[f32], height: usize, width: usize, padding: usize) {
        let stride = self.stride;
        // With odd padding the first column of the plane is an odd one.
        let ((first, first_at), (second, second_at)) = match padding % 2 {
            0 => ((&mut self.even, padding / 2), (&mut self.odd, padding / 2)),
            _ => ((&mut self.odd, padding / 2), (&mut self.even, padding / 2 + 1)),
        };
        vectorized(
            #[inline(always)]
            || {
                for row in 0..height {
                    let from = &from[row * width..];
                    let start = (row + padding) * stride;
                    let (mut first_to, mut second_to) = (start + first_at, start + second_at);
                    for i in (0..width).step_by(2 * LANES) {
                        let mut rest = [0.0; 2 * LANES];
                        let pairs = from[i..].first_chunk::<{ 2 * LANES }>().unwrap_or_else(|| {
                            rest[..from.len() - i].copy_from_slice(&from[i..]);
                            &rest
                        });
                        let (a, b) = split(pairs);
                        first[first_to..first_to + LANES].copy_from_slice(&a);
                        second[second_to..second_to + LANES].copy_from_slice(&b);
                        (first_to, second_to) = (first_to + LANES, second_to + LANES);
                    }
                    let end = start + first_at + width.div_ceil(2);
                    first[end..end + LANES].fill(0.0);
                    let end = start + second_at + width / 2;
                    second[end..end + LANES].fill(0.0);
                }
                first[(height + padding) * stride..].fill(0.0);
                second[(height + padding) * stride..].fill(0.0);
            },
        );
    }

    /// Write the rows, `width` columns of each, one after the other to `plane`, which needs room for a vector pair more.
    fn store(&self, width: usize, plane: &mut [f32]) {
        vectorized(
            #[inline(always)]
            || {
                let rows = self.even.chunks_exact(self.stride).zip(self.odd.chunks_exact(self.stride));
                for (row, (even, odd)) in rows.enumerate() {
                    let to = &mut plane[row * width..];
                    let halves = even.as_chunks::<LANES>().0.iter().zip(odd.as_chunks::<LANES>().0);
                    for (i, (even, odd)) in (0..width).step_by(2 * LANES).zip(halves) {
                        to[i..i + 2 * LANES].copy_from_slice(&join(even, odd));
                    }
                }
            },
        );
    }

    /// Add the values of `other`, which stand in the same places.
    fn add(&mut self, other: &Frame) {
        vectorized(
            #[inline(always)]
            || {
                self.even.iter_mut().zip(&other.even).for_each(|(a, b)| *a += b);
                self.odd.iter_mut().zip(&other.odd).for_each(|(a, b)| *a += b);
            },
        );
    }
}

/// Even and odd values apart.
#[inline(always)]
fn split(pairs: &[f32; 2 * LANES]) -> ([f32; LANES], [f32; LANES]) {
    let (mut even, mut odd) = ([0.0; LANES], [0.0; LANES]);
    for i in 0..LANES {
        even[i] = pairs[2 * i];
        odd[i] = pairs[2 * i + 1];
    }
    (even, odd)
}

/// The inverse of [`split`].
#[inline(always)]
fn join(even: &[f32; LANES], odd: &[f32; LANES]) -> [f32; 2 * LANES] {
    let mut pairs = [0.0; 2 * LANES];
    for i in 0..LANES {
        pairs[2 * i] = even[i];
        pairs[2 * i + 1] = odd[i];
    }
    pairs
}

#[inline(always)]
fn vector<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&values[at..at + S::F32_LANES]).0[0]
}

#[inline(always)]
fn put<S: Simd>(values: &mut [f32], at: usize, v: S::f32s) {
    S::as_mut_simd_f32s(&mut values[at..at + S::F32_LANES]).0[0] = v;
}

/// What [`Transform`] does with one plane.
#[derive(Clone, Copy)]
enum Step {
    /// Tiles ← `Bᵀ frame B`.
    Input,
    /// Frame ← `Aᵀ tiles A`.
    Output,
    /// Tiles ← `A frame Aᵀ`.
    OutputGradient,
}

struct Transform<'a> {
    step: Step,
    grid: Grid,
    tiles: From<'a>,
    frame: &'a mut Frame,
}

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Transform { step, grid, tiles, frame } = self;
        let mut tiles = tiles.components();
        for row in 0..grid.down {
            for first in (0..grid.across).step_by(S::F32_LANES) {
                let (tile, at) = (row * grid.across + first, (2 * row, first));
                match step {
                    Step::Input => input_tile(simd, frame, at, &mut tiles, tile),
                    Step::Output => output_tile(simd, frame, at, &tiles, tile),
                    Step::OutputGradient => output_gradient_tile(simd, frame, at, &mut tiles, tile),
                }
            }
        }
    }
}

/// Four vectors, one for each row or column of a tile.
type Four<S> = [<S as Simd>::f32s; 4];

/// `Bᵀ v`.
#[inline(always)]
fn input_transform<S: Simd>(simd: S, v: Four<S>) -> Four<S> {
    [simd.sub_f32s(v[0], v[2]), simd.add_f32s(v[1], v[2]), simd.sub_f32s(v[2], v[1]), simd.sub_f32s(v[3], v[1])]
}

/// `B v`.
#[inline(always)]
fn input_adjoint<S: Simd>(simd: S, v: Four<S>) -> Four<S> {
    let right = simd.sub_f32s(simd.add_f32s(v[1], v[2]), v[0]);
    [v[0], simd.sub_f32s(simd.sub_f32s(v[1], v[2]), v[3]), right, v[3]]
}

/// `Aᵀ v`.
#[inline(always)]
fn output_transform<S: Simd>(simd: S, v: Four<S>) -> [S::f32s; 2] {
    let first = simd.add_f32s(simd.add_f32s(v[0], v[1]), v[2]);
    [first, simd.add_f32s(simd.sub_f32s(v[1], v[2]), v[3])]
}

/// `A v`.
#[inline(always)]
fn output_adjoint<S: Simd>(simd: S, v: [S::f32s; 2]) -> Four<S> {
    [v[0], simd.add_f32s(v[0], v[1]), simd.sub_f32s(v[0], v[1]), v[1]]
}

#[inline(always)]
fn input_tile<S: Simd>(
    simd: S,
    frame: &Frame,
    (first_row, first): (usize, usize),
    tiles: &mut Components<'_>,
    tile: usize,
) {
    let mut rows = [[simd.splat_f32s(0.0); 4]; 4];
    for (i, row) in rows.iter_mut().enumerate() {
        let (even, odd) = frame.row(first_row + i);
        let next = (vector::<S>(even, first + 1), vector::<S>(odd, first + 1));
        *row = input_transform(simd, [vector::<S>(even, first), vector::<S>(odd, first), next.0, next.1]);
    }
    for j in 0..4 {
        let column = input_transform(simd, [rows[0][j], rows[1][j], rows[2][j], rows[3][j]]);
        for (i, v) in column.into_iter().enumerate() {
            put::<S>(tiles[4 * i + j], tile, v);
        }
    }
}

#[inline(always)]
fn output_tile<S: Simd>(
    simd: S,
    frame: &mut Frame,
    (first_row, first): (usize, usize),
    tiles: &Components<'_>,
    tile: usize,
) {
    let mut rows = [[simd.splat_f32s(0.0); 4]; 2];
    for j in 0..4 {
        let [upper, lower] = output_transform(simd, column::<S>(tiles, j, tile));
        rows[0][j] = upper;
        rows[1][j] = lower;
    }
    for (i, row) in rows.into_iter().enumerate() {
        let (to_even, to_odd) = frame.row_mut(first_row + i);
        let [even, odd] = output_transform(simd, row);
        put::<S>(to_even, first, even);
        put::<S>(to_odd, first, odd);
    }
}

#[inline(always)]
fn output_gradient_tile<S: Simd>(
    simd: S,
    frame: &Frame,
    (first_row, first): (usize, usize),
    tiles: &mut Components<'_>,
    tile: usize,
) {
    let mut rows = [[simd.splat_f32s(0.0); 4]; 2];
    for (i, row) in rows.iter_mut().enumerate() {
        let (even, odd) = frame.row(first_row + i);
        *row = output_adjoint(simd, [vector::<S>(even, first), vector::<S>(odd, first)]);
    }
    for j in 0..4 {
        let column = output_adjoint(simd, [rows[0][j], rows[1][j]]);
        for (i, v) in column.into_iter().enumerate() {
            put::<S>(tiles[4 * i + j], tile, v);
        }
    }
}

/// Frames ← `B tiles Bᵀ`, overlapping rows added up: the first frame holds the left pair of columns of each tile, the
/// second one the right pair, which is the left pair of the next tile.
struct InputGradient<'a> {
    grid: Grid,
    tiles: From<'a>,
    frames: &'a mut [Frame; 2],
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let InputGradient { grid: Grid { down, across }, tiles, frames: [here, next] } = self;
        let tiles = tiles.components();
        let zero = simd.splat_f32s(0.0);
        for first in (0..across).step_by(S::F32_LANES) {
            // The two lower rows of the tiles above.
            let mut above = [[zero; 4]; 2];
            for row in 0..=down {
                let mut rows = above;
                if row < down {
                    for j in 0..4 {
                        let z = input_adjoint(simd, column::<S>(&tiles, j, row * across + first));
                        rows[0][j] = simd.add_f32s(above[0][j], z[0]);
                        rows[1][j] = simd.add_f32s(above[1][j], z[1]);
                        above[0][j] = z[2];
                        above[1][j] = z[3];
                    }
                }
                for (i, row_of_tiles) in rows.into_iter().enumerate() {
                    let z = input_adjoint(simd, row_of_tiles);
                    let (even, odd) = here.row_mut(2 * row + i);
                    put::<S>(even, first, z[0]);
                    put::<S>(odd, first, z[1]);
                    let (even, odd) = next.row_mut(2 * row + i);
                    put::<S>(even, first + 1, z[2]);
                    put::<S>(odd, first + 1, z[3]);
                }
            }
        }
        // Lanes beyond the last tile hold values of other tiles.
        for row in 0..2 * down + 2 {
            let (even, odd) = here.row_mut(row);
            even[across..across + LANES].fill(0.0);
            odd[across..across + LANES].fill(0.0);
        }
    }
}
