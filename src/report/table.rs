//! The comparison table as Markdown, CSV and JSON: the same rows, order and claims in each, and in a terminal.

use super::format::{count, estimate, learning_rate};
use crate::record::{BreakEven, Claim, Comparison, Estimate, MethodResult};
use crate::{Error, Result};

/// Headings of the columns for people.
pub const COLUMNS: [&str; 9] = [
    "method",
    "kind",
    "epochs spent",
    "initial LR",
    "runs",
    "diverged",
    "test loss, IQM [95 %]",
    "final val loss",
    "best val loss",
];

/// The methods by kind (learned, control, tuned, hindsight, default, paper), then by test loss, lowest first.
pub fn sorted(comparison: &Comparison) -> Vec<&MethodResult> {
    let mut methods: Vec<_> = comparison.methods.iter().collect();
    methods.sort_by(|a, b| {
        a.kind.cmp(&b.kind).then(a.test_loss.iqm.total_cmp(&b.test_loss.iqm)).then(a.name.cmp(&b.name))
    });
    methods
}

/// The cells of one method's row, in the order of [`COLUMNS`].
pub fn cells(method: &MethodResult) -> [String; 9] {
    let MethodResult { name, kind, epochs_spent, runs, diverged, final_val_loss, best_val_loss, test_loss, initial_lr } =
        method;
    [
        name.clone(),
        kind.name().to_owned(),
        count(*epochs_spent),
        initial_lr.map_or("—".into(), learning_rate),
        runs.to_string(),
        diverged.to_string(),
        estimate(test_loss),
        estimate(final_val_loss),
        estimate(best_val_loss),
    ]
}

/// A claim as one line of text.
fn claim_line(claim: &Claim) -> String {
    let Claim { statement, held, evidence } = claim;
    format!("{}: {statement} ({evidence})", if *held { "held" } else { "did not hold" })
}

/// A break-even number as one line of text.
pub(super) fn break_even_line(break_even: &BreakEven) -> String {
    let BreakEven { method, trainings, how } = break_even;
    match trainings {
        Some(1) => format!("against {method}: after 1 training ({how})"),
        Some(n) => format!("against {method}: after {} trainings ({how})", count(*n)),
        None => format!("against {method}: never ({how})"),
    }
}

/// The table with claims and break-even as Markdown: `comparison.md`.
///
/// ```
/// use lrpilot::{record::Comparison, report::table};
/// let comparison: Comparison = serde_json::from_str(r#"{"task": "digits", "budget_epochs": 100, "methods": [],
///     "claims": [], "break_even": [], "command": "lrpilot demo"}"#).unwrap();
/// assert!(table::markdown(&comparison).starts_with("# digits"));
/// ```
pub fn markdown(comparison: &Comparison) -> String {
    let Comparison { task, budget_epochs, methods: _, claims, break_even, command } = comparison;
    let mut text = format!("# {}\n\nBudget: {} epochs for each method.\n\n", plain(task), count(*budget_epochs));
    text += &format!("| {} |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n", COLUMNS.join(" | "));
    for method in sorted(comparison) {
        text += &format!("| {} |\n", cells(method).map(|c| plain(&c)).join(" | "));
    }
    if !claims.is_empty() {
        text += "\n## Claims\n\n";
        claims.iter().for_each(|c| text += &format!("- {}\n", plain(&claim_line(c))));
    }
    if !break_even.is_empty() {
        text += "\n## Break-even\n\n";
        break_even.iter().for_each(|b| text += &format!("- {}\n", plain(&break_even_line(b))));
    }
    text + &format!("\nMade by `{}`.\n", command.replace(['`', '\n'], " "))
}

/// Text that Markdown shows as it is: the characters that would start a cell, code, emphasis or tag are escaped.
fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '<' => escaped.extend(['\\', c]),
            '\n' | '\r' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The rows as CSV (RFC 4180) with full precision, an estimate in three columns; NaN is an empty field.
pub fn csv(comparison: &Comparison) -> String {
    let mut text = String::from("method,kind,epochs_spent,initial_lr,runs,diverged");
    for name in ["final_val_loss", "best_val_loss", "test_loss"] {
        text += &format!(",{name}_iqm,{name}_lo,{name}_hi");
    }
    text += "\r\n";
    let number = |v: f64| if v.is_finite() { v.to_string() } else { String::new() };
    for m in sorted(comparison) {
        let mut fields = vec![quoted(&m.name), m.kind.name().to_owned(), m.epochs_spent.to_string()];
        fields.push(m.initial_lr.map_or_else(String::new, number));
        fields.extend([m.runs.to_string(), m.diverged.to_string()]);
        for Estimate { iqm, lo, hi, values: _ } in [&m.final_val_loss, &m.best_val_loss, &m.test_loss] {
            fields.extend([*iqm, *lo, *hi].map(number));
        }
        text += &(fields.join(",") + "\r\n");
    }
    text
}

