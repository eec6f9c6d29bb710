//! What the pages tell a reader to type: every `lrpilot` line is one that the program takes, and the README's run.
#![cfg(all(feature = "cli", unix))]

use assert_cmd::cargo::cargo_bin;
use clap::Parser as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "docs/guide"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    pages.sort();
    pages
}

/// The commands of a page's console blocks, as a shell splits them: `lrpilot …`, or what cargo runs instead.
fn commands(page: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(page).unwrap();
    let mut found = Vec::new();
    let mut console = false;
    for line in text.lines() {
        if line.starts_with("```") {
            console = line == "```console";
        }
        let Some(typed) = line.strip_prefix("$ ").filter(|_| console) else { continue };
        let typed = typed.replace("cargo run --release --", "lrpilot");
        let typed = typed.split(['>', '|', '#']).next().unwrap_or_default().trim();
        if !typed.starts_with("lrpilot ") {
            continue;
        }
        let split = Command::new("sh").arg("-c").arg(format!("printf '%s\\0' {typed}")).output().unwrap();
        assert!(split.status.success(), "{}: {typed}", page.display());
        let words = String::from_utf8(split.stdout).unwrap();
        found.push(words.trim_end_matches('\0').split('\0').map(str::to_owned).collect());
    }
    found
}

#[test]
fn every_command_is_one_that_the_program_takes() {
    let mut count = 0;
    for page in pages() {
        for words in commands(&page) {
            count += 1;
            if let Err(error) = lrpilot::cli::Cli::try_parse_from(&words) {
                panic!("{}: {}\n{error}", page.display(), words.join(" "));
            }
        }
    }
    assert!(count >= 5, "only {count} commands were found");
}

/// With a budget that a test can afford.
#[test]
fn the_first_commands_of_the_readme_run() {
    let folder = tempfile::tempdir().unwrap();
    let small =
        ["--policy-seeds", "1", "--evaluation-seeds", "2", "--set", "task.horizon=2", "--set", "learn.epochs=200"];
    let small = small.into_iter().chain(["--set", "learn.environments=2", "--set", "learn.candidates=2"]);
    for words in
        commands(&pages().into_iter().find(|p| p.ends_with("README.md") && !p.ends_with("guide/README.md")).unwrap())
    {
        let mut command = Command::new(cargo_bin("lrpilot"));
        if words[..2] == ["lrpilot", "evaluate"] {
            command.args(&words[1..]).args(["--set", "task.horizon=2"]).current_dir(folder.path());
            assert!(command.output().unwrap().status.success(), "{words:?}");
            continue;
        }
        assert_eq!(words[..2], ["lrpilot", "demo"], "a test of this command is missing");
        command.args(&words[1..]).args(small.clone()).current_dir(folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report = folder.path().join("runs/demo-digits/report.html");
        assert!(report.is_file(), "the README says that it is written");
    }
}
