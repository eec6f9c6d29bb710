//! Memory that begins at a cache line. A vector load that crosses two lines costs two; where the allocator puts a large
//! `Vec`, every second one of AVX2 would.

use aligned_vec::{AVec, ConstAlign};
use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a cache line, and of the widest vector.
pub(crate) const LINE: usize = 64;
/// Bytes of a page.
const PAGE: usize = 4096;
/// Values from which on an array's place in its page is chosen.
const LARGE: usize = 16 * PAGE / size_of::<f32>();

/// A fixed number of values that begin at a cache line; used as a slice.
///
/// Large ones begin at different lines of a page. Arrays that are walked through side by side, as weights, gradient and
/// momentum are, would otherwise look the same to AMD's caches, which guess by the lower part of an address: with bad
/// luck an optimizer's step then takes one and a half times as long, or twice.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "Vec<f32>", into = "Vec<f32>")]
pub struct AlignedVec {
    values: AVec<f32, ConstAlign<LINE>>,
    first: usize,
    len: usize,
}

/// `len` zeros.
///
/// ```
/// let mut v = lrpilot::nn::kernels::aligned::zeros(3);
/// v[0] = 1.0;
/// assert_eq!(v[..], [1.0, 0.0, 0.0]);
/// assert!(v.as_ptr().addr().is_multiple_of(64));
/// ```
pub fn zeros(len: usize) -> AlignedVec {
    static LARGE_ONES: AtomicUsize = AtomicUsize::new(0);
    let mut values = AVec::new(LINE);
    if len < LARGE {
        values.resize(len, 0.0);
        return AlignedVec { values, first: 0, len };
    }
    values.resize(len + PAGE / size_of::<f32>(), 0.0);
    // An odd number of lines on: all lines of a page have their turn.
    let wanted = LARGE_ONES.fetch_add(1, Ordering::Relaxed).wrapping_mul(17 * LINE);
    let first = wanted.wrapping_sub(values.as_ptr().addr()) % PAGE / size_of::<f32>();
    AlignedVec { values, first, len }
}

impl Deref for AlignedVec {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.first..][..self.len]
    }
}

impl DerefMut for AlignedVec {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.first..][..self.len]
    }
}

impl Clone for AlignedVec {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl PartialEq for AlignedVec {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl From<&[f32]> for AlignedVec {
    fn from(values: &[f32]) -> Self {
        let mut copy = zeros(values.len());
        copy.copy_from_slice(values);
        copy
    }
}

impl From<Vec<f32>> for AlignedVec {
    fn from(values: Vec<f32>) -> Self {
        Self::from(&values[..])
    }
}

impl From<AlignedVec> for Vec<f32> {
    fn from(values: AlignedVec) -> Self {
        values.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_arrays_of_one_length_begin_at_different_lines_of_a_page() {
        let arrays = vec![zeros(LARGE); 4];
        let mut places: Vec<usize> = arrays.iter().map(|a| a.as_ptr().addr() % PAGE).collect();
        assert!(places.iter().all(|p| p.is_multiple_of(LINE)) && arrays.iter().all(|a| a.len() == LARGE));
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 4);
    }
}
