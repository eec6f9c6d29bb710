//! Errors, shown once: one line on standard error, and the exit code.

use super::command::CommandLine;
use super::{GlobalArgs, context};
use crate::task::data::DatasetName;
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
    if error.use_stderr() { ExitCode::from(Error::USAGE) } else { ExitCode::SUCCESS }
}

/// The error with what to type about it: the library speaks of runs and folders, and knows no commands.
pub fn with_commands(error: Error, global: &GlobalArgs) -> Error {
    match error {
        Error::Interrupted { .. } => Error::Interrupted { resume: CommandLine::typed().resuming().to_string() },
        // What could not be downloaded has a remedy of its own.
        Error::Data { path, message, remedy } if remedy.contains("--mirror") => Error::Data { path, message, remedy },
        Error::Data { path, message, remedy } => match missing_data(&path, global) {
            None => Error::Data { path, message, remedy },
            Some(dataset) => {
                let fetch = CommandLine::new("data").argument("fetch").argument(dataset.name());
                let fetch = fetch.options("--data-dir", &global.data_dir);
                Error::data(path, message, format!("download it with `{fetch}` or name its folder with --data-dir"))
            }
        },
        other => other,
    }
}

/// The data set to which a file belongs that is not there.
fn missing_data(path: &Path, global: &GlobalArgs) -> Option<DatasetName> {
    let root = context::data_dir(global);
    let belongs = |d: &DatasetName| d.files().iter().any(|file| root.join(d.folder()).join(file.name) == path);
    DatasetName::ALL.into_iter().find(belongs).filter(|_| !path.exists())
}

/// Print to standard output, with the newline; unlike `println!` it does not panic when nobody reads.
///
/// # Errors
/// [`Error::Io`].
pub fn print(text: &str) -> Result<()> {
    let text = text.trim_end_matches('\n');
    writeln!(std::io::stdout(), "{text}").map_err(|e| Error::io(Path::new(STDOUT), e))
}
