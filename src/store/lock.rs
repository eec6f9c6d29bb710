//! One process per run folder.

use crate::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the lock file inside a run folder.
pub const LOCK_FILE: &str = "lock";

/// How often, and how far apart, a held lock is tried again: somebody who only looked ([`RunLock::holder`]) holds it
/// for microseconds.
const ATTEMPTS: usize = 3;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// The right to write in a run folder, given back on drop.
///
/// It is the operating system's lock on the file `lock`, not the file's existence, so a file left by a dead process
/// does not block. The file's content (`pid host`) and modification time only name the holder in messages. Two
/// machines that share a folder exclude each other as far as the file system's locks do (NFS 4 yes, older ones not
/// always).
///
/// ```
/// use lrpilot::store::lock::{Process, RunLock};
/// let dir = tempfile::tempdir().unwrap();
/// let process = Process { id: 4711, host: "node3".into() };
/// let lock = RunLock::acquire(dir.path(), &process)?;
/// assert!(RunLock::acquire(dir.path(), &process).is_err());
/// drop(lock);
/// assert!(RunLock::acquire(dir.path(), &process).is_ok());
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Debug)]
pub struct RunLock {
    /// Holds the lock until it is closed.
    _file: File,
}

/// A process that wants a lock, as its caller knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub id: u32,
    /// Name of the machine.
    pub host: String,
}

/// Who holds a lock, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process and machine, e.g. `process 4711 on host node3`.
    pub process: String,
    /// Since when, in UTC, e.g. `2026-11-23 21:41:47 UTC`.
    pub since: String,
}

impl RunLock {
    /// Take the lock of the run folder `dir`, which must exist, for `process`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the holder if another process (or this one) has it; [`Error::Io`] if the file cannot be
    /// opened or locked.
    pub fn acquire(dir: &Path, process: &Process) -> Result<Self> {
        let path = dir.join(LOCK_FILE);
        let io = |e| Error::io(&path, e);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(BETWEEN_ATTEMPTS),
                Err(TryLockError::WouldBlock) => return Err(in_use(dir, &describe(&mut file))),
                Err(TryLockError::Error(e)) => return Err(io(e)),
            }
        }
        file.set_len(0).map_err(io)?;
        writeln!(file, "{} {}", process.id, process.host).map_err(io)?;
        Ok(RunLock { _file: file })
    }

    /// Who holds the lock of `dir` now; `None` if nobody does or it is no run folder.
    ///
    /// # Errors
    /// [`Error::Io`] if there is a lock file that cannot be opened or asked.
    pub fn holder(dir: &Path) -> Result<Option<Holder>> {
        let path: PathBuf = dir.join(LOCK_FILE);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(&path, e)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(describe(&mut file))),
            Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
        }
    }
}

fn in_use(dir: &Path, holder: &Holder) -> Error {
    Error::usage(
        format!("{} is in use by {} since {}", dir.display(), holder.process, holder.since),
        "wait for it or stop it, or choose another folder",
    )
}

fn describe(file: &mut File) -> Holder {
    let mut text = String::new();
    // The holder may be anywhere between locking and writing; a message without a name beats a second error.
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let process = match text.trim().split_once(' ') {
        Some((pid, host)) => format!("process {pid} on host {host}"),
        None => "another process".to_owned(),
    };
    let since = file.metadata().and_then(|m| m.modified()).map_or_else(|_| "an unknown time".to_owned(), utc);
    Holder { process, since }
}

/// `2026-11-23 21:41:47 UTC`. Times before 1970 are shown as 1970.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut day) = (1970, days);
    let length = |year: u64| {
        if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) { 366 } else { 365 }
    };
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let february = length(year) - 337;
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02}:{:02} UTC", day + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        Process { id: 4711, host: "node3".into() }
    }

    #[test]
    fn message_names_holder() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = RunLock::acquire(dir.path(), &process()).unwrap();
        let error = RunLock::acquire(dir.path(), &process()).unwrap_err();
        assert_eq!(error.exit_code(), 64);
        let message = error.to_string();
        assert!(message.contains("process 4711 on host node3"), "{message}");
        assert!(message.contains(" UTC; wait for it"), "{message}");
    }

    #[test]
    fn file_of_a_dead_process_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCK_FILE), "999999999 elsewhere, with a long name\n").unwrap();
        assert_eq!(RunLock::holder(dir.path()).unwrap(), None);
        let _lock = RunLock::acquire(dir.path(), &process()).unwrap();
        let content = std::fs::read_to_string(dir.path().join(LOCK_FILE)).unwrap();
        assert_eq!(content, "4711 node3\n");
    }

    #[test]
    fn holder_is_seen_without_taking_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(RunLock::holder(dir.path()).unwrap(), None);
        let lock = RunLock::acquire(dir.path(), &process()).unwrap();
        assert!(RunLock::holder(dir.path()).unwrap().is_some());
        drop(lock);
        assert_eq!(RunLock::holder(dir.path()).unwrap(), None);
    }

    /// Expected texts from `date -u -d @SECONDS '+%F %T UTC'`.
    #[test]
    fn utc_equals_date() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
