//! `lrpilot explain` as a user runs it: on a run folder, on policy files, and on what is neither.
#![cfg(all(feature = "cli", unix))]

#[path = "common/command.rs"]
mod command;

use assert_cmd::cargo::cargo_bin;
use command::{fails, succeeds};
use lrpilot::run::{Record, run_trial};
use lrpilot::task::{ConfiguredTask, Preset};
use lrpilot::{Schedule, TaskSource};
use lrpilot_core::control::{Action, Observation, OnDivergence};
use lrpilot_core::generalist::{FEATURES, Generalist, GeneralistSpec};
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{Learned, OptimizerFamily, Policy, PolicySpec, RunSpec};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn lrpilot(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.current_dir(dir).args(["--progress", "silent"]).args(args);
    command
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&succeeds(&mut lrpilot(dir, &[args, &["--json"]].concat()))).unwrap()
}

/// Two updates of two environments.
fn learn(dir: &Path) {
    let set =
        ["task.horizon=5", "learn.epochs=120", "learn.environments=2", "learn.candidates=1", "learn.selection_seeds=1"];
    let set = set.iter().chain(&["ppo.n_steps=25", "ppo.batch_size=25"]).flat_map(|s| ["--set", *s]);
    let args: Vec<&str> = ["learn", "digits", "--out", "run"].into_iter().chain(set).collect();
    succeeds(&mut lrpilot(dir, &args));
}

/// A pretrained policy with some fixed weights, whose input number 0 has none.
fn generalist() -> Generalist {
    let sizes = vec![FEATURES.len(), 8, 1];
    let mut params: Vec<f32> = (0..Policy::param_count(&sizes)).map(|i| ((i as f32 * 0.37).sin()) * 0.3).collect();
    (0..8).for_each(|unit| params[FEATURES.len() * unit] = 0.0);
    Generalist::new(Policy::new(sizes, params, None), GeneralistSpec::plain(), Provenance::default()).unwrap()
}

fn generalist_file(dir: &Path) {
    std::fs::write(dir.join("wide.safetensors"), generalist().to_bytes().unwrap()).unwrap();
}

/// The paper's observation of a network with two groups.
fn two_groups(dir: &Path) {
    let spec = PolicySpec {
        observation: Observation::Paper,
        action: Action::Linear {},
        hyperparameters: Vec::new(),
        on_divergence: OnDivergence::Terminate {},
        initial_lr: None,
        max_anchor_distance: 0.5,
        observed_groups: 2,
    };
    let run = RunSpec::new(10, OptimizerFamily::Adam, Vec::new());
    let policy = Learned::new(Policy::new(vec![4, 1], vec![0.0; 5], None), spec, run, Provenance::default()).unwrap();
    policy.save(&dir.join("two.safetensors")).unwrap();
}

