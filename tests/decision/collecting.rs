//! Collecting in lockstep and one by one, and episodes of tasks that are drawn by seed.

use crate::scripted::{env, parts, quadratic};
use lrpilot::agent::{Collector, Head, Slot, SlotState, Squash, Trajectory};
use lrpilot::env::{Env, EnvConfig, Formulation, LrEnv, SyncVectorEnv};
use lrpilot::nn::init::normal;
use lrpilot::rng::{Purpose, stream};
use lrpilot::task::{TaskMixture, TaskSource};
use lrpilot_core::{Policy, RunningMoments};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const HORIZONS: [usize; 2] = [5, 8];

/// Two noisy quadratics of different lengths; the seed draws one of them.
fn mixture() -> Arc<TaskMixture> {
    let sources = HORIZONS.map(|h| Box::new(quadratic(h)) as Box<dyn TaskSource>);
    Arc::new(TaskMixture::new("two lengths", sources.into()).unwrap())
}

fn new_env() -> LrEnv {
    let source = mixture();
    env(&source, &EnvConfig::default().parts(source.spec()).unwrap())
}

fn collector(squash: Squash) -> Collector {
    let sizes = vec![25, 4, 1];
    let mut rng = stream(2, Purpose::Policy, 0);
    let params = (0..Policy::param_count(&sizes)).map(|_| 0.3 * normal(&mut rng) as f32).collect();
    let moments = RunningMoments { mean: vec![0.1; 25], variance: vec![2.0; 25], count: 10.0 };
    Collector {
        policy: Policy::new(sizes, params, Some(moments)),
        head: Head::Gaussian,
        log_std: vec![-0.7],
        squash,
        space: new_env().action_space(),
        seed: 9,
        n_steps: 20,
        siblings: 1,
    }
}

fn one_by_one(collector: &Collector, slots: &mut [Slot]) -> Vec<Trajectory> {
    slots.iter_mut().map(|slot| collector.collect(slot, &|_| ()).unwrap()).collect()
}

/// Three environments whose episodes end at different steps, over two collections.
#[test]
fn lockstep_is_one_by_one() {
    for squash in [Squash::None, Squash::Tanh] {
        let collector = collector(squash);
        let mut slots: Vec<Slot> = (0..3).map(|i| Slot::new(i, Box::new(new_env()))).collect();
        let mut states: Vec<SlotState> = slots.iter().map(|s| s.save().unwrap()).collect();
        let mut envs = SyncVectorEnv::default();
        (0..3).for_each(|_| envs.push(Box::new(new_env())));
        for _ in 0..2 {
            let steps = AtomicU64::new(0);
            let tell = |n| {
                steps.fetch_add(n, Relaxed);
            };
            let lockstep = collector.collect_lockstep(&mut envs, &mut states, &tell).unwrap();
            assert_eq!(steps.into_inner(), 60);
            assert_eq!(lockstep, one_by_one(&collector, &mut slots));
            let lengths: Vec<u64> = lockstep.iter().flat_map(|t| &t.episodes).map(|e| e.length).collect();
            assert!(lengths.contains(&5) && lengths.contains(&8), "both tasks were drawn: {lengths:?}");
        }
        let error = collector.collect_lockstep(&mut envs, &mut states[..2], &|_| ()).unwrap_err().to_string();
        assert!(error.contains("2 states for 3 environments"), "{error}");
    }
}

/// A collector and the state of a slot, sent as bytes or text in the middle of an episode, give the same trajectory at the
/// other end.
#[test]
fn collectors_and_trajectories_are_values() {
    let collector = collector(Squash::None);
    let mut slot = Slot::new(4, Box::new(new_env()));
    collector.collect(&mut slot, &|_| ()).unwrap();
    let saved = slot.save().unwrap();
    assert!(!saved.needs_reset, "the episode goes on");
    let want = collector.collect(&mut slot, &|_| ()).unwrap();
    let bytes = postcard::to_stdvec(&(&collector, &saved)).unwrap();
    let text = serde_json::to_string(&(&collector, &saved)).unwrap();
    let copies: [(Collector, SlotState); 2] =
        [postcard::from_bytes(&bytes).unwrap(), serde_json::from_str(&text).unwrap()];
    for (copy, state) in copies {
        let mut other = Slot::new(0, Box::new(new_env()));
        other.load(&state).unwrap();
        let trajectory = copy.collect(&mut other, &|_| ()).unwrap();
        assert_eq!(trajectory, want);
        let bytes = postcard::to_stdvec(&trajectory).unwrap();
        assert_eq!(postcard::from_bytes::<Trajectory>(&bytes).unwrap(), want);
        let text = serde_json::to_string(&trajectory).unwrap();
        assert_eq!(serde_json::from_str::<Trajectory>(&text).unwrap(), want);
    }
}

/// The seed draws the task: its horizon ends the episode, and a saved episode goes on in an environment that stood in one
/// of the other task.
#[test]
fn episodes_train_the_task_that_their_seed_draws() {
    let source = mixture();
    let horizon = |seed: u64| source.task(seed).unwrap().spec().horizon;
    let seed_of = |h: usize| (0..50).find(|seed| horizon(*seed) == h).unwrap();
    let (short, long) = (seed_of(5), seed_of(8));
    for formulation in [Formulation::Paper, Formulation::Pilot] {
        let parts = parts(&*source, formulation);
        let mut first = env(&source, &parts);
        for seed in [long, short, long] {
            first.reset(seed).unwrap();
            let length = (1..).find(|_| first.step(&[0.1]).unwrap().terminated);
            assert_eq!(length, Some(horizon(seed)));
        }
        first.reset(long).unwrap();
        (0..6).for_each(|_| drop(first.step(&[0.2]).unwrap()));
        let mut other = env(&source, &parts);
        other.reset(short).unwrap();
        other.step(&[0.1]).unwrap();
        other.load(&first.save().unwrap()).unwrap();
        for last in [false, true] {
            let step = other.step(&[0.1]).unwrap();
            assert_eq!((step.terminated, &step), (last, &first.step(&[0.1]).unwrap()));
        }
    }
}
