//! What a run folder says about itself: the file `run.json`.

use crate::store::atomic::write_atomic;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The command that a run folder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// One policy is learned.
    Learn,
    /// Policies of two formulations are learned and compared.
    Demo,
    /// Frozen policies are compared with the usual schedules.
    Compare,
    /// The experiments of the paper.
    Paper,
    /// Policies and the standard methods on the tasks of a suite.
    Suite,
}

impl RunKind {
    /// The name, as in `run.json` and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            RunKind::Learn => "learn",
            RunKind::Demo => "demo",
            RunKind::Compare => "compare",
            RunKind::Paper => "paper",
            RunKind::Suite => "suite",
        }
    }
}

/// How far a run is, as the run itself wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum RunState {
    /// A process began to work. If nobody holds the folder's lock, that process has died.
    Running,
    /// Everything was written.
    Finished,
    /// Somebody asked the run to stop; it can be resumed.
    Interrupted,
    /// The run ended with an error.
    Failed {
        /// The error's text.
        error: String,
    },
}

/// How a process was started, for another to be started like it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The words behind the program's name, without the request to resume.
    pub arguments: Vec<String>,
    /// The working directory, in which paths among the words are meant.
    pub directory: String,
}

/// The content of `run.json`.
///
/// A folder of version 0.1.0 has no such file.
///
/// ```
/// use lrpilot::store::run_info::{RunInfo, RunKind, RunState};
/// let info = RunInfo::new(RunKind::Compare).with_option("evaluation-seeds", 10);
/// let json = serde_json::to_value(&info).unwrap();
/// assert_eq!(json["kind"], "compare");
/// assert_eq!(json["options"]["evaluation-seeds"], "10");
/// assert_eq!(json["state"], "running");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The command.
    pub kind: RunKind,
    /// What decides the result besides the configuration in `config.toml`, by the option's name.
    pub options: BTreeMap<String, String>,
    /// The program and its version.
    pub version: String,
    /// Heading of the report.
    pub title: String,
    /// The command line, without the request to resume; it makes the same numbers again.
    pub command: String,
    /// The command line that goes on with the run.
    pub resume: String,
    /// The working directory in which both command lines are meant, quoted for a shell.
    pub directory: String,
    /// The same command word by word; `None` where a word is not UTF-8, and in folders of version 0.2.0 and before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<Invocation>,
    /// Processor, cores and operating system.
    pub machine: String,
    /// How far the run is.
    #[serde(flatten)]
    pub state: RunState,
}

impl RunInfo {
    /// A running run of this version of the program; everything else is empty.
    pub fn new(kind: RunKind) -> Self {
        RunInfo {
            kind,
            options: BTreeMap::new(),
            version: format!("lrpilot {}", env!("CARGO_PKG_VERSION")),
            title: String::new(),
            command: String::new(),
            resume: String::new(),
            directory: String::new(),
            invocation: None,
            machine: String::new(),
            state: RunState::Running,
        }
    }

    /// Note an option that decides the result.
    pub fn with_option(mut self, name: &str, value: impl ToString) -> Self {
        self.options.insert(name.to_owned(), value.to_string());
        self
    }

    /// Read the file; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Data`] if it is damaged, [`Error::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path, e)),
        };
        let damaged = |e| {
            let remedy = "restore it from a copy, or start again in another folder";
            Error::data(path, format!("not a description of a run ({e})"), remedy)
        };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Write the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).map_err(|e| Error::Bug(format!("run.json: {e}")))?;
        write_atomic(path, format!("{json}\n").as_bytes())
    }

    /// The first option whose value differs from that of `now`, with both values; `absent` where there is none.
    pub(crate) fn first_difference(&self, now: &RunInfo) -> Option<(String, String, String)> {
        let value = |info: &RunInfo, name: &String| info.options.get(name).map_or("absent".into(), String::clone);
        let mut names: Vec<&String> = self.options.keys().chain(now.options.keys()).collect();
        names.sort();
        let differs = names.into_iter().find(|name| self.options.get(*name) != now.options.get(*name));
        differs.map(|name| (name.clone(), value(self, name), value(now, name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        assert_eq!(RunInfo::read(&path).unwrap(), None);
        let failed = RunState::Failed { error: "disk full".into() };
        for state in [RunState::Running, RunState::Finished, RunState::Interrupted, failed] {
            let info = RunInfo { state, ..RunInfo::new(RunKind::Paper).with_option("seed", 3) };
            info.write(&path).unwrap();
            assert_eq!(RunInfo::read(&path).unwrap(), Some(info));
        }
        std::fs::write(&path, "{}").unwrap();
        let error = RunInfo::read(&path).unwrap_err();
        assert!(error.exit_code() == 65 && error.to_string().contains("run.json: not a description"), "{error}");
    }

    #[test]
    fn an_option_that_only_one_side_has_differs() {
        let (before, now) = (RunInfo::new(RunKind::Demo).with_option("b", 1), RunInfo::new(RunKind::Demo));
        assert_eq!(before.first_difference(&before), None);
        assert_eq!(before.first_difference(&now), Some(("b".into(), "1".into(), "absent".into())));
        let now = now.with_option("a", 2).with_option("b", 1);
        assert_eq!(before.first_difference(&now), Some(("a".into(), "absent".into(), "2".into())));
    }
}
