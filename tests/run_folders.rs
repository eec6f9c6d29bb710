//! A run folder says what it is and what became of it; what is refused leaves nothing behind; the report can be written
//! anew to the same bytes.
#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;
#[path = "common/smallest.rs"]
mod smallest;

use assert_cmd::cargo::cargo_bin;
use command::{fails, succeeds};
use lrpilot::store::files::RunFiles;
use lrpilot::store::folder::{RunFolder, Start};
use lrpilot::store::lock::Process;
use lrpilot::store::run_info::{RunInfo, RunKind, RunState};
use smallest::SMALLEST;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn lrpilot<A: AsRef<OsStr>>(args: &[A]) -> Command {
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.args(["--progress", "silent"]).args(args);
    command
}

fn learn(out: &Path) -> Command {
    let mut command = lrpilot(&["learn", "noisy-quadratic", "--out"]);
    command.arg(out).args(SMALLEST);
    command
}

fn demo(out: &Path) -> Command {
    let mut command =
        lrpilot(&["demo", "--task", "noisy-quadratic", "--policy-seeds", "1", "--evaluation-seeds", "2", "--out"]);
    command.arg(out).args(SMALLEST);
    command
}

fn compare(policy: &Path, out: &Path, evaluation_seeds: &str) -> Command {
    let mut command =
        lrpilot(&["compare", "--task", "noisy-quadratic", "--evaluation-seeds", evaluation_seeds, "--out"]);
    command.arg(out).arg(policy).args(["--set", "task.horizon=1"]);
    command
}

/// Every file below `dir` with its content.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

/// The line of `lrpilot runs` that is about `name`.
fn listed(dir: &Path, name: &str) -> String {
    let table = succeeds(lrpilot(&["runs"]).arg(dir));
    table
        .lines()
        .skip(1)
        .find(|line| line.trim_start().starts_with(name))
        .unwrap_or_else(|| panic!("{table}"))
        .to_owned()
}

fn state(out: &Path) -> RunState {
    RunInfo::read(&RunFiles::new(out).info()).unwrap().unwrap().state
}

#[test]
fn a_report_is_written_anew_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let [learned, compared, shown] = ["learned", "compared", "shown"].map(|name| dir.path().join(name));
    succeeds(&mut learn(&learned));
    succeeds(&mut compare(&RunFiles::new(&learned).policy(), &compared, "2"));
    succeeds(&mut demo(&shown));
    for out in [&learned, &compared, &shown] {
        let files = RunFiles::new(out);
        let before = fs::read(files.report()).unwrap();
        let page = String::from_utf8_lossy(&before);
        assert!(page.contains("id=\"sensitivity\""), "{}: what the policy looks at", out.display());
        assert!(page.contains("A learned learning-rate schedule for noisy-quadratic"));
        assert!(page.contains("--set task.horizon=1") && page.contains("id=\"origin\""));
        fs::remove_file(files.report()).unwrap();
        succeeds(lrpilot(&["report"]).arg(out));
        assert!(fs::read(files.report()).unwrap() == before, "{}: another report", out.display());
        assert_eq!(state(out), RunState::Finished);
        assert!(listed(dir.path(), out.file_name().unwrap().to_str().unwrap()).trim_end().ends_with("finished"));
    }
    // The report needs both files whole; without the run's description it says what it can.
    let files = RunFiles::new(&shown);
    fs::remove_file(files.info()).unwrap();
    succeeds(lrpilot(&["report"]).arg(&shown));
    for damaged in [files.sensitivities(), files.comparison()] {
        let whole = fs::read(&damaged).unwrap();
        fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
        fails(lrpilot(&["report"]).arg(&shown), 65, &[damaged.to_str().unwrap(), "cannot be read"]);
        fs::write(&damaged, whole).unwrap();
    }
}

#[test]
fn another_command_or_another_option_does_not_resume() {
    let dir = tempfile::tempdir().unwrap();
    let [learned, compared] = ["learned", "compared"].map(|name| dir.path().join(name));
    succeeds(&mut learn(&learned));
    let before = content(&learned);
    fails(demo(&learned).arg("--resume"), 64, &["holds a run of `learn`, which `demo` cannot go on with"]);
    // Resuming is advised where it would work, and only there.
    fails(&mut learn(&learned), 64, &["already holds a run; resume it", "go on with: lrpilot ", " --resume)"]);
    let refusal = String::from_utf8(demo(&learned).output().unwrap().stderr).unwrap();
    assert!(refusal.contains("already holds a run; choose another") && !refusal.contains("resume"), "{refusal}");
    fails(learn(&learned).args(["--resume", "--seed", "9"]), 78, &["seed = 0, now it is 9"]);
    assert!(content(&learned) == before, "a refusal changed the folder");

    let policy = RunFiles::new(&learned).policy();
    succeeds(&mut compare(&policy, &compared, "2"));
    let before = content(&compared);
    fails(compare(&policy, &compared, "3").arg("--resume"), 64, &["evaluation-seeds = 2, now it is 3"]);
    fails(compare(&policy, &compared, "2").args(["--resume", "--budget", "200"]), 64, &["budget = 100, now it is 200"]);
    let other = dir.path().join("other");
    succeeds(learn(&other).args(["--seed", "9"]));
    let other = RunFiles::new(&other).policy();
    fails(compare(&other, &compared, "2").arg("--resume"), 64, &["policies (sha256) = "]);
    assert!(content(&compared) == before, "a refusal changed the folder");
    let table = succeeds(compare(&policy, &compared, "2").arg("--resume"));
    assert!(table.contains("lrpilot"), "{table}");
}

