//! A command at work in a run folder: who it is, and how it ended.

use super::command::{CommandLine, quote};
use super::context;
use crate::store::files::RunFiles;
use crate::store::folder::{RunFolder, Start};
use crate::store::lock::Process;
use crate::store::run_info::{Invocation, RunInfo, RunKind, RunState};
use crate::{Error, Result};
use std::path::Path;

/// What a folder shall say about a run of `kind` that this process begins or goes on with.
pub fn describe(kind: RunKind, title: String) -> RunInfo {
    describe_as(&CommandLine::typed(), kind, title)
}

/// What a folder shall say about a run of `kind` that `command`, given here, would make.
pub fn describe_as(command: &CommandLine, kind: RunKind, title: String) -> RunInfo {
    let starting = command.clone().starting();
    RunInfo {
        title,
        command: starting.to_string(),
        resume: command.clone().resuming().to_string(),
        directory: directory(),
        invocation: starting
            .texts()
            .zip(current_dir())
            .map(|(arguments, directory)| Invocation { arguments, directory }),
        machine: context::machine(),
        ..RunInfo::new(kind)
    }
}

/// The working directory as a word of a shell command; empty where it cannot be told.
pub fn directory() -> String {
    std::env::current_dir().map_or_else(|_| String::new(), |dir| quote(dir.as_os_str()))
}

/// The working directory, if its name is UTF-8.
fn current_dir() -> Option<String> {
    std::env::current_dir().ok()?.into_os_string().into_string().ok()
}

/// Heading of the report on a task.
pub fn title(task: &str) -> String {
    format!("A learned learning-rate schedule for {task}")
}

/// Claim the folder `out` (or go on with the run in it), do `work` there, and note how that ended.
///
/// Whatever can be refused is to be refused before: a claimed folder is in the way of the next attempt.
///
/// # Errors
/// As [`RunFolder::create_or_resume`], and those of `work`.
pub fn work_in<T>(
    out: &Path,
    info: RunInfo,
    config: &str,
    resume: bool,
    work: impl FnOnce(&RunFiles, &RunInfo) -> Result<T>,
) -> Result<T> {
    let mut folder = claim(out, info, config, resume)?;
    let outcome = work(folder.files(), folder.info());
    let state = match &outcome {
        Ok(_) => RunState::Finished,
        Err(Error::Interrupted { .. }) => RunState::Interrupted,
        Err(error) => RunState::Failed { error: error.to_string() },
    };
    let noted = folder.set_state(state);
    // If the work failed, its own error says more than that it could not be noted.
    outcome.and_then(|done| noted.map(|()| done))
}

/// Claim the folder `out`, or go on with the run in it.
///
/// # Errors
/// As [`RunFolder::create_or_resume`].
pub fn claim(out: &Path, info: RunInfo, config: &str, resume: bool) -> Result<RunFolder> {
    let process = Process { id: std::process::id(), host: context::host() };
    let start = Start { info, config, resume, process: &process };
    RunFolder::create_or_resume(out, start.clone()).map_err(|e| name_flags(e, out, &start))
}

/// The library speaks of folders and of resuming; this names the flags, and the command that goes on where one can.
fn name_flags(error: Error, out: &Path, start: &Start<'_>) -> Error {
    let flags = match start.resume {
        true => "--out, without --resume".to_owned(),
        false if RunFolder::can_resume(out, start) => format!("--out; go on with: {}", start.info.resume),
        false => "--out".to_owned(),
    };
    let named = |remedy: String| format!("{remedy} ({flags})");
    match error {
        Error::Usage { message, remedy } => Error::Usage { message, remedy: named(remedy) },
        Error::Config { place, message, remedy } => Error::Config { place, message, remedy: named(remedy) },
        other => other,
    }
}
