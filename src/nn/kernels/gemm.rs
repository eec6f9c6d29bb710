//! The matrix product, for the shapes that small networks have. The only module with `unsafe`.
//!
//! A tile of `C` stays in registers while `k` runs. Operands are read in place, with two exceptions: a transposed `B`, whose
//! rows do not suit vector loads, and operands whose values for a tile compete for the same sets of a level-1 cache. These
//! are packed first, part by part, into buffers that each thread keeps. Every element is one chain of fused multiply-adds in
//! the order of `k`, whatever the tile or the instruction set, so AVX-512, AVX2 and NEON give the same bits.
//!
//! It has no threads (a run is single-threaded), no f64 and no scaling factors.
#![allow(unsafe_code)]
// A matrix product has three sizes, three matrices and their layouts, as in BLAS.
#![allow(clippy::too_many_arguments)]

use crate::nn::kernels::aligned::{AlignedVec, LINE, zeros};
use pulp::{MemMask, Simd, WithSimd};
use std::cell::RefCell;

/// How an operand is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trans {
    /// Row-major as named in the call.
    No,
    /// Row-major storage of the transpose.
    Yes,
}

/// What happens to the old values of `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// They are replaced.
    Overwrite,
    /// The product is added to them.
    Add,
}

/// `c ← a·b` or `c ← c + a·b` with `c: [m][n]`, `a: [m][k]`, `b: [k][n]`, all row-major. A transposed operand is stored
/// as `[k][m]` or `[n][k]`.
///
/// # Panics
/// If a slice is shorter than its shape.
///
/// ```
/// use lrpilot::nn::kernels::gemm::{matmul, Update::*, Trans::*};
/// let mut c = [0.0; 2];
/// matmul(1, 2, 2, &[1.0, 2.0], No, &[1.0, 2.0, 3.0, 4.0], No, &mut c, Overwrite);
/// assert_eq!(c, [7.0, 10.0]);
/// ```
pub fn matmul(m: usize, n: usize, k: usize, a: &[f32], ta: Trans, b: &[f32], tb: Trans, c: &mut [f32], update: Update) {
    let a_stride = if ta == Trans::No { k } else { m };
    let b_stride = if tb == Trans::No { n } else { k };
    matmul_strided(m, n, k, (a, a_stride), ta, (b, b_stride), tb, (c, n), update);
}

/// As [`matmul`], but each slice comes with the distance between its stored rows.
///
/// # Panics
/// If a slice is shorter than its shape or a distance shorter than a row.
pub fn matmul_strided(
    m: usize,
    n: usize,
    k: usize,
    (a, a_stride): (&[f32], usize),
    ta: Trans,
    (b, b_stride): (&[f32], usize),
    tb: Trans,
    (c, c_stride): (&mut [f32], usize),
    update: Update,
) {
    if m * n == 0 {
        return;
    }
    let holds = |len: usize, stride: usize, rows: usize, columns: usize| {
        rows * columns == 0 || (stride >= columns && len >= (rows - 1) * stride + columns)
    };
    let stored =
        |trans: Trans, rows: usize, columns: usize| if trans == Trans::No { (rows, columns) } else { (columns, rows) };
    let ((a_rows, a_columns), (b_rows, b_columns)) = (stored(ta, m, k), stored(tb, k, n));
    assert!(
        holds(a.len(), a_stride, a_rows, a_columns)
            && holds(b.len(), b_stride, b_rows, b_columns)
            && holds(c.len(), c_stride, m, n),
        "matmul {m}×{k}·{k}×{n}: slice or row too short"
    );
    if k == 0 {
        if update == Update::Overwrite {
            c.chunks_mut(c_stride).take(m).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    let (a_row, a_col) = if ta == Trans::No { (a_stride, 1) } else { (1, a_stride) };
    PACKED.with_borrow_mut(|packed| {
        pulp::Arch::new().dispatch(Product { m, n, k, a, a_row, a_col, b, b_stride, tb, c, c_stride, update, packed });
    });
}

/// Rows of `B` in a panel: with the widest vectors a panel is 32 KB, a level-1 cache.
const PANEL_DEPTH: usize = 256;

/// Distance between the rows of `B`, a page, from which on a panel is packed even if it is not transposed. Rows that far
/// apart compete for the same few sets of a level-1 cache.
const SPREAD_RIGHT: usize = 1024;
/// Number of rows of `A` from which on packing such a panel is worth while.
const SHARED_RIGHT: usize = 32;

/// Distance between the values of a transposed `A` that a tile reads, one for each `k`, from which on they compete in the
/// same way.
const SPREAD_LEFT: usize = 128;
/// Number of columns of `C` from which on packing such values is worth while.
const SHARED_LEFT: usize = 256;

thread_local! {
    /// A packed part of `A` and a packed panel of `B`. They grow to the largest size that the thread needs, and stay.
    static PACKED: RefCell<[AlignedVec; 2]> = RefCell::new([zeros(0), zeros(0)]);
}

struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: &'a [f32],
    a_row: usize,
    a_col: usize,
    b: &'a [f32],
    b_stride: usize,
    tb: Trans,
    c: &'a mut [f32],
    c_stride: usize,
    update: Update,
    packed: &'a mut [AlignedVec; 2],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Tiles are as large as the registers allow: AVX-512 and NEON have 32 of them, AVX2 has 16.
        match S::F32_LANES {
            8 => self.run::<S, 6, 12>(simd),
            _ => self.run::<S, 8, 16>(simd),
        }
    }
}

