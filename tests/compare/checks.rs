//! Every figure of a comparison, computed again from its runs.

use crate::records::*;
use crate::slow::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every row: kind, number of runs, diverged runs, the three losses with their intervals.
pub fn check_rows(demo: &Finished, tiny: &Tiny) {
    let learned = |name: &str, kind: &'static str| (name.to_owned(), kind, POLICIES * CHILDREN);
    let mut expected = vec![
        learned("lrpilot", "learned"),
        learned("paper formulation", "paper"),
        learned(UNTRAINED, "control"),
        learned("lrpilot: open-loop replay", "control"),
        learned("lrpilot: its mean LR", "control"),
        (HINDSIGHT.to_owned(), "hindsight", CHILDREN),
        ("pretrained".to_owned(), "pretrained", CHILDREN),
    ];
    for family in FAMILIES {
        expected.push((format!("{family} (tuned)"), "tuned", CHILDREN));
        expected.push((format!("{family} (defaults)"), "default", CHILDREN));
    }
    assert_eq!(demo.comparison.methods.len(), expected.len());
    let seeds = demo.evaluation_seeds(tiny);
    for (name, kind, runs) in expected {
        let row = demo.row(&name);
        assert_eq!((row.kind.as_str(), row.runs), (kind, runs), "{name}");
        // The runs of two untrained policies cannot be told apart by what is recorded of them.
        let of: Vec<&Run> = match name.as_str() {
            UNTRAINED => demo.runs_of("compare", &name).collect(),
            _ => demo.ordered(&name, &seeds),
        };
        assert_eq!((of.len(), demo.runs_of("compare", &name).count()), (runs, runs), "{name}");
        let losses: Vec<f64> = of.iter().map(|run| final_loss(run, tiny)).collect();
        assert!(name == UNTRAINED || row.final_val_loss.values == losses, "{name}: by policy, then by seed");
        assert_eq!(row.diverged, of.iter().filter(|run| run.diverged || run.at_chance).count(), "{name}");
        check_estimate(&row.final_val_loss, &of, |run| final_loss(run, tiny));
        let best = |run: &Run| run.curve.iter().filter_map(|i| i.val_loss_b).min_by(f64::total_cmp);
        check_estimate(&row.best_val_loss, &of, |run| best(run).unwrap_or(tiny.penalty));
        check_estimate(&row.test_loss, &of, |run| run.test_loss.unwrap_or(tiny.penalty));
        if kind == "default" {
            assert_eq!(row.initial_lr, Some(tiny.default_lr), "{name}");
        }
    }
}

/// Mean final loss for each LR of a grid, in rising order of the LR, and the seeds of the grid's runs.
pub fn grid_of(demo: &Finished, tiny: &Tiny, name: &str) -> (Vec<(f64, f64)>, BTreeSet<u64>) {
    let mut grid: BTreeMap<u64, Vec<&Run>> = BTreeMap::new();
    // Bits of positive numbers are ordered as the numbers are.
    demo.runs_of("tune", name).for_each(|run| grid.entry(run.initial_lr.unwrap().to_bits()).or_default().push(run));
    let seeds = demo.seeds("tune", name);
    let mean = |runs: &Vec<&Run>| {
        let own: BTreeSet<u64> = runs.iter().map(|run| run.seed).collect();
        assert!(own == seeds && runs.len() == seeds.len(), "{name}: a grid point without all seeds");
        runs.iter().map(|run| final_loss(run, tiny)).sum::<f64>() / runs.len() as f64
    };
    (grid.iter().map(|(lr, runs)| (f64::from_bits(*lr), mean(runs))).collect(), seeds)
}

/// 100 points, log-spaced over the bounds, and the row's LR the one among them with the smallest mean loss.
pub fn check_grid(demo: &Finished, tiny: &Tiny, name: &str, seeds: usize) {
    let (grid, own) = grid_of(demo, tiny, name);
    assert_eq!((grid.len(), own.len()), (GRID_POINTS, seeds), "{name}");
    let (min, max) = grid_bounds(tiny);
    for (i, (lr, _)) in grid.iter().enumerate() {
        let wanted = min * (max / min).powf(i as f64 / (GRID_POINTS - 1) as f64);
        assert!((lr / wanted - 1.0).abs() < 1e-9, "{name}: point {i} is {lr} instead of {wanted}");
    }
    let row = demo.row(name);
    let chosen = grid.iter().find(|(lr, _)| Some(*lr) == row.initial_lr).expect("the row's LR is of the grid").1;
    let least = grid.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
    close(chosen, least);
    let spent: usize = demo.runs_of("tune", name).count();
    assert_eq!(row.epochs_spent, spent as u64 * HORIZON, "{name}");
}

