//! The suite as a page that opens offline: the profile of the methods, and the tables.

use super::chart::{Chart, CurveKind, Series};
use super::format::{learning_rate, significant};
use super::html::{Figure, Origin, placed, script_json, without_first_line};
use super::suite::{ratio, score_line, sentence, shown};
use crate::record::Kind;
use crate::record::suite::{LeftOut, MethodScore, SuiteKind, SuiteResults};
use crate::{Error, Result};
use askama::Template;

#[derive(Template)]
#[template(path = "suite.html")]
struct Page<'a> {
    title: String,
    verdict: Vec<String>,
    note: String,
    figures: Vec<Figure>,
    columns: Vec<String>,
    tasks: Vec<Row>,
    methods: Vec<Row>,
    policies: Vec<(&'a str, Vec<String>)>,
    left_out: &'a [LeftOut],
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
    cells: Vec<String>,
}

/// The page as text.
///
/// # Errors
/// [`Error::Bug`] only if the program's own template fails.
pub fn render(results: &SuiteResults, origin: &Origin) -> Result<String> {
    let mut charts = Vec::new();
    let figures = placed(&mut charts, vec![profile(results)]);
    let shown = shown(results);
    let columns = ["#", "task", "regime", "reference", "its LR", "its loss"].map(String::from);
    let verdict = results.policies.iter().map(|p| format!("{}: {}", p.name, sentence(&p.aggregate))).collect();
    let mut origin = origin.rows("");
    origin.push(("Reference", &results.reference));
    origin.retain(|(_, text)| !text.is_empty());
    let page = Page {
        title: format!("The suite “{}”", results.suite),
        verdict,
        note: note(results),
        figures,
        columns: columns.into_iter().chain(shown.iter().map(|m| m.name.clone())).collect(),
        tasks: task_rows(results, &shown),
        methods: results.methods.iter().filter_map(method_row).collect(),
        policies: policies(results),
        left_out: &results.left_out,
        origin,
        data: script_json(&charts)?,
        style: include_str!("../../templates/report.css"),
        script: include_str!("../../templates/report.js"),
        uplot: without_first_line(include_str!("../../assets/uplot/uPlot.iife.min.js")),
        uplot_style: include_str!("../../assets/uplot/uPlot.min.css"),
        uplot_license: include_str!("../../assets/uplot/LICENSE"),
    };
    page.render().map_err(|e| Error::Bug(format!("suite.html: {e}")))
}

fn note(results: &SuiteResults) -> String {
    let (tasks, all) = (results.tasks.len(), results.tasks.len() + results.left_out.len());
    let of = if all > tasks { format!(" of the suite's {all}") } else { String::new() };
    format!(
        "{tasks} tasks{of}, {} seeds. Ratios are of test losses to the tuned schedule that tuning chose among five (the \
         reference), paired by seed; below 1 is better. ✱: it holds what pretraining never sees; ~: any learning rate \
         will do.",
        results.seeds
    )
}

fn colour(kind: SuiteKind) -> Kind {
    match kind {
        SuiteKind::Policy | SuiteKind::Start => Kind::Learned,
        SuiteKind::Control => Kind::Control,
        SuiteKind::Tuned => Kind::Tuned,
        SuiteKind::Default | SuiteKind::Free => Kind::Default,
    }
}

/// Share of the runs with at most each ratio; starting learning rates are left out, the curves of untuned methods wait
/// behind their names.
fn profile(results: &SuiteResults) -> Chart {
    let series = results.methods.iter().filter(|m| m.kind != SuiteKind::Start).map(|m| Series {
        name: m.name.clone(),
        kind: CurveKind::Method(colour(m.kind)),
        shown: matches!(m.kind, SuiteKind::Policy | SuiteKind::Tuned) || results.policies.is_empty(),
        mid: m.profile.clone(),
        lo: Vec::new(),
        hi: Vec::new(),
    });
    Chart {
        title: "Performance profile".into(),
        x_label: "per cent of the reference's loss".into(),
        y_label: "share of the runs".into(),
        log: false,
        lr: false,
        summary: "Share of the runs of each method whose loss is at most so many per cent of the reference's.".into(),
        x: results.profile_ratios.iter().map(|r| 100.0 * r).collect(),
        series: series.collect(),
    }
}

fn task_rows(results: &SuiteResults, shown: &[&MethodScore]) -> Vec<Row> {
    let row = |task: &crate::record::suite::TaskReference| {
        let unseen = if task.unseen.is_empty() { String::new() } else { format!(" ✱ {}", task.unseen.join(", ")) };
        let mut cells = vec![
            task.number.to_string(),
            task.name.clone(),
            format!("{}{unseen}", task.regime),
            task.family.clone(),
            learning_rate(task.lr),
            significant(task.test_loss),
        ];
        let flat = if task.flat { " ~" } else { "" };
        let of = |m: &&MethodScore| ratio(m, task.number).map_or("—".into(), |r| format!("{r:.3}{flat}"));
        cells.extend(shown.iter().map(of));
        Row { kind: "task", cells }
    };
    results.tasks.iter().map(row).collect()
}

fn method_row(m: &MethodScore) -> Option<Row> {
    let primary = m.scores.first()?;
    let stopped = m.scores.iter().find(|s| s.early_stopping);
    let cells = vec![
        m.name.clone(),
        format!("{:.3} [{:.3}, {:.3}]", primary.iqm, primary.runs_lo, primary.runs_hi),
        format!("[{:.3}, {:.3}]", primary.tasks_lo, primary.tasks_hi),
        format!("{:.3}", primary.mean),
        m.worst.first().map_or("—".into(), |(task, ratio)| format!("{ratio:.3} (#{task})")),
        stopped.map_or("—".into(), |s| format!("{:.3}", s.iqm)),
        m.diverged.to_string(),
    ];
    Some(Row { kind: colour(m.kind).name(), cells })
}

/// For each method that is put to the test, its ratios to every reference and its chances against each family.
fn policies(results: &SuiteResults) -> Vec<(&str, Vec<String>)> {
    let of = |m: &MethodScore| {
        let chances = m.improvement_over.iter().map(|(family, p)| format!("{family} {:.0} %", 100.0 * p));
        let better = format!("Smaller loss on the same seed than {}.", chances.collect::<Vec<_>>().join(", "));
        m.scores.iter().map(score_line).chain([better]).collect()
    };
    let tested = |m: &&MethodScore| matches!(m.kind, SuiteKind::Policy | SuiteKind::Control);
    results.methods.iter().filter(tested).map(|m| (m.name.as_str(), of(m))).collect()
}
