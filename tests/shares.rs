//! Several processes share a comparison: put together, their folders are those of one process, killed processes go on,
//! and what does not belong together is refused.
#![cfg(all(feature = "cli", unix))]

#[path = "common/command.rs"]
mod command;
#[path = "common/folders.rs"]
mod folders;
#[path = "common/smallest.rs"]
mod smallest;

use assert_cmd::cargo::cargo_bin;
use command::{fails, succeeds};
use folders::{assert_same, content, shell};
use lrpilot::store::files::RunFiles;
use lrpilot::store::run_info::{RunInfo, RunState};
use smallest::SMALLEST;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn lrpilot(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.current_dir(dir).args(args);
    command
}

/// A folder with a frozen policy in it, `policy/policy.safetensors`.
fn with_policy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    succeeds(lrpilot(dir.path(), &["learn", "noisy-quadratic", "--out", "policy"]).args(SMALLEST));
    dir
}

const COMPARE: [&str; 8] = [
    "compare",
    "policy/policy.safetensors",
    "--task",
    "noisy-quadratic",
    "--set",
    "task.horizon=1",
    "--evaluation-seeds",
    "2",
];

/// The smallest comparison, with `more` options.
fn compare(dir: &Path, more: &[&str]) -> Command {
    let mut command = lrpilot(dir, &COMPARE);
    command.args(more);
    command
}

fn jobs(dir: &Path) -> usize {
    fs::read_to_string(RunFiles::new(dir).results()).unwrap().lines().count()
}

fn share(dir: &Path, out: &str, index: &str, of: &str) -> Command {
    compare(dir, &["--out", out, "--index", index, "--of", of])
}

#[test]
fn three_shares_put_together_are_the_whole_run() {
    let dir = with_policy();
    let at = |name: &str| dir.path().join(name);
    succeeds(&mut compare(dir.path(), &["--out", "run"]));
    fs::rename(at("run"), at("whole")).unwrap();
    for index in ["0", "1", "2"] {
        let told = succeeds(&mut share(dir.path(), &format!("share-{index}"), index, "3"));
        // 5 grids on one seed and one on two, a source of replays, 8 methods on two seeds: 717 jobs.
        assert_eq!(told, format!("share {index} of 3: 239 jobs\n"));
        assert_eq!(jobs(&at(&format!("share-{index}"))), 239);
    }
    let told = succeeds(&mut lrpilot(dir.path(), &["runs", "merge", "share-2", "share-0", "share-1", "--out", "run"]));
    assert!(told.contains("report: run/report.html"), "{told}");
    // What depends on results: 5 tuned methods, hindsight and 2 replays on two seeds.
    assert_eq!(jobs(&at("run")), 717 + 16);
    assert_same(&content(&at("run")), &content(&at("whole")));
}

