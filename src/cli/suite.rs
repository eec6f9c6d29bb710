//! `lrpilot suite list|run`.

use super::schedule_arg::{policy_or_name, pretrained};
use super::share_arg::{self, ShareArgs};
use super::{GlobalArgs, context, error::print, output, run_folder};
use crate::record::progress::Progress;
use crate::record::suite::{LeftOut, Reference, SuiteKind, SuiteResults, TaskRuns};
use crate::report::format::significant;
use crate::report::{suite as text, suite_page};
use crate::run::compare::Share;
use crate::run::stop::StopFlag;
use crate::store::atomic::write_atomic;
use crate::store::files::RunFiles;
use crate::store::identity::sha256_hex;
use crate::store::journal::Store;
use crate::store::run_info::{RunInfo, RunKind};
use crate::suite::{self, Contestant, LoadedTask, Origin, Suite, SuiteOptions, SuiteRun, SuiteTask};
use crate::{Error, Result};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use lrpilot_core::{Hyperparameters, Schedule};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The losses of the standard methods on the sealed suite, computed once.
const REFERENCE: &str = include_str!("../../assets/suite/reference.json");
/// How long a task is trained to tell how long it takes.
const TIMED: Duration = Duration::from_millis(200);

/// What to do with the suite.
#[derive(Clone, Debug, Subcommand)]
pub enum SuiteCommand {
    /// List the tasks, and which of their data are there.
    #[command(after_help = "Example:\n  lrpilot suite list")]
    List(ListArgs),
    /// Measure policies on the tasks.
    #[command(after_help = "Examples:\n  lrpilot suite run policy.safetensors --out runs/suite\n  \
                      lrpilot suite run --baselines --tasks 1,4 --out runs/baselines\n  \
                      lrpilot suite run --baselines --out shares/2 --index 2 --of 8\n\n\
                      Shares split training runs. The tuning of a schedule on a task stays together, its final runs with it.")]
    Run(RunArgs),
}

/// Arguments of `suite list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// A suite of your own (TOML) in the place of the sealed one.
    #[arg(long, value_name = "FILE")]
    pub suite: Option<PathBuf>,
}

/// Arguments of `suite run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Policy files; `pretrained` is the policy that comes with the program.
    #[arg(value_name = "POLICY", required_unless_present = "baselines")]
    pub policy: Vec<PathBuf>,
    /// Folder of the run, made if need be.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Tune and run the standard methods anew instead of taking the numbers that come with the program: many hours.
    #[arg(long)]
    pub baselines: bool,
    /// Run policies with less to see, too: no action, fewer measurements, other tasks' inputs, learning rates replayed.
    #[arg(long)]
    pub controls: bool,
    /// Numbers of tasks [default: all].
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_negative_numbers = true, value_parser = task_number)]
    pub tasks: Vec<usize>,
    /// Training runs of each method on each task, paired by seed.
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true, value_parser = super::whole::<u64>(1..=1_000))]
    pub seeds: u64,
    /// A suite of your own (TOML) in the place of the sealed one.
    #[arg(long, value_name = "FILE")]
    pub suite: Option<PathBuf>,
    /// The reference.json of an earlier run with --baselines [default: the one that comes with the program].
    #[arg(long, value_name = "FILE", conflicts_with = "baselines")]
    pub reference: Option<PathBuf>,
    /// Which part of the work, where several processes share it.
    #[command(flatten)]
    pub share: ShareArgs,
    /// Go on with the run in the folder.
    #[arg(long)]
    pub resume: bool,
}

/// The number of a task.
fn task_number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not the number of a task; give numbers of `lrpilot suite list`, such as 1,4".to_owned())
}

/// Do it.
///
/// # Errors
/// As [`suite::run`]; [`Error::Usage`] where no task's data are there.
pub fn run(command: &SuiteCommand, global: &GlobalArgs, stop: &StopFlag) -> Result<()> {
    match command {
        SuiteCommand::List(args) => list(args, global),
        SuiteCommand::Run(args) => run_suite(args, global, stop),
    }
}

fn read_suite(file: Option<&Path>) -> Result<Suite> {
    let Some(path) = file else { return Suite::sealed() };
    Suite::parse(&context::read_utf8(path)?, &path.display().to_string())
}

/// The tasks whose data are there, and the others with the reason.
fn load(suite: &Suite, global: &GlobalArgs) -> Result<(Vec<LoadedTask>, Vec<LeftOut>)> {
    let root = context::data_dir(global);
    let (mut loaded, mut left_out) = (Vec::new(), Vec::new());
    for task in &suite.tasks {
        let number = task.number;
        match LoadedTask::new(task, &root) {
            Ok(task) => loaded.push(task),
            Err(error) if is_missing(&error) => {
                let reason = reason(suite, task, error, global);
                left_out.push(LeftOut { number, name: task.task.name().to_owned(), reason });
            }
            Err(Error::Config { place, message, remedy }) => {
                return Err(Error::config(format!("task {number}, {place}"), message, remedy));
            }
            Err(other) => return Err(other),
        }
    }
    Ok((loaded, left_out))
}

