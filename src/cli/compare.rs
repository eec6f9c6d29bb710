//! Arguments of `lrpilot compare POLICY --task TASK`.

use super::SeedList;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot compare runs/digits/policy.safetensors --task digits --out runs/compare")]
pub struct CompareArgs {
    /// The frozen policy.
    #[arg(value_name = "POLICY")]
    pub policy: PathBuf,
    /// Name of a task, or a configuration file (TOML).
    #[arg(long, value_name = "TASK|FILE")]
    pub task: String,
    /// Folder of the run, made if need be.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seeds of the policies, e.g. 0..5 or 1,2,7 [default: the policy's own].
    #[arg(long, value_name = "LIST")]
    pub seeds: Option<SeedList>,
    /// Training runs per method, paired by seed [default: the configuration's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub child_seeds: Option<u64>,
    /// Epochs that tuning each method may spend [default: what the policy spent].
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: Option<u64>,
    /// Go on with the run in the folder.
    #[arg(long)]
    pub resume: bool,
    /// Change a value of the configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}
