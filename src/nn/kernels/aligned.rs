//! Memory that begins at a cache line. A vector load that crosses two lines costs as much as two loads, and at the address
//! that the allocator gives a large `Vec`, every second load of AVX2 would do so.

use aligned_vec::{AVec, ConstAlign};
use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a cache line, and of the widest vector.
pub(crate) const LINE: usize = 64;
/// Bytes of a page.
const PAGE: usize = 4096;
/// Arrays of at least this many values begin at a chosen line of their page.
const LARGE: usize = 16 * PAGE / size_of::<f32>();

/// A fixed number of values that begin at a cache line. It is used as a slice.
///
/// Large arrays begin at different lines of a page. AMD's caches predict by the lower part of an address, so arrays that are
/// read side by side, as weights, gradient and momentum are, would otherwise be mistaken for each other: an optimizer's step
/// could take up to twice as long.
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
    static LARGE_ARRAYS: AtomicUsize = AtomicUsize::new(0);
    let mut values = AVec::new(LINE);
    if len < LARGE {
        values.resize(len, 0.0);
        return AlignedVec { values, first: 0, len };
    }
    values.resize(len + PAGE / size_of::<f32>(), 0.0);
    // The step is an odd number of lines, so that all lines of a page have their turn.
    let wanted = LARGE_ARRAYS.fetch_add(1, Ordering::Relaxed).wrapping_mul(17 * LINE);
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
        let mut offsets: Vec<usize> = arrays.iter().map(|a| a.as_ptr().addr() % PAGE).collect();
        assert!(offsets.iter().all(|p| p.is_multiple_of(LINE)) && arrays.iter().all(|a| a.len() == LARGE));
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), 4);
    }
}
