//! What the command prints and returns when something is wrong.
#![cfg(feature = "cli")]

use assert_cmd::Command;
use lrpilot::store::folder::{RunFolder, Start};
use lrpilot::store::lock::Process;
use lrpilot::store::run_info::{RunInfo, RunKind};
use std::process::Output;

fn lrpilot(args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("lrpilot")).args(args).output().unwrap()
}

#[track_caller]
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn wrong_command_lines_end_with_64() {
    for args in [&["leran"][..], &[], &["runs", "--threads", "0"], &["runs", "--progress", "loud"]] {
        let output = lrpilot(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["runs", "--help"], &["completions", "--help"]] {
        let output = lrpilot(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
        assert!(args.len() < 2 || text(&output.stdout).contains("Example:\n"), "{args:?}");
    }
}

#[test]
fn an_error_is_one_line_that_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    let output = lrpilot(&["runs", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(74));
    let message = text(&output.stderr);
    assert!(message.starts_with("error: ") && message.contains("none: ") && message.lines().count() == 1, "{message}");
    assert!(output.stdout.is_empty());
}

#[test]
fn runs_lists_run_folders_only() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("photos")).unwrap();
    let root = dir.path().to_str().unwrap();
    assert!(text(&lrpilot(&["runs", root]).stdout).starts_with("no run folders in "));
    let out = dir.path().join("digits");
    let process = Process { id: 4711, host: "node3".into() };
    let info = RunInfo { resume: "lrpilot learn digits --resume".into(), ..RunInfo::new(RunKind::Learn) };
    let start = Start { info, config: "seed = 1", resume: false, process: &process };
    let folder = RunFolder::create_or_resume(&out, start).unwrap();
    let listed = lrpilot(&["runs", root]).stdout;
    assert!(text(&listed).contains("running by process 4711 on host node3 since "));
    drop(folder);
    let listed = lrpilot(&["runs", root]).stdout;
    assert!(text(&listed).contains("digits") && text(&listed).contains("died; resume with: lrpilot learn digits"));
    assert!(!text(&listed).contains("photos"));
}

/// The reading end is closed before the script is printed, or while it is.
#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_is_no_error() {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn a_budget_too_small_to_compare_is_refused_before_anything_is_learned() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let output = lrpilot(&["demo", "--out", out.to_str().unwrap(), "--set", "learn.epochs=4999"]);
    assert_eq!(output.status.code(), Some(78));
    let message = text(&output.stderr);
    assert!(message.contains("learn.epochs: 4999 epochs are less than one grid of 100 LRs, 5000"), "{message}");
    assert!(!out.exists());
}
