//! Errors, shown once: one line on standard error, and the exit code.

use super::command::CommandLine;
use super::{GlobalArgs, context};
use crate::task::data::DatasetName;
use crate::{Error, Result};
use std::io::{self, ErrorKind, Write};
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
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
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
        Error::Io { path, source } => Error::Io { path, source: with_remedy(source) },
        other => other,
    }
}

/// What the operating system says, with what to do about it; what lrpilot says for it has a remedy already.
fn with_remedy(source: io::Error) -> io::Error {
    let remedy = match source.kind() {
        _ if source.raw_os_error().is_none() => return source,
        ErrorKind::NotFound => "check the name, and whether its folder is there",
        ErrorKind::NotADirectory => "a file is where a folder should be; choose another name",
        ErrorKind::IsADirectory => "name a file",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "choose another place, or ask for the permission"
        }
        ErrorKind::StorageFull => "make room on the disk",
        _ => return source,
    };
    io::Error::new(source.kind(), format!("{source}; {remedy}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_says_gets_a_remedy_once() {
        let missing = std::fs::read("/no/such/file").unwrap_err();
        let code = missing.to_string();
        let told = with_remedy(missing);
        assert_eq!(told.kind(), ErrorKind::NotFound);
        assert_eq!(told.to_string(), format!("{code}; check the name, and whether its folder is there"));
        let text = told.to_string();
        assert_eq!(with_remedy(told).to_string(), text);
    }
}
