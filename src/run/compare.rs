//! The fair comparison: every method with the same budget, the same fresh seeds, the same data.
//!
//! Tuning and evaluation use different seeds, and each tuned method is run again on the fresh ones: the smallest of many
//! tuning runs is a lucky one. Runs are paired: a seed fixes initial weights and batch order whatever the method.

use crate::range;
use crate::record::statistics::{estimate, replace_non_finite};
use crate::record::{BreakEven, Claim, Comparison, Estimate, MethodResult, RunRecord};
use crate::rng::{Purpose, derive_seed};
use crate::run::jobs::{JobSpec, Jobs};
use crate::run::session::RunContext;
use crate::run::trial::Record;
use crate::store::journal::Store;
use crate::task::{TaskSource, TaskSpec};
use crate::{Error, Result, limits};
use lrpilot_core::schedule::{GreedyLr, MetricDriven, OpenLoop, Plateau};
use lrpilot_core::{Learned, Schedule};

/// Points of the LR grid, log-spaced in [1e-6, 1] (paper, §3).
const GRID_POINTS: usize = 100;
const GRID_BOUNDS: (f64, f64) = (1e-6, 1.0);

/// Which policies are compared on what.
pub struct CompareOptions<'a> {
    /// Name, kind (`learned`, `paper`, `control`) and one policy per policy seed.
    pub policies: Vec<(String, String, Vec<Learned>)>,
    /// Epochs that each policy cost and each tuned method may spend.
    pub budget_epochs: u64,
    /// Fresh seeds, ≥ 1.
    pub child_seeds: usize,
    /// Seed of the comparison.
    pub seed: u64,
    /// The command that makes the same numbers, for the record.
    pub command: &'a str,
}

/// The families whose initial LR is tuned.
fn families(spec: &TaskSpec) -> Vec<(&'static str, Family)> {
    vec![
        ("constant", Family::OpenLoop(OpenLoop::Constant {})),
        ("cosine", Family::OpenLoop(OpenLoop::cosine(spec.horizon))),
        ("one-cycle", Family::OpenLoop(OpenLoop::one_cycle(spec.horizon.max(2)))),
        ("plateau", Family::Metric(MetricDriven::Plateau(Plateau::default()))),
        ("greedy", Family::Metric(MetricDriven::Greedy(GreedyLr::default()))),
    ]
}

#[derive(Clone)]
enum Family {
    OpenLoop(OpenLoop),
    Metric(MetricDriven),
}

impl Family {
    fn method(&self, lr: f64) -> Schedule {
        match self {
            Family::OpenLoop(schedule) => Schedule::OpenLoop { schedule: schedule.clone(), lr },
            Family::Metric(schedule) => Schedule::Metric { schedule: schedule.clone(), lr },
        }
    }
}

/// A method of the comparison, ready to be run on the fresh seeds.
struct Entry {
    name: String,
    kind: String,
    epochs_spent: u64,
    initial_lr: Option<f64>,
    /// One per policy seed; one alone for the others.
    variants: Vec<(Option<u64>, Schedule)>,
}

/// Run the comparison; finished runs go to `store` as they come and are not repeated.
///
/// # Errors
/// [`Error::Config`] for a budget below one grid, [`Error::Interrupted`] if stopped, and the task's errors.
pub fn compare(
    source: &dyn TaskSource,
    options: &CompareOptions<'_>,
    store: Option<Store<RunRecord>>,
    context: &RunContext<'_>,
) -> Result<(Comparison, Vec<RunRecord>)> {
    let (spec, progress) = (source.spec().clone(), context.progress);
    let tuning_seeds = tuning_seeds(options.budget_epochs, &spec)?;
    let families = families(&spec);
    progress.start(planned_epochs(options, &families, tuning_seeds, &spec), "comparing");
    let mut jobs = Jobs::new(source, store, *context)?;
    let mut entries: Vec<Entry> = Vec::new();
    for (name, kind, policies) in &options.policies {
        entries.push(learned_entry(name, kind, policies, options.budget_epochs));
    }
    entries.extend(control_entries(&mut jobs, options, &spec)?);
    for (name, family) in &families {
        let seeds = tuning_seed_list(options.seed, tuning_seeds);
        let lr = tune(&mut jobs, &format!("{name} (tuned)"), family, &seeds, &spec)?;
        let epochs_spent = (GRID_POINTS * tuning_seeds * spec.horizon) as u64;
        let variants = |lr| vec![(None, family.method(lr))];
        entries.push(Entry {
            name: format!("{name} (tuned)"),
            kind: "tuned".into(),
            epochs_spent,
            initial_lr: Some(lr),
            variants: variants(lr),
        });
        entries.push(Entry {
            name: format!("{name} (defaults)"),
            kind: "default".into(),
            epochs_spent: 0,
            initial_lr: Some(spec.default_lr),
            variants: variants(spec.default_lr),
        });
    }
    entries.push(hindsight_entry(&mut jobs, options, &spec)?);
    let mut runs = Vec::new();
    let mut methods = Vec::new();
    for entry in &entries {
        let records = jobs.run(&evaluation_jobs(entry, options, source))?;
        methods.push(result(entry, &records, &spec, options.seed)?);
        runs.extend(records);
    }
    progress.finish(&format!("{} methods on {} fresh seeds", methods.len(), options.child_seeds));
    let comparison = Comparison {
        task: spec.name.clone(),
        budget_epochs: options.budget_epochs,
        claims: claims(&methods, &runs, &spec, options.seed)?,
        break_even: break_even(&methods, spec.horizon),
        methods,
        command: options.command.to_owned(),
    };
    Ok((comparison, runs))
}

