//! Arguments of `lrpilot evaluate TASK --schedule NAME|POLICY`.

use super::SeedList;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `evaluate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot evaluate digits --schedule cosine --lr 0.1 --seeds 0..5")]
pub struct EvaluateArgs {
    /// Name of a task, or a configuration file (TOML).
    #[arg(value_name = "TASK|FILE")]
    pub task: String,
    /// Name of a schedule, or a frozen policy.
    #[arg(long, value_name = "NAME|POLICY")]
    pub schedule: String,
    /// Initial learning rate [default: the task's].
    #[arg(long, value_name = "LR", value_parser = super::positive_lr)]
    pub lr: Option<f64>,
    /// Seeds of the training runs, e.g. 0..5 or 1,2,7.
    #[arg(long, value_name = "LIST", default_value = "0")]
    pub seeds: SeedList,
    /// Also write each run's learning rates to this folder, to be replayed.
    #[arg(long, value_name = "DIR")]
    pub export_replay: Option<PathBuf>,
}
