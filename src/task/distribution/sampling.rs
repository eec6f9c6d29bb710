//! Numbers with the distributions that tasks are drawn from.

use crate::rng::Rng;
use rand::RngExt as _;
use std::f32::consts::TAU;

/// Uniform in [lo, hi), with three significant digits, so that a description is readable.
pub(super) fn uniform(rng: &mut Rng, lo: f64, hi: f64) -> f64 {
    short(lo + (hi - lo) * rng.random::<f64>())
}

/// Uniform in the logarithm, from `lo` to `hi`, both positive, with three significant digits.
pub(super) fn log_uniform(rng: &mut Rng, lo: f64, hi: f64) -> f64 {
    short(lo * (hi / lo).powf(rng.random::<f64>())).clamp(lo, hi)
}

/// A whole number from `lo` to `hi`, both included, uniform in the logarithm.
pub(super) fn log_count(rng: &mut Rng, lo: usize, hi: usize) -> usize {
    let (lo_edge, hi_edge) = (lo as f64 - 0.5, hi as f64 + 0.5);
    let drawn = lo_edge * (hi_edge / lo_edge).powf(rng.random::<f64>());
    (drawn.round() as usize).clamp(lo, hi)
}

/// True with this probability.
pub(super) fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// One of `choices`, all equally probable.
pub(super) fn choose<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

/// Three significant digits.
fn short(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// Standard normal numbers (Box–Muller, both halves).
pub(super) fn fill_normal(rng: &mut Rng, values: &mut [f32]) {
    for pair in values.chunks_mut(2) {
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        let (sine, cosine) = (TAU * rng.random::<f32>()).sin_cos();
        pair[0] = radius * cosine;
        if let Some(second) = pair.get_mut(1) {
            *second = radius * sine;
        }
    }
}

/// `n` standard normal numbers.
pub(super) fn normals(rng: &mut Rng, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    fill_normal(rng, &mut values);
    values
}

/// A number of the standard Gumbel distribution; the class with the largest logit plus such a number has the
/// probability that softmax gives it.
pub(super) fn gumbel(rng: &mut Rng) -> f32 {
    -(-(1.0 - rng.random::<f32>()).ln()).max(f32::MIN_POSITIVE).ln()
}

/// Rotate the rows of `x: [n][width]`, all in the same way: in each of about log₂(width) rounds, the features are paired at
/// random and each pair is turned by a random angle, after which every feature depends on every other.
pub(super) fn rotate(rng: &mut Rng, x: &mut [f32], width: usize) {
    use rand::seq::SliceRandom as _;
    let mut order: Vec<usize> = (0..width).collect();
    for _ in 0..=width.ilog2() {
        order.shuffle(rng);
        let turns: Vec<(usize, usize, f32, f32)> = order
            .chunks_exact(2)
            .map(|pair| {
                let (sine, cosine) = (TAU * rng.random::<f32>()).sin_cos();
                (pair[0], pair[1], sine, cosine)
            })
            .collect();
        for row in x.chunks_exact_mut(width) {
            for &(i, j, sine, cosine) in &turns {
                (row[i], row[j]) = (cosine * row[i] - sine * row[j], sine * row[i] + cosine * row[j]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn normal_numbers_have_the_moments_of_a_standard_normal() {
        let values = normals(&mut stream(1, Purpose::Data, 0), 40_001);
        let moment = |p: i32| values.iter().map(|v| f64::from(*v).powi(p)).sum::<f64>() / values.len() as f64;
        // Standard errors of the first four moments: √(1, 2, 15, 96)/200.
        for (power, want, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0f64)] {
            assert!((moment(power) - want).abs() < 4.0 * variance.sqrt() / 200.0, "{power}: {}", moment(power));
        }
        // Neighbours come from the same pair, and are independent nevertheless.
        let products: f64 = values.chunks_exact(2).map(|p| f64::from(p[0] * p[1])).sum::<f64>() / 20_000.0;
        assert!(products.abs() < 4.0 / 20_000f64.sqrt(), "{products}");
    }

    #[test]
    fn gumbel_noise_gives_softmax_probabilities() {
        let mut rng = stream(2, Purpose::Data, 0);
        let first = (0..20_000).filter(|_| 1.0 + gumbel(&mut rng) > gumbel(&mut rng)).count() as f64 / 20_000.0;
        let want = 1.0 / (1.0 + (-1.0f64).exp());
        assert!((first - want).abs() < 4.0 * (want * (1.0 - want) / 20_000.0).sqrt(), "{first}");
    }

    #[test]
    fn a_rotation_keeps_products_and_mixes_all_features() {
        let width = 12;
        let mut x = vec![0.0; width * width];
        (0..width).for_each(|i| x[i * width + i] = 1.0);
        rotate(&mut stream(3, Purpose::Data, 0), &mut x, width);
        for i in 0..width {
            for j in 0..width {
                let product: f32 = (0..width).map(|k| x[i * width + k] * x[j * width + k]).sum();
                assert!((product - f32::from(u8::from(i == j))).abs() < 1e-5);
            }
        }
        assert!(x.iter().filter(|v| v.abs() > 1e-4).count() > width * width * 3 / 4);
    }

    #[test]
    fn counts_reach_both_ends() {
        let mut rng = stream(4, Purpose::Data, 0);
        let drawn: Vec<usize> = (0..2000).map(|_| log_count(&mut rng, 1, 4)).collect();
        assert!((1..=4).all(|n| drawn.contains(&n)) && drawn.iter().all(|n| (1..=4).contains(n)));
    }
}
