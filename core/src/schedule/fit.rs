//! A closed form for numbers: warm-up, hold and a decay with a power and a floor, fitted to log₁₀ of the learning rates.
//!
//! Deliberately not here: cycles, restarts and steps. [`Fit::rms_decades`] and [`Fit::max_percent`] tell when the numbers
//! are no member of the family.

use super::{OpenLoop, Schedule};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A linear warm-up, then the peak, then a decay.
///
/// With *n* intervals, *w* of them warm-up and *h* hold, interval *t* = 0, 1, … has the learning rate peak·(t + 1)/w while
/// t < w, then the peak for h intervals, then floor + (peak − floor)·(1 − s)^power with s = (t − w − h)/(n − w − h).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedForm {
    /// Intervals *n* of the whole, ≥ 1.
    pub intervals: usize,
    /// Intervals *w* of warm-up.
    pub warmup: usize,
    /// Intervals *h* at the peak; *w* + *h* < *n*.
    pub hold: usize,
    /// Largest learning rate, > 0.
    pub peak: f64,
    /// Power of the decay, > 0.
    pub power: f64,
    /// Learning rate at the end of the decay, in [0, peak].
    pub floor: f64,
}

/// A [`ClosedForm`] and how far it is from the numbers that it was fitted to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// The closed form.
    pub form: ClosedForm,
    /// Root mean square of the differences of log₁₀.
    pub rms_decades: f64,
    /// Largest relative difference, in percent of the number.
    pub max_percent: f64,
    /// Numbers that have no logarithm, which the fit leaves out.
    pub zeros: usize,
}

impl ClosedForm {
    /// Share of the run that is warm-up, in [0, 1).
    pub fn warmup_share(&self) -> f64 {
        self.warmup as f64 / self.intervals as f64
    }

    /// Share of the run at the peak, in [0, 1).
    pub fn hold_share(&self) -> f64 {
        self.hold as f64 / self.intervals as f64
    }

    /// The learning rate of interval `t` = 0, 1, …; after the end the floor is held.
    pub fn lr(&self, t: usize) -> f64 {
        if t < self.warmup {
            return self.peak * (t + 1) as f64 / self.warmup as f64;
        }
        let (begin, end) = (self.warmup + self.hold, self.intervals);
        let left = end.saturating_sub(t.max(begin)) as f64 / (end - begin) as f64;
        self.floor + (self.peak - self.floor) * left.powf(self.power)
    }

    /// The same as a schedule of [`OpenLoop`], where there is one: that needs a floor of 0, or a linear decay.
    pub fn schedule(&self) -> Option<Schedule> {
        let total_iters = self.intervals - self.warmup - self.hold;
        let decay = if self.floor == 0.0 {
            OpenLoop::Polynomial { total_iters, power: self.power }
        } else if self.power == 1.0 {
            OpenLoop::Linear { start_factor: 1.0, end_factor: self.floor / self.peak, total_iters }
        } else if self.floor == self.peak {
            OpenLoop::Constant {}
        } else {
            return None;
        };
        let held = match self.hold {
            0 => decay,
            hold => OpenLoop::Sequential { schedules: vec![OpenLoop::Constant {}, decay], milestones: vec![hold] },
        };
        let schedule = match self.warmup {
            0 => held,
            steps => OpenLoop::Warmup { steps, then: Box::new(held) },
        };
        Some(Schedule::OpenLoop { schedule, lr: self.peak })
    }
}

