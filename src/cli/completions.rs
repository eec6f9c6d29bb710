//! `lrpilot completions SHELL`.

use super::{Cli, error::print};
use crate::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot completions bash > ~/.local/share/bash-completion/completions/lrpilot")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Print the script.
///
/// # Errors
/// [`crate::Error::Io`] if standard output cannot be written.
pub fn run(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lrpilot", &mut script);
    print(&String::from_utf8_lossy(&script))
}
