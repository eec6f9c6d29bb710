//! The `lrpilot` command.

use clap::Parser;
use lrpilot::cli::{self, Cli, error, signals};
use lrpilot::run::stop::StopFlag;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return error::report_usage(&usage),
    };
    let stop = StopFlag::new();
    error::report(signals::install(&stop).and_then(|()| cli::run(cli, &stop)))
}