impl Product<'_> {
    /// Goes through panels of two vectors of columns. Tiles have `TWO` rows, or `ONE` if a single vector holds the columns.
    #[inline(always)]
    fn run<S: Simd, const TWO: usize, const ONE: usize>(self, simd: S) {
        let Product { m, n, k, a, a_row, a_col, b, b_stride, tb, c, c_stride, update, packed } = self;
        let [packed_left, packed_right] = packed;
        let width = 2 * S::F32_LANES;
        let spread_left = a_col >= SPREAD_LEFT && n >= SHARED_LEFT;
        if spread_left && packed_left.len() < PANEL_DEPTH.min(k) * m {
            *packed_left = zeros(PANEL_DEPTH.min(k) * m);
        }
        let spread_right = tb == Trans::No && b_stride >= SPREAD_RIGHT && m >= SHARED_RIGHT;
        if (tb == Trans::Yes || spread_right) && packed_right.len() < PANEL_DEPTH.min(k) * width {
            *packed_right = zeros(PANEL_DEPTH.min(k) * width);
        }
        for p in (0..k).step_by(PANEL_DEPTH) {
            let depth = PANEL_DEPTH.min(k - p);
            let add = p > 0 || update == Update::Add;
            let (left, a_row, a_col) = if spread_left {
                pack_transposed(simd, depth, m, &a[p * a_col..], a_col, packed_left, depth);
                (packed_left.as_ptr(), depth, 1)
            } else {
                (a[p * a_col..].as_ptr(), a_row, a_col)
            };
            for j in (0..n).step_by(width) {
                let columns = width.min(n - j);
                let (right, right_row) = match tb {
                    Trans::No if spread_right => {
                        pack(simd, columns, depth, &b[p * b_stride + j..], b_stride, packed_right, width);
                        (packed_right.as_ptr(), width)
                    }
                    Trans::No => (b[p * b_stride + j..].as_ptr(), b_stride),
                    Trans::Yes => {
                        let b = &b[j * b_stride + p..];
                        pack_transposed(simd, columns, depth, b, b_stride, packed_right, width);
                        (packed_right.as_ptr(), width)
                    }
                };
                let panel = Panel { simd, depth, a_row, a_col, right, right_row, columns, c_row: c_stride, add };
                // SAFETY: `matmul_strided` checked that the operands hold their shapes. The tiles read the m rows and
                // columns p..p+depth of A (or of its packed copy), rows p..p+depth and columns j..j+columns of B (or of
                // its packed copy), and read and write that part of C, which is borrowed mutably and so overlaps neither.
                unsafe { panel.tiles::<TWO, ONE>(m, left, c.as_mut_ptr().add(j)) };
            }
        }
    }
}

