//! The formulation's properties: nothing depends on units, an action of 0 is the base run, and no feed breaks it.

use lrpilot::env::{Env, GeneralistEnv, Masks, check_env};
use lrpilot::run::generalist::{Loop, run_schedule};
use lrpilot::task::{ConfiguredTask, Preset, Task, TaskSource, train_interval};
use lrpilot::{Hyperparameters, Schedule, Split};
use lrpilot_core::generalist::{AnchorModel, Base, FEATURES, Generalist, GeneralistSpec, Grid};
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{Decision, Group, Measurement, OptimizerFamily, Policy, RunFacts, RunSpec};
use proptest::prelude::*;
use std::sync::Arc;

/// A policy with some fixed weights, large enough that it acts.
fn acting() -> Generalist {
    let sizes = vec![FEATURES.len(), 8, 1];
    let params = (0..Policy::param_count(&sizes)).map(|i| ((i as f32 * 0.37).sin()) * 0.6).collect();
    Generalist::new(Policy::new(sizes, params, None), GeneralistSpec::plain(), Provenance::default()).unwrap()
}

fn digits() -> Box<dyn Task> {
    ConfiguredTask::new(&Preset::Digits.config(), None).unwrap().task(0).unwrap()
}

/// The base run written out: A·b(s) at every step, and no policy.
#[test]
fn a_policy_that_never_acts_is_the_base_run_bit_for_bit() {
    let mut task = digits();
    let base = Schedule::generalist(acting().base_run());
    let ours = run_schedule(&mut *task, &base, 4, Split::Test, Loop::Generous).unwrap();
    let probe = task.reset(4).unwrap();
    let spec = GeneralistSpec::plain();
    let anchor = spec.anchor.anchor(&task.spec().run(), &probe).unwrap();
    let total = task.spec().steps();
    let rate = |step: u64| anchor * Base::default().at(step as f64 / total as f64);
    task.advance_steps(total, &rate, &Hyperparameters::lr(anchor)).unwrap();
    assert_eq!(ours.loss, task.evaluate(Split::Test).unwrap().0);
}

/// A rate that breaks the network: with a snapshot it is undone, without one the damage stays.
#[test]
fn without_snapshots_a_divergence_is_not_undone() {
    let digits: Arc<dyn TaskSource> = Arc::new(ConfiguredTask::new(&Preset::Digits.config(), None).unwrap());
    let anchor = AnchorModel { offset: 3.0, ..AnchorModel::plain() };
    let spec = GeneralistSpec { anchor, ..GeneralistSpec::plain() };
    let [undone, kept] = [0.0, 1.0].map(|snapshots| {
        let masks = Masks { snapshots, ..Masks::none() };
        let mut env = GeneralistEnv::new(Arc::clone(&digits), spec.clone(), masks).unwrap();
        env.reset(1).unwrap();
        let steps = std::iter::repeat_with(|| env.step(&[1.0]).unwrap()).take(24).collect::<Vec<_>>();
        assert!(steps.iter().all(|s| s.reward.is_finite() && s.observation.iter().all(|v| v.is_finite())));
        (steps[23].info.val_loss, steps[23].info.rolled_back)
    });
    assert!(undone.1 > 0 && kept.1 == 0, "{undone:?} {kept:?}");
    assert!(undone.0 < kept.0, "{undone:?} {kept:?}");

    let policy = Generalist::new(acting().policy().clone(), spec, Provenance::default()).unwrap();
    let schedule = Schedule::generalist(policy.base_run());
    let [undone, kept, stopped] = [Loop::Generous, Loop::Plain, Loop::Strict]
        .map(|around| run_schedule(&mut *digits.task(0).unwrap(), &schedule, 1, Split::Test, around).unwrap());
    assert!(undone.loss < kept.loss && kept.rolled_back == 0, "{undone:?} {kept:?}");
    assert_eq!(stopped.loss, 2.0 * stopped.initial);
}

