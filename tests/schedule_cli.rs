//! `lrpilot schedule preview|extract|replay` as a user runs it.
#![cfg(feature = "cli")]

#[path = "common/program.rs"]
mod program;

use lrpilot::cli::context::load_config;
use lrpilot::run::{Record, run_trial};
use lrpilot::schedule::named::NAMED;
use lrpilot::task::{ConfiguredTask, TaskSource as _};
use lrpilot::{Schedule, schedule::Learned};
use program::{LITTLE, arguments};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// Four intervals of two steps.
const SMALL: [&str; 2] = ["task.horizon=4", "task.interval_steps=2"];
const SET: [&str; 4] = ["--set", SMALL[0], "--set", SMALL[1]];

/// A policy that has learned for a moment.
static POLICY: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    program::succeeds(&arguments(&["learn", "digits"], &out, &[&SMALL, &LITTLE[..], &["learn.epochs=60"]].concat()));
    let policy = out.join("policy.safetensors");
    (dir, policy)
});

fn policy() -> &'static str {
    POLICY.1.to_str().unwrap()
}

fn lrpilot(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    command.current_dir(dir).args(["--progress", "silent", "schedule"]).args(args).output().unwrap()
}

#[track_caller]
fn succeeds(dir: &Path, args: &[&str]) -> String {
    let output = lrpilot(dir, args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.is_empty(), "{args:?}: {}: {message}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(dir: &Path, args: &[&str], code: i32, words: &[&str]) {
    let output = lrpilot(dir, args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    assert!(words.iter().all(|word| message.contains(word)), "{args:?}: {message}");
}

/// The numbers of a file that the program wrote, through its own reading.
fn numbers(path: &Path) -> Vec<f64> {
    match Schedule::from_numbers(&std::fs::read_to_string(path).unwrap(), path).unwrap() {
        Schedule::Replay { lrs } => lrs,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_subcommand_has_an_example() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["preview", "extract", "replay"] {
        let help = succeeds(dir.path(), &[name, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("  lrpilot schedule {name} ")), "{help}");
    }
}

#[test]
fn every_name_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    for n in NAMED {
        let shown = succeeds(dir.path(), &["preview", n.name, "--intervals", "20", "--csv", "lr.csv"]);
        assert!(shown.starts_with("learning rate (log axis)") && shown.contains("largest LR"), "{}: {shown}", n.name);
        assert!(shown.lines().take(16).all(|line| line.chars().count() <= 80), "{shown}");
        let assumed = matches!(n.name, "plateau" | "greedy");
        assert_eq!(shown.contains("The loss is taken to be the same"), assumed, "{}: {shown}", n.name);
        let Some(Schedule::OpenLoop { schedule, lr }) = Schedule::named(n.name, 0.1, 20) else { continue };
        assert_eq!(numbers(&dir.path().join("lr.csv")), (0..20).map(|t| schedule.lr(lr, t)).collect::<Vec<_>>());
    }
}

#[test]
fn a_preview_is_written_in_three_forms() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["preview", "{type='step',step_size=1,gamma=0.5}", "--intervals", "3", "--lr", "0.5"];
    succeeds(dir.path(), &[&args[..], &["--csv", "a.csv", "--json", "a.json", "--svg", "a.svg"]].concat());
    let expected = [0.5, 0.25, 0.125];
    assert_eq!(numbers(&dir.path().join("a.csv")), expected);
    assert_eq!(numbers(&dir.path().join("a.json")), expected);
    assert!(std::fs::read_to_string(dir.path().join("a.svg")).unwrap().starts_with("<svg "));
    // Numbers have as many intervals as they are.
    let shown = succeeds(dir.path(), &["preview", "a.csv"]);
    let row: Vec<&str> = shown.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row, ["3", "5.00e-1", "5.00e-1", "1", "1.25e-1"], "{shown}");
}

/// The second loss is no better than the first, so ReduceLROnPlateau without patience halves the third interval's LR.
#[test]
fn a_metric_driven_schedule_sees_the_losses_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("losses.txt"), "1\n1\n0.5\n0.4\n").unwrap();
    let plateau = "{ type = 'plateau', patience = 0, factor = 0.5, lr = 0.4 }";
    let shown = succeeds(dir.path(), &["preview", plateau, "--metric", "losses.txt", "--csv", "lr.csv"]);
    assert!(!shown.contains("taken to be the same"), "{shown}");
    assert_eq!(numbers(&dir.path().join("lr.csv")), [0.4, 0.4, 0.2, 0.2]);
    fails(dir.path(), &["preview", "cosine", "--metric", "losses.txt"], 64, &["`cosine` does not look at losses"]);
}

