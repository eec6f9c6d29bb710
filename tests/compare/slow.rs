//! Statistics by their definitions.

use crate::records::{Estimate, Run};
use std::collections::BTreeMap;

/// The interquartile mean by counting ranks: those values are kept that have at least ⌊n/4⌋ others before and after.
pub fn slow_iqm(values: &[f64]) -> f64 {
    let n = values.len();
    let before = |i: usize| (0..n).filter(|&j| (values[j], j) < (values[i], i)).count();
    let kept: Vec<f64> = (0..n).filter(|&i| (n / 4..n - n / 4).contains(&before(i))).map(|i| values[i]).collect();
    kept.iter().sum::<f64>() / kept.len() as f64
}

/// The interquartile means of all resamples within strata, each as likely as any other, in rising order: what the
/// bootstrap draws from.
pub fn all_resamples(strata: &[Vec<f64>]) -> Vec<f64> {
    let mut samples: Vec<Vec<f64>> = vec![Vec::new()];
    for stratum in strata {
        for _ in stratum {
            let with = |sample: &Vec<f64>, value: &f64| sample.iter().chain([value]).copied().collect();
            samples = samples.iter().flat_map(|s| stratum.iter().map(move |v| with(s, v))).collect();
        }
    }
    sorted(&samples.iter().map(|sample| slow_iqm(sample)).collect::<Vec<f64>>())
}

/// The smallest value that at least the share `p` of the sorted values does not exceed.
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    sorted[(p * sorted.len() as f64).ceil() as usize - 1]
}

pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[track_caller]
pub fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * a.abs().max(b.abs()), "{a} is not {b}");
}

/// The ends are quantiles of 2,000 draws, so their levels are those of the true distribution give or take
/// 3·√(0.025·0.975/2000) = 0.0105.
#[track_caller]
pub fn check_estimate(estimate: &Estimate, runs: &[&Run], loss: impl Fn(&Run) -> f64) {
    let values: Vec<f64> = runs.iter().map(|run| loss(run)).collect();
    assert_eq!(sorted(&estimate.values), sorted(&values));
    close(estimate.iqm, slow_iqm(&values));
    assert!(estimate.lo <= estimate.iqm && estimate.iqm <= estimate.hi, "{estimate:?}");
    let mut strata: BTreeMap<Option<u64>, Vec<f64>> = BTreeMap::new();
    runs.iter().zip(values).for_each(|(run, value)| strata.entry(run.policy_seed).or_default().push(value));
    let resamples = all_resamples(&strata.into_values().collect::<Vec<_>>());
    let within = |v: f64, from: f64, to: f64| {
        let (from, to) = (quantile(&resamples, from), quantile(&resamples, to));
        let margin = 1e-12 * v.abs();
        assert!(from - margin <= v && v <= to + margin, "{v} is not in [{from}, {to}]: {estimate:?}");
    };
    within(estimate.lo, 0.0145, 0.0355);
    within(estimate.hi, 0.9645, 0.9855);
}
