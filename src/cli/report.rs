//! Arguments of `lrpilot report DIR`.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot report runs/demo")]
pub struct ReportArgs {
    /// Folder of a run; `report.html` in it is written anew.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}
