//! The fair comparison: every method with the same budget, the same fresh seeds, the same data.
//!
//! Tuning and evaluation use different seeds, and each tuned method is run again on the fresh ones: the smallest of many
//! tuning runs is a lucky one. Runs are paired: a seed fixes initial weights and batch order whatever the method.

mod claims;
mod controls;
mod grid;
mod share;

pub use grid::{grid_epochs, log_grid, tuning_seeds};
pub use share::{Share, run_share};

use crate::Result;
use crate::record::statistics::estimate;
use crate::record::{Comparison, Estimate, Kind, MethodResult, RunRecord, Stage, penalty};
use crate::rng;
use crate::run::context::RunContext;
use crate::run::job::JobSpec;
use crate::run::jobs::Jobs;
use crate::run::trial::Record;
use crate::store::journal::Store;
use crate::task::{TaskSource, TaskSpec};
use claims::{Wanted, break_even, claims};
use controls::{hindsight_entry, policy_controls};
use grid::{Family, GRID_POINTS, families, grid_jobs, tune, tuning_seed_list};
use lrpilot_core::generalist::NEWEST;
use lrpilot_core::{Learned, Schedule};

/// Which policies are compared on what.
pub struct CompareOptions<'a> {
    /// The policies.
    pub policies: Vec<PolicyGroup>,
    /// Epochs that each policy cost and each tuned method may spend.
    pub budget_epochs: u64,
    /// Fresh seeds, ≥ 1.
    pub evaluation_seeds: usize,
    /// Seed of the comparison.
    pub seed: u64,
    /// The command that makes the same numbers, for the record.
    pub command: &'a str,
}

/// Policies that differ in their seed alone and make one row of the comparison.
pub struct PolicyGroup {
    /// Name for people.
    pub name: String,
    /// [`Kind::Learned`], [`Kind::Paper`] or [`Kind::Control`].
    pub kind: Kind,
    /// One policy for each policy seed.
    pub policies: Vec<Learned>,
}

impl CompareOptions<'_> {
    fn learned(&self) -> impl Iterator<Item = &PolicyGroup> {
        self.policies.iter().filter(|group| group.kind == Kind::Learned)
    }

    /// Fresh seed number `i`: of another purpose than those of learning, selection and tuning.
    fn evaluation_seed(&self, i: usize) -> u64 {
        rng::evaluation_seed(self.seed, i as u64)
    }
}

/// A method of the comparison, ready to be run on the fresh seeds.
struct Entry {
    name: String,
    kind: Kind,
    epochs_spent: u64,
    initial_lr: Option<f64>,
    /// What is claimed of the learned policies against this method.
    wanted: Option<Wanted>,
    /// One per policy seed; one alone for the others.
    variants: Vec<(Option<u64>, Schedule)>,
}