#[test]
fn a_killed_share_goes_on_from_anywhere() {
    let dir = with_policy();
    let at = |name: &str| dir.path().join(name);
    let long = ["--set", "task.horizon=400", "--budget", "40000", "--out", "share", "--index", "1", "--of", "2"];
    let start = || {
        let mut command = lrpilot(dir.path(), &COMPARE[..4]);
        command.args(["--threads", "1"]).args(long);
        command
    };
    succeeds(&mut start());
    fs::rename(at("share"), at("calm")).unwrap();

    let results = RunFiles::new(at("share")).results();
    let mut child = start().stdout(Stdio::null()).spawn().unwrap();
    while fs::read_to_string(&results).unwrap_or_default().lines().count() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "the share ended before it could be killed");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!((3..jobs(&at("calm"))).contains(&jobs(&at("share"))));
    let unfinished = ["share 1 of 2 in share is not finished", "lrpilot runs resume share"];
    fails(&mut lrpilot(dir.path(), &["runs", "merge", "share", "calm", "--out", "run"]), 64, &unfinished);

    // From another folder, and where the run was moved to; the words that began it are made for neither.
    fs::rename(at("share"), at("moved")).unwrap();
    fs::create_dir(at("elsewhere")).unwrap();
    succeeds(&mut lrpilot(&at("elsewhere"), &["--progress", "silent", "runs", "resume", "../moved"]));
    let results = |name: &str| fs::read(RunFiles::new(at(name)).results()).unwrap();
    assert!(results("moved") == results("calm"), "a killed share goes on to other bits");
    let info = RunInfo::read(&RunFiles::new(at("moved")).info()).unwrap().unwrap();
    assert_eq!(info.state, RunState::Finished);
    let told = succeeds(&mut lrpilot(dir.path(), &["runs", "resume", "moved"]));
    assert_eq!(told, "moved is finished\n");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let dir = with_policy();
    let run = |args: &[&str]| lrpilot(dir.path(), args);
    fails(&mut share(dir.path(), "a", "3", "3"), 64, &["share 3 of 3", "give an index from 0 to 2"]);
    fails(&mut share(dir.path(), "a", "0", "0"), 64, &["share 0 of 0", "split into at least 1"]);
    let alone = compare(dir.path(), &["--out", "a", "--index", "0"]).output().unwrap();
    assert!(alone.status.code() == Some(64) && String::from_utf8_lossy(&alone.stderr).contains("--of <N>"));
    assert!(!dir.path().join("a").exists());

    succeeds(&mut share(dir.path(), "a", "0", "2"));
    succeeds(share(dir.path(), "b", "1", "2").args(["--seed", "7"]));
    succeeds(&mut share(dir.path(), "c", "2", "3"));
    succeeds(
        compare(dir.path(), &["--out", "d", "--index", "1", "--of", "2", "--budget", "200"]).args(["--seed", "0"]),
    );
    fails(share(dir.path(), "a", "1", "2").arg("--resume"), 64, &["index = 0, now it is 1"]);
    let merge = |shares: &[&str]| {
        let mut command = run(&["runs", "merge", "--out", "out"]);
        command.args(shares);
        command
    };
    fails(&mut merge(&["a", "b"]), 64, &["a and b are shares of different experiments: seed is 0 and 7"]);
    fails(&mut merge(&["a", "c"]), 64, &["different experiments: of is 2 and 3"]);
    fails(&mut merge(&["a", "d"]), 64, &["different experiments: budget is 100 and 200"]);
    fails(&mut merge(&["a", "a"]), 64, &["share 0 of 2 is in a and in a; name one of them"]);
    fails(&mut merge(&["a"]), 64, &["share 1 of 2 is not among the folders", "--index 1 --of 2"]);
    fails(&mut merge(&["a", "policy"]), 64, &["policy holds a whole run of `learn`", "wrote with --index I --of N"]);
    fails(&mut merge(&["a", "nowhere"]), 64, &["nowhere holds no run"]);
    assert!(!dir.path().join("out").exists(), "a refusal left a folder");
    fails(&mut run(&["runs", "resume", "nowhere"]), 64, &["nowhere holds no run", "name the folder of a run"]);
}

/// Where a run was begun is not always there; folders of before do not say the words.
#[test]
fn a_run_that_cannot_be_begun_like_before_says_how() {
    let dir = with_policy();
    let files = RunFiles::new(dir.path().join("policy"));
    let whole = RunInfo::read(&files.info()).unwrap().unwrap();
    let mut info = RunInfo { state: RunState::Interrupted, ..whole };
    info.invocation.as_mut().unwrap().directory = "/no/such/folder".into();
    info.write(&files.info()).unwrap();
    let words = ["begun in /no/such/folder, which is not here", "lrpilot learn noisy-quadratic", "--resume"];
    fails(&mut lrpilot(dir.path(), &["runs", "resume", "policy"]), 64, &words);
    info.invocation = None;
    info.write(&files.info()).unwrap();
    fails(&mut lrpilot(dir.path(), &["runs", "resume", "policy"]), 64, &["resume it with: lrpilot learn"]);
}

