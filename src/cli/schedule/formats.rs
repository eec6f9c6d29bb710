//! Learning rates as text: CSV, JSON, and Python for PyTorch.

use crate::cli::command::CommandLine;
use lrpilot_core::schedule::fit::{ClosedForm, Fit};
use std::fmt::Write as _;

/// The command line of this process, for the provenance of a file.
pub fn command() -> String {
    CommandLine::typed().to_string()
}

/// Columns `interval` (1, 2, …) and `lr`, and the `range` over several runs if there is one. Each number reads back to
/// the same bits.
///
/// ```
/// use lrpilot::cli::schedule::formats::csv;
/// assert_eq!(csv(&[0.1, 0.05], &[]), "interval,lr\n1,0.1\n2,0.05\n");
/// assert_eq!(csv(&[0.1], &[(0.05, 0.2)]), "interval,lr,lowest,highest\n1,0.1,0.05,0.2\n");
/// ```
pub fn csv(lrs: &[f64], range: &[(f64, f64)]) -> String {
    let mut text = if range.is_empty() { "interval,lr\n" } else { "interval,lr,lowest,highest\n" }.to_owned();
    for (i, lr) in lrs.iter().enumerate() {
        let _ = match range.get(i) {
            Some((lowest, highest)) => writeln!(text, "{},{lr:?},{lowest:?},{highest:?}", i + 1),
            None => writeln!(text, "{},{lr:?}", i + 1),
        };
    }
    text
}

/// JSON for people, with a newline at the end.
pub fn pretty(json: &serde_json::Value) -> String {
    format!("{json:#}\n")
}

/// A Python module with the function `scheduler(optimizer)`, which makes a `LambdaLR` of the table, and with a closed
/// form if there is one.
pub fn python(lrs: &[f64], fit: Option<&Fit>, task: &str) -> String {
    let mut text = format!(
        "\"\"\"The learning rates of {} intervals, taken out of a run of lrpilot on {}.\n\n\
         Made by: {}\n\nUse: lr_scheduler = scheduler(optimizer), then lr_scheduler.step() after each interval.\n\"\"\"\n\n",
        lrs.len(),
        literal(task),
        literal(&command()),
    );
    text += "import torch\n\n# The learning rate of each interval; the last one is held.\nTABLE = [\n";
    for lr in lrs {
        let _ = writeln!(text, "    {lr:?},");
    }
    text += "]\nBASE = max(TABLE) or 1.0\n\n\n";
    if let Some(fit) = fit {
        let _ = writeln!(
            text,
            "# Root mean square error {:.4} decades, largest error {:.1} %.\n{}\n",
            fit.rms_decades,
            fit.max_percent,
            closed_form(&fit.form)
        );
    }
    let (argument, rate, why) = match fit {
        Some(_) => (", rate=None", "(rate or table)(epoch)", " Pass rate=closed_form for the formula."),
        None => ("", "table(epoch)", ""),
    };
    let _ = write!(
        text,
        "def table(epoch):\n    \"\"\"Return the learning rate of interval 0, 1, ….\"\"\"\n    \
         return TABLE[min(epoch, len(TABLE) - 1)]\n\n\n\
         def scheduler(optimizer{argument}):\n    \"\"\"Set the base LR of all groups and return the scheduler.{why}\"\"\"\n    \
         for group in optimizer.param_groups:\n        group[\"lr\"] = group[\"initial_lr\"] = BASE\n    \
         return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: {rate} / BASE)\n"
    );
    text
}

/// The closed form as a Python function of the interval 0, 1, …, without its end of line.
pub fn closed_form(form: &ClosedForm) -> String {
    let ClosedForm { intervals, warmup, hold, peak, power, floor } = form;
    let begin = warmup + hold;
    let mut text =
        "def closed_form(epoch):\n    \"\"\"Return the learning rate of interval 0, 1, ….\"\"\"\n".to_owned();
    if *warmup > 0 {
        let _ = writeln!(text, "    if epoch < {warmup}:\n        return {peak:?} * (epoch + 1) / {warmup}");
    }
    let _ = writeln!(text, "    s = (min(max(epoch, {begin}), {intervals}) - {begin}) / {}", intervals - begin);
    let _ = writeln!(text, "    return {floor:?} + {:?} * (1 - s) ** {power:?}", peak - floor);
    text
}

/// A text within a Python string in triple quotation marks.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
