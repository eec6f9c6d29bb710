//! `lrpilot schedule replay`: networks trained under numbers.

use crate::Result;
use crate::cli::schedule_arg::{ForRun, schedule};
use crate::cli::{GlobalArgs, SeedList, context, error::print, evaluate};
use crate::task::TaskSource as _;
use clap::Args;
use lrpilot_core::Schedule;

/// Arguments of `schedule replay`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot schedule replay lr.csv --task digits --seeds 0..5")]
pub struct ReplayArgs {
    /// Learning rates (.csv, .json, .txt), or whatever else `evaluate --schedule` takes.
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Name of a task, or a configuration file (TOML).
    #[arg(long, value_name = "TASK|FILE")]
    pub task: String,
    /// Initial learning rate of a schedule that is not numbers [default: the task's].
    #[arg(long, value_name = "LR", allow_negative_numbers = true, value_parser = crate::cli::positive_lr)]
    pub lr: Option<f64>,
    /// Seeds of the training runs, e.g. 0..5 or 1,2,7.
    #[arg(long, value_name = "LIST", default_value = "0..10", allow_hyphen_values = true)]
    pub seeds: SeedList,
    /// Change a value of the configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Train one network per seed and print a row for each.
///
/// # Errors
/// Those of the schedule and of the task.
pub fn run(args: &ReplayArgs, global: &GlobalArgs) -> Result<()> {
    let config = context::load_config(&args.task, &args.set, None)?;
    let source = context::source(&config, global)?;
    let schedule = schedule(&args.file, "FILE", args.lr, ForRun::task(source.spec()))?;
    let runs = evaluate::train(&source, &schedule, &args.seeds, global)?;
    print(&evaluate::table(&runs))?;
    match length_note(&schedule, source.spec().horizon) {
        Some(note) => print(&note),
        None => Ok(()),
    }
}

/// What to say about numbers that are fewer or more than the intervals of a run.
fn length_note(schedule: &Schedule, horizon: usize) -> Option<String> {
    let Schedule::Replay { lrs } = schedule else { return None };
    match lrs.len() {
        given if given < horizon => {
            Some(format!("{given} learning rates for {horizon} intervals: the last one was held"))
        }
        given if given > horizon => {
            Some(format!("{given} learning rates for {horizon} intervals: the rest was not used"))
        }
        _ => None,
    }
}