/// The operands that the tiles of one panel share.
struct Panel<S> {
    simd: S,
    depth: usize,
    a_row: usize,
    a_col: usize,
    right: *const f32,
    right_row: usize,
    columns: usize,
    c_row: usize,
    add: bool,
}

impl<S: Simd> Panel<S> {
    /// Computes `rows` rows of the panel, in tiles of `TWO` rows and, at the end, of 4, 2 and 1. Where a single vector holds
    /// the columns, tiles have `ONE` rows, because there would be too few chains of additions otherwise.
    ///
    /// # Safety
    /// `left` and `c` must be valid for `rows` rows as the panel describes them.
    #[inline(always)]
    unsafe fn tiles<const TWO: usize, const ONE: usize>(&self, rows: usize, left: *const f32, c: *mut f32) {
        let mut done = 0;
        while done < rows {
            let (left, c) = (left.wrapping_add(done * self.a_row), c.wrapping_add(done * self.c_row));
            // SAFETY: passed on to the caller; `done + tile ≤ rows`.
            done += unsafe {
                match rows - done {
                    r if r >= ONE && self.columns <= S::F32_LANES => self.columns::<ONE, 1>(left, c),
                    // With AVX2, powers of two often leave eight rows; four and four keep the adders busier than six and two.
                    8 if TWO == 6 => self.columns::<4, 2>(left, c),
                    r if r >= TWO => self.columns::<TWO, 2>(left, c),
                    4.. => self.columns::<4, 2>(left, c),
                    2.. => self.columns::<2, 2>(left, c),
                    _ => self.columns::<1, 2>(left, c),
                }
            };
        }
    }

    /// Computes a tile of as many vectors, at most `NV`, as cover the panel's columns. Returns its number of rows.
    #[inline(always)]
    unsafe fn columns<const MR: usize, const NV: usize>(&self, left: *const f32, c: *mut f32) -> usize {
        let lanes = S::F32_LANES;
        // SAFETY: passed on to the caller; the vectors cover `columns` and the last one is masked to them.
        unsafe {
            match self.columns {
                all if all == lanes => self.tile::<MR, 1, false>(left, c),
                some if some < lanes => self.tile::<MR, 1, true>(left, c),
                all if NV == 2 && all == 2 * lanes => self.tile::<MR, 2, false>(left, c),
                _ => self.tile::<MR, NV, true>(left, c),
            }
        }
    }

    /// Computes one tile of `MR` rows × `NV` vectors in registers. Returns its number of rows.
    #[inline(always)]
    unsafe fn tile<const MR: usize, const NV: usize, const TAIL: bool>(&self, left: *const f32, c: *mut f32) -> usize {
        let (simd, lanes) = (self.simd, S::F32_LANES);
        let mask = simd.mask_between_m32s(0, (self.columns - (NV - 1) * lanes) as u32);
        let masked = |v: usize| TAIL && v == NV - 1;
        let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
        // SAFETY: see `Product::run`; a masked vector touches only the columns that are there.
        unsafe {
            if self.add {
                for (r, row) in acc.iter_mut().enumerate() {
                    for (v, value) in row.iter_mut().enumerate() {
                        *value = load(simd, c.add(r * self.c_row + v * lanes), masked(v), mask);
                    }
                }
            }
            if !self.add {
                // The lines that the sums go to arrive while the sums are computed.
                for r in 0..MR {
                    prefetch(c.wrapping_add(r * self.c_row), NV * lanes);
                }
            }
            let (mut a, mut b) = (left, self.right);
            for _ in 0..self.depth {
                let mut x = [simd.splat_f32s(0.0); NV];
                for (v, x) in x.iter_mut().enumerate() {
                    *x = load(simd, b.add(v * lanes), masked(v), mask);
                }
                for (r, row) in acc.iter_mut().enumerate() {
                    let weight = simd.splat_f32s(*a.add(r * self.a_row));
                    for (value, x) in row.iter_mut().zip(x) {
                        *value = simd.mul_add_e_f32s(weight, x, *value);
                    }
                }
                a = a.wrapping_add(self.a_col);
                b = b.wrapping_add(self.right_row);
            }
            for (r, row) in acc.into_iter().enumerate() {
                for (v, value) in row.into_iter().enumerate() {
                    let to = c.add(r * self.c_row + v * lanes);
                    if masked(v) {
                        simd.mask_store_ptr_f32s(mask, to, value);
                    } else {
                        to.cast::<S::f32s>().write_unaligned(value);
                    }
                }
            }
        }
        MR
    }
}

