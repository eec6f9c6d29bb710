//! `lrpilot schedule preview`: a schedule drawn in the terminal.

use super::formats;
use super::realised::{Realised, losses, task};
use crate::cli::schedule_arg::{ForRun, schedule};
use crate::cli::{GlobalArgs, SeedList, context, error::print};
use crate::report::format::learning_rate;
use crate::report::svg::{LrSeries, lr_chart};
use crate::report::terminal_chart::terminal_chart;
use crate::store::atomic::write_atomic;
use crate::task::TaskSource as _;
use crate::{Error, Result};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use lrpilot_core::Schedule;
use std::path::PathBuf;

/// Learning rate of a preview without a task.
const LR: f64 = 0.1;
/// Intervals of a preview without a task.
const INTERVALS: usize = 50;

/// Arguments of `schedule preview`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  lrpilot schedule preview one-cycle --lr 0.1 --intervals 30\n  \
                        lrpilot schedule preview \"{ type = 'step', step_size = 10 }\" --svg step.svg\n  \
                        lrpilot schedule preview policy.safetensors --task digits --seeds 0..5")]
pub struct PreviewArgs {
    /// Name of a schedule, a table, or a file: a policy, a table (.toml) or numbers (.csv, .json, .txt).
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// Initial learning rate [default: 0.1, with a task that of the task].
    #[arg(long, value_name = "LR", allow_negative_numbers = true, value_parser = crate::cli::positive_lr)]
    pub lr: Option<f64>,
    /// Number of intervals [default: 50; as many as there are numbers].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = crate::cli::whole::<u64>(1..=1_000_000), conflicts_with = "task")]
    pub intervals: Option<u64>,
    /// Losses that a metric-driven schedule sees, one for each interval [default: a loss that does not change].
    #[arg(long, value_name = "FILE", conflicts_with = "task")]
    pub metric: Option<PathBuf>,
    /// Train on this task (a name or a TOML file), for a policy or a metric-driven schedule to react to.
    #[arg(long, value_name = "TASK|FILE")]
    pub task: Option<String>,
    /// Seeds of the training runs, e.g. 0..5 or 1,2,7.
    #[arg(long, value_name = "LIST", default_value = "0..3", allow_hyphen_values = true, requires = "task")]
    pub seeds: SeedList,
    /// Change a value of the task's configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", requires = "task")]
    pub set: Vec<String>,
    /// Write the numbers as CSV.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the numbers as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the chart as an SVG.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Print the chart and its extremes, and write what was asked for.
///
/// # Errors
/// [`Error::Usage`] for a policy without a task; those of the schedule, of the task and of the files.
pub fn run(args: &PreviewArgs, global: &GlobalArgs) -> Result<()> {
    for file in [&args.csv, &args.json, &args.svg].into_iter().flatten() {
        context::check_target(file)?;
    }
    let (realised, note) = realised(args, global)?;
    let (lrs, range) = (realised.median(), realised.range());
    print(&terminal_chart(&lrs, &range))?;
    print(&extremes(&lrs))?;
    if !range.is_empty() {
        print(&format!("The line is the median over {} runs, the shade their range.", realised.runs().len()))?;
    }
    let zeros = lrs.iter().filter(|lr| **lr == 0.0).count();
    if zeros > 0 {
        print(&format!("Intervals with a learning rate of 0, which a log axis does not have: {zeros}."))?;
    }
    for text in note.into_iter().chain(realised.diverged_note()) {
        print(&text)?;
    }
    write(args, &lrs, &range)
}

/// The learning rates, and what was assumed to have them.
fn realised(args: &PreviewArgs, global: &GlobalArgs) -> Result<(Realised, Option<String>)> {
    if let Some(name) = &args.task {
        let source = task(name, &args.set, global)?;
        let schedule = schedule(&args.schedule, "SCHEDULE", args.lr, ForRun::task(source.spec()))?;
        return Ok((Realised::on_task(&source, &schedule, &args.seeds, global)?, None));
    }
    let losses = args.metric.as_deref().map(losses).transpose()?;
    let intervals = args.intervals.map(|n| n as usize).or(losses.as_ref().map(Vec::len));
    let horizon = intervals.unwrap_or(INTERVALS);
    let run = ForRun { default_lr: LR, horizon, groups: None };
    let schedule = schedule(&args.schedule, "SCHEDULE", args.lr, run)?;
    let metric_driven = matches!(schedule, Schedule::Metric { .. });
    match &schedule {
        Schedule::Learned { .. } | Schedule::Generalist { .. } => {
            let message = format!("{} is a policy, which needs a run to react to", args.schedule);
            return Err(Error::usage(message, "name a task to train with --task, e.g. --task digits"));
        }
        _ if losses.is_some() && !metric_driven => {
            let message = format!("`{}` does not look at losses", args.schedule);
            return Err(Error::usage(message, "leave --metric out, or preview plateau or greedy"));
        }
        _ => {}
    }
    let horizon = match &schedule {
        Schedule::Replay { lrs } => intervals.unwrap_or(lrs.len()),
        _ => horizon,
    };
    let note = (metric_driven && losses.is_none())
        .then(|| "The loss is taken to be the same in each interval; give losses with --metric FILE.".to_owned());
    let flat = vec![1.0];
    Ok((Realised::without_network(&schedule, horizon, losses.as_ref().unwrap_or(&flat))?, note))
}

/// The first, the largest and the last learning rate as a table of one row.
fn extremes(lrs: &[f64]) -> String {
    let largest = (0..lrs.len()).rev().max_by(|a, b| lrs[*a].total_cmp(&lrs[*b])).unwrap_or(0);
    let at = |i: usize| lrs.get(i).copied().map_or("—".into(), learning_rate);
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["intervals", "first LR", "largest LR", "in interval", "last LR"]);
    let last = lrs.len().saturating_sub(1);
    table.add_row([lrs.len().to_string(), at(0), at(largest), (largest + 1).to_string(), at(last)]);
    table.trim_fmt()
}

fn write(args: &PreviewArgs, lrs: &[f64], range: &[(f64, f64)]) -> Result<()> {
    if let Some(path) = &args.csv {
        write_atomic(path, formats::csv(lrs, range).as_bytes())?;
    }
    if let Some(path) = &args.json {
        let ends = |end: fn(&(f64, f64)) -> f64| range.iter().map(end).collect::<Vec<_>>();
        let json = serde_json::json!({
            "lrs": lrs,
            "lowest": ends(|r| r.0),
            "highest": ends(|r| r.1),
            "task": args.task,
            "command": formats::command(),
        });
        write_atomic(path, formats::pretty(&json).as_bytes())?;
    }
    if let Some(path) = &args.svg {
        let points = |lrs: &mut dyn Iterator<Item = f64>| lrs.enumerate().map(|(i, lr)| ((i + 1) as f64, lr)).collect();
        let name = std::path::Path::new(&args.schedule).file_stem().and_then(|s| s.to_str());
        let short = |name: &&str| name.chars().count() <= 20;
        let name = name.filter(short).unwrap_or("schedule").to_owned();
        let mut series = vec![LrSeries { name, points: points(&mut lrs.iter().copied()) }];
        // Curves without a name are thin: the ends of the range over the seeds.
        for end in [|r: &(f64, f64)| r.0, |r: &(f64, f64)| r.1] {
            series.push(LrSeries { name: String::new(), points: points(&mut range.iter().map(end)) });
        }
        write_atomic(path, lr_chart(&series).as_bytes())?;
    }
    Ok(())
}