/// The member of the family that is nearest to `lrs`, the learning rates of all intervals, by least squares on log₁₀.
///
/// The search is deterministic: from each of a few starting points one coordinate after another is moved by smaller and
/// smaller steps as long as that helps. The peak is not searched for, since the best one is the mean of the differences.
///
/// ```
/// use lrpilot_core::schedule::fit::fit;
/// let lrs: Vec<f64> = (0..40).map(|t| 0.1 * (1.0 - t as f64 / 40.0)).collect();
/// let found = fit(&lrs)?;
/// assert!((found.form.power - 1.0).abs() < 0.01 && found.rms_decades < 1e-6);
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] for fewer than four positive numbers, or one that is not finite.
pub fn fit(lrs: &[f64]) -> Result<Fit> {
    let logs: Vec<f64> = lrs.iter().map(|lr| lr.log10()).collect();
    let positive = logs.iter().filter(|l| l.is_finite()).count();
    let bad = lrs.iter().any(|lr| !lr.is_finite() || *lr < 0.0);
    if positive < 4 || bad {
        let message = format!("{positive} of {} learning rates are finite and above 0", lrs.len());
        return Err(Error::config("closed form", message, "fit it to at least four finite learning rates"));
    }
    let mut starts: Vec<_> = starts(lrs.len()).into_iter().map(|start| polish(start, &logs, FAR, NEAR)).collect();
    starts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let descended = starts.into_iter().take(BEST_STARTS).map(|start| descend(start, &logs));
    let (_, shape) = descended
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .ok_or_else(|| Error::Bug("a fit without a starting point".into()))?;
    Ok(judged(simplest(shape, &logs).form(&logs), lrs))
}

/// What is searched for. The floor and the power are searched for by their logarithms.
#[derive(Clone, Copy, Debug)]
struct Shape {
    warmup: usize,
    hold: usize,
    log_power: f64,
    /// log₁₀(floor/peak); below [`NO_FLOOR`] there is none.
    log_floor: f64,
}

/// A floor so far below the peak is none.
const NO_FLOOR: f64 = -8.0;
/// Powers between 10⁻² and 10² are searched.
const LOG_POWER: f64 = 2.0;
/// Steps of the two continuous coordinates: the first, that after a move of warm-up or hold, the last of all.
const FAR: f64 = 0.4;
const NEAR: f64 = 0.05;
const FINEST: f64 = 1e-6;
/// Starting points from which the search goes on.
const BEST_STARTS: usize = 3;

impl Shape {
    fn scaled(&self, peak: f64, intervals: usize) -> ClosedForm {
        let floor = if self.log_floor > NO_FLOOR { peak * 10f64.powf(self.log_floor) } else { 0.0 };
        let power = 10f64.powf(self.log_power);
        ClosedForm { intervals, warmup: self.warmup, hold: self.hold, peak, power, floor }
    }

    /// Mean difference to the finite `logs`, which is log₁₀ of the best peak, and the mean square around it.
    fn error(&self, logs: &[f64]) -> (f64, f64) {
        let relative = self.scaled(1.0, logs.len());
        let finite = logs.iter().enumerate().filter(|(_, log)| log.is_finite());
        let differences = finite.map(|(t, log)| log - relative.lr(t).log10());
        let (count, sum, squares) =
            differences.fold((0.0, 0.0, 0.0), |(n, sum, squares), d| (n + 1.0, sum + d, squares + d * d));
        let mean: f64 = sum / count;
        (mean, f64::max(squares / count - mean * mean, 0.0))
    }

    fn form(&self, logs: &[f64]) -> ClosedForm {
        self.scaled(10f64.powf(self.error(logs).0), logs.len())
    }

    /// The same with warm-up and hold moved, if the decay keeps an interval.
    fn moved(&self, warmup: isize, hold: isize, n: usize) -> Option<Shape> {
        let (warmup, hold) = (self.warmup.checked_add_signed(warmup)?, self.hold.checked_add_signed(hold)?);
        (warmup + hold < n).then_some(Shape { warmup, hold, ..*self })
    }
}

/// Short and long warm-ups and holds.
fn starts(n: usize) -> Vec<Shape> {
    let part = |share: f64| (share * n as f64) as usize;
    let mut starts = Vec::new();
    for warmup in [0.0, 0.1, 0.3] {
        for hold in [0.0, 0.2, 0.5] {
            starts.push(Shape { warmup: part(warmup), hold: part(hold), log_power: 0.0, log_floor: -3.0 });
        }
    }
    starts
}

