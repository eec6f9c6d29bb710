//! Why a policy decided as it did, as text of 80 columns and as a page.

use super::format::{learning_rate, wrap};
use super::html::Origin;
use super::response::{ResponseFigure, response_figures};
use crate::record::{Explained, ExplainedDecision, ExplainedRun};
use crate::{Error, Result};
use askama::Template;
use lrpilot_core::explain::Explanation;
use std::fmt::Write as _;

/// Columns of the text.
const WIDTH: usize = 80;
/// Inputs in the list of overall influences.
const LISTED: usize = 10;
/// Influences below this share of the largest one are not worth a word.
const NEGLIGIBLE: f32 = 1e-3;

/// The decisions of the first run, a row each with the `top` inputs, then the inputs by their influence over all runs.
///
/// ```
/// use lrpilot::{record::Explained, report::explanation::text};
/// let explained: Explained = serde_json::from_str(r#"{"task": "digits", "inputs": [], "runs": [{"seed": 3,
///     "decisions": [{"decision": 0, "share": 0.0, "lr": 0.1, "action": -0.5, "change": -0.25, "residual": null,
///     "influences": [{"name": "t/H", "value": 0.0, "influence": -0.5}], "value": null}]}]}"#).unwrap();
/// assert!(text(&explained, 3).contains("   0 %  1.00e-1  lower -0.50  t/H -0.50"));
/// ```
pub fn text(explained: &Explained, top: usize) -> String {
    let mut text = String::new();
    if let Some(run) = explained.runs.first() {
        let _ = writeln!(text, "{}, seed {}", explained.task, run.seed);
        text += &decisions(run, top);
    }
    for sentence in meaning(explained) {
        text += &(wrap(&sentence, WIDTH, 0) + "\n");
    }
    let _ = writeln!(text, "\n{}", counted(explained));
    let largest = explained.inputs.first().map_or(0.0, |input| input.influence).max(f32::MIN_POSITIVE);
    let format = Signed::of(explained);
    for input in explained.inputs.iter().take(LISTED).filter(|input| input.influence > NEGLIGIBLE * largest) {
        let bar = "█".repeat((30.0 * input.influence / largest).round() as usize);
        let size = format.unsigned(input.influence);
        text += format!("  {:<34} {size:>7}  {bar}", input.name).trim_end();
        text.push('\n');
    }
    text
}

/// A row for each decision; inputs that do not fit go on below.
fn decisions(run: &ExplainedRun, top: usize) -> String {
    let has_values = run.decisions.iter().any(|d| d.value.is_some());
    let value_column = |text: &str| if has_values { format!("  {text:>7}") } else { String::new() };
    let head = format!("  done       LR  {:<11}{}  ", "action", value_column("value"));
    // Room for a comma at the end of a line, and for an action of two digits.
    let room = WIDTH - head.chars().count() - 2;
    let mut text = format!("{head}inputs that moved the action most\n{}\n", "─".repeat(WIDTH));
    let format = Signed::of_run(run);
    for ExplainedDecision { explanation: e, value } in &run.decisions {
        let value = value_column(&value.map_or(String::new(), |value| format!("{value:.3}")));
        let inputs = packed(&strongest(e, top, format), room);
        let (done, lr) = (percent(e.share), learning_rate(e.lr));
        let row = format!("{done:>6}  {lr:>7}  {:<5} {:>5}{value}  ", e.word(), format.signed(e.action));
        let indent = format!("\n{}", " ".repeat(head.chars().count()));
        text += format!("{row}{}", inputs.join(&indent)).trim_end();
        text.push('\n');
    }
    text + &"─".repeat(WIDTH) + "\n"
}

/// Items in lines of at most `room` characters, none broken.
fn packed(items: &[String], room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 2 + item.chars().count() <= room => *line += &format!(", {item}"),
            Some(line) => {
                line.push(',');
                lines.push(item.clone());
            }
            None => lines.push(item.clone()),
        }
    }
    lines
}

