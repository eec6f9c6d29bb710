//! `report.html`: everything about a comparison in one file that opens offline.
//!
//! The page is the template `templates/report.html` filled with strings made here; its style and script are inlined,
//! and so is uPlot (MIT, `assets/uplot`). Charts get their numbers as one JSON object. Deliberately not here: reading
//! files, statistics, the clock.

use super::axis::Axis;
use super::chart::{self, Chart};
use super::format::{count, estimate, significant};
use super::response::{ResponseFigure, response_figures};
use super::table;
use crate::record::{BreakEven, Claim, Comparison, Kind, MethodResult, Response, RunRecord, Sensitivity, UpdateRecord};
use crate::{Error, Result};
use askama::Template;
use serde::{Deserialize, Serialize};

/// What a report is made of. Parts that are missing leave their section out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportInput {
    /// Heading of the page.
    pub title: String,
    /// The comparison table with claims and break-even.
    pub comparison: Option<Comparison>,
    /// Runs, for the curves; any stage and order.
    pub runs: Vec<RunRecord>,
    /// Updates of the policies' training, for all policy seeds.
    pub updates: Vec<UpdateRecord>,
    /// How strongly the policy's output depends on each of its inputs.
    pub sensitivities: Vec<Sensitivity>,
    /// How the policy answers to each of its inputs.
    pub responses: Vec<Response>,
    /// Where it all comes from.
    pub origin: Origin,
}

/// Where the numbers come from, as told by the caller. Empty fields are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The command that makes the same numbers again.
    pub command: String,
    /// Program and version.
    pub version: String,
    /// Processor, cores, operating system.
    pub machine: String,
}

impl Origin {
    /// What is known, with names; `command` stands in for a command that is not.
    pub(super) fn rows<'a>(&'a self, command: &'a str) -> Vec<(&'static str, &'a str)> {
        let command = if self.command.is_empty() { command } else { &self.command };
        let rows = [("Command", command), ("Version", &self.version), ("Machine", &self.machine)];
        rows.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }
}

/// The template's context: only strings and lists, all decisions are made before.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: &'a str,
    verdict: Vec<String>,
    budget: String,
    columns: [&'static str; 9],
    rows: Vec<Row>,
    whiskers: Whiskers,
    claims: Vec<ClaimText<'a>>,
    costs: Vec<Cost>,
    break_even: Vec<BreakEvenText<'a>>,
    curves: Vec<Figure>,
    histories: Vec<Figure>,
    histories_left_out: usize,
    training: Vec<Figure>,
    sensitivities: Vec<SensitivityBar<'a>>,
    responses: Vec<ResponseFigure>,
    origin: Vec<(&'static str, &'a str)>,
    data: String,
    style: &'static str,
    script: &'static str,
    uplot: &'static str,
    uplot_style: &'static str,
    uplot_license: &'static str,
}

struct Row {
    kind: &'static str,
    /// Text and, for an estimate, its interval.
    cells: Vec<(String, String)>,
}

/// The dot-and-whisker chart: positions in per cent of the width.
#[derive(Default)]
struct Whiskers {
    log: bool,
    rows: Vec<Whisker>,
    ticks: Vec<(f64, String)>,
}

struct Whisker {
    name: String,
    kind: &'static str,
    text: String,
    /// So far to the right that only an arrow is drawn.
    beyond: bool,
    lo: f64,
    mid: f64,
    hi: f64,
}

struct ClaimText<'a> {
    held: bool,
    statement: &'a str,
    evidence: &'a str,
}

struct Cost {
    name: String,
    kind: &'static str,
    epochs: String,
    percent: f64,
}

struct BreakEvenText<'a> {
    method: &'a str,
    after: String,
    how: &'a str,
}

pub(super) struct Figure {
    pub index: usize,
    pub title: String,
    pub summary: String,
    pub log: bool,
}

struct SensitivityBar<'a> {
    feature: &'a str,
    value: String,
    percent: f64,
    negative: bool,
}

