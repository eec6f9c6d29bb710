//! `--index I --of N`: one of several processes that share a run.

use crate::Result;
use crate::run::compare::Share;
use crate::store::run_info::RunInfo;
use clap::Args;

/// The options that make a share, as `run.json` names them.
pub(super) const INDEX: &str = "index";
pub(super) const OF: &str = "of";

/// Shares that a run can have at most.
const MOST: usize = 10_000;

/// Arguments of every command that can be split.
#[derive(Clone, Copy, Debug, Args)]
pub struct ShareArgs {
    /// Do only share I of the jobs, counted from 0; `lrpilot runs merge` puts the shares together.
    #[arg(long, value_name = "I", requires = "of", allow_negative_numbers = true, value_parser = super::whole(0..=MOST))]
    pub index: Option<usize>,
    /// Shares into which the jobs are split, each for a process and a folder of its own.
    #[arg(long, value_name = "N", requires = "index", allow_negative_numbers = true, value_parser = super::whole(0..=MOST))]
    pub of: Option<usize>,
}

impl ShareArgs {
    /// The share that is to be done alone, if only one is.
    ///
    /// # Errors
    /// As [`Share::new`].
    pub fn share(self) -> Result<Option<Share>> {
        self.index.zip(self.of).map(|(index, of)| Share::new(index, of)).transpose()
    }
}

/// A description that says which share it is of, if it is of one.
pub fn note(info: RunInfo, share: Option<Share>) -> RunInfo {
    match share {
        Some(share) => info.with_option(INDEX, share.index()).with_option(OF, share.of()),
        None => info,
    }
}
