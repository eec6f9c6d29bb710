//! `lrpilot config`: the effective configuration with its defaults, ranges and purposes.

mod defaults;
mod document;
mod explain;

use super::{context, error::print, generalist};
use crate::task::Preset;
use crate::{Error, Result};
use clap::Args;

/// Arguments of `config`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  lrpilot config digits > my.toml\n  lrpilot config --explain env.action")]
pub struct ConfigArgs {
    /// Name of a task, or a configuration file (TOML); or `generalist`, for the learning of a pretrained policy.
    #[arg(value_name = "TASK|FILE")]
    pub task: Option<String>,
    /// Change a value of the configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of the policy and of everything random [default: the configuration's].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::seed)]
    pub seed: Option<u64>,
    /// Explain a key or a table, with all that it may be set to, instead.
    #[arg(long, value_name = "KEY")]
    pub explain: Option<String>,
}

/// Print the configuration, or the explanation of a key.
///
/// # Errors
/// [`Error::Usage`] without a task or for an unknown key; those of [`context::load_config`].
pub fn run(args: &ConfigArgs) -> Result<()> {
    let task = match (&args.task, &args.explain) {
        (Some(task), _) => task,
        (None, Some(_)) => Preset::Digits.name(),
        (None, None) => return Err(no_task()),
    };
    if task == generalist::NAME {
        return print(generalist::config(&args.set, args.seed)?.to_toml()?.trim_end());
    }
    let config = context::load_config(task, &args.set, args.seed)?;
    match &args.explain {
        Some(key) => print(&explain::explain(key, &config)?),
        None => print(&document::document(&config)?),
    }
}

fn no_task() -> Error {
    let start = [Preset::Digits, Preset::MnistCnn].map(|p| format!("`lrpilot config {}` ({})", p.name(), p.purpose()));
    Error::usage(
        "no task is named",
        format!("begin with {}; give another task of `lrpilot tasks` or a file", start.join(" or ")),
    )
}
