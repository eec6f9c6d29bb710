//! Sums of squares and of columns, vectorised with a fixed order of summation.

use crate::nn::kernels::simd::vectorized;

/// Accumulators side by side. Their number is fixed, so the order of summation does not depend on the machine.
pub(crate) const LANES: usize = 16;
/// Values that are summed in f32 before the sum goes to f64. This keeps rounding near 1e-6.
pub(crate) const BLOCK: usize = 1024;

/// Σ v². The result shows NaN and infinity.
///
/// ```
/// assert_eq!(lrpilot::nn::kernels::sums::sum_sq(&[3.0, 4.0]), 25.0);
/// ```
pub fn sum_sq(values: &[f32]) -> f64 {
    vectorized(
        #[inline(always)]
        || values.chunks(BLOCK).map(block_sum_sq).sum(),
    )
}

#[inline(always)]
fn block_sum_sq(block: &[f32]) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = block.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += v * v;
        }
    }
    let tail: f64 = rest.iter().map(|v| f64::from(v * v)).sum();
    lanes.iter().map(|l| f64::from(*l)).sum::<f64>() + tail
}

/// Adds each column of `rows: [·][sums.len()]` to its entry of `sums`. The length of the scratch space `slab` is a multiple
/// of the number of columns.
pub(crate) fn add_column_sums(rows: &[f32], slab: &mut [f32], sums: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            slab.fill(0.0);
            for rows in rows.chunks(slab.len()) {
                slab.iter_mut().zip(rows).for_each(|(s, v)| *s += v);
            }
            for row in slab.chunks_exact(sums.len()) {
                sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::sum_sq;

    #[test]
    fn matches_the_definition_in_f64_and_shows_nan() {
        for n in [0, 1, 15, 16, 17, 1024, 5000] {
            let v: Vec<f32> = (0..n).map(|i| (i as f32).sin()).collect();
            let want: f64 = v.iter().map(|x| f64::from(*x).powi(2)).sum();
            assert!((sum_sq(&v) - want).abs() <= 1e-5 * want.max(1.0), "n = {n}");
        }
        assert!(sum_sq(&[1.0, f32::NAN]).is_nan());
        assert_eq!(sum_sq(&[f32::INFINITY; 20]), f64::INFINITY);
    }
}
