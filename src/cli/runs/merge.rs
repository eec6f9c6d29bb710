//! `lrpilot runs merge A B … --out C`: put the shares of a run together and finish it.

use super::resume::{OUT, go_on};
use crate::cli::GlobalArgs;
use crate::cli::command::CommandLine;
use crate::cli::run_folder::{claim, describe_as};
use crate::cli::share_arg::{INDEX, OF};
use crate::record::RunRecord;
use crate::store::files::RunFiles;
use crate::store::folder::config_difference;
use crate::store::journal::{Store, read};
use crate::store::run_info::{Invocation, RunInfo, RunKind, RunState};
use crate::suite::SuiteRun;
use crate::{Error, Result};
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Arguments of `runs merge`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot runs merge runs/digits-shares/* --out runs/digits")]
pub struct MergeArgs {
    /// Folders of all shares of one run, in any order.
    #[arg(value_name = "DIR", required = true)]
    pub shares: Vec<PathBuf>,
    /// Folder of the whole run, made if need be.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Collect what the shares did in the folder of a run, then go on with that run, to the same files that one process makes.
///
/// # Errors
/// [`Error::Usage`] if a folder holds no finished share, if the shares are of different experiments, or not each there
/// once, or of another version of the program; then nothing is written. Those of the command that goes on.
pub fn run(args: &MergeArgs, global: &GlobalArgs) -> Result<()> {
    let shares = args.shares.iter().map(|dir| FinishedShare::read(dir)).collect::<Result<Vec<_>>>()?;
    let first = &shares[0];
    shares[1..].iter().try_for_each(|share| first.check_same(share))?;
    check_complete(&shares)?;
    check_version(first)?;
    let command = first.whole_run(&args.out);
    let mut info = describe_as(&command, first.info.kind, first.info.title.clone());
    info.options = first.info.options.clone();
    info.options.retain(|name, _| name != INDEX && name != OF);
    let mut folder = claim(&args.out, info, &first.config, false)?;
    match first.info.kind {
        RunKind::Suite => collect::<SuiteRun>(&shares, folder.files())?,
        _ => collect::<RunRecord>(&shares, folder.files())?,
    }
    folder.set_state(RunState::Interrupted)?;
    drop(folder);
    go_on(command, Path::new("."), global)
}

/// Write what all shares did to the journal of the whole run.
fn collect<R: Serialize + DeserializeOwned>(shares: &[FinishedShare], whole: &RunFiles) -> Result<()> {
    let mut store = Store::open(&whole.results())?;
    for share in shares {
        let records: Vec<R> = read(&share.files.results())?;
        records.iter().try_for_each(|record| store.append(record))?;
    }
    store.sync()
}

/// What the folder of a share says.
struct FinishedShare {
    files: RunFiles,
    info: RunInfo,
    invocation: Invocation,
    config: String,
    index: usize,
    of: usize,
}

impl FinishedShare {
    fn read(dir: &Path) -> Result<Self> {
        let (files, shown) = (RunFiles::new(dir), dir.display());
        let remedy = "name the folders that `lrpilot compare` or `lrpilot suite run` wrote with --index I --of N";
        let Some(mut info) = RunInfo::read(&files.info())? else {
            return Err(Error::usage(format!("{shown} holds no run"), remedy));
        };
        let number = |option: &str| info.options.get(option)?.parse::<usize>().ok();
        let (Some(index), Some(of)) = (number(INDEX), number(OF)) else {
            let message = format!("{shown} holds a whole run of `{}` and no share of one", info.kind.name());
            return Err(Error::usage(message, remedy));
        };
        if info.state != RunState::Finished {
            let message = format!("share {index} of {of} in {shown} is not finished");
            let resume = CommandLine::new("runs").argument("resume").argument(dir);
            return Err(Error::usage(message, format!("go on with: {resume}")));
        }
        let Some(invocation) = info.invocation.take() else {
            let message = format!("{shown} does not say word by word how it was begun");
            return Err(Error::usage(message, "begin the share again with words that are UTF-8"));
        };
        let config = std::fs::read_to_string(files.config()).map_err(|e| Error::io(files.config(), e))?;
        Ok(FinishedShare { files, info, invocation, config, index, of })
    }

    /// Whether both are of one experiment, which the same version of the program worked on.
    fn check_same(&self, other: &FinishedShare) -> Result<()> {
        let [a, b] = [self, other].map(|share| share.files.folder().display().to_string());
        let [kind, another] = [self, other].map(|share| share.info.kind.name());
        if kind != another {
            let message = format!("{a} is a share of `{kind}`, {b} of `{another}`");
            return Err(Error::usage(message, "name shares of one experiment"));
        }
        let mut infos = [self, other].map(|share| share.info.clone().with_option("version", &share.info.version));
        infos.iter_mut().for_each(|info| info.options.retain(|name, _| name != INDEX));
        let difference = match infos[0].first_difference(&infos[1]) {
            Some(difference) => Some(difference),
            None => config_difference(&a, &self.config, &b, &other.config)?,
        };
        let Some((key, here, there)) = difference else { return Ok(()) };
        let message = format!("{a} and {b} are shares of different experiments: {key} is {here} and {there}");
        Err(Error::usage(message, "name shares of one experiment"))
    }

    /// The command that does the whole run into `out`.
    fn whole_run(&self, out: &Path) -> CommandLine {
        let command = CommandLine::of_words(self.invocation.arguments.iter().cloned());
        command.without(&format!("--{INDEX}")).without(&format!("--{OF}")).with(OUT, out)
    }
}

/// Whether each share is there, once.
fn check_complete(shares: &[FinishedShare]) -> Result<()> {
    let of = shares[0].of;
    for index in 0..of {
        let with_index: Vec<&FinishedShare> = shares.iter().filter(|share| share.index == index).collect();
        match with_index[..] {
            [_] => {}
            [] => {
                let message = format!("share {index} of {of} is not among the folders");
                return Err(Error::usage(
                    message,
                    format!("name its folder, or make it with --index {index} --of {of}"),
                ));
            }
            [a, b, ..] => {
                let [a, b] = [a, b].map(|share| share.files.folder().display().to_string());
                return Err(Error::usage(format!("share {index} of {of} is in {a} and in {b}"), "name one of them"));
            }
        }
    }
    Ok(())
}

/// Whether this program made the shares: what it goes on with would otherwise be of two versions.
fn check_version(share: &FinishedShare) -> Result<()> {
    let (theirs, ours) = (&share.info.version, RunInfo::new(share.info.kind).version);
    if *theirs == ours {
        return Ok(());
    }
    let message = format!("{} was made by {theirs}, and this is {ours}", share.files.folder().display());
    Err(Error::usage(message, format!("put the shares together with {theirs}, or make them again with {ours}")))
}
