//! Progress as a bar on a terminal.

use crate::record::progress::{Progress, Status};
use crate::report::format::significant;
use std::io::Write as _;
use std::sync::Mutex;

/// A bar on standard error; invisible when that is not a terminal.
#[derive(Default)]
pub struct Bars {
    bar: Mutex<Option<indicatif::ProgressBar>>,
}

impl Bars {
    fn with_bar(&self, act: impl FnOnce(&indicatif::ProgressBar)) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_ref() {
            act(bar);
        }
    }
}

/// A line on standard error; unlike `eprintln!` it does not panic when nobody reads.
fn say(text: &str) {
    // A failure to write progress is ignored on purpose: a closed pipe must not end a run that has results to save.
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Progress for Bars {
    fn start(&self, total: u64, what: &str) {
        const SHAPE: &str =
            "{prefix:<10} {bar:28.cyan/dim} {human_pos}/{human_len} epochs  {per_sec}  {eta} left  {msg}";
        let bar = indicatif::ProgressBar::new(total).with_prefix(what.to_owned());
        if let Ok(style) = indicatif::ProgressStyle::with_template(SHAPE) {
            bar.set_style(style.progress_chars("━━╌"));
        }
        let previous = self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).replace(bar);
        if let Some(unfinished) = previous {
            unfinished.finish_and_clear();
        }
    }

    fn advance(&self, epochs: u64) {
        self.with_bar(|bar| bar.inc(epochs));
    }

    fn status(&self, status: Status) {
        let text = |name: &str, v: Option<f64>| v.map(|v| format!("{name} {}", significant(v)));
        let parts: Vec<String> =
            [text("now", status.current), text("best", status.best)].into_iter().flatten().collect();
        self.with_bar(|bar| bar.set_message(parts.join("  ")));
    }

    fn message(&self, text: &str) {
        self.with_bar(|bar| bar.suspend(|| say(text)));
    }

    fn finish(&self, summary: &str) {
        self.with_bar(|bar| bar.finish_and_clear());
        say(summary);
    }
}
