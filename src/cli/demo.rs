//! `lrpilot demo`: learn a schedule, freeze it, compare it.

use super::{GlobalArgs, context, error::print, output};
use crate::Result;
use crate::report::svg::{LrSeries, lr_chart};
use crate::report::terminal;
use crate::run::compare::tuning_seeds;
use crate::run::demo::{DemoOptions, DemoResult, demo};
use crate::run::sensitivity::sensitivities;
use crate::run::session::Surroundings;
use crate::run::stop::StopFlag;
use crate::store::atomic::write_atomic;
use crate::store::folder::RunFolder;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot demo --out runs/demo")]
pub struct DemoArgs {
    /// Name of a task, or a configuration file (TOML).
    #[arg(long, value_name = "TASK|FILE", default_value = "digits")]
    pub task: String,
    /// Folder of the run, made if need be [default: runs/demo-TASK].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Policies of each formulation.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub policy_seeds: u64,
    /// Training runs per method and policy, paired by seed.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub child_seeds: u64,
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

/// Learn, freeze, compare, report.
///
/// # Errors
/// As [`demo`].
pub fn run(args: &DemoArgs, global: &GlobalArgs, stop: &StopFlag) -> Result<()> {
    let config = context::load_config(&args.task, &args.set, Some(args.seed))?;
    let runner = context::runner(&config, global)?;
    // What would stop the comparison is said before anything is learned.
    tuning_seeds(config.learn.epochs, &runner.spec()?)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/demo-{}", config.task.name())));
    let folder = RunFolder::create_or_resume(&out, &context::to_toml(&config)?, args.resume)?;
    let progress = context::stoppable(global, stop)?;
    let around = Surroundings { progress: &*progress, stop, wall_time: &context::wall_time, host: &context::host() };
    let options = DemoOptions {
        config: config.clone(),
        policy_seeds: args.policy_seeds,
        child_seeds: args.child_seeds as usize,
        command: &context::command_line(),
    };
    let result = context::on_threads(global, || demo(folder.path(), &options, &runner, &around))?;
    let sensitivities = sensitivities(&config, &runner, &result.policies[0])?;
    output::write_comparison(folder.path(), &result.comparison, &result.runs, &result.updates, &sensitivities)?;
    let best = best_policy(&result);
    result.policies[best].save(&folder.policy())?;
    write_atomic(&folder.path().join("schedules.svg"), picture(&result).as_bytes())?;
    print(&terminal::text(&result.comparison, args.wide))?;
    print(&format!("policy: {}", folder.policy().display()))?;
    print(&format!("report: {}", folder.report().display()))
}

/// The policy that did best in selection.
fn best_policy(result: &DemoResult) -> usize {
    let loss = |i: &usize| result.policies[*i].provenance().selection_loss.unwrap_or(f64::INFINITY);
    (0..result.policies.len()).min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap_or(0)
}

/// The learned schedule beside the tuned standard ones: geometric mean over the runs of each.
fn picture(result: &DemoResult) -> String {
    let names = ["lrpilot", "constant (tuned)", "cosine (tuned)", "one-cycle (tuned)", "plateau (tuned)"];
    let series: Vec<LrSeries> = names
        .into_iter()
        .map(|name| {
            let runs: Vec<_> = result.runs.iter().filter(|r| r.method == name).collect();
            let length = runs.iter().map(|r| r.curve.len()).min().unwrap_or(0);
            let mean = |i: usize| {
                let log_sum: f64 = runs.iter().map(|r| r.curve[i].lr.max(1e-12).ln()).sum();
                (log_sum / runs.len() as f64).exp()
            };
            let points = (0..length).map(|i| ((i + 1) as f64, mean(i))).collect();
            LrSeries { name: name.trim_end_matches(" (tuned)").into(), points }
        })
        .collect();
    lr_chart(&series)
}
