//! What is in run folders, and the program in a shell.

use assert_cmd::cargo::cargo_bin;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file of a run folder but the lock, which names a process.
pub fn content(dir: &Path) -> BTreeMap<PathBuf, String> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| PathBuf::from(path.file_name().unwrap());
    let all = files.map(|path| (name(&path), fs::read_to_string(&path).unwrap()));
    all.filter(|(name, _)| name != Path::new("lock")).collect()
}

/// The same files with the same bytes.
#[track_caller]
pub fn assert_same(a: &BTreeMap<PathBuf, String>, b: &BTreeMap<PathBuf, String>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, text) in a {
        assert!(text == &b[name], "{} differs", name.display());
    }
}

/// A script in a shell that has the program on its path.
pub fn shell(dir: &Path, script: &str) -> Command {
    let mut path = OsString::from(cargo_bin("lrpilot").parent().unwrap());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = Command::new("sh");
    command.current_dir(dir).env("PATH", path).arg("-c").arg(script);
    command
}
