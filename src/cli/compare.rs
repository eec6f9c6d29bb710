//! Arguments of `lrpilot compare POLICY --task TASK`.

use super::{GlobalArgs, context, error::print, output, run_folder};
use crate::Result;
use crate::record::Kind;
use crate::report::terminal;
use crate::run::compare::tuning_seeds;
use crate::run::learner::Learner;
use crate::run::stop::StopFlag;
use crate::run::{CompareOptions, PolicyGroup, compare};
use crate::store::files::RunFiles;
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

/// Compare the policy with the usual schedules.
///
/// # Errors
/// As [`compare()`].
pub fn run(args: &CompareArgs, global: &GlobalArgs, stop: &StopFlag) -> Result<()> {
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
    let info = run_folder::describe(RunKind::Compare, run_folder::title(&spec.name))
        .with_option("policies (sha256)", hashes.join(", "))
        .with_option("budget", budget)
        .with_option("evaluation-seeds", args.evaluation_seeds);
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
    let comparison = run_folder::work_in(&args.out, info, &config.to_toml()?, args.resume, |files, info| {
        let store = Store::open(&files.results())?;
        let progress = context::stoppable(global, stop)?;
        let host = context::host();
        let around = context::run_context(&*progress, stop, &host);
        let (comparison, _) = context::on_threads(global, || compare(&*source, &options, Some(store), &around))?;
        output::write_comparison(files, &comparison)?;
        output::write_insight(files, &config, &source, &options.policies[0].policies[0])?;
        output::write_report(files, info)?;
        Ok(comparison)
    })?;
    print(&terminal::text(&comparison, args.wide))?;
    print(&format!("report: {}", RunFiles::new(&args.out).report().display()))
}
