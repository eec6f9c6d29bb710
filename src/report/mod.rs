//! Everything that only reads records: tables, charts, HTML.
//!
//! Deliberately not here: running anything, choosing file names, reading the clock. Callers hand over records, paths
//! and times, so a report made twice from the same records is the same bytes.

pub mod axis;
pub mod chart;
pub mod distribution;
pub mod explanation;
pub mod format;
pub mod html;
pub mod response;
#[cfg(feature = "cli")]
pub mod suite;
#[cfg(feature = "cli")]
pub mod suite_page;
pub mod svg;
pub mod table;
#[cfg(feature = "cli")]
pub mod terminal;
pub mod terminal_chart;
pub mod xml;
