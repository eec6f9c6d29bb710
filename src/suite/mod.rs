//! The suite: a sealed list of tasks, the standard ways to set a learning rate on each, tuned and untuned, and the numbers
//! that say how a policy compares.
//!
//! A policy is a schedule that has to work on tasks that it never saw, without tuning. What it is held against had a
//! hundred trainings on each task to find its learning rate. Everything is paired by seed: the same weights and batches
//! for every method.

mod method;
mod metric;
mod rescaled;
mod run;
mod share;
mod tasks;
mod train;
mod tune;
mod work;

pub use method::{Contestant, Drive, Family, Free, STARTS, Sight};
pub use rescaled::{Rescale, Rescaled};
pub use run::{SuiteOptions, check, run, trainings};
pub use share::run_share;
pub use tasks::{LoadedTask, Suite, SuiteTask};
pub use train::{INTERVALS, Look, Training, train};
pub use work::SuiteRun;

use crate::Result;
use crate::record::suite::{LeftOut, PolicyScore, SuiteKind, SuiteResults, TaskRuns};

/// What a result says about itself.
pub struct Origin<'a> {
    /// Name of the suite.
    pub suite: &'a str,
    /// Fresh seeds.
    pub seeds: usize,
    /// Seed of the suite, from which the bootstraps draw, too.
    pub seed: u64,
    /// The command that makes the same numbers.
    pub command: &'a str,
    /// Where the losses of the standard methods come from.
    pub reference: &'a str,
}

/// All numbers that follow from the runs of at least one task.
///
/// # Errors
/// [`crate::Error::Bug`] for tasks without tuned methods.
pub fn results(
    tasks: &[TaskRuns],
    policies: &[Contestant],
    left_out: Vec<LeftOut>,
    origin: &Origin<'_>,
) -> Result<SuiteResults> {
    let profile_ratios: Vec<f64> = (80..=200).step_by(2).map(|percent| f64::from(percent) / 100.0).collect();
    let mut names: Vec<(SuiteKind, &str)> = Vec::new();
    for method in tasks.iter().flat_map(|task| &task.methods) {
        if !names.contains(&(method.kind, method.name.as_str())) {
            names.push((method.kind, &method.name));
        }
    }
    names.sort_by_key(|(kind, _)| *kind);
    let score = |name: &str| metric::method_score(tasks, name, &profile_ratios, origin.seed);
    let methods = names.iter().map(|(_, name)| score(name)).collect::<Result<Vec<_>>>()?;
    let mut policy_scores = Vec::new();
    for policy in policies {
        let Some(own) = methods.iter().find(|m| m.kind == SuiteKind::Policy && m.name == policy.name) else { continue };
        let begin = format!("{} from ", policy.name);
        let starts: Vec<_> =
            methods.iter().filter(|m| m.kind == SuiteKind::Start && m.name.starts_with(&begin)).collect();
        let aggregate = metric::aggregate(own, &starts);
        policy_scores.push(PolicyScore { name: policy.name.clone(), sha256: policy.sha256.clone(), aggregate });
    }
    Ok(SuiteResults {
        suite: origin.suite.to_owned(),
        aggregate: policy_scores.first().map(|p| p.aggregate.clone()),
        policies: policy_scores,
        seeds: origin.seeds,
        left_out,
        tasks: tasks.iter().map(metric::task_reference).collect::<Result<_>>()?,
        methods,
        profile_ratios,
        command: origin.command.to_owned(),
        reference: origin.reference.to_owned(),
    })
}
