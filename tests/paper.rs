//! `lrpilot paper`: the transcription of the paper, the smoke scale from end to end, interruption.
#![cfg(feature = "cli")]

use assert_cmd::Command;
use lrpilot::paper::document::{PaperResults, PaperTable};
use lrpilot::paper::page::html;
use lrpilot::paper::reported::Reported;
use lrpilot::paper::{Data, Scale, Work, plan};
use lrpilot::run::RunConfig;
use lrpilot::task::SupervisedConfig;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

fn paper(out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    command.args(["paper", "--scale", "smoke", "--progress", "json", "--out"]).arg(out).args(more).output().unwrap()
}

#[test]
fn the_transcription_is_complete_and_its_notes_are_true() {
    let reported = Reported::load().unwrap();
    let numbers: Vec<u32> = reported.table.iter().map(|t| t.number).collect();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let methods = ["Agent", "SGD", "Adadelta", "Adam", "SGD-Sch", "Adadelta-Sch", "Adam-Sch"];
    for table in &reported.table {
        assert_eq!(table.rows.iter().map(|r| r.0.as_str()).collect::<Vec<_>>(), methods, "Table {}", table.number);
        assert!(table.rows.iter().all(|r| r.1 <= r.2), "Table {}: best above average", table.number);
    }
    assert!(reported.summary.iter().all(|s| s.losses.len() == methods.len()));
    let table = |n: u32| reported.table.iter().find(|t| t.number == n).unwrap();
    // What the notes say.
    let best = table(6).rows.iter().map(|r| r.1);
    let summary = ["agent", "sgd", "adadelta", "adam", "sgd-sch", "adadelta-sch", "adam-sch"]
        .map(|m| reported.summary[0].losses[m]);
    let differ: Vec<usize> =
        best.zip(summary).enumerate().filter(|(_, (a, b))| (a - b).abs() > 0.01).map(|(i, _)| i).collect();
    assert_eq!(differ, [3], "Adam alone");
    assert!((reported.summary[1].losses["adam-sch"] - 10f64.ln()).abs() < 0.01);
    assert!(table(10).rows[6].3 && table(10).rows[6].1 == table(10).rows[6].2);
    assert!(reported.table.iter().all(|t| t.rows[1..].iter().any(|r| r.1 < t.rows[0].1)));
    assert!(reported.summary.iter().all(|s| s.losses.values().any(|l| *l < s.losses["agent"])));
    assert_eq!(table(3).rows, table(4).rows);
    assert!((table(10).rows[0].1 - 100f64.ln()).abs() < 0.01);
    assert!(
        reported.table.iter().all(|t| t.rows.iter().all(|r| (r.1 == r.2) == (r.0 == "Agent" || r.0.ends_with("Sch"))))
    );
    assert!((2..=9).all(|n| table(n).rows[3].1 >= 0.11) && reported.summary[0].losses["adam"] == 0.013);
    assert!([3, 4, 5].iter().all(|n| (table(*n).rows[6].1 - 10f64.ln()).abs() < 0.01 && !table(*n).rows[6].3));
    assert!((2..=9).all(|n| table(n).rows[0].1 > table(n).rows[1].1 && table(n).rows[0].1 > table(n).rows[2].1));
}

