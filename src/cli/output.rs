//! The files that a comparison leaves: table as JSON, Markdown and CSV, and the report.

use super::context::{command_line, machine};
use crate::Result;
use crate::record::{Comparison, RunRecord, UpdateRecord};
use crate::report::html::{Origin, ReportInput, Sensitivity, render};
use crate::report::table;
use crate::store::atomic::write_atomic;
use std::path::Path;

/// Write `comparison.json`, `comparison.md`, `comparison.csv` and `report.html` to `folder`.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write_comparison(
    folder: &Path,
    comparison: &Comparison,
    runs: &[RunRecord],
    updates: &[UpdateRecord],
    sensitivities: &[Sensitivity],
) -> Result<()> {
    write_atomic(&folder.join("comparison.json"), table::json(comparison)?.as_bytes())?;
    write_atomic(&folder.join("comparison.md"), table::markdown(comparison).as_bytes())?;
    write_atomic(&folder.join("comparison.csv"), table::csv(comparison).as_bytes())?;
    let json = |v: &[Sensitivity]| serde_json::to_vec(v).unwrap_or_default();
    write_atomic(&folder.join("sensitivities.json"), &json(sensitivities))?;
    write_report(
        folder,
        Some(comparison.clone()),
        runs.to_vec(),
        updates.to_vec(),
        sensitivities.to_vec(),
        &comparison.task,
    )
}

/// Write `report.html` to `folder`.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write_report(
    folder: &Path,
    comparison: Option<Comparison>,
    runs: Vec<RunRecord>,
    updates: Vec<UpdateRecord>,
    sensitivities: Vec<Sensitivity>,
    task: &str,
) -> Result<()> {
    let command = comparison.as_ref().map_or_else(command_line, |c| c.command.clone());
    let input = ReportInput {
        title: format!("A learned learning-rate schedule for {task}"),
        origin: Origin { command, version: format!("lrpilot {}", env!("CARGO_PKG_VERSION")), machine: machine() },
        comparison,
        runs,
        updates,
        sensitivities,
    };
    write_atomic(&folder.join("report.html"), render(&input)?.as_bytes())
}
