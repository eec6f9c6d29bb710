//! Records of runs, and everything that only reads them: tables, charts, TensorBoard events, HTML, progress.
//!
//! Deliberately not here: running anything, choosing file names, reading the clock. Callers hand over records, paths
//! and times, so a report made twice from the same records is the same bytes.

pub mod chart;
pub mod format;
pub mod html;
pub mod svg;
pub mod table;
pub mod tensorboard;
pub mod terminal_chart;
