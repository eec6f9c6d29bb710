//! The whole work: tuning and re-running the standard methods, policies from several learning rates, their controls.

use crate::nn::OptimizerSpec;
use crate::record::suite::{MethodRuns, Reference, SuiteKind, TaskRuns};
use crate::run::RunContext;
use crate::store::journal::Store;
use crate::suite::method::{Contestant, Drive, Family, Free, STARTS, Sight, default_name, tuned_name};
use crate::suite::tasks::LoadedTask;
use crate::suite::train::{INTERVALS, Look, Training};
use crate::suite::tune;
use crate::suite::work::{SuiteJob, SuiteRun, Work};
use crate::task::TaskSpec;
use crate::{Error, Result, rng};

/// Losses count from 1 % of the untrained network's on.
pub(super) const FLOOR: f64 = 1e-2;

/// By their first one: smaller rates count as this in an average curve, where a rate of 0 would be alone.
const SMALLEST: f64 = 1e-6;

/// What is measured, and how often.
pub struct SuiteOptions<'a> {
    /// Seed from which those of tuning and of the fresh runs follow.
    pub seed: u64,
    /// Fresh seeds, ≥ 1.
    pub seeds: usize,
    /// The policies; each is told [`STARTS`] and nothing.
    pub policies: &'a [Contestant],
    /// Whether policies are also run without their eyes.
    pub controls: bool,
    /// Losses of the standard methods; `None` computes them.
    pub reference: Option<&'a Reference>,
}

impl SuiteOptions<'_> {
    pub(super) fn fresh_seeds(&self) -> Vec<u64> {
        (0..self.seeds as u64).map(|i| rng::evaluation_seed(self.seed, i)).collect()
    }
}

/// Trainings that one task takes at most.
pub fn trainings(policies: usize, seeds: usize, baselines: bool, controls: bool) -> usize {
    let standard = Family::ALL.len() * (tune::LEVELS * tune::SEEDS + 2 * seeds) + Free::ALL.len() * seeds;
    let of_policy = seeds * (1 + STARTS.len() + if controls { 4 + Sight::ALL.len() } else { 0 });
    policies * of_policy + if baselines { standard } else { 0 }
}

/// Run everything on the tasks, in their order; finished trainings go to `store` as they come and are not repeated. In the
/// end they are put in an order that tells nothing of that of the tasks. `on_task` is told of each task when its methods are done.
///
/// # Errors
/// [`Error::Config`] for a task that the reference does not know or knows with fewer seeds, [`Error::Interrupted`] if
/// stopped, and the tasks' errors.
pub fn run(
    tasks: &[LoadedTask],
    options: &SuiteOptions<'_>,
    store: Option<Store<SuiteRun>>,
    context: RunContext<'_>,
    on_task: &(dyn Fn(&TaskRuns) + Sync),
) -> Result<Vec<TaskRuns>> {
    let SuiteOptions { policies, seeds, controls, reference, .. } = options;
    let planned = trainings(policies.len(), *seeds, reference.is_none(), *controls);
    context.progress.start((tasks.len() * planned) as u64 * INTERVALS, "suite");
    let mut work = Work::new(store, context)?;
    let mut runs = Vec::with_capacity(tasks.len());
    let mut curves: Vec<Vec<Vec<Training>>> = vec![Vec::new(); options.policies.len()];
    for task in tasks {
        let mut of_task = match known(task, options)? {
            Some(known) => known,
            None => standard_methods(&mut work, task, options)?,
        };
        for (policy, curves) in options.policies.iter().zip(&mut curves) {
            let (methods, own) = policy_methods(&mut work, task, policy, options)?;
            of_task.methods.extend(methods);
            curves.push(own);
        }
        on_task(&of_task);
        runs.push(of_task);
    }
    if options.controls {
        // The order of `tasks` is that of their cost, which no result may depend on.
        let mut by_number: Vec<usize> = (0..tasks.len()).collect();
        by_number.sort_by_key(|i| tasks[*i].task.number);
        for (policy, curves) in options.policies.iter().zip(&curves) {
            let curves: Vec<&[Training]> = by_number.iter().map(|i| curves[*i].as_slice()).collect();
            let average = average_curve(&curves);
            for (place, i) in by_number.iter().enumerate() {
                let next = curves[(place + 1) % curves.len()];
                let of = (average.as_slice(), curves[place], next);
                runs[*i].methods.extend(controls_from_other_tasks(&mut work, &tasks[*i], policy, of, options)?);
            }
        }
    }
    context.progress.finish(&format!("{} tasks", runs.len()));
    work.put_in_order()?;
    runs.sort_by_key(|task| task.number);
    Ok(runs)
}