/// What is missing and how to get it.
fn reason(suite: &Suite, task: &SuiteTask, error: Error, global: &GlobalArgs) -> String {
    let is_table = task.task.supervised().is_some_and(|c| c.csv.is_some());
    match (error, &suite.tables) {
        (Error::Data { path, message, .. }, Some(tables)) if is_table => Error::data(path, message, tables).to_string(),
        (error, _) => super::error::with_commands(error, global).to_string(),
    }
}

/// Whether an error says that a file is not there.
fn is_missing(error: &Error) -> bool {
    match error {
        Error::Data { path, .. } => !path.exists(),
        Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn list(args: &ListArgs, global: &GlobalArgs) -> Result<()> {
    let suite = read_suite(args.suite.as_deref())?;
    let (loaded, left_out) = load(&suite, global)?;
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["#", "task", "steps", "batch", "weights", "regime", "unseen"]);
    for task in &suite.tasks {
        let spec = loaded.iter().find(|l| l.task.number == task.number).map(LoadedTask::spec);
        table.add_row([
            task.number.to_string(),
            task.task.name().to_owned(),
            task.steps().to_string(),
            spec.map_or("no data".into(), |s| s.batch_size.to_string()),
            spec.map_or("-".into(), |s| s.parameters().to_string()),
            task.regime.clone(),
            task.unseen.join(", "),
        ]);
    }
    print(&table.trim_fmt())?;
    for left in &left_out {
        print(&format!("task {} has no data: {}", left.number, left.reason))?;
    }
    Ok(())
}

fn run_suite(args: &RunArgs, global: &GlobalArgs, stop: &StopFlag) -> Result<()> {
    let share = args.share.share()?;
    let mut suite = read_suite(args.suite.as_deref())?;
    if !args.tasks.is_empty() {
        suite = suite.only(&args.tasks)?;
    }
    let reference: Option<Reference> = if args.baselines { None } else { Some(read_reference(args)?) };
    let contestants = contestants(&args.policy)?;
    let (mut tasks, mut left_out) = load(&suite, global)?;
    if let Some(left) = left_out.first().filter(|_| share.is_some()) {
        let message =
            format!("a share needs the data of every task, and task {} has none: {}", left.number, left.reason);
        return Err(Error::usage(message, "choose tasks with --tasks, the same in all shares"));
    }
    let without_data = left_out.clone();
    if let Some(reference) = reference.as_ref().filter(|_| args.tasks.is_empty()) {
        left_out.extend(leave_out_unknown(&mut tasks, reference));
    }
    if tasks.is_empty() {
        let reason = left_out.first().map_or("the suite has no tasks".to_owned(), |left| left.reason.clone());
        return Err(Error::usage(
            format!("no task's data are there: {reason}"),
            "fetch the data, or choose other tasks",
        ));
    }
    check_groups(&args.policy, &contestants, &tasks)?;
    let options = SuiteOptions {
        seed: suite.seed,
        seeds: args.seeds as usize,
        policies: &contestants,
        controls: args.controls,
        reference: reference.as_ref(),
    };
    // What would stop the run is said before a folder is made.
    suite::check(&tasks, &options)?;
    // Where tables come from decides nothing.
    let config = toml::to_string(&Suite { tables: None, ..suite.clone() })
        .map_err(|e| Error::Bug(format!("a suite cannot be written: {e}")))?;
    let info = share_arg::note(describe(&suite, args, &contestants), share);
    let told = run_folder::work_in(&args.out, info, &config, args.resume, |files, info| {
        let store = Store::open(&files.results())?;
        check_data(&store, &without_data, &args.out)?;
        let progress = context::stoppable(global, stop)?;
        for left in &left_out {
            progress.message(&format!("task {} is left out: {}", left.number, left.reason));
        }
        by_cost(&mut tasks, args, share, &*progress)?;
        let host = context::host();
        let around = context::run_context(&*progress, stop, &host);
        if let Some(share) = share {
            let trainings = context::on_threads(global, || suite::run_share(&tasks, &options, share, store, around))?;
            return Ok(format!("share {} of {}: {trainings} trainings", share.index(), share.of()));
        }
        let say = |task: &TaskRuns| progress.message(&format!("task {} ({}) is done", task.number, task.name));
        let runs = context::on_threads(global, || suite::run(&tasks, &options, Some(store), around, &say))?;
        let results = write_numbers(files, info, (&suite, &options), &runs, left_out)?;
        let text = text::text(&results);
        let (numbers, report) = (files.suite(), files.report());
        Ok(format!("{}\nnumbers: {}\nreport: {}", text.trim_end(), numbers.display(), report.display()))
    })?;
    print(&told)
}

/// What a folder says about the run, apart from its configuration.
fn describe(suite: &Suite, args: &RunArgs, contestants: &[Contestant]) -> RunInfo {
    let hashes: Vec<&str> = contestants.iter().map(|c| c.sha256.as_str()).collect();
    run_folder::describe(RunKind::Suite, format!("The suite “{}”", suite.name))
        .with_option("policies (sha256)", hashes.join(", "))
        .with_option("baselines", args.baselines)
        .with_option("controls", args.controls)
        .with_option("seeds", args.seeds)
}

/// Whether nothing was trained already on tasks whose data are not there now: it would go missing in the numbers.
fn check_data(store: &Store<SuiteRun>, left_out: &[LeftOut], out: &Path) -> Result<()> {
    let done = store.read_all()?;
    let Some(left) = left_out.iter().find(|left| done.iter().any(|run| run.task == left.number)) else { return Ok(()) };
    let (shown, LeftOut { number, name, reason }) = (out.display(), left);
    let message = format!("{shown} holds trainings on task {number} ({name}), whose data are not there: {reason}");
    Err(Error::usage(message, "go on where all the data are"))
}

/// Write what follows from the runs of all tasks: the reference, if it was computed, the numbers and the report.
fn write_numbers(
    files: &RunFiles,
    info: &RunInfo,
    (suite, options): (&Suite, &SuiteOptions<'_>),
    runs: &[TaskRuns],
    left_out: Vec<LeftOut>,
) -> Result<SuiteResults> {
    if options.reference.is_none() {
        write_atomic(&files.reference(), reference_text(&reference_of(runs, info))?.as_bytes())?;
    }
    let told = |r: &Reference| format!("{} ({}, {})", r.command, r.date, r.machine);
    let reference = options.reference.map_or(String::new(), told);
    let SuiteOptions { seed, seeds, .. } = *options;
    let origin = Origin { suite: &suite.name, seeds, seed, command: &info.command, reference: &reference };
    let results = suite::results(runs, options.policies, left_out, &origin)?;
    write_json(&files.suite(), &results)?;
    write_report(files, info, &results)?;
    Ok(results)
}

/// Write the report of a run of the suite from its numbers.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write_report(files: &RunFiles, info: &RunInfo, results: &SuiteResults) -> Result<()> {
    write_atomic(&files.report(), suite_page::render(results, &output::origin(info))?.as_bytes())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value).map_err(|e| Error::Bug(format!("{}: {e}", path.display())))?;
    write_atomic(path, format!("{json}\n").as_bytes())
}

