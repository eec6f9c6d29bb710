//! The standard schedules, and the grid from which each takes its initial LR.

use super::claims::Wanted;
use crate::range;
use crate::record::Stage;
use crate::rng;
use crate::run::job::JobSpec;
use crate::run::jobs::Jobs;
use crate::run::trial::Record;
use crate::task::{TaskSource, TaskSpec};
use crate::{Error, Result, limits};
use lrpilot_core::Schedule;
use lrpilot_core::schedule::{GreedyLr, MetricDriven, OpenLoop, Plateau};

/// Points of the LR grid (paper, §3), which spans the task's range of LRs, as that of the policies does.
pub(super) const GRID_POINTS: usize = 100;

/// A schedule that needs an initial LR to be complete.
pub(super) struct Family {
    pub name: &'static str,
    /// What is claimed of a learned policy against the tuned schedule.
    pub wanted: Wanted,
    pub shape: Shape,
}

pub(super) enum Shape {
    OpenLoop(OpenLoop),
    Metric(MetricDriven),
}

impl Family {
    pub fn method(&self, lr: f64) -> Schedule {
        match &self.shape {
            Shape::OpenLoop(schedule) => Schedule::OpenLoop { schedule: schedule.clone(), lr },
            Shape::Metric(schedule) => Schedule::Metric { schedule: schedule.clone(), lr },
        }
    }

    /// Name of the schedule with its tuned initial LR.
    pub fn tuned_name(&self) -> String {
        format!("{} (tuned)", self.name)
    }

    /// The constant LR, which any schedule worth its name should beat.
    pub fn constant() -> Self {
        Family { name: "constant", wanted: Wanted::Below, shape: Shape::OpenLoop(OpenLoop::Constant {}) }
    }
}

/// The families whose initial LR is tuned.
pub(super) fn families(spec: &TaskSpec) -> Vec<Family> {
    let other = |name, shape| Family { name, wanted: Wanted::NotAbove, shape };
    vec![
        Family::constant(),
        other("cosine", Shape::OpenLoop(OpenLoop::cosine(spec.horizon))),
        other("one-cycle", Shape::OpenLoop(OpenLoop::one_cycle(spec.horizon.max(2)))),
        other("plateau", Shape::Metric(MetricDriven::Plateau(Plateau::default()))),
        other("greedy", Shape::Metric(MetricDriven::Greedy(GreedyLr::default()))),
    ]
}

/// Epochs that tuning a schedule takes at least: one training at each learning rate of the grid.
pub fn grid_epochs(spec: &TaskSpec) -> u64 {
    (GRID_POINTS * spec.horizon) as u64
}

/// Seeds per grid point that the budget allows.
///
/// # Errors
/// [`Error::Usage`] if schedules cannot be compared on the task, [`Error::Config`] if the budget is below one grid.
pub fn tuning_seeds(budget_epochs: u64, spec: &TaskSpec) -> Result<usize> {
    if spec.finds_lr {
        return Err(Error::usage(
            "schedules cannot be compared on a line search",
            "choose another optimizer, e.g. sgd",
        ));
    }
    let grid = grid_epochs(spec);
    let seeds = budget_epochs / grid;
    range::count("learn.epochs: seeds that tuning each learning rate could use", seeds, 0, limits::TRIALS)?;
    match seeds as usize {
        0 => {
            let message = format!("{budget_epochs} epochs are less than one grid of {GRID_POINTS} LRs, {grid}");
            Err(Error::config("learn.epochs", message, "learn with a larger budget or a shorter horizon"))
        }
        seeds => Ok(seeds),
    }
}

/// Seeds of tuning, apart from those of learning, selection and evaluation.
pub(super) fn tuning_seed_list(seed: u64, count: usize) -> Vec<u64> {
    (0..count).map(|s| rng::tuning_seed(seed, s as u64)).collect()
}

/// A job for each LR of the grid and each of `seeds`, LR by LR.
pub(super) fn grid_jobs(source: &dyn TaskSource, name: &str, family: &Family, seeds: &[u64]) -> Vec<JobSpec> {
    let job = |lr: f64, seed: u64| JobSpec {
        task: source.identity(),
        stage: Stage::Tune,
        name: name.to_owned(),
        schedule: family.method(lr),
        initial_lr: Some(lr),
        seed,
        policy_seed: None,
        record: Record::Final,
    };
    let lrs = log_grid(source.spec().lr_bounds, GRID_POINTS);
    lrs.into_iter().flat_map(|lr| seeds.iter().map(move |seed| (lr, *seed))).map(|(lr, seed)| job(lr, seed)).collect()
}

/// The grid's LR with the smallest mean final validation-B loss; a diverged run counts as ten times chance. `grid` is what
/// [`grid_jobs`] makes.
pub(super) fn tune(jobs: &mut Jobs<'_>, grid: &[JobSpec], spec: &TaskSpec) -> Result<f64> {
    let lrs = log_grid(spec.lr_bounds, GRID_POINTS);
    let records = jobs.run(grid)?;
    let seeds = grid.len() / GRID_POINTS;
    let sums = records.chunks(seeds).map(|runs| runs.iter().map(|r| r.penalised_loss(spec.chance_loss)).sum());
    let best = lrs.iter().zip(sums).min_by(|a: &(_, f64), b| a.1.total_cmp(&b.1)).map(|(lr, _)| *lr);
    best.ok_or_else(|| Error::Bug("an empty grid".into()))
}

/// `points` ≥ 2 log-spaced learning rates from `min` to `max`.
///
/// ```
/// let lrs = lrpilot::run::compare::log_grid((1e-4, 1.0), 5);
/// assert!((lrs[1] - 1e-3).abs() < 1e-15 && lrs[4] == 1.0);
/// ```
pub fn log_grid((min, max): (f64, f64), points: usize) -> Vec<f64> {
    let (log_min, log_max) = (min.ln(), max.ln());
    let at = |i: usize| (log_min + (log_max - log_min) * i as f64 / (points - 1) as f64).exp();
    // Rounding must not lead out of the range.
    (0..points).map(|i| at(i).clamp(min, max)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula as it was when the range was [1e-6, 1] for every task: published numbers stand on these bits.
    #[test]
    fn the_grid_over_the_default_bounds_has_not_moved() {
        let (min, max) = (1e-6f64.ln(), 1f64.ln());
        let before: Vec<f64> = (0..100).map(|i| (min + (max - min) * f64::from(i) / 99.0).exp()).collect();
        assert_eq!(log_grid((1e-6, 1.0), 100), before);
    }

    #[test]
    fn the_grid_keeps_to_the_bounds_and_steps_by_one_factor() {
        for bounds in [(1e-6, 1.9), (3e-4, 7e-2), (1e-9, 12.3)] {
            let lrs = log_grid(bounds, GRID_POINTS);
            assert!(lrs.iter().all(|lr| (bounds.0..=bounds.1).contains(lr)), "{bounds:?}");
            let (first, last) = (lrs[0], lrs[GRID_POINTS - 1]);
            assert!((first / bounds.0 - 1.0).abs() < 1e-12 && (last / bounds.1 - 1.0).abs() < 1e-12);
            let factor = (bounds.1 / bounds.0).powf(1.0 / 99.0);
            assert!(lrs.windows(2).all(|w| (w[1] / w[0] / factor - 1.0).abs() < 1e-12), "{bounds:?}");
        }
    }
}
