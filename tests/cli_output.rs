//! What the subcommands print and write when all is well.
#![cfg(feature = "cli")]

#[path = "common/program.rs"]
mod program;

use program::{LITTLE, arguments, succeeds};
use std::path::Path;

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Arguments that learn a policy of the noisy quadratic, or of a small network with a momentum, in a second.
fn learn(task: &str, out: &Path, more: &[&str], settings: &[&str]) -> Vec<String> {
    let tiny = ["task.horizon=2", "task.interval_steps=2", "learn.epochs=208"];
    arguments(&[&["learn", task], more].concat(), out, &[&tiny, &LITTLE[..], settings].concat())
}

/// One setting of each section, none of them the default.
const SECTIONS: [&str; 5] = [
    "seed=9",
    "task.dimensions=3",
    "env.reward={ type = \"log-improvement\", epsilon = 0.25, capped = false }",
    "learn.candidates=3",
    "ppo.gamma=0.875",
];

#[test]
fn each_section_of_the_configuration_is_set_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    succeeds(&learn("noisy-quadratic", &out, &[], &SECTIONS));
    let config: toml::Table = read(&out, "config.toml").parse().unwrap();
    let sections: Vec<&str> = config.keys().map(String::as_str).collect();
    assert_eq!(sections, ["env", "learn", "ppo", "seed", "task"], "each has a setting above");
    assert_eq!(config["seed"].as_integer(), Some(9));
    assert_eq!(config["task"]["dimensions"].as_integer(), Some(3));
    assert_eq!(config["env"]["reward"]["epsilon"].as_float(), Some(0.25));
    assert_eq!(config["learn"]["candidates"].as_integer(), Some(3));
    assert_eq!(config["ppo"]["gamma"].as_float(), Some(0.875));

    // And they are what is learned with: the same without one of them gives other updates, or another number of them.
    let updates = read(&out, "updates.jsonl");
    for (i, left_out) in SECTIONS.iter().enumerate() {
        let others: Vec<&str> = SECTIONS.iter().copied().filter(|setting| setting != left_out).collect();
        let out = dir.path().join(i.to_string());
        succeeds(&learn("noisy-quadratic", &out, &[], &others));
        assert_ne!(read(&out, "updates.jsonl"), updates, "{left_out}");
    }
}

#[test]
fn report_writes_the_page_of_a_learned_policy_anew() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let printed = succeeds(&learn("noisy-quadratic", &out, &[], &[]));
    for line in ["policy: ", "report: ", "next:   lrpilot compare "] {
        assert!(printed.lines().any(|l| l.starts_with(line)), "{printed}");
    }
    report_again(&out, &["training"]);
}

/// The page is there again, with the sections `ids` that it had.
#[track_caller]
fn report_again(out: &Path, ids: &[&str]) {
    let has = |page: &str| ids.iter().filter(|id| page.contains(&format!("id=\"{id}\""))).count();
    assert_eq!(has(&read(out, "report.html")), ids.len(), "{ids:?}");
    std::fs::remove_file(out.join("report.html")).unwrap();
    let printed = succeeds(&["report".to_owned(), text(out)]);
    assert_eq!(printed, format!("report: {}\n", out.join("report.html").display()));
    assert_eq!(has(&read(out, "report.html")), ids.len(), "{ids:?}");
}

#[test]
fn data_list_shows_every_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let list = ["data", "list", "--data-dir"].map(String::from).to_vec();
    let printed = succeeds(&[list, vec![text(dir.path())]].concat());
    let rows: Vec<Vec<&str>> = printed.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let mut names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    names.sort_unstable();
    // What `task.dataset` may be.
    assert_eq!(names, ["cifar-10", "cifar-100", "cifar-100-coarse", "digits", "fashion-mnist", "mnist"]);
    for row in rows {
        let there = if row[0] == "digits" { ["yes", "embedded"] } else { ["no", "-"] };
        assert_eq!(row[1..], there, "{}: the folder is empty", row[0]);
    }
}

/// `bash -n` reads a script without running it.
#[cfg(unix)]
#[test]
fn bash_can_read_its_completions() {
    let script = succeeds(&["completions", "bash"].map(String::from));
    let mut bash = assert_cmd::Command::new("bash");
    bash.args(["-n", "-c", &script]).assert().success().stderr("");
    let commands =
        ["demo", "learn", "compare", "evaluate", "schedule", "paper", "report", "data", "runs", "completions"];
    for name in commands {
        assert!(script.contains(&format!("lrpilot__subcmd__{name}")), "no completions for `{name}`");
    }
}

const MOMENTUM: &str = "env.knobs=[{ knob = \"momentum\", min = 0.5, max = 0.99 }]";

/// Each input's effect on each of the two outputs is in the page, with both names.
#[track_caller]
fn shows_both_outputs(out: &Path) {
    let page = read(out, "report.html");
    for feature in ["t/H → LR", "t/H → momentum"] {
        assert!(page.contains(feature), "{feature}");
    }
}

#[test]
fn a_policy_with_a_knob_is_learned_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    succeeds(&learn("digits", &out, &[], &[MOMENTUM]));
    shows_both_outputs(&out);
    let files = ["policy.safetensors", "updates.jsonl"];
    let results = || files.map(|name| std::fs::read(out.join(name)).unwrap());
    let whole = results();

    // As if stopped in the last update but one: no policy, and the newest checkpoint is unreadable.
    std::fs::remove_file(out.join("policy.safetensors")).unwrap();
    let head = read(&out, "checkpoint/HEAD");
    let newest = head.split_whitespace().nth(1).unwrap();
    std::fs::write(out.join("checkpoint").join(newest), "torn").unwrap();
    succeeds(&learn("digits", &out, &["--resume"], &[MOMENTUM]));
    assert!(results() == whole, "resumed to other bits");
    shows_both_outputs(&out);
}

#[test]
fn policies_with_a_knob_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let (demo, compared) = (dir.path().join("demo"), dir.path().join("compared"));
    let tiny = ["task.horizon=2", "task.interval_steps=2", "learn.epochs=208", MOMENTUM];
    let settings = [&tiny, &LITTLE[..]].concat();
    let words = ["demo", "--task", "digits", "--policy-seeds", "1", "--evaluation-seeds", "1"];
    succeeds(&arguments(&words, &demo, &settings));
    shows_both_outputs(&demo);
    report_again(&demo, &["comparison", "claims", "curves", "training", "sensitivity", "budget", "origin"]);
    shows_both_outputs(&demo);

    let policy = text(&demo.join("policy.safetensors"));
    let words = ["compare", &policy, "--task", "digits", "--evaluation-seeds", "1"];
    succeeds(&arguments(&words, &compared, &settings));
    shows_both_outputs(&compared);
    for out in [demo, compared] {
        let momenta = read(&out, "results.jsonl");
        let learned = momenta.lines().find(|l| l.contains("\"method\":\"lrpilot\"")).unwrap();
        assert!(learned.contains("\"momentum\":0."), "{learned}");
    }
}
