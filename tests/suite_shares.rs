//! Several processes share a run of the suite: put together, their folders are those of one process, killed processes go
//! on, and what does not belong together is refused.
#![cfg(all(feature = "cli", unix))]

#[path = "common/command.rs"]
mod command;
#[path = "common/folders.rs"]
mod folders;

use assert_cmd::cargo::cargo_bin;
use command::{fails, succeeds};
use folders::{assert_same, content, shell};
use lrpilot::store::files::RunFiles;
use lrpilot::store::run_info::{RunInfo, RunState};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/suite/tiny.toml");
const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/policy-v1.safetensors");
const QUIET: [&str; 4] = ["--progress", "silent", "--data-dir", "/nowhere"];
/// Everything that there is to run, on three tasks and two seeds.
const EVERYTHING: [&str; 10] =
    ["suite", "run", POLICY, "pretrained", "--baselines", "--controls", "--seeds", "2", "--suite", TINY];

fn lrpilot(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.current_dir(dir).args(QUIET).args(words);
    command
}

fn everything(dir: &Path, more: &[&str]) -> Command {
    let mut command = lrpilot(dir, &EVERYTHING);
    command.args(more);
    command
}

/// The standard methods on the first task.
fn baselines(dir: &Path, more: &[&str]) -> Command {
    let mut command = lrpilot(dir, &["suite", "run", "--baselines", "--tasks", "1", "--seeds", "2", "--suite", TINY]);
    command.args(more);
    command
}

/// The files of a folder; the reference without the day on which it was made.
fn undated(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = content(dir);
    if let Some(text) = files.get_mut(Path::new("reference.json")) {
        let at = text.find("\"date\": \"").unwrap();
        text.replace_range(at..at + "\"date\": \"2026-01-31\"".len(), "");
    }
    files
}

fn journal(dir: &Path) -> String {
    fs::read_to_string(RunFiles::new(dir).results()).unwrap()
}

#[test]
fn three_shares_put_together_are_the_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    succeeds(&mut everything(dir.path(), &["--out", "run"]));
    fs::rename(at("run"), at("whole")).unwrap();
    let mut done = 0;
    for index in ["0", "1", "2"] {
        let folder = format!("share-{index}");
        let told = succeeds(&mut everything(dir.path(), &["--out", &folder, "--index", index, "--of", "3"]));
        let lines = journal(&at(&folder)).lines().count();
        assert_eq!(told, format!("share {index} of 3: {lines} trainings\n"));
        assert!(lines > 400, "share {index} has {lines} trainings");
        done += lines;
    }
    let told = succeeds(&mut lrpilot(dir.path(), &["runs", "merge", "share-2", "share-0", "share-1", "--out", "run"]));
    assert!(told.contains("report: run/report.html"), "{told}");
    // What is left to the merge: three replays of each of two policies, on three tasks and two seeds.
    assert_eq!(journal(&at("run")).lines().count(), done + 3 * 2 * 3 * 2);
    assert_same(&undated(&at("run")), &undated(&at("whole")));
}

#[test]
fn a_killed_share_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let start = || everything(dir.path(), &["--threads", "1", "--out", "share", "--index", "1", "--of", "2"]);
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
    assert!(journal(&at("share")).lines().count() < journal(&at("calm")).lines().count());
    let unfinished = ["share 1 of 2 in share is not finished", "lrpilot runs resume share"];
    fails(&mut lrpilot(dir.path(), &["runs", "merge", "share", "--out", "run"]), 64, &unfinished);

    succeeds(&mut lrpilot(dir.path(), &["runs", "resume", "share"]));
    assert!(journal(&at("share")) == journal(&at("calm")), "a killed share goes on to other bits");
    let info = RunInfo::read(&RunFiles::new(at("share")).info()).unwrap().unwrap();
    assert_eq!(info.state, RunState::Finished);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let share = |out: &str, index: &str, of: &str| baselines(dir.path(), &["--out", out, "--index", index, "--of", of]);
    fails(&mut share("a", "2", "2"), 64, &["share 2 of 2", "give an index from 0 to 1"]);
    let text = fs::read_to_string(TINY).unwrap().replace("\"digits\"", "\"mnist\"");
    fs::write(at("own.toml"), text).unwrap();
    let words = ["a share needs the data of every task, and task 7 has none", "data fetch mnist", "--tasks"];
    let own = ["suite", "run", "--baselines", "--suite", "own.toml", "--out", "a", "--index", "0", "--of", "2"];
    fails(&mut lrpilot(dir.path(), &own), 64, &words);
    assert!(!at("a").exists(), "a refusal left a folder");

    succeeds(&mut share("a", "0", "2"));
    succeeds(&mut share("b", "1", "2"));
    succeeds(share("c", "1", "2").arg(POLICY));
    let other = ["suite", "run", "--baselines", "--tasks", "1", "--seeds", "3", "--suite", TINY, "--out", "d"];
    succeeds(lrpilot(dir.path(), &other).args(["--index", "1", "--of", "2"]));
    fails(share("a", "1", "2").arg("--resume"), 64, &["index = 0, now it is 1"]);
    let merge = |shares: &[&str]| {
        let mut command = lrpilot(dir.path(), &["runs", "merge", "--out", "out"]);
        command.args(shares);
        command
    };
    fails(&mut merge(&["a"]), 64, &["share 1 of 2 is not among the folders", "--index 1 --of 2"]);
    fails(&mut merge(&["a", "c"]), 64, &["a and c are shares of different experiments: policies (sha256) is"]);
    fails(&mut merge(&["a", "d"]), 64, &["a and d are shares of different experiments: seeds is 2 and 3"]);
    fails(&mut merge(&["a", "nowhere"]), 64, &["nowhere holds no run"]);

    // Of another command, and of another version of the program.
    let change = |folder: &str, from: &str, to: &str| {
        let file = RunFiles::new(at(folder)).info();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, to)).unwrap();
    };
    change("c", "\"kind\": \"suite\"", "\"kind\": \"compare\"");
    fails(&mut merge(&["a", "c"]), 64, &["a is a share of `suite`, c of `compare`", "shares of one experiment"]);
    let (ours, other) = (concat!("\"lrpilot ", env!("CARGO_PKG_VERSION"), "\""), "\"lrpilot 0.0.7\"");
    change("a", ours, other);
    fails(&mut merge(&["a", "b"]), 64, &["different experiments: version is lrpilot 0.0.7 and lrpilot"]);
    change("b", ours, other);
    fails(&mut merge(&["a", "b"]), 64, &["a was made by lrpilot 0.0.7", "put the shares together with lrpilot 0.0.7"]);
    assert!(!at("out").exists(), "a refusal left a folder");
}

