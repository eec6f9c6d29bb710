//! `lrpilot demo` and `lrpilot compare`, and whether their numbers follow from the runs that they record: every figure
//! of `comparison.json` is computed again from the lines of `results.jsonl`, by slow definitions.
#![cfg(feature = "cli")]

#[path = "common/program.rs"]
mod program;

use lrpilot::rng::{Purpose, derive_seed};
use program::{LITTLE, arguments, succeeds};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A line of `results.jsonl`.
#[derive(Deserialize)]
struct Line<T> {
    record: T,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Run {
    job_id: String,
    stage: String,
    method: String,
    seed: u64,
    policy_seed: Option<u64>,
    initial_lr: Option<f64>,
    curve: Vec<Interval>,
    diverged: bool,
    #[serde(default)]
    at_chance: bool,
    test_loss: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Interval {
    lr: f64,
    val_loss_b: Option<f64>,
}

/// A line of `updates.jsonl`.
#[derive(Deserialize)]
struct Update {
    env_steps: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Comparison {
    task: String,
    budget_epochs: u64,
    methods: Vec<Method>,
    claims: Vec<Claim>,
    break_even: Vec<BreakEven>,
    command: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Method {
    name: String,
    kind: String,
    epochs_spent: u64,
    runs: usize,
    diverged: usize,
    final_val_loss: Estimate,
    best_val_loss: Estimate,
    test_loss: Estimate,
    initial_lr: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Estimate {
    iqm: f64,
    lo: f64,
    hi: f64,
    values: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Claim {
    statement: String,
    held: bool,
    evidence: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct BreakEven {
    method: String,
    trainings: Option<u64>,
}

/// Families whose initial LR is tuned.
const FAMILIES: [&str; 5] = ["constant", "cosine", "one-cycle", "plateau", "greedy"];
const HINDSIGHT: &str = "constant (best in hindsight)";
const UNTRAINED: &str = "lrpilot: untrained policy";
const GRID_POINTS: usize = 100;
const HORIZON: u64 = 3;
/// Two grids and half of one: what is left over must not be spent.
const BUDGET: u64 = 250 * HORIZON;
/// Seed of the whole, and of the first policy.
const SEED: u64 = 7;
const POLICIES: usize = 2;
/// Few enough that all 3³ resamples of the bootstrap can be written down.
const CHILDREN: usize = 3;

/// A task in its smallest form.
struct Tiny {
    task: &'static str,
    settings: &'static [&'static str],
    /// LR of the rows with defaults.
    default_lr: f64,
    /// Range of LRs of the task.
    lr_bounds: (f64, f64),
    /// What a run counts as that ends without a finite loss: ten times the loss of knowing nothing, which is the
    /// logarithm of the number of classes, and taken as 1 for a task without classes.
    penalty: f64,
}

const QUADRATIC: Tiny = Tiny {
    task: "noisy-quadratic",
    settings: &["task.dimensions=4", "task.interval_steps=2"],
    default_lr: 1e-3,
    lr_bounds: (1e-6, 1.9),
    penalty: 10.0,
};

/// A network that stays at chance under the default LR, and under others not: validation A, B and test differ.
const DIGITS: Tiny = Tiny {
    task: "digits",
    settings: &["task.interval_steps=4"],
    default_lr: 1e-3,
    lr_bounds: (1e-6, 1.0),
    penalty: 10.0 * std::f64::consts::LN_10,
};

/// With a weight decay of 10⁵ the weights grow by 10² in a step of the default LR, until the loss is no number; only LRs
/// around 10⁻⁵ leave them alone.
const EXPLODING: Tiny = Tiny { settings: &["task.interval_steps=4", "task.optimizer.weight_decay=1e5"], ..DIGITS };

/// A finished run folder.
struct Finished {
    out: PathBuf,
    printed: String,
    command: String,
    runs: Vec<Run>,
    comparison: Comparison,
}

fn demo_arguments(tiny: &Tiny, out: &Path, more: &[&str]) -> Vec<String> {
    let (seed, policies, children) = (SEED.to_string(), POLICIES.to_string(), CHILDREN.to_string());
    let words = [
        "demo",
        "--task",
        tiny.task,
        "--seed",
        &seed,
        "--policy-seeds",
        &policies,
        "--evaluation-seeds",
        &children,
        "--wide",
    ];
    let budget = [format!("learn.epochs={BUDGET}"), format!("task.horizon={HORIZON}")];
    let settings: Vec<&str> =
        budget.iter().map(String::as_str).chain(LITTLE).chain(tiny.settings.iter().copied()).collect();
    arguments(&[&words, more].concat(), out, &settings)
}

fn finished(args: &[String], out: &Path) -> Finished {
    let printed = succeeds(args);
    let text = std::fs::read_to_string(out.join("comparison.json")).unwrap();
    Finished {
        out: out.to_owned(),
        printed,
        command: format!("lrpilot {}", args.join(" ")),
        runs: records(&out.join("results.jsonl")),
        comparison: serde_json::from_str(&text).unwrap(),
    }
}

fn records<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str::<Line<T>>(line).unwrap().record).collect()
}

impl Finished {
    fn runs_of<'a>(&'a self, stage: &'a str, method: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.stage == stage && run.method == method)
    }

    fn row(&self, name: &str) -> &Method {
        let mut rows = self.comparison.methods.iter().filter(|m| m.name == name);
        let row = rows.next().unwrap_or_else(|| panic!("there is no row `{name}`"));
        assert!(rows.next().is_none(), "two rows `{name}`");
        row
    }

    fn seeds(&self, stage: &str, method: &str) -> BTreeSet<u64> {
        self.runs_of(stage, method).map(|run| run.seed).collect()
    }

    /// The seeds of the evaluation in the order of the comparison, as told by a row with a run for each and distinct
    /// losses.
    fn evaluation_seeds(&self, tiny: &Tiny) -> Vec<u64> {
        let row = self.row("constant (tuned)");
        let seed_of = |loss: &f64| {
            let mut runs = self.runs_of("compare", &row.name).filter(|run| final_loss(run, tiny) == *loss);
            let seed = runs.next().unwrap().seed;
            assert!(runs.next().is_none(), "two runs end with {loss}");
            seed
        };
        row.final_val_loss.values.iter().map(seed_of).collect()
    }

    /// Runs of a row in the order of its values: by policy, then by seed.
    fn ordered<'a>(&'a self, name: &'a str, seeds: &[u64]) -> Vec<&'a Run> {
        let policies: BTreeSet<Option<u64>> = self.runs_of("compare", name).map(|run| run.policy_seed).collect();
        let of = |policy: Option<u64>, seed: u64| {
            let mut runs = self.runs_of("compare", name).filter(|run| (run.policy_seed, run.seed) == (policy, seed));
            let run = runs.next().unwrap_or_else(|| panic!("{name}: no run of policy {policy:?} on seed {seed}"));
            assert!(runs.next().is_none(), "{name}: two runs of policy {policy:?} on seed {seed}");
            run
        };
        policies.iter().flat_map(|policy| seeds.iter().map(|seed| of(*policy, *seed))).collect()
    }
}

/// Loss that settings are chosen by: on validation B after the last interval.
fn final_loss(run: &Run, tiny: &Tiny) -> f64 {
    run.curve.last().unwrap().val_loss_b.unwrap_or(tiny.penalty)
}

/// Loss that the claims are about.
fn claimed_loss(run: &Run, tiny: &Tiny) -> f64 {
    run.test_loss.filter(|loss| loss.is_finite()).unwrap_or(tiny.penalty)
}

/// What of a row the claims and the break-even are about.
fn claimed(row: &Method) -> &Estimate {
    &row.test_loss
}

/// Smallest and largest LR that is tried in tuning.
fn grid_bounds(tiny: &Tiny) -> (f64, f64) {
    tiny.lr_bounds
}

/// Seeds on which the snapshots of a policy are tried.
fn selection_seeds(policy_seed: u64) -> impl Iterator<Item = u64> {
    (0..2).map(move |i| derive_seed(policy_seed, Purpose::Episode, 1 << 63 | i))
}

/// The interquartile mean by counting ranks: those values are kept that have at least ⌊n/4⌋ others before and after.
fn slow_iqm(values: &[f64]) -> f64 {
    let n = values.len();
    let before = |i: usize| (0..n).filter(|&j| (values[j], j) < (values[i], i)).count();
    let kept: Vec<f64> = (0..n).filter(|&i| (n / 4..n - n / 4).contains(&before(i))).map(|i| values[i]).collect();
    kept.iter().sum::<f64>() / kept.len() as f64
}

/// The interquartile means of all resamples within strata, each as likely as any other, in rising order: what the
/// bootstrap draws from.
fn all_resamples(strata: &[Vec<f64>]) -> Vec<f64> {
    let mut samples: Vec<Vec<f64>> = vec![Vec::new()];
    for stratum in strata {
        for _ in stratum {
            let with = |sample: &Vec<f64>, value: &f64| sample.iter().chain([value]).copied().collect();
            samples = samples.iter().flat_map(|s| stratum.iter().map(move |v| with(s, v))).collect();
        }
    }
    sorted(&samples.iter().map(|sample| slow_iqm(sample)).collect::<Vec<f64>>())
}

/// The smallest value that at least the share `p` of the sorted values does not exceed.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    sorted[(p * sorted.len() as f64).ceil() as usize - 1]
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[track_caller]
fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * a.abs().max(b.abs()), "{a} is not {b}");
}

/// The ends are quantiles of 2,000 draws, so their levels are those of the true distribution give or take
/// 3·√(0.025·0.975/2000) = 0.0105.
#[track_caller]
fn check_estimate(estimate: &Estimate, runs: &[&Run], loss: impl Fn(&Run) -> f64) {
    let values: Vec<f64> = runs.iter().map(|run| loss(run)).collect();
    assert_eq!(sorted(&estimate.values), sorted(&values));
    close(estimate.iqm, slow_iqm(&values));
    assert!(estimate.lo <= estimate.iqm && estimate.iqm <= estimate.hi, "{estimate:?}");
    let mut strata: BTreeMap<Option<u64>, Vec<f64>> = BTreeMap::new();
    runs.iter().zip(values).for_each(|(run, value)| strata.entry(run.policy_seed).or_default().push(value));
    let resamples = all_resamples(&strata.into_values().collect::<Vec<_>>());
    let within = |v: f64, from: f64, to: f64| {
        let (from, to) = (quantile(&resamples, from), quantile(&resamples, to));
        let margin = 1e-12 * v.abs();
        assert!(from - margin <= v && v <= to + margin, "{v} is not in [{from}, {to}]: {estimate:?}");
    };
    within(estimate.lo, 0.0145, 0.0355);
    within(estimate.hi, 0.9645, 0.9855);
}

/// Every row: kind, number of runs, diverged runs, the three losses with their intervals.
fn check_rows(demo: &Finished, tiny: &Tiny) {
    let learned = |name: &str, kind: &'static str| (name.to_owned(), kind, POLICIES * CHILDREN);
    let mut expected = vec![
        learned("lrpilot", "learned"),
        learned("paper formulation", "paper"),
        learned(UNTRAINED, "control"),
        learned("lrpilot: open-loop replay", "control"),
        learned("lrpilot: its mean LR", "control"),
        (HINDSIGHT.to_owned(), "hindsight", CHILDREN),
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
fn grid_of(demo: &Finished, tiny: &Tiny, name: &str) -> (Vec<(f64, f64)>, BTreeSet<u64>) {
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
fn check_grid(demo: &Finished, tiny: &Tiny, name: &str, seeds: usize) {
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
fn check_tuning_and_costs(demo: &Finished, tiny: &Tiny) {
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
fn check_seeds(demo: &Finished, tiny: &Tiny) {
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
fn lrs(run: &Run) -> Vec<f64> {
    run.curve.iter().map(|interval| interval.lr).collect()
}

/// The replay repeats the LRs of one run of its policy, whatever happens; the other control has their mean throughout.
/// A run that diverges ends early.
fn check_controls(demo: &Finished) {
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
fn check_hindsight(demo: &Finished, tiny: &Tiny) {
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
fn numbers(text: &str) -> Vec<f64> {
    let words = text.split(|c: char| !c.is_ascii_digit() && !"+-.".contains(c));
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Each claim, from the differences to the learned policy seed by seed, averaged over policies.
fn check_claims(demo: &Finished, tiny: &Tiny) {
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
fn check_break_even(demo: &Finished) {
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
fn check_files(demo: &Finished, tiny: &Tiny) {
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
fn metadata(policy: &Path) -> serde_json::Value {
    let bytes = std::fs::read(policy).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    serde_json::from_str(header["__metadata__"]["lrpilot"].as_str().unwrap()).unwrap()
}

/// The paper's formulation is another one: its policies see and act otherwise, and no run of theirs repeats one of ours.
/// Nor does an untrained policy.
fn check_formulations(demo: &Finished) {
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