/// A demonstration reads no policy of another configuration back, whatever the folder's name says.
#[test]
fn a_policy_of_another_configuration_is_not_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("demo");
    succeeds(&mut demo(&out));
    let files = RunFiles::new(&out);
    let paper = fs::read(files.of_policy("paper", 0).policy()).unwrap();
    let pilot = files.of_policy("pilot", 0).policy();
    assert!(fs::read(&pilot).unwrap() != paper);
    fs::write(&pilot, paper).unwrap();
    fails(demo(&out).arg("--resume"), 78, &[pilot.to_str().unwrap(), "env.", "now it is"]);
    assert!(matches!(state(&out), RunState::Failed { .. }));
    // With neither policy nor checkpoint left, what was learned half is of the noted configuration only.
    fs::remove_file(&pilot).unwrap();
    fs::write(files.of_policy("pilot", 0).config(), "seed = 1\n").unwrap();
    fails(demo(&out).arg("--resume"), 78, &["pilot-seed0", "config.toml", "now it is"]);
}

#[test]
fn what_is_refused_leaves_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let no_policy = dir.path().join("policy.safetensors");
    fs::write(&no_policy, "none").unwrap();
    let empty = dir.path().join("data");
    fs::create_dir(&empty).unwrap();
    let set = |command: &str, setting: &str| {
        let mut refused = lrpilot(&[command]);
        refused.args(if command == "demo" { &["--task", "digits"][..] } else { &["digits"] });
        refused.arg("--out").arg(&out).args(["--set", setting]);
        refused
    };
    let refuse = |mut command: Command, code: i32, word: &str| {
        fails(&mut command, code, &[word]);
        assert!(!out.exists(), "{command:?} left a folder");
    };
    for command in ["learn", "demo"] {
        refuse(set(command, "learn.environments=500"), 78, "learn.epochs");
        refuse(set(command, "learn.candidates=10000"), 78, "learn.epochs");
        refuse(set(command, "ppo.gamma=2.0"), 78, "ppo.gamma");
    }
    refuse(set("demo", "env.formulation=paper"), 78, "env.formulation");
    refuse(set("demo", "learn.epochs=4999"), 78, "less than one grid");
    refuse(compare(&no_policy, &out, "2"), 65, "policy.safetensors");
    refuse(compare(&dir.path().join("nowhere"), &out, "2"), 74, "nowhere");
    let mut no_data = lrpilot(&["paper", "--scale", "laptop", "--data-dir"]);
    no_data.arg(&empty).arg("--out").arg(&out);
    refuse(no_data, 65, "lrpilot data fetch mnist --data-dir ");
    let mut no_data = lrpilot(&["learn", "mnist-mlp", "--data-dir"]);
    no_data.arg(&empty).arg("--out").arg(&out);
    refuse(no_data, 65, "lrpilot data fetch mnist --data-dir ");

    let learned = dir.path().join("learned");
    succeeds(&mut learn(&learned));
    let mut small = compare(&RunFiles::new(&learned).policy(), &out, "2");
    small.args(["--budget", "99"]);
    refuse(small, 78, "less than one grid");
    // The way is free for the corrected command.
    succeeds(&mut compare(&RunFiles::new(&learned).policy(), &out, "2"));
}

#[test]
fn runs_tells_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process { id: 4711, host: "node3".into() };
    let folder = |name: &str, kind| {
        let info = RunInfo {
            resume: format!("lrpilot {name} --resume"),
            directory: "'/else where'".into(),
            ..RunInfo::new(kind)
        };
        RunFolder::create_or_resume(
            &dir.path().join(name),
            Start { info, config: "seed = 1", resume: false, process: &process },
        )
        .unwrap()
    };
    let line = |name: &str| listed(dir.path(), name);
    let mut paper = folder("paper", RunKind::Paper);
    assert!(line("paper").contains("running by process 4711 on host node3 since "));
    paper.set_state(RunState::Finished).unwrap();
    drop(paper);
    assert!(line("paper").trim_end().ends_with("finished"));
    let mut stopped = folder("stopped", RunKind::Learn);
    stopped.set_state(RunState::Interrupted).unwrap();
    drop(stopped);
    let resume = "interrupted; resume with: cd '/else where' && lrpilot stopped --resume";
    assert!(line("stopped").trim_end().ends_with(resume), "{}", line("stopped"));
    let mut failed = folder("failed", RunKind::Compare);
    failed.set_state(RunState::Failed { error: "disk\nfull".into() }).unwrap();
    drop(failed);
    assert!(line("failed").contains("failed: disk full; resume with: "));
    drop(folder("dead", RunKind::Demo));
    assert!(line("dead").contains("died; resume with: "));
    // Version 0.1.0 wrote no description.
    let old = dir.path().join("old");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("config.toml"), "seed = 1").unwrap();
    fs::write(old.join("updates.jsonl"), "").unwrap();
    assert!(line("old").contains("learn") && line("old").contains("it has no results; 0.1.0 did not note"));
    fs::write(old.join("policy.safetensors"), "").unwrap();
    assert!(line("old").contains("it has results"));
    fails(lrpilot(&["report"]).arg(dir.path().join("paper")), 64, &["paper.html"]);
}

/// A run that ends with an error is not called finished, although its policy is there.
#[test]
fn a_run_that_fails_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    succeeds(&mut learn(&out));
    fs::write(RunFiles::new(&out).policy(), "damaged").unwrap();
    fails(learn(&out).arg("--resume"), 65, &["policy.safetensors"]);
    let line = listed(dir.path(), "run");
    assert!(line.contains("failed: ") && line.contains("not a policy file"), "{line}");
    fs::remove_file(RunFiles::new(&out).policy()).unwrap();
    succeeds(learn(&out).arg("--resume"));
    assert_eq!(state(&out), RunState::Finished);
}
