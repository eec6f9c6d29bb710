//! What runs write and reports read: the record types, their statistics, and progress as events.

mod explained;
mod kind;
pub mod progress;
pub mod statistics;
pub mod suite;
pub mod tensorboard;

pub use explained::{Explained, ExplainedDecision, ExplainedRun, Response};
pub use kind::{Kind, Stage};

use serde::{Deserialize, Serialize};

/// One finished training run of a network: one line of `results.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// sha256 of the canonical job specification.
    pub job_id: String,
    /// Part of the work that the run belongs to.
    pub stage: Stage,
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

impl RunRecord {
    /// Validation-B loss after the last interval; NaN for a run that diverged before its end.
    ///
    /// ```
    /// let line = r#"{"job_id": "", "stage": "tune", "method": "constant", "seed": 0, "policy_seed": null,
    ///     "initial_lr": 0.1, "curve": [], "diverged": true, "test_loss": null}"#;
    /// let run: lrpilot::record::RunRecord = serde_json::from_str(line)?;
    /// assert!(run.final_loss().is_nan());
    /// assert_eq!(run.penalised_loss(Some(2.3)), 23.0);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn final_loss(&self) -> f64 {
        self.curve.last().map_or(f64::NAN, |last| last.val_loss_b)
    }

    /// [`RunRecord::final_loss`], where one that is not finite counts as the [`penalty`].
    pub fn penalised_loss(&self, chance_loss: Option<f64>) -> f64 {
        finite_or_penalty(self.final_loss(), chance_loss)
    }

    /// Test loss, where one that is absent or not finite counts as the [`penalty`].
    pub fn penalised_test_loss(&self, chance_loss: Option<f64>) -> f64 {
        finite_or_penalty(self.test_loss.unwrap_or(f64::NAN), chance_loss)
    }
}

/// What a diverged run counts as: ten times the loss of a model that knows nothing, which is taken as 1 where the task has
/// none.
pub fn penalty(chance_loss: Option<f64>) -> f64 {
    10.0 * chance_loss.unwrap_or(1.0)
}

fn finite_or_penalty(loss: f64, chance_loss: Option<f64>) -> f64 {
    if loss.is_finite() { loss } else { penalty(chance_loss) }
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
    /// Accuracy on validation B. Version 0.1.0 wrote it as `val_accuracy`.
    #[serde(with = "nan_as_null", alias = "val_accuracy")]
    pub val_accuracy_b: f64,
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
    /// What the method is.
    pub kind: Kind,
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

/// The comparison of methods on a task: `comparison.json`. Its claims are about the test loss (in files of version 0.1.0,
/// about the validation loss).
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

/// How strongly a policy's output depends on one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Name of the input.
    pub feature: String,
    /// Change of the output for a change of the input by its usual size; the sign is kept, the size is drawn.
    #[serde(with = "crate::record::nan_as_null")]
    pub sensitivity: f64,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as version 0.1.0 wrote it, from its `results.jsonl` of a demo, with the numbers shortened.
    #[test]
    fn records_of_the_first_version_are_read() {
        let line = r#"{"job_id":"9144","stage":"replay-source","method":"lrpilot: source of the replay","seed":1,
            "policy_seed":1,"initial_lr":null,"curve":[{"interval":1,"lr":0.04,"train_loss":2.2,"val_loss_a":2.0,
            "val_loss_b":null,"val_accuracy":0.92}],"diverged":false,"test_loss":null}"#;
        let run: RunRecord = serde_json::from_str(line).unwrap();
        assert_eq!((run.stage, run.curve[0].val_accuracy_b), (Stage::ReplaySource, 0.92));
        let written = serde_json::to_string(&run).unwrap();
        assert!(written.contains(r#""stage":"replay-source""#) && written.contains(r#""val_accuracy_b":0.92"#));
    }

    /// 23 = ten times the chance loss of 2.3; 10 where there is none.
    #[test]
    fn a_diverged_run_counts_as_ten_times_chance() {
        let at = |val_loss_b| IntervalRecord {
            interval: 1,
            lr: 0.1,
            momentum: None,
            weight_decay: None,
            train_loss: 1.0,
            val_loss_a: 1.0,
            val_loss_b,
            val_accuracy_b: 0.5,
        };
        let run = |val_loss_b, test_loss| RunRecord {
            job_id: "a".into(),
            stage: Stage::Tune,
            method: "constant".into(),
            seed: 0,
            policy_seed: None,
            initial_lr: None,
            curve: vec![at(7.0), at(val_loss_b)],
            diverged: false,
            at_chance: false,
            test_loss,
            extra_forward_passes: 0,
        };
        let (fine, broken) = (run(0.5, Some(0.25)), run(f64::NAN, None));
        assert_eq!(
            (fine.final_loss(), fine.penalised_loss(Some(2.3)), fine.penalised_test_loss(None)),
            (0.5, 0.5, 0.25)
        );
        assert!(broken.final_loss().is_nan());
        assert_eq!((broken.penalised_loss(Some(2.3)), broken.penalised_test_loss(None)), (23.0, 10.0));
    }
}
