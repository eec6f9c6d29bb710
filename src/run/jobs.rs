//! Many training runs side by side: each a pure function of its specification, stored as soon as it is finished.

use crate::record::{RunRecord, Stage};
use crate::run::session::RunContext;
use crate::run::trial::{Record, Trial};
use crate::store::identity::{job_id, sha256_hex};
use crate::store::journal::Store;
use crate::task::TaskSource;
use crate::{Error, Result};
use lrpilot_core::Schedule;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

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
    /// [`Error::Bug`] if a policy cannot be written.
    pub fn id(&self) -> Result<String> {
        let schedule = match &self.schedule {
            Schedule::Learned { policy, lr } => {
                serde_json::json!({ "policy": sha256_hex(&policy.to_bytes()?), "lr": lr })
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
    fn record_of(&self, id: &str, trial: Trial) -> RunRecord {
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

/// Runs jobs on an executor and keeps what is done.
pub struct Jobs<'a> {
    source: &'a dyn TaskSource,
    store: Option<Store<RunRecord>>,
    done: HashMap<String, RunRecord>,
    context: RunContext<'a>,
}

impl<'a> Jobs<'a> {
    /// With a store, finished jobs found in it are not run again.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(source: &'a dyn TaskSource, store: Option<Store<RunRecord>>, context: RunContext<'a>) -> Result<Self> {
        let records = store.as_ref().map(Store::read_all).transpose()?.unwrap_or_default();
        let done = records.into_iter().map(|r| (r.job_id.clone(), r)).collect();
        Ok(Jobs { source, store, done, context })
    }

    /// Go on with another task and its progress, with the same store.
    pub fn go_on(&mut self, source: &'a dyn TaskSource, context: RunContext<'a>) {
        (self.source, self.context) = (source, context);
    }

    /// The task's source.
    pub fn source(&self) -> &'a dyn TaskSource {
        self.source
    }

    /// The records of `jobs`, in their order.
    ///
    /// # Errors
    /// As the task's; [`Error::Interrupted`] if stopped, with everything finished so far stored.
    pub fn run(&mut self, jobs: &[JobSpec]) -> Result<Vec<RunRecord>> {
        let ids: Vec<String> = jobs.iter().map(JobSpec::id).collect::<Result<_>>()?;
        let (source, context) = (self.source, self.context);
        let epochs = source.spec().horizon as u64;
        let missing: Vec<usize> = (0..jobs.len()).filter(|i| !self.done.contains_key(&ids[*i])).collect();
        context.progress.advance((jobs.len() - missing.len()) as u64 * epochs);
        let specs: Vec<&JobSpec> = missing.iter().map(|i| &jobs[*i]).collect();
        let keeping = Mutex::new((&mut self.store, &mut self.done));
        context.executor.trials(source, &specs, context.stop, &|i, trial| {
            let record = jobs[missing[i]].record_of(&ids[missing[i]], trial);
            let mut keeping = keeping.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(store) = keeping.0.as_mut() {
                store.append(&record)?;
            }
            keeping.1.insert(record.job_id.clone(), record);
            context.progress.advance(epochs);
            Ok(())
        })?;
        let of = |id: &String| self.done.get(id).cloned().ok_or_else(|| Error::Bug(format!("job {id} was not run")));
        ids.iter().map(of).collect()
    }
}
