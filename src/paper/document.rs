//! The paper's tables and figures with our numbers beside theirs: a plain model, as Markdown and as one HTML page.
//!
//! Not here: where the numbers come from (`paper`).

use crate::report::svg::LrSeries;
use std::fmt::Write as _;

/// Everything that the report shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PaperResults {
    /// What was trained, in a sentence.
    pub scale: String,
    /// Processor and cores.
    pub machine: String,
    /// The findings in sentences.
    pub findings: Vec<String>,
    /// The tables, in order.
    pub tables: Vec<PaperTable>,
    /// The figures, in order.
    pub figures: Vec<PaperFigure>,
}

/// A table, theirs and ours side by side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PaperTable {
    /// Heading.
    pub title: String,
    /// Column headings; the first one is of the row labels.
    pub columns: Vec<String>,
    /// Label and cells of each row; as many cells as columns but one.
    pub rows: Vec<(String, Vec<String>)>,
    /// What follows from it, in sentences.
    pub verdict: Vec<String>,
    /// What is inconsistent in the paper's numbers.
    pub notes: Vec<String>,
    /// The command that makes it.
    pub command: String,
    /// The seeds.
    pub seeds: String,
}

/// A figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PaperFigure {
    /// Name of the file, without its ending.
    pub name: String,
    /// Heading.
    pub title: String,
    /// What can be seen.
    pub caption: String,
    /// Name of the horizontal axis.
    pub x_label: String,
    /// Name of the vertical axis, which is logarithmic.
    pub y_label: String,
    /// The curves; those without a name are thin. The first named one is highlighted.
    pub series: Vec<LrSeries>,
    /// The command that makes it.
    pub command: String,
    /// The seeds.
    pub seeds: String,
}

impl PaperFigure {
    /// The picture.
    pub fn svg(&self) -> String {
        crate::report::svg::line_chart(&self.x_label, &self.y_label, &self.series)
    }
}

/// File name and content of each figure.
pub fn figure_files(results: &PaperResults) -> Vec<(String, String)> {
    results.figures.iter().map(|f| (format!("{}.svg", f.name), f.svg())).collect()
}

/// The report as Markdown; the figures are files beside it.
///
/// ```
/// use lrpilot::paper::document::{PaperResults, PaperTable, markdown};
/// let table = PaperTable {
///     title: "Table 1".into(),
///     columns: vec!["method".into(), "loss".into()],
///     rows: vec![("Agent".into(), vec!["0.038".into()])],
///     ..PaperTable::default()
/// };
/// let text = markdown(&PaperResults { tables: vec![table], ..PaperResults::default() });
/// assert!(text.contains("| Agent | 0.038 |"));
/// ```
pub fn markdown(results: &PaperResults) -> String {
    let mut text =
        format!("# The paper, ours beside theirs\n\nScale {}. Machine: {}.\n", results.scale, results.machine);
    list(&mut text, &results.findings);
    for table in &results.tables {
        let _ = write!(text, "\n## {}\n\n| {} |\n|---", table.title, table.columns.join(" | "));
        let _ = writeln!(text, "{}|", "|--:".repeat(table.columns.len().saturating_sub(1)));
        for (label, cells) in &table.rows {
            let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
        }
        list(&mut text, &table.verdict);
        for note in &table.notes {
            let _ = writeln!(text, "\n> {note}");
        }
        source(&mut text, &table.command, &table.seeds);
    }
    for figure in &results.figures {
        let _ =
            writeln!(text, "\n## {}\n\n![{}]({}.svg)\n\n{}", figure.title, figure.title, figure.name, figure.caption);
        source(&mut text, &figure.command, &figure.seeds);
    }
    text
}

fn list(text: &mut String, sentences: &[String]) {
    if !sentences.is_empty() {
        let _ = writeln!(text, "\n- {}", sentences.join("\n- "));
    }
}

fn source(text: &mut String, command: &str, seeds: &str) {
    if !command.is_empty() {
        let _ = writeln!(text, "\n`{command}`, {seeds}");
    }
}
