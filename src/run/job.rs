//! One training run as a value: a pure function of its specification.

use crate::record::{RunRecord, Stage};
use crate::run::stop::StopFlag;
use crate::run::trial::{Record, Trial, run_trial};
use crate::store::identity::{job_id, sha256_hex};
use crate::task::TaskSource;
use crate::{Error, Result};
use lrpilot_core::Schedule;
use serde::{Deserialize, Serialize};

/// Raised when the same job gives other results than before, so that stored ones are not taken for them.
const RESULTS_VERSION: u32 = 2;

/// One training run to be done: both the message to whoever does it and, hashed, its identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Identity of the task's source.
    pub task: serde_json::Value,
    /// Part of the comparison.
    pub stage: Stage,
    /// Name of the method, for people.
    pub name: String,
    /// What sets the LR.
    pub schedule: Schedule,
    /// Initial LR to be shown.
    pub initial_lr: Option<f64>,
    /// Seed of weights and batch order.
    pub seed: u64,
    /// Seed of the policy.
    pub policy_seed: Option<u64>,
    /// What is recorded.
    pub record: Record,
}

impl JobSpec {
    /// sha256 of the canonical JSON, in which a policy stands for the sha256 of its file. Two jobs with equal identities
    /// have equal results, on every machine.
    ///
    /// # Errors
    /// [`crate::Error::Bug`] if a policy cannot be written.
    pub fn id(&self) -> Result<String> {
        let schedule = match &self.schedule {
            Schedule::Learned { policy, lr } => {
                serde_json::json!({ "policy": sha256_hex(&policy.to_bytes()?), "lr": lr })
            }
            Schedule::Generalist { policy, lr } => {
                serde_json::json!({ "pretrained": sha256_hex(&policy.to_bytes()?), "lr": lr })
            }
            other => serde_json::json!(other),
        };
        let JobSpec { task, stage, name, schedule: _, initial_lr, seed, policy_seed, record } = self;
        Ok(job_id(&serde_json::json!({
            "version": RESULTS_VERSION, "task": task, "stage": stage, "name": name, "schedule": schedule,
            "initial_lr": initial_lr, "seed": seed, "policy_seed": policy_seed, "record": record,
        })))
    }

    /// Train the job's network, unless somebody asked to stop. `source` is the one that the job names.
    ///
    /// ```
    /// use lrpilot::record::Stage;
    /// use lrpilot::run::{JobSpec, Record, StopFlag};
    /// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
    /// use lrpilot::{Error, Schedule};
    /// let source = ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?;
    /// let (name, schedule) = ("cosine".to_owned(), Schedule::cosine(0.5, 30));
    /// let job = JobSpec {
    ///     task: source.identity(),
    ///     stage: Stage::Tune,
    ///     name,
    ///     schedule,
    ///     initial_lr: Some(0.5),
    ///     seed: 7,
    ///     policy_seed: None,
    ///     record: Record::Final,
    /// };
    /// let stop = StopFlag::default();
    /// assert_eq!(job.train(&source, &stop)?.curve.len(), 30);
    /// stop.set();
    /// assert!(matches!(job.train(&source, &stop), Err(Error::Interrupted { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`run_trial`]; [`Error::Interrupted`].
    pub fn train(&self, source: &dyn TaskSource, stop: &StopFlag) -> Result<Trial> {
        if stop.is_set() {
            return Err(Error::interrupted());
        }
        run_trial(&mut *source.task(self.seed)?, &self.schedule, self.seed, self.record)
    }

    /// The record of the job's result.
    pub(super) fn record_of(&self, id: &str, trial: Trial) -> RunRecord {
        let Trial { curve, diverged, at_chance, test_loss, extra_forward_passes } = trial;
        RunRecord {
            job_id: id.to_owned(),
            stage: self.stage,
            method: self.name.clone(),
            seed: self.seed,
            policy_seed: self.policy_seed,
            initial_lr: self.initial_lr,
            curve,
            diverged,
            at_chance,
            test_loss,
            extra_forward_passes,
        }
    }
}