#[test]
fn a_policy_needs_a_run_to_react_to() {
    let dir = tempfile::tempdir().unwrap();
    fails(dir.path(), &["preview", policy()], 64, &["policy.safetensors", "--task"]);
    let args = [&["preview", policy(), "--task", "digits", "--csv", "lr.csv"][..], &SET].concat();
    let shown = succeeds(dir.path(), &args);
    assert!(shown.contains("median over 3 runs"), "{shown}");
    let csv = std::fs::read_to_string(dir.path().join("lr.csv")).unwrap();
    assert!(csv.starts_with("interval,lr,lowest,highest\n") && csv.lines().count() == 5, "{csv}");
    for line in csv.lines().skip(1) {
        let cells: Vec<f64> = line.split(',').map(|c| c.parse().unwrap()).collect();
        assert!(cells[2] <= cells[1] && cells[1] <= cells[3], "{line}");
    }
}

/// The numbers of one seed are those of the same run done by the library, to the bit; those of two seeds are their
/// geometric mean, with one thread as with three.
#[test]
fn what_a_policy_did_is_extracted() {
    let dir = tempfile::tempdir().unwrap();
    let extract = |more: &[&str]| {
        let args = [&["extract", policy(), "--task", "digits"][..], &SET, more].concat();
        succeeds(dir.path(), &args);
    };
    extract(&["--seeds", "1", "--out", "one.csv", "--out", "one.json"]);
    extract(&["--seeds", "0", "--out", "zero.csv"]);
    extract(&["--seeds", "0,1", "--out", "two.csv", "--threads", "1"]);
    extract(&["--seeds", "0,1", "--out", "three.csv", "--threads", "3"]);
    let read = |name: &str| numbers(&dir.path().join(name));

    let config = load_config("digits", &SMALL.map(String::from), None).unwrap();
    let source = ConfiguredTask::new(&config.task, None).unwrap();
    let schedule = Schedule::learned(Learned::load(&POLICY.1).unwrap());
    let trial = run_trial(&mut *source.task(1).unwrap(), &schedule, 1, Record::Everything).unwrap();
    assert_eq!(read("one.csv"), trial.curve.iter().map(|i| i.lr).collect::<Vec<_>>());
    assert_eq!(read("one.json"), read("one.csv"));
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("one.json")).unwrap()).unwrap();
    assert_eq!((&json["seeds"], &json["task"]), (&serde_json::json!([1]), &serde_json::json!(config.task.name())));
    assert!(json["command"].as_str().unwrap().starts_with("lrpilot --progress silent schedule extract "), "{json}");

    let bytes = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert!(bytes("two.csv") == bytes("three.csv"));
    for ((mean, a), b) in read("two.csv").iter().zip(read("zero.csv")).zip(read("one.csv")) {
        assert!((mean / (a * b).sqrt() - 1.0).abs() < 1e-12, "{mean} of {a} and {b}");
    }
}

/// Numbers are as good as the schedule that they come from: the same table, to the last digit.
#[test]
fn numbers_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let extract = ["extract", "cosine", "--lr", "0.02", "--task", "digits", "--out", "lr.csv"];
    succeeds(dir.path(), &[&extract[..], &SET].concat());
    let seeds = ["--seeds", "0..2"];
    let replay = [&["replay", "lr.csv", "--task", "digits"][..], &seeds, &SET].concat();
    let replayed = succeeds(dir.path(), &replay);
    let mut evaluate = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    evaluate.args(["--progress", "silent", "evaluate", "digits", "--schedule", "cosine", "--lr", "0.02"]);
    let evaluated = evaluate.args(seeds).args(SET).output().unwrap();
    assert_eq!(replayed, String::from_utf8(evaluated.stdout).unwrap());
    assert_eq!(replayed.lines().count(), 3, "{replayed}");
    let cycled = ["extract", "one-cycle", "--task", "digits", "--set", "task.optimizer.momentum=0.9", "--out", "o.csv"];
    assert!(succeeds(dir.path(), &[&cycled[..], &SET].concat()).contains("also sets momentum"));
    let longer = [&["replay", "lr.csv", "--task", "digits", "--seeds", "0", "--set", "task.horizon=6"][..], &SET[2..]];
    let longer = succeeds(dir.path(), &longer.concat());
    assert!(longer.contains("4 learning rates for 6 intervals: the last one was held"), "{longer}");
}

