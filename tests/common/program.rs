//! The built program as a user runs it, with a budget of a second.

use assert_cmd::Command;
use std::path::Path;

/// Two environments, one short rollout for an update, two candidates on two seeds.
pub const LITTLE: [&str; 6] = [
    "learn.environments=2",
    "learn.candidates=2",
    "learn.selection_seeds=2",
    "ppo.n_steps=10",
    "ppo.batch_size=10",
    "ppo.n_epochs=2",
];

/// `words` as arguments, `--out out`, and `--set` before each of `settings`; no progress is shown.
pub fn arguments(words: &[&str], out: &Path, settings: &[&str]) -> Vec<String> {
    let out = ["--progress", "silent", "--out", out.to_str().unwrap()];
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    words.iter().copied().chain(out).chain(set).map(String::from).collect()
}

/// What the program prints; it must succeed and be silent on standard error.
#[track_caller]
pub fn succeeds(args: &[String]) -> String {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    let output = command.args(args).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {}: {message}", output.status);
    assert_eq!(message, "", "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}
