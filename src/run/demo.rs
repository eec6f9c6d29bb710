//! The demonstration, and any learn-and-compare run: policies of several seeds, the paper's formulation beside ours, the
//! fair comparison.

use crate::Result;
use crate::env::Formulation;
use crate::record::{Comparison, Kind, RunRecord, UpdateRecord};
use crate::run::compare::{CompareOptions, PolicyGroup, compare};
use crate::run::config::RunConfig;
use crate::run::learner::Learner;
use crate::run::session::{Surroundings, learn_in, planned_epochs};
use crate::run::trial::Runner;
use crate::schedule::Learned;
use crate::store::journal::{Store, read};
use rayon::prelude::*;
use std::path::Path;

/// What is learned and compared.
pub struct DemoOptions<'a> {
    /// The configuration of formulation `pilot`; policy seed i uses seed + i.
    pub config: RunConfig,
    /// Policies of each formulation.
    pub policy_seeds: u64,
    /// Fresh seeds of the comparison.
    pub child_seeds: usize,
    /// The command, for the record.
    pub command: &'a str,
}

/// Everything a report needs.
pub struct DemoResult {
    /// The table.
    pub comparison: Comparison,
    /// Its evaluation runs.
    pub runs: Vec<RunRecord>,
    /// The updates of all policies of formulation `pilot`.
    pub updates: Vec<UpdateRecord>,
    /// Those policies.
    pub policies: Vec<Learned>,
}

/// Learn `policy_seeds` policies of each formulation below `folder`, then compare.
///
/// # Errors
/// As [`learn_in`] and [`compare`].
pub fn demo(
    folder: &Path,
    options: &DemoOptions<'_>,
    runner: &Runner,
    around: &Surroundings<'_>,
) -> Result<DemoResult> {
    let pilot = learn_all(folder, Formulation::Pilot, options, runner, around)?;
    let paper = learn_all(folder, Formulation::Paper, options, runner, around)?;
    let untrained =
        seeded(&options.config, options).iter().map(|c| Learner::untrained(c, runner)).collect::<Result<Vec<_>>>()?;
    let store = Store::open(&folder.join("results.jsonl"))?;
    let compare_options = CompareOptions {
        policies: vec![
            PolicyGroup { name: "lrpilot".into(), kind: Kind::Learned, policies: pilot.clone() },
            PolicyGroup { name: "paper formulation".into(), kind: Kind::Paper, policies: paper },
            PolicyGroup { name: "lrpilot: untrained policy".into(), kind: Kind::Control, policies: untrained },
        ],
        budget_epochs: options.config.learn.epochs,
        child_seeds: options.child_seeds,
        seed: options.config.seed,
        command: options.command,
    };
    let (comparison, runs) = compare(runner, &compare_options, Some(store), around.progress, around.stop)?;
    let mut updates = Vec::new();
    for config in seeded(&options.config, options) {
        updates.extend(read::<UpdateRecord>(&policy_folder(folder, &config).join("updates.jsonl"))?);
    }
    Ok(DemoResult { comparison, runs, updates, policies: pilot })
}

fn seeded(config: &RunConfig, options: &DemoOptions<'_>) -> Vec<RunConfig> {
    (0..options.policy_seeds).map(|i| RunConfig { seed: config.seed + i, ..config.clone() }).collect()
}

fn policy_folder(folder: &Path, config: &RunConfig) -> std::path::PathBuf {
    let formulation = match config.env.formulation {
        Formulation::Paper => "paper",
        Formulation::Pilot => "pilot",
    };
    folder.join(format!("{formulation}-seed{}", config.seed))
}

/// Policies of all seeds, side by side.
fn learn_all(
    folder: &Path,
    formulation: Formulation,
    options: &DemoOptions<'_>,
    runner: &Runner,
    around: &Surroundings<'_>,
) -> Result<Vec<Learned>> {
    let mut config = options.config.clone();
    if formulation == Formulation::Paper {
        let epochs = config.learn.epochs;
        config = RunConfig { seed: config.seed, ..RunConfig::new(config.task.clone(), formulation) };
        config.set_budget(epochs);
    }
    let configs = seeded(&config, options);
    let what = if formulation == Formulation::Paper { "learning (paper formulation)" } else { "learning" };
    around.progress.start(planned_epochs(&config, runner)? * options.policy_seeds, what);
    let policies = configs
        .par_iter()
        .map(|config| learn_in(&policy_folder(folder, config), config, runner, around))
        .collect::<Result<Vec<_>>>()?;
    around.progress.finish(&format!("{} policies", policies.len()));
    Ok(policies)
}
