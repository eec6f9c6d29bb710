//! Many training runs side by side, each stored as soon as it is finished.

use crate::record::RunRecord;
use crate::run::context::RunContext;
use crate::run::job::JobSpec;
use crate::store::journal::Store;
use crate::task::TaskSource;
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Runs jobs on an executor and keeps what is done.
pub struct Jobs<'a> {
    source: &'a dyn TaskSource,
    store: Option<Store<RunRecord>>,
    done: HashMap<String, RunRecord>,
    /// Identities of the jobs in the order in which they were asked for.
    asked: Vec<String>,
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
        Ok(Jobs { source, store, done, asked: Vec::new(), context })
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
        self.asked.extend(ids.iter().cloned());
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

    /// Order the records of the store as their jobs were asked for, so that its bytes tell nothing of threads, of
    /// interruptions and of which process did what. Records that nobody asked for stay, behind the others.
    ///
    /// # Errors
    /// [`Error::Io`]; the store is then as it was.
    pub fn put_in_order(self) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        let place: HashMap<&String, usize> = self.asked.iter().enumerate().rev().map(|(i, id)| (id, i)).collect();
        let mut records = store.read_all()?;
        records.sort_by_key(|record| place.get(&record.job_id).copied().unwrap_or(usize::MAX));
        store.replace(&records)
    }
}
