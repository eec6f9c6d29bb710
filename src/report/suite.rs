//! The suite for a terminal of 80 columns: a ratio for each task, then the numbers over all tasks.

use super::format::{significant, wrap};
use super::terminal::{align_right, empty_table};
use crate::record::suite::{Aggregate, MethodScore, Score, SuiteKind, SuiteResults};

const WIDTH: usize = 80;
/// Methods with a column of their own in the table of the tasks.
const COLUMNS: usize = 3;

/// The results as text of many lines.
///
/// ```
/// use lrpilot::{record::suite::SuiteResults, report::suite};
/// let results: SuiteResults = serde_json::from_str(r#"{"suite": "sealed", "aggregate": null, "policies": [],
///     "seeds": 20, "left_out": [], "tasks": [], "methods": [], "profile_ratios": [], "command": "", "reference": ""}"#)?;
/// assert!(suite::text(&results).contains("Of 0 tasks"));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn text(results: &SuiteResults) -> String {
    let mut text = task_table(results) + "\n" + &method_table(results) + "\n";
    let mut paragraph = |sentence: &str| text += &(wrap(sentence, WIDTH, 2) + "\n");
    let (tasks, all) = (results.tasks.len(), results.tasks.len() + results.left_out.len());
    paragraph(&format!(
        "Ratios are of test losses to the tuned schedule that tuning chose among five (the reference), paired by seed; \
         below 1 is better. IQM: of all runs, with the 95 % interval over runs. Of {tasks} tasks{}, {} seeds.",
        if all > tasks { format!(" of the suite's {all}") } else { String::new() },
        results.seeds
    ));
    for policy in &results.policies {
        paragraph(&format!("{}: {}", policy.name, sentence(&policy.aggregate)));
        let method = results.methods.iter().find(|m| m.name == policy.name);
        method.into_iter().for_each(|m| paragraph(&details(m)));
    }
    for left in &results.left_out {
        paragraph(&format!("task {} ({}) is left out: {}", left.number, left.name, left.reason));
    }
    if !results.reference.is_empty() {
        paragraph(&format!("Reference: {}", results.reference));
    }
    text
}

/// What a policy comes to, in a sentence.
pub(super) fn sentence(a: &Aggregate) -> String {
    let diverged = match a.diverged {
        0 => "no run diverged".to_owned(),
        1 => "1 run diverged".to_owned(),
        n => format!("{n} runs diverged"),
    };
    let spread = a.lr0_spread.map(|s| format!(", {:.1} % between starting learning rates", 100.0 * s));
    format!(
        "IQM {:.3} [{:.3}, {:.3}] of the reference, mean {:.3}, worst task {:.3}; better than every default on {:.0} % of \
         {} tasks; {diverged}{}.",
        a.iqm_vs_best_tuned,
        a.lo,
        a.hi,
        a.mean_vs_best_tuned,
        a.worst,
        100.0 * a.beats_untuned_share,
        a.tasks,
        spread.unwrap_or_default()
    )
}

/// What a score says beside its interval over runs.
pub(super) fn score_line(s: &Score) -> String {
    let stopping = if s.early_stopping { ", early stopping for both" } else { "" };
    format!("{:.3} [{:.3}, {:.3}] to the {}{stopping}", s.iqm, s.runs_lo, s.runs_hi, s.reference)
}

fn details(m: &MethodScore) -> String {
    let [better, equal, worse] = m.better_equal_worse.map(|share| 100.0 * share);
    let worst: Vec<String> = m.worst.iter().map(|(task, ratio)| format!("{task}: {ratio:.3}")).collect();
    let others: Vec<String> = m.scores.iter().skip(1).map(score_line).collect();
    let over_tasks = m.scores.first().map(|s| format!("[{:.3}, {:.3}]", s.tasks_lo, s.tasks_hi)).unwrap_or_default();
    let regret = m.normalised_regret.map(|r| format!("; normalised regret {r:.2}")).unwrap_or_default();
    format!(
        "  better on {better:.0} % of the tasks, within 1 % on {equal:.0} %, worse on {worse:.0} %{regret}; interval over \
         tasks {over_tasks}; largest ratios by task {}. IQM {}.",
        worst.join(", "),
        others.join("; ")
    )
}

/// The methods with a column for each task's ratio: policies, or what costs no tuning where there is none.
pub(super) fn shown(results: &SuiteResults) -> Vec<&MethodScore> {
    let of = |kind: SuiteKind| results.methods.iter().filter(move |m| m.kind == kind);
    let mut shown: Vec<&MethodScore> = of(SuiteKind::Policy).collect();
    if shown.is_empty() {
        shown = of(SuiteKind::Default).chain(of(SuiteKind::Free)).collect();
        let score = |m: &MethodScore| m.scores.first().map_or(f64::INFINITY, |s| s.iqm);
        shown.sort_by(|a, b| score(a).total_cmp(&score(b)));
    }
    shown.truncate(COLUMNS);
    shown
}

/// A method's ratio on the task called `number`.
pub(super) fn ratio(method: &MethodScore, number: usize) -> Option<f64> {
    method.tasks.iter().find(|t| t.task == number).map(|t| t.ratio)
}

fn task_table(results: &SuiteResults) -> String {
    let shown = shown(results);
    let mut table = empty_table(Some(WIDTH as u16));
    let header = ["#", "task", "reference", "its loss"].map(String::from);
    table.set_header(header.into_iter().chain(shown.iter().map(|m| m.name.clone())));
    for task in &results.tasks {
        let unseen = if task.unseen.is_empty() { "" } else { " ✱" };
        let name = format!("{}{unseen}", task.name);
        let flat = if task.flat { " ~" } else { "" };
        let row = [task.number.to_string(), name, task.family.clone(), significant(task.test_loss)];
        let ratios = shown.iter().map(|m| ratio(m, task.number).map_or("—".into(), |r| format!("{r:.3}{flat}")));
        table.add_row(row.into_iter().chain(ratios));
    }
    align_right(&mut table, 3);
    for column in 0..4 {
        whole(&mut table, column);
    }
    table.trim_fmt() + "\n" + &wrap("✱ holds what pretraining never sees; ~ any learning rate will do.", WIDTH, 2)
}

fn method_table(results: &SuiteResults) -> String {
    let mut table = empty_table(Some(WIDTH as u16));
    table.set_header(["method", "IQM", "95 %", "mean", "worst (#)", "stopped", "div."]);
    for m in &results.methods {
        let Some(primary) = m.scores.first() else { continue };
        let stopped = m.scores.iter().find(|s| s.early_stopping);
        table.add_row([
            m.name.clone(),
            format!("{:.3}", primary.iqm),
            format!("{:.3}–{:.3}", primary.runs_lo, primary.runs_hi),
            format!("{:.3}", primary.mean),
            m.worst.first().map_or("—".into(), |(task, ratio)| format!("{ratio:.2} ({task})")),
            stopped.map_or("—".into(), |s| format!("{:.3}", s.iqm)),
            m.diverged.to_string(),
        ]);
    }
    align_right(&mut table, 1);
    for column in 1..7 {
        whole(&mut table, column);
    }
    let explained = "stopped: IQM with early stopping for the method and the reference; div.: runs that diverged.";
    table.trim_fmt() + "\n" + &wrap(explained, WIDTH, 2)
}

/// Keep the cells of a column on one line.
fn whole(table: &mut comfy_table::Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
    }
}
