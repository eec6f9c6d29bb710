//! Where work is done: the local pool, or whatever else carries serialisable jobs to other processes.

use crate::Result;
use crate::agent::{LocalPool, RolloutExecutor};
use crate::run::job::JobSpec;
use crate::run::stop::StopFlag;
use crate::run::trial::Trial;
use crate::task::TaskSource;
use rayon::prelude::*;

/// Does work side by side. Results never depend on which executor it is, nor on the order in which they come.
pub trait Executor: RolloutExecutor {
    /// Run `jobs` and call `sink(index, result)` for each as soon as it is finished, from any thread. The first error, of
    /// a job or of the sink, ends the work; so does `stop`, after what is in flight.
    ///
    /// # Errors
    /// As the task's and the sink's; [`crate::Error::Interrupted`] if stopped.
    fn trials(
        &self,
        source: &dyn TaskSource,
        jobs: &[&JobSpec],
        stop: &StopFlag,
        sink: &(dyn Fn(usize, Trial) -> Result<()> + Sync),
    ) -> Result<()>;

    /// Call `work` for each number below `count`, side by side on this machine.
    ///
    /// # Errors
    /// The first error of `work`.
    fn each(&self, count: usize, work: &(dyn Fn(usize) -> Result<()> + Sync)) -> Result<()>;
}

impl Executor for LocalPool {
    fn trials(
        &self,
        source: &dyn TaskSource,
        jobs: &[&JobSpec],
        stop: &StopFlag,
        sink: &(dyn Fn(usize, Trial) -> Result<()> + Sync),
    ) -> Result<()> {
        self.each(jobs.len(), &|i| sink(i, jobs[i].train(source, stop)?))
    }

    fn each(&self, count: usize, work: &(dyn Fn(usize) -> Result<()> + Sync)) -> Result<()> {
        (0..count).into_par_iter().try_for_each(work)
    }
}
