//! `lrpilot demo` and `lrpilot compare`, and whether their numbers follow from the runs that they record: every figure
//! of `comparison.json` is computed again from the lines of `results.jsonl`, by slow definitions.
#![cfg(feature = "cli")]

mod checks;
#[path = "../common/program.rs"]
mod program;
mod records;
mod slow;

use checks::*;
use program::arguments;
use records::*;
use std::collections::BTreeSet;
use std::path::Path;

fn check_all(demo: &Finished, tiny: &Tiny) {
    check_rows(demo, tiny);
    check_tuning_and_costs(demo, tiny);
    check_seeds(demo, tiny);
    check_controls(demo);
    check_hindsight(demo, tiny);
    check_claims(demo, tiny);
    check_break_even(demo);
    check_files(demo, tiny);
    check_formulations(demo);
}

/// A demo of `tiny` in `out`, on one thread.
fn demo(tiny: &Tiny, out: &Path) -> Finished {
    finished(&demo_arguments(tiny, out, &["--threads", "1"]), out)
}

#[test]
fn the_numbers_follow_from_the_runs() {
    let dir = tempfile::tempdir().unwrap();
    check_all(&demo(&QUADRATIC, &dir.path().join("demo")), &QUADRATIC);
}

#[test]
fn the_numbers_follow_from_runs_of_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let digits = demo(&DIGITS, &dir.path().join("demo"));
    check_all(&digits, &DIGITS);
    assert!(digits.row("constant (defaults)").diverged == CHILDREN && digits.row("constant (tuned)").diverged == 0);
    let row = digits.row("lrpilot");
    assert_ne!(row.final_val_loss.values, row.test_loss.values, "test is another split");
}

#[test]
fn the_numbers_follow_from_runs_that_explode() {
    let dir = tempfile::tempdir().unwrap();
    let exploding = demo(&EXPLODING, &dir.path().join("demo"));
    check_all(&exploding, &EXPLODING);
    assert_eq!(exploding.row("constant (defaults)").final_val_loss.values, [EXPLODING.penalty; CHILDREN]);
    assert!(
        exploding.comparison.break_even.iter().all(|b| b.trainings.is_none()),
        "no tuning is worse than this policy"
    );
}

/// What of a comparison does not depend on how the program was called.
fn apart_from_the_command(demo: Finished) -> Comparison {
    Comparison { command: String::new(), ..demo.comparison }
}

#[test]
fn threads_and_interruptions_do_not_change_a_comparison() {
    let dir = tempfile::tempdir().unwrap();
    let expected = apart_from_the_command(demo(&QUADRATIC, &dir.path().join("one")));
    let out = dir.path().join("two");
    let two = finished(&demo_arguments(&QUADRATIC, &out, &["--threads", "2"]), &out);
    let ids = |runs: &[Run]| runs.iter().map(|run| run.job_id.clone()).collect::<BTreeSet<String>>();
    let (jobs, all) = (two.runs.len(), ids(&two.runs));
    assert_eq!(all.len(), jobs, "a run is recorded twice");
    assert_eq!(apart_from_the_command(two), expected, "2 threads give other numbers than 1");

    // Half of the bytes: the last line is torn.
    let results = out.join("results.jsonl");
    let whole = std::fs::read(&results).unwrap();
    let half = &whole[..whole.len() / 2];
    assert_ne!(half.last(), Some(&b'\n'));
    std::fs::write(&results, half).unwrap();
    std::fs::remove_file(out.join("comparison.json")).unwrap();
    let resumed = finished(&demo_arguments(&QUADRATIC, &out, &["--threads", "2", "--resume"]), &out);
    assert!((resumed.runs.len(), ids(&resumed.runs)) == (jobs, all), "a run is missing or was done again");
    let kept = half.iter().rposition(|byte| *byte == b'\n').unwrap();
    assert!(std::fs::read(&results).unwrap().starts_with(&half[..=kept]), "what was there is kept");
    assert_eq!(apart_from_the_command(resumed), expected, "an interrupted demo resumes to other numbers");
}

/// `compare` gives the policies of a demo the same runs on the same seeds as the demo did, with whatever budget the other
/// methods are tuned.
#[test]
fn compare_repeats_the_rows_of_a_demos_policies() {
    let dir = tempfile::tempdir().unwrap();
    let demo = demo(&QUADRATIC, &dir.path().join("demo"));
    let policy = |i: u64| demo.out.join(format!("pilot-seed{}/policy.safetensors", SEED + i));
    let (first, second) = (policy(0), policy(1));
    let [first, second] = [&first, &second].map(|path| path.to_str().unwrap());
    let (out, seed, children) = (dir.path().join("compare"), SEED.to_string(), CHILDREN.to_string());
    let (budget, horizon) = ((GRID_POINTS as u64 * HORIZON).to_string(), format!("task.horizon={HORIZON}"));
    let words = ["compare", first, second, "--task", QUADRATIC.task, "--seed", &seed, "--evaluation-seeds", &children];
    let settings: Vec<&str> = std::iter::once(horizon.as_str()).chain(QUADRATIC.settings.iter().copied()).collect();
    let args = arguments(&[&words[..], &["--budget", &budget]].concat(), &out, &settings);
    let compared = finished(&args, &out);
    assert_eq!(compared.comparison.command, compared.command);
    for name in ["lrpilot", "lrpilot: open-loop replay", "lrpilot: its mean LR", HINDSIGHT, "greedy (defaults)"] {
        let losses = |m: &Method| (m.final_val_loss.clone(), m.best_val_loss.clone(), m.test_loss.clone());
        assert_eq!(losses(compared.row(name)), losses(demo.row(name)), "{name}");
    }
    for family in FAMILIES {
        check_grid(&compared, &QUADRATIC, &format!("{family} (tuned)"), 1);
    }
    check_claims(&compared, &QUADRATIC);
    assert!(compared.printed.contains("lrpilot: its mean LR") && out.join("report.html").is_file());
    assert_eq!(compared.comparison.methods.len(), demo.comparison.methods.len() - 1, "all but the paper's formulation");
}
