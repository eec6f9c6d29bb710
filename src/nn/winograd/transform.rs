//! The transforms of planes to tiles and back, a vector of neighbouring tiles at a time.

use super::LANES;
use super::frame::{Components, Frame, Plane};
use pulp::{Simd, WithSimd};

/// How many tiles cover a piece of a group of images.
#[derive(Clone, Copy)]
pub struct Grid {
    pub down: usize,
    pub across: usize,
}

impl Grid {
    pub fn tiles(self) -> usize {
        self.down * self.across
    }
}

/// What [`Transform`] does with one plane.
#[derive(Clone, Copy)]
pub enum Step {
    /// Tiles ← `Bᵀ frame B`.
    Input,
    /// Frame ← `Aᵀ tiles A`.
    Output,
    /// Tiles ← `A frame Aᵀ`.
    OutputGradient,
}

/// One of the steps for all tiles of one channel.
pub struct Transform<'a> {
    pub step: Step,
    pub grid: Grid,
    pub tiles: Plane<'a>,
    pub frame: &'a mut Frame,
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
    let (mut upper, mut lower) = ([simd.splat_f32s(0.0); 4], [simd.splat_f32s(0.0); 4]);
    for (j, (upper, lower)) in upper.iter_mut().zip(&mut lower).enumerate() {
        [*upper, *lower] = output_transform(simd, column::<S>(tiles, j, tile));
    }
    for (i, row) in [upper, lower].into_iter().enumerate() {
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
pub struct InputGradient<'a> {
    pub grid: Grid,
    pub tiles: Plane<'a>,
    pub frames: &'a mut [Frame; 2],
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let InputGradient { grid: Grid { down, across }, tiles, frames: [left, right] } = self;
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
                    let (even, odd) = left.row_mut(2 * row + i);
                    put::<S>(even, first, z[0]);
                    put::<S>(odd, first, z[1]);
                    let (even, odd) = right.row_mut(2 * row + i);
                    put::<S>(even, first + 1, z[2]);
                    put::<S>(odd, first + 1, z[3]);
                }
            }
        }
        // Lanes beyond the last tile hold values of other tiles.
        for row in 0..2 * down + 2 {
            let (even, odd) = left.row_mut(row);
            even[across..across + LANES].fill(0.0);
            odd[across..across + LANES].fill(0.0);
        }
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

#[inline(always)]
fn vector<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&values[at..at + S::F32_LANES]).0[0]
}

#[inline(always)]
fn put<S: Simd>(values: &mut [f32], at: usize, v: S::f32s) {
    S::as_mut_simd_f32s(&mut values[at..at + S::F32_LANES]).0[0] = v;
}
