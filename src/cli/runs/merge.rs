//! `lrpilot runs merge A B … --out C`: put the shares of a comparison together and finish it.

use super::resume::{OUT, go_on};
use crate::cli::GlobalArgs;
use crate::cli::command::CommandLine;
use crate::cli::run_folder::{claim, describe_as};
use crate::record::RunRecord;
use crate::store::files::RunFiles;
use crate::store::folder::config_difference;
use crate::store::journal::{Store, read};
use crate::store::run_info::{Invocation, RunInfo, RunState};
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Arguments of `runs merge`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot runs merge runs/digits-shares/* --out runs/digits")]
pub struct MergeArgs {
    /// Folders of all shares of one comparison, in any order.
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
/// once; then nothing is written. Those of `compare`.
pub fn run(args: &MergeArgs, global: &GlobalArgs) -> Result<()> {
    let shares = args.shares.iter().map(|dir| FinishedShare::read(dir)).collect::<Result<Vec<_>>>()?;
    let first = &shares[0];
    shares[1..].iter().try_for_each(|share| first.check_same(share))?;
    check_complete(&shares)?;
    let command = first.whole_run(&args.out);
    let mut info = describe_as(&command, first.info.kind, first.info.title.clone());
    info.options = first.info.options.clone();
    info.options.retain(|name, _| name != INDEX && name != OF);
    let mut folder = claim(&args.out, info, &first.config, false)?;
    let mut store = Store::open(&folder.files().results())?;
    for share in &shares {
        let records: Vec<RunRecord> = read(&share.files.results())?;
        records.iter().try_for_each(|record| store.append(record))?;
    }
    store.sync()?;
    folder.set_state(RunState::Interrupted)?;
    drop((store, folder));
    go_on(command, Path::new("."), global)
}

/// The options of `compare` that make a share, as `run.json` names them.
const INDEX: &str = "index";
const OF: &str = "of";

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
        let remedy = "name the folders that `lrpilot compare --index I --of N` wrote";
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

    /// The command that runs the whole comparison into `out`.
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