/// The mean square error at the end of the search from `best`, and the shape there.
fn descend(mut best: (f64, Shape), logs: &[f64]) -> (f64, Shape) {
    let n = logs.len();
    let mut stride = (n / 8).max(1) as isize;
    loop {
        // Along warm-up, along hold, and along the border between them.
        let moves = [(stride, 0), (-stride, 0), (0, stride), (0, -stride), (stride, -stride), (-stride, stride)];
        let tried = moves
            .iter()
            .filter_map(|(w, h)| best.1.moved(*w, *h, n))
            .map(|shape| polish(shape, logs, 2.0 * NEAR, NEAR / 64.0));
        match tried.min_by(|a, b| a.0.total_cmp(&b.0)) {
            Some(better) if better.0 < best.0 => best = better,
            _ if stride > 1 => stride /= 2,
            _ => return polish(best.1, logs, FAR, FINEST),
        }
    }
}

/// The best power and floor for the shape's warm-up and hold, by steps from `step` down to `finest`.
fn polish(start: Shape, logs: &[f64], mut step: f64, finest: f64) -> (f64, Shape) {
    let mut best = (start.error(logs).1, start);
    while step >= finest {
        let moves =
            [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0)];
        let tried = moves.iter().map(|(power, floor)| {
            let log_power = (best.1.log_power + step * power).clamp(-LOG_POWER, LOG_POWER);
            let log_floor = (best.1.log_floor + step * floor).clamp(NO_FLOOR, 0.0);
            let shape = Shape { log_power, log_floor, ..best.1 };
            (shape.error(logs).1, shape)
        });
        match tried.min_by(|a, b| a.0.total_cmp(&b.0)) {
            Some(better) if better.0 < best.0 => best = better,
            _ => step /= 2.0,
        }
    }
    best
}

/// The shape without a floor, or with a linear decay, if that is hardly further from the numbers.
fn simplest(shape: Shape, logs: &[f64]) -> Shape {
    /// Of the root mean square error: a share of it, and in decades.
    const WORSE: (f64, f64) = (1.01, 1e-4);
    let rms = |shape: &Shape| shape.error(logs).1.sqrt();
    let allowed = WORSE.0 * rms(&shape) + WORSE.1;
    let without_floor = Shape { log_floor: NO_FLOOR, ..shape };
    let linear = Shape { log_power: 0.0, ..shape };
    let both = Shape { log_floor: NO_FLOOR, log_power: 0.0, ..shape };
    [both, without_floor, linear].into_iter().find(|simple| rms(simple) <= allowed).unwrap_or(shape)
}

