//! Memory that begins at a cache line. A vector load that crosses two lines costs two; where the allocator puts a large
//! `Vec`, every second one of AVX2 would.

use aligned_vec::{AVec, ConstAlign};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// A vector of values that begins at a cache line; used as a slice.
pub type AlignedVec = AVec<f32, ConstAlign<LINE>>;

/// `len` zeros.
///
/// ```
/// let mut v = lrpilot::nn::aligned::zeros(3);
/// v[0] = 1.0;
/// assert_eq!(v[..], [1.0, 0.0, 0.0]);
/// assert!(v.as_ptr().addr().is_multiple_of(64));
/// ```
pub fn zeros(len: usize) -> AlignedVec {
    let mut values = AlignedVec::new(LINE);
    values.resize(len, 0.0);
    values
}
