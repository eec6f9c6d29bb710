//! One training run as a value: a pure function of its specification.

use crate::Result;
use crate::record::{RunRecord, Stage};
use crate::run::trial::{Record, Trial};
use crate::store::identity::{job_id, sha256_hex};
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
