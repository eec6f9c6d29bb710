//! What runs write and reports read: the record types, their statistics, and progress as events.

pub mod progress;
pub mod statistics;

use serde::{Deserialize, Serialize};

/// One finished training run of a network ("child run"): one line of `results.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// sha256 of the canonical job specification.
    pub job_id: String,
    /// Part of the comparison that the run belongs to: `tune`, `compare`, `select`, …
    pub stage: String,
    /// Method, e.g. `constant`, `cosine (tuned)`, `pilot`.
    pub method: String,
    /// Seed of initial weights and batch order.
    pub seed: u64,
    /// Seed of the policy, for learned methods.
    pub policy_seed: Option<u64>,
    /// Initial learning rate, where the method has one.
    pub initial_lr: Option<f64>,
    /// The whole curve, one entry per interval.
    pub curve: Vec<IntervalRecord>,
    /// NaN or infinity, or stuck with dead units. Records of version 0.1.0 say so of runs at chance, too.
    pub diverged: bool,
    /// Whether a run that did not diverge ended with the loss of knowing nothing: above 0.95 ln(classes).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_chance: bool,
    /// Loss on the test set, looked at once, in the `compare` stage only.
    pub test_loss: Option<f64>,
    /// Forward passes on batches beyond one for each optimizer step (line search); a training step costs about three.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra_forward_passes: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One interval of a run. Non-finite numbers are written as JSON null and read back as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalRecord {
    /// 1, 2, …
    pub interval: usize,
    /// Learning rate in use during the interval (mean over its steps for schedules that change within it).
    pub lr: f64,
    /// Momentum (β₁ for Adam) in use, where the method sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Weight decay in use, where the method sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Mean training loss.
    #[serde(with = "nan_as_null")]
    pub train_loss: f64,
    /// Loss on validation A.
    #[serde(with = "nan_as_null")]
    pub val_loss_a: f64,
    /// Loss on validation B.
    #[serde(with = "nan_as_null")]
    pub val_loss_b: f64,
    /// Accuracy on validation B.
    #[serde(with = "nan_as_null")]
    pub val_accuracy: f64,
}

/// One PPO update of `learn`: one line of `updates.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateRecord {
    /// Seed of the policy.
    pub policy_seed: u64,
    /// 1, 2, …
    pub update: usize,
    /// Environment steps (= intervals trained) so far.
    pub env_steps: u64,
    /// Mean return of the episodes that ended in this update; null if none did.
    pub mean_return: Option<f64>,
    /// Mean final validation-A loss of those episodes.
    pub mean_final_val_loss: Option<f64>,
    /// Episodes that diverged or rolled back.
    pub diverged: usize,
    /// Fraction of samples whose ratio was clipped.
    #[serde(with = "nan_as_null")]
    pub clip_fraction: f64,
    /// Mean approximate KL divergence (r − 1 − ln r).
    #[serde(with = "nan_as_null")]
    pub approx_kl: f64,
    /// Policy loss.
    #[serde(with = "nan_as_null")]
    pub policy_loss: f64,
    /// Value loss.
    #[serde(with = "nan_as_null")]
    pub value_loss: f64,
    /// 1 − Var(returns − values)/Var(returns).
    #[serde(with = "nan_as_null")]
    pub explained_variance: f64,
    /// Mean standard deviation σ of the policy.
    #[serde(with = "nan_as_null")]
    pub action_sd: f64,
}

/// An estimate over runs: interquartile mean with a bootstrap 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Interquartile mean.
    pub iqm: f64,
    /// Lower end of the interval.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
    /// The values, one per run.
    pub values: Vec<f64>,
}

/// One row of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodResult {
    /// Name for people.
    pub name: String,
    /// `learned`, `control`, `tuned`, `hindsight`, `default` or `paper`.
    pub kind: String,
    /// Epochs (intervals) spent to find the method's setting: agent training with selection, or tuning; 0 for defaults.
    pub epochs_spent: u64,
    /// Number of evaluation runs.
    pub runs: usize,
    /// How many of them diverged or ended at chance ([`RunRecord::diverged`], [`RunRecord::at_chance`]).
    pub diverged: usize,
    /// Validation-B loss after the last interval.
    pub final_val_loss: Estimate,
    /// Smallest validation-B loss of the run.
    pub best_val_loss: Estimate,
    /// Test loss after the last interval.
    pub test_loss: Estimate,
    /// Initial LR chosen by tuning or fixed by the method; null where the method finds it.
    pub initial_lr: Option<f64>,
}

/// The comparison of methods on a task: `comparison.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Task name.
    pub task: String,
    /// Epochs that each method may spend.
    pub budget_epochs: u64,
    /// The rows.
    pub methods: Vec<MethodResult>,
    /// What was claimed beforehand, and whether it held.
    pub claims: Vec<Claim>,
    /// After how many trainings the policy has paid for itself, against each tuned method (null: never).
    pub break_even: Vec<BreakEven>,
    /// The command that made this.
    pub command: String,
}

/// A statement to be checked by a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The statement.
    pub statement: String,
    /// Whether it held.
    pub held: bool,
    /// The numbers, with intervals.
    pub evidence: String,
}

/// Trainings after which a learned policy costs no more than tuning anew each time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakEven {
    /// The method compared with.
    pub method: String,
    /// Number of trainings; null if never.
    pub trainings: Option<u64>,
    /// How it was computed, with the numbers.
    pub how: String,
}

/// Non-finite numbers as JSON null.
pub mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Write a number, or null.
    pub fn serialize<S: Serializer>(v: &f64, s: S) -> Result<S::Ok, S::Error> {
        v.is_finite().then_some(*v).serialize(s)
    }

    /// Read a number, or null as NaN.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(d)?.unwrap_or(f64::NAN))
    }
}