/// What each method spent, from its runs or its updates, within the budget.
pub fn check_tuning_and_costs(demo: &Finished, tiny: &Tiny) {
    let seeds = (BUDGET / (GRID_POINTS as u64 * HORIZON)) as usize;
    for family in FAMILIES {
        check_grid(demo, tiny, &format!("{family} (tuned)"), seeds);
        assert!(demo.row(&format!("{family} (tuned)")).epochs_spent <= BUDGET);
        assert_eq!(demo.row(&format!("{family} (defaults)")).epochs_spent, 0);
    }
    check_grid(demo, tiny, HINDSIGHT, CHILDREN);
    assert_eq!(demo.row("lrpilot").epochs_spent, BUDGET);
    assert_eq!(demo.row("paper formulation").epochs_spent, BUDGET);
    assert_eq!(demo.row(UNTRAINED).epochs_spent, 0);
    // One run more, which is replayed.
    for control in ["open-loop replay", "its mean LR"] {
        assert_eq!(demo.row(&format!("lrpilot: {control}")).epochs_spent, BUDGET + HORIZON);
    }
    for policy in SEED..SEED + POLICIES as u64 {
        let trained = |formulation: &str| {
            let updates = demo.out.join(format!("{formulation}-seed{policy}/updates.jsonl"));
            records::<Update>(&updates).last().unwrap().env_steps
        };
        // 2 candidates on 2 seeds; one more update of 2 × 10 steps would be too much.
        let (pilot, selection) = (trained("pilot"), 2 * 2 * HORIZON);
        assert!(pilot + selection <= BUDGET && pilot + selection + 20 > BUDGET, "{pilot}");
        assert_eq!(trained("paper"), BUDGET, "one rollout of a single environment");
    }
}

/// The same seeds for every method, and none of them seen before by anyone.
pub fn check_seeds(demo: &Finished, tiny: &Tiny) {
    let evaluation: BTreeSet<u64> = demo.evaluation_seeds(tiny).into_iter().collect();
    assert_eq!(evaluation.len(), CHILDREN);
    for row in &demo.comparison.methods {
        assert_eq!(demo.seeds("compare", &row.name), evaluation, "{}", row.name);
    }
    let tuning = demo.seeds("tune", "constant (tuned)");
    for family in FAMILIES {
        assert_eq!(demo.seeds("tune", &format!("{family} (tuned)")), tuning, "{family}");
    }
    assert_eq!(demo.seeds("tune", HINDSIGHT), evaluation, "hindsight is on the very seeds of the evaluation");
    let source = demo.seeds("replay-source", "lrpilot: source of the replay");
    let selection: BTreeSet<u64> = (SEED..SEED + POLICIES as u64).flat_map(selection_seeds).collect();
    let sets = [&evaluation, &tuning, &source, &selection];
    let all: BTreeSet<u64> = sets.into_iter().flatten().copied().collect();
    assert_eq!(all.len(), sets.iter().map(|set| set.len()).sum::<usize>(), "a seed is used for two purposes");
    let stages: BTreeSet<&str> = demo.runs.iter().map(|run| run.stage.as_str()).collect();
    assert_eq!(stages, BTreeSet::from(["compare", "replay-source", "tune"]));
    assert!(demo.runs.iter().all(|run| run.test_loss.is_none() || run.stage == "compare"), "test is looked at once");
}

/// LRs of a run.
pub fn lrs(run: &Run) -> Vec<f64> {
    run.curve.iter().map(|interval| interval.lr).collect()
}

