//! `lrpilot runs`: run folders and what has become of them.

pub mod merge;
pub mod resume;

use super::{GlobalArgs, error::print, run_folder};
use crate::store::files::{CONFIG_FILE, POLICY_FOLDERS, RunFiles};
use crate::store::folder::kind_without_info;
use crate::store::lock::RunLock;
use crate::store::run_info::{RunInfo, RunKind, RunState};
use crate::{Error, Result};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `runs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot runs runs", args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// What to do besides listing.
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// Folder with run folders in it.
    #[arg(value_name = "DIR", default_value = "runs")]
    pub dir: PathBuf,
}

/// The subcommands of `runs`.
#[derive(Clone, Debug, Subcommand)]
pub enum RunsCommand {
    /// Go on with the run in a folder, by the command that began it.
    Resume(resume::ResumeArgs),
    /// Put the shares of a comparison or of a run of the suite together and finish it.
    Merge(merge::MergeArgs),
}

/// Print one line per run folder in the folder, by name; or do what the subcommand says.
///
/// # Errors
/// [`Error::Io`] if a folder cannot be read; those of the subcommand.
pub fn run(args: &RunsArgs, global: &GlobalArgs) -> Result<()> {
    match &args.command {
        None => list(args),
        Some(RunsCommand::Resume(args)) => resume::run(args, global),
        Some(RunsCommand::Merge(args)) => merge::run(args, global),
    }
}

fn list(args: &RunsArgs) -> Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["run", "command", "runs", "updates", "policy", "report", "state"]);
    let folders = run_folders(&args.dir)?;
    if folders.is_empty() {
        return print(&format!("no run folders in {}", args.dir.display()));
    }
    for dir in folders {
        table.add_row(row(&dir)?);
    }
    print(&table.trim_fmt())
}

fn run_folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let io = |e| Error::io(dir, e);
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.join(CONFIG_FILE).is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn row(dir: &Path) -> Result<[String; 7]> {
    let files = RunFiles::new(dir);
    let mark = |path: &Path| if path.exists() { "yes" } else { "-" }.to_owned();
    let mut updates = lines(&files.updates())?;
    for begin in POLICY_FOLDERS {
        for policy in files.policies(begin)? {
            updates += lines(&policy.updates())?;
        }
    }
    // A damaged description spoils its own line, not the list.
    let (kind, state) = match RunInfo::read(&files.info()) {
        Ok(Some(info)) => (info.kind.name(), told(dir, &info)?),
        Ok(None) => untold(&files)?,
        Err(error) => ("?", error.to_string()),
    };
    let report = if kind == RunKind::Paper.name() { files.paper_page() } else { files.report() };
    Ok([
        dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        kind.to_owned(),
        lines(&files.results())?.to_string(),
        updates.to_string(),
        mark(&files.policy()),
        mark(&report),
        state.replace('\n', " "),
    ])
}

/// `running by process 4711 on host node3 since …`, if one is at work in the folder.
fn at_work(dir: &Path) -> Result<Option<String>> {
    let holder = RunLock::holder(dir)?;
    Ok(holder.map(|holder| format!("running by {} since {}", holder.process, holder.since)))
}

/// What the run wrote about itself.
fn told(dir: &Path, info: &RunInfo) -> Result<String> {
    if let Some(text) = at_work(dir)? {
        return Ok(text);
    }
    let resume = resume(info);
    Ok(match &info.state {
        RunState::Finished => "finished".into(),
        RunState::Interrupted => format!("interrupted; resume with: {resume}"),
        RunState::Failed { error } => format!("failed: {error}; resume with: {resume}"),
        RunState::Running => format!("died; resume with: {resume}"),
    })
}

/// The command that goes on, from here: the paths in it are meant in the directory where it was typed.
fn resume(info: &RunInfo) -> String {
    if info.directory.is_empty() || info.directory == run_folder::directory() {
        return info.resume.clone();
    }
    format!("cd {} && {}", info.directory, info.resume)
}

/// The command and the state of a folder of version 0.1.0, which did not write them down.
fn untold(files: &RunFiles) -> Result<(&'static str, String)> {
    let path = files.config();
    let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let kind = kind_without_info(files, &text)?;
    let results = [files.policy(), files.comparison(), files.paper_page()];
    let state = match at_work(files.folder())? {
        Some(text) => text,
        None if results.iter().any(|path| path.exists()) => "it has results; 0.1.0 did not note how a run ended".into(),
        None => "it has no results; 0.1.0 did not note how a run ended".into(),
    };
    Ok((kind.map_or("?", RunKind::name), state))
}

/// Whole lines of a file; 0 if there is no such file.
fn lines(path: &Path) -> Result<usize> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.iter().filter(|&&b| b == b'\n').count()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(Error::io(path, e)),
    }
}
