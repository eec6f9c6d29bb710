//! Why a policy decided as it did: training runs under it, with the influence of every input at every decision.

use crate::agent::Policy;
use crate::record::{Explained, ExplainedDecision, ExplainedRun, Response};
use crate::task::{Task, TaskSource, train_interval};
use crate::{Error, Result};
use lrpilot_core::explain::{Decided, Explanation, influences, response, typical};
use lrpilot_core::generalist::FEATURES;
use lrpilot_core::{Decision, Learned, Schedule};
use rayon::prelude::*;

/// Points of a response curve.
const POINTS: usize = 41;
/// Values of an input that are kept, at most.
const SEEN_MAX: usize = 200;

/// Train the task once for each seed under a policy and explain its decisions; typical is the mean over all of them. Runs
/// go side by side on the current thread pool; `on_steps(n)` is called from there. `value_network`, if there is one, tells
/// the return that is expected at each decision.
///
/// ```
/// use lrpilot::run::explain::explain;
/// use lrpilot::Schedule;
/// use lrpilot::task::{ConfiguredTask, Preset};
/// let source = ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?;
/// let policy = Schedule::pretrained(lrpilot_core::generalist::NEWEST)?;
/// let explained = explain(&source, &policy, None, &[0, 1], |_| {})?;
/// assert_eq!((explained.runs.len(), explained.inputs.len()), (2, 34));
/// assert!(explained.inputs[0].influence >= explained.inputs[1].influence);
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// The task's own; [`Error::Config`] for a schedule that is no policy.
pub fn explain(
    source: &dyn TaskSource,
    schedule: &Schedule,
    value_network: Option<&Policy>,
    seeds: &[u64],
    on_steps: impl Fn(u64) + Sync,
) -> Result<Explained> {
    let (policy, names) = network(schedule)?;
    let one = |seed: &u64| decisions(&mut *source.task(*seed)?, schedule, *seed, &on_steps);
    let decided = seeds.par_iter().map(one).collect::<Result<Vec<Vec<Decided>>>>()?;
    let observations: Vec<&[f32]> = decided.iter().flatten().map(|d| &d.observation[..]).collect();
    let typical = typical(&observations);
    let mut value_network = value_network.cloned();
    let mut explained = |decided: &Decided| -> Result<ExplainedDecision> {
        let value = value_network.as_mut().map(|network| {
            let mut value = [0.0];
            network.act(&decided.observation, &mut value);
            value[0]
        });
        Ok(ExplainedDecision { explanation: Explanation::new(policy, &names, decided, &typical)?, value })
    };
    let mut runs = Vec::with_capacity(seeds.len());
    for (seed, decided) in seeds.iter().zip(&decided) {
        runs.push(ExplainedRun { seed: *seed, decisions: decided.iter().map(&mut explained).collect::<Result<_>>()? });
    }
    Ok(Explained { task: source.name().to_owned(), runs, inputs: responses(policy, &names, &observations)? })
}

/// The network of a policy, and the names of its inputs.
///
/// # Errors
/// [`Error::Config`] for a schedule that is no policy.
pub fn network(schedule: &Schedule) -> Result<(&Policy, Vec<String>)> {
    match schedule {
        Schedule::Learned { policy, .. } => Ok((policy.policy(), names(policy))),
        Schedule::Generalist { policy, .. } => Ok((policy.policy(), FEATURES.map(String::from).to_vec())),
        _ => Err(Error::config("schedule", "it is no policy and looks at nothing", "give a policy")),
    }
}

/// Names of the inputs of a policy that was learned on a task.
pub fn names(policy: &Learned) -> Vec<String> {
    policy.spec().observation.names(policy.spec().observed_groups)
}

