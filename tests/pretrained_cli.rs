//! The policies that come with the program are known by name wherever a command takes a policy.
#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;
#[path = "common/smallest.rs"]
mod smallest;

use command::{fails, succeeds};
use lrpilot::record::{Comparison, Kind};
use lrpilot::store::files::RunFiles;
use smallest::SMALLEST;
use std::fs;
use std::path::Path;
use std::process::Command;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/suite/tiny.toml");
const ON_TASK: [&str; 6] = ["--task", "noisy-quadratic", "--set", "task.horizon=1", "--evaluation-seeds", "2"];

fn lrpilot(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    command.current_dir(dir).args(["--progress", "silent"]).args(words);
    command
}

fn comparison(dir: &Path) -> Comparison {
    serde_json::from_slice(&fs::read(RunFiles::new(dir).comparison()).unwrap()).unwrap()
}

#[test]
fn both_names_are_the_same_policy() {
    let dir = tempfile::tempdir().unwrap();
    let commands: [&[&str]; 4] = [
        &["evaluate", "noisy-quadratic", "--schedule", "NAME"],
        &["explain", "NAME", "--task", "noisy-quadratic", "--seeds", "0"],
        &["schedule", "preview", "NAME", "--task", "noisy-quadratic"],
        &["schedule", "extract", "NAME", "--task", "noisy-quadratic", "--out", "lr.csv"],
    ];
    for words in commands {
        let with = |name: &str| {
            let words: Vec<&str> = words.iter().map(|word| if *word == "NAME" { name } else { word }).collect();
            succeeds(&mut lrpilot(dir.path(), &words))
        };
        assert_eq!(with("pretrained"), with("lrpilot-1"), "{words:?}");
    }
}

#[test]
fn the_suite_takes_both_names() {
    let dir = tempfile::tempdir().unwrap();
    let suite = ["suite", "run", "--suite", TINY, "--tasks", "1", "--seeds", "1", "--out"];
    succeeds(lrpilot(dir.path(), &suite).args(["reference", "--baselines"]));
    let mut both = lrpilot(dir.path(), &suite);
    succeeds(both.args(["both", "pretrained", "lrpilot-1", "--reference", "reference/reference.json"]));
    let text = fs::read_to_string(dir.path().join("both/suite.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (a, b) = (&results["policies"][0], &results["policies"][1]);
    assert_eq!((&a["name"], &b["name"]), (&"pretrained".into(), &"lrpilot-1".into()));
    assert_eq!((&a["sha256"], &a["aggregate"]), (&b["sha256"], &b["aggregate"]));
    // A policy is looked for before any data are.
    let words = ["suite", "run", "nowhere.safetensors", "--data-dir", "/nowhere", "--out", "out"];
    fails(&mut lrpilot(dir.path(), &words), 74, &["nowhere.safetensors", "no such file", "or `pretrained`"]);
}

/// It is in every comparison: named alone it is compared without another policy, named besides it changes nothing.
#[test]
fn a_comparison_takes_the_pretrained_policy() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let compare = |out: &str, policies: &[&str], more: &[&str]| {
        let mut command = lrpilot(dir.path(), &["compare", "--out", out]);
        command.args(policies).args(ON_TASK).args(more);
        command
    };
    let told = succeeds(&mut compare("alone", &["lrpilot-1"], &[]));
    assert!(told.contains("pretrained") && told.contains("report: alone/report.html"), "{told}");
    let alone = comparison(&at("alone"));
    // One training at each of the 100 learning rates of a grid.
    assert_eq!(alone.budget_epochs, 100);
    assert!(alone.methods.iter().all(|m| !matches!(m.kind, Kind::Learned | Kind::Control)));
    assert_eq!(alone.methods.iter().filter(|m| m.kind == Kind::Pretrained).count(), 1);
    for index in ["0", "1"] {
        succeeds(&mut compare(&format!("share-{index}"), &["pretrained"], &["--index", index, "--of", "2"]));
    }
    succeeds(&mut lrpilot(dir.path(), &["runs", "merge", "share-0", "share-1", "--out", "merged"]));
    assert_eq!(comparison(&at("merged")).methods, alone.methods);

    succeeds(lrpilot(dir.path(), &["learn", "noisy-quadratic", "--out", "policy"]).args(SMALLEST));
    succeeds(&mut compare("one", &["policy/policy.safetensors"], &[]));
    succeeds(&mut compare("both", &["pretrained", "policy/policy.safetensors"], &[]));
    assert_eq!(comparison(&at("both")).methods, comparison(&at("one")).methods);
    fails(&mut compare("out", &["pretraind"], &[]), 74, &["pretraind", "no such file", "or `pretrained`"]);
    assert!(!at("out").exists());
}