/// The page as text, a few hundred kilobytes for any number of runs.
///
/// Errors only if the program's own template fails ([`Error::Bug`]); any records make a page.
///
/// ```
/// use lrpilot::report::html::{ReportInput, render};
/// let page = render(&ReportInput { title: "Digits <1>".into(), ..Default::default() })?;
/// assert!(page.contains("<h1>Digits &#60;1&#62;</h1>"));
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub fn render(input: &ReportInput) -> Result<String> {
    let ReportInput { title, comparison, runs, updates, sensitivities, responses, origin } = input;
    let comparison = comparison.as_ref();
    let methods = comparison.map(table::sorted).unwrap_or_default();
    let (history_charts, histories_left_out) = chart::histories(runs, comparison);
    let mut charts = Vec::new();
    let curves = placed(&mut charts, chart::method_charts(runs, comparison));
    let histories = placed(&mut charts, history_charts);
    let training = placed(&mut charts, chart::training_charts(updates));
    let page = Page {
        title,
        verdict: comparison.map(verdict).unwrap_or_default(),
        budget: comparison.map(|c| count(c.budget_epochs)).unwrap_or_default(),
        columns: table::COLUMNS,
        rows: methods.iter().map(|m| Row::new(m)).collect(),
        whiskers: whiskers(&methods),
        claims: comparison.map(|c| &c.claims[..]).unwrap_or_default().iter().map(ClaimText::new).collect(),
        costs: costs(&methods),
        break_even: comparison.map(|c| &c.break_even[..]).unwrap_or_default().iter().map(BreakEvenText::new).collect(),
        curves,
        histories,
        histories_left_out,
        training,
        sensitivities: sensitivity_bars(sensitivities),
        responses: response_figures(responses),
        origin: origin.rows(comparison.map_or("", |c| &c.command)),
        data: script_json(&charts)?,
        style: include_str!("../../templates/report.css"),
        script: include_str!("../../templates/report.js"),
        uplot: without_first_line(include_str!("../../assets/uplot/uPlot.iife.min.js")),
        uplot_style: include_str!("../../assets/uplot/uPlot.min.css"),
        uplot_license: include_str!("../../assets/uplot/LICENSE"),
    };
    page.render().map_err(|e| Error::Bug(format!("report.html: {e}")))
}

