//! `lrpilot runs`: run folders and how far they are.

use super::error::print;
use crate::store::folder::CONFIG_FILE;
use crate::store::lock::RunLock;
use crate::{Error, Result};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `runs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot runs runs")]
pub struct RunsArgs {
    /// Folder with run folders in it.
    #[arg(value_name = "DIR", default_value = "runs")]
    pub dir: PathBuf,
}

/// Print one line per run folder in the folder, by name.
///
/// # Errors
/// [`Error::Io`] if a folder cannot be read.
pub fn run(args: &RunsArgs) -> Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["run", "state", "runs", "updates", "policy", "report"]);
    let folders = run_folders(&args.dir)?;
    if folders.is_empty() {
        return print(&format!("no run folders in {}", args.dir.display()));
    }
    for dir in folders {
        let mark = |file: &str| if dir.join(file).exists() { "yes" } else { "-" }.to_owned();
        table.add_row([
            dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            state(&dir)?,
            lines(&dir.join("results.jsonl"))?.to_string(),
            lines(&dir.join("updates.jsonl"))?.to_string(),
            mark("policy.safetensors"),
            mark("report.html"),
        ]);
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

/// `running (process 4711 on host a since …)`, `finished`, or `stopped`, which can be resumed.
fn state(dir: &Path) -> Result<String> {
    if let Some(holder) = RunLock::holder(dir)? {
        return Ok(format!("running ({} since {})", holder.process, holder.since));
    }
    let finished = ["policy.safetensors", "comparison.json"].iter().any(|file| dir.join(file).exists());
    Ok(if finished { "finished" } else { "stopped" }.to_owned())
}

/// Whole lines of a file; 0 if there is no such file.
fn lines(path: &Path) -> Result<usize> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.iter().filter(|&&b| b == b'\n').count()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(Error::io(path, e)),
    }
}