/// The numbers of the paper's §3: 100 learning rates × 100 epochs are the agents' budget; 4 learning rates, 5 seeds.
#[test]
fn laptop_and_full_have_the_papers_budgets() {
    for scale in [Scale::Laptop, Scale::Full] {
        let parts = plan(scale, 0).unwrap();
        let ids: BTreeSet<&str> = parts.iter().map(|p| p.id.as_str()).collect();
        assert_eq!(ids.len(), parts.len(), "identifiers are unique");
        for part in &parts {
            match &part.work {
                Work::Runs { task, lrs, seeds, .. } if part.id.as_str().ends_with("/grid") => {
                    assert_eq!((lrs.len() * task.horizon, seeds.len()), (10_000, 1), "{}", part.id);
                    assert!((lrs[0] - 1e-6).abs() < 1e-18 && (lrs[99] - 1.0).abs() < 1e-12);
                }
                Work::Agent { configs, seeds, .. } => {
                    let epochs = |c: &RunConfig| c.learn.epochs * part.epochs_per_interval();
                    let budget = if part.id.as_str().contains("-steps") { epochs(&configs[0]) } else { 10_000 };
                    assert!([10_000, 20_000, 50_000].contains(&budget));
                    assert!(configs.iter().all(|c| epochs(c) == budget) && configs.len() == 5 && seeds.len() == 5);
                    let tasks = configs.iter().filter_map(|c| c.task.supervised());
                    let trained = |t: &SupervisedConfig| t.horizon as u64 * part.epochs_per_interval();
                    assert!(tasks.clone().count() == 5 && tasks.map(trained).all(|n| n == 100), "{}", part.id);
                }
                _ => {}
            }
        }
        let agents = |data: &str| ids.iter().filter(|id| id.starts_with(&format!("{data}/agent/"))).count();
        // Four learning rates, two longer budgets, five ablations and the replay; one on CIFAR-100.
        assert_eq!((agents("mnist"), agents("cifar-100")), (12, 1));
        assert_eq!(scale.task(Data::Cifar100, Default::default()).dataset.name(), "cifar-100");
    }
}

/// Whether the progress that was told ends exactly at the total that was announced.
fn progress_is_complete(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let last = events.rfind(|e| e["event"] == "advance").unwrap();
    last["done"].as_u64().unwrap() > 0 && last["done"] == last["total"]
}

#[test]
fn smoke_runs_everything_and_an_interrupted_run_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, halves) = (folder.path().join("whole"), folder.path().join("halves"));
    let output = paper(&whole, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(progress_is_complete(&output));
    let text = std::fs::read_to_string(whole.join("paper.md")).unwrap();
    for number in 1..=10 {
        assert!(text.contains(&format!("Table {number}:")), "Table {number}");
    }
    for n in 1..=9 {
        assert!(text.contains(&format!("Figure {n}:")), "Figure {n}");
    }
    assert!(text.contains("SLS takes") && text.contains("replayed on") && text.contains("three actions"));
    assert!(!text.contains("not run"), "all parts were run");
    let page = std::fs::read_to_string(whole.join("paper.html")).unwrap();
    assert!(page.contains("same 21 numbers"));
    let namespace = "http://www.w3.org/2000/svg";
    assert_eq!(page.matches("http").count(), page.matches(namespace).count(), "nothing from outside");
    // A part of it first, then a torn last line, as a kill leaves it, then the rest.
    assert!(paper(&halves, &["--only", "cifar-100", "--only", "replay"]).status.success());
    let results = halves.join("results.jsonl");
    let bytes = std::fs::read(&results).unwrap();
    std::fs::write(&results, &bytes[..bytes.len() - 100]).unwrap();
    assert_eq!(paper(&halves, &[]).status.code(), Some(64), "a run is not overwritten without --resume");
    let output = paper(&halves, &["--resume", "--threads", "1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(progress_is_complete(&output));
    assert_eq!(std::fs::read_to_string(halves.join("paper.md")).unwrap(), text);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("dry");
    let output = paper(&out, &["--dry-run"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("total") && text.contains("minutes on"), "{text}");
    assert!(!out.exists());
}

#[test]
fn text_cannot_become_markup() {
    let table = PaperTable {
        title: "<script>".into(),
        columns: vec!["<b>".into(), "x".into()],
        rows: vec![("lrpilot <i>".into(), vec!["<u>".into()])],
        ..PaperTable::default()
    };
    let page = html(&PaperResults { tables: vec![table], ..PaperResults::default() }).unwrap();
    assert!(!page.contains("<script>") && !page.contains("<i>") && !page.contains("<u>"));
}
