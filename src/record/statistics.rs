//! Interquartile mean and stratified bootstrap, as in Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of
//! the Statistical Precipice" (the `rliable` library).
//!
//! Deliberately not here: significance tests. For a difference between paired runs, give [`estimate`] the differences.

use super::Estimate;
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::RngExt as _;
use std::collections::BTreeMap;

/// Number of bootstrap resamples behind every interval.
pub const RESAMPLES: usize = 2_000;

/// Mean of the middle half: a quarter of the values, rounded down, is cut from each end
/// (`scipy.stats.trim_mean(values, 0.25)`, which `rliable` uses). NaN for no values or if any value is NaN.
///
/// ```
/// use lrpilot::record::statistics::interquartile_mean;
/// assert_eq!(interquartile_mean(&[100.0, 1.0, 2.0, 3.0]), 2.5);
/// ```
pub fn interquartile_mean(values: &[f64]) -> f64 {
    if values.is_empty() || values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    middle_mean(&mut values.to_vec())
}

/// [`interquartile_mean`] of a non-empty buffer without NaN, which gets reordered.
fn middle_mean(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let cut = values.len() / 4;
    let middle = &values[cut..values.len() - cut];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// The `q` quantile (0 ≤ q ≤ 1) of sorted values with linear interpolation (`numpy.quantile`'s default); NaN for none.
///
/// ```
/// use lrpilot::record::statistics::quantile;
/// assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
/// ```
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let (a, b) = (sorted[below], sorted[(below + 1).min(last)]);
    let fraction = position - below as f64;
    // Equal ends first: between two infinities the formula would give NaN.
    if a == b || fraction == 0.0 { a } else { a + (b - a) * fraction }
}

/// Every NaN or infinity replaced by `penalty`, so that a run that blew up counts against its method instead of
/// vanishing from the average. Choose what a useless network scores, e.g. the loss at chance, ln(classes).
///
/// ```
/// use lrpilot::record::statistics::replace_non_finite;
/// assert_eq!(replace_non_finite(&[0.1, f64::NAN], 10f64.ln()), [0.1, 10f64.ln()]);
/// ```
pub fn replace_non_finite(values: &[f64], penalty: f64) -> Vec<f64> {
    values.iter().map(|&v| if v.is_finite() { v } else { penalty }).collect()
}

/// Interquartile mean over runs, with a 95 % percentile interval from a stratified bootstrap.
///
/// `strata[i]` says which group run `i` belongs to (the policy seed of a learned method; one constant for the others).
/// Each of the [`RESAMPLES`] draws as many runs as there are, with replacement, within each stratum, so every policy
/// keeps its weight. The interval therefore speaks about *these* policies on new runs. Random numbers come from the
/// stream `(seed, Bootstrap, 0)`: the same arguments give the same bits.
///
/// Errors: no values, another number of strata than values, or a value that is not finite (see
/// [`replace_non_finite`]).
///
/// ```
/// use lrpilot::record::statistics::estimate;
/// let losses = [0.31, 0.29, 0.30, 0.35, 0.28, 0.33];
/// let e = estimate(&losses, &[1, 1, 1, 2, 2, 2], 0)?;
/// assert!(e.lo <= e.iqm && e.iqm <= e.hi);
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub fn estimate(values: &[f64], strata: &[u64], seed: u64) -> Result<Estimate> {
    if values.is_empty() {
        return Err(Error::config("estimate", "there are no runs to average", "give at least one run"));
    }
    if values.len() != strata.len() {
        let message = format!("{} values but {} strata", values.len(), strata.len());
        return Err(Error::config("estimate", message, "give each value its stratum"));
    }
    if let Some((i, v)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        let message = format!("value {i} is {v}");
        return Err(Error::config("estimate", message, "replace it by a penalty with replace_non_finite first"));
    }
    let mut groups = BTreeMap::<u64, Vec<f64>>::new();
    for (&value, &stratum) in values.iter().zip(strata) {
        groups.entry(stratum).or_default().push(value);
    }
    let mut rng = stream(seed, Purpose::Bootstrap, 0);
    let mut resample = Vec::with_capacity(values.len());
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            resample.clear();
            for group in groups.values() {
                resample.extend((0..group.len()).map(|_| group[rng.random_range(0..group.len())]));
            }
            middle_mean(&mut resample)
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    Ok(Estimate {
        iqm: interquartile_mean(values),
        lo: quantile(&means, 0.025),
        hi: quantile(&means, 0.975),
        values: values.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, with sorting by counting ranks and no slices.
    fn slow_interquartile_mean(values: &[f64]) -> f64 {
        let n = values.len();
        let rank = |i: usize| (0..n).filter(|&j| (values[j], j) < (values[i], i)).count();
        let kept: Vec<f64> = (0..n).filter(|&i| rank(i) >= n / 4 && rank(i) < n - n / 4).map(|i| values[i]).collect();
        kept.iter().sum::<f64>() / kept.len() as f64
    }

    proptest! {
        #[test]
        fn interquartile_mean_equals_its_slow_definition(values in prop::collection::vec(-1e3..1e3f64, 1..40)) {
            let (fast, slow) = (interquartile_mean(&values), slow_interquartile_mean(&values));
            prop_assert!((fast - slow).abs() <= 1e-9 * slow.abs().max(1.0), "{fast} {slow}");
        }
    }

    #[test]
    fn equals_scipy_and_numpy() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/trim_mean.json")).unwrap();
        for case in golden.as_array().unwrap() {
            let values: Vec<f64> = serde_json::from_value(case["values"].clone()).unwrap();
            let iqm = interquartile_mean(&values);
            assert!((iqm - case["trim_mean"].as_f64().unwrap()).abs() < 1e-12, "{case}: {iqm}");
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            for (q, expected) in [(0.025, "q025"), (0.25, "q25"), (0.975, "q975")] {
                let expected = case[expected].as_f64().unwrap();
                assert!((quantile(&sorted, q) - expected).abs() < 1e-12, "{case}: {q}");
            }
        }
    }

    /// Of 200 samples of 20 uniform numbers, the 95 % interval should hold the true value 0.5 in about 190. Percentile
    /// intervals run a little narrow; fewer than 170 has probability below 10⁻⁶ even at a coverage of 0.93.
    #[test]
    fn interval_covers_the_truth_about_as_often_as_it_says() {
        let covered = (0..200)
            .filter(|&sample| {
                let mut rng = stream(sample, Purpose::Environment, 0);
                let values: Vec<f64> = (0..20).map(|_| rng.random::<f64>()).collect();
                let e = estimate(&values, &[0; 20], 1).unwrap();
                e.lo <= 0.5 && 0.5 <= e.hi
            })
            .count();
        assert!((170..200).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn strata_keep_their_weight() {
        // Within each stratum all runs are equal, so every resample is the same set and the interval is a point.
        let e = estimate(&[1.0, 1.0, 5.0, 5.0], &[7, 7, 9, 9], 3).unwrap();
        assert_eq!((e.iqm, e.lo, e.hi), (3.0, 3.0, 3.0));
        let unstratified = estimate(&[1.0, 1.0, 5.0, 5.0], &[0; 4], 3).unwrap();
        assert!(unstratified.lo < unstratified.hi);
    }

    #[test]
    fn bad_input_is_an_error() {
        for (values, strata) in [(vec![], vec![]), (vec![1.0], vec![]), (vec![f64::NAN], vec![0])] {
            assert!(matches!(estimate(&values, &strata, 0), Err(Error::Config { .. })));
        }
        assert!(interquartile_mean(&[]).is_nan());
    }
}
