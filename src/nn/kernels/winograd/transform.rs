//! The transforms of images to tiles and back, a vector of neighbouring channels at a time. No closure is handed to the
//! standard library here, because it would not be inlined and would then be compiled without vector instructions.

use super::{A, A2, B, B2, COMPONENTS, OUT, SIDE};
use crate::nn::kernels::gemm::Update;
use crate::nn::model::Shape;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// An index outside of every image. It stays outside if the lengths of a few images are added.
const OUTSIDE: usize = usize::MAX / 4;
/// Rows and columns that neighbouring tiles share.
const SHARED: usize = SIDE - OUT;

/// The images of one side of a convolution, and how tiles cover them.
#[derive(Clone, Copy)]
pub struct Plane {
    pub shape: Shape,
    /// Index in the batch of the first value of the slice at hand.
    pub origin: usize,
    /// Zeros around an image.
    pub padding: usize,
    /// Tiles of an image in a column and in a row.
    pub down: usize,
    pub across: usize,
}

impl Plane {
    /// Where each of the `N` rows of a row of tiles begins, or [`OUTSIDE`].
    #[inline(always)]
    fn rows<const N: usize>(&self, row: usize) -> [usize; N] {
        let (image, top) = (row / self.down, row % self.down * OUT);
        let mut starts = [OUTSIDE; N];
        for (i, start) in starts.iter_mut().enumerate() {
            let y = (top + i).wrapping_sub(self.padding);
            if y < self.shape.height {
                *start = image * self.shape.len() + y * self.shape.row_len() - self.origin;
            }
        }
        starts
    }

    /// Where each of the `N` columns of a tile begins in its row, or [`OUTSIDE`].
    #[inline(always)]
    fn columns<const N: usize>(&self, tile: usize) -> [usize; N] {
        let mut starts = [OUTSIDE; N];
        for (i, start) in starts.iter_mut().enumerate() {
            let x = (OUT * tile + i).wrapping_sub(self.padding);
            if x < self.shape.width {
                *start = x * self.shape.channels;
            }
        }
        starts
    }

    /// The range that a row of tiles is the first one to cover.
    fn first_covered(&self, row: usize) -> Range<usize> {
        let (image, tile) = (row / self.down, row % self.down);
        let end = |tile: usize| (OUT * tile + SHARED).saturating_sub(self.padding).min(self.shape.height);
        let first = if tile == 0 { 0 } else { end(tile) };
        let start = image * self.shape.len() - self.origin;
        start + first * self.shape.row_len()..start + end(tile + 1) * self.shape.row_len()
    }
}

/// What [`Transform`] does with the images.
pub enum Step<'a> {
    /// Tiles ← `Bᵀ images B`.
    Input(&'a [f32]),
    /// Chunk of the output ← `Aᵀ tiles A`.
    Output(&'a mut [f32]),
    /// Tiles ← `A chunk Aᵀ`.
    OutputGradient(&'a [f32]),
    /// Images ← `B tiles Bᵀ`, or images ← images + `B tiles Bᵀ`; overlapping tiles are added up.
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

/// The components. They have one length, so the compiler checks one index for all of them.
type Components<'a> = [&'a mut [f32]; COMPONENTS];

#[inline(always)]
fn apart(tiles: &mut [f32], component: usize) -> Components<'_> {
    let mut components = tiles.chunks_exact_mut(component);
    std::array::from_fn(|_| components.next().unwrap_or_default())
}

/// One vector for each row or column of a tile.
type Line<S> = [<S as Simd>::f32s; SIDE];

/// One vector for each row or column of a tile's output.
type Short<S> = [<S as Simd>::f32s; OUT];

/// `c x`.
#[inline(always)]
fn times<S: Simd>(simd: S, c: f32, x: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(c), x)
}

/// `c x + y`.
#[inline(always)]
fn plus<S: Simd>(simd: S, c: f32, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(c), x, y)
}

/// The contributions of even and of odd powers, from the values at a point and at its negative.
#[inline(always)]
fn parts<S: Simd>(simd: S, point: f32, plus: S::f32s, minus: S::f32s) -> (S::f32s, S::f32s) {
    (simd.add_f32s(plus, minus), times(simd, point, simd.sub_f32s(plus, minus)))
}

/// `Bᵀ v`.
#[inline(always)]
fn input_transform<S: Simd>(simd: S, v: Line<S>) -> Line<S> {
    let (even_a, odd_a) = (plus(simd, -B2, v[2], v[4]), plus(simd, -B2, v[1], v[3]));
    let (even_b, odd_b) = (plus(simd, -A2, v[2], v[4]), plus(simd, -A2, v[1], v[3]));
    [
        plus(simd, A2 * B2, v[0], plus(simd, -(A2 + B2), v[2], v[4])),
        plus(simd, A, odd_a, even_a),
        plus(simd, -A, odd_a, even_a),
        plus(simd, B, odd_b, even_b),
        plus(simd, -B, odd_b, even_b),
        plus(simd, A2 * B2, v[1], plus(simd, -(A2 + B2), v[3], v[5])),
    ]
}

