//! The request to stop: a flag that loops look at. Signal handlers are the command line's business, never the core's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A shared flag that asks a run to save and stop at the next safe point. Clones share the flag.
///
/// ```
/// use lrpilot::run::stop::StopFlag;
/// let stop = StopFlag::new();
/// let seen_by_the_loop = stop.clone();
/// stop.set();
/// assert!(seen_by_the_loop.is_set());
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ask to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether stopping was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// The flag itself, for a signal handler to set.
    pub fn handle(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
