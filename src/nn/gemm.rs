//! The matrix product: a safe face on the `gemm` crate. The only module with `unsafe`.
#![allow(unsafe_code)]

/// How an operand is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trans {
    /// Row-major as named in the call.
    No,
    /// Row-major storage of the transpose.
    Yes,
}

/// `c ← beta·c + a·b` with `c: [m][n]`, `a: [m][k]`, `b: [k][n]`, all row-major; a transposed operand is stored as
/// `[k][m]` or `[n][k]`.
///
/// # Panics
/// If a slice is shorter than its shape.
///
/// ```
/// use lrpilot::nn::gemm::{matmul, Trans::*};
/// let mut c = [0.0; 2];
/// matmul(1, 2, 2, &[1.0, 2.0], No, &[1.0, 2.0, 3.0, 4.0], No, 0.0, &mut c);
/// assert_eq!(c, [7.0, 10.0]);
/// ```
pub fn matmul(m: usize, n: usize, k: usize, a: &[f32], ta: Trans, b: &[f32], tb: Trans, beta: f32, c: &mut [f32]) {
    assert!(a.len() >= m * k && b.len() >= k * n && c.len() >= m * n, "matmul {m}×{k}·{k}×{n}: slice too short");
    let (a_rs, a_cs) = if ta == Trans::No { (k as isize, 1) } else { (1, m as isize) };
    let (b_rs, b_cs) = if tb == Trans::No { (n as isize, 1) } else { (1, k as isize) };
    // SAFETY: the lengths are checked above and every index m·rs + n·cs stays below them; c is borrowed mutably, so it
    // overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            beta != 0.0,
            a.as_ptr(),
            a_cs,
            a_rs,
            b.as_ptr(),
            b_cs,
            b_rs,
            beta,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition, all four storage combinations, with and without accumulation.
    #[test]
    fn matches_the_definition() {
        let (m, n, k) = (5, 7, 11);
        let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.73).cos()).collect();
        for ta in [Trans::No, Trans::Yes] {
            for tb in [Trans::No, Trans::Yes] {
                for beta in [0.0, 1.0] {
                    let mut c = vec![0.5; m * n];
                    matmul(m, n, k, &a, ta, &b, tb, beta, &mut c);
                    for i in 0..m {
                        for j in 0..n {
                            let at = |p: usize| if ta == Trans::No { a[i * k + p] } else { a[p * m + i] };
                            let bt = |p: usize| if tb == Trans::No { b[p * n + j] } else { b[j * k + p] };
                            let want = beta * 0.5 + (0..k).map(|p| at(p) * bt(p)).sum::<f32>();
                            assert!((c[i * n + j] - want).abs() < 1e-5, "{ta:?} {tb:?} {beta}");
                        }
                    }
                }
            }
        }
    }
}
