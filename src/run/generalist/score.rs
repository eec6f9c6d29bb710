//! Whole runs under a schedule that may choose its moments of decision, and how good a policy is on a set of tasks.

use crate::record::statistics::interquartile_mean;
use crate::rng::selection_seed;
use crate::run::context::RunContext;
use crate::task::{Split, Task, TaskSource, train_interval};
use crate::{Error, Result};
use lrpilot_core::{Decision, Schedule};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// Ratios of losses are floored by this share of the untrained network's loss.
const FLOOR: f64 = 1e-2;
/// Losses above this many times the untrained network's count as that many; so does what is not finite.
const CAP: f64 = 2.0;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Loss of the untrained network on validation A.
    pub initial: f64,
    /// Loss at the end on the part asked for; twice the initial one where it is more, or not finite.
    pub loss: f64,
    /// Intervals that were rolled back.
    pub rolled_back: usize,
}

impl Outcome {
    /// ln of this loss over another one of the same task, floored by a hundredth of the untrained network's loss.
    pub fn log_ratio(&self, other: &Outcome) -> f64 {
        let floor = FLOOR * self.initial;
        ((self.loss + floor) / (other.loss + floor)).ln()
    }
}

/// What the training loop around a schedule offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// The schedule chooses its moments of decision, and an interval that it wants to have rolled back is undone.
    Generous,
    /// Decisions at the ends of the task's intervals, which stand for epochs, and no snapshots: the network stays as it is.
    Plain,
    /// As the generous one, but what would be rolled back ends the run as one that diverged.
    Strict,
}

/// Train one network under `schedule`, which chooses its moments of decision where it can, and look at `split` once, at the
/// end.
///
/// ```
/// use lrpilot::{Schedule, Split, TaskSource};
/// use lrpilot::run::generalist::{Loop, run_schedule};
/// use lrpilot::task::{ConfiguredTask, Preset};
/// let mut task = ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?.task(0)?;
/// let outcome = run_schedule(&mut *task, &Schedule::cosine(0.5, 30), 0, Split::ValidationB, Loop::Generous)?;
/// assert!(outcome.loss < outcome.initial);
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// As the task's and the schedule's.
pub fn run_schedule(
    task: &mut dyn Task,
    schedule: &Schedule,
    seed: u64,
    split: Split,
    around: Loop,
) -> Result<Outcome> {
    let probe = task.reset(seed)?;
    let (interval, total) = (task.spec().steps_per_interval as u64, task.spec().steps());
    let mut run = task.spec().run();
    run.facts.free_intervals = around != Loop::Plain && task.trains_single_steps();
    let mut running = schedule.start(&run, &probe)?;
    let cap = CAP * probe.loss();
    let (mut done, mut rolled_back) = (0, 0);
    while done < total {
        let before = task.save()?;
        let steps = running.steps_to_decision();
        let h = running.hyperparameters();
        let measured = train_interval(task, steps, &|i| running.lr_at(i), &h)?;
        done += steps.unwrap_or(interval);
        match (running.observe(&measured), around) {
            (Decision::RollBack, Loop::Strict) => {
                return Ok(Outcome { initial: probe.loss(), loss: cap, rolled_back: 1 });
            }
            (Decision::RollBack, Loop::Generous) => {
                task.load(&before)?;
                rolled_back += 1;
            }
            (Decision::RollBack, Loop::Plain) => {}
            (Decision::GoOn, _) if measured.diverged => break,
            (Decision::GoOn, _) => {}
        }
    }
    let (loss, _) = task.evaluate(split)?;
    let loss = if loss.is_finite() { loss.min(cap) } else { cap };
    Ok(Outcome { initial: probe.loss(), loss, rolled_back })
}

/// How a policy does on a set of tasks against the base run, which is the same policy with every action 0. 1 is as good,
/// less is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Update that the policy is from.
    pub update: usize,
    /// Decisions that it had learned from.
    pub decisions: u64,
    /// Seconds since learning began, in this process.
    pub seconds: f64,
    /// exp of the mean over tasks and seeds of ln(loss/loss of the base run).
    pub mean: f64,
    /// exp of the interquartile mean.
    pub iqm: f64,
    /// exp of each task's mean, in the order of the tasks.
    pub tasks: Vec<f64>,
    /// Intervals rolled back in all runs.
    pub rolled_back: usize,
}

/// Scores policies on a set of tasks, each with the same seeds.
pub struct Scorer {
    tasks: Vec<Arc<dyn TaskSource>>,
    seeds: Vec<u64>,
    base: Vec<Outcome>,
}

impl Scorer {
    /// Run the base schedule on every task and seed.
    ///
    /// # Errors
    /// The tasks' own; [`Error::Config`] without tasks.
    pub fn new(
        tasks: Vec<Arc<dyn TaskSource>>,
        seeds: usize,
        seed: u64,
        base: &Schedule,
        context: &RunContext<'_>,
    ) -> Result<Self> {
        if tasks.is_empty() {
            return Err(Error::config("learn", "there are no tasks to choose a policy on", "give at least one"));
        }
        let seeds = (0..seeds as u64).map(|i| selection_seed(seed, i)).collect();
        let mut scorer = Scorer { tasks, seeds, base: Vec::new() };
        scorer.base = scorer.outcomes(base, context)?;
        Ok(scorer)
    }

    /// Task after task, seed after seed.
    fn outcomes(&self, schedule: &Schedule, context: &RunContext<'_>) -> Result<Vec<Outcome>> {
        let count = self.tasks.len() * self.seeds.len();
        let outcomes = Mutex::new(vec![None; count]);
        context.executor.each(count, &|i| {
            let (task, run) = (i / self.seeds.len(), i % self.seeds.len());
            let seed = self.seeds[run];
            // Both kinds of callers count alike.
            let around = if run.is_multiple_of(2) { Loop::Generous } else { Loop::Plain };
            let outcome = run_schedule(&mut *self.tasks[task].task(seed)?, schedule, seed, Split::ValidationB, around)?;
            outcomes.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(outcome);
            Ok(())
        })?;
        Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect())
    }

    /// Names of the tasks.
    pub fn names(&self) -> Vec<String> {
        self.tasks.iter().map(|t| t.name().to_owned()).collect()
    }

    /// The score of a policy; `update`, `decisions` and `seconds` are left 0.
    ///
    /// # Errors
    /// The tasks' own.
    pub fn score(&self, policy: &Schedule, context: &RunContext<'_>) -> Result<Score> {
        let outcomes = self.outcomes(policy, context)?;
        let ratios: Vec<f64> = outcomes.iter().zip(&self.base).map(|(ours, base)| ours.log_ratio(base)).collect();
        let mean = |values: &[f64]| (values.iter().sum::<f64>() / values.len() as f64).exp();
        Ok(Score {
            update: 0,
            decisions: 0,
            seconds: 0.0,
            mean: mean(&ratios),
            iqm: interquartile_mean(&ratios).exp(),
            tasks: ratios.chunks(self.seeds.len()).map(mean).collect(),
            rolled_back: outcomes.iter().map(|o| o.rolled_back).sum(),
        })
    }
}
