//! Arguments of `lrpilot demo`.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot demo --out runs/demo")]
pub struct DemoArgs {
    /// Name of a task.
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Folder of the run, made if need be.
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    pub out: PathBuf,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Go on with the run in the folder.
    #[arg(long)]
    pub resume: bool,
}
