//! Every command line that is printed can be pasted into a shell and does what it says.
#![cfg(all(feature = "cli", unix))]

#[path = "common/smallest.rs"]
mod smallest;

use assert_cmd::cargo::cargo_bin;
use lrpilot::cli::command::quote;
use smallest::SMALLEST;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn lrpilot(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("lrpilot"));
    command.current_dir(dir).args(args);
    command
}

/// Run a printed line as a user does who pastes it into a shell, with the program on the path.
fn paste(dir: &Path, line: &str) -> Output {
    let binary = cargo_bin("lrpilot");
    let mut path = OsString::from(binary.parent().unwrap());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    Command::new("sh").current_dir(dir).env("PATH", path).arg("-c").arg(line).output().unwrap()
}

#[track_caller]
fn succeeds(output: Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What stands behind `label` on the line of `text` that has it.
#[track_caller]
fn behind<'a>(text: &'a str, label: &str) -> &'a str {
    let line = text.lines().find_map(|line| Some(line.split_once(label)?.1));
    line.unwrap_or_else(|| panic!("no `{label}` in `{text}`")).trim()
}

/// The words are what a shell itself gives to a program, byte for byte.
#[test]
fn a_quoted_word_is_the_same_word_to_a_shell() {
    let words: [&[u8]; 16] = [
        b"",
        b"plain-word_1./x",
        b"two words",
        b"it's",
        b"\"$HOME\" `id` $(id) \\ ! * ? [a] {b,c} ~ # & | ; < >",
        b"~",
        b"a\nb",
        b"ends\n\n",
        b"\n",
        b"tab\there",
        b"bad\xff\xfe",
        b"-n\xff",
        b"100%\xff\\n'\"",
        b"\xff\n",
        "größer \u{1F600}".as_bytes(),
        b"\x1b[31m",
    ];
    for word in words {
        let quoted = quote(OsStr::from_bytes(word));
        assert!(quoted.bytes().all(|b| b == b'\n' || b >= b' '), "{quoted:?} cannot be shown");
        let output = Command::new("sh").arg("-c").arg(format!("printf %s {quoted}")).output().unwrap();
        assert_eq!(output.stdout, word, "{quoted}");
    }
}

/// Interrupt a run with the first progress that it tells; the line that it ends with goes on to the end.
fn interrupt_and_resume(dir: &Path, out: &OsStr) {
    let small = ["learn.epochs=1300", "learn.environments=4", "learn.candidates=2", "learn.selection_seeds=1"];
    let odd = ["env.reward={type=\"log-improvement\",epsilon=1e-3}", "task.name=it's my $task"];
    let mut command = lrpilot(dir, &["learn", "digits", "--progress", "json", "--out"]);
    command.arg(out).args(small.into_iter().chain(odd).flat_map(|setting| ["--set", setting]));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(child.stderr.take().unwrap());
    let begun = events.by_ref().lines().any(|line| line.unwrap().contains(r#""event":"advance""#));
    assert!(begun, "the run ended before it began");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut told = String::new();
    events.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75), "{told}");
    let resume = behind(&told, "resume with: ");
    assert!(resume.starts_with("lrpilot learn digits ") && resume.ends_with("--resume"), "{resume}");
    let listed = succeeds(lrpilot(dir, &["runs", "."]).output().unwrap());
    assert_eq!(behind(&listed, "interrupted; resume with: "), resume);
    let output = paste(dir, resume);
    assert!(output.status.success(), "{resume}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(dir.join(out).join("policy.safetensors").exists());
}

#[test]
fn the_resume_line_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    interrupt_and_resume(dir.path(), OsStr::new("my run's folder"));
}

/// Linux takes any bytes as a name.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_whose_name_is_not_utf8_is_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    interrupt_and_resume(dir.path(), OsStr::from_bytes(b"bad\xff name"));
    let mut command = lrpilot(dir.path(), &["learn", "digits", "--out", "good", "--set"]);
    let output = command.arg(OsStr::from_bytes(b"task.name=\xff")).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!dir.path().join("good").exists());
}

#[test]
fn the_next_line_compares_on_the_same_task() {
    let dir = tempfile::tempdir().unwrap();
    let mut learn =
        lrpilot(dir.path(), &["learn", "digits", "--out", "my run/", "--seed", "4", "--data-dir", "no where"]);
    learn.args(SMALLEST).args(["--set", "task.optimizer.type=adam", "--set", "task.name=two words"]);
    let told = succeeds(learn.output().unwrap());
    let next = behind(&told, "next:");
    assert!(next.contains("--data-dir 'no where'"), "{next}");
    let table = succeeds(paste(dir.path(), next));
    assert!(table.contains("report: my run-compared/report.html"), "{table}");
    let config = |folder: &str| std::fs::read_to_string(dir.path().join(folder).join("config.toml")).unwrap();
    assert_eq!(config("my run-compared"), config("my run"));
    assert!(config("my run").contains("adam"));
}

/// A task of one's own comes from a file; the next line names it.
#[test]
fn the_next_line_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = "[task]\nkind = \"noisy-quadratic\"\nhorizon = 1\n[learn]\nepochs = 100\nenvironments = 1\n\
                candidates = 1\nselection_seeds = 1\n[ppo]\nn_steps = 1\n";
    std::fs::write(dir.path().join("my task.toml"), file).unwrap();
    let told = succeeds(lrpilot(dir.path(), &["learn", "my task.toml", "--out", "run"]).output().unwrap());
    succeeds(paste(dir.path(), behind(&told, "next:")));
    assert!(dir.path().join("run-compared/comparison.json").exists());
}

#[test]
fn a_demo_of_the_papers_formulation_names_the_command_that_learns_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = lrpilot(dir.path(), &["demo", "--task", "noisy-quadratic", "--set", "env.formulation=paper"]);
    let output = demo.args(SMALLEST).args(["--set", "task.name=a b"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(!dir.path().join("runs").exists());
    let told = String::from_utf8(output.stderr).unwrap();
    let learned = succeeds(paste(dir.path(), behind(&told, "at its end: ")));
    let compared = succeeds(paste(dir.path(), behind(&learned, "next:")));
    assert!(compared.contains("report: "), "{compared}");
}

#[test]
fn missing_data_names_the_command_that_fetches_them() {
    let dir = tempfile::tempdir().unwrap();
    let evaluate = ["evaluate", "mnist-mlp", "--schedule", "cosine", "--data-dir", "my data"];
    let output = lrpilot(dir.path(), &evaluate).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{told}");
    assert!(told.contains("`lrpilot data fetch mnist --data-dir 'my data'`"), "{told}");
}

#[test]
fn the_replay_line_quotes_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let evaluate = ["evaluate", "digits", "--schedule", "cosine", "--set", "task.horizon=1", "--export-replay", "a b"];
    let told = succeeds(lrpilot(dir.path(), &evaluate).output().unwrap());
    assert_eq!(behind(&told, "with: "), "python bench/replay_torch.py 'a b'");
}
