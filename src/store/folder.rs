//! The run folder: whose it is, and what state it is in.

use super::files::{CONFIG_FILE, INFO_FILE, POLICY_FOLDERS, RunFiles};
use super::lock::{LOCK_FILE, Process, RunLock};
use super::run_info::{RunInfo, RunKind, RunState};
use crate::store::atomic::{temporary_path, write_atomic};
use crate::{Error, Result};
use std::fs;
use std::path::Path;

/// A run that wants a folder.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// What `run.json` shall say.
    pub info: RunInfo,
    /// The effective configuration (TOML).
    pub config: &'a str,
    /// Go on with the run in the folder.
    pub resume: bool,
    /// Who will hold the folder's lock.
    pub process: &'a Process,
}

/// A run folder that is ours to write, locked until drop.
///
/// ```
/// use lrpilot::store::folder::{RunFolder, Start};
/// use lrpilot::store::lock::Process;
/// use lrpilot::store::run_info::{RunInfo, RunKind};
/// let dir = tempfile::tempdir().unwrap();
/// let out = dir.path().join("digits");
/// let process = Process { id: 4711, host: "node3".into() };
/// let info = RunInfo::new(RunKind::Learn);
/// let start = Start { info, config: "seed = 1\n", resume: false, process: &process };
/// drop(RunFolder::create_or_resume(&out, start.clone())?);
/// assert!(RunFolder::create_or_resume(&out, start.clone()).is_err());
/// assert!(RunFolder::create_or_resume(&out, Start { resume: true, ..start })?.is_resumed());
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    files: RunFiles,
    info: RunInfo,
    resumed: bool,
    _lock: RunLock,
}

impl RunFolder {
    /// Make `dir` the folder of a new run, or go on with the run in it, and note that it is running.
    ///
    /// # Errors
    /// [`Error::Usage`], with nothing written or changed: the folder holds a run and `resume` is false, the run to
    /// resume is of another kind or has other options, the folder holds other files, there is nothing to resume, or
    /// another process is at work in it. [`Error::Config`] naming the first key that differs if the run to resume has
    /// another configuration. [`Error::Io`].
    pub fn create_or_resume(dir: &Path, start: Start<'_>) -> Result<Self> {
        let files = RunFiles::new(dir);
        check(&files, &start)?;
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let lock = RunLock::acquire(dir, start.process)?;
        // Another process may have begun a run between the first look and the lock.
        let resumed = check(&files, &start)?;
        let info = RunInfo { state: RunState::Running, ..start.info };
        info.write(&files.info())?;
        if !resumed {
            write_atomic(&files.config(), start.config.as_bytes())?;
        }
        Ok(RunFolder { files, info, resumed, _lock: lock })
    }

    /// Whether `start` could go on with a run in `dir`, as far as can be told without the folder's lock.
    pub fn can_resume(dir: &Path, start: &Start<'_>) -> bool {
        check(&RunFiles::new(dir), &Start { resume: true, ..start.clone() }).unwrap_or(false)
    }

    /// Whether the folder held this run already.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Where everything is.
    pub fn files(&self) -> &RunFiles {
        &self.files
    }

    /// What `run.json` says.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Note how the run ended.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn set_state(&mut self, state: RunState) -> Result<()> {
        self.info.state = state;
        self.info.write(&self.files.info())
    }
}

/// Note the configuration that decides what is learned in a folder, or compare it with what was noted there before.
///
/// # Errors
/// [`Error::Config`] naming the first key that differs; [`Error::Io`].
pub fn keep_config(files: &RunFiles, config: &str) -> Result<()> {
    let path = files.config();
    match fs::read_to_string(&path) {
        Ok(before) => same_config(&path, &before, config),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => write_atomic(&path, config.as_bytes()),
        Err(e) => Err(Error::io(&path, e)),
    }
}

/// Whether the folder holds a run to go on with; an error if it may not be used for this one.
fn check(files: &RunFiles, start: &Start<'_>) -> Result<bool> {
    let (dir, shown) = (files.folder(), files.folder().display());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && start.resume => {
            return Err(Error::usage(format!("there is no run to resume in {shown}"), "start it as a new run"));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io(dir, e)),
    };
    // What a crash before the first write of config.toml leaves behind is nobody's.
    let begun = [LOCK_FILE, INFO_FILE].map(Into::into);
    let torn = [CONFIG_FILE, INFO_FILE].map(|name| temporary_path(Path::new(name)).into_os_string());
    let mut foreign = None;
    for entry in entries {
        let name = entry.map_err(|e| Error::io(dir, e))?.file_name();
        if name == CONFIG_FILE {
            let same = same_run(files, start);
            return if start.resume { same.map(|()| true) } else { Err(occupied(files, same.is_ok())) };
        }
        if !begun.contains(&name) && !torn.contains(&name) {
            foreign = Some(name);
        }
    }
    match foreign {
        None => Ok(false),
        Some(name) => Err(Error::usage(
            format!("{shown} is not empty and holds no run (it holds {})", name.to_string_lossy()),
            "choose another folder",
        )),
    }
}

