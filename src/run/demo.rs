//! The demonstration, and any learn-and-compare run: policies of several seeds, the paper's formulation beside ours, the
//! fair comparison.

use crate::env::Formulation;
use crate::record::{Comparison, Kind, RunRecord};
use crate::run::compare::{CompareOptions, PolicyGroup, compare, tuning_seeds};
use crate::run::config::RunConfig;
use crate::run::context::RunContext;
use crate::run::learner::Learner;
use crate::run::session::{learn_side_by_side, planned_epochs};
use crate::store::files::{POLICY_FOLDERS, RunFiles};
use crate::store::journal::Store;
use crate::task::TaskSource;
use crate::{Error, Result};
use lrpilot_core::Learned;
use std::path::PathBuf;
use std::sync::Arc;

/// What is learned and compared.
pub struct DemoOptions<'a> {
    /// The configuration of formulation `pilot`; policy seed i uses seed + i.
    pub config: RunConfig,
    /// Policies of each formulation.
    pub policy_seeds: u64,
    /// Fresh seeds of the comparison.
    pub evaluation_seeds: usize,
    /// The command, for the record.
    pub command: &'a str,
}

/// Everything a report needs.
pub struct DemoResult {
    /// The table.
    pub comparison: Comparison,
    /// Its evaluation runs.
    pub runs: Vec<RunRecord>,
    /// The policies of formulation `pilot`.
    pub policies: Vec<Learned>,
}

/// Whether the demonstration can be run: everything that can be refused is refused here, before a folder is made.
///
/// # Errors
/// [`Error::Config`] for the formulation `paper`, which is learned beside the given one anyway, for a budget that is too
/// small for learning or for the comparison, and for other values out of range.
pub fn check(options: &DemoOptions<'_>, source: &Arc<dyn TaskSource>) -> Result<()> {
    if options.config.env.formulation == Formulation::Paper {
        let message = "the paper's formulation is learned beside ours in any case, so it cannot be ours";
        return Err(Error::config("env.formulation", message, "learn it by itself, then compare it"));
    }
    tuning_seeds(options.config.learn.epochs, source.spec())?;
    for formulation in [Formulation::Pilot, Formulation::Paper] {
        planned_epochs(&formulated(formulation, &options.config), source)?;
    }
    Ok(())
}

/// Learn `policy_seeds` policies of each formulation in the run folder of `files`, then compare.
///
/// # Errors
/// As [`check`], [`crate::learn_in`] and [`compare`].
pub fn demo(
    files: &RunFiles,
    options: &DemoOptions<'_>,
    source: &Arc<dyn TaskSource>,
    context: &RunContext<'_>,
) -> Result<DemoResult> {
    check(options, source)?;
    let pilot = learn_all(files, Formulation::Pilot, options, source, context)?;
    let paper = learn_all(files, Formulation::Paper, options, source, context)?;
    let untrained =
        seeded(&options.config, options).iter().map(|c| Learner::untrained(c, source)).collect::<Result<Vec<_>>>()?;
    let store = Store::open(&files.results())?;
    let compare_options = CompareOptions {
        policies: vec![
            PolicyGroup { name: "lrpilot".into(), kind: Kind::Learned, policies: pilot.clone() },
            PolicyGroup { name: "paper formulation".into(), kind: Kind::Paper, policies: paper },
            PolicyGroup { name: "lrpilot: untrained policy".into(), kind: Kind::Control, policies: untrained },
        ],
        budget_epochs: options.config.learn.epochs,
        evaluation_seeds: options.evaluation_seeds,
        seed: options.config.seed,
        command: options.command,
    };
    let (comparison, runs) = compare(&**source, &compare_options, Some(store), context)?;
    Ok(DemoResult { comparison, runs, policies: pilot })
}

fn seeded(config: &RunConfig, options: &DemoOptions<'_>) -> Vec<RunConfig> {
    (0..options.policy_seeds).map(|i| RunConfig { seed: config.seed + i, ..config.clone() }).collect()
}

fn of_policy(files: &RunFiles, config: &RunConfig) -> RunFiles {
    let [pilot, paper] = POLICY_FOLDERS;
    let begin = match config.env.formulation {
        Formulation::Paper => paper,
        Formulation::Pilot => pilot,
    };
    files.of_policy(begin, config.seed)
}

/// The configuration of a formulation: the given one, or the paper's defaults at the same budget.
fn formulated(formulation: Formulation, config: &RunConfig) -> RunConfig {
    match formulation {
        Formulation::Pilot => config.clone(),
        Formulation::Paper => {
            let mut paper = RunConfig { seed: config.seed, ..RunConfig::new(config.task.clone(), formulation) };
            paper.set_budget(config.learn.epochs);
            paper
        }
    }
}

/// Policies of all seeds, side by side.
fn learn_all(
    files: &RunFiles,
    formulation: Formulation,
    options: &DemoOptions<'_>,
    source: &Arc<dyn TaskSource>,
    context: &RunContext<'_>,
) -> Result<Vec<Learned>> {
    let config = formulated(formulation, &options.config);
    let configs = seeded(&config, options);
    let what = if formulation == Formulation::Paper { "learning (paper formulation)" } else { "learning" };
    context.progress.start(planned_epochs(&config, source)? * options.policy_seeds, what);
    let folder_of = |config: &RunConfig| -> PathBuf { of_policy(files, config).folder().to_owned() };
    let policies = learn_side_by_side(&configs, folder_of, source, context)?;
    context.progress.finish(&format!("{} policies", policies.len()));
    Ok(policies)
}