/// A reference as JSON with a line for each task.
fn reference_text(reference: &Reference) -> Result<String> {
    let Reference { command, version, machine, date, tasks } = reference;
    let head = [("command", command), ("version", version), ("machine", machine), ("date", date)];
    let head: Vec<String> = head.iter().map(|(key, text)| format!("\"{key}\": {}", serde_json::json!(text))).collect();
    let lines = tasks.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let lines = lines.map_err(|e| Error::Bug(format!("the reference cannot be written: {e}")))?;
    Ok(format!("{{{},\n\"tasks\": [\n{}\n]}}\n", head.join(",\n"), lines.join(",\n")))
}

fn read_reference(args: &RunArgs) -> Result<Reference> {
    let (text, path) = match &args.reference {
        Some(path) => (std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?, path.as_path()),
        None => (REFERENCE.to_owned(), Path::new("assets/suite/reference.json")),
    };
    let remedy = "name the reference.json of a run with --baselines";
    serde_json::from_str(&text).map_err(|e| Error::data(path, format!("not a reference ({e})"), remedy))
}

/// What later runs need not compute again: the standard methods alone.
fn reference_of(runs: &[TaskRuns], info: &RunInfo) -> Reference {
    let mut tasks = runs.to_vec();
    for task in &mut tasks {
        task.methods.retain(|m| matches!(m.kind, SuiteKind::Tuned | SuiteKind::Default | SuiteKind::Free));
    }
    let RunInfo { command, version, machine, .. } = info.clone();
    Reference { command, version, machine, date: today(), tasks }
}

/// Today's date in UTC, as 2026-01-31.
fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() / 86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

