//! From losses to the numbers that a policy is judged by.
//!
//! For task τ, method m and seed j, d = ln(L_m + ε) − ln(L_ref + ε), where both runs have the same seed and ε is 1 % of the
//! untrained network's loss. The score of m is exp of the interquartile mean of d over all tasks and seeds. D_τ is the mean
//! over the seeds of a task.

use crate::record::statistics::{RESAMPLES, estimate, interquartile_mean, quantile};
use crate::record::suite::{Aggregate, MethodRuns, MethodScore, Score, SuiteKind, TaskReference, TaskRuns, TaskScore};
use crate::rng::{Purpose, stream};
use crate::suite::method::{Family, default_name, tuned_name};
use crate::suite::run::FLOOR;
use crate::{Error, Result};
use rand::RngExt as _;

/// ln ratios within this of 0 count as equal.
const EQUAL: f64 = 0.01;
/// Standard errors by which the default has to be worse than the reference for a task not to be flat.
const FLAT: f64 = 3.0;
/// How many of the worst tasks are listed.
const WORST: usize = 5;

/// How the reference of a task is chosen among its tuned families.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Choice {
    /// The smallest tuning score, as somebody would ship it.
    Tuning,
    /// The smallest mean ln(L + ε) on the fresh seeds, which nobody knows beforehand.
    Hindsight,
}

/// Which reference, and whether the weights with the smallest loss on validation A are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Against {
    pub choice: Choice,
    /// How many of [`Family::ALL`] are chosen from.
    pub families: usize,
    pub early_stopping: bool,
}

/// The reference of the headline: chosen by tuning among the first five families, last weights.
pub(super) const PRIMARY: Against = Against { choice: Choice::Tuning, families: 5, early_stopping: false };

impl Against {
    /// All of them, the primary one first.
    fn all() -> Vec<Against> {
        let mut all = Vec::new();
        for early_stopping in [false, true] {
            for families in [5, Family::ALL.len()] {
                all.extend([Choice::Tuning, Choice::Hindsight].map(|choice| Against {
                    choice,
                    families,
                    early_stopping,
                }));
            }
        }
        all
    }

    fn name(self) -> String {
        let how = match self.choice {
            Choice::Tuning => "chosen by tuning",
            Choice::Hindsight => "chosen in hindsight",
        };
        format!("best of {} tuned families, {how}", self.families)
    }
}

/// ln(L + ε) of each seed.
fn logs(task: &TaskRuns, method: &MethodRuns, early_stopping: bool) -> Vec<f64> {
    let losses = if early_stopping { &method.stopped } else { &method.test };
    losses.iter().zip(&task.untrained).map(|(loss, l0)| (loss + FLOOR * l0).ln()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Paired differences of ln(L + ε).
fn differences(task: &TaskRuns, a: &MethodRuns, b: &MethodRuns, early_stopping: bool) -> Vec<f64> {
    logs(task, a, early_stopping).iter().zip(logs(task, b, early_stopping)).map(|(a, b)| a - b).collect()
}

/// The tuned families of a task that a reference is chosen from.
fn tuned(task: &TaskRuns, families: usize) -> impl Iterator<Item = &MethodRuns> {
    let known = move |m: &&MethodRuns| {
        let of = |family: &Family| m.family.as_deref() == Some(family.name());
        m.kind == SuiteKind::Tuned && Family::ALL[..families].iter().any(of)
    };
    task.methods.iter().filter(known)
}

/// The reference of a task.
fn reference(task: &TaskRuns, against: Against) -> Result<&MethodRuns> {
    let key = |m: &&MethodRuns| match against.choice {
        Choice::Tuning => m.tuning_score.unwrap_or(f64::INFINITY),
        Choice::Hindsight => mean(&logs(task, m, against.early_stopping)),
    };
    tuned(task, against.families)
        .min_by(|a, b| key(a).total_cmp(&key(b)))
        .ok_or_else(|| Error::Bug(format!("task {} has no tuned method", task.number)))
}

/// The method called `name` on each task.
fn on_tasks<'a>(tasks: &'a [TaskRuns], name: &str) -> Vec<(&'a TaskRuns, &'a MethodRuns)> {
    let find = |task: &'a TaskRuns| Some((task, task.methods.iter().find(|m| m.name == name)?));
    tasks.iter().filter_map(find).collect()
}

/// Differences to the reference, task by task.
fn against_reference(of: &[(&TaskRuns, &MethodRuns)], against: Against) -> Result<Vec<Vec<f64>>> {
    of.iter().map(|(task, m)| Ok(differences(task, m, reference(task, against)?, against.early_stopping))).collect()
}

/// The score with both intervals.
pub(super) fn score(differences: &[Vec<f64>], against: Against, seed: u64) -> Result<Score> {
    let all: Vec<f64> = differences.concat();
    let strata: Vec<u64> = differences.iter().zip(0..).flat_map(|(d, task)| vec![task; d.len()]).collect();
    let over_runs = estimate(&all, &strata, seed)?;
    let mut rng = stream(seed, Purpose::TaskBootstrap, 0);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..differences.len()).map(|_| &differences[rng.random_range(0..differences.len())][..]);
            interquartile_mean(&drawn.collect::<Vec<_>>().concat())
        })
        .collect();
    resampled.sort_unstable_by(f64::total_cmp);
    Ok(Score {
        reference: against.name(),
        early_stopping: against.early_stopping,
        iqm: over_runs.iqm.exp(),
        runs_lo: over_runs.lo.exp(),
        runs_hi: over_runs.hi.exp(),
        tasks_lo: quantile(&resampled, 0.025).exp(),
        tasks_hi: quantile(&resampled, 0.975).exp(),
        mean: mean(&all).exp(),
    })
}

