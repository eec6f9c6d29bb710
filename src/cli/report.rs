//! Arguments of `lrpilot report DIR`.

use super::share_arg::INDEX;
use super::{context, error::print, output, run_folder};
use crate::record::Comparison;
use crate::record::suite::SuiteResults;
use crate::store::files::RunFiles;
use crate::store::folder::kind_without_info;
use crate::store::run_info::{RunInfo, RunKind};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

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
/// [`Error::Data`] if the folder holds no run or a file is damaged, [`Error::Usage`] if the run has no such report,
/// [`Error::Io`].
pub fn run(args: &ReportArgs) -> Result<()> {
    let files = RunFiles::new(&args.dir);
    if !files.config().is_file() {
        let remedy = "name a folder made by lrpilot learn, compare, demo or suite run";
        return Err(Error::data(&args.dir, "not a run folder", remedy));
    }
    let info = match RunInfo::read(&files.info())? {
        Some(info) => info,
        None => info_of_old_folder(&files)?,
    };
    if info.options.contains_key(INDEX) {
        let message = format!("{} holds a share of a run, which has no report", args.dir.display());
        return Err(Error::usage(message, "put all shares together with `lrpilot runs merge`"));
    }
    if info.kind == RunKind::Paper {
        let message = format!("{} holds the paper's experiments, which have another report", args.dir.display());
        return Err(Error::usage(message, format!("open {}", files.paper_page().display())));
    }
    match (info.kind, output::read_json::<SuiteResults>(&files.suite())?) {
        (RunKind::Suite, Some(results)) => super::suite::write_report(&files, &info, &results)?,
        (RunKind::Suite, None) => {
            let message = format!("{} holds a run of the suite that has not ended", args.dir.display());
            return Err(Error::usage(message, format!("go on with it: {}", info.resume)));
        }
        _ => output::write_report(&files, &info)?,
    }
    print(&format!("report: {}", files.report().display()))
}

/// What can be told of a folder that version 0.1.0 wrote: nothing of the version and machine.
fn info_of_old_folder(files: &RunFiles) -> Result<RunInfo> {
    let path = files.config();
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let kind = kind_without_info(files, &text)?.unwrap_or(RunKind::Learn);
    let comparison: Option<Comparison> = output::read_json(&files.comparison())?;
    let (task, command) = match comparison {
        Some(comparison) => (comparison.task, comparison.command),
        None => (context::task_name(&text), String::new()),
    };
    Ok(RunInfo { title: run_folder::title(&task), command, version: String::new(), ..RunInfo::new(kind) })
}
