//! The whole work: tuning and re-running the standard methods, policies from several learning rates, their controls.

use crate::record::suite::{MethodRuns, Reference, SuiteKind, TaskRuns};
use crate::run::RunContext;
use crate::store::journal::Store;
use crate::suite::method::{Contestant, Drive, Family, Free, STARTS, Sight, default_name, tuned_name};
use crate::suite::tasks::LoadedTask;
use crate::suite::train::{INTERVALS, Look, Training};
use crate::suite::tune;
use crate::suite::work::{SuiteJob, SuiteRun, Work};
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
    fn fresh_seeds(&self) -> Vec<u64> {
        (0..self.seeds as u64).map(|i| rng::evaluation_seed(self.seed, i)).collect()
    }
}

/// Trainings that one task takes at most.
pub fn trainings(policies: usize, seeds: usize, baselines: bool, controls: bool) -> usize {
    let standard = Family::ALL.len() * (tune::LEVELS * tune::SEEDS + 2 * seeds) + Free::ALL.len() * seeds;
    let of_policy = seeds * (1 + STARTS.len() + if controls { 4 + Sight::ALL.len() } else { 0 });
    policies * of_policy + if baselines { standard } else { 0 }
}

/// Run everything on the tasks, in their order; finished trainings go to `store` as they come and are not repeated.
/// `on_task` is told of each task when its methods are done.
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
    let mut runs = Vec::new();
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
        for (policy, curves) in options.policies.iter().zip(&curves) {
            for (i, (task, runs)) in tasks.iter().zip(&mut runs).enumerate() {
                let next = next_by_number(tasks, i);
                let controls = controls_from_other_tasks(&mut work, task, policy, (curves, i, next), options)?;
                runs.methods.extend(controls);
            }
        }
    }
    context.progress.finish(&format!("{} tasks", runs.len()));
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
        let (lr, score) = tuned(work, task, family, options.seed)?;
        for (name, lr, score) in [(tuned_name(family), lr, Some(score)), (default_name(family), spec.default_lr, None)]
        {
            let drive = family.drive(lr, spec.steps());
            let runs = on_seeds(work, task, &name, None, |_| drive.clone(), &seeds)?;
            untrained = runs.iter().map(|run| kept(run.untrained)).collect();
            let kind = if score.is_some() { SuiteKind::Tuned } else { SuiteKind::Default };
            let family = Some(family.name().to_owned());
            methods.push(MethodRuns { family, tuning_score: score, ..method_runs(name, kind, &runs) });
        }
    }
    for free in Free::ALL.into_iter().filter(|_| task.takes_optimizers()) {
        let optimizer = free.optimizer(spec)?;
        let drive = Family::Constant.drive(optimizer.default_lr(), spec.steps());
        let name = free.name().to_owned();
        let runs = on_seeds(work, task, &name, Some(&optimizer), |_| drive.clone(), &seeds)?;
        methods.push(method_runs(name, SuiteKind::Free, &runs));
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

/// A run on each seed; `drive` is told which.
fn on_seeds(
    work: &mut Work<'_>,
    task: &LoadedTask,
    name: &str,
    optimizer: Option<&crate::nn::OptimizerSpec>,
    drive: impl Fn(usize) -> Drive,
    seeds: &[u64],
) -> Result<Vec<Training>> {
    let job = |(i, seed): (usize, &u64)| SuiteJob {
        method: name.to_owned(),
        optimizer: optimizer.cloned(),
        drive: drive(i),
        seed: *seed,
        look: Look::Everything,
    };
    let jobs: Vec<SuiteJob> = seeds.iter().enumerate().map(job).collect();
    work.run(task, &jobs)
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

/// A policy that is told nothing, then each starting learning rate, then its controls that need no other task; with the
/// trainings of the first.
fn policy_methods(
    work: &mut Work<'_>,
    task: &LoadedTask,
    policy: &Contestant,
    options: &SuiteOptions<'_>,
) -> Result<(Vec<MethodRuns>, Vec<Training>)> {
    let (seeds, name) = (options.fresh_seeds(), &policy.name);
    let mut methods = Vec::new();
    let mut own = Vec::new();
    let starts = STARTS.into_iter().filter(|_| policy.takes_start()).map(Some);
    for lr0 in std::iter::once(None).chain(starts) {
        let drive = Drive::Schedule(policy.from(lr0));
        let runs = on_seeds(work, task, &policy.name_from(lr0), None, |_| drive.clone(), &seeds)?;
        let kind = if lr0.is_some() { SuiteKind::Start } else { SuiteKind::Policy };
        methods.push(method_runs(policy.name_from(lr0), kind, &runs));
        if lr0.is_none() {
            own = runs;
        }
    }
    if options.controls {
        let mut control = |what: &str, drive: &dyn Fn(usize) -> Drive| -> Result<()> {
            let name = format!("{name}: {what}");
            let runs = on_seeds(work, task, &name, None, drive, &seeds)?;
            methods.push(method_runs(name, SuiteKind::Control, &runs));
            Ok(())
        };
        if let Some(blind) = policy.without_action()? {
            control("no action", &|_| Drive::Schedule(blind.clone()))?;
        }
        for sight in Sight::ALL.into_iter().filter(|_| policy.takes_start()) {
            let drive = Drive::Blinkered { schedule: policy.schedule.clone(), sight };
            control(sight.name(), &|_| drive.clone())?;
        }
        control("replay of another seed", &|i| Drive::Replay { lrs: own[(i + 1) % own.len()].lrs.clone() })?;
    }
    Ok((methods, own))
}

/// Mean over tasks, each a mean over its seeds, of ln of the rates by their first one, at equally spaced moments.
fn average_curve(tasks: &[Vec<Training>]) -> Vec<f64> {
    let points = tasks.iter().flatten().map(|run| run.lrs.len()).max().unwrap_or(0);
    let at = |run: &Training, k: usize| (run.lrs[k * run.lrs.len() / points] / run.first_lr).max(SMALLEST).ln();
    let of_task = |runs: &Vec<Training>, k: usize| runs.iter().map(|run| at(run, k)).sum::<f64>() / runs.len() as f64;
    (0..points).map(|k| tasks.iter().map(|runs| of_task(runs, k)).sum::<f64>() / tasks.len() as f64).collect()
}

/// Position of the task with the next number, the first one after the last: the order of `tasks` is that of their cost.
fn next_by_number(tasks: &[LoadedTask], here: usize) -> usize {
    let number = |i: &usize| tasks[*i].task.number;
    let after = (0..tasks.len()).filter(|i| number(i) > number(&here)).min_by_key(number);
    after.or_else(|| (0..tasks.len()).min_by_key(number)).unwrap_or(here)
}

/// Controls that need the runs on all tasks: the average of the policy's curves over the tasks, and its curve on the next
/// task, which is what it does if it is told there what it would be told here. Both start where the policy itself started.
fn controls_from_other_tasks(
    work: &mut Work<'_>,
    task: &LoadedTask,
    policy: &Contestant,
    (curves, here, next): (&[Vec<Training>], usize, usize),
    options: &SuiteOptions<'_>,
) -> Result<Vec<MethodRuns>> {
    let (average, own, next) = (average_curve(curves), &curves[here], &curves[next]);
    let from_average = |i: usize| average.iter().map(|ln| own[i].first_lr * ln.exp()).collect();
    let from_next = |i: usize| next[i].lrs.iter().map(|lr| own[i].first_lr * lr / next[i].first_lr).collect();
    let mut replay = |what: &str, lrs: &dyn Fn(usize) -> Vec<f64>| -> Result<MethodRuns> {
        let name = format!("{}: {what}", policy.name);
        let runs = on_seeds(work, task, &name, None, |i| Drive::Replay { lrs: lrs(i) }, &options.fresh_seeds())?;
        Ok(method_runs(name, SuiteKind::Control, &runs))
    };
    Ok(vec![replay("its average curve", &from_average)?, replay("inputs of another task", &from_next)?])
}
