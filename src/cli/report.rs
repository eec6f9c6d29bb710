//! Arguments of `lrpilot report DIR`.

use super::{error::print, output};
use crate::record::{Comparison, RunRecord, Stage, UpdateRecord};
use crate::store::folder::CONFIG_FILE;
use crate::store::journal::read;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot report runs/demo")]
pub struct ReportArgs {
    /// Folder of a run; `report.html` in it is written anew.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Write `report.html` anew from the records in the folder.
///
/// # Errors
/// [`Error::Data`] if the folder holds no run; the files' errors.
pub fn run(args: &ReportArgs) -> Result<()> {
    let dir = &args.dir;
    if !dir.join(CONFIG_FILE).is_file() {
        return Err(Error::data(dir, "not a run folder", "name a folder made by lrpilot learn, compare or demo"));
    }
    let comparison_path = dir.join("comparison.json");
    let comparison: Option<Comparison> =
        match std::fs::read(&comparison_path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|e| {
                Error::data(&comparison_path, format!("cannot be read ({e})"), "run the comparison again")
            })?),
            Err(_) => None,
        };
    let mut updates: Vec<UpdateRecord> = Vec::new();
    for file in update_files(dir)? {
        updates.extend(read::<UpdateRecord>(&file)?);
    }
    let results = dir.join("results.jsonl");
    let mut runs: Vec<RunRecord> = if results.is_file() { read(&results)? } else { Vec::new() };
    // The order of arrival depends on the threads; the report must not.
    runs.sort_by(|a, b| (&a.method, a.policy_seed, a.seed).cmp(&(&b.method, b.policy_seed, b.seed)));
    runs.retain(|r| r.stage == Stage::Compare);
    let sensitivities = std::fs::read(dir.join("sensitivities.json")).unwrap_or_default();
    let sensitivities = serde_json::from_slice(&sensitivities).unwrap_or_default();
    let task = comparison.as_ref().map_or_else(|| dir.display().to_string(), |c| c.task.clone());
    output::write_report(dir, comparison, runs, updates, sensitivities, &task)?;
    print(&format!("report: {}", dir.join("report.html").display()))
}

/// Records of updates in the folder itself and in those of the policies of formulation `pilot`, in order.
fn update_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    folders.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("pilot-seed")));
    folders.sort();
    folders.insert(0, dir.to_owned());
    Ok(folders.into_iter().map(|f| f.join("updates.jsonl")).filter(|f| f.is_file()).collect())
}
