//! `lrpilot explain`: what moved a policy's decisions.

use super::command::CommandLine;
use super::schedule_arg::{ForRun, schedule};
use super::{GlobalArgs, SeedList, context, error::print};
use crate::agent::Policy;
use crate::report::explanation;
use crate::report::format::wrap;
use crate::report::html::Origin;
use crate::run::RunConfig;
use crate::run::explain::{explain, network};
use crate::run::generalist::GeneralistLearnerState;
use crate::run::learner::LearnerState;
use crate::settings;
use crate::store::atomic::write_atomic;
use crate::store::checkpoint::Checkpoints;
use crate::store::files::{POLICY_FOLDERS, RunFiles};
use crate::store::run_info::{RunInfo, RunKind};
use crate::task::{Preset, TaskSource as _, TaskSpec};
use crate::{Error, Result};
use clap::Args;
use lrpilot_core::Schedule;
use std::path::{Path, PathBuf};

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  lrpilot explain runs/digits\n  \
                        lrpilot explain pretrained --task noisy-quadratic\n  \
                        lrpilot explain policy.safetensors --task digits --seeds 0..5 --report why.html")]
pub struct ExplainArgs {
    /// Folder of a run that learned a policy, a policy file, or `pretrained`.
    #[arg(value_name = "RUN|POLICY|pretrained")]
    pub policy: String,
    /// Train on this task (a name or a TOML file) [default: the run's; for a policy file, digits].
    #[arg(long, value_name = "TASK|FILE")]
    pub task: Option<String>,
    /// Seeds of the training runs, e.g. 0..5 or 1,2,7; the decisions of the first are listed.
    #[arg(long, value_name = "LIST", default_value = "0..3", allow_hyphen_values = true)]
    pub seeds: SeedList,
    /// Inputs named for each decision.
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true, value_parser = super::whole::<u8>(1..=99))]
    pub top: u8,
    /// Change a value of the task's configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print all of it as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write a page with response curves.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

/// Train under the policy and say what moved its decisions.
///
/// # Errors
/// [`Error::Usage`] for what is no policy, [`Error::Data`] for a folder without one; those of the task and of the files.
pub fn run(args: &ExplainArgs, global: &GlobalArgs) -> Result<()> {
    args.report.as_deref().map_or(Ok(()), context::check_target)?;
    let folder = Path::new(&args.policy).is_dir().then(|| RunFiles::new(&args.policy));
    if let Some(files) = &folder {
        check_folder(files)?;
    }
    let config = config(args, folder.as_ref())?;
    let source = context::source(&config, global)?;
    let policy = policy(&args.policy, folder.as_ref(), source.spec())?;
    let value_network = match &folder {
        Some(files) => value_network(files, &policy),
        None => Err("only the folder of a run has a value network".into()),
    };
    let progress = context::progress(global);
    progress.start(args.seeds.0.len() as u64 * source.spec().steps(), "training");
    let explained = context::on_threads(global, || {
        explain(&*source, &policy, value_network.as_ref().ok(), &args.seeds.0, |steps| progress.advance(steps))
    })?;
    progress.finish(&format!("{} runs", explained.runs.len()));
    let top = usize::from(args.top);
    if let Some(path) = &args.report {
        let version = format!("lrpilot {}", env!("CARGO_PKG_VERSION"));
        let origin = Origin { command: CommandLine::typed().to_string(), version, machine: context::machine() };
        write_atomic(path, explanation::page(&explained, top, &origin)?.as_bytes())?;
    }
    if args.json {
        let json = serde_json::to_string_pretty(&explained).map_err(|e| Error::Bug(format!("explanation: {e}")))?;
        return print(&json);
    }
    print(explanation::text(&explained, top).trim_end())?;
    if let Err(reason) = &value_network {
        print(&wrap(&format!("No value of the decisions: {reason}."), 80, 0))?;
    }
    args.report.as_ref().map_or(Ok(()), |path| print(&format!("report: {}", path.display())))
}

