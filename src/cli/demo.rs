//! `lrpilot demo`: learn a schedule, freeze it, compare it.

use super::command::CommandLine;
use super::{GlobalArgs, context, error::print, output, run_folder};
use crate::report::svg::{LrSeries, lr_chart};
use crate::report::terminal;
use crate::run::demo::{DemoOptions, DemoResult, check, demo};
use crate::run::stop::StopFlag;
use crate::store::atomic::write_atomic;
use crate::store::files::RunFiles;
use crate::store::run_info::RunKind;
use crate::task::TaskSource;
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// Seed of everything random; the policies use this one and the following [default: the configuration's].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::seed)]
    pub seed: Option<u64>,
    /// Policies of each formulation.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub policy_seeds: u64,
    /// Training runs per method and policy, paired by seed.
    #[arg(long, alias = "child-seeds", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub evaluation_seeds: u64,
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
    let config = context::load_config(&args.task, &args.set, args.seed)?;
    super::check_last_seed(config.seed, args.policy_seeds)?;
    let source: Arc<dyn TaskSource> = context::source(&config, global)?;
    let out =
        args.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/demo-{}", folder_name(config.task.name()))));
    let info = run_folder::describe(RunKind::Demo, run_folder::title(config.task.name()))
        .with_option("policy-seeds", args.policy_seeds)
        .with_option("evaluation-seeds", args.evaluation_seeds);
    let command = info.command.clone();
    let options = DemoOptions {
        config: config.clone(),
        policy_seeds: args.policy_seeds,
        evaluation_seeds: args.evaluation_seeds as usize,
        command: &command,
    };
    // What would stop the work later is said before a folder is made.
    check(&options, &source).map_err(|e| name_the_way(e, args, global))?;
    let result = run_folder::work_in(&out, info, &config.to_toml()?, args.resume, |files, info| {
        let progress = context::stoppable(global, stop)?;
        let host = context::host();
        let around = context::run_context(&*progress, stop, &host);
        let result = context::on_threads(global, || demo(files, &options, &source, &around))?;
        output::write_comparison(files, &result.comparison)?;
        output::write_insight(files, &config, &source, &result.policies[0])?;
        result.policies[best_policy(&result)].save(&files.policy())?;
        write_atomic(&files.schedules(), picture(&result).as_bytes())?;
        output::write_report(files, info)?;
        Ok(result)
    })?;
    let files = RunFiles::new(out);
    print(&terminal::text(&result.comparison, args.wide))?;
    print(&format!("policy: {}", files.policy().display()))?;
    print(&format!("report: {}", files.report().display()))
}

/// The refusal of the paper's formulation with the command that learns it by itself.
fn name_the_way(error: Error, args: &DemoArgs, global: &GlobalArgs) -> Error {
    match error {
        Error::Config { place, message, .. } if place == "env.formulation" => {
            let learn = CommandLine::new("learn")
                .argument(&args.task)
                .option("--out", "runs/paper-formulation")
                .options("--seed", args.seed.map(|seed| seed.to_string()))
                .options("--set", &args.set)
                .shared(global);
            let remedy = format!("learn it by itself, then compare it as that command says at its end: {learn}");
            Error::Config { place, message, remedy }
        }
        other => other,
    }
}

/// A task's name, which may be any text, as part of the name of a folder: letters, digits and `-_. ` stay, everything
/// else becomes `_`, and so does a point at the beginning.
fn folder_name(task: &str) -> String {
    const LONGEST: usize = 100;
    let kept = |(i, c): (usize, char)| {
        let plain = c.is_alphanumeric() || "-_ ".contains(c) || (c == '.' && i > 0);
        if plain { c } else { '_' }
    };
    task.chars().take(LONGEST).enumerate().map(kept).collect()
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

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn a_name_leads_out_of_no_folder() {
        assert_eq!(folder_name("digits-clean 1.5"), "digits-clean 1.5");
        assert_eq!(folder_name("../../evil"), "_._.._evil");
        assert_eq!(folder_name("/etc/passwd\0"), "_etc_passwd_");
        assert_eq!(folder_name(&"x".repeat(1000)).len(), 100);
    }
}