/// Train one network under a policy, which chooses its moments of decision where it can, and note every decision.
fn decisions(task: &mut dyn Task, schedule: &Schedule, seed: u64, on_steps: &impl Fn(u64)) -> Result<Vec<Decided>> {
    let probe = task.reset(seed)?;
    let (interval, total) = (task.spec().steps_per_interval as u64, task.spec().steps());
    let mut run = task.spec().run();
    run.facts.free_intervals = task.trains_single_steps();
    let mut running = schedule.start(&run, &probe)?;
    let (mut decided, mut done) = (Vec::new(), 0);
    while done < total {
        decided.extend(running.decided());
        let before = if running.rolls_back() { Some(task.save()?) } else { None };
        let steps = running.steps_to_decision();
        let measured = train_interval(task, steps, &|i| running.lr_at(i), &running.hyperparameters())?;
        let taken = steps.unwrap_or(interval);
        done += taken;
        on_steps(taken);
        match (running.observe(&measured), before) {
            (Decision::RollBack, Some(state)) => task.load(&state)?,
            _ if measured.diverged || measured.stuck => break,
            _ => {}
        }
    }
    Ok(decided)
}

/// How a policy answers to each of its inputs over `observations`, that of the largest influence first.
///
/// # Errors
/// [`Error::Config`] if an observation has another length than the network takes.
pub fn responses(policy: &Policy, names: &[String], observations: &[impl AsRef<[f32]>]) -> Result<Vec<Response>> {
    let typical = typical(observations);
    let mut sizes = vec![0.0; names.len()];
    for observation in observations {
        let all = influences(policy, observation.as_ref(), &typical)?;
        sizes.iter_mut().zip(all).for_each(|(size, influence)| *size += f64::from(influence.abs()));
    }
    let mut responses = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate().take(typical.len()) {
        let mut seen: Vec<f32> = observations.iter().map(|o| o.as_ref()[i]).collect();
        seen.sort_by(f32::total_cmp);
        seen.dedup();
        let values = if seen.len() > 1 { range(seen[0], seen[seen.len() - 1]) } else { Vec::new() };
        responses.push(Response {
            name: name.clone(),
            influence: (sizes[i] / observations.len() as f64) as f32,
            typical: typical[i],
            curve: response(policy, &typical, i, &values)?,
            seen: seen.iter().copied().step_by(seen.len().div_ceil(SEEN_MAX).max(1)).collect(),
        });
    }
    responses.sort_by(|a, b| b.influence.total_cmp(&a.influence));
    Ok(responses)
}

/// Evenly from `lo` to `hi`, both included.
fn range(lo: f32, hi: f32) -> Vec<f32> {
    let last = (POINTS - 1) as f32;
    (0..POINTS).map(|i| lo + (hi - lo) * (i as f32 / last)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy 2x − y, seen at (0, 1, 5) and (2, 5, 5): typical is (1, 3, 5), so |influence| is 2 for both inputs that
    /// count, and the curves are 2x − 3 over [0, 2] and 2 − y over [1, 5].
    #[test]
    fn curves_of_a_linear_policy_are_lines_over_the_range_that_was_seen() {
        let policy = Policy::new(vec![3, 1], vec![2.0, -1.0, 0.0, 0.0], None);
        let names = ["x", "y", "z"].map(String::from);
        let [x, y, z] = &responses(&policy, &names, &[[0.0, 1.0, 5.0], [2.0, 5.0, 5.0]]).unwrap()[..] else { panic!() };
        assert_eq!([&x.name, &y.name, &z.name], ["x", "y", "z"]);
        assert_eq!([x.influence, y.influence, z.influence], [2.0, 2.0, 0.0]);
        assert_eq!([x.typical, y.typical, z.typical], [1.0, 3.0, 5.0]);
        assert_eq!((x.curve[0], x.curve[POINTS - 1], x.curve.len()), ((0.0, -3.0), (2.0, 1.0), POINTS));
        assert_eq!((y.curve[0], y.curve[POINTS - 1]), ((1.0, 1.0), (5.0, -3.0)));
        assert_eq!((&x.seen[..], &z.seen[..], z.curve.len()), (&[0.0, 2.0][..], &[5.0][..], 0));
    }

    #[test]
    fn few_of_many_values_are_kept() {
        let policy = Policy::new(vec![1, 1], vec![1.0, 0.0], None);
        let observations: Vec<[f32; 1]> = (0..1001).map(|i| [i as f32]).collect();
        let seen = &responses(&policy, &["x".to_owned()], &observations).unwrap()[0].seen;
        assert!(seen.len() <= SEEN_MAX && seen.len() > SEEN_MAX / 2, "{}", seen.len());
    }
}
