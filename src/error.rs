//! The one error type, and the exit code that each variant stands for.

use std::path::{Path, PathBuf};

/// Short for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by who can mend it. Each message names the place, the value and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A wrong command line: unknown preset, impossible combination of flags.
    #[error("{message}; {remedy}")]
    Usage {
        /// What is wrong, with the value.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// A wrong value in a configuration (file, preset or `--set`).
    #[error("{place}: {message}; {remedy}")]
    Config {
        /// The file or key.
        place: String,
        /// What is wrong, with the value.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// A data, policy or result file that is not what it should be.
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
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Stopped by a signal after saving; can be resumed.
    #[error("interrupted; resume with: {resume}")]
    Interrupted {
        /// The command that goes on from here.
        resume: String,
    },
    /// A task that is not lrpilot's own failed.
    #[error("task `{name}`: {source}")]
    Task {
        /// The task.
        name: String,
        /// Its reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A state that the program's own logic rules out.
    #[error("internal error: {0}; please report it with the command that led here")]
    Bug(String),
}

impl From<lrpilot_core::Error> for Error {
    fn from(error: lrpilot_core::Error) -> Self {
        match error {
            lrpilot_core::Error::Config { place, message, remedy } => Error::Config { place, message, remedy },
            lrpilot_core::Error::Data { path, message, remedy } => Error::Data { path, message, remedy },
            lrpilot_core::Error::Io { path, source } => Error::Io { path, source },
            other => Error::Bug(other.to_string()),
        }
    }
}

impl Error {
    /// Exit code of a wrong command line.
    pub const USAGE: u8 = 64;

    /// The process exit code (sysexits): 64 usage, 65 bad data, 70 bug, 74 I/O, 75 interrupted, 78 bad configuration.
    ///
    /// ```
    /// let error = lrpilot::Error::config("learn.epochs", "0 is not positive", "give at least 1");
    /// assert_eq!(error.exit_code(), 78);
    /// assert_eq!(error.to_string(), "learn.epochs: 0 is not positive; give at least 1");
    /// ```
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } => Error::USAGE,
            Error::Data { .. } => 65,
            Error::Bug(_) | Error::Task { .. } => 70,
            Error::Io { .. } => 74,
            Error::Interrupted { .. } => 75,
            Error::Config { .. } => 78,
        }
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Usage { message: message.into(), remedy: remedy.into() }
    }

    /// A wrong configuration value at `place`.
    pub fn config(place: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Config { place: place.into(), message: message.into(), remedy: remedy.into() }
    }

    /// A file that is not what it should be.
    pub fn data(path: impl AsRef<Path>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Data { path: path.as_ref().to_owned(), message: message.into(), remedy: remedy.into() }
    }

    /// An error of a task that is not lrpilot's own.
    pub fn task(name: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Task { name: name.into(), source: source.into() }
    }

    /// Stopped at a signal, with everything saved.
    pub fn interrupted() -> Self {
        Error::Interrupted { resume: "the same configuration and folder".into() }
    }

    /// An operating-system error on `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_owned(), source }
    }
}
