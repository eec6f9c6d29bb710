//! Where each file of a run folder is. No other module spells these names.

use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Name of the effective configuration inside a run folder; its presence makes the folder a run folder.
pub const CONFIG_FILE: &str = "config.toml";

/// Name of the description of the run ([`crate::store::run_info::RunInfo`]).
pub const INFO_FILE: &str = "run.json";

/// What begins the names of the folders in which a demo learns its policies, ours and the paper's.
pub const POLICY_FOLDERS: [&str; 2] = ["pilot", "paper"];

/// The names of the files of a run folder, or of a folder in which one policy is learned. Nothing is read or written.
///
/// ```
/// use lrpilot::store::files::RunFiles;
/// use std::path::Path;
/// let files = RunFiles::new(Path::new("runs/demo"));
/// assert_eq!(files.of_policy("pilot", 3).updates(), Path::new("runs/demo/pilot-seed3/updates.jsonl"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFiles {
    folder: PathBuf,
}

impl RunFiles {
    /// The files of `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        RunFiles { folder: folder.into() }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The effective configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join(CONFIG_FILE)
    }

    /// The description of the run ([`crate::store::run_info::RunInfo`]).
    pub fn info(&self) -> PathBuf {
        self.folder.join(INFO_FILE)
    }

    /// Finished training runs, one per line ([`crate::record::RunRecord`]).
    pub fn results(&self) -> PathBuf {
        self.folder.join("results.jsonl")
    }

    /// Updates of the agent, one per line ([`crate::record::UpdateRecord`]).
    pub fn updates(&self) -> PathBuf {
        self.folder.join("updates.jsonl")
    }

    /// Responses of tasks to the learning rate, one task a line.
    pub fn bank(&self) -> PathBuf {
        self.folder.join("bank.jsonl")
    }

    /// The fitted anchor of a pretrained policy.
    pub fn anchor(&self) -> PathBuf {
        self.folder.join("anchor.json")
    }

    /// Scores of a pretrained policy on the tasks of selection, one a line.
    pub fn scores(&self) -> PathBuf {
        self.folder.join("scores.jsonl")
    }

    /// Those scores against decisions, as a picture.
    pub fn score_chart(&self) -> PathBuf {
        self.folder.join("scores.svg")
    }

    /// Those scores against wall time, as a picture.
    pub fn score_time_chart(&self) -> PathBuf {
        self.folder.join("scores-time.svg")
    }

    /// The pretrained policy after `update`, which may be chosen.
    pub fn candidate(&self, update: usize) -> PathBuf {
        self.folder.join(format!("candidate-{update}.safetensors"))
    }

    /// Folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// The frozen policy.
    pub fn policy(&self) -> PathBuf {
        self.folder.join("policy.safetensors")
    }

    /// The comparison ([`crate::record::Comparison`]).
    pub fn comparison(&self) -> PathBuf {
        self.folder.join("comparison.json")
    }

    /// The comparison as Markdown.
    pub fn comparison_markdown(&self) -> PathBuf {
        self.folder.join("comparison.md")
    }

    /// The comparison as CSV.
    pub fn comparison_csv(&self) -> PathBuf {
        self.folder.join("comparison.csv")
    }

    /// How strongly the policy depends on each of its inputs.
    pub fn sensitivities(&self) -> PathBuf {
        self.folder.join("sensitivities.json")
    }

    /// How the policy answers to each of its inputs ([`crate::record::Response`]).
    pub fn responses(&self) -> PathBuf {
        self.folder.join("responses.json")
    }

    /// The picture of the learned and the tuned schedules.
    pub fn schedules(&self) -> PathBuf {
        self.folder.join("schedules.svg")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.folder.join("report.html")
    }

    /// The numbers of a run of the suite ([`crate::record::suite::SuiteResults`]).
    pub fn suite(&self) -> PathBuf {
        self.folder.join("suite.json")
    }

    /// The losses of the standard methods on the suite ([`crate::record::suite::Reference`]).
    pub fn reference(&self) -> PathBuf {
        self.folder.join("reference.json")
    }

    /// The paper's tables beside ours, as Markdown.
    pub fn paper_markdown(&self) -> PathBuf {
        self.folder.join("paper.md")
    }

    /// The paper's tables beside ours, as a page.
    pub fn paper_page(&self) -> PathBuf {
        self.folder.join("paper.html")
    }

    /// The folder in which a demo learns the policy of `seed`; `begin` is one of [`POLICY_FOLDERS`].
    pub fn of_policy(&self, begin: &str, seed: u64) -> RunFiles {
        RunFiles::new(self.folder.join(format!("{begin}-seed{seed}")))
    }

    /// The folders of the policies that begin with `begin`, ordered by seed.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read.
    pub fn policies(&self, begin: &str) -> Result<Vec<RunFiles>> {
        let io = |e| Error::io(&self.folder, e);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let seed = name.to_str().and_then(|n| n.strip_prefix(begin)?.strip_prefix("-seed")?.parse::<u64>().ok());
            found.extend(seed.map(|seed| (seed, RunFiles::new(self.folder.join(&name)))));
        }
        found.sort_by_key(|(seed, _)| *seed);
        Ok(found.into_iter().map(|(_, files)| files).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_ordered_by_seed() {
        let dir = tempfile::tempdir().unwrap();
        let files = RunFiles::new(dir.path());
        for (begin, seed) in [("pilot", 10), ("pilot", 9), ("paper", 1)] {
            fs::create_dir(files.of_policy(begin, seed).folder()).unwrap();
        }
        fs::create_dir(dir.path().join("pilot-seedling")).unwrap();
        assert_eq!(files.policies("pilot").unwrap(), [files.of_policy("pilot", 9), files.of_policy("pilot", 10)]);
    }
}
