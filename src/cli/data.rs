//! `lrpilot data list|verify|fetch`.

use super::{GlobalArgs, context, error::print, fetch::fetch};
use crate::task::data::{DatasetName, verify};
use crate::{Error, Result};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use std::path::Path;

/// Arguments of `data`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot data fetch mnist")]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: DataAction,
}

/// What to do with data sets.
#[derive(Clone, Debug, Subcommand)]
pub enum DataAction {
    /// Show which data sets are there.
    List,
    /// Read data sets and check their sums; all that are there by default.
    Verify {
        /// Names of data sets.
        names: Vec<String>,
    },
    /// Download data sets.
    #[command(after_help = "Example:\n  lrpilot data fetch mnist --mirror http://localhost:8000/mnist/")]
    Fetch {
        /// Names of data sets.
        #[arg(required = true)]
        names: Vec<String>,
        /// A server to try instead of the known ones, holding the original files; may be repeated.
        #[arg(long, value_name = "URL")]
        mirror: Vec<String>,
    },
}

/// Do it.
///
/// # Errors
/// [`Error::Usage`] for an unknown name, [`Error::Data`] for a file that is missing or wrong, [`Error::Io`].
pub fn run(args: &DataArgs, global: &GlobalArgs) -> Result<()> {
    let root = context::data_dir(global);
    if !matches!(args.action, DataAction::Fetch { .. }) {
        check_folder(&root, global)?;
    }
    let present = |d: &DatasetName| d.files().iter().all(|f| d.find(&root, f).is_ok());
    match &args.action {
        DataAction::List => {
            let mut table = Table::new();
            table.load_style(NOTHING).set_header(["data set", "there", "where"]);
            for dataset in DatasetName::ALL {
                let place = match dataset.files().first() {
                    None => "embedded".into(),
                    Some(file) => dataset.find(&root, file).map_or("-".into(), |p| p.display().to_string()),
                };
                table.add_row([dataset.name().into(), if present(&dataset) { "yes" } else { "no" }.to_string(), place]);
            }
            print(&table.trim_fmt())
        }
        DataAction::Verify { names } => {
            let chosen = if names.is_empty() {
                DatasetName::ALL.into_iter().filter(present).collect()
            } else {
                parse_names(names)?
            };
            for dataset in chosen {
                verify(dataset, &root)?;
                print(&format!("{}: good", dataset.name()))?;
            }
            Ok(())
        }
        DataAction::Fetch { names, mirror } => {
            let progress = context::progress(global);
            let chosen = parse_names(names)?;
            if let Some(embedded) = chosen.iter().find(|d| d.files().is_empty()) {
                let message = format!("the data set {} is part of the program", embedded.name());
                return Err(Error::usage(message, "there is nothing to fetch, leave it out"));
            }
            for dataset in chosen {
                fetch(dataset, &root, mirror, &*progress)?;
                print(&format!("{}: good, in {}", dataset.name(), root.join(dataset.folder()).display()))?;
            }
            Ok(())
        }
    }
}

/// Whether a data folder that somebody named is there; the one in the cache is made by the first download.
fn check_folder(root: &Path, global: &GlobalArgs) -> Result<()> {
    if root.is_dir() || !context::data_dir_is_named(global) {
        return Ok(());
    }
    let message = format!("the data folder {} does not exist", root.display());
    Err(Error::usage(message, "correct --data-dir or LRPILOT_DATA, or download data to it with `lrpilot data fetch`"))
}

fn parse_names(names: &[String]) -> Result<Vec<DatasetName>> {
    let parse = |name: &String| {
        let known = DatasetName::ALL.map(DatasetName::name).join(", ");
        DatasetName::from_name(name)
            .ok_or_else(|| Error::usage(format!("`{name}` is not a data set"), format!("data sets: {known}")))
    };
    names.iter().map(parse).collect()
}
