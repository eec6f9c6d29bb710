//! Several processes share the trainings of one run of the suite.
//!
//! Trainings that depend on no other are dealt out one by one: schedules with the default learning rate, optimizers
//! without one, policies, each on each seed. The tuning of a family on a task is a race whose second half depends on its
//! first, and decides what the fresh seeds are run with: that chain is dealt out as a whole. The controls that replay the
//! policy's own runs are left to whoever puts the shares together, which is [`run`](fn@super::run) with a store that holds all.

use crate::Result;
use crate::run::RunContext;
use crate::run::compare::Share;
use crate::store::journal::Store;
use crate::suite::method::Family;
use crate::suite::run::{Entry, SuiteOptions, known_entries, tuned_method};
use crate::suite::tasks::LoadedTask;
use crate::suite::train::INTERVALS;
use crate::suite::tune;
use crate::suite::work::{SuiteJob, SuiteRun, Work};

/// Do one share of a run of the suite; finished trainings go to `store` as they come and are not repeated. What a share
/// holds does not depend on the order of `tasks`. The result is how many trainings it has.
///
/// ```
/// use lrpilot::RunContext;
/// use lrpilot::run::compare::Share;
/// use lrpilot::store::journal::Store;
/// use lrpilot::suite::{LoadedTask, Suite, SuiteOptions, run_share};
/// let task = "kind = 'noisy-quadratic'\ndimensions = 2\ninterval_steps = 1\nhorizon = 1";
/// let suite = format!("name = 'one'\nseed = 1\n[[tasks]]\nnumber = 1\nregime = 'closed form'\n[tasks.task]\n{task}");
/// let suite = Suite::parse(&suite, "an example")?;
/// let dir = tempfile::tempdir().unwrap();
/// let tasks = [LoadedTask::new(&suite.tasks[0], dir.path())?];
/// let options = SuiteOptions { seed: 1, seeds: 1, policies: &[], controls: false, reference: None };
/// let store = Store::open(&dir.path().join("results.jsonl"))?;
/// // Of the seven families, the last: between 50 and 100 trainings to tune it, one with what was found, one default.
/// let trainings = run_share(&tasks, &options, Share::new(6, 7)?, store, RunContext::local())?;
/// assert!((52..=102).contains(&trainings));
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// As those of a run of the suite, [`run`](fn@super::run).
pub fn run_share(
    tasks: &[LoadedTask],
    options: &SuiteOptions<'_>,
    share: Share,
    store: Store<SuiteRun>,
    context: RunContext<'_>,
) -> Result<usize> {
    let mut by_number: Vec<&LoadedTask> = tasks.iter().collect();
    by_number.sort_by_key(|task| task.task.number);
    let families = if options.reference.is_none() { Family::ALL.as_slice() } else { &[] };
    let of_task = |task: &&LoadedTask| families.iter().map(|family| (task.task.number, *family)).collect::<Vec<_>>();
    let chains: Vec<(usize, Family)> = share.take(&by_number.iter().flat_map(of_task).collect::<Vec<_>>());
    let entries: Vec<(usize, Vec<Entry>)> =
        by_number.iter().map(|task| Ok((task.task.number, known_entries(task, options)?))).collect::<Result<_>>()?;
    let seeds = options.fresh_seeds();
    let mut singles: Vec<(usize, &Entry, u64)> = Vec::new();
    for (number, entries) in &entries {
        singles.extend(entries.iter().flat_map(|entry| seeds.iter().map(move |seed| (*number, entry, *seed))));
    }
    let singles = share.take(&singles);
    let most = chains.len() * (tune::LEVELS * tune::SEEDS + options.seeds) + singles.len();
    context.progress.start(most as u64 * INTERVALS, &format!("share {} of {}", share.index(), share.of()));
    let mut work = Work::new(Some(store), context)?;
    for task in tasks {
        for (_, family) in chains.iter().filter(|(number, _)| *number == task.task.number) {
            tuned_method(&mut work, task, *family, options)?;
        }
        let of_task = singles.iter().filter(|(number, ..)| *number == task.task.number);
        let jobs: Vec<SuiteJob> = of_task.map(|(_, entry, seed)| entry.job(*seed)).collect();
        work.run(task, &jobs)?;
    }
    let trainings = work.put_in_order()?;
    context.progress.finish(&format!("{trainings} trainings"));
    Ok(trainings)
}
