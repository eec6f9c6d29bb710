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
            diverged: method.diverged.len(),
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
        diverged: of.iter().map(|(_, m)| m.diverged.len()).sum(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const RATIOS: [f64; 3] = [0.95, 1.0, 1.2];

    fn method(name: &str, kind: SuiteKind, test: Vec<f64>) -> MethodRuns {
        let family = name.split(' ').next().filter(|_| kind != SuiteKind::Policy).map(String::from);
        let stopped = test.clone();
        MethodRuns {
            name: name.into(),
            kind,
            family,
            first_lr: 0.1,
            tuning_score: None,
            test,
            stopped,
            diverged: Vec::new(),
            at_chance: Vec::new(),
        }
    }

    /// A task of untrained losses that are `scale` times 1, 2, 3, 4, on which the reference ends at a quarter of them and
    /// `policy` at `factor` times that, with the floor taken into account: (L + ε) is `factor` times that of the reference.
    fn task(number: usize, scale: f64, factor: f64) -> TaskRuns {
        let untrained: Vec<f64> = (1..=4).map(|seed| scale * f64::from(seed)).collect();
        let of = |share: f64| untrained.iter().map(|l0| l0 * (share * 0.26 - FLOOR)).collect::<Vec<f64>>();
        let tuned = |name: &str, share: f64, score: f64| MethodRuns {
            tuning_score: Some(score),
            ..method(name, SuiteKind::Tuned, of(share))
        };
        TaskRuns {
            number,
            name: format!("task {number}"),
            regime: String::new(),
            unseen: Vec::new(),
            identity: number.to_string(),
            untrained: untrained.clone(),
            methods: vec![
                tuned("constant (tuned)", 1.1, -1.0),
                tuned("cosine (tuned)", 1.0, -2.0),
                tuned("plateau (tuned)", 0.97, -1.5),
                tuned("linear (tuned)", 0.9, -3.0),
                method("constant (default)", SuiteKind::Default, of(2.0)),
                method("cosine (default)", SuiteKind::Default, of(0.98)),
                method("policy", SuiteKind::Policy, of(factor)),
            ],
        }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn the_reference_itself_scores_exactly_one() {
        let tasks = [task(1, 1.0, 1.0), task(2, 30.0, 1.0)];
        for name in ["cosine (tuned)", "policy"] {
            let score = method_score(&tasks, name, &RATIOS, 7).unwrap();
            let s = &score.scores[0];
            assert_eq!([s.iqm, s.mean, s.runs_lo, s.runs_hi, s.tasks_lo, s.tasks_hi], [1.0; 6], "{name}");
            assert_eq!(score.better_equal_worse, [0.0, 1.0, 0.0]);
            assert_eq!(score.profile, [0.0, 1.0, 1.0]);
        }
    }

    /// (L + ε) of 0.9 and 1.3 times the reference's on two tasks of four seeds each: the middle half of the eight is two of
    /// each, so the interquartile mean of ln is that of both tasks, as is the mean.
    #[test]
    fn ratios_come_out_as_they_were_put_in() {
        let nine = method_score(&[task(1, 1.0, 0.9), task(2, 5.0, 0.9)], "policy", &RATIOS, 7).unwrap();
        assert!(close(nine.scores[0].iqm, 0.9) && close(nine.scores[0].mean, 0.9), "{:?}", nine.scores[0]);
        assert!(close(nine.scores[0].tasks_hi, 0.9) && nine.profile == [1.0, 1.0, 1.0]);
        let tasks = [task(1, 1.0, 0.9), task(2, 5.0, 1.3)];
        let mixed = method_score(&tasks, "policy", &RATIOS, 7).unwrap();
        let expected = (0.9f64 * 1.3).sqrt();
        assert!(close(mixed.scores[0].iqm, expected) && close(mixed.scores[0].mean, expected));
        assert!(close(mixed.scores[0].tasks_lo, 0.9) && close(mixed.scores[0].tasks_hi, 1.3), "either task alone");
        assert!(close(mixed.scores[0].runs_lo, expected), "runs of a task are equal, so other runs change nothing");
        assert_eq!((mixed.worst[0].0, mixed.better_equal_worse), (2, [0.5, 0.0, 0.5]));
        assert!(close(mixed.worst[0].1, 1.3) && mixed.profile == [0.5, 0.5, 0.5]);
        // The default constant is at twice the reference on both: ln 0.9 / ln 2 and ln 1.3 / ln 2.
        assert!(close(mixed.tasks[0].normalised_regret.unwrap(), 0.9f64.ln() / 2f64.ln()));
        // The other default is at 0.98.
        assert!(close(mixed.beats_untuned_share, 0.5));
        let aggregate = aggregate(&mixed, &[&nine]);
        assert!(close(aggregate.lr0_spread.unwrap(), expected / 0.9 - 1.0) && close(aggregate.worst, 1.3));
        assert_eq!((aggregate.tasks, aggregate.diverged), (2, 0));
    }

    /// Cosine has the best tuning score of the first five families, plateau the smallest losses among them; linear, the
    /// sixth, is best by both.
    #[test]
    fn each_reference_is_another_method() {
        let task = task(1, 1.0, 1.0);
        let of = |choice, families| {
            let against = Against { choice, families, early_stopping: false };
            reference(&task, against).unwrap().name.clone()
        };
        assert_eq!(of(Choice::Tuning, 5), "cosine (tuned)");
        assert_eq!(of(Choice::Hindsight, 5), "plateau (tuned)");
        assert_eq!(
            (of(Choice::Tuning, 7), of(Choice::Hindsight, 7)),
            ("linear (tuned)".into(), "linear (tuned)".into())
        );
        let known = task_reference(&task).unwrap();
        assert_eq!((known.family.as_str(), known.hindsight_family.as_str(), known.flat), ("cosine", "plateau", false));
    }

    /// With the default at 1.001 ± 0.01 of the reference, nothing is to be gained.
    #[test]
    fn a_task_on_which_the_default_does_as_well_is_flat() {
        let mut task = task(1, 1.0, 1.0);
        let noise = [0.99, 1.012, 0.991, 1.011];
        let reference = task.methods[1].test.clone();
        task.methods[4].test = reference.iter().zip(noise).map(|(loss, factor)| loss * factor).collect();
        assert!(task_reference(&task).unwrap().flat);
        let score = method_score(&[task], "policy", &RATIOS, 1).unwrap();
        assert_eq!((score.normalised_regret, score.tasks[0].normalised_regret), (None, None));
    }

    /// By the definition, seed by seed: 0 and 0.5 count a win and half a win.
    #[test]
    fn the_chance_of_improvement_counts_seeds_and_halves_ties() {
        let mut task = task(1, 1.0, 1.0);
        let cosine = task.methods[1].test.clone();
        task.methods[6].test = vec![cosine[0] * 0.5, cosine[1], cosine[2] * 2.0, cosine[3] * 2.0];
        let score = method_score(&[task], "policy", &RATIOS, 1).unwrap();
        let over = score.improvement_over.iter().find(|(name, _)| name == "cosine (tuned)").unwrap();
        assert_eq!(over.1, (1.0 + 0.5) / 4.0);
    }

    /// The slow definition of the score on uneven losses: every difference by hand, sorted, a quarter cut from each end.
    #[test]
    fn the_score_equals_its_slow_definition() {
        let mut tasks = [task(1, 1.0, 1.0), task(2, 3.0, 1.0), task(3, 0.2, 1.0)];
        let mut all = Vec::new();
        for (t, task) in tasks.iter_mut().enumerate() {
            for j in 0..4 {
                let loss = 0.1 + 0.37 * ((7 * t + 3 * j) % 5) as f64;
                task.methods[6].test[j] = loss * task.untrained[j];
                let epsilon = 0.01 * task.untrained[j];
                all.push((loss * task.untrained[j] + epsilon).ln() - (task.methods[1].test[j] + epsilon).ln());
            }
        }
        all.sort_by(f64::total_cmp);
        let slow = (all[3..9].iter().sum::<f64>() / 6.0).exp();
        let score = method_score(&tasks, "policy", &RATIOS, 1).unwrap();
        assert!(close(score.scores[0].iqm, slow), "{} {slow}", score.scores[0].iqm);
        assert!(score.scores[0].runs_lo <= slow && slow <= score.scores[0].runs_hi);
        assert_eq!(score.scores.len(), 8, "two choices, two sets of families, with and without early stopping");
    }
}