/// uPlot's first line is a comment with an address; the page shall name none, and carries the licence instead.
pub(super) fn without_first_line(text: &'static str) -> &'static str {
    text.split_once('\n').map_or(text, |(_, rest)| rest)
}

/// JSON that may stand inside a `script` element: without `<`, nothing in it can end the element or open a comment.
pub(super) fn script_json(charts: &[Chart]) -> Result<String> {
    let json = serde_json::to_string(charts).map_err(|e| Error::Bug(format!("charts: {e}")))?;
    Ok(json.replace('<', "\\u003c"))
}

/// Append charts to the page's list and say where they stand.
pub(super) fn placed(all: &mut Vec<Chart>, charts: Vec<Chart>) -> Vec<Figure> {
    let place = |chart: Chart| {
        let figure =
            Figure { index: all.len(), title: chart.title.clone(), summary: chart.summary.clone(), log: chart.log };
        all.push(chart);
        figure
    };
    charts.into_iter().map(place).collect()
}

/// The outcome in a few sentences: claims first, then the learned method beside the best tuned and the best default one.
fn verdict(comparison: &Comparison) -> Vec<String> {
    let mut sentences = Vec::new();
    let held = comparison.claims.iter().filter(|c| c.held).count();
    match (held, comparison.claims.len()) {
        (_, 0) => {}
        (1, 1) => sentences.push("The one claim made beforehand held.".into()),
        (0, 1) => sentences.push("The one claim made beforehand did not hold.".into()),
        (held, all) if held == all => sentences.push(format!("All {all} claims made beforehand held.")),
        (held, all) => sentences.push(format!("{held} of {all} claims made beforehand held.")),
    }
    let methods = table::sorted(comparison);
    let best = |kind: Kind| methods.iter().find(|m| m.kind == kind).copied();
    if let Some(learned) = best(Kind::Learned) {
        let loss = estimate(&learned.test_loss);
        let (name, task) = (&learned.name, &comparison.task);
        sentences.push(format!("The learned method {name} ends at a test loss of {loss} on {task}."));
        for (kind, what) in [(Kind::Tuned, "the best tuned method"), (Kind::Default, "the best untuned one")] {
            sentences.extend(best(kind).map(|other| beside(learned, other, what)));
        }
    }
    sentences
}

/// How far the learned method is from another, and whether their intervals overlap.
fn beside(learned: &MethodResult, other: &MethodResult, what: &str) -> String {
    let (a, b) = (&learned.test_loss, &other.test_loss);
    let change = 100.0 * (a.iqm - b.iqm) / b.iqm;
    if !change.is_finite() {
        return format!("It cannot be set beside {what}, {}.", other.name);
    }
    let overlap = a.lo <= b.hi && b.lo <= a.hi;
    let relation = if overlap { "their intervals overlap" } else { "their intervals do not overlap" };
    let direction = if change < 0.0 { "lower" } else { "higher" };
    let name = &other.name;
    let size = format!("{}\u{a0}% {direction}", percent(change));
    format!("It is {size} than {what}, {name}, at {}; {relation}.", significant(b.iqm))
}

fn percent(change: f64) -> String {
    if change.abs() < 10.0 { format!("{:.1}", change.abs()) } else { format!("{:.0}", change.abs()) }
}

impl Row {
    /// The interval goes on a line of its own, so that all columns fit on a page.
    fn new(method: &MethodResult) -> Self {
        let cells = table::cells(method).into_iter().enumerate().map(|(column, cell)| match cell.split_once(" [") {
            Some((value, interval)) if column >= 6 => (value.to_owned(), format!("[{interval}")),
            _ => (cell, String::new()),
        });
        Row { kind: method.kind.name(), cells: cells.collect() }
    }
}

impl<'a> ClaimText<'a> {
    fn new(claim: &'a Claim) -> Self {
        let Claim { statement, held, evidence } = claim;
        ClaimText { held: *held, statement, evidence }
    }
}

impl<'a> BreakEvenText<'a> {
    fn new(break_even: &'a BreakEven) -> Self {
        let BreakEven { method, trainings, how } = break_even;
        let after = match trainings {
            Some(1) => "after 1 training".into(),
            Some(n) => format!("after {} trainings", count(*n)),
            None => "never".into(),
        };
        BreakEvenText { method, after, how }
    }
}

/// A linear axis over the methods within twice the best loss if that is most of them, and an arrow for the others;
/// else over all methods, logarithmic where they span more than a factor of eight.
fn whiskers(methods: &[&MethodResult]) -> Whiskers {
    let finite: Vec<&MethodResult> = methods.iter().copied().filter(|m| m.test_loss.iqm.is_finite()).collect();
    let best = finite.iter().map(|m| m.test_loss.iqm).fold(f64::INFINITY, f64::min);
    let near: Vec<&MethodResult> = finite.iter().copied().filter(|m| m.test_loss.iqm <= 2.0 * best).collect();
    let fitted = if 2 * near.len() > finite.len() { &near } else { &finite };
    let ends = || fitted.iter().flat_map(|m| [m.test_loss.lo, m.test_loss.hi]).filter(|v| v.is_finite());
    let (lo, hi) = ends().fold((f64::INFINITY, 0.0), |(lo, hi), v| (v.min(lo), v.max(hi)));
    let log = lo > 0.0 && hi > 8.0 * lo;
    let axis = if log { Axis::log(ends(), 2.0, 96.0) } else { Axis::linear(ends(), 2.0, 96.0) };
    let row = |m: &&MethodResult| {
        let e = &m.test_loss;
        let beyond = axis.position(e.iqm) > 100.0;
        let [lo, mid, hi] = [e.lo, e.iqm, e.hi].map(|v| axis.position(v).clamp(0.0, 100.0));
        Whisker { name: m.name.clone(), kind: m.kind.name(), text: estimate(e), beyond, lo, mid, hi }
    };
    let ticks = axis.ticks().into_iter().map(|t| (axis.position(t), t.to_string()));
    Whiskers { log, rows: finite.iter().map(row).collect(), ticks: ticks.collect() }
}

fn costs(methods: &[&MethodResult]) -> Vec<Cost> {
    let most = methods.iter().map(|m| m.epochs_spent).max().unwrap_or(0).max(1);
    let cost = |m: &&MethodResult| Cost {
        name: m.name.clone(),
        kind: m.kind.name(),
        epochs: count(m.epochs_spent),
        percent: 100.0 * m.epochs_spent as f64 / most as f64,
    };
    methods.iter().map(cost).collect()
}

/// The strongest first.
fn sensitivity_bars(sensitivities: &[Sensitivity]) -> Vec<SensitivityBar<'_>> {
    let mut sorted: Vec<&Sensitivity> = sensitivities.iter().filter(|s| s.sensitivity.is_finite()).collect();
    sorted.sort_by(|a, b| b.sensitivity.abs().total_cmp(&a.sensitivity.abs()));
    let most = sorted.first().map_or(1.0, |s| s.sensitivity.abs().max(f64::MIN_POSITIVE));
    let bar = |s: &Sensitivity| s.sensitivity.abs() / most * 100.0;
    let value = |s: &Sensitivity| significant(s.sensitivity);
    let bars = sorted.into_iter().map(|s| SensitivityBar {
        feature: &s.feature,
        value: value(s),
        percent: bar(s),
        negative: s.sensitivity < 0.0,
    });
    bars.collect()
}
