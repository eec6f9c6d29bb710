//! The learning rates that a schedule comes to: by its formula where it has one, else by training networks.

use crate::cli::{GlobalArgs, SeedList, context, evaluate};
use crate::record::statistics::quantile;
use crate::task::{ConfiguredTask, TaskSource as _};
use crate::{Error, Result};
use lrpilot_core::{Measurement, OptimizerFamily, RunSpec, Schedule};

/// Learning rates of one or several runs under the same schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Realised {
    /// One list for each run, with one learning rate for each interval that the run had; none is empty.
    runs: Vec<Vec<f64>>,
    /// Seeds of runs that diverged, each with its last interval.
    pub diverged: Vec<(u64, usize)>,
    /// Whether the schedule set momentum or weight decay too.
    pub sets_more: bool,
}

impl Realised {
    /// Without a network: a schedule that sees at most `losses`, of which the last one stays.
    ///
    /// # Errors
    /// As [`Schedule::start`]; a learned schedule fails, since there is nothing to see.
    pub fn without_network(schedule: &Schedule, intervals: usize, losses: &[f64]) -> Result<Self> {
        let run = RunSpec::new(intervals, OptimizerFamily::Sgd { momentum: 0.0 }, Vec::new());
        let mut running = schedule.start(&run, &Measurement::default())?;
        let mut lrs = Vec::with_capacity(intervals);
        let mut sets_more = false;
        for interval in 0..intervals {
            lrs.push(running.hyperparameters().lr);
            sets_more |= running.hyperparameters().momentum.is_some();
            let loss = losses.get(interval).or(losses.last()).copied();
            let _ = running.observe(&Measurement { val_loss: loss, ..Measurement::default() });
        }
        Ok(Realised { runs: vec![lrs], diverged: Vec::new(), sets_more })
    }

    /// On a task. Networks are trained only if the learning rate depends on how training goes.
    ///
    /// # Errors
    /// Those of the task and of the schedule.
    pub fn on_task(
        source: &ConfiguredTask,
        schedule: &Schedule,
        seeds: &SeedList,
        global: &GlobalArgs,
    ) -> Result<Self> {
        let reacts =
            matches!(schedule, Schedule::Learned { .. } | Schedule::Generalist { .. } | Schedule::Metric { .. });
        if !reacts && !source.spec().finds_lr {
            return Realised::without_network(schedule, source.spec().horizon, &[]);
        }
        let trained = evaluate::train(source, schedule, seeds, global)?;
        let diverged = trained.iter().filter(|run| run.trial.diverged).map(|run| (run.seed, run.trial.curve.len()));
        let diverged = diverged.collect();
        let mut intervals = trained.iter().flat_map(|run| &run.trial.curve);
        let sets_more = intervals.any(|i| i.momentum.is_some() || i.weight_decay.is_some());
        let lrs = |run: &evaluate::Run| run.trial.curve.iter().map(|interval| interval.lr).collect();
        Ok(Realised { runs: trained.iter().map(lrs).collect(), diverged, sets_more })
    }

    /// The runs in the order of their seeds; one run where the seed makes no difference.
    pub fn runs(&self) -> &[Vec<f64>] {
        &self.runs
    }

    /// Geometric mean over the runs that had the interval; where all agree, that number to the bit.
    pub fn geometric_mean(&self) -> Vec<f64> {
        self.over_runs(|sorted| {
            if sorted.first() == sorted.last() {
                return sorted[0];
            }
            (sorted.iter().map(|lr| lr.ln()).sum::<f64>() / sorted.len() as f64).exp()
        })
    }

    /// Median over the runs that had the interval.
    pub fn median(&self) -> Vec<f64> {
        self.over_runs(|sorted| quantile(sorted, 0.5))
    }

    /// Lowest and highest over the runs, if there are several.
    pub fn range(&self) -> Vec<(f64, f64)> {
        if self.runs.len() < 2 {
            return Vec::new();
        }
        let lowest = self.over_runs(|sorted| sorted[0]);
        lowest.into_iter().zip(self.over_runs(|sorted| sorted[sorted.len() - 1])).collect()
    }

