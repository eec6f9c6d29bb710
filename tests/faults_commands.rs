//! Wrong numbers, missing folders and files of another kind: every command says which it is and what to do, before it
//! trains anything, and leaves nothing behind.
#![cfg(all(feature = "cli", unix))]

#[path = "common/command.rs"]
mod command;

use assert_cmd::cargo::cargo_bin;
use command::{fails, succeeds};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/suite/tiny.toml");

fn lrpilot(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.current_dir(dir).args(["--progress", "silent"]).args(words);
    command
}

/// A folder with an empty file, an empty folder and a folder with something else in it.
fn surroundings() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    fs::create_dir(dir.path().join("foreign")).unwrap();
    fs::write(dir.path().join("foreign/thesis.tex"), "x").unwrap();
    dir
}

/// What clap refuses, it says on several lines.
#[track_caller]
fn misused(command: &mut Command, words: &[&str]) {
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{message}");
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

#[test]
fn wrong_numbers_are_named() {
    let dir = surroundings();
    let run = |words: &[&str]| lrpilot(dir.path(), words);
    for wrong in ["-1", "x", "", "1.5"] {
        let words = [&format!("'{wrong}' for '--tasks"), "not the number of a task", "lrpilot suite list"];
        misused(&mut run(&["suite", "run", "pretrained", "--out", "o", "--tasks", wrong]), &words);
    }
    misused(
        &mut run(&["suite", "run", "pretrained", "--out", "o", "--seeds", "-3"]),
        &["'-3'", "give a whole number from 1 to 1000"],
    );
    misused(
        &mut run(&["suite", "run", "pretrained", "--out", "o", "--index", "-1", "--of", "2"]),
        &["'-1'", "--index"],
    );
    misused(&mut run(&["tasks", "sample", "--n", "-1"]), &["'-1'", "from 1 to 100000"]);
    misused(&mut run(&["schedule", "preview", "cosine", "--intervals", "-1"]), &["'-1'", "from 1 to 1000000"]);
    misused(&mut run(&["sweep", "export", "slurm", "--workers", "-1", "--", "x"]), &["'-1'", "from 1 to 10000"]);
    fs::write(dir.path().join("lr.csv"), "0.1\n-1\n").unwrap();
    let words = ["lr.csv: learning rate number 2: -1 is not a finite number", "give one that is"];
    fails(&mut run(&["schedule", "preview", "lr.csv"]), 65, &words);
    assert!(!dir.path().join("o").exists());
}

#[test]
fn what_is_in_the_wrong_place_is_named() {
    let dir = surroundings();
    let run = |words: &[&str]| lrpilot(dir.path(), words);
    let suite = |out: &str| run(&["suite", "run", "--baselines", "--suite", TINY, "--tasks", "1", "--out", out]);
    fails(&mut suite("empty"), 74, &["empty", "a file is where a folder should be"]);
    fails(&mut suite("empty/out"), 74, &["empty/out", "a file is where a folder should be"]);
    fails(
        &mut suite("foreign"),
        64,
        &["foreign is not empty and holds no run (it holds thesis.tex)", "another folder"],
    );
    let suite = |file: &str| run(&["suite", "run", "--baselines", "--out", "o", "--suite", file]);
    fails(&mut suite("nowhere.toml"), 74, &["nowhere.toml", "check the name"]);
    fails(&mut suite("folder"), 74, &["folder", "name a file"]);
    let policy = |file: &str| run(&["suite", "run", file, "--suite", TINY, "--out", "o"]);
    fails(&mut policy("folder"), 74, &["folder", "name a file"]);
    fails(&mut policy("empty"), 65, &["empty: not a policy file", "use a policy file that lrpilot wrote"]);
    fails(&mut run(&["explain", "nowhere.safetensors"]), 74, &["nowhere.safetensors", "no such file", "`pretrained`"]);
    fails(&mut run(&["runs", "nowhere"]), 74, &["nowhere", "check the name"]);
    fails(&mut run(&["runs", "resume", "empty"]), 74, &["empty", "a file is where a folder should be"]);
    fails(&mut run(&["runs", "merge", "folder", "--out", "o"]), 64, &["folder holds no run", "--index I --of N"]);
    fails(&mut run(&["report", "foreign"]), 65, &["foreign: not a run folder", "suite run"]);
    let words = ["digits, digits-clean", "neither a task nor a file"];
    fails(&mut run(&["learn", "generalist", "--out", "o", "--on", "nowhere"]), 64, &words);
    fails(&mut run(&["learn", "generalist", "--out", "empty"]), 74, &["a file is where a folder should be"]);
    assert!(!dir.path().join("o").exists());
}

/// A page or a table that could not be written is refused before the hours that it would take to fill it.
#[test]
fn a_file_that_cannot_be_made_is_refused_at_once() {
    let dir = surroundings();
    let task = ["--task", "noisy-quadratic", "--set", "task.horizon=1000000"];
    let commands: [(&[&str], &[&str]); 5] = [
        (&["explain", "pretrained", "--report"], &task),
        (&["schedule", "preview", "pretrained", "--csv"], &task),
        (&["schedule", "preview", "pretrained", "--svg"], &task),
        (&["schedule", "extract", "pretrained", "--out"], &task),
        (&["tasks", "sample", "--n", "100000", "--report"], &[]),
    ];
    for (words, more) in commands {
        let to = |file: &str| {
            let mut command = lrpilot(dir.path(), words);
            command.arg(file).args(more);
            command
        };
        fails(&mut to("nowhere/a.csv"), 74, &["nowhere/a.csv: there is no folder nowhere; make it"]);
        fs::create_dir_all(dir.path().join("folder/a.csv")).unwrap();
        fails(&mut to("folder/a.csv"), 74, &["folder/a.csv: it is a folder; name a file"]);
    }
}

#[test]
fn an_exported_job_is_one_that_its_cluster_takes() {
    let dir = surroundings();
    let export = |words: &[&str]| lrpilot(dir.path(), &[&["sweep", "export"], words].concat());
    let whole = ["--", "compare", "p", "--task", "digits", "--out", "o"];
    let k8s = |image: &str, claim: &str| {
        let mut command = export(&["k8s", "--workers", "2", "--image", image, "--claim", claim]);
        command.args(whole);
        command
    };
    succeeds(&mut k8s("registry/lrpilot:1", "runs.of.mine"));
    misused(&mut k8s("", "runs"), &["'' for '--image", "registry/lrpilot:1"]);
    misused(&mut k8s("a b", "runs"), &["'a b' for '--image"]);
    for wrong in ["", "My_Claim", "a-", "a..b"] {
        misused(&mut k8s("image", wrong), &["--claim", "not a name of Kubernetes"]);
    }
    let words = ["cannot be split: the following required arguments were not provided: --task <TASK|FILE> --out <DIR>"];
    fails(&mut export(&["slurm", "--workers", "2", "--", "compare", "p"]), 64, &words);
}

/// A share has no report, and says what it is for.
#[test]
fn a_share_is_no_run_to_report() {
    let dir = surroundings();
    let share = ["suite", "run", "--baselines", "--suite", TINY, "--tasks", "1", "--seeds", "1", "--out", "s"];
    succeeds(lrpilot(dir.path(), &share).args(["--index", "0", "--of", "7"]));
    fails(&mut lrpilot(dir.path(), &["report", "s"]), 64, &["s holds a share of a run", "lrpilot runs merge"]);
}

/// Ctrl-C keeps what is done and says how to go on; that command goes on.
#[test]
fn an_interrupted_run_of_the_suite_goes_on() {
    let dir = surroundings();
    let words = ["--threads", "1", "suite", "run", "pretrained", "--baselines", "--suite", TINY, "--out", "o"];
    let journal = dir.path().join("o/results.jsonl");
    let mut child = lrpilot(dir.path(), &words).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    while fs::read_to_string(&journal).unwrap_or_default().lines().count() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be interrupted");
        std::thread::yield_now();
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{message}");
    assert!(message.contains("interrupted; resume with: lrpilot --progress silent --threads 1 suite run"), "{message}");
    let done = fs::read_to_string(&journal).unwrap().lines().count();
    succeeds(lrpilot(dir.path(), &words).arg("--resume"));
    assert!(fs::read_to_string(&journal).unwrap().lines().count() > done);
    assert!(dir.path().join("o/suite.json").exists());
}
