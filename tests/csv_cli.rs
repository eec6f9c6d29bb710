//! A CSV file on the command line: learned on, evaluated, explained.
#![cfg(feature = "cli")]

#[path = "common/program.rs"]
mod program;

use program::{LITTLE, arguments, succeeds};
use std::path::Path;

/// A folder with a table of 60 rows, and the task file for it, whose path is absolute.
fn folder(task: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..60).map(|i| format!("{},{},{}\n", i % 7, ["x", "y"][i % 2], ["no", "yes"][i % 2])).collect();
    std::fs::write(folder.path().join("my.csv"), format!("n,letter,answer\n{rows}")).unwrap();
    let path = folder.path().join("my.csv");
    let text = format!(
        "[task]\nkind = \"supervised\"\nname = \"mine\"\ndataset = \"csv\"\nmodel = \"mlp-4\"\nbatch_size = 10\nhorizon = 2
        data = {{ train_images = 30, val_a = 10, val_b = 10, test = 10 }}
        csv = {{ path = '{}', header = true{task} }}\n[learn]\nepochs = 60\n",
        path.display()
    );
    std::fs::write(folder.path().join("mine.toml"), text).unwrap();
    folder
}

fn words<'a>(first: &'a [&'a str], file: &'a Path) -> Vec<&'a str> {
    [first, &[file.to_str().unwrap()]].concat()
}

#[test]
fn a_schedule_is_learned_and_evaluated_on_a_table() {
    let folder = folder("");
    let (file, out) = (folder.path().join("mine.toml"), folder.path().join("run"));
    let printed = succeeds(&arguments(&words(&["learn"], &file), &out, &LITTLE));
    assert!(printed.starts_with("policy: "), "{printed}");
    let quiet = ["--progress", "silent", "--schedule", "constant", "--lr", "0.1", "--set", "task.horizon=20"];
    let evaluate: Vec<String> = words(&["evaluate"], &file).into_iter().chain(quiet).map(String::from).collect();
    assert!(succeeds(&evaluate).contains("trained"), "the letter gives the answer");
    let config: Vec<String> = words(&["config"], &file).into_iter().map(String::from).collect();
    let printed = succeeds(&config);
    for words in ["[task.csv]", "separator = \",\"", "header = true", "# target = "] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    std::fs::write(&file, &printed).unwrap();
    assert_eq!(succeeds(&config), printed, "a printed file prints itself");
}

#[test]
fn a_regression_is_evaluated() {
    let folder = folder(", target = 'n'");
    let file = folder.path().join("mine.toml");
    let quiet = ["--progress", "silent", "--schedule", "cosine", "--lr", "0.05", "--set", "task.objective=regression"];
    let evaluate: Vec<String> = words(&["evaluate"], &file).into_iter().chain(quiet).map(String::from).collect();
    let printed = succeeds(&evaluate);
    assert!(printed.contains("final val loss") && !printed.contains("diverged"), "{printed}");
}
