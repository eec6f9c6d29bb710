//! What the subcommands share: configuration, data folder, threads, progress, clock.

use super::bars::Bars;
use super::schedule_arg::policy_or_name;
use super::{GlobalArgs, ProgressKind, signals};
use crate::agent::LocalPool;
use crate::env::Formulation;
use crate::record::progress::{JsonLines, Progress, Silent};
use crate::run::stop::StopFlag;
use crate::run::{RunConfig, RunContext};
use crate::settings;
use crate::task::{ConfiguredTask, Preset};
use crate::{Error, Result};
use lrpilot_core::Learned;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The configuration named on the command line (a preset or a file), with `--set` and `--seed` laid on it.
///
/// # Errors
/// [`Error::Usage`] for an unknown task, [`Error::Config`] for a wrong key or value, [`Error::Io`].
pub fn load_config(task: &str, set: &[String], seed: Option<u64>) -> Result<RunConfig> {
    let path = Path::new(task);
    let is_file = Preset::from_name(task).is_none() && (path.extension().is_some() || path.exists());
    let mut text = String::new();
    let mut overlay = if is_file {
        text = read_utf8(path)?;
        settings::parse::<toml::Table>(&text, task)?
    } else {
        toml::Table::new()
    };
    set.iter().try_for_each(|s| settings::apply_set(&mut overlay, s, "--set"))?;
    if let Some(seed) = seed {
        let seed = i64::try_from(seed).map_err(|_| {
            Error::usage(format!("seed {seed} is too large"), format!("give at most {}", crate::limits::SEED))
        })?;
        overlay.insert("seed".into(), toml::Value::Integer(seed));
    }
    let config = complete(overlay, (!is_file).then_some(task), task, &text)?;
    config.check()?;
    Ok(config)
}

/// The configuration that the content of a file stands for, or a preset with such content laid on it; not yet checked.
/// `place` and `text` are those of the file, for messages.
///
/// # Errors
/// As [`load_config`].
pub fn complete(overlay: toml::Table, preset: Option<&str>, place: &str, text: &str) -> Result<RunConfig> {
    let formulation = match overlay.get("env").and_then(|e| e.get("formulation")).and_then(toml::Value::as_str) {
        Some("paper") => Formulation::Paper,
        _ => Formulation::Pilot,
    };
    let mut base = to_table(&RunConfig::preset(preset.unwrap_or(Preset::Digits.name()), formulation)?)?;
    if preset.is_none() {
        let named = overlay.get("task").cloned();
        let named = named.ok_or_else(|| {
            Error::config(place, "there is no [task] table", "describe the task, or name a preset on the command line")
        })?;
        base.insert("task".into(), named);
    }
    settings::from_table_and_text(settings::merge(base, overlay), place, text)
}

/// The text of a configuration file.
pub(super) fn read_utf8(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count();
        let message = format!("byte {} is not UTF-8", good + 1);
        Error::config(format!("{}, line {line}", path.display()), message, "save the file as UTF-8")
    })
}

/// A configuration as a TOML table.
fn to_table(config: &RunConfig) -> Result<toml::Table> {
    toml::Table::try_from(config).map_err(|e| Error::Bug(format!("a configuration cannot be written: {e}")))
}

/// The task's name in the text of an effective configuration; empty where there is none.
pub fn task_name(config: &str) -> String {
    let table = config.parse::<toml::Table>().unwrap_or_default();
    let name = table.get("task").and_then(|task| task.get("name")).or_else(|| table.get("task")?.get("kind"));
    name.and_then(toml::Value::as_str).unwrap_or_default().to_owned()
}

/// The data folder: `--data-dir`, else `LRPILOT_DATA`, else `lrpilot` in the user's cache folder.
pub fn data_dir(global: &GlobalArgs) -> PathBuf {
    let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    named_data_dir(global).unwrap_or_else(|| cache().unwrap_or_else(|| PathBuf::from(".")).join("lrpilot"))
}

