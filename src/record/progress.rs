//! Progress as events: the core calls a [`Progress`], and the front end decides what they look like.
//!
//! Implementations: [`Silent`] and [`JsonLines`]; the command line adds bars on a terminal. A failure to write
//! progress is ignored on purpose: a closed pipe must not end a run that has results to save.

use serde::Serialize;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

/// The numbers beside the bar. Absent ones are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// Mean return of the latest episodes, or the loss of the latest run: the number that the work is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<f64>,
    /// The best such number so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
}

/// What a long piece of work tells about itself. All methods do nothing by default and may be called from any thread.
///
/// ```
/// use lrpilot::record::progress::{Progress, Silent, Status};
/// fn work(progress: &dyn Progress) {
///     progress.start(100, "tuning");
///     for i in 0..10 {
///         progress.advance(10);
///         progress.status(Status { current: Some(1.0 / (i + 1) as f64), best: None });
///     }
///     progress.finish("10 runs");
/// }
/// work(&Silent);
/// ```
pub trait Progress: Send + Sync {
    /// Work called `what` begins; it takes `total` epochs (intervals trained).
    fn start(&self, _total: u64, _what: &str) {}
    /// `epochs` more are done.
    fn advance(&self, _epochs: u64) {}
    /// New numbers; throughput and time left are the implementation's own measurement.
    fn status(&self, _status: Status) {}
    /// A line that should stay on the screen, e.g. a warning.
    fn message(&self, _text: &str) {}
    /// The work is done.
    fn finish(&self, _summary: &str) {}
}

/// No output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// One JSON object a line, for programs that watch (`--progress json`).
///
/// Events are `{"event":"start","what":…,"total":…}`, then `"advance"` with `done`, `total`, `epochs_per_s`,
/// `seconds_left` and the latest status, `"message"` with `text`, and `"finish"` with `summary` and `seconds`.
///
/// ```
/// use lrpilot::record::progress::{JsonLines, Progress};
/// let start = std::time::Instant::now();
/// let progress = JsonLines::new(std::io::stderr(), move || start.elapsed());
/// progress.start(10, "learning");
/// ```
pub struct JsonLines<W, C> {
    state: Mutex<JsonState<W>>,
    clock: C,
}

struct JsonState<W> {
    out: W,
    total: u64,
    done: u64,
    started: Duration,
    status: Status,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum JsonEvent<'a> {
    Start {
        what: &'a str,
        total: u64,
    },
    Advance {
        done: u64,
        total: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        epochs_per_s: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds_left: Option<f64>,
        #[serde(flatten)]
        status: Status,
    },
    Message {
        text: &'a str,
    },
    Finish {
        summary: &'a str,
        seconds: f64,
    },
}

impl<W: Write + Send, C: Fn() -> Duration + Send + Sync> JsonLines<W, C> {
    /// Write to `out`; `clock` tells the time since any fixed moment.
    pub fn new(out: W, clock: C) -> Self {
        let status = Status::default();
        let state = JsonState { out, total: 0, done: 0, started: Duration::ZERO, status };
        JsonLines { state: Mutex::new(state), clock }
    }

    /// Let `change` update the state and say what to write.
    fn emit<'a>(&self, change: impl FnOnce(&mut JsonState<W>, Duration) -> JsonEvent<'a>) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let event = change(&mut state, (self.clock)());
        if let Ok(line) = serde_json::to_string(&event) {
            // One write a line, so that lines of several processes do not mix. Errors: see the module's text.
            let _ = state.out.write_all(format!("{line}\n").as_bytes());
            let _ = state.out.flush();
        }
    }
}

impl<W: Write + Send, C: Fn() -> Duration + Send + Sync> Progress for JsonLines<W, C> {
    fn start(&self, total: u64, what: &str) {
        self.emit(|state, now| {
            (state.total, state.done, state.started, state.status) = (total, 0, now, Status::default());
            JsonEvent::Start { what, total }
        });
    }

    fn advance(&self, epochs: u64) {
        self.emit(|state, now| {
            state.done += epochs;
            let (done, total, status) = (state.done, state.total, state.status);
            let elapsed_s = now.saturating_sub(state.started).as_secs_f64();
            let epochs_per_s = (elapsed_s > 0.0).then(|| done as f64 / elapsed_s);
            let seconds_left = epochs_per_s.filter(|&r| r > 0.0).map(|r| total.saturating_sub(done) as f64 / r);
            JsonEvent::Advance { done, total, epochs_per_s, seconds_left, status }
        });
    }

    fn status(&self, status: Status) {
        // Written with the next `advance`: one line per step is enough.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).status = status;
    }

    fn message(&self, text: &str) {
        self.emit(|_, _| JsonEvent::Message { text });
    }

    fn finish(&self, summary: &str) {
        self.emit(|state, now| JsonEvent::Finish { summary, seconds: now.saturating_sub(state.started).as_secs_f64() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn json_lines_are_exact_under_a_made_up_clock() {
        let mut out = Vec::new();
        let seconds = AtomicU64::new(10);
        let progress = JsonLines::new(&mut out, || Duration::from_secs(seconds.load(Ordering::Relaxed)));
        progress.start(40, "tuning");
        progress.status(Status { current: Some(0.5), best: None });
        seconds.store(12, Ordering::Relaxed);
        progress.advance(10);
        progress.message("seed 3 \"diverged\"");
        progress.finish("done");
        // 10 epochs in 2 s are 5 a second; the other 30 take 6 s.
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"event":"start","what":"tuning","total":40}
{"event":"advance","done":10,"total":40,"epochs_per_s":5.0,"seconds_left":6.0,"current":0.5}
{"event":"message","text":"seed 3 \"diverged\""}
{"event":"finish","summary":"done","seconds":2.0}
"#
        );
    }

    #[test]
    fn a_closed_pipe_ends_nothing() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        let progress = JsonLines::new(Closed, || Duration::ZERO);
        progress.start(1, "x");
        progress.advance(1);
        assert_eq!(progress.state.lock().unwrap().done, 1);
    }
}
