//! The transforms of images to tiles and back, a vector of neighbouring channels at a time. No closure is handed to the
//! standard library here: it would not be inlined, and so be compiled without the vector instructions.

use super::COMPONENTS;
use crate::nn::gemm::Update;
use crate::nn::layer::Shape;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// A place that is in no image, also with a few images' lengths added.
const OUTSIDE: usize = usize::MAX / 4;

/// The images of one side of a convolution, and how tiles cover them.
#[derive(Clone, Copy)]
pub struct Plane {
    pub shape: Shape,
    /// The place in the batch that the values at hand begin with.
    pub origin: usize,
    /// Zeros around an image.
    pub padding: usize,
    /// Tiles of an image in a column and in a row.
    pub down: usize,
    pub across: usize,
}

impl Plane {
    /// Where the `N` rows of a row of tiles begin.
    #[inline(always)]
    fn rows<const N: usize>(&self, row: usize) -> [usize; N] {
        let (image, top) = (row / self.down, row % self.down * 2);
        let mut places = [OUTSIDE; N];
        for (i, place) in places.iter_mut().enumerate() {
            let y = (top + i).wrapping_sub(self.padding);
            if y < self.shape.height {
                *place = image * self.shape.len() + y * self.shape.row_len() - self.origin;
            }
        }
        places
    }

    /// Where the `N` columns of a tile are in their row.
    #[inline(always)]
    fn columns<const N: usize>(&self, tile: usize) -> [usize; N] {
        let mut places = [OUTSIDE; N];
        for (i, place) in places.iter_mut().enumerate() {
            let x = (2 * tile + i).wrapping_sub(self.padding);
            if x < self.shape.width {
                *place = x * self.shape.channels;
            }
        }
        places
    }

    /// What is first touched by a row of 4×4 tiles.
    fn begun(&self, row: usize) -> Range<usize> {
        let (image, tile) = (row / self.down, row % self.down);
        let end = |tile: usize| (2 * tile + 2).saturating_sub(self.padding).min(self.shape.height);
        let first = if tile == 0 { 0 } else { end(tile) };
        let start = image * self.shape.len() - self.origin;
        start + first * self.shape.row_len()..start + end(tile + 1) * self.shape.row_len()
    }
}

/// What [`Transform`] does with the images.
pub enum Step<'a> {
    /// Tiles ← `Bᵀ images B`.
    Input(&'a [f32]),
    /// Piece ← `Aᵀ tiles A`.
    Output(&'a mut [f32]),
    /// Tiles ← `A piece Aᵀ`.
    OutputGradient(&'a [f32]),
    /// Images ← `B tiles Bᵀ`, or that added to them, overlapping tiles added up.
    InputGradient(&'a mut [f32], Update),
}

/// One of the steps for some rows of tiles.
pub struct Transform<'a> {
    pub step: Step<'a>,
    pub plane: Plane,
    pub rows: Range<usize>,
    pub tiles: &'a mut [f32],
    /// Distance between components.
    pub component: usize,
}

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Transform { step, plane, rows, tiles, component } = self;
        let mut components = apart(tiles, component);
        match step {
            Step::Input(x) => input(simd, plane, rows, x, &mut components),
            Step::Output(y) => output(simd, plane, rows, y, &components),
            Step::OutputGradient(dy) => output_gradient(simd, plane, rows, dy, &mut components),
            Step::InputGradient(dx, update) => input_gradient(simd, plane, rows, dx, update, &components),
        }
    }
}

/// The components, of one length: that lets the compiler check one index for all of them.
type Components<'a> = [&'a mut [f32]; COMPONENTS];

#[inline(always)]
fn apart(tiles: &mut [f32], component: usize) -> Components<'_> {
    let mut rest = tiles;
    let mut components = Components::default();
    for place in &mut components {
        let (first, others) = rest.split_at_mut(component);
        *place = first;
        rest = others;
    }
    components
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

/// Neighbouring tiles share two columns, which are read and transformed once: channel after channel along a row of tiles.
#[inline(always)]
fn input<S: Simd>(simd: S, plane: Plane, rows: Range<usize>, x: &[f32], tiles: &mut Components<'_>) {
    let channels = plane.shape.channels;
    for (done, row) in rows.enumerate() {
        let ys = plane.rows::<4>(row);
        for channel in (0..channels).step_by(S::F32_LANES) {
            let mut to = done * plane.across * channels + channel;
            let [first, second, ..] = plane.columns::<4>(0);
            let mut left = [vertical(simd, x, ys, first + channel), vertical(simd, x, ys, second + channel)];
            for tile in 0..plane.across {
                let [_, _, third, fourth] = plane.columns::<4>(tile);
                let right = [vertical(simd, x, ys, third + channel), vertical(simd, x, ys, fourth + channel)];
                for i in 0..4 {
                    let row = input_transform(simd, [left[0][i], left[1][i], right[0][i], right[1][i]]);
                    for (j, v) in row.into_iter().enumerate() {
                        put::<S>(tiles[4 * i + j], to, v);
                    }
                }
                left = right;
                to += channels;
            }
        }
    }
}

/// `Bᵀ` of the column at `x_at` in the rows `ys`.
#[inline(always)]
fn vertical<S: Simd>(simd: S, x: &[f32], ys: [usize; 4], x_at: usize) -> Four<S> {
    let mut d = [simd.splat_f32s(0.0); 4];
    for (d, y) in d.iter_mut().zip(ys) {
        *d = vector(simd, x, y + x_at);
    }
    input_transform(simd, d)
}

