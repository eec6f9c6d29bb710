//! What a core can do at most: the matrix product of the `gemm` crate alone.

use crate::pace::{repeat, side_by_side};
use lrpilot::Result;

/// Sides of the square products that are tried; the best counts.
const SIZES: [usize; 5] = [256, 384, 512, 768, 1024];

/// GFLOP/s of square f32 products on `threads` cores.
pub fn rate(threads: usize, seconds: f64) -> Result<f64> {
    let share = seconds / SIZES.len() as f64;
    side_by_side(
        threads,
        |_| Ok(()),
        |()| {
            let rates = SIZES.map(|n| {
                let (a, b, mut c) = (vec![0.5; n * n], vec![0.25; n * n], vec![0.0; n * n]);
                product(n, &a, &b, &mut c);
                repeat(share, || {
                    product(n, &a, &b, &mut c);
                    Ok(2e-9 * (n as f64).powi(3))
                })
            });
            rates.into_iter().try_fold(0.0, |best: f64, rate| Ok(best.max(rate?)))
        },
    )
}

/// `c ← a·b`, all `[n][n]`, on the current thread.
#[allow(unsafe_code)]
fn product(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    assert!([a.len(), b.len(), c.len()].iter().all(|len| *len == n * n));
    let (row, none) = (n as isize, gemm::Parallelism::None);
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    // SAFETY: the strides 1 and n stay inside the n·n values of each slice, and `c` is borrowed mutably.
    unsafe {
        gemm::gemm(n, n, n, c, 1, row, false, a, 1, row, b, 1, row, 0.0, 1.0, false, false, false, none);
    }
}