/// Whether the reference knows every task with enough seeds, before anything is run.
///
/// # Errors
/// [`Error::Config`] naming the first task that it does not.
pub fn check(tasks: &[LoadedTask], options: &SuiteOptions<'_>) -> Result<()> {
    tasks.iter().try_for_each(|task| known(task, options).map(drop))
}

/// The reference's runs of a task, cut to the seeds that are asked for; `None` where everything is computed.
fn known(task: &LoadedTask, options: &SuiteOptions<'_>) -> Result<Option<TaskRuns>> {
    let Some(reference) = options.reference else { return Ok(None) };
    let (identity, number, seeds) = (task.identity(), task.task.number, options.seeds);
    let place = format!("task {number} ({})", task.spec().name);
    let Some(known) = reference.tasks.iter().find(|known| known.identity == identity) else {
        let message = "the reference has no losses of the standard methods on this task";
        return Err(Error::config(place, message, "compute the baselines, too, or choose other tasks"));
    };
    let have = known.untrained.len();
    if have < seeds {
        let message = format!("the reference has {have} seeds, not {seeds}");
        return Err(Error::config(
            place,
            message,
            format!("ask for at most {have} seeds, or compute the baselines, too"),
        ));
    }
    let mut known = TaskRuns { number, ..known.clone() };
    known.untrained.truncate(seeds);
    for method in &mut known.methods {
        method.test.truncate(seeds);
        method.stopped.truncate(seeds);
        method.diverged.retain(|i| *i < seeds);
        method.at_chance.retain(|i| *i < seeds);
    }
    Ok(Some(known))
}

/// Tune each family, and run it tuned and with the default on the fresh seeds; the optimizers without a learning rate.
fn standard_methods(work: &mut Work<'_>, task: &LoadedTask, options: &SuiteOptions<'_>) -> Result<TaskRuns> {
    let (spec, seeds) = (task.spec(), options.fresh_seeds());
    let mut methods = Vec::new();
    let mut untrained = Vec::new();
    for family in Family::ALL {
        methods.push(tuned_method(work, task, family, options)?);
        let default = default_entry(family, spec);
        let runs = work.run(task, &default.jobs(&seeds))?;
        untrained = runs.iter().map(|run| kept(run.untrained)).collect();
        methods.push(default.of(&runs));
    }
    for free in free_entries(task)? {
        methods.push(free.of(&work.run(task, &free.jobs(&seeds))?));
    }
    Ok(TaskRuns {
        number: task.task.number,
        name: spec.name.clone(),
        regime: task.task.regime.clone(),
        unseen: task.task.unseen.clone(),
        identity: task.identity(),
        untrained,
        methods,
    })
}

/// A method whose rates depend on no other run.
pub(super) struct Entry {
    name: String,
    kind: SuiteKind,
    family: Option<Family>,
    optimizer: Option<OptimizerSpec>,
    drive: Drive,
}

impl Entry {
    /// The run on a fresh seed.
    pub fn job(&self, seed: u64) -> SuiteJob {
        let (method, optimizer, drive) = (self.name.clone(), self.optimizer.clone(), self.drive.clone());
        SuiteJob { method, optimizer, drive, seed, look: Look::Everything }
    }

    fn jobs(&self, seeds: &[u64]) -> Vec<SuiteJob> {
        seeds.iter().map(|seed| self.job(*seed)).collect()
    }

    /// What its runs come to.
    fn of(&self, runs: &[Training]) -> MethodRuns {
        let family = self.family.map(|family| family.name().to_owned());
        MethodRuns { family, ..method_runs(self.name.clone(), self.kind, runs) }
    }
}

/// What is run on a task and is known before anything has run there; the tuned families are not.
pub(super) fn known_entries(task: &LoadedTask, options: &SuiteOptions<'_>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if options.reference.is_none() {
        entries.extend(Family::ALL.map(|family| default_entry(family, task.spec())));
        entries.extend(free_entries(task)?);
    }
    for policy in options.policies {
        entries.extend(policy_entries(policy, options.controls)?);
    }
    Ok(entries)
}