/// A CSV field, quoted if it must be.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.into() }
}

/// `comparison.json`: the [`Comparison`] itself, indented. Errors if a number is not finite, as JSON has none.
pub fn json(comparison: &Comparison) -> Result<String> {
    for m in &comparison.methods {
        for e in [&m.final_val_loss, &m.best_val_loss, &m.test_loss] {
            if !e.values.iter().chain([&e.iqm, &e.lo, &e.hi]).all(|v| v.is_finite()) {
                let message = format!("method {} has a loss that is not finite", m.name);
                return Err(Error::config("comparison", message, "replace it by a penalty with replace_non_finite"));
            }
        }
    }
    let text = serde_json::to_string_pretty(comparison).map_err(|e| Error::Bug(format!("comparison.json: {e}")))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    /// A method with this test loss; its validation losses fall as it rises, so the order shows what is sorted by.
    fn method(name: &str, kind: Kind, test_loss: f64) -> MethodResult {
        let estimate = |iqm: f64| Estimate { iqm, lo: iqm - 0.01, hi: iqm + 0.01, values: vec![iqm] };
        MethodResult {
            name: name.into(),
            kind,
            epochs_spent: 12_000,
            runs: 1,
            diverged: 0,
            final_val_loss: estimate(1.0 - test_loss),
            best_val_loss: estimate(0.5 - test_loss / 2.0),
            test_loss: estimate(test_loss),
            initial_lr: (kind == Kind::Tuned).then_some(0.01),
        }
    }

    fn comparison() -> Comparison {
        Comparison {
            task: "digits".into(),
            budget_epochs: 12_000,
            methods: vec![
                method("adam, default", Kind::Default, 0.25),
                method("cosine|tuned", Kind::Tuned, 0.5),
                method("step", Kind::Tuned, 0.375),
                method("pilot", Kind::Learned, 0.125),
            ],
            claims: vec![Claim { statement: "pilot ≤ step".into(), held: false, evidence: "0.1 > 0.2".into() }],
            break_even: vec![BreakEven { method: "step".into(), trainings: None, how: "costs more".into() }],
            command: "lrpilot demo".into(),
        }
    }

    #[test]
    fn rows_are_ordered_by_kind_then_loss() {
        let names: Vec<_> = sorted(&comparison()).iter().map(|m| m.name.clone()).collect();
        assert_eq!(names, ["pilot", "step", "cosine|tuned", "adam, default"]);
    }

    #[test]
    fn markdown_is_exact() {
        assert_eq!(
            markdown(&comparison()),
            "# digits

Budget: 12\u{202f}000 epochs for each method.

| method | kind | epochs spent | initial LR | runs | diverged | test loss, IQM [95 %] | final val loss | best val loss |
|---|---|--:|--:|--:|--:|--:|--:|--:|
| pilot | learned | 12\u{202f}000 | — | 1 | 0 | 0.1250 [0.1150, 0.1350] | 0.8750 [0.8650, 0.8850] | 0.4375 [0.4275, 0.4475] |
| step | tuned | 12\u{202f}000 | 1.00e-2 | 1 | 0 | 0.3750 [0.3650, 0.3850] | 0.6250 [0.6150, 0.6350] | 0.3125 [0.3025, 0.3225] |
| cosine\\|tuned | tuned | 12\u{202f}000 | 1.00e-2 | 1 | 0 | 0.5000 [0.4900, 0.5100] | 0.5000 [0.4900, 0.5100] | 0.2500 [0.2400, 0.2600] |
| adam, default | default | 12\u{202f}000 | — | 1 | 0 | 0.2500 [0.2400, 0.2600] | 0.7500 [0.7400, 0.7600] | 0.3750 [0.3650, 0.3850] |

## Claims

- did not hold: pilot ≤ step (0.1 > 0.2)

## Break-even

- against step: never (costs more)

Made by `lrpilot demo`.
"
        );
    }

    #[test]
    fn csv_has_full_precision_and_quotes() {
        let text = csv(&comparison());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "pilot,learned,12000,,1,0,0.875,0.865,0.885,0.4375,0.4275,0.4475,0.125,0.115,0.135");
        assert!(lines[4].starts_with("\"adam, default\",default,12000,,1,0,0.75,"));
    }

    #[test]
    fn json_reads_back_as_the_comparison() {
        let text = json(&comparison()).unwrap();
        assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), comparison());
        let mut broken = comparison();
        broken.methods[0].test_loss.hi = f64::INFINITY;
        assert!(json(&broken).unwrap_err().to_string().contains("adam, default"));
    }
}
