//! SIGINT and SIGTERM: the first asks the run to save and stop, and says so; the second ends the process at once.

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
    let refused = |e| Error::io("signal handler", e);
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of registration, so the first signal passes the exit and sets the flag.
        flag::register_conditional_shutdown(signal, INTERRUPTED, stop.handle())
            .and_then(|_| flag::register(signal, stop.handle()))
            .map_err(refused)?;
    }
    #[cfg(unix)]
    say_so().map_err(refused)?;
    Ok(())
}

/// Tell at the first signal what is being waited for, which with large networks can take minutes.
#[cfg(unix)]
fn say_so() -> std::io::Result<()> {
    use std::io::Write as _;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Nobody may be reading. The line begins anew, for a progress bar may stand in this one.
            let _ = writeln!(
                std::io::stderr(),
                "\nstopping: the work in flight is finished and saved first; a second signal (Ctrl-C) stops at once"
            );
        }
    });
    Ok(())
}