/// Run the comparison; finished runs go to `store` as they come and are not repeated.
///
/// ```
/// use lrpilot::task::{ConfiguredTask, QuadraticConfig, TaskConfig};
/// use lrpilot::{CompareOptions, RunContext, compare};
/// let task = QuadraticConfig { horizon: 2, interval_steps: 2, dimensions: 3, ..QuadraticConfig::default() };
/// let source = ConfiguredTask::new(&TaskConfig::NoisyQuadratic(task), None)?;
/// let command = "an example";
/// let options = CompareOptions { policies: Vec::new(), budget_epochs: 200, evaluation_seeds: 2, seed: 0, command };
/// let (comparison, _) = compare(&source, &options, None, &RunContext::local())?;
/// assert_eq!(comparison.methods.len(), 12, "five schedules, tuned and with defaults, a constant in hindsight, the pretrained policy");
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Config`] for a budget below one grid, [`crate::Error::Interrupted`] if stopped, and the task's errors.
pub fn compare(
    source: &dyn TaskSource,
    options: &CompareOptions<'_>,
    store: Option<Store<RunRecord>>,
    context: &RunContext<'_>,
) -> Result<(Comparison, Vec<RunRecord>)> {
    let (spec, progress) = (source.spec().clone(), context.progress);
    let tuning_seeds = tuning_seeds(options.budget_epochs, &spec)?;
    let families = families(&spec);
    progress.start(planned_epochs(options, families.len(), tuning_seeds, &spec), "comparing");
    let mut jobs = Jobs::new(source, store, *context)?;
    let mut entries: Vec<Entry> = options.policies.iter().map(|g| policy_entry(g, options.budget_epochs)).collect();
    entries.push(pretrained_entry()?);
    entries.extend(policy_controls(&mut jobs, options, &spec)?);
    for family in &families {
        entries.extend(family_entries(&mut jobs, family, options, tuning_seeds, &spec)?);
    }
    entries.push(hindsight_entry(&mut jobs, options, &spec)?);
    let mut runs = Vec::new();
    let mut methods = Vec::new();
    for entry in &entries {
        let records = jobs.run(&evaluation_jobs(entry, options, source))?;
        methods.push(result(entry, &records, &spec, options.seed)?);
        runs.extend(records);
    }
    jobs.put_in_order()?;
    progress.finish(&format!("{} methods on {} fresh seeds", methods.len(), options.evaluation_seeds));
    let rivals: Vec<_> = entries.iter().zip(&methods).filter_map(|(e, m)| Some((m, e.wanted?))).collect();
    let comparison = Comparison {
        task: spec.name.clone(),
        budget_epochs: options.budget_epochs,
        claims: claims(&methods, &rivals, &runs, spec.chance_loss, options.seed)?,
        break_even: break_even(&methods, spec.horizon),
        methods,
        command: options.command.to_owned(),
    };
    Ok((comparison, runs))
}

/// Epochs of everything: the tuning of each family and in hindsight, the sources of the replays, the evaluations.
fn planned_epochs(options: &CompareOptions<'_>, families: usize, tuning: usize, spec: &TaskSpec) -> u64 {
    let policies: usize = options.policies.iter().map(|group| group.policies.len()).sum();
    let learned: usize = options.learned().map(|group| group.policies.len()).sum();
    let evaluations = (policies + 1 + 2 * learned + 2 * families) * options.evaluation_seeds + learned;
    let grids = families * tuning + options.evaluation_seeds;
    ((evaluations + options.evaluation_seeds + GRID_POINTS * grids) * spec.horizon) as u64
}

fn policy_entry(group: &PolicyGroup, budget: u64) -> Entry {
    let variant = |p: &Learned| (Some(p.provenance().seed), Schedule::learned(p.clone()));
    Entry {
        name: group.name.clone(),
        kind: group.kind,
        epochs_spent: if group.kind == Kind::Control { 0 } else { budget },
        initial_lr: None,
        wanted: None,
        variants: group.policies.iter().map(variant).collect(),
    }
}

/// The policy that comes with lrpilot, at no cost.
fn pretrained_entry() -> Result<Entry> {
    Ok(Entry {
        name: "pretrained".into(),
        kind: Kind::Pretrained,
        epochs_spent: 0,
        initial_lr: None,
        wanted: None,
        variants: vec![(None, Schedule::pretrained(NEWEST)?)],
    })
}

/// A family from its tuned initial LR, and from the optimizer's default one.
fn family_entries(
    jobs: &mut Jobs<'_>,
    family: &Family,
    options: &CompareOptions<'_>,
    tuning_seeds: usize,
    spec: &TaskSpec,
) -> Result<[Entry; 2]> {
    let name = family.tuned_name();
    let grid = grid_jobs(jobs.source(), &name, family, &tuning_seed_list(options.seed, tuning_seeds));
    let lr = tune(jobs, &grid, spec)?;
    let tuned = Entry {
        name,
        kind: Kind::Tuned,
        epochs_spent: (GRID_POINTS * tuning_seeds * spec.horizon) as u64,
        initial_lr: Some(lr),
        wanted: Some(family.wanted),
        variants: vec![(None, family.method(lr))],
    };
    Ok([tuned, default_entry(family, spec)])
}

fn default_entry(family: &Family, spec: &TaskSpec) -> Entry {
    Entry {
        name: format!("{} (defaults)", family.name),
        kind: Kind::Default,
        epochs_spent: 0,
        initial_lr: Some(spec.default_lr),
        wanted: None,
        variants: vec![(None, family.method(spec.default_lr))],
    }
}

fn evaluation_jobs(entry: &Entry, options: &CompareOptions<'_>, source: &dyn TaskSource) -> Vec<JobSpec> {
    let of_variant = |(policy_seed, method): &(Option<u64>, Schedule)| {
        (0..options.evaluation_seeds)
            .map(|i| JobSpec {
                task: source.identity(),
                stage: Stage::Compare,
                name: entry.name.clone(),
                schedule: method.clone(),
                initial_lr: entry.initial_lr,
                seed: options.evaluation_seed(i),
                policy_seed: *policy_seed,
                record: Record::Everything,
            })
            .collect::<Vec<_>>()
    };
    entry.variants.iter().flat_map(of_variant).collect()
}

fn result(entry: &Entry, runs: &[RunRecord], spec: &TaskSpec, seed: u64) -> Result<MethodResult> {
    let chance = spec.chance_loss;
    let strata: Vec<u64> = runs.iter().map(|r| r.policy_seed.unwrap_or(0)).collect();
    let of = |loss: &dyn Fn(&RunRecord) -> f64| -> Result<Estimate> {
        estimate(&runs.iter().map(loss).collect::<Vec<f64>>(), &strata, seed)
    };
    let best = |r: &RunRecord| {
        let smallest = r.curve.iter().map(|c| c.val_loss_b).fold(f64::NAN, f64::min);
        if smallest.is_finite() { smallest } else { penalty(chance) }
    };
    Ok(MethodResult {
        name: entry.name.clone(),
        kind: entry.kind,
        epochs_spent: entry.epochs_spent,
        runs: runs.len(),
        diverged: runs.iter().filter(|r| r.diverged || r.at_chance).count(),
        final_val_loss: of(&|r| r.penalised_loss(chance))?,
        best_val_loss: of(&best)?,
        test_loss: of(&|r| r.penalised_test_loss(chance))?,
        initial_lr: entry.initial_lr,
    })
}