/// A schedule of the family is fitted, written as a schedule, and gives the numbers that it was fitted to.
#[test]
fn a_closed_form_is_a_schedule() {
    let dir = tempfile::tempdir().unwrap();
    let extract = |schedule: &str, out: &str, more: &[&str]| {
        let args = ["extract", schedule, "--task", "digits", "--set", "task.horizon=30", "--out", out];
        succeeds(dir.path(), &[&args[..], more].concat())
    };
    let told = extract("warmup-stable-decay", "lr.csv", &["--lr", "0.1", "--closed-form", "--out", "closed.toml"]);
    for words in
        ["warm-up 10 %, peak 0.1000, hold 70 %, decay (1 − s)^1.000, floor 0", "as a schedule: {", "def closed_form"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    extract("closed.toml", "again.csv", &[]);
    let read = |name: &str| numbers(&dir.path().join(name));
    for (again, lr) in read("again.csv").iter().zip(read("lr.csv")) {
        assert!((again / lr - 1.0).abs() < 0.01, "{again} for {lr}");
    }
    let cycles = extract("cosine-warm-restarts", "c.csv", &["--closed-form"]);
    assert!(cycles.contains("error: rms 0.") && cycles.contains("decades"), "{cycles}");
}

#[test]
fn what_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let extract = ["extract", "cosine", "--task", "digits", "--out"];
    let with = |more: &[&'static str]| [&extract[..], more].concat();
    fails(dir.path(), &with(&["lr.yaml"]), 64, &["--out lr.yaml", ".csv, .json, .py"]);
    fails(dir.path(), &with(&["lr.toml"]), 64, &["lr.toml", "add --closed-form"]);
    fails(dir.path(), &with(&["none/lr.csv"]), 74, &["none"]);
    fails(dir.path(), &["extract", "cosin", "--task", "digits", "--out", "a.csv"], 64, &["did you mean `cosine`?"]);
    fails(dir.path(), &["replay", "none.csv", "--task", "digits"], 74, &["none.csv"]);
    fails(dir.path(), &["extract", "cosine", "--out", "a.csv"], 64, &["--task"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Compares the learning rates of the written scheduler with those of the CSV, for an optimizer of another LR.
const CHECK: &str = "
import csv, torch, lr as written
expected = [float(row['lr']) for row in csv.DictReader(open('lr.csv'))]
for rate in (None, written.closed_form):
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        groups = [{'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': lr} for lr in (3.0, 0.7)]
        optimizer = kind(groups, lr=0.5)
        scheduler = written.scheduler(optimizer, rate)
        for epoch in range(len(expected) + 2):
            want = expected[min(epoch, len(expected) - 1)] if rate is None else rate(epoch)
            for group in optimizer.param_groups:
                assert abs(group['lr'] - want) <= 1e-12 * max(expected), (epoch, group['lr'], want)
            if rate is not None and epoch < len(expected):
                assert abs(want / expected[epoch] - 1) < 0.01, (epoch, want, expected[epoch])
            optimizer.step()
            scheduler.step()
print('equal')
";

#[test]
fn the_python_file_is_a_scheduler_of_pytorch() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["extract", "warmup-stable-decay", "--lr", "0.3", "--task", "digits", "--set", "task.horizon=30"];
    let outputs = ["--out", "lr.py", "--out", "lr.csv", "--closed-form", "--set", "task.name=a \"quoted\" \\ name"];
    succeeds(dir.path(), &[&args[..], &outputs].concat());
    let python =
        |program: &std::ffi::OsStr, args: &[&str]| Command::new(program).current_dir(dir.path()).args(args).output();
    match python("python3".as_ref(), &["-m", "py_compile", "lr.py"]) {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("skipped: there is no python3"),
    }
    let Some(with_torch) = std::env::var_os("LRPILOT_PYTHON") else {
        println!("skipped: LRPILOT_PYTHON does not name a Python that has torch");
        return;
    };
    let output = python(&with_torch, &["-c", CHECK]).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "equal", "{}", String::from_utf8_lossy(&output.stderr));
}
