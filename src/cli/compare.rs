//! Arguments of `lrpilot compare POLICY --task TASK`.

use super::schedule_arg::pretrained;
use super::share_arg::{self, ShareArgs};
use super::{GlobalArgs, context, error::print, output, run_folder};
use crate::Result;
use crate::record::Kind;
use crate::report::terminal;
use crate::run::compare::{grid_epochs, run_share, tuning_seeds};
use crate::run::learner::Learner;
use crate::run::stop::StopFlag;
use crate::run::{CompareOptions, PolicyGroup, RunConfig, compare};
use crate::store::identity::sha256_hex;
use crate::store::journal::Store;
use crate::store::run_info::RunKind;
use crate::task::TaskSource;
use clap::Args;
use lrpilot_core::Learned;
use lrpilot_core::generalist::NEWEST;
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot compare runs/digits/policy.safetensors --task digits --out runs/compare")]
pub struct CompareArgs {
    /// The frozen policy, or several of different seeds; `pretrained` is in every comparison, and can be given alone.
    #[arg(value_name = "POLICY", required = true)]
    pub policy: Vec<PathBuf>,
    /// Name of a task, or a configuration file (TOML).
    #[arg(long, value_name = "TASK|FILE")]
    pub task: String,
    /// Folder of the run, made if need be.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the comparison's runs.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::seed)]
    pub seed: Option<u64>,
    /// Training runs per method and policy, paired by seed.
    #[arg(long, alias = "child-seeds", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub evaluation_seeds: u64,
    /// Epochs that tuning each method may spend [default: what the policy spent; for `pretrained` alone, 100 trainings].
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: Option<u64>,
    /// Which part of the work, where several processes share it.
    #[command(flatten)]
    pub share: ShareArgs,
    /// Go on with the run in the folder.
    #[arg(long)]
    pub resume: bool,
    /// Print every column of the table, however wide.
    #[arg(long)]
    pub wide: bool,
    /// Change a value of the configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The policies, and an untrained one beside them; nothing for none.
fn groups(policies: Vec<Learned>, config: &RunConfig, source: &Arc<dyn TaskSource>) -> Result<Vec<PolicyGroup>> {
    if policies.is_empty() {
        return Ok(Vec::new());
    }
    let untrained = vec![Learner::untrained(config, source)?];
    Ok(vec![
        PolicyGroup { name: "lrpilot".into(), kind: Kind::Learned, policies },
        PolicyGroup { name: "lrpilot: untrained policy".into(), kind: Kind::Control, policies: untrained },
    ])
}

/// Compare the policy with the usual schedules.
///
/// # Errors
/// As [`compare()`], [`run_share`] and [`ShareArgs::share`].
pub fn run(args: &CompareArgs, global: &GlobalArgs, stop: &StopFlag) -> Result<()> {
    let share = args.share.share()?;
    let config = context::load_config(&args.task, &args.set, args.seed)?;
    let source: Arc<dyn TaskSource> = context::source(&config, global)?;
    let spec = source.spec();
    // The pretrained policy is in every comparison.
    let files = args.policy.iter().filter(|path| path.to_str().and_then(pretrained) != Some(NEWEST));
    let policies = files.map(|path| context::load_policy(path, spec.groups.len())).collect::<Result<Vec<Learned>>>()?;
    let spent = policies.iter().map(|p| p.provenance().epochs).max().unwrap_or_else(|| grid_epochs(spec));
    let hashes = policies.iter().map(|p| Ok(sha256_hex(&p.to_bytes()?))).collect::<Result<Vec<_>>>()?;
    let budget = args.budget.unwrap_or(spent);
    let info = run_folder::describe(RunKind::Compare, run_folder::title(&spec.name))
        .with_option("policies (sha256)", hashes.join(", "))
        .with_option("budget", budget)
        .with_option("evaluation-seeds", args.evaluation_seeds);
    let info = share_arg::note(info, share);
    let command = info.command.clone();
    let learned = policies.first().cloned();
    let options = CompareOptions {
        policies: groups(policies, &config, &source)?,
        budget_epochs: budget,
        evaluation_seeds: args.evaluation_seeds as usize,
        seed: config.seed,
        command: &command,
    };
    // What would stop the comparison is said before a folder is made.
    tuning_seeds(options.budget_epochs, spec)?;
    let told = run_folder::work_in(&args.out, info, &config.to_toml()?, args.resume, |files, info| {
        let store = Store::open(&files.results())?;
        let progress = context::stoppable(global, stop)?;
        let host = context::host();
        let around = context::run_context(&*progress, stop, &host);
        if let Some(share) = share {
            let jobs = context::on_threads(global, || run_share(&*source, &options, share, store, &around))?;
            return Ok(format!("share {} of {}: {jobs} jobs", share.index(), share.of()));
        }
        let (comparison, _) = context::on_threads(global, || compare(&*source, &options, Some(store), &around))?;
        output::write_comparison(files, &comparison)?;
        if let Some(policy) = &learned {
            output::write_insight(files, &config, &source, policy)?;
        }
        output::write_report(files, info)?;
        let table = terminal::text(&comparison, args.wide);
        Ok(format!("{}\nreport: {}", table.trim_end_matches('\n'), files.report().display()))
    })?;
    print(&told)
}
