//! The paper's own numbers, transcribed in `paper/reported.toml`.

use crate::paper::Data;
use crate::paper::names::Scheduler;
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Everything that was transcribed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// Table 1, one entry for each data set.
    pub summary: Vec<SummaryRow>,
    /// Tables 2 to 10.
    pub table: Vec<ReportedTable>,
    /// Where the numbers contradict each other or what is known.
    pub note: Vec<Note>,
}

/// A row of Table 1.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SummaryRow {
    /// Which data set.
    pub data: Data,
    /// Final loss by method, e.g. `adam-sch`.
    #[serde(flatten)]
    pub losses: BTreeMap<String, f64>,
}

/// One of Tables 2 to 10.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedTable {
    /// Its number.
    pub number: u32,
    /// Which data set.
    pub data: Data,
    /// The scheduler of the rows that end in `-Sch`.
    pub scheduler: Scheduler,
    /// Initial and agent learning rate.
    pub lr: f64,
    /// Method, best final loss, average final loss, whether a divergent case exists.
    pub rows: Vec<(String, f64, f64, bool)>,
}

/// An inconsistency.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The tables it is about; none for the paper as a whole.
    pub tables: Vec<u32>,
    /// What is wrong.
    pub text: String,
}

impl Reported {
    /// Read the embedded transcription.
    ///
    /// # Errors
    /// [`Error::Bug`] if it is not what this program expects.
    ///
    /// ```
    /// let reported = lrpilot::paper::reported::Reported::load()?;
    /// assert_eq!(reported.table[0].rows[1], ("SGD".to_string(), 0.034583, 0.189786, true));
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    pub fn load() -> Result<Self> {
        toml::from_str(include_str!("../../paper/reported.toml"))
            .map_err(|e| Error::Bug(format!("paper/reported.toml: {e}")))
    }

    /// The notes about the paper as a whole.
    pub fn general_notes(&self) -> impl Iterator<Item = &str> {
        self.note.iter().filter(|n| n.tables.is_empty()).map(|n| n.text.as_str())
    }

    /// The notes about table `number`.
    pub fn notes(&self, number: u32) -> impl Iterator<Item = &str> {
        self.note.iter().filter(move |n| n.tables.contains(&number)).map(|n| n.text.as_str())
    }
}