fn occupied(files: &RunFiles, same: bool) -> Error {
    let remedy = if same { "resume it, or choose another folder" } else { "choose another folder" };
    Error::usage(format!("{} already holds a run", files.folder().display()), remedy)
}

/// Compare the run in the folder with the one that wants to go on with it.
fn same_run(files: &RunFiles, start: &Start<'_>) -> Result<()> {
    let shown = files.folder().display();
    let before = fs::read_to_string(files.config()).map_err(|e| Error::io(files.config(), e))?;
    let info = RunInfo::read(&files.info())?;
    let kind = match &info {
        Some(info) => Some(info.kind),
        None => kind_without_info(files, &before)?,
    };
    let now = start.info.kind.name();
    let Some(kind) = kind else {
        let message = format!("{shown} holds a run of lrpilot 0.1.0 that does not say by which command it was made");
        return Err(Error::usage(message, "choose another folder"));
    };
    if kind != start.info.kind {
        let message = format!("{shown} holds a run of `{}`, which `{now}` cannot go on with", kind.name());
        return Err(Error::usage(message, format!("resume it with `{}`, or choose another folder", kind.name())));
    }
    if let Some((option, before, now)) = info.and_then(|info| info.first_difference(&start.info)) {
        let message = format!("the run in {shown} was started with {option} = {before}, now it is {now}");
        return Err(Error::usage(message, "resume with the same options, or choose another folder"));
    }
    same_config(&files.config(), &before, start.config)
}

/// The command that made a folder without `run.json`, as far as its files tell. Version 0.1.0 wrote such folders.
///
/// # Errors
/// [`Error::Config`] if the configuration cannot be read, [`Error::Io`].
pub fn kind_without_info(files: &RunFiles, config: &str) -> Result<Option<RunKind>> {
    let config: toml::Table = crate::settings::parse(config, &files.config().display().to_string())?;
    if config.get("command").and_then(toml::Value::as_str) == Some(RunKind::Paper.name()) {
        return Ok(Some(RunKind::Paper));
    }
    for begin in POLICY_FOLDERS {
        if !files.policies(begin)?.is_empty() {
            return Ok(Some(RunKind::Demo));
        }
    }
    let compared = files.results().exists().then_some(RunKind::Compare);
    Ok(compared.or_else(|| files.updates().exists().then_some(RunKind::Learn)))
}

/// Compare the configuration `before`, which stands in the file at `path`, with the one given `now`.
///
/// # Errors
/// [`Error::Config`] naming the first key that differs.
pub fn same_config(path: &Path, before: &str, now: &str) -> Result<()> {
    let place = path.display().to_string();
    match config_difference(&place, before, "configuration", now)? {
        None => Ok(()),
        Some((key, before, now)) => Err(Error::config(
            place,
            format!("the run was started with {key} = {before}, now it is {now}"),
            "resume with the same configuration, or choose another folder",
        )),
    }
}

/// The first key in which two configurations differ, with both values. The places are named where one cannot be read.
///
/// # Errors
/// [`Error::Config`].
pub(crate) fn config_difference(
    place: &str,
    a: &str,
    other: &str,
    b: &str,
) -> Result<Option<(String, String, String)>> {
    let a: toml::Table = crate::settings::parse(a, place)?;
    let b: toml::Table = crate::settings::parse(b, other)?;
    Ok(first_difference(&toml::Value::Table(a), &toml::Value::Table(b)))
}

