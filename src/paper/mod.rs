//! The experiments of the paper: its grids, schedulers, agents and ablations as one list of parts, each resumable.
//!
//! [`plan`](plan::plan) says what there is to do, [`run`] does it and keeps every finished run below one folder, and
//! [`tables`](tables::results) turns the runs into the paper's tables and figures. Each part's runs share the fresh
//! seeds of the evaluation, so methods are paired.

pub mod document;
mod evidence;
mod figures;
pub mod names;
pub mod page;
pub mod plan;
pub mod reported;
pub mod scale;
pub mod tables;

pub use names::PartId;
pub use plan::{Experiment, Part, Work, plan};
pub use scale::{Data, Scale};

use crate::env::Formulation;
use crate::record::progress::{Progress, Silent, Status};
use crate::record::{RunRecord, Stage};
use crate::run::config::RunConfig;
use crate::run::context::RunContext;
use crate::run::job::JobSpec;
use crate::run::jobs::Jobs;
use crate::run::session::learn_side_by_side;
use crate::run::trial::Record;
use crate::store::files::RunFiles;
use crate::store::identity::job_id;
use crate::store::journal::Store;
use crate::task::{ConfiguredTask, SupervisedConfig, TaskConfig, TaskSource};
use crate::{Error, Result};
use lrpilot_core::{Learned, Schedule};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The finished runs of each part, by its identifier.
pub type Runs = BTreeMap<PartId, Vec<RunRecord>>;

/// Data sets loaded once, and the source of every task on them.
pub struct Sources {
    loaded: BTreeMap<String, ConfiguredTask>,
}

impl Sources {
    /// Load what `parts` need from below `data_root`.
    ///
    /// # Errors
    /// As [`ConfiguredTask::new`].
    pub fn new(parts: &[Part], data_root: Option<&Path>) -> Result<Self> {
        let mut loaded = BTreeMap::new();
        for task in parts.iter().filter_map(Part::task) {
            if !loaded.contains_key(&task.name) {
                let source = ConfiguredTask::new(&TaskConfig::Supervised(task.clone()), data_root)?;
                loaded.insert(task.name.clone(), source);
            }
        }
        Ok(Sources { loaded })
    }

    /// The source of `task`.
    ///
    /// # Errors
    /// [`Error::Bug`] if it belongs to no part.
    pub fn of(&self, task: &SupervisedConfig) -> Result<ConfiguredTask> {
        let source = self.loaded.get(&task.name).ok_or_else(|| Error::Bug(format!("{} is not loaded", task.name)))?;
        source.with_task(task)
    }
}

/// Do the parts in `chosen`, with their files below `folder`; `all` is the whole plan, to which parts may refer.
///
/// Finished runs and policies found there are not repeated.
///
/// # Errors
/// [`Error::Interrupted`] if stopped, with everything finished so far stored; the tasks' errors and [`Error::Io`].
pub fn run(folder: &Path, all: &[Part], chosen: &[&Part], sources: &Sources, context: &RunContext<'_>) -> Result<Runs> {
    context.progress.start(chosen.iter().map(|p| p.epochs(all)).sum(), "paper");
    let store = Store::<RunRecord>::open(&RunFiles::new(folder).results())?;
    let of_parts = chosen
        .iter()
        .map(|p| Ok(Arc::new(sources.of(task_of(p, all)?)?) as Arc<dyn TaskSource>))
        .collect::<Result<Vec<_>>>()?;
    let Some(first) = of_parts.first() else { return Ok(Runs::new()) };
    let in_epochs = |part: &&Part| InEpochs { inner: context.progress, interval: part.epochs_per_interval() };
    let progress: Vec<InEpochs<'_>> = chosen.iter().map(in_epochs).collect();
    let mut worker = Jobs::new(&**first, Some(store), *context)?;
    let mut runs = Runs::new();
    for ((part, source), progress) in chosen.iter().zip(&of_parts).zip(&progress) {
        // Policies that an earlier part has learned are only read, and not counted again.
        let learning: &dyn Progress = if part.is_learned_before(all) { &Silent } else { progress };
        let jobs = part_jobs(folder, part, all, source, &runs, &RunContext { progress: learning, ..*context })?;
        worker.go_on(&**source, RunContext { progress, ..*context });
        runs.insert(part.id.clone(), worker.run(&jobs)?);
        context.progress.message(&format!("{}: done", part.id));
    }
    context.progress.finish(&format!("{} parts", chosen.len()));
    Ok(runs)
}

/// The progress of a part that counts intervals, told in epochs.
struct InEpochs<'a> {
    inner: &'a dyn Progress,
    /// Epochs of an interval.
    interval: u64,
}

impl Progress for InEpochs<'_> {
    fn advance(&self, intervals: u64) {
        self.inner.advance(intervals * self.interval);
    }

    fn status(&self, status: Status) {
        self.inner.status(status);
    }

    fn message(&self, text: &str) {
        self.inner.message(text);
    }
}

fn find<'a>(all: &'a [Part], id: &PartId) -> Result<&'a Part> {
    all.iter().find(|p| p.id == *id).ok_or_else(|| Error::Bug(format!("there is no part {id}")))
}

/// The task that a part trains, its own or that of the grid it refers to.
///
/// # Errors
/// [`Error::Bug`] for a part that refers to none.
pub fn task_of<'a>(part: &'a Part, all: &'a [Part]) -> Result<&'a SupervisedConfig> {
    let task = match &part.work {
        Work::Best { grid, .. } => find(all, grid)?.task(),
        _ => part.task(),
    };
    task.ok_or_else(|| Error::Bug(format!("{} has no task", part.id)))
}

