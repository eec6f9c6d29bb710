//! Learning inside a run folder: checkpoints, records, the frozen policy; interrupted at any moment, it goes on to the
//! same bits.

use crate::record::UpdateRecord;
use crate::record::progress::Status;
use crate::record::tensorboard::{EventWriter, file_name};
use crate::run::config::RunConfig;
use crate::run::context::RunContext;
use crate::run::learner::Learner;
use crate::store::checkpoint::Checkpoints;
use crate::store::files::RunFiles;
use crate::store::folder::{keep_config, same_config};
use crate::store::journal::Store;
use crate::task::TaskSource;
use crate::{Error, Result};
use lrpilot_core::Learned;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Train the policy of `config` with its files in `folder`, from the newest checkpoint if there is one. A finished
/// policy is read back instead of trained again.
///
/// ```
/// use lrpilot::env::Formulation;
/// use lrpilot::task::ConfiguredTask;
/// use lrpilot::{RunConfig, RunContext, TaskSource};
/// use std::sync::Arc;
/// let mut config = RunConfig::preset("noisy-quadratic", Formulation::Pilot)?;
/// config.set_budget(1_500);
/// let source: Arc<dyn TaskSource> = Arc::new(ConfiguredTask::new(&config.task, None)?);
/// let folder = tempfile::tempdir().unwrap();
/// let policy = lrpilot::learn_in(folder.path(), &config, &source, &RunContext::local())?;
/// assert_eq!(policy.learned_on().horizon, 30);
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if the folder holds the policy, or the beginning of one, of another configuration;
/// [`Error::Interrupted`] after a stop, with everything saved; the configuration's, the task's and the files' errors.
pub fn learn_in(
    folder: &Path,
    config: &RunConfig,
    source: &Arc<dyn TaskSource>,
    context: &RunContext<'_>,
) -> Result<Learned> {
    let files = RunFiles::new(folder);
    let text = config.to_toml()?;
    if files.policy().exists() {
        let policy = Learned::load(&files.policy())?;
        same_config(&files.policy(), &policy.provenance().config, &text)?;
        context.progress.advance(config.planned_epochs());
        return Ok(policy);
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    keep_config(&files, &text)?;
    let mut learner = Learner::new(config.clone(), Arc::clone(source))?;
    let checkpoints = Checkpoints::new(files.checkpoints());
    let mut store = Store::<UpdateRecord>::open(&files.updates())?;
    if let Some(loaded) = checkpoints.load_latest()? {
        loaded.warning.iter().for_each(|w| context.progress.message(w));
        learner.set_state(loaded.value)?;
    }
    check_records(&files.updates(), store.len(), learner.updates_done())?;
    learner.start_elsewhere()?.iter().for_each(|text| context.progress.message(text));
    // Updates after the checkpoint will be done again.
    store.truncate(learner.updates_done())?;
    let mut events = event_file(folder, context)?;
    let mut best = best_return(&store.read_all()?);
    context.progress.advance(learner.updates_done() as u64 * config.rollout_epochs());
    while learner.updates_done() < learner.updates_planned() {
        if context.stop.is_set() {
            return Err(Error::interrupted());
        }
        let record = learner.update(context.executor, |epochs| context.progress.advance(epochs))?;
        store.append(&record)?;
        // On disk before the checkpoint that counts it.
        store.sync()?;
        events.update(&record, (context.wall_time)())?;
        checkpoints.save(&learner.state()?)?;
        best = best.max(record.mean_return.unwrap_or(f64::NEG_INFINITY));
        context.progress.status(Status { current: record.mean_return, best: best.is_finite().then_some(best) });
    }
    let policy = learner.select(context.executor, context.stop, |epochs| context.progress.advance(epochs))?;
    policy.save(&files.policy())?;
    Ok(policy)
}

/// The policies of several configurations, each learned in the folder that `folder_of` names.
///
/// # Errors
/// As [`learn_in`].
pub fn learn_side_by_side(
    configs: &[RunConfig],
    folder_of: impl Fn(&RunConfig) -> PathBuf + Sync,
    source: &Arc<dyn TaskSource>,
    context: &RunContext<'_>,
) -> Result<Vec<Learned>> {
    let learned: Mutex<Vec<Option<Learned>>> = Mutex::new(vec![None; configs.len()]);
    context.executor.each(configs.len(), &|i| {
        let policy = learn_in(&folder_of(&configs[i]), &configs[i], source, context)?;
        learned.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(policy);
        Ok(())
    })?;
    Ok(learned.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect())
}

/// Epochs that [`learn_in`] will report as progress, once it is sure that it can begin.
///
/// # Errors
/// As [`Learner::new`].
pub fn planned_epochs(config: &RunConfig, source: &Arc<dyn TaskSource>) -> Result<u64> {
    Learner::new(config.clone(), Arc::clone(source)).map(|_| config.planned_epochs())
}

/// Whether each update of the checkpoint has its record.
fn check_records(path: &Path, records: usize, updates: usize) -> Result<()> {
    if records >= updates {
        return Ok(());
    }
    let message = format!("{} records are missing: the checkpoint beside it is of update {updates}", updates - records);
    Err(Error::data(path, message, "put the file back from a copy, or learn anew in another folder"))
}

fn best_return(updates: &[UpdateRecord]) -> f64 {
    updates.iter().filter_map(|u| u.mean_return).fold(f64::NEG_INFINITY, f64::max)
}

/// The event file of the folder: the one that is there, or a new one.
fn event_file(folder: &Path, context: &RunContext<'_>) -> Result<EventWriter> {
    let now = (context.wall_time)();
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut existing: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("events.out.tfevents.")))
        .collect();
    existing.sort();
    let path = existing.pop().unwrap_or_else(|| folder.join(file_name(now as u64, context.host)));
    EventWriter::open(path, now)
}
