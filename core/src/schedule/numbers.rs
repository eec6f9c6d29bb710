//! Schedules as numbers: one learning rate per interval, as CSV or JSON.

use crate::schedule::Schedule;
use crate::{Error, Result};
use std::path::Path;

impl Schedule {
    /// A schedule from a text of numbers; `path` is for messages.
    ///
    /// JSON: a list of numbers, or an object with a list under `lrs` or `lr`. Anything else is read as CSV: one learning
    /// rate a line, in the column called `lr` if there is a header, else in the last column.
    ///
    /// ```
    /// use lrpilot_core::Schedule;
    /// let file = std::path::Path::new("lr.csv");
    /// let three = Schedule::Replay { lrs: vec![0.1, 0.05, 0.01] };
    /// assert_eq!(Schedule::from_numbers("interval,lr\n1,0.1\n2,0.05\n3,0.01\n", file)?, three);
    /// assert_eq!(Schedule::from_numbers("[0.1, 0.05, 0.01]", file)?, three);
    /// assert!(Schedule::from_numbers("0.1\nten\n", file).unwrap_err().to_string().contains("line 2"));
    /// # Ok::<(), lrpilot_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] naming the line for what is not a number ≥ 0, and for a text without numbers.
    pub fn from_numbers(text: &str, path: &Path) -> Result<Self> {
        let lrs =
            if text.trim_start().starts_with(['[', '{']) { from_json(text, path)? } else { from_csv(text, path)? };
        let wrong = lrs.iter().position(|lr| !lr.is_finite() || *lr < 0.0);
        let place = wrong.map_or(String::new(), |i| format!("learning rate number {}: ", i + 1));
        let schedule = Schedule::Replay { lrs };
        schedule.check().map_err(|error| match error {
            Error::Config { message, remedy, .. } => Error::data(path, format!("{place}{message}"), remedy),
            other => other,
        })?;
        Ok(schedule)
    }
}

fn from_json(text: &str, path: &Path) -> Result<Vec<f64>> {
    let wrong = |message: String| Error::data(path, message, "give a list of numbers, e.g. [0.1, 0.05]");
    let json: serde_json::Value = serde_json::from_str(text).map_err(|e| wrong(format!("not JSON ({e})")))?;
    let list = json.get("lrs").or_else(|| json.get("lr")).unwrap_or(&json);
    let list = list.as_array().ok_or_else(|| wrong("no list of learning rates".into()))?;
    let number = |(i, v): (usize, &serde_json::Value)| {
        v.as_f64().ok_or_else(|| wrong(format!("entry {} of the list is {v}, not a number", i + 1)))
    };
    list.iter().enumerate().map(number).collect()
}

fn from_csv(text: &str, path: &Path) -> Result<Vec<f64>> {
    let cells = |line: &str| line.split([',', ';', '\t']).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
    let mut column = None;
    if let Some((_, first)) = lines.peek() {
        let header = cells(first);
        if header.last().is_some_and(|cell| cell.parse::<f64>().is_err()) && lines.clone().count() > 1 {
            column = header.iter().position(|name| name.eq_ignore_ascii_case("lr"));
            if column.is_some() || header.len() == 1 {
                lines.next();
            }
        }
    }
    let number = |(i, line): (usize, &str)| {
        let row = cells(line);
        let cell = column.map_or(row.last(), |c| row.get(c)).map_or("", String::as_str);
        cell.parse::<f64>().map_err(|_| {
            let message = format!("line {}: `{cell}` is not a learning rate", i + 1);
            Error::data(path, message, "give one number a line, or a column called lr")
        })
    };
    lines.map(number).collect()
}