#[test]
fn a_learned_run_is_explained_with_values() {
    let dir = tempfile::tempdir().unwrap();
    learn(dir.path());
    let args = ["explain", "run", "--seeds", "0..2", "--top", "2", "--report", "why.html"];
    let shown = succeeds(&mut lrpilot(dir.path(), &args));
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    for part in ["digits, seed 0", "value", "20 %", "over 10 decisions of 2 runs", "report: why.html"] {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    assert!(!shown.contains("No value"), "{shown}");
    let page = std::fs::read_to_string(dir.path().join("why.html")).unwrap();
    assert!(page.contains("Decisions of seed 0") && page.contains("<svg class=\"response\""));
    assert!(!page.contains("<script") && !page.contains("http"), "nothing from outside");

    // The rates are those of an evaluation.
    let all = json(dir.path(), &["explain", "run", "--seeds", "0..2"]);
    let decisions = all["runs"][0]["decisions"].as_array().unwrap();
    let mut config = Preset::Digits.config();
    let source = match &mut config {
        lrpilot::task::TaskConfig::Supervised(task) => {
            task.horizon = 5;
            ConfiguredTask::new(&config, None).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let policy = Schedule::load(dir.path().join("run/policy.safetensors")).unwrap();
    let trial = run_trial(&mut *source.task(0).unwrap(), &policy, 0, Record::Everything).unwrap();
    let rates: Vec<f64> = decisions.iter().map(|d| d["lr"].as_f64().unwrap()).collect();
    assert_eq!(rates, trial.curve.iter().map(|i| i.lr).collect::<Vec<_>>());
    assert!(decisions.iter().all(|d| d["value"].is_number() && d["residual"].is_null()));
    assert_eq!(decisions[0]["influences"].as_array().unwrap().len(), 25);

    // The report of the run has the curves, and loses only them with their file.
    let report = || std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    let whole = report();
    assert!(whole.contains("id=\"responses\"") && whole.contains("<svg class=\"response\""));
    succeeds(&mut lrpilot(dir.path(), &["report", "run"]));
    assert!(report() == whole, "the same files give another page");
    std::fs::remove_file(dir.path().join("run/responses.json")).unwrap();
    succeeds(&mut lrpilot(dir.path(), &["report", "run"]));
    assert!(!report().contains("id=\"responses\"") && report().contains("id=\"sensitivity\""));

    // Without its checkpoint there are decisions, but no values.
    std::fs::remove_dir_all(dir.path().join("run/checkpoint")).unwrap();
    let shown = succeeds(&mut lrpilot(dir.path(), &["explain", "run", "--seeds", "0"]));
    assert!(shown.contains("No value of the decisions: there is no checkpoint in"), "{shown}");
    std::fs::remove_file(dir.path().join("run/policy.safetensors")).unwrap();
    fails(
        &mut lrpilot(dir.path(), &["explain", "run"]),
        65,
        &["run: there is no policy", "finish the run with: lrpilot"],
    );
}

#[test]
fn a_policy_file_is_explained_and_an_input_without_weight_has_no_influence() {
    let dir = tempfile::tempdir().unwrap();
    generalist_file(dir.path());
    let args = ["explain", "wide.safetensors", "--task", "noisy-quadratic", "--seeds", "3,1"];
    let shown = succeeds(&mut lrpilot(dir.path(), &args));
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains("noisy-quadratic, seed 3") && shown.contains("against its base"), "{shown}");
    assert!(shown.contains("No value of the decisions: only the folder of a run"), "{shown}");
    let all = json(dir.path(), &args);
    assert_eq!((&all["runs"][0]["seed"], &all["runs"][1]["seed"]), (&Value::from(3), &Value::from(1)));
    let inputs = all["inputs"].as_array().unwrap();
    assert_eq!(inputs.len(), FEATURES.len());
    let ignored = inputs.iter().find(|i| i["name"] == FEATURES[0]).unwrap();
    assert_eq!(ignored["influence"], 0.0);
    assert!(ignored["curve"].as_array().unwrap().windows(2).all(|pair| pair[0][1] == pair[1][1]), "a flat line");
    let decision = &all["runs"][0]["decisions"][4];
    assert!(decision["value"].is_null() && decision["residual"].is_number());
    let one = json(dir.path(), &[&args[..], &["--threads", "1"]].concat());
    assert_eq!(one, all, "the number of threads changes nothing");
}

#[test]
fn what_is_no_policy_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    two_groups(dir.path());
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let refused = |args: &[&str], code, words: &[&str]| fails(&mut lrpilot(dir.path(), args), code, words);
    refused(
        &["explain", "runs/none"],
        64,
        &["no run folder and no policy `runs/none`", "lrpilot learn", ".safetensors"],
    );
    refused(&["explain", "cosine"], 64, &["`cosine` is a schedule without a policy", "lrpilot learn"]);
    refused(&["explain", "empty"], 65, &["empty: not a run folder", "lrpilot learn"]);
    refused(&["explain", "none.safetensors"], 74, &["none.safetensors"]);
    refused(
        &["explain", "two.safetensors", "--task", "digits"],
        65,
        &["2 parameter groups", "learn a policy on this task"],
    );
    refused(&["explain", "two.safetensors", "--task", "digit"], 64, &["`digit`", "digits"]);
    let help = succeeds(&mut lrpilot(dir.path(), &["explain", "--help"]));
    assert!(help.contains("Example") && help.contains("  lrpilot explain runs/digits"), "{help}");
}
