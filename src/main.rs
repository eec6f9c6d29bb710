//! The `lrpilot` command.

use clap::Parser;
use lrpilot::cli::{self, Cli, error};
use lrpilot::run::stop::StopFlag;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return error::report_usage(&usage),
    };
    error::report(cli::run(cli, &StopFlag::new()))
}
