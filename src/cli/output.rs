//! The files that a run leaves for people: the comparison as JSON, Markdown and CSV, and the report.
//!
//! The report is made from the files of the folder alone, so `lrpilot report` writes the same one again.

use crate::record::{Comparison, RunRecord, Stage, UpdateRecord};
use crate::report::html::{Origin, ReportInput, render};
use crate::report::table;
use crate::run::RunConfig;
use crate::run::explain::{names, responses};
use crate::run::sensitivity::{observations, sensitivities};
use crate::store::atomic::write_atomic;
use crate::store::files::{POLICY_FOLDERS, RunFiles};
use crate::store::journal::read;
use crate::store::run_info::RunInfo;
use crate::task::TaskSource;
use crate::{Error, Result};
use lrpilot_core::Learned;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Write the comparison as JSON, Markdown and CSV.
///
/// # Errors
/// [`Error::Io`].
pub fn write_comparison(files: &RunFiles, comparison: &Comparison) -> Result<()> {
    write_atomic(&files.comparison(), table::json(comparison)?.as_bytes())?;
    write_atomic(&files.comparison_markdown(), table::markdown(comparison).as_bytes())?;
    write_atomic(&files.comparison_csv(), table::csv(comparison).as_bytes())
}

/// Write what the policy looks at on the task, and how it answers.
///
/// # Errors
/// The task's; [`Error::Io`].
pub fn write_insight(
    files: &RunFiles,
    config: &RunConfig,
    source: &Arc<dyn TaskSource>,
    policy: &Learned,
) -> Result<()> {
    let observations = observations(config, source, policy)?;
    write_json(&files.sensitivities(), &sensitivities(policy, &observations))?;
    write_json(&files.responses(), &responses(policy.policy(), &names(policy), &observations)?)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec(value).map_err(|e| Error::Bug(format!("{}: {e}", path.display())))?;
    write_atomic(path, &json)
}

/// Write the report from what is in the folder.
///
/// # Errors
/// [`Error::Data`] naming a file that is damaged, [`Error::Io`].
pub fn write_report(files: &RunFiles, info: &RunInfo) -> Result<()> {
    let input = ReportInput {
        title: info.title.clone(),
        comparison: read_json(&files.comparison())?,
        runs: evaluation_runs(files)?,
        updates: updates(files)?,
        sensitivities: read_json(&files.sensitivities())?.unwrap_or_default(),
        responses: read_json(&files.responses())?.unwrap_or_default(),
        origin: origin(info),
    };
    write_atomic(&files.report(), render(&input)?.as_bytes())
}

/// What a report says about where its numbers come from.
pub(super) fn origin(info: &RunInfo) -> Origin {
    Origin { command: info.command.clone(), version: info.version.clone(), machine: info.machine.clone() }
}

/// The content of a file that may be absent.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path, e)),
    };
    let damaged =
        |e| Error::data(path, format!("cannot be read ({e})"), "delete it and resume the run to write it anew");
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// The runs on fresh seeds. Their order of arrival depends on the threads; the report must not. Where two versions of
/// the program have made the same run, the later one counts.
fn evaluation_runs(files: &RunFiles) -> Result<Vec<RunRecord>> {
    let records: Vec<RunRecord> = read_lines(&files.results())?;
    let evaluated = records.into_iter().filter(|r| r.stage == Stage::Compare);
    let by_identity: BTreeMap<_, _> = evaluated.map(|r| ((r.method.clone(), r.policy_seed, r.seed), r)).collect();
    Ok(by_identity.into_values().collect())
}

/// The updates of the policy in the folder itself, or of the policies that were learned below it in our formulation.
fn updates(files: &RunFiles) -> Result<Vec<UpdateRecord>> {
    let [ours, _] = POLICY_FOLDERS;
    let mut updates = read_lines(&files.updates())?;
    for policy in files.policies(ours)? {
        updates.extend(read_lines::<UpdateRecord>(&policy.updates())?);
    }
    Ok(updates)
}

/// The records of a file that may be absent.
fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if path.exists() { read(path) } else { Ok(Vec::new()) }
}