/// Where an agent is learned: parts with the same configuration share it, and another configuration never finds it.
fn agent_folder(folder: &Path, config: &RunConfig) -> PathBuf {
    let task = config.task.name().split(' ').next().unwrap_or_default();
    let formulation = if config.env.formulation == Formulation::Paper { "paper" } else { "pilot" };
    let name = format!("{task}_{formulation}_{}", &job_id(&RunConfig { seed: 0, ..config.clone() })[..12]);
    folder.join("agents").join(name).join(format!("seed{}", config.seed))
}

/// The training runs of a part; its policies are learned here.
fn part_jobs(
    folder: &Path,
    part: &Part,
    all: &[Part],
    source: &Arc<dyn TaskSource>,
    runs: &Runs,
    context: &RunContext<'_>,
) -> Result<Vec<JobSpec>> {
    let job = |schedule: Schedule, initial_lr: Option<f64>, seed: u64, policy_seed: Option<u64>| JobSpec {
        task: source.identity(),
        stage: Stage::Paper,
        name: part.id.to_string(),
        schedule,
        initial_lr,
        seed,
        policy_seed,
        record: Record::Everything,
    };
    match &part.work {
        Work::Runs { schedule, lrs, seeds, .. } => {
            let method = |lr| Schedule::OpenLoop { schedule: schedule.clone(), lr };
            let of_lr = |lr: f64| seeds.iter().map(move |seed| (lr, *seed));
            Ok(lrs.iter().flat_map(|lr| of_lr(*lr)).map(|(lr, seed)| job(method(lr), Some(lr), seed, None)).collect())
        }
        Work::Best { grid, seeds } => {
            let Work::Runs { schedule, .. } = &find(all, grid)?.work else {
                return Err(Error::Bug(format!("{grid} is no grid")));
            };
            let chance = source.spec().chance_loss;
            let records = runs.get(grid).map_or(&[][..], Vec::as_slice);
            let best = records.iter().min_by(|a, b| a.penalised_loss(chance).total_cmp(&b.penalised_loss(chance)));
            let lr = best.and_then(|r| r.initial_lr).ok_or_else(|| Error::Bug(format!("{grid} was not run")))?;
            let method = || Schedule::OpenLoop { schedule: schedule.clone(), lr };
            Ok(seeds.iter().map(|seed| job(method(), Some(lr), *seed, None)).collect())
        }
        Work::Agent { configs, initial_lr, seeds } => {
            let policies = learn_side_by_side(configs, |config| agent_folder(folder, config), source, context)?;
            let of_policy = |policy: &Learned| {
                let learned = Schedule::Learned { policy: Box::new(policy.clone()), lr: *initial_lr };
                let seed_of_policy = Some(policy.provenance().seed);
                seeds.iter().map(|seed| job(learned.clone(), *initial_lr, *seed, seed_of_policy)).collect::<Vec<_>>()
            };
            Ok(policies.iter().flat_map(of_policy).collect())
        }
        Work::Replay { agent, seeds, .. } => {
            let records = runs.get(agent).map_or(&[][..], Vec::as_slice);
            let first = records.first().and_then(|r| r.policy_seed);
            let mut jobs = Vec::new();
            for record in records.iter().filter(|r| r.policy_seed == first) {
                let lrs: Vec<f64> = record.curve.iter().map(|c| c.lr).collect();
                // For replays, `policy_seed` holds the seed of the source run.
                let replay = |seed: &u64| job(Schedule::Replay { lrs: lrs.clone() }, None, *seed, Some(record.seed));
                jobs.extend(seeds.iter().map(replay));
            }
            Ok(jobs)
        }
    }
}

/// The parts of the chosen experiments, and those that they refer to.
pub fn choose<'a>(all: &'a [Part], experiments: &[Experiment]) -> Vec<&'a Part> {
    let wanted = |p: &&Part| experiments.is_empty() || experiments.contains(&p.experiment);
    let referred: Vec<&PartId> = all
        .iter()
        .filter(wanted)
        .filter_map(|p| match &p.work {
            Work::Replay { agent, .. } => Some(agent),
            Work::Best { grid, .. } => Some(grid),
            _ => None,
        })
        .collect();
    all.iter().filter(|p| wanted(p) || referred.contains(&&p.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::names::{Agent, Optimizer};

    /// The four MNIST rows share lrpilot's agents; anything else that differs is learned in a folder of its own.
    #[test]
    fn agents_are_kept_by_their_configuration() {
        let parts = plan(Scale::Laptop, 0).unwrap();
        let folders = |id: &PartId| -> Vec<PathBuf> {
            match &find(&parts, id).unwrap().work {
                Work::Agent { configs, .. } => configs.iter().map(|c| agent_folder(Path::new("run"), c)).collect(),
                _ => Vec::new(),
            }
        };
        let ours = |data, lr| PartId::agent(data, Agent::Lrpilot, lr);
        let (first, last) = (ours(Data::Mnist, 5e-4), ours(Data::Mnist, 1e-2));
        let shared = folders(&first);
        assert_eq!(shared, folders(&last));
        assert!(!find(&parts, &first).unwrap().is_learned_before(&parts));
        assert!(find(&parts, &last).unwrap().is_learned_before(&parts));
        let papers = |lr| PartId::agent(Data::Mnist, Agent::Paper, lr);
        let others = [papers(5e-4), papers(1e-2), ours(Data::Cifar100, 5e-3), PartId::over(Optimizer::Adam)];
        let mut all: Vec<PathBuf> = others.iter().flat_map(folders).chain(shared).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 25, "five policies each");
    }
}
