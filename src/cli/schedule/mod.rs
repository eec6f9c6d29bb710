//! Subcommands of `lrpilot schedule`: a schedule is looked at, taken out as numbers or code, and trained under again.

pub mod extract;
pub mod formats;
pub mod preview;
pub mod realised;
pub mod replay;

use super::GlobalArgs;
use crate::Result;
use clap::Subcommand;

/// The subcommands of `schedule`.
#[derive(Clone, Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Draw a schedule in the terminal.
    Preview(preview::PreviewArgs),
    /// Write the learning rates of a schedule on a task as numbers, as PyTorch code, or in closed form.
    Extract(extract::ExtractArgs),
    /// Train networks under the learning rates in a file and print how they end.
    Replay(replay::ReplayArgs),
}

/// Do what the command line says.
///
/// # Errors
/// Those of the subcommand.
pub fn run(command: &ScheduleCommand, global: &GlobalArgs) -> Result<()> {
    match command {
        ScheduleCommand::Preview(args) => preview::run(args, global),
        ScheduleCommand::Extract(args) => extract::run(args, global),
        ScheduleCommand::Replay(args) => replay::run(args, global),
    }
}
