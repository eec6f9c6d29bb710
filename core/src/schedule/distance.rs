//! How far two schedules are from each other (the paper's open question, A.7).
//!
//! A schedule is the learning rate of each interval of a run. Learning rates act by their ratios, so distances are of
//! log10 η, in decades; time is the share of the run that has passed, so runs of different lengths compare.

use crate::{Error, Result};

/// Mean over the run of |log10 a(t) − log10 b(t)|: the area between the two curves of log10 η over normalised time,
/// each taken as constant within an interval. In decades; 1 where one schedule is always ten times the other.
///
/// # Errors
/// [`Error::Config`] for an empty schedule, or a learning rate that is not a finite number > 0.
///
/// ```
/// use lrpilot_core::schedule::distance::log_area;
/// assert_eq!(log_area(&[0.1, 0.01], &[0.1, 0.1])?, 0.5);
/// assert_eq!(log_area(&[0.1, 0.01], &[0.1, 0.1, 0.01, 0.01])?, 0.0);
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
pub fn log_area(a: &[f64], b: &[f64]) -> Result<f64> {
    let (a, b) = (logs(a)?, logs(b)?);
    // Both are constant between neighbouring multiples of 1/len, counted here in units of 1/(len a · len b).
    let (n, m) = (a.len(), b.len());
    let (mut area, mut at) = (0.0, 0);
    while at < n * m {
        let (i, j) = (at / m, at / n);
        let next = ((i + 1) * m).min((j + 1) * n);
        area += (next - at) as f64 * (a[i] - b[j]).abs();
        at = next;
    }
    Ok(area / (n * m) as f64)
}

/// As [`log_area`], but along the best alignment of the two: dynamic time warping (Sakoe & Chiba 1978, symmetric form:
/// a diagonal step weighs 2, the others 1, the total is divided by the sum of the two lengths) of log10 η within `band`,
/// the largest difference in normalised time between intervals that may be matched. In decades; 0 for schedules that
/// differ in timing alone by less than the band.
///
/// # Errors
/// As [`log_area`], and for a `band` that is not in [0, 1].
///
/// ```
/// use lrpilot_core::schedule::distance::warped;
/// let (early, late) = ([0.1, 0.01, 0.01, 0.01], [0.1, 0.1, 0.01, 0.01]);
/// assert_eq!((warped(&early, &late, 0.25)?, warped(&early, &late, 0.0)?), (0.0, 0.25));
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
pub fn warped(a: &[f64], b: &[f64], band: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&band) {
        return Err(Error::config(
            "schedule",
            format!("a warping band of {band}"),
            "give a share of the run, in [0, 1]",
        ));
    }
    let (a, b) = (logs(a)?, logs(b)?);
    let (n, m) = (a.len(), b.len());
    // Intervals whose middles are at most the band apart; at least those that overlap in time.
    let half = 0.5 / n as f64 + 0.5 / m as f64;
    let reach = (band + half * (1.0 - f64::from(u8::from(n == m)))).max(1e-9);
    let middle = |i: usize, len: usize| (i as f64 + 0.5) / len as f64;
    let mut before = vec![f64::INFINITY; m];
    for (i, a) in a.iter().enumerate() {
        let mut row = vec![f64::INFINITY; m];
        for (j, b) in b.iter().enumerate() {
            if (middle(i, n) - middle(j, m)).abs() > reach {
                continue;
            }
            let here = (a - b).abs();
            let diagonal = match (i, j) {
                (0, 0) => 0.0,
                (0, _) | (_, 0) => f64::INFINITY,
                _ => before[j - 1],
            };
            let along = if j > 0 { before[j].min(row[j - 1]) } else { before[j] };
            row[j] = (diagonal + 2.0 * here).min(along + here);
        }
        before = row;
    }
    Ok(before[m - 1] / (n + m) as f64)
}

fn logs(lrs: &[f64]) -> Result<Vec<f64>> {
    let remedy = "give the learning rate of each interval, each a finite number > 0";
    if lrs.is_empty() {
        return Err(Error::config("schedule", "a schedule without intervals", remedy));
    }
    if let Some(bad) = lrs.iter().find(|lr| !(lr.is_finite() && **lr > 0.0)) {
        return Err(Error::config("schedule", format!("a learning rate of {bad} in a schedule"), remedy));
    }
    Ok(lrs.iter().map(|lr| lr.log10()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec((-6.0f64..0.0).prop_map(|e| 10f64.powf(e)), 1..12)
    }

    /// The integral by its definition, at the middle of each of the pieces on which both schedules are constant.
    fn slow_area(a: &[f64], b: &[f64]) -> f64 {
        let n = a.len() * b.len();
        let at = |s: &[f64], t: f64| s[(t * s.len() as f64) as usize].log10();
        (0..n).map(|k| (k as f64 + 0.5) / n as f64).map(|t| (at(a, t) - at(b, t)).abs()).sum::<f64>() / n as f64
    }

    /// The cheapest of all warping paths without a band, each followed to its end.
    fn slow_warped(a: &[f64], b: &[f64]) -> f64 {
        fn cost(i: usize, j: usize, a: &[f64], b: &[f64]) -> f64 {
            let here = (a[i].log10() - b[j].log10()).abs();
            if (i, j) == (0, 0) {
                return 2.0 * here;
            }
            let mut ways = Vec::new();
            if i > 0 && j > 0 {
                ways.push(cost(i - 1, j - 1, a, b) + 2.0 * here);
            }
            if i > 0 {
                ways.push(cost(i - 1, j, a, b) + here);
            }
            if j > 0 {
                ways.push(cost(i, j - 1, a, b) + here);
            }
            ways.into_iter().fold(f64::INFINITY, f64::min)
        }
        cost(a.len() - 1, b.len() - 1, a, b) / (a.len() + b.len()) as f64
    }

    proptest! {
        #[test]
        fn area_is_the_integral_and_symmetric(a in schedule(), b in schedule()) {
            let area = log_area(&a, &b).unwrap();
            prop_assert!((area - slow_area(&a, &b)).abs() < 1e-9);
            prop_assert!((area - log_area(&b, &a).unwrap()).abs() < 1e-12);
            prop_assert_eq!(log_area(&a, &a).unwrap(), 0.0);
        }

        #[test]
        fn warped_is_the_cheapest_path(
            a in proptest::collection::vec(1e-4f64..1.0, 1..6),
            b in proptest::collection::vec(1e-4f64..1.0, 1..6),
        ) {
            prop_assert!((warped(&a, &b, 1.0).unwrap() - slow_warped(&a, &b)).abs() < 1e-9);
        }

        /// Without a band there is only the diagonal, which is the area.
        #[test]
        fn a_band_of_zero_is_the_area(a in schedule(), factor in 0.1f64..10.0) {
            let b: Vec<f64> = a.iter().rev().map(|v| v * factor).collect();
            prop_assert!((warped(&a, &b, 0.0).unwrap() - log_area(&a, &b).unwrap()).abs() < 1e-9);
        }

        #[test]
        fn lengths_may_differ(a in schedule(), b in schedule(), band in 0.0f64..1.0) {
            prop_assert!(warped(&a, &b, band).unwrap().is_finite());
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in [&[][..], &[0.1, 0.0], &[f64::NAN], &[-1.0], &[f64::INFINITY]] {
            assert!(log_area(bad, &[0.1]).is_err() && warped(&[0.1], bad, 0.1).is_err(), "{bad:?}");
        }
        assert!(warped(&[0.1], &[0.1], f64::NAN).is_err());
    }
}
