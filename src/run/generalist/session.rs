//! A pretrained policy's learning in a run folder: bank, anchor, updates, scores, selection; interrupted at any moment, it
//! goes on to the same bits.

use super::bank::{Response, respond};
use super::config::GeneralistConfig;
use super::learner::GeneralistLearner;
use super::regression::{Fit, fit_anchor};
use super::score::{Score, Scorer};
use crate::record::UpdateRecord;
use crate::record::progress::Status;
use crate::run::context::RunContext;
use crate::store::atomic::write_atomic;
use crate::store::checkpoint::Checkpoints;
use crate::store::files::RunFiles;
use crate::store::folder::{keep_config, same_config};
use crate::store::journal::Store;
use crate::task::TaskSource;
use crate::{Error, Result};
use lrpilot_core::Schedule;
use lrpilot_core::generalist::{Generalist, GeneralistSpec};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The tasks of a pretrained policy.
pub struct GeneralistTasks {
    /// Those that it learns on: a distribution.
    pub train: Arc<dyn TaskSource>,
    /// Those that it is chosen on.
    pub selection: Vec<Arc<dyn TaskSource>>,
}

/// Learn the pretrained policy of `config` with its files in `folder`, from the newest checkpoint if there is one. A
/// finished policy is read back instead of learned again.
///
/// # Errors
/// [`Error::Config`] if the folder holds another configuration; [`Error::Interrupted`] after a stop, with everything
/// saved; the configuration's, the tasks' and the files' errors.
pub fn learn_generalist_in(
    folder: &Path,
    config: &GeneralistConfig,
    tasks: &GeneralistTasks,
    context: &RunContext<'_>,
) -> Result<Generalist> {
    config.check()?;
    let files = RunFiles::new(folder);
    let text = config.to_toml()?;
    if files.policy().exists() {
        let policy = Generalist::load(&files.policy())?;
        same_config(&files.policy(), &policy.provenance().config, &text)?;
        return Ok(policy);
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    keep_config(&files, &text)?;
    let plain = GeneralistSpec { base: config.base, residual: config.residual, ..GeneralistSpec::plain() };
    let fit = anchor(&files, config, &plain, tasks, context)?;
    let spec = GeneralistSpec { anchor: fit.anchor, ..plain };
    let learner = GeneralistLearner::new(config.clone(), spec, &tasks.train)?;
    let scores = learn(&files, config, learner, tasks, context)?;
    let best = chosen(&scores).ok_or_else(|| Error::Bug("no policy was scored".into()))?;
    let policy = Generalist::load(&files.candidate(best.update))?;
    policy.save(&files.policy())?;
    Ok(policy)
}

/// The scores of a learning in `folder`, in the order of the updates.
///
/// # Errors
/// [`Error::Io`] without scores, [`Error::Data`] for a damaged file.
pub fn scores_in(folder: &Path) -> Result<Vec<Score>> {
    crate::store::journal::read(&RunFiles::new(folder).scores())
}

/// The score with the least mean; of equal ones the later.
fn chosen(scores: &[Score]) -> Option<&Score> {
    scores.iter().rev().min_by(|a, b| a.mean.total_cmp(&b.mean))
}

/// The responses of the bank's tasks, and the anchor that is fitted to them.
fn anchor(
    files: &RunFiles,
    config: &GeneralistConfig,
    plain: &GeneralistSpec,
    tasks: &GeneralistTasks,
    context: &RunContext<'_>,
) -> Result<Fit> {
    let mut store = Store::<Response>::open(&files.bank())?;
    let mut responses = store.read_all()?;
    context.progress.start(config.bank.tasks, "trying learning rates on tasks");
    context.progress.advance(responses.len() as u64);
    let missing: Vec<u64> = (0..config.bank.tasks).filter(|i| !responses.iter().any(|r| r.index == *i)).collect();
    let keeping = Mutex::new((&mut store, &mut responses));
    context.executor.each(missing.len(), &|i| {
        if context.stop.is_set() {
            return Err(Error::interrupted());
        }
        let response = respond(&*tasks.train, plain, config.seed, missing[i])?;
        let mut keeping = keeping.lock().unwrap_or_else(PoisonError::into_inner);
        keeping.0.append(&response)?;
        keeping.1.push(response);
        context.progress.advance(1);
        Ok(())
    })?;
    // The order of arrival depends on the threads.
    responses.sort_by_key(|r| r.index);
    let fit = fit_anchor(&responses, config.bank.ridge, config.bank.offset);
    let json = serde_json::to_string_pretty(&fit).map_err(|e| Error::Bug(format!("an anchor: {e}")))?;
    write_atomic(&files.anchor(), json.as_bytes())?;
    context.progress.finish(&format!(
        "anchor fitted to {} tasks: best levels spread by {:.2} decades, {:.2} of them unexplained",
        fit.tasks, fit.sd, fit.left_out_error
    ));
    Ok(fit)
}

/// All updates with their checkpoints, and the scores.
fn learn(
    files: &RunFiles,
    config: &GeneralistConfig,
    mut learner: GeneralistLearner,
    tasks: &GeneralistTasks,
    context: &RunContext<'_>,
) -> Result<Vec<Score>> {
    let base = Schedule::generalist(learner.freeze()?.base_run());
    let scorer = Scorer::new(tasks.selection.clone(), config.learn.score_seeds, config.seed, &base, context)?;
    let checkpoints = Checkpoints::new(files.checkpoints());
    let mut store = Store::<UpdateRecord>::open(&files.updates())?;
    let mut scores = Store::<Score>::open(&files.scores())?;
    if let Some(loaded) = checkpoints.load_latest()? {
        loaded.warning.iter().for_each(|w| context.progress.message(w));
        learner.set_state(loaded.value)?;
    }
    // What came after the checkpoint will be done again.
    store.truncate(learner.updates_done().min(store.len()))?;
    let scored = scores.read_all()?.iter().filter(|s| s.update <= learner.updates_done()).count();
    scores.truncate(scored)?;
    let begun = (context.wall_time)();
    context.progress.start(config.learn.updates as u64 * config.decisions(), "learning");
    context.progress.advance(learner.updates_done() as u64 * config.decisions());
    let mut best = scores.read_all()?.iter().map(|s| s.mean).fold(f64::INFINITY, f64::min);
    while learner.updates_done() < config.learn.updates {
        if context.stop.is_set() {
            return Err(Error::interrupted());
        }
        store.append(&learner.update(context.executor, |n| context.progress.advance(n))?)?;
        let update = learner.updates_done();
        if update.is_multiple_of(config.learn.score_every) || update == config.learn.updates {
            let policy = learner.freeze()?;
            let score = scorer.score(&Schedule::generalist(policy.clone()), context)?;
            let decisions = update as u64 * config.decisions();
            let score = Score { update, decisions, seconds: (context.wall_time)() - begun, ..score };
            policy.save(&files.candidate(update))?;
            scores.append(&score)?;
            best = best.min(score.mean);
            context.progress.status(Status { current: Some(score.mean), best: Some(best) });
            // On disk before the checkpoint that counts them.
            store.sync()?;
            scores.sync()?;
            checkpoints.save(&learner.state()?)?;
        }
    }
    context.progress.finish(&format!("best score on the tasks of selection {best:.4} of the base run"));
    scores.read_all()
}
