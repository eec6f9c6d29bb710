//! Errors, shown once: one line on standard error, and the exit code.

use crate::{Error, Result};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Place named in errors of writing to standard output.
const STDOUT: &str = "standard output";

/// The exit code for how a command ended, after printing its error as one line `error: …`.
///
/// A reader of our output that has gone (`lrpilot runs | head -1`) has what it wanted: that is success.
pub fn report(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let line = error.to_string().replace('\n', " ");
            // With standard error gone too there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "error: {line}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// The exit code for what clap has to say: 0 for help and version, 64 for a wrong command line.
pub fn report_usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(Error::usage("", "").exit_code()) } else { ExitCode::SUCCESS }
}

/// Print to standard output, with the newline; unlike `println!` it does not panic when nobody reads.
///
/// # Errors
/// [`Error::Io`].
pub fn print(text: &str) -> Result<()> {
    let text = text.trim_end_matches('\n');
    writeln!(std::io::stdout(), "{text}").map_err(|e| Error::io(Path::new(STDOUT), e))
}