/// Seeds per grid point that the budget allows.
///
/// # Errors
/// If schedules cannot be compared on the task, or the budget is below one grid.
pub(crate) fn tuning_seeds(budget_epochs: u64, spec: &TaskSpec) -> Result<usize> {
    if spec.finds_lr {
        return Err(Error::usage(
            "schedules cannot be compared on a line search",
            "choose another optimizer, e.g. sgd",
        ));
    }
    let grid = (GRID_POINTS * spec.horizon) as u64;
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

fn planned_epochs(options: &CompareOptions<'_>, families: &[(&str, Family)], tuning: usize, spec: &TaskSpec) -> u64 {
    let policies: usize = options.policies.iter().map(|(_, _, p)| p.len()).sum();
    let learned =
        options.policies.iter().filter(|(_, kind, _)| kind == "learned").map(|(_, _, p)| p.len()).sum::<usize>();
    let evaluations = (policies + 2 * learned + 2 * families.len()) * options.child_seeds + learned;
    let grids = families.len() * tuning + options.child_seeds;
    ((evaluations + options.child_seeds + GRID_POINTS * grids) * spec.horizon) as u64
}

/// Fresh seeds: of another purpose than those of learning, selection and tuning.
fn child_seed(options: &CompareOptions<'_>, i: usize) -> u64 {
    derive_seed(options.seed, Purpose::Bootstrap, 1 + i as u64)
}

fn learned_entry(name: &str, kind: &str, policies: &[Learned], budget: u64) -> Entry {
    let variant = |p: &Learned| (Some(p.provenance().seed), Schedule::learned(p.clone()));
    Entry {
        name: name.to_owned(),
        kind: kind.to_owned(),
        epochs_spent: if kind == "control" { 0 } else { budget },
        initial_lr: None,
        variants: policies.iter().map(variant).collect(),
    }
}

/// Controls of the learned policies: the schedule of one run replayed blindly on other seeds, and its mean LR.
fn control_entries(jobs: &mut Jobs<'_>, options: &CompareOptions<'_>, spec: &TaskSpec) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, _, policies) in options.policies.iter().filter(|(_, kind, _)| kind == "learned") {
        let source: Vec<JobSpec> = policies
            .iter()
            .map(|policy| JobSpec {
                task: jobs.source().identity(),
                stage: "replay-source".into(),
                name: format!("{name}: source of the replay"),
                schedule: Schedule::learned(policy.clone()),
                initial_lr: None,
                seed: derive_seed(options.seed, Purpose::Bootstrap, 0),
                policy_seed: Some(policy.provenance().seed),
                record: Record::Final,
            })
            .collect();
        let histories: Vec<(Option<u64>, Vec<f64>)> =
            jobs.run(&source)?.iter().map(|r| (r.policy_seed, r.curve.iter().map(|c| c.lr).collect())).collect();
        let entry = |suffix: &str, method: &dyn Fn(&[f64]) -> Schedule| Entry {
            name: format!("{name}: {suffix}"),
            kind: "control".into(),
            epochs_spent: options.budget_epochs + spec.horizon as u64,
            initial_lr: None,
            variants: histories.iter().map(|(seed, lrs)| (*seed, method(lrs))).collect(),
        };
        entries.push(entry("open-loop replay", &|lrs| Schedule::Replay { lrs: lrs.to_vec() }));
        entries.push(entry("its mean LR", &|lrs| Schedule::OpenLoop {
            schedule: OpenLoop::Constant {},
            lr: lrs.iter().sum::<f64>() / lrs.len() as f64,
        }));
    }
    Ok(entries)
}