/// `B v`.
#[inline(always)]
fn input_adjoint<S: Simd>(simd: S, v: Line<S>) -> Line<S> {
    let (even_a, odd_a) = parts(simd, A, v[1], v[2]);
    let (even_b, odd_b) = parts(simd, B, v[3], v[4]);
    let both = |first: f32, second: f32, x, y| plus(simd, first, x, times(simd, second, y));
    [
        times(simd, A2 * B2, v[0]),
        plus(simd, A2 * B2, v[5], both(-B2, -A2, odd_a, odd_b)),
        plus(simd, -(A2 + B2), v[0], both(-B2, -A2, even_a, even_b)),
        plus(simd, -(A2 + B2), v[5], simd.add_f32s(odd_a, odd_b)),
        simd.add_f32s(v[0], simd.add_f32s(even_a, even_b)),
        v[5],
    ]
}

/// `Aᵀ v`.
#[inline(always)]
fn output_transform<S: Simd>(simd: S, v: Line<S>) -> Short<S> {
    let (even_a, odd_a) = parts(simd, A, v[1], v[2]);
    let (even_b, odd_b) = parts(simd, B, v[3], v[4]);
    [
        simd.add_f32s(v[0], simd.add_f32s(even_a, even_b)),
        simd.add_f32s(odd_a, odd_b),
        plus(simd, A2, even_a, times(simd, B2, even_b)),
        plus(simd, A2, odd_a, plus(simd, B2, odd_b, v[5])),
    ]
}

/// `A v`.
#[inline(always)]
fn output_adjoint<S: Simd>(simd: S, v: Short<S>) -> Line<S> {
    let (even_a, odd_a) = (plus(simd, A2, v[2], v[0]), plus(simd, A2, v[3], v[1]));
    let (even_b, odd_b) = (plus(simd, B2, v[2], v[0]), plus(simd, B2, v[3], v[1]));
    [
        v[0],
        plus(simd, A, odd_a, even_a),
        plus(simd, -A, odd_a, even_a),
        plus(simd, B, odd_b, even_b),
        plus(simd, -B, odd_b, even_b),
        v[3],
    ]
}

/// Goes along a row of tiles, channel after channel. Neighbouring tiles share two columns, which are read and transformed
/// once.
#[inline(always)]
fn input<S: Simd>(simd: S, plane: Plane, rows: Range<usize>, x: &[f32], tiles: &mut Components<'_>) {
    let channels = plane.shape.channels;
    for (done, row) in rows.enumerate() {
        let ys = plane.rows::<SIDE>(row);
        for channel in (0..channels).step_by(S::F32_LANES) {
            let mut to = done * plane.across * channels + channel;
            let mut columns = [[simd.splat_f32s(0.0); SIDE]; SIDE];
            let first = plane.columns::<SHARED>(0);
            for (column, x_at) in columns[OUT..].iter_mut().zip(first) {
                *column = vertical(simd, x, ys, x_at + channel);
            }
            for tile in 0..plane.across {
                let xs = plane.columns::<SIDE>(tile);
                (columns[0], columns[1]) = (columns[OUT], columns[OUT + 1]);
                for j in SHARED..SIDE {
                    columns[j] = vertical(simd, x, ys, xs[j] + channel);
                }
                for i in 0..SIDE {
                    let row = input_transform(simd, across::<S, SIDE, SIDE>(&columns, i));
                    for (j, v) in row.into_iter().enumerate() {
                        put::<S>(tiles[SIDE * i + j], to, v);
                    }
                }
                to += channels;
            }
        }
    }
}

/// Row `i` of a block that is stored by columns, or column `i` of one that is stored by rows.
#[inline(always)]
fn across<S: Simd, const N: usize, const M: usize>(columns: &[[S::f32s; N]; M], i: usize) -> [S::f32s; M] {
    let mut row = [columns[0][i]; M];
    for (value, column) in row.iter_mut().zip(columns) {
        *value = column[i];
    }
    row
}

/// `Bᵀ` times the column at `x_at` in the rows `ys`.
#[inline(always)]
fn vertical<S: Simd>(simd: S, x: &[f32], ys: [usize; SIDE], x_at: usize) -> Line<S> {
    let mut d = [simd.splat_f32s(0.0); SIDE];
    for (d, y) in d.iter_mut().zip(ys) {
        *d = vector(simd, x, y + x_at);
    }
    input_transform(simd, d)
}

