//! Planes split into even and odd columns, and the tiles that they are transformed to: the scratch space of
//! [`Winograd`](super::Winograd).

use super::{COMPONENTS, LANES};
use crate::nn::simd::vectorized;

/// The transformed tiles of a group of images: `[channel][component][tile]`, so that what one plane is turned into stays
/// in a level-1 cache.
pub struct Tiles {
    values: Vec<f32>,
    /// Between components, and between channels: an odd number of cache lines, or the rows of a product would compete for
    /// the same places in the cache.
    component: usize,
    channel: usize,
}

impl Tiles {
    pub fn new(channels: usize, tiles: usize) -> Self {
        let component = (tiles + LANES).next_multiple_of(LANES);
        let channel = COMPONENTS * component + LANES;
        Tiles { values: vec![0.0; channels * channel + component], component, channel }
    }

    /// The matrix of a component, a row for each channel, with the distance between rows.
    pub fn component(&self, i: usize) -> (&[f32], usize) {
        (&self.values[i * self.component..], self.channel)
    }

    pub fn component_mut(&mut self, i: usize) -> (&mut [f32], usize) {
        (&mut self.values[i * self.component..], self.channel)
    }

    pub fn of(&mut self, channel: usize) -> Plane<'_> {
        Plane { values: &mut self.values[channel * self.channel..], stride: self.component }
    }
}

/// The tiles of one channel.
pub struct Plane<'a> {
    values: &'a mut [f32],
    stride: usize,
}

/// The components apart, of one length: that lets the compiler check one index for all of them.
pub type Components<'a> = [&'a mut [f32]; COMPONENTS];

impl<'a> Plane<'a> {
    #[inline(always)]
    pub fn components(self) -> Components<'a> {
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

/// A plane as its even and its odd columns, rows a fixed distance apart.
pub struct Frame {
    stride: usize,
    pub even: Vec<f32>,
    pub odd: Vec<f32>,
}

impl Frame {
    /// Zeros for `rows` rows of `pairs` pairs of columns, and one pair more.
    pub fn new(rows: usize, pairs: usize) -> Self {
        let stride = (pairs + 1).next_multiple_of(LANES) + LANES;
        let half = vec![0.0; rows * stride];
        Frame { stride, even: half.clone(), odd: half }
    }

    /// The even and the odd columns of a row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> (&[f32], &[f32]) {
        let start = row * self.stride;
        (&self.even[start..][..self.stride], &self.odd[start..][..self.stride])
    }

    #[inline(always)]
    pub fn row_mut(&mut self, row: usize) -> (&mut [f32], &mut [f32]) {
        let start = row * self.stride;
        (&mut self.even[start..][..self.stride], &mut self.odd[start..][..self.stride])
    }

    /// Copy the rows of the plane that `from` begins with, its row `first` (perhaps outside) to the first row here, behind
    /// `padding` columns of zeros to the pairs from `pair` on. Zeros stand for rows outside and follow the others.
    pub fn load(&mut self, from: &[f32], (height, width): (usize, usize), first: isize, padding: usize, pair: usize) {
        let stride = self.stride;
        // With odd padding the first column of the plane is an odd one.
        let ((a, a_at), (b, b_at)) = match padding % 2 {
            0 => ((&mut self.even[..], padding / 2), (&mut self.odd[..], padding / 2)),
            _ => ((&mut self.odd[..], padding / 2), (&mut self.even[..], padding / 2 + 1)),
        };
        vectorized(
            #[inline(always)]
            move || {
                for (i, (a, b)) in a.chunks_exact_mut(stride).zip(b.chunks_exact_mut(stride)).enumerate() {
                    let row = (first + i as isize) as usize;
                    if row >= height {
                        a.fill(0.0);
                        b.fill(0.0);
                        continue;
                    }
                    let (a, b) = (&mut a[pair + a_at..], &mut b[pair + b_at..]);
                    for i in (0..width).step_by(2 * LANES) {
                        let (even, odd) = match from[row * width + i..].first_chunk() {
                            Some(pairs) => split(pairs),
                            None => split(&padded_chunk(&from[row * width + i..])),
                        };
                        a[i / 2..i / 2 + LANES].copy_from_slice(&even);
                        b[i / 2..i / 2 + LANES].copy_from_slice(&odd);
                    }
                    a[width.div_ceil(2)..][..LANES].copy_from_slice(&[0.0; LANES]);
                    b[width / 2..][..LANES].copy_from_slice(&[0.0; LANES]);
                }
            },
        );
    }

    /// Write the first `rows` rows, `width` columns of each from `pair` on, one after the other to `plane`, which needs room
    /// for a vector pair more; `other` is added, if there is one.
    pub fn store(&self, rows: usize, pair: usize, other: Option<&Frame>, width: usize, plane: &mut [f32]) {
        let (stride, even, odd) = (self.stride, &self.even[..], &self.odd[..]);
        vectorized(
            #[inline(always)]
            move || {
                for (row, (even, odd)) in even.chunks_exact(stride).zip(odd.chunks_exact(stride)).take(rows).enumerate()
                {
                    let to = &mut plane[row * width..];
                    for i in (0..width).step_by(2 * LANES) {
                        let at = pair + i / 2;
                        let (mut even, mut odd) = (chunk(even, at), chunk(odd, at));
                        if let Some(other) = other {
                            add(&mut even, &chunk(&other.even, row * stride + at));
                            add(&mut odd, &chunk(&other.odd, row * stride + at));
                        }
                        to[i..i + 2 * LANES].copy_from_slice(&join(&even, &odd));
                    }
                }
            },
        );
    }
}

#[inline(always)]
fn chunk(values: &[f32], at: usize) -> [f32; LANES] {
    let mut chunk = [0.0; LANES];
    chunk.copy_from_slice(&values[at..at + LANES]);
    chunk
}

#[inline(always)]
fn add(to: &mut [f32; LANES], values: &[f32; LANES]) {
    for i in 0..LANES {
        to[i] += values[i];
    }
}

/// The end of a batch, with zeros after it.
#[cold]
fn padded_chunk(end: &[f32]) -> [f32; 2 * LANES] {
    let mut chunk = [0.0; 2 * LANES];
    chunk[..end.len()].copy_from_slice(end);
    chunk
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