/// The constant LR of the grid that turns out best on the very seeds of the evaluation: no method can know it, and no
/// constant LR of the grid does better there.
fn hindsight_entry(jobs: &mut Jobs<'_>, options: &CompareOptions<'_>, spec: &TaskSpec) -> Result<Entry> {
    let (name, family) = ("constant (best in hindsight)", Family::OpenLoop(OpenLoop::Constant {}));
    let seeds: Vec<u64> = (0..options.child_seeds).map(|i| child_seed(options, i)).collect();
    let lr = tune(jobs, name, &family, &seeds, spec)?;
    Ok(Entry {
        name: name.into(),
        kind: "hindsight".into(),
        epochs_spent: (GRID_POINTS * seeds.len() * spec.horizon) as u64,
        initial_lr: Some(lr),
        variants: vec![(None, family.method(lr))],
    })
}

/// Seeds of tuning, apart from those of learning, selection and evaluation.
fn tuning_seed_list(seed: u64, count: usize) -> Vec<u64> {
    (0..count).map(|s| derive_seed(seed, Purpose::Episode, 1 << 62 | s as u64)).collect()
}

/// The grid's LR with the smallest mean final validation-B loss; a diverged run counts as ten times chance.
fn tune(jobs: &mut Jobs<'_>, name: &str, family: &Family, seeds: &[u64], spec: &TaskSpec) -> Result<f64> {
    let lrs: Vec<f64> = grid();
    let source = jobs.source();
    let job = |lr: f64, seed: u64| JobSpec {
        task: source.identity(),
        stage: "tune".into(),
        name: name.to_owned(),
        schedule: family.method(lr),
        initial_lr: Some(lr),
        seed,
        policy_seed: None,
        record: Record::Final,
    };
    let grid_jobs: Vec<JobSpec> = lrs.iter().flat_map(|lr| seeds.iter().map(|seed| job(*lr, *seed))).collect();
    let records = jobs.run(&grid_jobs)?;
    let sums = records.chunks(seeds.len()).map(|runs| runs.iter().map(|r| final_loss(r, spec)).sum::<f64>());
    let best = lrs.iter().zip(sums).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(lr, _)| *lr);
    best.ok_or_else(|| Error::Bug("an empty grid".into()))
}

/// 100 log-spaced learning rates in [1e-6, 1].
pub fn grid() -> Vec<f64> {
    log_grid(GRID_POINTS)
}

/// `points` ≥ 2 log-spaced learning rates in [1e-6, 1].
pub fn log_grid(points: usize) -> Vec<f64> {
    let (min, max) = (GRID_BOUNDS.0.ln(), GRID_BOUNDS.1.ln());
    (0..points).map(|i| (min + (max - min) * i as f64 / (points - 1) as f64).exp()).collect()
}

fn evaluation_jobs(entry: &Entry, options: &CompareOptions<'_>, source: &dyn TaskSource) -> Vec<JobSpec> {
    let of_variant = |(policy_seed, method): &(Option<u64>, Schedule)| {
        (0..options.child_seeds)
            .map(|i| JobSpec {
                task: source.identity(),
                stage: "compare".into(),
                name: entry.name.clone(),
                schedule: method.clone(),
                initial_lr: entry.initial_lr,
                seed: child_seed(options, i),
                policy_seed: *policy_seed,
                record: Record::Everything,
            })
            .collect::<Vec<_>>()
    };
    entry.variants.iter().flat_map(of_variant).collect()
}

/// What a diverged run counts as: ten times the loss of knowing nothing.
fn penalty(spec: &TaskSpec) -> f64 {
    10.0 * spec.chance_loss.unwrap_or(1.0)
}

/// Final validation-B loss; a diverged run counts as ten times the loss of knowing nothing.
pub(crate) fn final_loss(run: &RunRecord, spec: &TaskSpec) -> f64 {
    let last = run.curve.last().map_or(f64::NAN, |c| c.val_loss_b);
    if last.is_finite() { last } else { penalty(spec) }
}