/// The difference of the constant default learning rate to the reference, where it is more than three standard errors
/// above it: the size of a normalised regret of 1.
fn default_regret(task: &TaskRuns) -> Result<Option<f64>> {
    let name = default_name(Family::Constant);
    let Some(default) = task.methods.iter().find(|m| m.name == name) else { return Ok(None) };
    let d = differences(task, default, reference(task, PRIMARY)?, false);
    let (average, n) = (mean(&d), d.len() as f64);
    let variance = d.iter().map(|d| (d - average).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    Ok((average > FLAT * (variance / n).sqrt() && average > 0.0).then_some(average))
}

/// Whether a method is better on average than every family with its default learning rate.
fn beats_defaults(task: &TaskRuns, method: &MethodRuns) -> bool {
    let own = mean(&logs(task, method, false));
    let defaults = task.methods.iter().filter(|m| m.kind == SuiteKind::Default && m.name != method.name);
    defaults.into_iter().all(|m| own < mean(&logs(task, m, false)))
}

/// Share of the seeds with a smaller loss than the other's; ties count half.
fn improvement(task: &TaskRuns, method: &MethodRuns, other: &MethodRuns) -> f64 {
    let won = |d: &f64| {
        if *d < 0.0 {
            1.0
        } else if *d == 0.0 {
            0.5
        } else {
            0.0
        }
    };
    mean(&differences(task, method, other, false).iter().map(won).collect::<Vec<_>>())
}

fn share<T>(values: &[T], holds: impl Fn(&T) -> bool) -> f64 {
    values.iter().filter(|v| holds(v)).count() as f64 / values.len() as f64
}

/// Everything about the method called `name`, on the tasks that it was run on. Methods that are put to the test get a score
/// against every reference, the others against the primary one.
pub(super) fn method_score(tasks: &[TaskRuns], name: &str, ratios: &[f64], seed: u64) -> Result<MethodScore> {
    let of = on_tasks(tasks, name);
    let kind = of.first().map(|(_, m)| m.kind).ok_or_else(|| Error::Bug(format!("no runs of {name}")))?;
    let primary = against_reference(&of, PRIMARY)?;
    let against = match kind {
        SuiteKind::Policy | SuiteKind::Control => Against::all(),
        _ => vec![PRIMARY, Against { early_stopping: true, ..PRIMARY }],
    };
    let scores = against.into_iter().map(|a| score(&against_reference(&of, a)?, a, seed)).collect::<Result<_>>()?;
    let stopped = against_reference(&of, Against { early_stopping: true, ..PRIMARY })?;
    let mut of_tasks = Vec::new();
    for (((task, method), d), stopped) in of.iter().zip(&primary).zip(&stopped) {
        of_tasks.push(TaskScore {
            task: task.number,
            test_loss: mean(&method.test),
            ratio: mean(d).exp(),
            stopped_ratio: mean(stopped).exp(),
            diverged: method.diverged,
            normalised_regret: default_regret(task)?.map(|regret| mean(d) / regret),
        });
    }
    let means: Vec<f64> = primary.iter().map(|d| mean(d)).collect();
    let all = primary.concat();
    let regrets: Vec<f64> = of_tasks.iter().filter_map(|t| t.normalised_regret).collect();
    Ok(MethodScore {
        name: name.to_owned(),
        kind,
        scores,
        better_equal_worse: [
            share(&means, |d| *d < -EQUAL),
            share(&means, |d| d.abs() <= EQUAL),
            share(&means, |d| *d > EQUAL),
        ],
        worst: worst(&of_tasks),
        improvement_over: improvements(&of),
        normalised_regret: (!regrets.is_empty()).then(|| interquartile_mean(&regrets)),
        beats_untuned_share: share(&of, |(task, method)| beats_defaults(task, method)),
        diverged: of.iter().map(|(_, m)| m.diverged).sum(),
        tasks: of_tasks,
        profile: ratios.iter().map(|x| share(&all, |d| d.exp() <= *x)).collect(),
    })
}

fn worst(tasks: &[TaskScore]) -> Vec<(usize, f64)> {
    let mut sorted: Vec<(usize, f64)> = tasks.iter().map(|t| (t.task, t.ratio)).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    sorted.truncate(WORST);
    sorted
}

/// Against each tuned family, the mean over the tasks.
fn improvements(of: &[(&TaskRuns, &MethodRuns)]) -> Vec<(String, f64)> {
    let over = |family: Family| {
        let name = tuned_name(family);
        let on = |(task, method): &(&TaskRuns, &MethodRuns)| {
            let other = task.methods.iter().find(|m| m.name == name)?;
            Some(improvement(task, method, other))
        };
        let shares: Vec<f64> = of.iter().filter_map(on).collect();
        (name, mean(&shares))
    };
    Family::ALL.into_iter().map(over).collect()
}

/// What ratios on a task are to.
pub(super) fn task_reference(task: &TaskRuns) -> Result<TaskReference> {
    let primary = reference(task, PRIMARY)?;
    let hindsight = reference(task, Against { choice: Choice::Hindsight, ..PRIMARY })?;
    let family = |m: &MethodRuns| m.family.clone().unwrap_or_default();
    Ok(TaskReference {
        number: task.number,
        name: task.name.clone(),
        regime: task.regime.clone(),
        unseen: task.unseen.clone(),
        untrained_loss: mean(&task.untrained),
        family: family(primary),
        lr: primary.first_lr,
        test_loss: mean(&primary.test),
        hindsight_family: family(hindsight),
        flat: default_regret(task)?.is_none(),
    })
}

/// The few numbers of a policy, from its own score and those from starting learning rates.
pub(super) fn aggregate(own: &MethodScore, starts: &[&MethodScore]) -> Aggregate {
    let iqms = || starts.iter().map(|s| s.scores[0].iqm).chain([own.scores[0].iqm]);
    let spread = iqms().fold(0.0, f64::max) / iqms().fold(f64::INFINITY, f64::min) - 1.0;
    Aggregate {
        tasks: own.tasks.len(),
        diverged: own.diverged + starts.iter().map(|s| s.diverged).sum::<usize>(),
        iqm_vs_best_tuned: own.scores[0].iqm,
        lo: own.scores[0].runs_lo,
        hi: own.scores[0].runs_hi,
        mean_vs_best_tuned: own.scores[0].mean,
        worst: own.worst.first().map_or(f64::NAN, |(_, ratio)| *ratio),
        beats_untuned_share: own.beats_untuned_share,
        lr0_spread: (!starts.is_empty()).then_some(spread),
    }
}