fn default_entry(family: Family, spec: &TaskSpec) -> Entry {
    let (name, drive) = (default_name(family), family.drive(spec.default_lr, spec.steps()));
    Entry { name, kind: SuiteKind::Default, family: Some(family), optimizer: None, drive }
}

/// The optimizers without a learning rate, where the task can be trained by them.
fn free_entries(task: &LoadedTask) -> Result<Vec<Entry>> {
    let entry = |free: Free| {
        let optimizer = free.optimizer(task.spec())?;
        let drive = Family::Constant.drive(optimizer.default_lr(), task.spec().steps());
        let (name, kind) = (free.name().to_owned(), SuiteKind::Free);
        Ok(Entry { name, kind, family: None, optimizer: Some(optimizer), drive })
    };
    Free::ALL.into_iter().filter(|_| task.takes_optimizers()).map(entry).collect()
}

/// A policy that is told nothing, then each starting learning rate, then its controls that need no other run.
fn policy_entries(policy: &Contestant, controls: bool) -> Result<Vec<Entry>> {
    let entry =
        |name: String, kind: SuiteKind, drive: Drive| Entry { name, kind, family: None, optimizer: None, drive };
    let starts = STARTS.into_iter().filter(|_| policy.takes_start()).map(Some);
    let told = std::iter::once(None).chain(starts).map(|lr0| {
        let kind = if lr0.is_some() { SuiteKind::Start } else { SuiteKind::Policy };
        entry(policy.name_from(lr0), kind, Drive::Schedule(policy.from(lr0)))
    });
    let mut entries: Vec<Entry> = told.collect();
    if controls {
        let control = |what: &str, drive: Drive| entry(format!("{}: {what}", policy.name), SuiteKind::Control, drive);
        entries.extend(policy.without_action()?.map(|blind| control("no action", Drive::Schedule(blind))));
        for sight in Sight::ALL.into_iter().filter(|_| policy.takes_start()) {
            entries.push(control(sight.name(), Drive::Blinkered { schedule: policy.schedule.clone(), sight }));
        }
    }
    Ok(entries)
}

/// A family with the learning rate that the race finds for it, on the fresh seeds.
pub(super) fn tuned_method(
    work: &mut Work<'_>,
    task: &LoadedTask,
    family: Family,
    options: &SuiteOptions<'_>,
) -> Result<MethodRuns> {
    let (lr, score) = tuned(work, task, family, options.seed)?;
    let (name, drive) = (tuned_name(family), family.drive(lr, task.spec().steps()));
    let entry = Entry { name, kind: SuiteKind::Tuned, family: Some(family), optimizer: None, drive };
    let runs = work.run(task, &entry.jobs(&options.fresh_seeds()))?;
    Ok(MethodRuns { tuning_score: Some(score), ..entry.of(&runs) })
}

/// The learning rate that the race finds for a family, and its score.
fn tuned(work: &mut Work<'_>, task: &LoadedTask, family: Family, seed: u64) -> Result<(f64, f64)> {
    let (spec, name) = (task.spec(), format!("{} (tuning)", family.name()));
    let levels = tune::levels(spec.lr_bounds);
    let mut losses = vec![Vec::new(); levels.len()];
    let mut untrained = 0.0;
    let mut field: Vec<usize> = (0..levels.len()).collect();
    for seeds in [0..tune::FIRST, tune::FIRST..tune::SEEDS] {
        let pairs: Vec<(usize, u64)> =
            field.iter().flat_map(|k| seeds.clone().map(|i| (*k, rng::tuning_seed(seed, i as u64)))).collect();
        let job = |(k, seed): &(usize, u64)| SuiteJob {
            method: name.clone(),
            optimizer: None,
            drive: family.drive(levels[*k], spec.steps()),
            seed: *seed,
            look: Look::Tuning,
        };
        let jobs: Vec<SuiteJob> = pairs.iter().map(job).collect();
        for ((k, _), run) in pairs.iter().zip(work.run(task, &jobs)?) {
            losses[*k].push(run.val_b);
            untrained = run.untrained;
        }
        if seeds.start == 0 {
            field = tune::survivors(&losses, FLOOR * untrained);
            work.skip((levels.len() - field.len()) * (tune::SEEDS - tune::FIRST));
        }
    }
    let (best, score) = tune::winner(&losses, FLOOR * untrained);
    Ok((levels[best], score))
}

