//! The comparison for a terminal: the table, what its columns and kinds mean, claims and break-even.
//!
//! Everything but the wide table fits into 80 columns, whatever the terminal: so it looks the same in a log.

use super::format::{estimate, learning_rate, significant, wrap};
use super::table::{COLUMNS, break_even_line, cells, sorted};
use crate::record::{Claim, Comparison, Kind, MethodResult};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};

/// Columns of the narrow table, and of all text below either.
const WIDTH: usize = 80;

/// The comparison as text of many lines: the few columns that matter, or every one if `wide`.
///
/// ```
/// use lrpilot::{record::Comparison, report::terminal};
/// let comparison: Comparison = serde_json::from_str(r#"{"task": "digits", "budget_epochs": 100, "methods": [],
///     "claims": [], "break_even": [], "command": "lrpilot demo"}"#).unwrap();
/// assert!(terminal::text(&comparison, false).contains("test loss"));
/// assert!(terminal::text(&comparison, true).contains("epochs spent"));
/// ```
pub fn text(comparison: &Comparison, wide: bool) -> String {
    let methods = sorted(comparison);
    let table = if wide { wide_table(&methods) } else { narrow_table(&methods) };
    let mut text = table.trim_fmt() + "\n";
    let mut paragraph = |sentence: &str| text += &(wrap(sentence, WIDTH, 2) + "\n");
    paragraph(
        "IQM [95 %]: mean of the middle half of the runs, with the 95 % interval of a bootstrap; lower is better.",
    );
    paragraph(&kinds(&methods));
    for claim in &comparison.claims {
        let Claim { statement, held, evidence } = claim;
        let (mark, held) = if *held { ('✓', "held") } else { ('✗', "did not hold") };
        paragraph(&format!("{mark} {statement}"));
        paragraph(&format!("  {held}: {evidence}"));
    }
    for break_even in &comparison.break_even {
        paragraph(&format!("break-even {}", break_even_line(break_even)));
    }
    text
}

/// The order of the rows, by the kinds that are there.
fn kinds(methods: &[&MethodResult]) -> String {
    let mut present: Vec<Kind> = methods.iter().map(|m| m.kind).collect();
    present.dedup();
    let purposes: Vec<&str> = present.into_iter().map(Kind::purpose).collect();
    format!("Rows stand by kind, then by test loss: {}.", purposes.join("; "))
}

pub(super) fn empty_table(width: Option<u16>) -> Table {
    let rule = LineStyle::none().fill('─').junction('─');
    let style = TableStyle::new().top_border(rule).header_separator(rule).bottom_border(rule);
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table
}

pub(super) fn align_right(table: &mut Table, from: usize) {
    table.column_iter_mut().skip(from).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
}

/// Every column, as wide as the content or the terminal.
fn wide_table(methods: &[&MethodResult]) -> Table {
    let mut table = empty_table(None);
    table.set_header(COLUMNS);
    for method in methods {
        table.add_row(cells(method));
    }
    align_right(&mut table, 2);
    table
}

/// The columns that decide. Numbers are never broken; where they leave too little room, names are.
fn narrow_table(methods: &[&MethodResult]) -> Table {
    let any_diverged = methods.iter().any(|m| m.diverged > 0);
    let mut header = vec!["method", "initial\nLR", "test loss,\nIQM [95 %]", "validation\nloss"];
    header.extend(any_diverged.then_some("diverged"));
    let mut table = empty_table(Some(WIDTH as u16));
    table.set_header(header);
    for m in methods {
        let mut row = vec![
            m.name.clone(),
            m.initial_lr.map_or("—".into(), learning_rate),
            estimate(&m.test_loss),
            significant(m.final_val_loss.iqm),
        ];
        row.extend(any_diverged.then(|| m.diverged.to_string()));
        table.add_row(row);
    }
    align_right(&mut table, 1);
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_constraint(ColumnConstraint::ContentWidth);
    });
    table
}
