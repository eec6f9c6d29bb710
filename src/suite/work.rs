//! Trainings of the suite side by side, each stored as soon as it is finished.

use crate::nn::OptimizerSpec;
use crate::run::RunContext;
use crate::store::identity::job_id;
use crate::store::journal::Store;
use crate::suite::method::Drive;
use crate::suite::tasks::LoadedTask;
use crate::suite::train::{INTERVALS, Look, Training, train};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A training to be done on a task.
#[derive(Clone, Debug)]
pub(super) struct SuiteJob {
    /// Name of the method, for people.
    pub method: String,
    /// The optimizer in the place of the task's own.
    pub optimizer: Option<OptimizerSpec>,
    pub drive: Drive,
    pub seed: u64,
    pub look: Look,
}

impl SuiteJob {
    /// Hash of everything that decides the result.
    fn id(&self, task: &str) -> Result<String> {
        let SuiteJob { method: _, optimizer, drive, seed, look } = self;
        let drive = drive.identity()?;
        Ok(job_id(&serde_json::json!({
            "task": task, "optimizer": optimizer, "drive": drive, "seed": seed, "look": look,
        })))
    }
}

/// A finished training: one line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteRun {
    /// Hash of everything that decides the result.
    pub job_id: String,
    /// Number of the task.
    pub task: usize,
    /// Name of the method.
    pub method: String,
    /// Seed of weights and batch order.
    pub seed: u64,
    /// How it went.
    #[serde(flatten)]
    pub training: Training,
}

/// Trains, and keeps what is done.
pub(super) struct Work<'a> {
    store: Option<Store<SuiteRun>>,
    done: HashMap<String, Training>,
    /// Identities of the trainings, with the task and the method, in the order in which they were asked for.
    asked: Vec<(String, usize, String)>,
    context: RunContext<'a>,
}

impl<'a> Work<'a> {
    /// With a store, trainings found in it are not done again.
    pub fn new(store: Option<Store<SuiteRun>>, context: RunContext<'a>) -> Result<Self> {
        let records = store.as_ref().map(Store::read_all).transpose()?.unwrap_or_default();
        let done = records.into_iter().map(|r| (r.job_id, r.training)).collect();
        Ok(Work { store, done, asked: Vec::new(), context })
    }

    /// Tell progress of planned trainings that turned out not to be needed.
    pub fn skip(&self, trainings: usize) {
        self.context.progress.advance(trainings as u64 * INTERVALS);
    }

    /// The trainings of `jobs` on `task`, in their order.
    pub fn run(&mut self, task: &LoadedTask, jobs: &[SuiteJob]) -> Result<Vec<Training>> {
        let identity = task.identity();
        let ids: Vec<String> = jobs.iter().map(|job| job.id(&identity)).collect::<Result<_>>()?;
        let asked = |(id, job): (&String, &SuiteJob)| (id.clone(), task.task.number, job.method.clone());
        self.asked.extend(ids.iter().zip(jobs).map(asked));
        let missing: Vec<usize> = (0..jobs.len()).filter(|i| !self.done.contains_key(&ids[*i])).collect();
        let context = self.context;
        context.progress.advance((jobs.len() - missing.len()) as u64 * INTERVALS);
        let keeping = Mutex::new((&mut self.store, &mut self.done));
        context.executor.each(missing.len(), &|i| {
            if context.stop.is_set() {
                return Err(Error::interrupted());
            }
            let (job, id) = (&jobs[missing[i]], &ids[missing[i]]);
            let training = train(&mut *task.start(job.optimizer.as_ref())?, &job.drive, job.seed, job.look)?;
            let (job_id, method) = (id.clone(), job.method.clone());
            let run = SuiteRun { job_id, task: task.task.number, method, seed: job.seed, training };
            let mut keeping = keeping.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(store) = keeping.0.as_mut() {
                store.append(&run)?;
            }
            keeping.1.insert(run.job_id, run.training);
            context.progress.advance(INTERVALS);
            Ok(())
        })?;
        let of = |id: &String| self.done.get(id).cloned().ok_or_else(|| Error::Bug(format!("job {id} was not run")));
        ids.iter().map(of).collect()
    }
    /// Order the records of the store by task, and of a task as they were asked for, each once and under the name by which
    /// it was first asked for: so its bytes tell nothing of threads, of interruptions, of how long a task takes and of which
    /// process did what. Records that nobody asked for stay, behind the others. The result is how many were asked for.
    ///
    /// # Errors
    /// [`Error::Io`]; the store is then as it was.
    pub fn put_in_order(mut self) -> Result<usize> {
        self.asked.sort_by_key(|(_, task, _)| *task);
        let mut places: HashMap<&String, usize> = HashMap::new();
        for (place, (id, ..)) in self.asked.iter().enumerate() {
            places.entry(id).or_insert(place);
        }
        let Some(store) = self.store else { return Ok(places.len()) };
        let mut records = store.read_all()?;
        records.sort_by_key(|record| places.get(&record.job_id).copied().unwrap_or(usize::MAX));
        records.dedup_by(|a, b| a.job_id == b.job_id);
        for record in &mut records {
            if let Some(place) = places.get(&record.job_id) {
                (_, record.task, record.method) = self.asked[*place].clone();
            }
        }
        store.replace(&records)?;
        Ok(places.len())
    }
}