#[inline(always)]
fn output<S: Simd>(simd: S, plane: Plane, rows: Range<usize>, y: &mut [f32], tiles: &Components<'_>) {
    let mut from = 0;
    for row in rows {
        let ys = plane.rows::<2>(row);
        for tile in 0..plane.across {
            let xs = plane.columns::<2>(tile);
            for channel in (0..plane.shape.channels).step_by(S::F32_LANES) {
                let (mut upper, mut lower) = ([simd.splat_f32s(0.0); 4], [simd.splat_f32s(0.0); 4]);
                for (j, (upper, lower)) in upper.iter_mut().zip(&mut lower).enumerate() {
                    [*upper, *lower] = output_transform(simd, column::<S>(tiles, j, from));
                }
                for (row, y_at) in [upper, lower].into_iter().zip(ys) {
                    for (v, x_at) in output_transform(simd, row).into_iter().zip(xs) {
                        put::<S>(y, y_at + x_at + channel, v);
                    }
                }
                from += S::F32_LANES;
            }
        }
    }
}

#[inline(always)]
fn output_gradient<S: Simd>(simd: S, plane: Plane, rows: Range<usize>, dy: &[f32], tiles: &mut Components<'_>) {
    let mut to = 0;
    for row in rows {
        let ys = plane.rows::<2>(row);
        for tile in 0..plane.across {
            let xs = plane.columns::<2>(tile);
            for channel in (0..plane.shape.channels).step_by(S::F32_LANES) {
                let mut d = [[simd.splat_f32s(0.0); 4]; 2];
                for (d, y) in d.iter_mut().zip(ys) {
                    let [left, right] = xs;
                    *d = output_adjoint(
                        simd,
                        [vector(simd, dy, y + left + channel), vector(simd, dy, y + right + channel)],
                    );
                }
                for j in 0..4 {
                    for (i, v) in output_adjoint(simd, [d[0][j], d[1][j]]).into_iter().enumerate() {
                        put::<S>(tiles[4 * i + j], to, v);
                    }
                }
                to += S::F32_LANES;
            }
        }
    }
}

/// The two columns that a tile shares with the next one are carried on to it instead of being written twice.
#[inline(always)]
fn input_gradient<S: Simd>(
    simd: S,
    plane: Plane,
    rows: Range<usize>,
    dx: &mut [f32],
    update: Update,
    tiles: &Components<'_>,
) {
    let channels = plane.shape.channels;
    for (done, row) in rows.enumerate() {
        if update == Update::Overwrite {
            dx[plane.begun(row)].fill(0.0);
        }
        let ys = plane.rows::<4>(row);
        for channel in (0..channels).step_by(S::F32_LANES) {
            let mut from = done * plane.across * channels + channel;
            let mut carried = [[simd.splat_f32s(0.0); 2]; 4];
            let mut ends = [OUTSIDE; 2];
            for tile in 0..plane.across {
                let [first, second, third, fourth] = plane.columns::<4>(tile);
                let mut columns = [[simd.splat_f32s(0.0); 4]; 4];
                for (j, column_of_z) in columns.iter_mut().enumerate() {
                    *column_of_z = input_adjoint(simd, column::<S>(tiles, j, from));
                }
                for (i, y) in ys.into_iter().enumerate() {
                    let row = [columns[0][i], columns[1][i], columns[2][i], columns[3][i]];
                    let [v0, v1, v2, v3] = input_adjoint(simd, row);
                    let [c0, c1] = carried[i];
                    add_to(simd, dx, y + first + channel, simd.add_f32s(c0, v0));
                    add_to(simd, dx, y + second + channel, simd.add_f32s(c1, v1));
                    carried[i] = [v2, v3];
                }
                ends = [third, fourth];
                from += channels;
            }
            for (y, carried) in ys.into_iter().zip(carried) {
                for (x_at, v) in ends.into_iter().zip(carried) {
                    add_to(simd, dx, y + x_at + channel, v);
                }
            }
        }
    }
}

/// Column `j` of the tiles at `from`.
#[inline(always)]
fn column<S: Simd>(tiles: &Components<'_>, j: usize, from: usize) -> Four<S> {
    let at = |i: usize| S::as_simd_f32s(&tiles[4 * i + j][from..from + S::F32_LANES]).0[0];
    [at(0), at(1), at(2), at(3)]
}

/// The vector at a place, or zeros outside.
#[inline(always)]
fn vector<S: Simd>(simd: S, values: &[f32], at: usize) -> S::f32s {
    match values.get(at..at + S::F32_LANES) {
        Some(values) => S::as_simd_f32s(values).0[0],
        None => simd.splat_f32s(0.0),
    }
}

/// Put a vector at a place, unless that is outside.
#[inline(always)]
fn put<S: Simd>(values: &mut [f32], at: usize, v: S::f32s) {
    if let Some(values) = values.get_mut(at..at + S::F32_LANES) {
        S::as_mut_simd_f32s(values).0[0] = v;
    }
}

/// Add a vector to that at a place, unless that is outside.
#[inline(always)]
fn add_to<S: Simd>(simd: S, values: &mut [f32], at: usize, v: S::f32s) {
    if let Some(values) = values.get_mut(at..at + S::F32_LANES) {
        let place = &mut S::as_mut_simd_f32s(values).0[0];
        *place = simd.add_f32s(*place, v);
    }
}
