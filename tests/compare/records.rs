//! What the program writes, read independently of it, and the tiny demonstrations that are run.

use crate::program::{LITTLE, arguments, succeeds};
use lrpilot::rng::selection_seed;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A line of `results.jsonl`.
#[derive(Deserialize)]
pub struct Line<T> {
    pub record: T,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Run {
    pub job_id: String,
    pub stage: String,
    pub method: String,
    pub seed: u64,
    pub policy_seed: Option<u64>,
    pub initial_lr: Option<f64>,
    pub curve: Vec<Interval>,
    pub diverged: bool,
    #[serde(default)]
    pub at_chance: bool,
    pub test_loss: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Interval {
    pub lr: f64,
    pub val_loss_b: Option<f64>,
}

/// A line of `updates.jsonl`.
#[derive(Deserialize)]
pub struct Update {
    pub env_steps: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Comparison {
    pub task: String,
    pub budget_epochs: u64,
    pub methods: Vec<Method>,
    pub claims: Vec<Claim>,
    pub break_even: Vec<BreakEven>,
    pub command: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Method {
    pub name: String,
    pub kind: String,
    pub epochs_spent: u64,
    pub runs: usize,
    pub diverged: usize,
    pub final_val_loss: Estimate,
    pub best_val_loss: Estimate,
    pub test_loss: Estimate,
    pub initial_lr: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Estimate {
    pub iqm: f64,
    pub lo: f64,
    pub hi: f64,
    pub values: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Claim {
    pub statement: String,
    pub held: bool,
    pub evidence: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct BreakEven {
    pub method: String,
    pub trainings: Option<u64>,
}

/// Families whose initial LR is tuned.
pub const FAMILIES: [&str; 5] = ["constant", "cosine", "one-cycle", "plateau", "greedy"];
pub const HINDSIGHT: &str = "constant (best in hindsight)";
pub const UNTRAINED: &str = "lrpilot: untrained policy";
pub const GRID_POINTS: usize = 100;
pub const HORIZON: u64 = 3;
/// Two grids and half of one: what is left over must not be spent.
pub const BUDGET: u64 = 250 * HORIZON;
/// Seed of the whole, and of the first policy.
pub const SEED: u64 = 7;
pub const POLICIES: usize = 2;
/// Few enough that all 3³ resamples of the bootstrap can be written down.
pub const CHILDREN: usize = 3;

/// A task in its smallest form.
pub struct Tiny {
    pub task: &'static str,
    pub settings: &'static [&'static str],
    /// LR of the rows with defaults.
    pub default_lr: f64,
    /// Range of LRs of the task.
    pub lr_bounds: (f64, f64),
    /// What a run counts as that ends without a finite loss: ten times the loss of knowing nothing, which is the
    /// logarithm of the number of classes, and taken as 1 for a task without classes.
    pub penalty: f64,
}

pub const QUADRATIC: Tiny = Tiny {
    task: "noisy-quadratic",
    settings: &["task.dimensions=4", "task.interval_steps=2"],
    default_lr: 1e-3,
    lr_bounds: (1e-6, 1.9),
    penalty: 10.0,
};

/// A network that stays at chance under the default LR, and under others not: validation A, B and test differ.
pub const DIGITS: Tiny = Tiny {
    task: "digits",
    settings: &["task.interval_steps=4"],
    default_lr: 1e-3,
    lr_bounds: (1e-6, 1.0),
    penalty: 10.0 * std::f64::consts::LN_10,
};

/// With a weight decay of 10⁵ the weights grow by 10² in a step of the default LR, until the loss is no number; only LRs
/// around 10⁻⁵ leave them alone.
pub const EXPLODING: Tiny = Tiny { settings: &["task.interval_steps=4", "task.optimizer.weight_decay=1e5"], ..DIGITS };

/// A finished run folder.
pub struct Finished {
    pub out: PathBuf,
    pub printed: String,
    pub command: String,
    pub runs: Vec<Run>,
    pub comparison: Comparison,
}

pub fn demo_arguments(tiny: &Tiny, out: &Path, more: &[&str]) -> Vec<String> {
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

pub fn finished(args: &[String], out: &Path) -> Finished {
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

pub fn records<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str::<Line<T>>(line).unwrap().record).collect()
}

impl Finished {
    pub fn runs_of<'a>(&'a self, stage: &'a str, method: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.stage == stage && run.method == method)
    }

    pub fn row(&self, name: &str) -> &Method {
        let mut rows = self.comparison.methods.iter().filter(|m| m.name == name);
        let row = rows.next().unwrap_or_else(|| panic!("there is no row `{name}`"));
        assert!(rows.next().is_none(), "two rows `{name}`");
        row
    }

    pub fn seeds(&self, stage: &str, method: &str) -> BTreeSet<u64> {
        self.runs_of(stage, method).map(|run| run.seed).collect()
    }

    /// The seeds of the evaluation in the order of the comparison, as told by a row with a run for each and distinct
    /// losses.
    pub fn evaluation_seeds(&self, tiny: &Tiny) -> Vec<u64> {
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
    pub fn ordered<'a>(&'a self, name: &'a str, seeds: &[u64]) -> Vec<&'a Run> {
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
pub fn final_loss(run: &Run, tiny: &Tiny) -> f64 {
    run.curve.last().unwrap().val_loss_b.unwrap_or(tiny.penalty)
}

/// Loss that the claims are about.
pub fn claimed_loss(run: &Run, tiny: &Tiny) -> f64 {
    run.test_loss.filter(|loss| loss.is_finite()).unwrap_or(tiny.penalty)
}

/// What of a row the claims and the break-even are about.
pub fn claimed(row: &Method) -> &Estimate {
    &row.test_loss
}

/// Smallest and largest LR that is tried in tuning.
pub fn grid_bounds(tiny: &Tiny) -> (f64, f64) {
    tiny.lr_bounds
}

/// Seeds on which the snapshots of a policy are tried.
pub fn selection_seeds(policy_seed: u64) -> impl Iterator<Item = u64> {
    (0..2).map(move |i| selection_seed(policy_seed, i))
}
