//! `lrpilot tasks sample`: what is printed is what the distribution draws.
#![cfg(feature = "cli")]

use assert_cmd::cargo::cargo_bin;
use lrpilot::run::generalist::{LEVELS, Response};
use lrpilot::store::journal::Store;
use lrpilot::task::distribution::{DrawnTask, Problem};
use lrpilot::task::{DistributionConfig, TaskDistribution, TaskSource};
use std::path::Path;
use std::process::{Command, Output};

/// Without a data folder there are made-up data and digits.
fn sample(folder: &Path, args: &[&str]) -> Output {
    let data = ["--data-dir", folder.to_str().unwrap()];
    Command::new(cargo_bin("lrpilot")).args(["tasks", "sample"]).args(args).args(data).output().unwrap()
}

#[track_caller]
fn printed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_table_has_a_line_for_each_task_and_fits_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let text = printed(sample(folder.path(), &["--n", "200", "--seed", "7"]));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let tasks = TaskDistribution::new(DistributionConfig::default(), None).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with(" seed data"));
    for (line, seed) in lines.by_ref().zip(7..) {
        let drawn = tasks.draw(seed);
        let cells: Vec<&str> = line.split_whitespace().collect();
        let data = match &drawn.problem {
            Problem::Network(network) => network.data.name(),
            Problem::PowerLaw(_) => "power-law",
        };
        assert_eq!((cells[0], cells[1]), (&*seed.to_string(), data), "{line}");
        assert_eq!(cells[cells.len() - 1], drawn.steps().to_string(), "{line}");
    }
    assert_eq!(text.lines().count(), 201);
}

#[test]
fn json_holds_the_whole_descriptions() {
    let folder = tempfile::tempdir().unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&printed(sample(folder.path(), &["--json", "--n", "5"]))).unwrap();
    let tasks = TaskDistribution::new(DistributionConfig::default(), None).unwrap();
    assert_eq!(json["distribution"], tasks.identity());
    let drawn: Vec<DrawnTask> = serde_json::from_value(json["tasks"].clone()).unwrap();
    assert_eq!(drawn, (0..5).map(|seed| tasks.draw(seed)).collect::<Vec<_>>());
}

#[test]
fn the_page_counts_every_task() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.html");
    printed(sample(folder.path(), &["--n", "300", "--report", path.to_str().unwrap()]));
    let page = std::fs::read_to_string(&path).unwrap();
    let tasks = TaskDistribution::new(DistributionConfig::default(), None).unwrap();
    for (family, _) in tasks.families() {
        let count = (0..300).filter(|seed| tasks.draw(*seed).family() == family).count();
        let row = page.lines().find(|line| line.contains(&format!("<th scope=\"row\">{}</th>", family.name())));
        assert!(row.is_some_and(|row| row.ends_with(&format!("<td>{count}</td></tr>"))), "{} {count}", family.name());
    }
    assert!(page.contains("Label noise") && !page.contains("http"), "it needs nothing from outside");
}

#[test]
fn the_page_shows_which_learning_rates_were_best() {
    let folder = tempfile::tempdir().unwrap();
    let (bank, page) = (folder.path().join("bank.jsonl"), folder.path().join("tasks.html"));
    let response = |index: u64, best: f64, height: f64| Response {
        index,
        name: "parabola".into(),
        facts: [None; 8],
        log_losses: LEVELS.iter().map(|level| height * (level - best).powi(2)).collect(),
    };
    let mut store = Store::<Response>::open(&bank).unwrap();
    (0..4).for_each(|i| store.append(&response(i, 0.0, 1.0)).unwrap());
    store.append(&response(4, 1.0, 1.0)).unwrap();
    store.append(&response(5, 1.0, 0.0)).unwrap();
    drop(store);
    let words = ["--n", "3", "--report", page.to_str().unwrap(), "--responses", bank.to_str().unwrap()];
    printed(sample(folder.path(), &words));
    let html = std::fs::read_to_string(&page).unwrap();
    let figure = &html[html.find("Best learning rate").unwrap()..];
    let counts: Vec<&str> = figure.split("<td>").skip(1).map(|cell| cell.split('<').next().unwrap()).collect();
    assert_eq!(counts, ["1", "4", "0", "0", "0", "0", "0", "0", "0", "0", "1"], "flat, then from 0 to 1 decade");
    std::fs::write(&bank, "no journal\n{}\n").unwrap();
    assert_eq!(sample(folder.path(), &words).status.code(), Some(65));
    std::fs::write(&bank, "{\"crc32c\":\"0a34").unwrap();
    assert_eq!(sample(folder.path(), &words).status.code(), Some(65), "a torn record is not an empty bank");
    let alone = ["--responses", bank.to_str().unwrap()];
    assert_eq!(sample(folder.path(), &alone).status.code(), Some(64), "there is no page to show it on");
}

#[test]
fn wrong_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for args in [["--n", "0"], ["--n", "100001"], ["--seed", "-1"]] {
        assert_eq!(sample(folder.path(), &args).status.code(), Some(64), "{args:?}");
    }
}
