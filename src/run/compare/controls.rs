//! What a learned policy is held against besides tuned schedules: its own schedule without its eyes, and hindsight.

use super::claims::Wanted;
use super::grid::{Family, GRID_POINTS, grid_jobs, tune};
use super::{CompareOptions, Entry, PolicyGroup};
use crate::Result;
use crate::record::{Kind, Stage};
use crate::rng;
use crate::run::job::JobSpec;
use crate::run::jobs::Jobs;
use crate::run::trial::Record;
use crate::task::{TaskSource, TaskSpec};
use lrpilot_core::schedule::OpenLoop;
use lrpilot_core::{Learned, Schedule};

const HINDSIGHT: &str = "constant (best in hindsight)";

/// Controls of the learned policies: the schedule of one run replayed blindly on other seeds, and its mean LR.
pub(super) fn policy_controls(
    jobs: &mut Jobs<'_>,
    options: &CompareOptions<'_>,
    spec: &TaskSpec,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for group in options.learned() {
        let name = &group.name;
        let source = replay_sources(jobs.source(), group, options.seed);
        let histories: Vec<(Option<u64>, Vec<f64>)> =
            jobs.run(&source)?.iter().map(|r| (r.policy_seed, r.curve.iter().map(|c| c.lr).collect())).collect();
        let entry = |suffix: &str, method: &dyn Fn(&[f64]) -> Schedule| Entry {
            name: format!("{name}: {suffix}"),
            kind: Kind::Control,
            epochs_spent: options.budget_epochs + spec.horizon as u64,
            initial_lr: None,
            wanted: None,
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

/// One run of each policy of `group`, whose schedule is then replayed.
pub(super) fn replay_sources(source: &dyn TaskSource, group: &PolicyGroup, seed: u64) -> Vec<JobSpec> {
    let job = |policy: &Learned| JobSpec {
        task: source.identity(),
        stage: Stage::ReplaySource,
        name: format!("{}: source of the replay", group.name),
        schedule: Schedule::learned(policy.clone()),
        initial_lr: None,
        seed: rng::replay_source_seed(seed),
        policy_seed: Some(policy.provenance().seed),
        record: Record::Final,
    };
    group.policies.iter().map(job).collect()
}

/// The grid over constant LRs on the seeds of the evaluation.
pub(super) fn hindsight_grid(source: &dyn TaskSource, options: &CompareOptions<'_>) -> Vec<JobSpec> {
    let seeds: Vec<u64> = (0..options.evaluation_seeds).map(|i| options.evaluation_seed(i)).collect();
    grid_jobs(source, HINDSIGHT, &Family::constant(), &seeds)
}

/// The constant LR of the grid that ends with the smallest validation loss on the very seeds of the evaluation: no method
/// can know it, and no constant LR of the grid has a smaller mean validation loss there.
pub(super) fn hindsight_entry(jobs: &mut Jobs<'_>, options: &CompareOptions<'_>, spec: &TaskSpec) -> Result<Entry> {
    let lr = tune(jobs, &hindsight_grid(jobs.source(), options), spec)?;
    Ok(Entry {
        name: HINDSIGHT.into(),
        kind: Kind::Hindsight,
        epochs_spent: (GRID_POINTS * options.evaluation_seeds * spec.horizon) as u64,
        initial_lr: Some(lr),
        wanted: Some(Wanted::Below),
        variants: vec![(None, Family::constant().method(lr))],
    })
}