/// The replay repeats the LRs of one run of its policy, whatever happens; the other control has their mean throughout.
/// A run that diverges ends early.
pub fn check_controls(demo: &Finished) {
    let sources: Vec<&Run> = demo.runs_of("replay-source", "lrpilot: source of the replay").collect();
    assert_eq!(sources.len(), POLICIES);
    for source in sources {
        let wanted = lrs(source);
        let of_policy = |name| demo.runs_of("compare", name).filter(|run| run.policy_seed == source.policy_seed);
        for run in of_policy("lrpilot: open-loop replay") {
            assert_eq!(lrs(run), wanted[..run.curve.len()]);
            assert!(run.curve.len() == HORIZON as usize || run.diverged);
        }
        let mean = wanted.iter().sum::<f64>() / wanted.len() as f64;
        for run in of_policy("lrpilot: its mean LR") {
            lrs(run).into_iter().for_each(|lr| close(lr, mean));
        }
        assert!(
            of_policy("lrpilot").any(|run| lrs(run) != wanted),
            "a policy that looks at nothing tests nothing here"
        );
    }
}

/// The constant LR that is best on the evaluation's seeds ends there no higher than the tuned one, which is of the same
/// grid; and the runs by which it was found are those of its row.
pub fn check_hindsight(demo: &Finished, tiny: &Tiny) {
    let sum = |name: &str| demo.row(name).final_val_loss.values.iter().sum::<f64>();
    assert!(sum(HINDSIGHT) <= sum("constant (tuned)") * (1.0 + 1e-12));
    let row = demo.row(HINDSIGHT);
    for run in demo.runs_of("compare", HINDSIGHT) {
        let found =
            demo.runs_of("tune", HINDSIGHT).find(|other| (other.initial_lr, other.seed) == (row.initial_lr, run.seed));
        assert_eq!(final_loss(found.unwrap(), tiny), final_loss(run, tiny));
        assert!(lrs(run).iter().all(|lr| Some(*lr) == row.initial_lr));
    }
}

