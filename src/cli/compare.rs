//! Arguments of `lrpilot compare POLICY --task TASK`.

use super::{GlobalArgs, context, error::print, output};
use crate::Result;
use crate::record::Kind;
use crate::report::terminal;
use crate::run::compare::tuning_seeds;
use crate::run::learner::Learner;
use crate::run::sensitivity::sensitivities;
use crate::run::stop::StopFlag;
use crate::run::{CompareOptions, PolicyGroup, compare};
use crate::schedule::Learned;
use crate::store::folder::RunFolder;
use crate::store::journal::Store;
use clap::Args;
use std::path::PathBuf;

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
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Training runs per method and policy, paired by seed.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub child_seeds: u64,
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
    let runner = context::runner(&config, global)?;
    let spec = runner.spec()?;
    let policies =
        args.policy.iter().map(|path| context::load_policy(path, &spec)).collect::<Result<Vec<Learned>>>()?;
    let spent = policies.iter().map(|p| p.provenance().epochs).max().unwrap_or(0);
    let untrained = Learner::untrained(&config, &runner)?;
    let options = CompareOptions {
        policies: vec![
            PolicyGroup { name: "lrpilot".into(), kind: Kind::Learned, policies },
            PolicyGroup { name: "lrpilot: untrained policy".into(), kind: Kind::Control, policies: vec![untrained] },
        ],
        budget_epochs: args.budget.unwrap_or(spent),
        child_seeds: args.child_seeds as usize,
        seed: config.seed,
        command: &context::command_line(),
    };
    // What would stop the comparison is said before a folder is made.
    tuning_seeds(options.budget_epochs, &spec)?;
    let folder = RunFolder::create_or_resume(&args.out, &context::to_toml(&config)?, args.resume)?;
    let store = Store::open(&folder.results())?;
    let progress = context::stoppable(global, stop)?;
    let (comparison, runs) = context::on_threads(global, || compare(&runner, &options, Some(store), &*progress, stop))?;
    let sensitivities = sensitivities(&config, &runner, &options.policies[0].policies[0])?;
    output::write_comparison(folder.path(), &comparison, &runs, &[], &sensitivities)?;
    print(&terminal::text(&comparison, args.wide))?;
    print(&format!("report: {}", folder.report().display()))
}
