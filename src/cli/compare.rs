//! Arguments of `lrpilot compare POLICY --task TASK`.

use super::{GlobalArgs, context, error::print, output, run_folder};
use crate::Result;
use crate::record::Kind;
use crate::report::terminal;
use crate::run::compare::{Share, run_share, tuning_seeds};
use crate::run::learner::Learner;
use crate::run::stop::StopFlag;
use crate::run::{CompareOptions, PolicyGroup, compare};
use crate::store::identity::sha256_hex;
use crate::store::journal::Store;
use crate::store::run_info::RunKind;
use crate::task::TaskSource;
use clap::Args;
use lrpilot_core::Learned;
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot compare runs/digits/policy.safetensors --task digits --out runs/compare")]
pub struct CompareArgs {
    /// The frozen policy, or several of different seeds.
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
    /// Epochs that tuning each method may spend [default: what the policy spent].
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: Option<u64>,
    /// Do only share I of the jobs, counted from 0; `lrpilot runs merge` puts the shares together.
    #[arg(long, value_name = "I", requires = "of")]
    pub index: Option<usize>,
    /// Shares into which the jobs are split, each for a process and a folder of its own.
    #[arg(long, value_name = "N", requires = "index")]
    pub of: Option<usize>,
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

impl CompareArgs {
    /// The share that is to be done alone, if only one is.
    ///
    /// # Errors
    /// As [`Share::new`].
    pub fn share(&self) -> Result<Option<Share>> {
        self.index.zip(self.of).map(|(index, of)| Share::new(index, of)).transpose()
    }
}

/// Compare the policy with the usual schedules.
///
/// # Errors
/// As [`compare()`], [`run_share`] and [`CompareArgs::share`].
pub fn run(args: &CompareArgs, global: &GlobalArgs, stop: &StopFlag) -> Result<()> {
    let share = args.share()?;
    let config = context::load_config(&args.task, &args.set, args.seed)?;
    let source: Arc<dyn TaskSource> = context::source(&config, global)?;
    let spec = source.spec();
    let policies = args
        .policy
        .iter()
        .map(|path| context::load_policy(path, spec.groups.len()))
        .collect::<Result<Vec<Learned>>>()?;
    let spent = policies.iter().map(|p| p.provenance().epochs).max().unwrap_or(0);
    let untrained = Learner::untrained(&config, &source)?;
    let hashes = policies.iter().map(|p| Ok(sha256_hex(&p.to_bytes()?))).collect::<Result<Vec<_>>>()?;
    let budget = args.budget.unwrap_or(spent);
    let mut info = run_folder::describe(RunKind::Compare, run_folder::title(&spec.name))
        .with_option("policies (sha256)", hashes.join(", "))
        .with_option("budget", budget)
        .with_option("evaluation-seeds", args.evaluation_seeds);
    if let Some(share) = share {
        info = info.with_option("index", share.index()).with_option("of", share.of());
    }
    let command = info.command.clone();
    let options = CompareOptions {
        policies: vec![
            PolicyGroup { name: "lrpilot".into(), kind: Kind::Learned, policies },
            PolicyGroup { name: "lrpilot: untrained policy".into(), kind: Kind::Control, policies: vec![untrained] },
        ],
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
        output::write_insight(files, &config, &source, &options.policies[0].policies[0])?;
        output::write_report(files, info)?;
        let table = terminal::text(&comparison, args.wide);
        Ok(format!("{}\nreport: {}", table.trim_end_matches('\n'), files.report().display()))
    })?;
    print(&told)
}
