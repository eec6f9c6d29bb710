//! When a policy decides.

use crate::RunSpec;

/// Shares of a run at which a policy decides where it may choose: close together at first, as a range test on the run
/// itself, then every twentieth, and once more shortly before the end.
const SHARES: [f64; 24] = [
    0.0,
    1.0 / 128.0,
    1.0 / 64.0,
    1.0 / 32.0,
    1.0 / 16.0,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.35,
    0.4,
    0.45,
    0.5,
    0.55,
    0.6,
    0.65,
    0.7,
    0.75,
    0.8,
    0.85,
    0.9,
    0.95,
    0.975,
];

/// The moments of a run at which a policy decides.
///
/// ```
/// use lrpilot_core::generalist::Grid;
/// let grid = Grid::free(1_000);
/// assert_eq!((grid.decisions(), grid.steps(0)), (24, Some(8)), "the first interval is a 128th of the run");
/// assert_eq!(Grid::free(10).decisions(), 10, "moments that are less than a step apart are one");
/// let each_epoch = Grid::Intervals { count: 30, steps: Some(6_000) };
/// assert_eq!((each_epoch.share(15), each_epoch.steps(0)), (0.5, None), "the interval is the caller's");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Grid {
    /// The policy's own: the steps done when it decides, from 0; the last entry is the run's end, T.
    Free(Vec<u64>),
    /// The caller's intervals, equally long.
    Intervals {
        /// How many, ≥ 1.
        count: usize,
        /// Optimizer steps in the run, where they are known.
        steps: Option<u64>,
    },
}

impl Grid {
    /// The policy's own moments in a run of `steps` ≥ 1 optimizer steps.
    pub fn free(steps: u64) -> Self {
        let mut moments: Vec<u64> = SHARES.iter().map(|s| (s * steps as f64).round() as u64).collect();
        moments.push(steps);
        moments.dedup();
        Grid::Free(moments)
    }

    /// The moments for a run.
    pub fn of(run: &RunSpec) -> Self {
        match run.facts.steps {
            Some(steps) if run.facts.free_intervals => Grid::free(steps),
            steps => Grid::Intervals { count: run.horizon, steps },
        }
    }

    /// Number of decisions.
    pub fn decisions(&self) -> usize {
        match self {
            Grid::Free(moments) => moments.len() - 1,
            Grid::Intervals { count, .. } => *count,
        }
    }

    /// Share of the run that is done at decision number `k`; 1 from the end on.
    pub fn share(&self, k: usize) -> f64 {
        match self {
            Grid::Free(moments) => match (moments.get(k), moments.last()) {
                (Some(at), Some(end)) => *at as f64 / *end as f64,
                _ => 1.0,
            },
            Grid::Intervals { count, .. } => (k as f64 / *count as f64).min(1.0),
        }
    }

    /// Steps between decision number `k` and the next one, where the policy chooses them.
    pub fn steps(&self, k: usize) -> Option<u64> {
        match self {
            Grid::Free(moments) => Some(moments.get(k + 1)? - moments[k]),
            Grid::Intervals { .. } => None,
        }
    }

    /// Steps between decision number `k` and the next one as far as they are known; equally long intervals need not hold
    /// a whole number of them.
    pub fn known_steps(&self, k: usize) -> Option<f64> {
        match self {
            Grid::Free(_) => self.steps(k).map(|steps| steps as f64),
            Grid::Intervals { count, steps } => steps.map(|steps| steps as f64 / *count as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The intervals of any run add up to it, none is empty, and the moments are within half a step of their shares.
    #[test]
    fn intervals_add_up_to_the_run() {
        for steps in (1..300).chain([999, 12_345, 100_000_007]) {
            let grid = Grid::free(steps);
            let lengths: Vec<u64> = (0..grid.decisions()).map(|k| grid.steps(k).unwrap()).collect();
            assert_eq!(lengths.iter().sum::<u64>(), steps);
            assert!(lengths.iter().all(|n| *n > 0), "{steps}: {lengths:?}");
            assert_eq!((grid.share(0), grid.share(grid.decisions()), grid.share(usize::MAX)), (0.0, 1.0, 1.0));
            let near = |k: usize| SHARES.iter().any(|s| (grid.share(k) - s).abs() * steps as f64 <= 0.5 + 1e-6);
            assert!((0..grid.decisions()).all(near), "{steps}");
        }
    }
}