/// The inputs of the largest influence with their influence.
fn strongest(explanation: &Explanation, top: usize, format: Signed) -> Vec<String> {
    let largest = explanation.influences.first().map_or(0.0, |i| i.influence.abs());
    let counts = explanation.influences.iter().take(top).filter(|i| i.influence.abs() > NEGLIGIBLE * largest);
    counts.map(|i| format!("{} {}", i.name, format.signed(i.influence))).collect()
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// How actions and influences are written: all of a run alike.
#[derive(Clone, Copy)]
struct Signed {
    /// Two decimals would show nothing, as for actions that are learning rates.
    small: bool,
}

impl Signed {
    fn of(explained: &Explained) -> Self {
        explained.runs.first().map_or(Signed { small: false }, Signed::of_run)
    }

    fn of_run(run: &ExplainedRun) -> Self {
        let largest = run.decisions.iter().map(|d| d.explanation.action.abs()).fold(0.0, f32::max);
        Signed { small: largest < 0.05 && largest > 0.0 }
    }

    fn signed(self, value: f32) -> String {
        if self.small { format!("{value:+.0e}") } else { format!("{value:+.2}") }
    }

    fn unsigned(self, value: f32) -> String {
        if self.small { format!("{value:.1e}") } else { format!("{value:.3}") }
    }
}

/// What the columns mean.
fn meaning(explained: &Explained) -> Vec<String> {
    let mut decisions = explained.runs.iter().flat_map(|run| &run.decisions);
    let steered = match decisions.next().map(|d| d.explanation.residual) {
        Some(Some(_)) => "the learning rate against its base schedule",
        _ => "the learning rate against the interval before",
    };
    let mut sentences = vec![
        format!("Action: the policy's output, which moves {steered}; hold is within 5 %."),
        "Inputs: what each adds to the action, against its mean over these runs.".to_owned(),
    ];
    if decisions.any(|d| d.value.is_some()) {
        sentences.push("Value: the return that is expected from there on, in the units of learning.".into());
    }
    sentences
}

/// How many decisions the overall influences are over.
fn counted(explained: &Explained) -> String {
    let decisions: usize = explained.runs.iter().map(|run| run.decisions.len()).sum();
    let runs = match explained.runs.len() {
        1 => "1 run".into(),
        n => format!("{n} runs"),
    };
    format!("Mean size of the influence over {decisions} decisions of {runs}:")
}

#[derive(Template)]
#[template(path = "explanation.html")]
struct Page<'a> {
    title: String,
    sentences: Vec<String>,
    responses: Vec<ResponseFigure>,
    heading: String,
    has_values: bool,
    rows: Vec<Row>,
    counted: String,
    bars: Vec<Bar<'a>>,
    origin: Vec<(&'static str, &'a str)>,
    style: &'static str,
}

struct Row {
    done: String,
    lr: String,
    word: &'static str,
    action: String,
    value: String,
    inputs: String,
}

struct Bar<'a> {
    name: &'a str,
    percent: f32,
    size: String,
}

/// The page as text, with no script and nothing from outside: response curves, the decisions of the first run with the
/// `top` inputs, and the influence of every input.
///
/// ```
/// use lrpilot::{record::Explained, report::explanation::page, report::html::Origin};
/// let explained = Explained { task: "digits <1>".into(), ..Explained::default() };
/// assert!(page(&explained, 3, &Origin::default())?.contains("digits &#60;1&#62;"));
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Bug`] only if the program's own template fails.
pub fn page(explained: &Explained, top: usize, origin: &Origin) -> Result<String> {
    let format = Signed::of(explained);
    let decisions = explained.runs.first().map_or(&[][..], |run| &run.decisions);
    let row = |d: &ExplainedDecision| Row {
        done: percent(d.explanation.share),
        lr: learning_rate(d.explanation.lr),
        word: d.explanation.word(),
        action: format.signed(d.explanation.action),
        value: d.value.map_or(String::new(), |value| format!("{value:.3}")),
        inputs: strongest(&d.explanation, top, format).join(", "),
    };
    let largest = explained.inputs.first().map_or(0.0, |input| input.influence).max(f32::MIN_POSITIVE);
    let bars = explained.inputs.iter().map(|input| Bar {
        name: &input.name,
        percent: 100.0 * input.influence / largest,
        size: format.unsigned(input.influence),
    });
    let page = Page {
        title: format!("Why the policy decided as it did on {}", explained.task),
        sentences: meaning(explained),
        responses: response_figures(&explained.inputs),
        heading: explained.runs.first().map_or(String::new(), |run| format!("Decisions of seed {}", run.seed)),
        has_values: decisions.iter().any(|d| d.value.is_some()),
        rows: decisions.iter().map(row).collect(),
        counted: counted(explained),
        bars: bars.collect(),
        origin: origin.rows(""),
        style: include_str!("../../templates/report.css"),
    };
    page.render().map_err(|e| Error::Bug(format!("explanation: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_packed_and_never_broken() {
        let items = ["ln val +0.21", "t/H -0.10", "5 dv +0.04"].map(String::from);
        assert_eq!(packed(&items, 24), ["ln val +0.21, t/H -0.10,", "5 dv +0.04"]);
        assert_eq!(packed(&items, 3), ["ln val +0.21,", "t/H -0.10,", "5 dv +0.04"]);
        assert!(packed(&[], 24).is_empty());
    }
}