/// Rates that stood in other runs, on each fresh seed; `lrs` is told which.
fn replay(
    work: &mut Work<'_>,
    task: &LoadedTask,
    name: String,
    lrs: &dyn Fn(usize) -> Vec<f64>,
    options: &SuiteOptions<'_>,
) -> Result<MethodRuns> {
    let job = |(i, seed): (usize, u64)| SuiteJob {
        method: name.clone(),
        optimizer: None,
        drive: Drive::Replay { lrs: lrs(i) },
        seed,
        look: Look::Everything,
    };
    let jobs: Vec<SuiteJob> = options.fresh_seeds().into_iter().enumerate().map(job).collect();
    let runs = work.run(task, &jobs)?;
    Ok(method_runs(name, SuiteKind::Control, &runs))
}

/// A loss to the seven digits that results keep.
fn kept(loss: f64) -> f64 {
    format!("{loss:.6e}").parse().unwrap_or(loss)
}

fn method_runs(name: String, kind: SuiteKind, runs: &[Training]) -> MethodRuns {
    let of = |loss: fn(&Training) -> Option<f64>| runs.iter().map(|r| kept(loss(r).unwrap_or(f64::NAN))).collect();
    MethodRuns {
        name,
        kind,
        family: None,
        first_lr: runs.first().map_or(f64::NAN, |r| r.first_lr),
        tuning_score: None,
        test: of(|r| r.test),
        stopped: of(|r| r.stopped),
        diverged: (0..runs.len()).filter(|i| runs[*i].diverged).collect(),
        at_chance: (0..runs.len()).filter(|i| runs[*i].at_chance).collect(),
    }
}

/// The methods of a policy that need no other task, with the trainings of the policy that is told nothing.
fn policy_methods(
    work: &mut Work<'_>,
    task: &LoadedTask,
    policy: &Contestant,
    options: &SuiteOptions<'_>,
) -> Result<(Vec<MethodRuns>, Vec<Training>)> {
    let seeds = options.fresh_seeds();
    let mut methods = Vec::new();
    let mut own = Vec::new();
    for entry in policy_entries(policy, options.controls)? {
        let runs = work.run(task, &entry.jobs(&seeds))?;
        methods.push(entry.of(&runs));
        if entry.kind == SuiteKind::Policy {
            own = runs;
        }
    }
    if options.controls {
        let name = format!("{}: replay of another seed", policy.name);
        methods.push(replay(work, task, name, &|i| own[(i + 1) % own.len()].lrs.clone(), options)?);
    }
    Ok((methods, own))
}

/// Mean over tasks, each a mean over its seeds, of ln of the rates by their first one, at equally spaced moments.
fn average_curve(tasks: &[&[Training]]) -> Vec<f64> {
    let points = tasks.iter().copied().flatten().map(|run| run.lrs.len()).max().unwrap_or(0);
    let at = |run: &Training, k: usize| (run.lrs[k * run.lrs.len() / points] / run.first_lr).max(SMALLEST).ln();
    let of_task = |runs: &[Training], k: usize| runs.iter().map(|run| at(run, k)).sum::<f64>() / runs.len() as f64;
    (0..points).map(|k| tasks.iter().map(|runs| of_task(runs, k)).sum::<f64>() / tasks.len() as f64).collect()
}

/// Controls that need the runs on all tasks: the average of the policy's curves over the tasks, and its curve on the task
/// with the next number (after the last, the first), which is what it does if it is told there what it would be told here.
/// Both start where the policy itself started.
fn controls_from_other_tasks(
    work: &mut Work<'_>,
    task: &LoadedTask,
    policy: &Contestant,
    (average, own, next): (&[f64], &[Training], &[Training]),
    options: &SuiteOptions<'_>,
) -> Result<Vec<MethodRuns>> {
    let from_average = |i: usize| average.iter().map(|ln| own[i].first_lr * ln.exp()).collect();
    let from_next = |i: usize| next[i].lrs.iter().map(|lr| own[i].first_lr * lr / next[i].first_lr).collect();
    let name = |what: &str| format!("{}: {what}", policy.name);
    Ok(vec![
        replay(work, task, name("its average curve"), &from_average, options)?,
        replay(work, task, name("inputs of another task"), &from_next, options)?,
    ])
}