#[inline(always)]
fn output<S: Simd>(simd: S, plane: Plane, rows: Range<usize>, y: &mut [f32], tiles: &Components<'_>) {
    let mut from = 0;
    for row in rows {
        let ys = plane.rows::<OUT>(row);
        for tile in 0..plane.across {
            let xs = plane.columns::<OUT>(tile);
            for channel in (0..plane.shape.channels).step_by(S::F32_LANES) {
                let mut columns = [[simd.splat_f32s(0.0); OUT]; SIDE];
                for (j, column_of_y) in columns.iter_mut().enumerate() {
                    *column_of_y = output_transform(simd, column::<S>(tiles, j, from));
                }
                for (i, y_at) in ys.into_iter().enumerate() {
                    let row = across::<S, OUT, SIDE>(&columns, i);
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
        let ys = plane.rows::<OUT>(row);
        for tile in 0..plane.across {
            let xs = plane.columns::<OUT>(tile);
            for channel in (0..plane.shape.channels).step_by(S::F32_LANES) {
                let mut d = [[simd.splat_f32s(0.0); SIDE]; OUT];
                for (d, y) in d.iter_mut().zip(ys) {
                    let mut row = [simd.splat_f32s(0.0); OUT];
                    for (v, x_at) in row.iter_mut().zip(xs) {
                        *v = vector(simd, dy, y + x_at + channel);
                    }
                    *d = output_adjoint(simd, row);
                }
                for j in 0..SIDE {
                    let column = output_adjoint(simd, across::<S, SIDE, OUT>(&d, j));
                    for (i, v) in column.into_iter().enumerate() {
                        put::<S>(tiles[SIDE * i + j], to, v);
                    }
                }
                to += S::F32_LANES;
            }
        }
    }
}

/// Goes along a row of tiles, channel after channel. The two columns that a tile shares with the next one are carried over to
/// it instead of being written twice.
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
            dx[plane.first_covered(row)].fill(0.0);
        }
        let ys = plane.rows::<SIDE>(row);
        for channel in (0..channels).step_by(S::F32_LANES) {
            let mut from = done * plane.across * channels + channel;
            let mut carried = [[simd.splat_f32s(0.0); SHARED]; SIDE];
            let mut ends = [OUTSIDE; SHARED];
            for tile in 0..plane.across {
                let xs = plane.columns::<SIDE>(tile);
                let mut columns = [[simd.splat_f32s(0.0); SIDE]; SIDE];
                for (j, column_of_z) in columns.iter_mut().enumerate() {
                    *column_of_z = input_adjoint(simd, column::<S>(tiles, j, from));
                }
                for (i, y) in ys.into_iter().enumerate() {
                    let mut row = input_adjoint(simd, across::<S, SIDE, SIDE>(&columns, i));
                    for (v, carried) in row.iter_mut().zip(carried[i]) {
                        *v = simd.add_f32s(carried, *v);
                    }
                    for j in 0..OUT {
                        add_to(simd, dx, y + xs[j] + channel, row[j]);
                    }
                    carried[i] = [row[OUT], row[OUT + 1]];
                }
                ends = [xs[OUT], xs[OUT + 1]];
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

/// Column `j` of the tile whose values begin at `from` in each component.
#[inline(always)]
fn column<S: Simd>(tiles: &Components<'_>, j: usize, from: usize) -> Line<S> {
    let at = |i: usize| S::as_simd_f32s(&tiles[SIDE * i + j][from..from + S::F32_LANES]).0[0];
    [at(0), at(1), at(2), at(3), at(4), at(5)]
}

/// The vector at index `at`, or zeros outside.
#[inline(always)]
fn vector<S: Simd>(simd: S, values: &[f32], at: usize) -> S::f32s {
    match values.get(at..at + S::F32_LANES) {
        Some(values) => S::as_simd_f32s(values).0[0],
        None => simd.splat_f32s(0.0),
    }
}

/// Writes a vector at index `at`, unless that is outside.
#[inline(always)]
fn put<S: Simd>(values: &mut [f32], at: usize, v: S::f32s) {
    if let Some(values) = values.get_mut(at..at + S::F32_LANES) {
        S::as_mut_simd_f32s(values).0[0] = v;
    }
}

/// Adds a vector to the one at index `at`, unless that is outside.
#[inline(always)]
fn add_to<S: Simd>(simd: S, values: &mut [f32], at: usize, v: S::f32s) {
    if let Some(values) = values.get_mut(at..at + S::F32_LANES) {
        let sum = &mut S::as_mut_simd_f32s(values).0[0];
        *sum = simd.add_f32s(*sum, v);
    }
}
