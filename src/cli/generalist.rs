//! `lrpilot learn generalist`: a pretrained policy, from the distribution of tasks to the frozen file.

use super::error::print;
use super::learn::LearnArgs;
use super::{GlobalArgs, context, run_folder};
use crate::report::svg::{LrSeries, line_chart};
use crate::run::StopFlag;
use crate::run::generalist::{GeneralistConfig, GeneralistTasks, Score, learn_generalist_in, scores_in};
use crate::settings;
use crate::store::atomic::write_atomic;
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
    let files = RunFiles::new(&args.out);
    draw(&files)?;
    print(&format!("policy: {} (after {} decisions)", files.policy().display(), policy.provenance().epochs))?;
    print(&format!("scores: {}, {}", files.score_chart().display(), files.score_time_chart().display()))?;
    print(&format!("sha256: {}", crate::store::identity::sha256_hex(&policy.to_bytes()?)))
}

/// The scores against decisions and against wall time, as pictures.
fn draw(files: &RunFiles) -> Result<()> {
    let scores = scores_in(files.folder())?;
    let line = |name: &str, x: &dyn Fn(&Score) -> f64, y: &dyn Fn(&Score) -> f64| LrSeries {
        name: name.into(),
        points: scores.iter().map(|s| (x(s), y(s))).collect(),
    };
    let chart = |label: &str, x: &dyn Fn(&Score) -> f64| {
        let lines = [line("mean", x, &|s| s.mean), line("interquartile mean", x, &|s| s.iqm)];
        line_chart(label, "loss / loss of the base run", &lines)
    };
    write_atomic(&files.score_chart(), chart("decisions, millions", &|s| s.decisions as f64 / 1e6).as_bytes())?;
    write_atomic(&files.score_time_chart(), chart("minutes", &|s| s.seconds / 60.0).as_bytes())
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
