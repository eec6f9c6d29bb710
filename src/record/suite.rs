//! What a run of the suite records: losses of every method on every task, and what is computed from them.

use serde::{Deserialize, Serialize};

/// What a method of the suite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuiteKind {
    /// A policy, or another schedule that is put to the test, which finds its learning rate by itself.
    Policy,
    /// The same from a starting learning rate that somebody chose.
    Start,
    /// A policy without its eyes, or its rates replayed.
    Control,
    /// A schedule whose learning rate was tuned on the task.
    Tuned,
    /// A schedule with the optimizer's default learning rate.
    Default,
    /// An optimizer that needs no learning rate, with its defaults.
    Free,
}

/// The runs of one method on one task, in the order of the seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodRuns {
    /// Name, unique among the methods of a task.
    pub name: String,
    /// What it is.
    pub kind: SuiteKind,
    /// The family of schedules that a tuned or a default method belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Learning rate in the first step of the first seed's run.
    pub first_lr: f64,
    /// Smoothed ln of the loss on validation B at the chosen level, of a tuned method; it chooses between families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning_score: Option<f64>,
    /// Loss on the test set after the last step, ≤ 2 L₀.
    pub test: Vec<f64>,
    /// Loss on the test set of the weights with the smallest loss on validation A, ≤ 2 L₀.
    pub stopped: Vec<f64>,
    /// Positions of the runs that ended in NaN or infinity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diverged: Vec<usize>,
    /// Positions of the others that ended with the loss of knowing nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_chance: Vec<usize>,
}

/// The runs of all methods on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRuns {
    /// Number in the suite.
    pub number: usize,
    /// Name of the task.
    pub name: String,
    /// What it tests.
    pub regime: String,
    /// What of it no training of a pretrained policy has seen; empty for nothing.
    pub unseen: Vec<String>,
    /// Hash of everything that decides its results but the method.
    pub identity: String,
    /// Loss L₀ of the untrained network of each seed on validation A.
    pub untrained: Vec<f64>,
    /// The methods.
    pub methods: Vec<MethodRuns>,
}

/// The losses of the standard methods, computed once: `reference.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The command that made it.
    pub command: String,
    /// Program and version.
    pub version: String,
    /// Processor, cores and operating system.
    pub machine: String,
    /// The day, as 2026-01-31.
    pub date: String,
    /// The tasks.
    pub tasks: Vec<TaskRuns>,
}

/// The few numbers that say how good a policy is. Ratios are of losses on the test set to the tuned reference; below 1 is
/// better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Tasks that the numbers are of.
    pub tasks: usize,
    /// Runs that diverged, from whatever starting learning rate.
    pub diverged: usize,
    /// exp of the interquartile mean of all paired ln ratios.
    pub iqm_vs_best_tuned: f64,
    /// Lower end of its 95 % interval; the bootstrap draws runs within each task.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
    /// exp of the mean of all paired ln ratios.
    pub mean_vs_best_tuned: f64,
    /// The largest ratio of a task.
    pub worst: f64,
    /// Share of the tasks on which it is better than every family with its default learning rate.
    pub beats_untuned_share: f64,
    /// Largest by smallest `iqm_vs_best_tuned` over the starting learning rates, minus 1; null where there are none.
    pub lr0_spread: Option<f64>,
}

/// How losses compare with a reference over all tasks, as ratios.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What the ratios are to.
    pub reference: String,
    /// Whether the weights with the smallest loss on validation A are compared, on both sides, instead of the last ones.
    pub early_stopping: bool,
    /// exp of the interquartile mean.
    pub iqm: f64,
    /// 95 % interval over other runs on these tasks.
    pub runs_lo: f64,
    /// Its upper end.
    pub runs_hi: f64,
    /// 95 % interval over other tasks.
    pub tasks_lo: f64,
    /// Its upper end.
    pub tasks_hi: f64,
    /// exp of the mean.
    pub mean: f64,
}

/// A method on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskScore {
    /// Number of the task.
    pub task: usize,
    /// Mean loss on the test set.
    pub test_loss: f64,
    /// exp of the mean paired ln ratio to the tuned reference.
    pub ratio: f64,
    /// The same with early stopping on both sides.
    pub stopped_ratio: f64,
    /// Runs that diverged.
    pub diverged: usize,
    /// ln ratio by that of the constant default learning rate: 0 is tuned, 1 is the default; null on a flat task.
    pub normalised_regret: Option<f64>,
}

/// A method over the whole suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodScore {
    /// Name of the method.
    pub name: String,
    /// What it is.
    pub kind: SuiteKind,
    /// Ratios to the tuned reference, first the primary one.
    pub scores: Vec<Score>,
    /// Shares of the tasks with a ln ratio below −0.01, within ±0.01 and above 0.01.
    pub better_equal_worse: [f64; 3],
    /// The five tasks with the largest ratios, with these.
    pub worst: Vec<(usize, f64)>,
    /// Mean over the tasks of the share of seeds with a smaller loss than each tuned family's; ties count half.
    pub improvement_over: Vec<(String, f64)>,
    /// Interquartile mean of the normalised regrets; null where every task is flat.
    pub normalised_regret: Option<f64>,
    /// Share of the tasks on which it is better than every family with its default learning rate.
    pub beats_untuned_share: f64,
    /// Runs that diverged.
    pub diverged: usize,
    /// Each task.
    pub tasks: Vec<TaskScore>,
    /// Share of the runs with a ratio of at most each of [`SuiteResults::profile_ratios`].
    pub profile: Vec<f64>,
}

/// What a ratio is to, on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReference {
    /// Number of the task.
    pub number: usize,
    /// Name of the task.
    pub name: String,
    /// What it tests.
    pub regime: String,
    /// What of it no training of a pretrained policy has seen.
    pub unseen: Vec<String>,
    /// Mean loss of the untrained networks.
    pub untrained_loss: f64,
    /// The tuned family that tuning chose among the five of every table: the primary reference.
    pub family: String,
    /// Its learning rate.
    pub lr: f64,
    /// Its mean loss on the test set.
    pub test_loss: f64,
    /// The tuned family among the five that turned out best on the fresh seeds.
    pub hindsight_family: String,
    /// Whether the constant default learning rate is no worse than the reference by three standard errors.
    pub flat: bool,
}

/// A policy's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyScore {
    /// Name of the policy.
    pub name: String,
    /// sha256 of its file.
    pub sha256: String,
    /// Its numbers.
    pub aggregate: Aggregate,
}

/// A task that could not be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Number of the task.
    pub number: usize,
    /// Name of the task.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// The result of a run of the suite: `suite.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteResults {
    /// Name of the suite.
    pub suite: String,
    /// The numbers of the first policy; null without one.
    pub aggregate: Option<Aggregate>,
    /// Each policy.
    pub policies: Vec<PolicyScore>,
    /// Fresh seeds of each method and task.
    pub seeds: usize,
    /// Tasks that could not be run.
    pub left_out: Vec<LeftOut>,
    /// The tasks and what ratios are to.
    pub tasks: Vec<TaskReference>,
    /// Every method, policies first.
    pub methods: Vec<MethodScore>,
    /// Where the profiles are taken.
    pub profile_ratios: Vec<f64>,
    /// The command that made this.
    pub command: String,
    /// The command that made the reference, with its date.
    pub reference: String,
}