    /// A number for each interval from the sorted learning rates of the runs that had it.
    fn over_runs(&self, number: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let intervals = self.runs.iter().map(Vec::len).max().unwrap_or(0);
        let at = |i: usize| {
            let mut lrs: Vec<f64> = self.runs.iter().filter_map(|run| run.get(i).copied()).collect();
            lrs.sort_unstable_by(f64::total_cmp);
            number(&lrs)
        };
        (0..intervals).map(at).collect()
    }

    /// What to tell about runs that ended early, if there are any.
    pub fn diverged_note(&self) -> Option<String> {
        let list: Vec<String> =
            self.diverged.iter().map(|(seed, last)| format!("seed {seed} in interval {last}")).collect();
        (!list.is_empty()).then(|| format!("diverged, and counted up to there: {}", list.join(", ")))
    }
}

/// The task named on the command line, loaded.
///
/// # Errors
/// Those of the configuration and of the data.
pub fn task(task: &str, set: &[String], global: &GlobalArgs) -> Result<std::sync::Arc<ConfiguredTask>> {
    context::source(&context::load_config(task, set, None)?, global)
}

/// The numbers of a file, in its last column or the one called `loss`, or as a list in JSON.
///
/// # Errors
/// [`Error::Io`], or [`Error::Data`] naming the line.
pub fn losses(path: &std::path::Path) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let wrong =
        |message: String| Error::data(path, message, "give one loss a line, a column called loss, or a JSON list");
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).map_err(|e| wrong(format!("no list of numbers ({e})")));
    }
    let cells = |line: &'_ str| line.split([',', ';', '\t']).map(|c| c.trim().to_owned()).collect::<Vec<String>>();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
    let header = lines.next_if(|(_, line)| cells(line).iter().any(|c| c.parse::<f64>().is_err()));
    let column = header.and_then(|(_, line)| cells(line).iter().position(|c| c.eq_ignore_ascii_case("loss")));
    let number = |(i, line): (usize, &str)| {
        let row = cells(line);
        let cell = column.map_or(row.last(), |c| row.get(c)).map_or("", String::as_str);
        cell.parse::<f64>().map_err(|_| wrong(format!("line {}: `{cell}` is not a loss", i + 1)))
    };
    let losses = lines.map(number).collect::<Result<Vec<f64>>>()?;
    if losses.is_empty() { Err(wrong("there is no loss".into())) } else { Ok(losses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_runs() -> Realised {
        Realised { runs: vec![vec![0.1, 0.4, 0.3], vec![0.1, 0.1]], diverged: vec![(7, 2)], sets_more: true }
    }

    /// √(0.4 · 0.1) = 0.2; equal numbers and the last interval of the longer run come back to the bit.
    #[test]
    fn the_mean_is_geometric() {
        let mean = two_runs().geometric_mean();
        assert!((mean[1] - 0.2).abs() < 1e-15, "{mean:?}");
        assert_eq!([mean[0], mean[2]], [0.1, 0.3]);
        let with_zero = Realised { runs: vec![vec![0.0], vec![0.5]], diverged: Vec::new(), sets_more: false };
        assert_eq!(with_zero.geometric_mean(), [0.0]);
    }

    #[test]
    fn median_and_range_are_over_the_runs_that_had_the_interval() {
        assert_eq!(two_runs().median(), [0.1, 0.25, 0.3]);
        assert_eq!(two_runs().range(), [(0.1, 0.1), (0.1, 0.4), (0.3, 0.3)]);
        assert!(two_runs().diverged_note().unwrap().contains("seed 7 in interval 2"));
        let one = Realised { runs: vec![vec![0.1]], diverged: Vec::new(), sets_more: false };
        assert!(one.range().is_empty() && one.diverged_note().is_none());
    }

    #[test]
    fn losses_are_read_from_every_form() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("losses");
        for text in ["2\n-1\n", "step,x\n1,2\n2,-1", "loss,x\n2,8\n-1,9\n", "[2, -1.0]"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(losses(&path).unwrap(), [2.0, -1.0], "{text}");
        }
        for (text, word) in [("2\nten", "line 2"), ("", "no loss"), ("[1,\"x\"]", "list")] {
            std::fs::write(&path, text).unwrap();
            assert!(losses(&path).unwrap_err().to_string().contains(word), "{text}");
        }
    }
}