/// Take away the tasks that the reference does not know, unless it knows none: then it is the wrong one, which is said later.
fn leave_out_unknown(tasks: &mut Vec<LoadedTask>, reference: &Reference) -> Vec<LeftOut> {
    let knows = |task: &LoadedTask| reference.tasks.iter().any(|known| known.identity == task.identity());
    if !tasks.iter().any(knows) {
        return Vec::new();
    }
    let left = |task: &LoadedTask| LeftOut {
        number: task.task.number,
        name: task.spec().name.clone(),
        reason: "the reference has no losses of the standard methods on it; compute the baselines, too".into(),
    };
    let left_out = tasks.iter().filter(|task| !knows(task)).map(left).collect();
    tasks.retain(knows);
    left_out
}

/// The policies in the files.
fn contestants(paths: &[PathBuf]) -> Result<Vec<Contestant>> {
    let mut contestants: Vec<Contestant> = Vec::new();
    for path in paths {
        let (schedule, sha256) = contestant(path)?;
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let taken = contestants.iter().filter(|c| c.name == stem || c.name.starts_with(&format!("{stem} ("))).count();
        let name = if taken == 0 { stem } else { format!("{stem} ({})", taken + 1) };
        contestants.push(Contestant { name, sha256, schedule });
    }
    Ok(contestants)
}

/// The policy in a file, or one that comes with lrpilot, with the sha256 of its file.
fn contestant(path: &Path) -> Result<(Schedule, String)> {
    let schedule = match path.to_str().and_then(pretrained) {
        Some(name) => Schedule::pretrained(name)?,
        None => Schedule::load(path).map_err(|error| policy_or_name(error.into()))?,
    };
    let bytes = match &schedule {
        Schedule::Learned { policy, .. } => policy.to_bytes()?,
        Schedule::Generalist { policy, .. } => policy.to_bytes()?,
        _ => return Err(Error::Bug(format!("{} is no policy", path.display()))),
    };
    Ok((schedule, sha256_hex(&bytes)))
}

/// Whether each policy, read from the file at its place, can see every task.
fn check_groups(paths: &[PathBuf], contestants: &[Contestant], tasks: &[LoadedTask]) -> Result<()> {
    for (path, contestant) in paths.iter().zip(contestants) {
        if let Schedule::Learned { policy, .. } = &contestant.schedule {
            tasks.iter().try_for_each(|task| context::check_groups(path, policy, task.spec().groups.len()))?;
        }
    }
    Ok(())
}

/// Put cheap tasks first, and say how long everything will take. Results do not depend on the order.
fn by_cost(tasks: &mut [LoadedTask], args: &RunArgs, share: Option<Share>, progress: &dyn Progress) -> Result<()> {
    let mut costs = Vec::new();
    progress.start(tasks.len() as u64, "timing");
    for task in tasks.iter() {
        let seconds = seconds_of_training(task)?;
        progress.message(&format!(
            "task {} ({}): {} s a training of {} steps",
            task.task.number,
            task.spec().name,
            significant(seconds),
            task.spec().steps()
        ));
        costs.push((task.task.number, seconds));
    }
    let cost = |number: usize| costs.iter().find(|(n, _)| *n == number).map_or(0.0, |(_, seconds)| *seconds);
    tasks.sort_by(|a, b| cost(a.task.number).total_cmp(&cost(b.task.number)));
    let trainings = suite::trainings(args.policy.len(), args.seeds as usize, args.baselines, args.controls);
    let hours = costs.iter().map(|(_, seconds)| seconds).sum::<f64>() * trainings as f64 / 3600.0;
    let part = share.map_or(String::new(), |s| format!("; share {} does one part of {}", s.index(), s.of()));
    progress.message(&format!(
        "{} tasks, at most {trainings} trainings of each: at most {hours:.1} hours of one core{part}",
        tasks.len()
    ));
    Ok(())
}

/// Seconds that one training takes, from its first steps at a rate that changes little.
fn seconds_of_training(task: &LoadedTask) -> Result<f64> {
    let mut training = task.start(None)?;
    training.reset(0)?;
    let (start, steps, lr) = (Instant::now(), task.spec().steps(), task.spec().lr_bounds.0);
    let (mut done, mut length) = (0, 1);
    while done < steps && start.elapsed() < TIMED {
        let length_now = length.min(steps - done);
        training.advance_steps(length_now, &|_| lr, &Hyperparameters::lr(lr))?;
        done += length_now;
        length *= 2;
    }
    Ok(start.elapsed().as_secs_f64() * steps as f64 / done.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date -u -d @SECONDS +%F`, seconds = days · 86,400.
    #[test]
    fn days_are_dates() {
        for (days, date) in [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_783, (2026, 11, 26))] {
            assert_eq!(civil(days), date);
        }
    }
}