/// The script does in each task what it says, also when a task is started again, and names the command that ends it.
#[test]
fn the_script_for_slurm_makes_the_whole_run() {
    let dir = with_policy();
    let at = |name: &str| dir.path().join(name);
    succeeds(&mut compare(dir.path(), &["--out", "my run", "--seed", "3"]));
    fs::rename(at("my run"), at("whole")).unwrap();
    let mut export = lrpilot(dir.path(), &["sweep", "export", "slurm", "--workers", "2", "--"]);
    let script = succeeds(export.args(COMPARE).args(["--out", "my run", "--seed", "3"]));
    assert!(script.starts_with("#!/bin/sh\n#SBATCH ") && script.contains("\n#SBATCH --array=0-1\n"), "{script}");
    for task in ["0", "1", "1"] {
        succeeds(shell(dir.path(), &script).env("SLURM_ARRAY_TASK_ID", task));
    }
    let merge = script.lines().find_map(|line| line.strip_prefix("#   lrpilot runs merge ")).unwrap();
    succeeds(&mut shell(dir.path(), &format!("lrpilot runs merge {merge}")));
    assert_same(&content(&at("my run")), &content(&at("whole")));
}

/// The fields that batch/v1 asks of an Indexed Job, and what the containers run.
#[test]
fn the_manifest_is_an_indexed_job() {
    let dir = with_policy();
    let args = ["sweep", "export", "k8s", "--workers", "5", "--image", "registry/lrpilot:1", "--claim", "runs", "--"];
    let manifest = succeeds(lrpilot(dir.path(), &args).args(COMPARE).args(["--out", "run"]));
    let job: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!((&job["apiVersion"], &job["kind"]), (&"batch/v1".into(), &"Job".into()));
    let spec = &job["spec"];
    assert_eq!(spec["completionMode"], "Indexed");
    assert_eq!((&spec["completions"], &spec["parallelism"]), (&5.into(), &5.into()));
    let pod = &spec["template"]["spec"];
    // A Job's pods may not be restarted always.
    assert_eq!(pod["restartPolicy"], "OnFailure");
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry/lrpilot:1");
    assert_eq!(container["volumeMounts"][0]["name"], pod["volumes"][0]["name"]);
    assert_eq!(container["volumeMounts"][0]["mountPath"], container["workingDir"]);
    assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "runs");
    let command: Vec<&str> =
        container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[..2], ["/bin/sh", "-c"]);
    let told = succeeds(shell(dir.path(), command[2]).env("JOB_COMPLETION_INDEX", "4"));
    assert!(told.starts_with("share 4 of 5: "), "{told}");
    assert!(dir.path().join("run-shares/4/results.jsonl").exists());
    let misnamed = lrpilot(dir.path(), &args[..9]).args(["--name", "My_Job", "--"]).args(COMPARE).output().unwrap();
    assert_eq!(misnamed.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&misnamed.stderr).contains("My_Job"));
}

#[test]
fn only_a_whole_command_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let export = |words: &[&str]| {
        let mut command = lrpilot(dir.path(), &["sweep", "export", "slurm", "--workers", "2", "--"]);
        command.args(words);
        command
    };
    let whole = ["compare", "p", "--task", "digits", "--out", "o"];
    succeeds(&mut export(&whole));
    fails(
        &mut export(&["learn", "digits", "--out", "o"]),
        64,
        &["cannot be split: only `compare` and `suite run` can"],
    );
    fails(&mut export(&whole[..4]), 64, &["cannot be split: ", "give a whole command behind --"]);
    fails(export(&whole).arg("--resume"), 64, &["it goes on with a run"]);
    fails(export(&whole).args(["--index", "0", "--of", "2"]), 64, &["it is a share itself"]);
}