/// The numbers in a sentence.
pub fn numbers(text: &str) -> Vec<f64> {
    let words = text.split(|c: char| !c.is_ascii_digit() && !"+-.".contains(c));
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Each claim, from the differences to the learned policy seed by seed, averaged over policies.
pub fn check_claims(demo: &Finished, tiny: &Tiny) {
    let seeds = demo.evaluation_seeds(tiny);
    let mean = |name: &str, seed: u64| {
        let losses: Vec<f64> =
            demo.runs_of("compare", name).filter(|run| run.seed == seed).map(|run| claimed_loss(run, tiny)).collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    };
    let others: Vec<&Method> =
        demo.comparison.methods.iter().filter(|m| ["tuned", "hindsight"].contains(&m.kind.as_str())).collect();
    assert_eq!(demo.comparison.claims.len(), others.len() + 1);
    for other in others {
        let differences: Vec<f64> = seeds.iter().map(|s| mean("lrpilot", *s) - mean(&other.name, *s)).collect();
        let resamples = all_resamples(std::slice::from_ref(&differences));
        let (iqm, lo, hi) = (slow_iqm(&differences), quantile(&resamples, 0.025), quantile(&resamples, 0.975));
        let mut claims = demo.comparison.claims.iter().filter(|c| c.statement.ends_with(&format!(" {}", other.name)));
        let claim = claims.next().expect("a claim against each tuned method");
        assert!(claim.statement.starts_with("lrpilot: ") && claims.next().is_none(), "{claim:?}");
        // Below a constant LR, and not clearly above the other schedules.
        let constant = ["constant (tuned)", HINDSIGHT].contains(&other.name.as_str());
        assert_eq!(claim.held, if constant { iqm < 0.0 } else { lo <= 0.0 }, "{claim:?}");
        let verdict = match () {
            () if hi < 0.0 => "clearly lower",
            () if lo > 0.0 => "clearly higher",
            () => "a difference within noise",
        };
        let (ours, theirs) = (claimed(demo.row("lrpilot")).iqm, claimed(other).iqm);
        assert!(claim.evidence.ends_with(verdict), "{claim:?}");
        let told = numbers(&claim.evidence);
        let near = |(told, wanted): (&f64, &f64)| (told - wanted).abs() <= 0.5001e-4 + 1e-12 * wanted.abs();
        let wanted = [ours, theirs, iqm, lo, hi];
        assert!(told.len() == 5 && told.iter().zip(&wanted).all(near), "{claim:?}: {wanted:?}");
    }
    let diverging = demo.comparison.claims.iter().find(|c| c.statement.contains("diverges")).unwrap();
    let diverged = demo.runs_of("compare", "lrpilot").filter(|run| run.diverged || run.at_chance).count();
    assert_eq!(diverging.held, diverged == 0);
    assert!(diverging.evidence.starts_with(&format!("{diverged} of {} runs", POLICIES * CHILDREN)));
}

/// Trainings after which tuning anew each time has cost at least what the policy cost once; never for a policy whose
/// interval lies above the other's.
pub fn check_break_even(demo: &Finished) {
    let learned = demo.row("lrpilot");
    assert_eq!(demo.comparison.break_even.len(), FAMILIES.len());
    for (family, found) in FAMILIES.iter().zip(&demo.comparison.break_even) {
        let tuned = demo.row(&format!("{family} (tuned)"));
        assert_eq!(found.method, tuned.name);
        let trainings = (1..).find(|n| n * tuned.epochs_spent >= learned.epochs_spent);
        let no_worse = claimed(learned).lo <= claimed(tuned).hi;
        assert_eq!(found.trainings, trainings.filter(|_| no_worse), "{family}");
    }
}

/// Everything that is said in other forms: the printed table, Markdown, CSV, the report, the policy.
pub fn check_files(demo: &Finished, tiny: &Tiny) {
    let read = |name: &str| std::fs::read_to_string(demo.out.join(name)).unwrap();
    let (markdown, csv, report) = (read("comparison.md"), read("comparison.csv"), read("report.html"));
    let mut lines = csv.lines();
    let heading: Vec<&str> = lines.next().unwrap().split(',').collect();
    let rows: BTreeMap<&str, Vec<&str>> =
        lines.map(|l| (l.split(',').next().unwrap(), l.split(',').collect())).collect();
    assert_eq!(rows.len(), demo.comparison.methods.len());
    for row in &demo.comparison.methods {
        for (text, place) in [(&demo.printed, "printed"), (&markdown, "comparison.md"), (&report, "report.html")] {
            assert!(text.contains(&row.name), "{place} does not name {}", row.name);
        }
        let cell = |name: &str| rows[row.name.as_str()][heading.iter().position(|h| *h == name).unwrap()];
        let number = |name: &str| cell(name).parse::<f64>().unwrap();
        let loss = &row.final_val_loss;
        assert_eq!([number("final_val_loss_iqm"), number("final_val_loss_lo")], [loss.iqm, loss.lo]);
        assert_eq!([number("final_val_loss_hi"), number("test_loss_iqm")], [loss.hi, row.test_loss.iqm]);
        assert_eq!(cell("kind"), row.kind);
        assert_eq!(cell("epochs_spent"), row.epochs_spent.to_string());
    }
    for claim in &demo.comparison.claims {
        assert!(demo.printed.contains(&claim.statement), "{}", claim.statement);
    }
    let Comparison { task, budget_epochs, command, .. } = &demo.comparison;
    assert_eq!((task.as_str(), *budget_epochs, command), (tiny.task, BUDGET, &demo.command));
    assert!(read("schedules.svg").starts_with("<svg") && demo.out.join("policy.safetensors").is_file());
}

/// The JSON that a policy file carries (safetensors: length of the header, header, tensors).
pub fn metadata(policy: &Path) -> serde_json::Value {
    let bytes = std::fs::read(policy).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    serde_json::from_str(header["__metadata__"]["lrpilot"].as_str().unwrap()).unwrap()
}

/// The paper's formulation is another one: its policies see and act otherwise, and no run of theirs repeats one of ours.
/// Nor does an untrained policy.
pub fn check_formulations(demo: &Finished) {
    for policy in SEED..SEED + POLICIES as u64 {
        let spec =
            |name: &str| metadata(&demo.out.join(format!("{name}-seed{policy}/policy.safetensors")))["spec"].clone();
        let kinds = |spec: serde_json::Value| (spec["observation"].clone(), spec["action"]["type"].clone());
        assert_eq!(kinds(spec("paper")), ("paper".into(), "linear".into()));
        assert_eq!(kinds(spec("pilot")), ("rich".into(), "multiplicative".into()));
    }
    for ours in demo.runs_of("compare", "lrpilot") {
        for other in ["paper formulation", UNTRAINED] {
            let mut theirs = demo.runs_of("compare", other).filter(|run| run.seed == ours.seed);
            assert!(theirs.all(|run| lrs(run) != lrs(ours)), "{other}: a copy of a run of `lrpilot`");
        }
    }
}