/// What was trained on a task goes missing in no table, whoever puts it together.
#[test]
fn trainings_on_a_task_without_data_are_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data.csv");
    let rows: String = (0..60).map(|i| format!("{},{}\n", i % 7, ["no", "yes"][i % 2])).collect();
    fs::write(&data, format!("n,answer\n{rows}")).unwrap();
    let suite = format!(
        "name = 'own'\nseed = 1\n[[tasks]]\nnumber = 1\nregime = 'closed form'\n[tasks.task]\nkind = 'noisy-quadratic'\n\
         dimensions = 2\ninterval_steps = 1\nhorizon = 2\n[[tasks]]\nnumber = 2\nregime = 'a table'\n[tasks.task]\n\
         kind = 'supervised'\nname = 'own-table'\ndataset = 'csv'\nmodel = 'mlp-4'\nbatch_size = 10\nhorizon = 2\n\
         data = {{ train_images = 30, val_a = 10, val_b = 10, test = 10 }}\ncsv = {{ path = '{}', header = true }}\n",
        data.display()
    );
    fs::write(dir.path().join("own.toml"), suite).unwrap();
    let run = |more: &[&str]| {
        let mut command = lrpilot(dir.path(), &["suite", "run", "--baselines", "--seeds", "1", "--suite", "own.toml"]);
        command.args(["--out", "run"]).args(more);
        command
    };
    succeeds(&mut run(&[]));
    fs::remove_file(&data).unwrap();
    let words = ["run holds trainings on task 2 (own-table), whose data are not there", "data.csv", "go on where all"];
    fails(&mut run(&["--resume"]), 64, &words);
}

/// The script does in each task what it says, also when a task is started again, and names the command that ends it.
#[test]
fn the_script_for_slurm_makes_the_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    succeeds(&mut baselines(dir.path(), &["--out", "my run"]));
    fs::rename(at("my run"), at("whole")).unwrap();
    let mut export = lrpilot(dir.path(), &["sweep", "export", "slurm", "--workers", "2", "--"]);
    let command = ["suite", "run", "--baselines", "--tasks", "1", "--seeds", "2", "--suite", TINY, "--out", "my run"];
    let script = succeeds(export.args(QUIET).args(command));
    for task in ["0", "1", "1"] {
        succeeds(shell(dir.path(), &script).env("SLURM_ARRAY_TASK_ID", task));
    }
    let merge = script.lines().find_map(|line| line.strip_prefix("#   lrpilot runs merge ")).unwrap();
    succeeds(&mut shell(dir.path(), &format!("lrpilot runs merge {merge}")));
    assert_same(&undated(&at("my run")), &undated(&at("whole")));

    let manifest = ["sweep", "export", "k8s", "--workers", "2", "--image", "i", "--claim", "c", "--"];
    let manifest: serde_json::Value =
        serde_json::from_str(&succeeds(lrpilot(dir.path(), &manifest).args(command))).unwrap();
    let container = &manifest["spec"]["template"]["spec"]["containers"][0]["command"][2];
    let text = container.as_str().unwrap();
    assert!(
        text.contains("lrpilot suite run --baselines") && text.contains("--index \"$JOB_COMPLETION_INDEX\""),
        "{text}"
    );
    let mut share = lrpilot(dir.path(), &["sweep", "export", "slurm", "--workers", "2", "--"]);
    fails(share.args(command).args(["--index", "0", "--of", "2"]), 64, &["it is a share itself"]);
    let mut list = lrpilot(dir.path(), &["sweep", "export", "slurm", "--workers", "2", "--", "suite", "list"]);
    fails(&mut list, 64, &["only `compare` and `suite run` can", "suite run POLICY --out DIR"]);
}
