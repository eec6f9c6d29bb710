//! `lrpilot learn generalist`: a pretrained policy, from the distribution of tasks to the frozen file.

use super::error::print;
use super::learn::LearnArgs;
use super::{GlobalArgs, context, run_folder};
use crate::run::StopFlag;
use crate::run::generalist::{GeneralistConfig, GeneralistTasks, learn_generalist_in};
use crate::settings;
use crate::store::files::RunFiles;
use crate::store::run_info::RunKind;
use crate::task::{ConfiguredTask, TaskDistribution, TaskSource, selection_tasks};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// What stands in the place of a task's name.
pub const NAME: &str = "generalist";

/// Learn a pretrained policy in the run folder.
///
/// # Errors
/// As [`learn_generalist_in`].
pub fn run(args: &LearnArgs, global: &GlobalArgs, stop: &StopFlag) -> Result<()> {
    let mut config = config(&args.set, args.seed)?;
    if let Some(task) = &args.on {
        config.on = Some(context::load_config(task, &[], None)?.task);
    }
    let tasks = tasks(&config, &context::data_dir(global))?;
    let info = run_folder::describe(RunKind::Learn, "A pretrained learning-rate policy".into());
    let policy = run_folder::work_in(&args.out, info, &config.to_toml()?, args.resume, |files, _| {
        let progress = context::stoppable(global, stop)?;
        let host = context::host();
        let around = context::run_context(&*progress, stop, &host);
        context::on_threads(global, || learn_generalist_in(files.folder(), &config, &tasks, &around))
    })?;
    let file = RunFiles::new(&args.out).policy();
    print(&format!("policy: {} (after {} decisions)", file.display(), policy.provenance().epochs))?;
    print(&format!("sha256: {}", crate::store::identity::sha256_hex(&policy.to_bytes()?)))
}

/// The distribution and the tasks of selection, or one task as both.
fn tasks(config: &GeneralistConfig, root: &Path) -> Result<GeneralistTasks> {
    if let Some(task) = &config.on {
        let source: Arc<dyn TaskSource> = Arc::new(ConfiguredTask::new(task, Some(root))?);
        return Ok(GeneralistTasks { train: Arc::clone(&source), selection: vec![source] });
    }
    let train = TaskDistribution::new(config.tasks.clone(), Some(root))?;
    let selection = selection_tasks(Some(root))?.into_iter().map(|task| Arc::new(task) as _).collect();
    Ok(GeneralistTasks { train: Arc::new(train), selection })
}

/// The defaults with `--set` and `--seed` laid on them.
///
/// # Errors
/// [`Error::Config`] for a wrong key or value.
pub fn config(set: &[String], seed: Option<u64>) -> Result<GeneralistConfig> {
    let mut overlay = toml::Table::new();
    set.iter().try_for_each(|s| settings::apply_set(&mut overlay, s, "--set"))?;
    let seed = seed.map(i64::try_from).transpose().map_err(|e| Error::usage(e.to_string(), "give a smaller seed"))?;
    overlay.extend(seed.map(|seed| ("seed".to_owned(), toml::Value::Integer(seed))));
    let base = toml::Table::try_from(GeneralistConfig::default())
        .map_err(|e| Error::Bug(format!("a configuration cannot be written: {e}")))?;
    let config: GeneralistConfig = settings::from_table_and_text(settings::merge(base, overlay), NAME, "")?;
    config.check()?;
    Ok(config)
}
