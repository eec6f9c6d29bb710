//! The run folder: whose it is, and what is where in it.

use super::lock::{LOCK_FILE, RunLock};
use crate::store::atomic::{temporary_path, write_atomic};
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Name of the effective configuration inside a run folder; its presence makes the folder a run folder.
pub const CONFIG_FILE: &str = "config.toml";

/// A run folder that is ours to write, locked until drop.
///
/// ```
/// use lrpilot::store::folder::RunFolder;
/// let dir = tempfile::tempdir().unwrap();
/// let out = dir.path().join("digits");
/// let folder = RunFolder::create_or_resume(&out, "seed = 1\n", false)?;
/// assert!(!folder.is_resumed());
/// drop(folder);
/// assert!(RunFolder::create_or_resume(&out, "seed = 1\n", false).is_err());
/// assert!(RunFolder::create_or_resume(&out, "seed = 1\n", true)?.is_resumed());
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    resumed: bool,
    _lock: RunLock,
}

impl RunFolder {
    /// Make `dir` the folder of a new run and write `config.toml`, or go on with the run in it.
    ///
    /// # Errors
    /// [`Error::Usage`], with nothing written or changed: the folder holds a run and `resume` is false, it holds other
    /// files, there is nothing to resume, or another process is at work in it. [`Error::Config`] naming the first key
    /// that differs if the run to resume has another configuration. [`Error::Io`].
    pub fn create_or_resume(dir: &Path, effective_config_toml: &str, resume: bool) -> Result<Self> {
        let resumed = check(dir, resume)?;
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let lock = RunLock::acquire(dir)?;
        // Another process may have begun a run between the first look and the lock.
        let resumed = resumed || check(dir, resume)?;
        let config = dir.join(CONFIG_FILE);
        if resumed {
            same_config(&config, effective_config_toml)?;
        } else {
            write_atomic(&config, effective_config_toml.as_bytes())?;
        }
        Ok(RunFolder { path: dir.to_owned(), resumed, _lock: lock })
    }

    /// Whether the folder held this run already.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finished child runs, one per line ([`crate::record::RunRecord`]).
    pub fn results(&self) -> PathBuf {
        self.path.join("results.jsonl")
    }

    /// Updates of the agent, one per line ([`crate::record::UpdateRecord`]).
    pub fn updates(&self) -> PathBuf {
        self.path.join("updates.jsonl")
    }

    /// Folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// The frozen policy.
    pub fn policy(&self) -> PathBuf {
        self.path.join("policy.safetensors")
    }

    /// The comparison ([`crate::record::Comparison`]).
    pub fn comparison(&self) -> PathBuf {
        self.path.join("comparison.json")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }
}

/// Whether `dir` holds a run to go on with; an error if it may not be used.
fn check(dir: &Path, resume: bool) -> Result<bool> {
    let shown = dir.display();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && resume => {
            return Err(Error::usage(format!("there is no run to resume in {shown}"), "leave out --resume"));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io(dir, e)),
    };
    // What a crash before the first write of config.toml leaves behind is nobody's.
    let ours = [LOCK_FILE.into(), temporary_path(Path::new(CONFIG_FILE)).into_os_string()];
    let mut foreign = None;
    for entry in entries {
        let name = entry.map_err(|e| Error::io(dir, e))?.file_name();
        if name == CONFIG_FILE {
            return if resume {
                Ok(true)
            } else {
                Err(Error::usage(
                    format!("{shown} already holds a run"),
                    "continue it with --resume, or choose another --out",
                ))
            };
        }
        if !ours.contains(&name) {
            foreign = Some(name);
        }
    }
    match foreign {
        None => Ok(false),
        Some(name) => Err(Error::usage(
            format!("{shown} is not empty and holds no run (it holds {})", name.to_string_lossy()),
            "choose another --out",
        )),
    }
}

/// Compare the configuration of the run in the folder with the one given now.
fn same_config(path: &Path, given: &str) -> Result<()> {
    let text = fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let place = path.display().to_string();
    let theirs: toml::Table = crate::settings::parse(&text, &place)?;
    let ours: toml::Table = crate::settings::parse(given, "configuration")?;
    match first_difference(&toml::Value::Table(theirs), &toml::Value::Table(ours)) {
        None => Ok(()),
        Some((key, before, now)) => Err(Error::config(
            place,
            format!("the run was started with {key} = {before}, now it is {now}"),
            "resume with the same configuration, or choose another --out",
        )),
    }
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

    #[track_caller]
    fn refused(dir: &Path, config: &str, resume: bool) -> String {
        RunFolder::create_or_resume(dir, config, resume).unwrap_err().to_string()
    }

    #[test]
    fn a_run_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create_or_resume(dir.path(), CONFIG, false).unwrap();
        assert!(refused(dir.path(), CONFIG, true).contains("is in use by process"));
        drop(folder);
        let message = refused(dir.path(), "seed = 2\n", false);
        assert!(
            message.ends_with("already holds a run; continue it with --resume, or choose another --out"),
            "{message}"
        );
        assert_eq!(fs::read_to_string(dir.path().join(CONFIG_FILE)).unwrap(), CONFIG);
    }

    #[test]
    fn resume_names_the_first_differing_key() {
        let dir = tempfile::tempdir().unwrap();
        drop(RunFolder::create_or_resume(dir.path(), CONFIG, false).unwrap());
        let same = "learn = { lr = 0.1, epochs = 10 }\nseed = 1";
        drop(RunFolder::create_or_resume(dir.path(), same, true).unwrap());
        let changed = CONFIG.replace("0.1", "0.2").replace("10", "11");
        assert!(refused(dir.path(), &changed, true).contains("with learn.epochs = 10, now it is 11;"));
        assert!(refused(dir.path(), "seed = 1", true).contains("now it is absent;"));
        assert_eq!(fs::read_to_string(dir.path().join(CONFIG_FILE)).unwrap(), CONFIG);
    }

    #[test]
    fn foreign_folders_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        for resume in [false, true] {
            assert!(refused(dir.path(), CONFIG, resume).contains("(it holds thesis.tex); choose another --out"));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(refused(&dir.path().join("none"), CONFIG, true).contains("leave out --resume"));
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn a_start_cut_short_is_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOCK_FILE), "1 gone\n").unwrap();
        fs::write(dir.path().join(".config.toml.tmp"), "se").unwrap();
        assert!(!RunFolder::create_or_resume(dir.path(), CONFIG, true).unwrap().is_resumed());
    }
}