/// Whether there is a policy in the folder.
fn check_folder(files: &RunFiles) -> Result<()> {
    const ANOTHER: &str = "name a folder made by lrpilot learn or demo, or a policy file";
    if !files.config().is_file() {
        return Err(Error::data(files.folder(), "not a run folder", ANOTHER));
    }
    if files.policy().is_file() {
        return Ok(());
    }
    let unfinished = |info: &RunInfo| matches!(info.kind, RunKind::Learn | RunKind::Demo) && !info.resume.is_empty();
    let resume = RunInfo::read(&files.info())?.filter(unfinished).map(|info| info.resume);
    let remedy = resume.map_or(ANOTHER.into(), |resume| format!("finish the run with: {resume}"));
    Err(Error::data(files.folder(), "there is no policy in the folder", remedy))
}

/// The configuration with the task: the one asked for, else the run's, else digits.
fn config(args: &ExplainArgs, folder: Option<&RunFiles>) -> Result<RunConfig> {
    if let (None, Some(files)) = (&args.task, folder) {
        let (text, place) = (context::read_utf8(&files.config())?, files.config().display().to_string());
        let mut table: toml::Table = settings::parse(&text, &place)?;
        // A pretrained policy is learned on many tasks, or `on` one; its other keys are not those of a task file.
        let on = table.remove("on").map(|task| toml::Table::from_iter([("task".to_owned(), task)]));
        if let Some(mut overlay) = on.or_else(|| table.contains_key("task").then_some(table)) {
            args.set.iter().try_for_each(|s| settings::apply_set(&mut overlay, s, "--set"))?;
            let config = context::complete(overlay, None, &place, &text)?;
            config.check()?;
            return Ok(config);
        }
    }
    context::load_config(args.task.as_deref().unwrap_or(Preset::Digits.name()), &args.set, None)
}

/// The policy in the folder or file, or of that name, for a task like this.
fn policy(text: &str, folder: Option<&RunFiles>, spec: &TaskSpec) -> Result<Schedule> {
    let file = folder.map(RunFiles::policy);
    let is_file = folder.is_some() || text.ends_with(".safetensors");
    let text = file.as_ref().and_then(|file| file.to_str()).unwrap_or(text);
    let remedy = "give a folder made by lrpilot learn or demo, a policy (FILE.safetensors), or `pretrained`";
    match schedule(text, "POLICY", None, ForRun::task(spec)) {
        Ok(policy @ (Schedule::Learned { .. } | Schedule::Generalist { .. })) => Ok(policy),
        Ok(_) => Err(Error::usage(format!("`{text}` is a schedule without a policy: it looks at nothing"), remedy)),
        Err(error) if is_file => Err(error),
        Err(_) => Err(Error::usage(format!("there is no run folder and no policy `{text}`"), remedy)),
    }
}

/// The value network as the last update of the policy's learning left it, or why there is none.
fn value_network(files: &RunFiles, policy: &Schedule) -> Result<Policy, String> {
    let agent = match policy {
        Schedule::Learned { policy, .. } => {
            // In a demo's folder, the policies are learned in folders of their own.
            let [ours, _] = POLICY_FOLDERS;
            let of_demo = files.of_policy(ours, policy.provenance().seed);
            let files = if files.checkpoints().is_dir() { files } else { &of_demo };
            latest::<LearnerState>(files)?.agent().clone()
        }
        _ => latest::<GeneralistLearnerState>(files)?.agent().clone(),
    };
    let (network, _) = network(policy).map_err(|e| e.to_string())?;
    // Policy and value network have the same hidden layers.
    let hidden = &network.sizes[1..network.sizes.len() - 1];
    agent.value_network(network.inputs(), hidden).map_err(|e| e.to_string())
}

/// The state of learning in the newest checkpoint.
fn latest<T: serde::de::DeserializeOwned>(files: &RunFiles) -> Result<T, String> {
    let loaded = Checkpoints::new(files.checkpoints()).load_latest::<T>().map_err(|e| e.to_string())?;
    let missing = || format!("there is no checkpoint in {}", files.checkpoints().display());
    loaded.map(|loaded| loaded.value).ok_or_else(missing)
}
