//! `lrpilot runs resume DIR`: go on with a run by the command that began it.

use crate::cli::command::CommandLine;
use crate::cli::error::print;
use crate::cli::{GlobalArgs, ProgressKind};
use crate::store::files::RunFiles;
use crate::store::run_info::{RunInfo, RunState};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use std::fs::canonicalize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Arguments of `runs resume`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot runs resume runs/digits")]
pub struct ResumeArgs {
    /// Folder of the run.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Go on with the run in the folder; a finished one is left alone.
///
/// # Errors
/// [`Error::Usage`] if the folder holds no run, or does not say how it was begun; those of the command itself.
pub fn run(args: &ResumeArgs, global: &GlobalArgs) -> Result<()> {
    let shown = args.dir.display();
    let Some(info) = RunInfo::read(&RunFiles::new(&args.dir).info())? else {
        return Err(Error::usage(
            format!("{shown} holds no run that says how it was begun"),
            "name the folder of a run",
        ));
    };
    if info.state == RunState::Finished {
        return print(&format!("{shown} is finished"));
    }
    let Some(invocation) = info.invocation else {
        let message = format!("{shown} does not say word by word how it was begun");
        return Err(Error::usage(message, format!("resume it with: {}", info.resume)));
    };
    let directory = Path::new(&invocation.directory);
    let dir = canonicalize(&args.dir).map_err(|e| Error::io(&args.dir, e))?;
    let command = CommandLine::of_words(invocation.arguments);
    // A folder that was moved is no longer where its command says.
    let leads_here =
        command.value(OUT).is_some_and(|out| canonicalize(directory.join(out)).is_ok_and(|out| out == dir));
    let command = if leads_here { command } else { command.with(OUT, dir) };
    go_on(command, directory, global)
}

/// The option that names the folder of a run.
pub(super) const OUT: &str = "--out";

/// Become the program that goes on with the run of `command` in `directory`, with the options given now.
///
/// # Errors
/// [`Error::Usage`] if the directory is not on this machine, [`Error::Io`] if the program cannot be started.
pub(super) fn go_on(command: CommandLine, directory: &Path, global: &GlobalArgs) -> Result<()> {
    let command = with_options(command, global).resuming();
    if !directory.is_dir() {
        let message = format!("the run was begun in {}, which is not here", directory.display());
        return Err(Error::usage(message, format!("go where its paths are right and type: {command}")));
    }
    let program = std::env::current_exe().map_err(|e| Error::io("the program's own file", e))?;
    become_program(Command::new(&program).args(command.words()).current_dir(directory), &program)
}

/// Options of every subcommand that were given now count, not those of then.
fn with_options(command: CommandLine, global: &GlobalArgs) -> CommandLine {
    let GlobalArgs { progress, threads, data_dir } = global;
    let progress = Some(progress).filter(|kind| **kind != ProgressKind::Auto).and_then(ValueEnum::to_possible_value);
    let given = [
        ("--progress", progress.map(|kind| kind.get_name().into())),
        ("--threads", threads.map(|n| n.to_string().into())),
        ("--data-dir", data_dir.clone().map(PathBuf::into_os_string)),
    ];
    given.into_iter().fold(command, |command, (flag, value)| match value {
        Some(value) => command.with(flag, value),
        None => command,
    })
}

/// The process keeps its number, so signals of a cluster reach the program that works.
#[cfg(unix)]
fn become_program(command: &mut Command, program: &Path) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(Error::io(program, command.exec()))
}

#[cfg(not(unix))]
fn become_program(command: &mut Command, program: &Path) -> Result<()> {
    let status = command.status().map_err(|e| Error::io(program, e))?;
    std::process::exit(status.code().unwrap_or(1))
}