fn result(entry: &Entry, runs: &[RunRecord], spec: &TaskSpec, seed: u64) -> Result<MethodResult> {
    let strata: Vec<u64> = runs.iter().map(|r| r.policy_seed.unwrap_or(0)).collect();
    let of = |f: &dyn Fn(&RunRecord) -> f64| -> Result<Estimate> {
        let values: Vec<f64> = runs.iter().map(f).collect();
        estimate(&replace_non_finite(&values, penalty(spec)), &strata, seed)
    };
    let best = |r: &RunRecord| r.curve.iter().map(|c| c.val_loss_b).fold(f64::NAN, f64::min);
    Ok(MethodResult {
        name: entry.name.clone(),
        kind: entry.kind.clone(),
        epochs_spent: entry.epochs_spent,
        runs: runs.len(),
        diverged: runs.iter().filter(|r| r.diverged || r.at_chance).count(),
        final_val_loss: of(&|r| final_loss(r, spec))?,
        best_val_loss: of(&best)?,
        test_loss: of(&|r| r.test_loss.unwrap_or(f64::NAN))?,
        initial_lr: entry.initial_lr,
    })
}

/// Paired difference of final validation loss, learned − other, averaged over policy seeds for each child seed.
fn paired_difference(learned: &str, other: &str, runs: &[RunRecord], spec: &TaskSpec, seed: u64) -> Result<Estimate> {
    let mean_of = |name: &str, child: u64| {
        let of_seed = || runs.iter().filter(|r| r.method == name && r.seed == child);
        of_seed().map(|r| final_loss(r, spec)).sum::<f64>() / of_seed().count().max(1) as f64
    };
    let mut seeds: Vec<u64> = runs.iter().filter(|r| r.method == learned).map(|r| r.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let differences: Vec<f64> = seeds.iter().map(|s| mean_of(learned, *s) - mean_of(other, *s)).collect();
    estimate(&differences, &vec![0; differences.len()], seed)
}

/// What the comparison set out to show, and whether it did.
fn claims(methods: &[MethodResult], runs: &[RunRecord], spec: &TaskSpec, seed: u64) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for learned in methods.iter().filter(|m| m.kind == "learned") {
        for other in methods.iter().filter(|m| ["tuned", "hindsight"].contains(&m.kind.as_str())) {
            let difference = paired_difference(&learned.name, &other.name, runs, spec, seed)?;
            let constant = other.name.starts_with("constant");
            let wanted = if constant { "below" } else { "at or below, within the interval," };
            let held = if constant { difference.iqm < 0.0 } else { difference.lo <= 0.0 };
            let verdict = match (difference.lo, difference.hi) {
                (_, hi) if hi < 0.0 => "clearly lower",
                (lo, _) if lo > 0.0 => "clearly higher",
                _ => "a difference within noise",
            };
            claims.push(Claim {
                statement: format!("{}: final validation loss {wanted} {}", learned.name, other.name),
                held,
                evidence: format!(
                    "{:.4} against {:.4}; paired difference {:+.4} [{:+.4}, {:+.4}]: {verdict}",
                    learned.final_val_loss.iqm, other.final_val_loss.iqm, difference.iqm, difference.lo, difference.hi
                ),
            });
        }
        claims.push(Claim {
            statement: format!("{}: no run diverges or sticks at chance", learned.name),
            held: learned.diverged == 0,
            evidence: format!("{} of {} runs", learned.diverged, learned.runs),
        });
    }
    Ok(claims)
}

/// Tuning anew costs its budget for each task trained; a policy costs its budget once.
fn break_even(methods: &[MethodResult], horizon: usize) -> Vec<BreakEven> {
    let mut all = Vec::new();
    for learned in methods.iter().filter(|m| m.kind == "learned") {
        for other in methods.iter().filter(|m| m.kind == "tuned") {
            let (once, each) = (learned.epochs_spent, other.epochs_spent);
            let no_worse = learned.final_val_loss.lo <= other.final_val_loss.hi;
            let trainings = (no_worse && each > 0).then(|| once.div_ceil(each));
            let how = if no_worse {
                format!("{once} epochs once against {each} epochs of tuning for every training of {horizon} epochs")
            } else {
                "its final validation loss is above the other's interval".to_owned()
            };
            all.push(BreakEven { method: other.name.clone(), trainings, how });
        }
    }
    all
}
