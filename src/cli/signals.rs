//! SIGINT and SIGTERM: the first asks the run to save and stop, the second ends the process at once.

use crate::run::stop::StopFlag;
use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit code of the second signal: what was saved last can still be resumed.
const INTERRUPTED: i32 = 75;

/// Connect the signals to `stop`. To be called once, by the program's `main`.
///
/// # Errors
/// [`Error::Io`] if the operating system refuses a handler.
pub fn install(stop: &StopFlag) -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of registration, so the first signal passes the exit and sets the flag.
        flag::register_conditional_shutdown(signal, INTERRUPTED, stop.handle())
            .and_then(|_| flag::register(signal, stop.handle()))
            .map_err(|e| Error::io("signal handler", e))?;
    }
    Ok(())
}