/// What a network in other units measures: weights times ρ, losses times c. For SGD the same steps need η·ρ²/c.
fn rescaled(m: &Measurement, rho: f64, c: f64) -> Measurement {
    let times = |v: Option<f64>, by: f64| v.map(|v| v * by);
    let all = |v: &[f64], by: f64| v.iter().map(|v| v * by).collect();
    Measurement {
        train_loss: times(m.train_loss, c),
        train_loss_first_half: times(m.train_loss_first_half, c),
        train_loss_second_half: times(m.train_loss_second_half, c),
        train_loss_sd: times(m.train_loss_sd, c),
        train_loss_max: times(m.train_loss_max, c),
        val_loss: times(m.val_loss, c),
        grad_norms: all(&m.grad_norms, c / rho),
        weight_norms: all(&m.weight_norms, rho),
        update_norms: all(&m.update_norms, rho),
        grad_norm_mean: times(m.grad_norm_mean, c / rho),
        grad_norm_sd: times(m.grad_norm_sd, c / rho),
        displacement: times(m.displacement, rho),
        path_length: times(m.path_length, rho),
        ..m.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The run in other units is the same run: the observations agree to rounding, the rates up to the factor.
    #[test]
    fn units_do_not_matter(rho in 1e-3f64..1e3, c in 1e-3f64..1e3) {
        let mut task = digits();
        let mut run = task.spec().run();
        (run.facts.free_intervals, run.lr_bounds) = (true, (1e-30, 1e30));
        let probe = task.reset(1).unwrap();
        let policy = acting();
        let mut ours = policy.start(&run, &probe, None).unwrap();
        let mut theirs = policy.start(&run, &rescaled(&probe, rho, c), None).unwrap();
        let factor = rho * rho / c;
        while !ours.controller().finished() {
            let (a, b) = (ours.controller().lr_at(0), theirs.controller().lr_at(0));
            prop_assert!((b / a / factor - 1.0).abs() < 1e-4, "{a} {b}");
            for ((a, b), name) in ours.observation().iter().zip(theirs.observation()).zip(FEATURES) {
                prop_assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
            }
            let controller = ours.controller();
            let (steps, rate) = (controller.steps_to_decision(), |i| controller.lr_at(i));
            let before = task.save().unwrap();
            let m = train_interval(&mut *task, steps, &rate, &Hyperparameters::lr(0.1)).unwrap();
            let decision = ours.observe(&m);
            prop_assert_eq!(theirs.observe(&rescaled(&m, rho, c)), decision);
            if decision == Decision::RollBack {
                task.load(&before).unwrap();
            }
        }
    }

    /// Whatever is measured, the rate is finite, positive and at most the upper bound, and the observation finite.
    #[test]
    fn no_feed_breaks_it(
        numbers in prop::collection::vec(prop::num::f64::ANY, 8..200), horizon in 1usize..40, free in any::<bool>(),
        steps in prop::option::of(1u64..5_000), known in any::<bool>(),
    ) {
        let mut run = RunSpec::new(horizon, OptimizerFamily::Adam, vec![Group::new("w", 10)]);
        run.facts = RunFacts { steps, free_intervals: free, examples: known.then_some(100), batch_size: Some(10), ..run.facts };
        let mut feed = numbers.iter().copied().cycle();
        let mut told = || {
            let mut next = || feed.next().unwrap();
            let absent = next() < 0.0;
            let some = |v: f64| (!absent).then_some(v);
            Measurement {
                train_loss: some(next()), train_loss_first_half: some(next()), train_loss_second_half: some(next()),
                train_loss_sd: some(next()), train_loss_max: some(next()), val_loss: some(next()),
                grad_norms: vec![next()], weight_norms: vec![next()], grad_norm_mean: some(next()),
                grad_norm_sd: some(next()), ..Measurement::default()
            }
        };
        let mut running = acting().start(&run, &told(), Some(numbers[0])).unwrap();
        for _ in 0..horizon + 30 {
            for i in [0, 1, 7, u64::MAX] {
                let lr = running.controller().lr_at(i);
                prop_assert!(lr.is_finite() && lr > 0.0 && lr <= 1.0, "{lr}");
            }
            prop_assert!(running.observation().iter().all(|v| v.is_finite() && v.abs() <= 5.0));
            let _ = running.observe(&told());
        }
        prop_assert!(running.controller().finished());
    }
}

#[test]
fn a_given_rate_near_the_anchor_is_started_from_and_one_far_off_is_not() {
    let mut task = digits();
    let (probe, run) = (task.reset(0).unwrap(), task.spec().run());
    let policy = acting().base_run();
    let anchor = policy.start(&run, &probe, None).unwrap().controller().anchor();
    let residual = |lr: f64| policy.start(&run, &probe, Some(lr)).unwrap().controller().residual();
    assert!((residual(anchor * 2.0) - 2f64.log10()).abs() < 1e-12);
    assert_eq!([residual(anchor * 10.0), residual(anchor / 10.0), residual(f64::NAN)], [0.0; 3]);
    // Without norms there is no anchor, and what the user gave takes its place.
    let blind = Measurement::default();
    assert_eq!(policy.start(&run, &blind, Some(0.03)).unwrap().controller().anchor(), 0.03);
}

/// The state through JSON, in the middle of a run, goes on to the same rates.
#[test]
fn a_saved_state_goes_on_to_the_same_bits() {
    let mut task = digits();
    let (probe, run) = (task.reset(2).unwrap(), task.spec().run());
    let schedule = Schedule::generalist(acting());
    let mut whole = schedule.start(&run, &probe).unwrap();
    for interval in 0..run.horizon {
        let m = task.advance(&Hyperparameters::lr(whole.lr_at(0))).unwrap();
        let text = serde_json::to_string(&whole.state()).unwrap();
        let mut restored = schedule.start(&run, &Measurement::default()).unwrap();
        restored.set_state(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(restored.observe(&m), whole.observe(&m), "{interval}");
        assert_eq!(restored.lr_at(3), whole.lr_at(3), "{interval}");
    }
}

#[test]
fn a_policy_file_is_read_back_and_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.safetensors");
    acting().save(&path).unwrap();
    assert_eq!(Schedule::load(&path).unwrap(), Schedule::generalist(acting()));
    let error = lrpilot::Learned::load(&path).unwrap_err().to_string();
    assert!(error.contains("a pretrained policy"), "{error}");
}

#[test]
fn the_environment_keeps_the_contract() {
    for masks in [Masks::none(), Masks::default()] {
        let source = Arc::new(ConfiguredTask::new(&Preset::Digits.config(), None).unwrap());
        check_env(&mut GeneralistEnv::new(source, GeneralistSpec::plain(), masks).unwrap()).unwrap();
    }
}

/// The rewards of an episode add up to ln of the first loss over the one at the end, on data that are not looked at.
#[test]
fn rewards_add_up_to_the_final_loss() {
    let source = Arc::new(ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None).unwrap());
    let mut env = GeneralistEnv::new(Arc::clone(&source) as _, GeneralistSpec::plain(), Masks::none()).unwrap();
    env.reset(5).unwrap();
    let mut sum = 0.0;
    let end = loop {
        let step = env.step(&[0.3]).unwrap();
        sum += step.reward;
        if step.terminated {
            break step.info.val_loss;
        }
    };
    let initial = source.task(5).unwrap().reset(5).unwrap().loss();
    let floor = 1e-3 * initial;
    assert!((sum - ((initial + floor) / (end + floor)).ln()).abs() < 1e-9, "{sum}");
}

/// A divergence is undone, costs its steps, and lowers the rate by a decade.
#[test]
fn divergence_is_rolled_back() {
    let run = RunSpec::new(10, OptimizerFamily::Adam, vec![Group::new("w", 100)]);
    let probe =
        Measurement { weight_norms: vec![1.0], train_loss: Some(1.0), val_loss: Some(1.0), ..Measurement::default() };
    let mut running = acting().base_run().start(&run, &probe, None).unwrap();
    let fed = Measurement { train_loss: Some(2.5), ..probe.clone() };
    assert_eq!(running.observe(&fed), Decision::RollBack);
    assert_eq!((running.controller().residual(), running.controller().decision()), (-1.0, 1));
    assert_eq!(running.observe(&probe), Decision::GoOn);
    assert_eq!(Grid::of(&run).decisions(), 10);
}