/// Whether somebody named the data folder, by `--data-dir` or `LRPILOT_DATA`.
pub fn data_dir_is_named(global: &GlobalArgs) -> bool {
    named_data_dir(global).is_some()
}

fn named_data_dir(global: &GlobalArgs) -> Option<PathBuf> {
    global.data_dir.clone().or_else(|| variable("LRPILOT_DATA"))
}

/// An environment variable that names a path, unless it is empty.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Whether a file can be made at `path`, to be asked before the work whose result it is to hold.
///
/// # Errors
/// [`Error::Io`] if it is a folder, or is to be in one that is not there.
pub fn check_target(path: &Path) -> Result<()> {
    let refused = |kind: ErrorKind, text: String| Err(Error::io(path, std::io::Error::new(kind, text)));
    if path.is_dir() {
        return refused(ErrorKind::IsADirectory, "it is a folder; name a file".into());
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => {
            refused(ErrorKind::NotFound, format!("there is no folder {}; make it, or name another", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The task's data, loaded.
///
/// # Errors
/// As [`ConfiguredTask::new`].
pub fn source(config: &RunConfig, global: &GlobalArgs) -> Result<Arc<ConfiguredTask>> {
    Ok(Arc::new(ConfiguredTask::new(&config.task, Some(&data_dir(global)))?))
}

/// What surrounds a run that is done on this machine.
pub fn run_context<'a>(progress: &'a dyn Progress, stop: &'a StopFlag, host: &'a str) -> RunContext<'a> {
    RunContext { progress, stop, executor: &LocalPool, wall_time: &wall_time, host }
}

/// A frozen policy that can see networks with `groups` parameter groups.
///
/// # Errors
/// [`Error::Data`] if the file is no policy or sees another number of layers than the task has.
pub fn load_policy(path: &Path, groups: usize) -> Result<Learned> {
    let policy = Learned::load(path).map_err(|error| policy_or_name(error.into()))?;
    check_groups(path, &policy, groups)?;
    Ok(policy)
}

/// Whether the policy in the file can see networks with `groups` parameter groups.
///
/// # Errors
/// [`Error::Data`].
pub fn check_groups(path: &Path, policy: &Learned, groups: usize) -> Result<()> {
    policy.check_groups(groups).map_err(|e| match Error::from(e) {
        Error::Config { message, remedy, .. } => Error::data(path, message, remedy),
        other => other,
    })
}

/// Call `f` on a pool of `--threads` threads (one per core by default).
///
/// # Errors
/// Those of `f`, or if the threads cannot be started.
pub fn on_threads<R: Send>(global: &GlobalArgs, f: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let threads = global.threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|e| Error::usage(format!("threads cannot be started: {e}"), "give fewer with --threads"))?.install(f)
}

/// The progress that `--progress` asks for, of work that saves and stops at a signal and says so there.
///
/// # Errors
/// [`Error::Io`] if the operating system refuses a handler.
pub fn stoppable(global: &GlobalArgs, stop: &StopFlag) -> Result<Arc<dyn Progress>> {
    let progress = progress(global);
    signals::install(stop, Arc::clone(&progress))?;
    Ok(progress)
}

/// The progress that `--progress` asks for.
pub fn progress(global: &GlobalArgs) -> Arc<dyn Progress> {
    match global.progress {
        // The bar itself stays invisible where standard error is no terminal.
        ProgressKind::Auto | ProgressKind::Bar => Arc::new(Bars::default()),
        ProgressKind::Json => {
            let start = Instant::now();
            Arc::new(JsonLines::new(std::io::stderr(), move || start.elapsed()))
        }
        ProgressKind::Silent => Arc::new(Silent),
    }
}

/// Seconds since 1970.
pub fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Name of this machine.
pub fn host() -> String {
    let read = |file: &str| std::fs::read_to_string(file).ok().map(|name| name.trim().to_owned());
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    files.into_iter().filter_map(read).find(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into())
}

/// Processor and cores, for the provenance of a report.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).map(|l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores, {}", model.unwrap_or(std::env::consts::ARCH), std::env::consts::OS)
}