/// The first key (in alphabetical order) whose values differ, with both values.
fn first_difference(a: &toml::Value, b: &toml::Value) -> Option<(String, String, String)> {
    let (toml::Value::Table(a), toml::Value::Table(b)) = (a, b) else {
        return (a != b).then(|| (String::new(), a.to_string(), b.to_string()));
    };
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter().find_map(|key| match (a.get(key), b.get(key)) {
        (Some(x), Some(y)) => first_difference(x, y).map(|(inner, before, now)| {
            (if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") }, before, now)
        }),
        (x, y) => {
            let show = |value: Option<&toml::Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
            Some((key.clone(), show(x), show(y)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "seed = 1\n[learn]\nepochs = 10\nlr = 0.1\n";

    fn open(dir: &Path, kind: RunKind, config: &str, resume: bool) -> Result<RunFolder> {
        let process = Process { id: 4711, host: "node3".into() };
        let info = RunInfo::new(kind).with_option("evaluation-seeds", 10);
        RunFolder::create_or_resume(dir, Start { info, config, resume, process: &process })
    }

    #[track_caller]
    fn refused(dir: &Path, config: &str, resume: bool) -> String {
        open(dir, RunKind::Demo, config, resume).unwrap_err().to_string()
    }

    /// Each file of the folder with its content.
    fn content(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
        let files = fs::read_dir(dir).unwrap().map(|f| f.unwrap());
        let mut all: Vec<_> = files.map(|f| (f.file_name(), fs::read(f.path()).unwrap())).collect();
        all.sort();
        all
    }

    #[test]
    fn a_run_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let folder = open(dir.path(), RunKind::Demo, CONFIG, false).unwrap();
        assert!(refused(dir.path(), CONFIG, true).contains("is in use by process 4711 on host node3"));
        drop(folder);
        let before = content(dir.path());
        let message = refused(dir.path(), CONFIG, false);
        assert!(message.ends_with("already holds a run; resume it, or choose another folder"), "{message}");
        let message = refused(dir.path(), "seed = 2\n", false);
        assert!(message.ends_with("already holds a run; choose another folder"), "{message}");
        assert_eq!(content(dir.path()), before);
    }

    #[test]
    fn resume_names_the_first_differing_key() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), RunKind::Demo, CONFIG, false).unwrap());
        let before = content(dir.path());
        let same = "learn = { lr = 0.1, epochs = 10 }\nseed = 1";
        drop(open(dir.path(), RunKind::Demo, same, true).unwrap());
        let changed = CONFIG.replace("0.1", "0.2").replace("10", "11");
        assert!(refused(dir.path(), &changed, true).contains("with learn.epochs = 10, now it is 11;"));
        assert!(refused(dir.path(), "seed = 1", true).contains("now it is absent;"));
        assert_eq!(content(dir.path()), before);
    }

    #[test]
    fn resume_names_another_kind_and_another_option() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), RunKind::Learn, CONFIG, false).unwrap());
        let before = content(dir.path());
        let message = refused(dir.path(), CONFIG, true);
        assert!(message.contains("holds a run of `learn`, which `demo` cannot go on with; resume it"), "{message}");
        let process = Process { id: 4711, host: "node3".into() };
        let info = RunInfo::new(RunKind::Learn).with_option("evaluation-seeds", 11);
        let start = Start { info, config: CONFIG, resume: true, process: &process };
        let message = RunFolder::create_or_resume(dir.path(), start).unwrap_err().to_string();
        assert!(
            message.contains("was started with evaluation-seeds = 10, now it is 11; resume with the same"),
            "{message}"
        );
        assert_eq!(content(dir.path()), before);
    }

    #[test]
    fn the_state_is_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let state = || RunInfo::read(&RunFiles::new(dir.path()).info()).unwrap().unwrap().state;
        let mut folder = open(dir.path(), RunKind::Demo, CONFIG, false).unwrap();
        assert_eq!(state(), RunState::Running);
        let failed = RunState::Failed { error: "disk full".into() };
        folder.set_state(failed.clone()).unwrap();
        assert_eq!(state(), failed);
        drop(folder);
        drop(open(dir.path(), RunKind::Demo, CONFIG, true).unwrap());
        assert_eq!(state(), RunState::Running);
    }

    /// A folder of version 0.1.0 goes on with the command that its files point to, and with no other.
    #[test]
    fn a_folder_without_description_is_known_by_its_files() {
        let old = |config: &str, files: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(CONFIG_FILE), config).unwrap();
            files.iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap());
            dir
        };
        let kinds: [(&str, &[&str], RunKind); 4] = [
            (CONFIG, &["updates.jsonl", "policy.safetensors"], RunKind::Learn),
            (CONFIG, &["results.jsonl", "comparison.json"], RunKind::Compare),
            (CONFIG, &["pilot-seed0", "results.jsonl", "policy.safetensors"], RunKind::Demo),
            ("command = \"paper\"\n", &["results.jsonl"], RunKind::Paper),
        ];
        for (config, files, kind) in kinds {
            let dir = old(config, files);
            let other = if kind == RunKind::Demo { RunKind::Learn } else { RunKind::Demo };
            assert_eq!(open(dir.path(), other, config, true).unwrap_err().exit_code(), 64, "{files:?}");
            assert!(!dir.path().join(INFO_FILE).exists());
            assert!(open(dir.path(), kind, config, true).unwrap().is_resumed());
            assert!(dir.path().join(INFO_FILE).exists());
        }
        let nothing = old(CONFIG, &[]);
        assert!(refused(nothing.path(), CONFIG, true).contains("does not say by which command"));
    }

    #[test]
    fn foreign_folders_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        for resume in [false, true] {
            assert!(refused(dir.path(), CONFIG, resume).contains("(it holds thesis.tex); choose another folder"));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(refused(&dir.path().join("none"), CONFIG, true).contains("no run to resume"));
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn a_start_cut_short_is_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOCK_FILE), "1 gone\n").unwrap();
        fs::write(dir.path().join(".config.toml.tmp"), "se").unwrap();
        RunInfo::new(RunKind::Learn).write(&dir.path().join(INFO_FILE)).unwrap();
        assert!(!open(dir.path(), RunKind::Demo, CONFIG, true).unwrap().is_resumed());
    }

    #[test]
    fn a_kept_configuration_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let files = RunFiles::new(dir.path());
        keep_config(&files, CONFIG).unwrap();
        keep_config(&files, CONFIG).unwrap();
        let message = keep_config(&files, "seed = 1").unwrap_err().to_string();
        assert!(message.contains("config.toml: the run was started with learn = "), "{message}");
        assert_eq!(fs::read_to_string(files.config()).unwrap(), CONFIG);
    }
}
