//! What can go wrong when a schedule is read, configured or run. No message names a command-line flag: programs of
//! every kind link this crate.

use std::path::{Path, PathBuf};

/// Short for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by who can mend it. Each message names the place, the value and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value that is not in its range.
    #[error("{place}: {message}; {remedy}")]
    Config {
        /// The key.
        place: String,
        /// What is wrong, with the value.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// A policy or schedule file that is not what it should be.
    #[error("{}: {message}; {remedy}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the value.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A state that the program's own logic rules out.
    #[error("internal error: {0}; please report it")]
    Bug(String),
}

impl Error {
    /// A wrong value at `place`.
    ///
    /// ```
    /// let error = lrpilot_core::Error::config("schedule.gamma", "-1 is not a finite number ≥ 0", "give one that is");
    /// assert_eq!(error.to_string(), "schedule.gamma: -1 is not a finite number ≥ 0; give one that is");
    /// ```
    pub fn config(place: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Config { place: place.into(), message: message.into(), remedy: remedy.into() }
    }

    /// A file that is not what it should be.
    pub fn data(path: impl AsRef<Path>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Data { path: path.as_ref().to_owned(), message: message.into(), remedy: remedy.into() }
    }

    /// An operating-system error on `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_owned(), source }
    }
}
