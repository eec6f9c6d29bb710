//! Arguments of `lrpilot learn TASK|FILE`.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `learn`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot learn digits --out runs/digits --seed 1 --set learn.epochs=3000")]
pub struct LearnArgs {
    /// Name of a task, or a configuration file (TOML).
    #[arg(value_name = "TASK|FILE")]
    pub task: String,
    /// Folder of the run, made if need be.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the policy and of everything random [default: the configuration's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Go on with the run in the folder.
    #[arg(long)]
    pub resume: bool,
    /// Change a value of the configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}
