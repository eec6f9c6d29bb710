//! Several processes share the jobs of one comparison.
//!
//! Most jobs are known before anything has run: every point of every grid, the policies and the defaults on the fresh
//! seeds. These are dealt out. The few that depend on results (each tuned method on the fresh seeds, the replays) are run
//! by whoever puts the shares together, which is [`super::compare`] with a store that holds all of them.

use super::grid::{grid_jobs, tuning_seed_list, tuning_seeds};
use super::{
    CompareOptions, Entry, controls, default_entry, evaluation_jobs, families, policy_entry, pretrained_entry,
};
use crate::record::RunRecord;
use crate::run::context::RunContext;
use crate::run::job::JobSpec;
use crate::run::jobs::Jobs;
use crate::store::journal::Store;
use crate::task::TaskSource;
use crate::{Error, Result};

/// One of several equal shares of a list: the entries at `index`, `index + of`, `index + 2 of`, …
///
/// ```
/// use lrpilot::run::compare::Share;
/// let jobs = ["a", "b", "c", "d", "e"];
/// assert_eq!(Share::new(1, 3)?.take(&jobs), ["b", "e"]);
/// let refusal = Share::new(3, 3).unwrap_err().to_string();
/// assert_eq!(refusal, "share 3 of 3: shares are counted from 0; give an index from 0 to 2");
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    index: usize,
    of: usize,
}

impl Share {
    /// Share number `index`, counted from 0, of `of`.
    ///
    /// # Errors
    /// [`Error::Usage`] unless `index < of`.
    pub fn new(index: usize, of: usize) -> Result<Self> {
        if index < of {
            return Ok(Share { index, of });
        }
        let remedy = match of {
            0 => "split into at least 1".to_owned(),
            of => format!("give an index from 0 to {}", of - 1),
        };
        Err(Error::usage(format!("share {index} of {of}: shares are counted from 0"), remedy))
    }

    /// Its number, counted from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many shares there are.
    pub fn of(self) -> usize {
        self.of
    }

    /// What of `list` belongs to the share, in the list's order.
    pub fn take<T: Clone>(self, list: &[T]) -> Vec<T> {
        list.iter().skip(self.index).step_by(self.of).cloned().collect()
    }
}

/// Run one share of a comparison; finished runs go to `store` as they come and are not repeated. The result is how many
/// jobs the share has.
///
/// ```
/// use lrpilot::run::compare::{Share, run_share};
/// use lrpilot::store::journal::Store;
/// use lrpilot::task::{ConfiguredTask, QuadraticConfig, TaskConfig};
/// use lrpilot::{CompareOptions, RunContext};
/// let task = QuadraticConfig { horizon: 1, interval_steps: 1, dimensions: 2, ..QuadraticConfig::default() };
/// let source = ConfiguredTask::new(&TaskConfig::NoisyQuadratic(task), None)?;
/// let command = "an example";
/// let options = CompareOptions { policies: Vec::new(), budget_epochs: 100, evaluation_seeds: 1, seed: 0, command };
/// let dir = tempfile::tempdir().unwrap();
/// let store = Store::open(&dir.path().join("results.jsonl"))?;
/// // Five grids and that of hindsight, 100 points each; five defaults and the pretrained policy.
/// let jobs = run_share(&source, &options, Share::new(0, 3)?, store, &RunContext::local())?;
/// assert_eq!(jobs, 606 / 3);
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// As [`super::compare`].
pub fn run_share(
    source: &dyn TaskSource,
    options: &CompareOptions<'_>,
    share: Share,
    store: Store<RunRecord>,
    context: &RunContext<'_>,
) -> Result<usize> {
    let jobs = share.take(&known_jobs(source, options)?);
    let epochs = (jobs.len() * source.spec().horizon) as u64;
    context.progress.start(epochs, &format!("share {} of {}", share.index, share.of));
    let mut keeping = Jobs::new(source, Some(store), *context)?;
    keeping.run(&jobs)?;
    keeping.put_in_order()?;
    context.progress.finish(&format!("{} jobs", jobs.len()));
    Ok(jobs.len())
}

/// The jobs that depend on no result, in a fixed order.
fn known_jobs(source: &dyn TaskSource, options: &CompareOptions<'_>) -> Result<Vec<JobSpec>> {
    let spec = source.spec();
    let seeds = tuning_seed_list(options.seed, tuning_seeds(options.budget_epochs, spec)?);
    let families = families(spec);
    let mut jobs: Vec<JobSpec> =
        options.learned().flat_map(|group| controls::replay_sources(source, group, options.seed)).collect();
    jobs.extend(families.iter().flat_map(|f| grid_jobs(source, &f.tuned_name(), f, &seeds)));
    jobs.extend(controls::hindsight_grid(source, options));
    let mut entries: Vec<Entry> = options.policies.iter().map(|g| policy_entry(g, options.budget_epochs)).collect();
    entries.push(pretrained_entry()?);
    entries.extend(families.iter().map(|family| default_entry(family, spec)));
    jobs.extend(entries.iter().flat_map(|entry| evaluation_jobs(entry, options, source)));
    Ok(jobs)
}