/// `to[c][r] ← from[r][c]` for the matrix `from: [rows][columns]`. The rows of both have no gaps.
///
/// # Panics
/// If a slice is shorter than the matrix.
pub(crate) fn transpose(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
    struct Transpose<'a>(&'a [f32], usize, usize, &'a mut [f32]);
    impl WithSimd for Transpose<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Transpose(from, rows, columns, to) = self;
            pack_transposed(simd, rows, columns, from, columns, to, rows);
        }
    }
    if rows * columns > 0 {
        pulp::Arch::new().dispatch(Transpose(from, rows, columns, to));
    }
}

/// # Safety
/// `from` must be readable for a vector, or for the lanes of `mask` if `masked`.
#[inline(always)]
unsafe fn load<S: Simd>(simd: S, from: *const f32, masked: bool, mask: MemMask<S::m32s>) -> S::f32s {
    // SAFETY: passed on to the caller.
    unsafe { if masked { simd.mask_load_ptr_f32s(mask, from) } else { from.cast::<S::f32s>().read_unaligned() } }
}

/// Prefetches the cache lines of `count` values. The address need not be valid or aligned.
#[inline(always)]
fn prefetch(first: *const f32, count: usize) {
    const VALUES: usize = LINE / size_of::<f32>();
    for line in 0..count.div_ceil(VALUES) {
        let address = first.wrapping_add(line * VALUES);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has the instruction, and it reads nothing.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast())
        };
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
}

/// `to[p][j] = b[p][j]` for `j < columns`. Rows of `b` are `stride` apart and rows of `to` are `width` apart. The columns after
/// these are prefetched, because the rows are too far apart for the processor to predict them.
#[inline(always)]
fn pack<S: Simd>(_: S, columns: usize, depth: usize, b: &[f32], stride: usize, to: &mut [f32], width: usize) {
    for p in 0..depth {
        let (from, to) = (&b[p * stride..][..columns], &mut to[p * width..][..columns]);
        if columns == 2 * S::F32_LANES {
            prefetch(b.as_ptr().wrapping_add(p * stride + width), width);
            // Whole vectors are copied one by one: for so few bytes a call of `memcpy` takes longer than the copy.
            for v in [0, S::F32_LANES] {
                to[v..][..S::F32_LANES].copy_from_slice(&from[v..][..S::F32_LANES]);
            }
        } else {
            to.copy_from_slice(from);
        }
    }
}

/// `to[p][j] = b[j][p]` for `j < columns`. Rows of `b` are `stride` apart and rows of `to` are `width` apart.
#[inline(always)]
fn pack_transposed<S: Simd>(
    _: S,
    columns: usize,
    depth: usize,
    b: &[f32],
    stride: usize,
    to: &mut [f32],
    width: usize,
) {
    assert!(b.len() >= (columns - 1) * stride + depth && to.len() >= (depth - 1) * width + columns);
    let (whole_columns, whole_depth) = if is_wide::<S>() { (columns / 8 * 8, depth / 8 * 8) } else { (0, 0) };
    for j in (0..whole_columns).step_by(8) {
        for p in (0..whole_depth).step_by(8) {
            // SAFETY: rows j..j+8 and columns p..p+8 of `b` lie inside it, and so do the values of `to` that
            // they are copied to: both were checked above.
            unsafe {
                transpose_block(b.as_ptr().add(j * stride + p), stride, to.as_mut_ptr().add(p * width + j), width)
            };
        }
    }
    for j in 0..columns {
        let first = if j < whole_columns { whole_depth } else { 0 };
        for p in first..depth {
            to[p * width + j] = b[j * stride + p];
        }
    }
}

