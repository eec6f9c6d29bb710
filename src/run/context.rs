//! What surrounds a run: progress, the request to stop, where work is done, clock and name of the machine.

use crate::agent::LocalPool;
use crate::record::progress::{Progress, Silent};
use crate::run::executor::Executor;
use crate::run::stop::StopFlag;
use std::sync::LazyLock;

/// What surrounds a run without influencing its numbers.
#[derive(Clone, Copy)]
pub struct RunContext<'a> {
    /// Where progress is told.
    pub progress: &'a dyn Progress,
    /// Set when the run should stop after the update in flight.
    pub stop: &'a StopFlag,
    /// Where training runs are done.
    pub executor: &'a dyn Executor,
    /// Seconds since 1970, for the time stamps of TensorBoard; the core reads no clock.
    pub wall_time: &'a (dyn Fn() -> f64 + Sync),
    /// Name of the machine, for the name of the event file.
    pub host: &'a str,
}

impl RunContext<'static> {
    /// On this machine's threads, without progress and without a way to stop.
    ///
    /// ```
    /// let context = lrpilot::RunContext::local();
    /// assert!(!context.stop.is_set());
    /// ```
    pub fn local() -> Self {
        static NEVER: LazyLock<StopFlag> = LazyLock::new(StopFlag::new);
        RunContext { progress: &Silent, stop: &NEVER, executor: &LocalPool, wall_time: &|| 0.0, host: "localhost" }
    }
}
