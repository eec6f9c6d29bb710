//! The command line: one file per subcommand, each with its arguments and a `run` function.

pub mod bars;
pub mod command;
pub mod compare;
pub mod completions;
pub mod config;
pub mod context;
pub mod data;
pub mod demo;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod fetch;
pub mod generalist;
pub mod learn;
pub mod output;
pub mod paper;
pub mod report;
pub mod run_folder;
pub mod runs;
pub mod schedule;
pub mod schedule_arg;
pub mod share_arg;
pub mod signals;
pub mod suite;
pub mod sweep;
pub mod tasks;
pub mod tasks_sample;
pub mod text;

use crate::run::stop::StopFlag;
use crate::{Error, Result, limits};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// Learning-rate schedules learned by reinforcement learning.
#[derive(Debug, Parser)]
#[command(
    name = "lrpilot",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Options of every subcommand.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every subcommand.
#[derive(Clone, Debug, Args)]
pub struct GlobalArgs {
    /// How to show progress.
    #[arg(long, global = true, value_enum, default_value_t = ProgressKind::Auto, value_name = "KIND")]
    pub progress: ProgressKind,
    /// Threads for training runs; the results do not depend on it [default: one per core].
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub threads: Option<u16>,
    /// Folder with the data sets [default: LRPILOT_DATA, else lrpilot in the user's cache folder].
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    /// Bars on a terminal, else nothing.
    #[default]
    Auto,
    /// Bars on standard error.
    Bar,
    /// One JSON object a line on standard error.
    Json,
    /// Nothing.
    Silent,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Learn a schedule, freeze it, compare it with equally expensive tuning.
    Demo(demo::DemoArgs),
    /// Train a policy with PPO; resumable.
    Learn(learn::LearnArgs),
    /// Compare a frozen policy with equally expensive tuning of the usual schedules.
    Compare(compare::CompareArgs),
    /// Train networks under one schedule and print how they end.
    Evaluate(evaluate::EvaluateArgs),
    /// Train networks under a policy and say what moved its decisions.
    Explain(explain::ExplainArgs),
    /// Look at a schedule, write what a policy did as numbers or code, train under numbers.
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Measure policies on tasks that they never saw, beside tuned and untuned schedules.
    #[command(subcommand)]
    Suite(suite::SuiteCommand),
    /// Run the experiments of the paper and set our numbers beside theirs.
    Paper(paper::PaperArgs),
    /// Write the report of a run folder anew.
    Report(report::ReportArgs),
    /// Print a configuration with defaults, ranges and purposes; explain a key.
    Config(config::ConfigArgs),
    /// List tasks, models, layers, optimizers, schedules and data sets.
    Tasks(tasks::TasksArgs),
    /// List, check or download data sets.
    Data(data::DataArgs),
    /// List run folders and what has become of them, go on with one, put shares together.
    Runs(runs::RunsArgs),
    /// Write the job of a cluster that splits a comparison or a run of the suite over several machines.
    #[command(subcommand)]
    Sweep(sweep::SweepCommand),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
}

/// Do what the command line says.
///
/// # Errors
/// Those of the subcommand.
pub fn run(cli: Cli, stop: &StopFlag) -> Result<()> {
    let Cli { global, command } = cli;
    let done = match command {
        Command::Demo(args) => demo::run(&args, &global, stop),
        Command::Learn(args) => learn::run(&args, &global, stop),
        Command::Compare(args) => compare::run(&args, &global, stop),
        Command::Evaluate(args) => evaluate::run(&args, &global),
        Command::Explain(args) => explain::run(&args, &global),
        Command::Schedule(command) => schedule::run(&command, &global),
        Command::Suite(command) => suite::run(&command, &global, stop),
        Command::Paper(args) => paper::run(&args, &global, stop),
        Command::Report(args) => report::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Tasks(args) => tasks::run(&args, &global),
        Command::Data(args) => data::run(&args, &global),
        Command::Runs(args) => runs::run(&args, &global),
        Command::Sweep(command) => sweep::run(&command),
        Command::Completions(args) => completions::run(&args),
    };
    done.map_err(|e| error::with_commands(e, &global))
}

/// Seeds on the command line: `3`, `1,2,7`, or `0..5` for 0, 1, 2, 3, 4.
///
/// ```
/// use lrpilot::cli::SeedList;
/// assert_eq!("0..3".parse::<SeedList>().unwrap().0, [0, 1, 2]);
/// assert_eq!("1,2,7".parse::<SeedList>().unwrap().0, [1, 2, 7]);
/// assert!("3..3".parse::<SeedList>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedList(pub Vec<u64>);

