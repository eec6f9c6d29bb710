//! Arguments of `lrpilot learn TASK|FILE`.

use super::command::{CommandLine, compared};
use super::{context, error::print, generalist, output, run_folder};
use crate::run::session::{learn_in, planned_epochs};
use crate::run::stop::StopFlag;
use crate::store::files::RunFiles;
use crate::store::run_info::RunKind;
use crate::task::TaskSource;
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `learn`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  lrpilot learn digits --out runs/digits --seed 1 --set learn.epochs=3000\n  lrpilot learn generalist --out runs/generalist"
)]
pub struct LearnArgs {
    /// Name of a task, or a configuration file (TOML); or `generalist`, for a pretrained policy.
    #[arg(value_name = "TASK|FILE")]
    pub task: String,
    /// Folder of the run, made if need be.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the policy and of everything random [default: the configuration's].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::seed)]
    pub seed: Option<u64>,
    /// With `generalist`: learn on this task alone, as a specialist that starts and acts as a pretrained policy does.
    #[arg(long, value_name = "TASK|FILE")]
    pub on: Option<String>,
    /// Go on with the run in the folder.
    #[arg(long)]
    pub resume: bool,
    /// Change a value of the configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Learn a policy in the run folder.
///
/// # Errors
/// As [`crate::run::session::learn_in`].
pub fn run(args: &LearnArgs, global: &super::GlobalArgs, stop: &StopFlag) -> Result<()> {
    if args.task == generalist::NAME {
        return generalist::run(args, global, stop);
    }
    if args.on.is_some() {
        return Err(Error::usage("--on belongs to `lrpilot learn generalist`", "name the task itself, without --on"));
    }
    let config = context::load_config(&args.task, &args.set, args.seed)?;
    let source: Arc<dyn TaskSource> = context::source(&config, global)?;
    let planned = planned_epochs(&config, &source)?;
    let info = run_folder::describe(RunKind::Learn, run_folder::title(config.task.name()));
    let policy = run_folder::work_in(&args.out, info, &config.to_toml()?, args.resume, |files, info| {
        let progress = context::stoppable(global, stop)?;
        progress.start(planned, "learning");
        let host = context::host();
        let around = context::run_context(&*progress, stop, &host);
        let policy = context::on_threads(global, || learn_in(files.folder(), &config, &source, &around))?;
        progress.finish("policy frozen");
        output::write_insight(files, &config, &source, &policy)?;
        output::write_report(files, info)?;
        Ok(policy)
    })?;
    let files = RunFiles::new(&args.out);
    let selected = policy.provenance().selection_loss.map(|l| format!(", validation loss {l:.4} in selection"));
    print(&format!("policy: {}{}", files.policy().display(), selected.unwrap_or_default()))?;
    print(&format!("report: {}", files.report().display()))?;
    print(&format!("next:   {}", next(args, global, &files)))
}

/// The command that compares the policy on the task that it was learned on.
fn next(args: &LearnArgs, global: &super::GlobalArgs, files: &RunFiles) -> CommandLine {
    CommandLine::new("compare")
        .argument(files.policy())
        .option("--task", &args.task)
        .option("--out", compared(&args.out))
        .options("--seed", args.seed.map(|seed| seed.to_string()))
        .options("--set", &args.set)
        .shared(global)
}
