//! Many training runs side by side: each a pure function of its specification, stored as soon as it is finished.

use crate::record::progress::Progress;
use crate::record::{RunRecord, Stage};
use crate::run::stop::StopFlag;
use crate::run::trial::{Method, Record, Runner, Trial, run_child};
use crate::store::identity::{job_id, sha256_hex};
use crate::store::journal::Store;
use crate::task::TaskConfig;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::mpsc;

/// One training run to be done.
#[derive(Clone, Debug)]
pub struct Job {
    /// Part of the comparison.
    pub stage: Stage,
    /// Name of the method, for people.
    pub name: String,
    /// What sets the LR.
    pub method: Method,
    /// Initial LR to be shown.
    pub initial_lr: Option<f64>,
    /// Seed of weights and batch order.
    pub seed: u64,
    /// Seed of the policy.
    pub policy_seed: Option<u64>,
    /// What is recorded.
    pub record: Record,
}

/// The canonical specification, whose sha256 is the job's identity.
#[derive(Serialize)]
struct JobSpec<'a> {
    version: &'a str,
    task: &'a TaskConfig,
    stage: Stage,
    name: &'a str,
    method: String,
    seed: u64,
    policy_seed: Option<u64>,
    everything: bool,
}

/// Runs jobs on the current thread pool and keeps what is done.
pub struct Jobs<'a> {
    runner: &'a Runner,
    store: Option<Store<RunRecord>>,
    done: HashMap<String, RunRecord>,
    progress: &'a dyn Progress,
    stop: &'a StopFlag,
}

impl<'a> Jobs<'a> {
    /// With a store, finished jobs found in it are not run again.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(
        runner: &'a Runner,
        store: Option<Store<RunRecord>>,
        progress: &'a dyn Progress,
        stop: &'a StopFlag,
    ) -> Result<Self> {
        let records = store.as_ref().map(Store::read_all).transpose()?.unwrap_or_default();
        let done = records.into_iter().map(|r| (r.job_id.clone(), r)).collect();
        Ok(Jobs { runner, store, done, progress, stop })
    }

    /// Go on with another task and its progress, with the same store.
    pub fn go_on(&mut self, runner: &'a Runner, progress: &'a dyn Progress) {
        (self.runner, self.progress) = (runner, progress);
    }

    /// The records of `jobs`, in their order.
    ///
    /// # Errors
    /// As the task's; [`Error::Interrupted`] if stopped, with everything finished so far stored.
    pub fn run(&mut self, jobs: &[Job]) -> Result<Vec<RunRecord>> {
        let ids: Vec<String> = jobs.iter().map(|job| self.id(job)).collect::<Result<_>>()?;
        let missing: Vec<(&Job, &String)> =
            jobs.iter().zip(&ids).filter(|(_, id)| !self.done.contains_key(*id)).collect();
        self.progress.advance(self.epochs(jobs.len() - missing.len()));
        let (runner, stop) = (self.runner, self.stop);
        let (sender, receiver) = mpsc::channel();
        let finished = std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                missing.par_iter().try_for_each_with(sender, |sender, (job, id)| {
                    if stop.is_set() {
                        return Err(Error::Interrupted { resume: "the same command with --resume".into() });
                    }
                    let record = run_one(runner, job, id)?;
                    // The receiver only hangs up after an error of its own, which ends the run anyway.
                    let _ = sender.send(record);
                    Ok(())
                })
            });
            let stored = receiver.iter().try_for_each(|record| self.keep(record));
            let worked = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            stored.and(worked)
        });
        finished?;
        Ok(ids.iter().map(|id| self.done[id].clone()).collect())
    }

    fn keep(&mut self, record: RunRecord) -> Result<()> {
        if let Some(store) = &mut self.store {
            store.append(&record)?;
        }
        self.progress.advance(self.epochs(1));
        self.done.insert(record.job_id.clone(), record);
        Ok(())
    }

    fn epochs(&self, runs: usize) -> u64 {
        (runs * self.runner.config().horizon()) as u64
    }

    fn id(&self, job: &Job) -> Result<String> {
        let method = match &job.method {
            Method::Learned { policy, lr } => format!("{} from {lr:?}", sha256_hex(&policy.to_bytes()?)),
            other => format!("{other:?}"),
        };
        Ok(job_id(&JobSpec {
            version: env!("CARGO_PKG_VERSION"),
            task: self.runner.config(),
            stage: job.stage,
            name: &job.name,
            method,
            seed: job.seed,
            policy_seed: job.policy_seed,
            everything: job.record == Record::Everything,
        }))
    }
}

fn run_one(runner: &Runner, job: &Job, id: &str) -> Result<RunRecord> {
    let trial = run_child(&mut *runner.task()?, &job.method, job.seed, job.record)?;
    let Trial { curve, diverged, test_loss, extra_forward_passes } = trial;
    Ok(RunRecord {
        job_id: id.to_owned(),
        stage: job.stage,
        method: job.name.clone(),
        seed: job.seed,
        policy_seed: job.policy_seed,
        initial_lr: job.initial_lr,
        curve,
        diverged,
        test_loss,
        extra_forward_passes,
    })
}