fn judged(form: ClosedForm, lrs: &[f64]) -> Fit {
    let ratios: Vec<f64> = lrs.iter().enumerate().filter(|(_, lr)| **lr > 0.0).map(|(t, lr)| form.lr(t) / lr).collect();
    let squares: f64 = ratios.iter().map(|ratio| ratio.log10().powi(2)).sum();
    let max_percent = ratios.iter().map(|ratio| 100.0 * (ratio - 1.0).abs()).fold(0.0, f64::max);
    Fit { form, rms_decades: (squares / ratios.len() as f64).sqrt(), max_percent, zeros: lrs.len() - ratios.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(intervals: usize, warmup: usize, hold: usize, power: f64, floor: f64) -> ClosedForm {
        ClosedForm { intervals, warmup, hold, peak: 0.03, power, floor }
    }

    fn lrs(form: &ClosedForm) -> Vec<f64> {
        (0..form.intervals).map(|t| form.lr(t)).collect()
    }

    /// The parameters that the numbers were made with come back to one percent, shares to one percent of the run.
    #[test]
    fn known_parameters_are_recovered() {
        let cases = [
            form(50, 5, 10, 1.5, 3e-4),
            form(50, 0, 0, 1.0, 0.0),
            form(50, 10, 0, 2.0, 0.0),
            form(30, 0, 12, 0.5, 3e-3),
            form(120, 12, 30, 3.0, 1e-5),
            form(50, 3, 20, 1.0, 6e-3),
        ];
        for made in cases {
            let Fit { form: found, rms_decades, .. } = fit(&lrs(&made)).unwrap();
            let near = |a: f64, b: f64| (a - b).abs() <= 0.01 * b;
            assert!((found.warmup_share() - made.warmup_share()).abs() <= 0.01, "{made:?}: {found:?}");
            assert!((found.hold_share() - made.hold_share()).abs() <= 0.01, "{made:?}: {found:?}");
            let same = near(found.peak, made.peak) && near(found.power, made.power) && near(found.floor, made.floor);
            assert!(same && rms_decades < 2e-4, "{made:?}: {found:?}, rms {rms_decades}");
        }
    }

    /// Two cycles are no member of the family. The errors are computed anew from their definitions.
    #[test]
    fn what_cannot_be_represented_is_reported() {
        let cycles = OpenLoop::CosineWarmRestarts { t_0: 20, t_mult: 1, eta_min: 1e-4 };
        let lrs: Vec<f64> = (0..40).map(|t| cycles.lr(0.1, t)).collect();
        let fit = fit(&lrs).unwrap();
        let mut squares = 0.0;
        let mut largest: f64 = 0.0;
        for (t, lr) in lrs.iter().enumerate() {
            squares += (fit.form.lr(t).log10() - lr.log10()).powi(2);
            largest = largest.max(100.0 * (fit.form.lr(t) - lr).abs() / lr);
        }
        assert!(((squares / 40.0f64).sqrt() - fit.rms_decades).abs() < 1e-12 && fit.rms_decades > 0.3, "{fit:?}");
        assert!((largest - fit.max_percent).abs() < 1e-9 * largest && fit.max_percent > 100.0, "{fit:?}");
    }

    /// The slow way, every member on a grid, finds nothing that is nearer to a half cosine.
    #[test]
    fn no_member_on_a_grid_is_nearer() {
        let n = 16;
        let lrs: Vec<f64> = (0..n).map(|t| OpenLoop::cosine(n).lr(0.1, t)).collect();
        let found = fit(&lrs).unwrap();
        let mut nearest = f64::INFINITY;
        for (warmup, hold) in (0..8).flat_map(|w| (0..8).map(move |h| (w, h))) {
            for (power, floor) in
                (1..=40).flat_map(|p| (0..=10).map(move |f| (0.1 * f64::from(p), 0.002 * f64::from(f))))
            {
                let form = ClosedForm { intervals: n, warmup, hold, peak: 1.0, power, floor };
                let differences: Vec<f64> = lrs.iter().enumerate().map(|(t, lr)| (lr / form.lr(t)).log10()).collect();
                let mean = differences.iter().sum::<f64>() / n as f64;
                let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
                nearest = nearest.min((squares / n as f64).sqrt());
            }
        }
        assert!(found.rms_decades <= 1.02 * nearest + 1e-4, "{found:?}, on the grid {nearest}");
    }

    /// The formula and the schedule that stands for it are the same numbers, up to rounding.
    #[test]
    fn the_schedule_is_the_form() {
        for made in
            [form(50, 5, 10, 1.5, 0.0), form(20, 0, 3, 1.0, 0.01), form(20, 4, 0, 2.5, 0.0), form(9, 0, 0, 3.0, 0.03)]
        {
            let Some(Schedule::OpenLoop { schedule, lr }) = made.schedule() else { panic!("{made:?}") };
            schedule.check().unwrap();
            for t in 0..made.intervals {
                assert!((schedule.lr(lr, t) - made.lr(t)).abs() < 1e-12, "{made:?}, interval {t}");
            }
        }
        assert_eq!(form(50, 5, 10, 1.5, 1e-3).schedule(), None);
    }

    #[test]
    fn zeros_are_left_out_and_counted() {
        let mut numbers = lrs(&form(20, 0, 0, 1.0, 0.0));
        numbers[19] = 0.0;
        let fit = fit(&numbers).unwrap();
        assert_eq!(fit.zeros, 1);
        assert!(fit.rms_decades < 1e-3, "{fit:?}");
    }

    #[test]
    fn too_few_numbers_are_refused() {
        for numbers in [&[0.1, 0.2, 0.0, 0.0][..], &[0.1, 0.1, 0.1, 0.1, f64::NAN], &[]] {
            assert!(fit(numbers).unwrap_err().to_string().contains("at least four"), "{numbers:?}");
        }
        let constant = fit(&[0.1; 6]).unwrap();
        assert!(constant.rms_decades < 1e-3 && (constant.form.peak - 0.1).abs() < 1e-3, "{constant:?}");
    }
}
