//! `lrpilot learn` as a user runs it: the same bits for any number of threads and after any interruption, and wrong
//! input that harms nothing.
#![cfg(all(feature = "cli", unix))]

#[path = "common/command.rs"]
mod command;

use assert_cmd::cargo::cargo_bin;
use command::{fails, succeeds};
use lrpilot_core::control::{Action, Observation, OnDivergence};
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{Learned, OptimizerFamily, Policy, PolicySpec, RunSpec};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A budget of a few seconds: 12 updates of 4 × 25 epochs and the selection.
const SMALL: [&str; 8] = [
    "--set",
    "learn.epochs=1300",
    "--set",
    "learn.environments=4",
    "--set",
    "learn.candidates=2",
    "--set",
    "learn.selection_seeds=1",
];

fn lrpilot(args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.args(["--progress", "silent"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn learn(out: &Path, more: &[&str]) -> Command {
    let out = out.to_str().unwrap();
    let mut command = lrpilot(&["learn", "digits", "--out", out, "--seed", "5"]);
    command.args(SMALL).args(more);
    command
}

/// The files that must be the same to the bit.
fn results(folder: &Path) -> [Vec<u8>; 2] {
    ["policy.safetensors", "updates.jsonl"].map(|name| std::fs::read(folder.join(name)).unwrap())
}

/// Wait until the run has saved `updates` updates.
fn wait_for_updates(folder: &Path, updates: usize) {
    wait_until(|| {
        let text = std::fs::read_to_string(folder.join("updates.jsonl")).unwrap_or_default();
        text.lines().count() >= updates && folder.join("checkpoint/HEAD").exists()
    });
}

#[track_caller]
fn wait_until(reached: impl Fn() -> bool) {
    for _ in 0..2000 {
        if reached() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the run did not get that far");
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn threads_and_interruptions_do_not_change_a_bit() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, threads, killed, stopped] = ["whole", "threads", "killed", "stopped"].map(|n| dir.path().join(n));
    succeeds(&mut learn(&whole, &["--threads", "1"]));
    let expected = results(&whole);

    succeeds(&mut learn(&threads, &["--threads", "2"]));
    assert!(results(&threads) == expected, "2 threads give other bits than 1");

    for updates in [1, 4, 7] {
        let resume: &[&str] = if updates == 1 { &[] } else { &["--resume"] };
        let mut child = learn(&killed, resume).spawn().unwrap();
        wait_for_updates(&killed, updates);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    succeeds(&mut learn(&killed, &["--resume"]));
    assert!(results(&killed) == expected, "a killed run resumes to other bits");

    let child = learn(&stopped, &[]).spawn().unwrap();
    wait_for_updates(&stopped, 2);
    send("-INT", &child);
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{message}");
    assert!(message.contains("--resume"), "{message}");
    succeeds(&mut learn(&stopped, &["--resume"]));
    assert!(results(&stopped) == expected, "an interrupted run resumes to other bits");
}

/// Read the child's progress up to the first event of this kind.
#[track_caller]
fn wait_for_event(events: &mut impl std::io::BufRead, kind: &str) {
    let sought = format!(r#""event":"{kind}""#);
    assert!(events.lines().any(|line| line.unwrap().contains(&sought)), "the process ended without {kind}");
}

/// The signal comes with the first of the 2,000 epochs of an update, of which there are more than one.
#[test]
fn the_first_signal_says_what_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.args(["learn", "digits", "--progress", "json", "--out"]).arg(&out).args(["--set", "ppo.n_steps=100"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(child.stderr.take().unwrap());
    wait_for_event(&mut events, "advance");
    send("-INT", &child);
    let mut told = String::new();
    events.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75), "{told}");
    let stopping = "Stopping after the current update, which will be saved. Press Ctrl-C again to stop now.";
    assert!(told.lines().any(|l| l.contains(r#""event":"message""#) && l.contains(stopping)), "{told}");
}

/// SIGTERM, because a shell may have its background jobs ignore SIGINT.
#[test]
fn a_signal_ends_what_cannot_be_resumed() {
    let evaluate = ["evaluate", "digits", "--schedule", "constant", "--lr", "0.01", "--set", "task.horizon=20000"];
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.args(["--progress", "json"]).args(evaluate).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The training has begun.
    let mut events = BufReader::new(child.stderr.take().unwrap());
    wait_for_event(&mut events, "start");
    send("-TERM", &child);
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn wrong_input_is_named_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let set = |setting: &'static str| ["--set", setting];
    fails(&mut learn(&out, &set("learn.epoch=3")), 78, &["learn: unknown key `epoch`", "`epochs`"]);
    fails(&mut learn(&out, &set("learn.epochs=0")), 78, &["learn.epochs", "at least 1"]);
    fails(&mut learn(&out, &set("learn.epochs=10")), 78, &["learn.epochs", "10 epochs are less than"]);
    fails(&mut learn(&out, &set("task.lr_bounds=[1.0, 1e-6]")), 78, &["task.lr_bounds", "0 < min < max"]);
    fails(&mut learn(&out, &set("task.lr_bounds=[1e-6, inf]")), 78, &["task.lr_bounds", "finite"]);
    fails(&mut learn(&out, &set("ppo.gamma=1.5")), 78, &["ppo.gamma", "1.5"]);
    fails(&mut learn(&out, &set("task.optimizer.momentum=2.0")), 78, &["task.optimizer.momentum", "2"]);
    fails(&mut lrpilot(&["learn", "digit", "--out", out.to_str().unwrap()]), 64, &["digit", "digits-clean"]);
    assert!(!out.exists(), "a refused run left a folder");

    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("thesis.tex"), "years of work").unwrap();
    fails(&mut learn(&out, &[]), 64, &["run", "--out"]);
    assert_eq!(std::fs::read_to_string(out.join("thesis.tex")).unwrap(), "years of work");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn missing_and_damaged_data_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let verify = |name: &str| lrpilot(&["data", "verify", name, "--data-dir", data]);
    fails(&mut verify("mnist"), 65, &["train-images-idx3-ubyte.gz", "lrpilot data fetch mnist"]);
    fails(&mut verify("minst"), 64, &["minst", "mnist"]);
    let folder = dir.path().join("mnist");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("train-images-idx3-ubyte.gz"), b"not gzip").unwrap();
    fails(&mut verify("mnist"), 65, &["truncated or corrupt gzip"]);
    std::fs::rename(folder.join("train-images-idx3-ubyte.gz"), folder.join("train-images-idx3-ubyte")).unwrap();
    fails(&mut verify("mnist"), 65, &["wrong checksum"]);
    fails(&mut lrpilot(&["evaluate", "mnist-mlp", "--schedule", "cosine", "--data-dir", data]), 65, &["checksum"]);
}

#[test]
fn a_policy_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("p.safetensors");
    std::fs::write(&policy, b"\0\0\0\0\0\0\0\0").unwrap();
    let (policy, out) = (policy.to_str().unwrap(), dir.path().join("out"));
    let out = out.to_str().unwrap();
    fails(&mut lrpilot(&["compare", policy, "--task", "digits", "--out", out]), 65, &["p.safetensors", "not a policy"]);
    fails(&mut lrpilot(&["compare", "nowhere", "--task", "digits", "--out", out]), 74, &["nowhere"]);
    assert!(!Path::new(out).exists());
}

#[test]
fn evaluate_prints_a_row_for_each_seed() {
    let table =
        succeeds(&mut lrpilot(&["evaluate", "digits", "--schedule", "cosine", "--lr", "0.02", "--seeds", "0..3"]));
    assert_eq!(table.trim_end().lines().count(), 1 + 3, "{table}");
    fails(&mut lrpilot(&["evaluate", "digits", "--schedule", "cosin"]), 64, &["cosin", "one-cycle"]);
}

/// An LR from which the policy has not learned to start is not dropped in silence.
#[test]
fn evaluate_says_where_the_anchor_replaces_the_lr() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.safetensors");
    step_down().save(&policy).unwrap();
    let told = |lr: &str| {
        let mut command = Command::new(cargo_bin("lrpilot"));
        command.args(["--progress", "json", "evaluate", "digits", "--set", "task.horizon=2", "--lr", lr, "--schedule"]);
        let output = command.arg(&policy).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(told("1e-6").contains("seed 0: --lr 0.000001 ignored: it is more than 0.5 decades from the anchor"));
    assert!(!told("0.01").contains("anchor"));
}

/// A file with a task of its own, and the noisy quadratic, go through learning too.
#[test]
fn a_configuration_file_is_learned() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    std::fs::write(
        &file,
        "seed = 2\n[task]\nkind = \"noisy-quadratic\"\nhorizon = 5\n[learn]\nepochs = 400\nenvironments = 4\n\
         candidates = 1\nselection_seeds = 1\n[ppo]\nn_steps = 10\n",
    )
    .unwrap();
    let out = dir.path().join("run");
    let run = ["learn", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    assert!(succeeds(&mut lrpilot(&run)).contains("policy.safetensors"));
    assert!(out.join("report.html").exists());
    std::fs::write(&file, "[task]\nkind = \"noisy-quadratic\"\nhorizn = 5\n").unwrap();
    let other = dir.path().join("other");
    let run = ["learn", file.to_str().unwrap(), "--out", other.to_str().unwrap()];
    fails(&mut lrpilot(&run), 78, &["horizn", "`horizon`"]);
}

/// The paper's observation has an entry per layer: such a policy cannot watch a network with another number of layers.
#[test]
fn a_policy_for_another_observation_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let learn = ["learn", "digits", "--out", out.to_str().unwrap(), "--set", "env.formulation=paper"];
    succeeds(lrpilot(&learn).args(["--set", "ppo.n_steps=100", "--set", "learn.epochs=200"]));
    let policy = out.join("policy.safetensors");
    let evaluate = ["evaluate", "digits", "--schedule", policy.to_str().unwrap()];
    succeeds(&mut lrpilot(&evaluate));
    fails(
        lrpilot(&evaluate).args(["--set", "task.model=\"mlp-8\""]),
        65,
        &["policy.safetensors", "3 parameter groups", "has 2"],
    );
}

/// Before a folder is made, which would be in the way of the next attempt.
#[test]
fn a_budget_below_one_grid_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (learned, compared) = (dir.path().join("learned"), dir.path().join("compared"));
    let learn = ["learn", "digits", "--out", learned.to_str().unwrap(), "--set", "env.formulation=paper"];
    succeeds(lrpilot(&learn).args(["--set", "ppo.n_steps=100", "--set", "learn.epochs=200"]));
    let policy = learned.join("policy.safetensors");
    let compare = ["compare", policy.to_str().unwrap(), "--task", "digits", "--out", compared.to_str().unwrap()];
    fails(&mut lrpilot(&compare), 78, &["learn.epochs", "200 epochs are less than one grid of 100 LRs, 5000"]);
    assert!(!compared.exists());
}

/// A policy of version 2 that always takes a small step down and may start within half a decade of the anchor.
fn step_down() -> Learned {
    let spec = PolicySpec {
        observation: Observation::StateBlind,
        action: Action::Multiplicative { step: 0.5 },
        hyperparameters: Vec::new(),
        on_divergence: OnDivergence::RollBack { factor: 0.1, reward: -0.2 },
        initial_lr: None,
        max_anchor_distance: 0.5,
        observed_groups: 0,
    };
    let run = RunSpec::new(10, OptimizerFamily::Sgd { momentum: 0.0 }, Vec::new());
    Learned::new(Policy::new(vec![3, 1], vec![0.0, 0.0, 0.0, -0.2], None), spec, run, Provenance::default()).unwrap()
}