/// Whether vectors are at least as wide as the block that [`transpose_block`] moves.
const fn is_wide<S: Simd>() -> bool {
    cfg!(target_arch = "x86_64") && S::F32_LANES >= 8
}

/// Transposes 8×8 values. In each 128-bit lane, unpacking and shuffling transposes a 4×4 block.
///
/// # Safety
/// Both pointers must be valid for 8 rows of 8 values, `stride` and `width` apart, and the machine must have AVX.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_block(from: *const f32, stride: usize, to: *mut f32, width: usize) {
    use std::arch::x86_64::*;
    // SAFETY: passed on to the caller.
    unsafe {
        for half in 0..2 {
            let pair = |r: usize| {
                let at = |r: usize| _mm_loadu_ps(from.add(r * stride + 4 * half));
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(at(r)), at(r + 4))
            };
            let (r0, r1, r2, r3) = (pair(0), pair(1), pair(2), pair(3));
            let (lo01, hi01) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
            let (lo23, hi23) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
            let columns = [
                _mm256_shuffle_ps::<0x44>(lo01, lo23),
                _mm256_shuffle_ps::<0xee>(lo01, lo23),
                _mm256_shuffle_ps::<0x44>(hi01, hi23),
                _mm256_shuffle_ps::<0xee>(hi01, hi23),
            ];
            for (c, column) in columns.into_iter().enumerate() {
                _mm256_storeu_ps(to.add((4 * half + c) * width), column);
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn transpose_block(_: *const f32, _: usize, _: *mut f32, _: usize) {
    unreachable!("`is_wide` is false on this architecture")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trans() -> impl Strategy<Value = Trans> {
        prop_oneof![Just(Trans::No), Just(Trans::Yes)]
    }

    /// Whether the machine's vectors have fused multiply-adds.
    #[cfg(target_arch = "x86_64")]
    fn fuses() -> bool {
        pulp::x86::V3::try_new().is_some()
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn fuses() -> bool {
        cfg!(target_arch = "aarch64")
    }

    proptest! {
        /// The product equals the definition bit for bit: every element is one chain of fused multiply-adds.
        #[test]
        fn is_the_definition(
            m in 1usize..40, n in prop_oneof![3 => 1usize..70, 1 => SHARED_LEFT..SHARED_LEFT + 30], k in 1usize..300,
            ta in trans(), tb in trans(), add: bool, seed: u32,
            apart in prop_oneof![3 => 0usize..20, 1 => Just(SPREAD_LEFT), 1 => Just(SPREAD_RIGHT)],
        ) {
            let value = |i: usize| ((i as f32 + seed as f32 * 1e-6) * 0.7391).sin();
            let stride = |trans, rows: usize, columns: usize| apart + if trans == Trans::No { columns } else { rows };
            let (a_stride, b_stride, c_stride) = (stride(ta, m, k), stride(tb, k, n), n + apart);
            let fill = |start: usize, len: usize| (0..len).map(|i| value(i + start)).collect::<Vec<f32>>();
            let (a, b) = (fill(0, m.max(k) * a_stride), fill(13, n.max(k) * b_stride));
            let before = fill(29, m * c_stride);
            let mut c = before.clone();
            let update = if add { Update::Add } else { Update::Overwrite };
            matmul_strided(m, n, k, (&a, a_stride), ta, (&b, b_stride), tb, (&mut c, c_stride), update);
            let fused = fuses();
            for i in 0..m {
                for j in 0..n {
                    let mut want = if add { before[i * c_stride + j] } else { 0.0 };
                    for p in 0..k {
                        let x = if ta == Trans::No { a[i * a_stride + p] } else { a[p * a_stride + i] };
                        let y = if tb == Trans::No { b[p * b_stride + j] } else { b[j * b_stride + p] };
                        want = if fused { x.mul_add(y, want) } else { x * y + want };
                    }
                    prop_assert_eq!(c[i * c_stride + j].to_bits(), want.to_bits(), "{}, {}", i, j);
                }
                // The values between the rows stay as they were.
                let between = i * c_stride + n..(i + 1) * c_stride;
                prop_assert_eq!(&c[between.clone()], &before[between]);
            }
        }
    }
}