/// Most seeds that a list may have; a typing error should not fill the memory.
const MAX_SEEDS: u64 = 100_000;

impl FromStr for SeedList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |part: &str| part.trim().parse::<u64>().map_err(|_| format!("`{part}` is no seed; give 3, 1,2,7 or 0..5"));
        let Some((first, end)) = text.split_once("..") else {
            return Ok(SeedList(text.split(',').map(number).collect::<Result<_, _>>()?));
        };
        let (first, end) = (number(first)?, number(end)?);
        match end.checked_sub(first) {
            Some(1..=MAX_SEEDS) => Ok(SeedList((first..end).collect())),
            _ => Err(format!("{text} holds no seeds or more than {MAX_SEEDS}; the end is not included")),
        }
    }
}

/// A seed: a whole number that a configuration file can hold.
fn seed(text: &str) -> Result<u64, String> {
    let most = limits::SEED;
    match text.parse::<u64>() {
        Ok(seed) if seed <= most => Ok(seed),
        _ => Err(format!("not a whole number from 0 to {most}; give at most {most}")),
    }
}

/// Whether the last of `count` seeds from `first` on is one, too.
///
/// # Errors
/// [`Error::Usage`] naming the largest first seed.
fn check_last_seed(first: u64, count: u64) -> Result<()> {
    let most = limits::SEED - count.saturating_sub(1);
    if first <= most {
        return Ok(());
    }
    Err(Error::usage(
        format!("seed {first}: {count} seeds from there on are not all allowed"),
        format!("give at most {most}"),
    ))
}

/// A number of threads.
fn threads(text: &str) -> Result<u16, String> {
    let most = limits::THREADS;
    match text.parse::<u16>() {
        Ok(threads) if (1..=most).contains(&threads) => Ok(threads),
        _ => Err(format!("not a whole number from 1 to {most}; give at least 1 and at most {most}")),
    }
}

/// A reader of whole numbers within a range.
fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| match text.parse::<T>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("give a whole number from {} to {}", range.start(), range.end())),
    }
}

/// A learning rate: a finite number above 0.
fn positive_lr(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(lr) if lr.is_finite() && lr > 0.0 => Ok(lr),
        _ => Err("not a number above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Wrapper<A: Args> {
        #[command(flatten)]
        args: A,
    }

    fn parse<A: Args>(line: &str) -> Result<A, clap::Error> {
        Wrapper::try_parse_from(std::iter::once("x").chain(line.split(' '))).map(|wrapper| wrapper.args)
    }

    #[test]
    fn definitions_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        Wrapper::<demo::DemoArgs>::command().debug_assert();
        Wrapper::<report::ReportArgs>::command().debug_assert();
    }

    #[test]
    fn arguments_arrive() {
        let learn: learn::LearnArgs = parse("digits --out runs/a --seed 3 --set a.b=1 --set c=2 --resume").unwrap();
        assert_eq!((learn.task.as_str(), learn.seed, learn.resume), ("digits", Some(3), true));
        assert_eq!(learn.set, ["a.b=1", "c=2"]);
        let compare: compare::CompareArgs = parse("p.st q.st --task t --out o --evaluation-seeds 5").unwrap();
        assert_eq!((compare.policy.len(), compare.evaluation_seeds), (2, 5));
        let evaluate: evaluate::EvaluateArgs = parse("t --schedule cosine --lr 0.5").unwrap();
        assert_eq!((evaluate.lr, evaluate.seeds), (Some(0.5), SeedList(vec![0])));
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let lines = ["--lr 0", "--lr nan", "--lr -0.1", "--lr inf", "--seeds 0..99999999999", "--seeds -1"];
        for line in lines.map(|l| format!("t --schedule s {l}")) {
            let error = parse::<evaluate::EvaluateArgs>(&line).unwrap_err().to_string();
            assert!(!error.contains("unexpected argument"), "{line}: {error}");
        }
        for seed in ["9223372036854775808", "18446744073709551616", "-1", "1.5"] {
            let error = parse::<learn::LearnArgs>(&format!("t --out o --seed {seed}")).unwrap_err().to_string();
            assert!(error.contains(seed) && error.contains("at most 9223372036854775807"), "{error}");
        }
        assert!(parse::<learn::LearnArgs>("t --out o --seed 9223372036854775807").is_ok());
        assert!(check_last_seed(limits::SEED - 2, 3).is_ok() && check_last_seed(limits::SEED - 1, 3).is_err());
        assert!(parse::<compare::CompareArgs>("p --task t --out o --evaluation-seeds 0").is_err());
    }
}
