//! Runs exported for auditors, trained again in PyTorch by `bench/replay_torch.py`: the losses agree to 1e-3 over 5 epochs.
//! Needs `LRPILOT_PYTHON`, a Python with torch and safetensors; says so and passes without.
#![cfg(feature = "cli")]

use assert_cmd::cargo::cargo_bin;
use std::path::Path;
use std::process::Command;

/// Optimizer and a learning rate at which training is stable: chaos would amplify rounding.
const OPTIMIZERS: [(&str, &str); 8] = [
    ("{type=\"sgd\",momentum=0.9,nesterov=true,weight_decay=1e-4}", "0.01"),
    ("{type=\"adam\"}", "3e-4"),
    ("{type=\"adamw\"}", "3e-4"),
    ("{type=\"nadam\"}", "3e-4"),
    ("{type=\"radam\"}", "3e-4"),
    ("{type=\"adadelta\"}", "0.1"),
    ("{type=\"adagrad\"}", "3e-3"),
    ("{type=\"rmsprop\"}", "1e-4"),
];

fn export(dir: &Path, model: &str, optimizer: &str, lr: &str) -> std::process::Output {
    Command::new(cargo_bin("lrpilot"))
        .args(["--progress", "silent", "evaluate", "digits", "--schedule", "cosine", "--lr", lr])
        .args(["--set", "task.horizon=5", "--set", "task.data.train_images=200", "--set"])
        .args([&format!("task.optimizer={optimizer}"), "--set", &format!("task.model=\"{model}\"")])
        .arg("--export-replay")
        .arg(dir)
        .output()
        .unwrap()
}

fn replays_agree(model: &str) {
    let Some(python) = std::env::var_os("LRPILOT_PYTHON") else {
        println!("skipped: LRPILOT_PYTHON does not name a Python that has torch");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/replay_torch.py");
    let folder = tempfile::tempdir().unwrap();
    for (i, (optimizer, lr)) in OPTIMIZERS.into_iter().enumerate() {
        let dir = folder.path().join(i.to_string());
        let exported = export(&dir, model, optimizer, lr);
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        let replay = Command::new(&python).arg(&script).arg(&dir).output().unwrap();
        let text = String::from_utf8_lossy(&replay.stdout);
        assert!(replay.status.success(), "{optimizer}\n{text}\n{}", String::from_utf8_lossy(&replay.stderr));
        println!("{model} {optimizer}: {}", text.lines().last().unwrap_or_default());
    }
}

#[test]
fn mlp() {
    replays_agree("mlp-32-32");
}

#[test]
fn cnn() {
    replays_agree("mnist-cnn");
}

#[test]
fn resnet() {
    replays_agree("resnet");
}

/// An optimizer that PyTorch does not have is refused before anything is written.
#[test]
fn other_optimizers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for optimizer in ["sls", "prodigy", "schedule-free-sgd", "schedule-free-adamw"] {
        let output = export(folder.path(), "mlp-32-32", &format!("{{type=\"{optimizer}\"}}"), "0.01");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(64) && error.contains("not one of torch.optim"), "{optimizer}: {error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    let output = export(folder.path(), "mlp-32-32", OPTIMIZERS[0].0, "0.01");
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
