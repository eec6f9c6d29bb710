//! SIGINT and SIGTERM for work that can be resumed: the first asks it to save and stop, and says so; the second ends the
//! process at once.

use crate::record::progress::Progress;
use crate::run::stop::StopFlag;
use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;

/// Exit code of the second signal: what was saved last can still be resumed.
const INTERRUPTED: i32 = 75;

/// What the first signal is answered with.
const STOPPING: &str = "Stopping after the current update, which will be saved. Press Ctrl-C again to stop now.";

/// Connect the signals to `stop`, and on Unix tell `progress` of the first one. To be called at most once.
///
/// # Errors
/// [`Error::Io`] if the operating system refuses a handler.
pub fn install(stop: &StopFlag, progress: Arc<dyn Progress>) -> Result<()> {
    let refused = |e| Error::io("signal handler", e);
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of registration, so the first signal passes the exit and sets the flag.
        flag::register_conditional_shutdown(signal, INTERRUPTED, stop.handle())
            .and_then(|_| flag::register(signal, stop.handle()))
            .map_err(refused)?;
    }
    tell(progress).map_err(refused)
}

/// Tell what is waited for, which with large networks can take minutes.
#[cfg(unix)]
fn tell(progress: Arc<dyn Progress>) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            progress.message(STOPPING);
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn tell(_: Arc<dyn Progress>) -> std::io::Result<()> {
    Ok(())
}
