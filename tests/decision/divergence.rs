//! What follows divergence and dead units, in learning.

use crate::scripted::{Call, Scripted, digits, diverged, env, parts, stuck, told};
use lrpilot::env::{Action, Env, EnvConfig, EnvParts, Formulation, InitialLr, OnDivergence};
use lrpilot::rng::{Purpose, stream};
use lrpilot::task::{Task, TaskSource};
use lrpilot_core::Measurement;
use rand::RngExt as _;

/// Anchor 0.01·√8 (see `formulas.rs`) as the start.
fn from_anchor(source: &Scripted, formulation: Formulation) -> EnvParts {
    EnvParts { initial_lr: InitialLr::Anchor {}, ..parts(source, formulation) }
}

/// The interval counts, its reward is fixed, the LR falls to a tenth, the task goes back to the interval's start, and the
/// next reward is measured against the last loss that counted.
#[test]
fn roll_back_undoes_the_interval() {
    for bad in [diverged(2), stuck(2)] {
        let source = Scripted::new(told(0, 2.0), vec![told(1, 1.0), bad, told(3, 0.5), told(4, 0.25)]);
        let mut env = env(&source, &from_anchor(&source, Formulation::Pilot));
        env.reset(0).unwrap();
        let first = env.step(&[0.0]).unwrap();
        let second = env.step(&[1.0]).unwrap();
        let third = env.step(&[0.0]).unwrap();
        let fourth = env.step(&[0.0]).unwrap();
        assert_eq!([first.info.rolled_back, second.info.rolled_back, fourth.info.rolled_back], [0, 1, 1]);
        assert_eq!((second.reward, second.terminated, second.info.diverged), (-0.2, false, false));
        assert_eq!(second.info.val_loss, 1.0, "the report is of the state gone back to");
        assert!((third.reward - (1.001f64 / 0.501).ln()).abs() < 1e-12);
        assert!(fourth.terminated, "the interval counted");
        // The features `rolled back`, `t/H` and `ln val`.
        let seen = |step: &lrpilot::env::Step| [step.observation[22], step.observation[0], step.observation[4]];
        assert_eq!(seen(&second), [1.0, 0.5, 0.0]);
        assert_eq!(seen(&third), [0.0, 0.75, 0.5f64.ln() as f32]);
        let anchor = 0.01 * 8f64.sqrt();
        let (high, low) = (anchor * 10f64.sqrt(), anchor * 10f64.sqrt() * 0.1);
        for (lr, want) in source.lrs().iter().zip([anchor, high, low, low]) {
            assert!((lr / want - 1.0).abs() < 1e-12, "{lr} against {want}");
        }
        let states: Vec<Call> = source.calls().into_iter().filter(|c| !matches!(c, Call::Advance(_))).collect();
        let saves = [Call::Save(0), Call::Save(1), Call::Load(1), Call::Save(1), Call::Save(3)];
        assert_eq!(states, [&[Call::Reset(0)], &saves[..]].concat());
    }
}

/// Weights, optimizer and place in the data are those of the interval's start, bit for bit, on a real network.
#[test]
fn roll_back_restores_a_network() {
    let source = digits(6);
    let config = EnvConfig {
        action: Some(Action::Linear {}),
        on_divergence: Some(OnDivergence::RollBack { factor: 0.1, reward: -0.2 }),
        ..EnvConfig::default()
    };
    // Far above the bounds of the preset, so that a single interval diverges.
    let wide = crate::scripted::digits_with(|c| {
        c.horizon = 6;
        c.lr_bounds = (1e-6, 1e30);
    });
    let parts = config.parts(wide.spec()).unwrap();
    let mut wild = env(&wide, &parts);
    wild.reset(1).unwrap();
    wild.step(&[0.05]).unwrap();
    let before = wild.save().unwrap();
    let undone = wild.step(&[1e29]).unwrap();
    assert_eq!((undone.reward, undone.info.rolled_back), (-0.2, 1));
    let task_of = |bytes: &[u8]| {
        let (_, _, task): (lrpilot_core::control::ControllerState, (u64, usize, bool), Vec<u8>) =
            postcard::from_bytes(bytes).unwrap();
        task
    };
    assert!(task_of(&before) == task_of(&wild.save().unwrap()), "the task's state is another one");
    // A task that never diverged goes on to the same measurement.
    let mut calm = source.task(1).unwrap();
    calm.reset(1).unwrap();
    let advance = |task: &mut dyn Task, lr| task.advance(&lrpilot_core::Hyperparameters::lr(lr)).unwrap();
    let lr = f64::from(0.05f32);
    advance(&mut *calm, lr);
    let want = advance(&mut *calm, lr);
    assert_eq!(wild.step(&[0.05]).unwrap().info.val_loss.to_bits(), want.val_loss.unwrap().to_bits());
}

/// Under the paper's formulation divergence ends the episode with −(1000 + 1000 U), U from the stream of the episode's
/// seed and the interval.
#[test]
fn the_paper_terminates() {
    let end_of = |seed: u64| {
        let source = Scripted::new(told(0, 2.0), vec![told(1, 1.0), diverged(2), told(3, 0.5)]);
        let mut env = env(&source, &parts(&*source, Formulation::Paper));
        env.reset(seed).unwrap();
        assert!(!env.step(&[0.1]).unwrap().terminated);
        let end = env.step(&[0.1]).unwrap();
        assert!(end.terminated && !end.truncated && end.info.diverged);
        assert!(end.observation.iter().all(|v| v.is_finite()));
        assert!(env.step(&[0.1]).is_err());
        assert!(!source.calls().iter().any(|c| matches!(c, Call::Save(_) | Call::Load(_))), "no snapshot is needed");
        end.reward
    };
    for seed in 0..20 {
        let reward = end_of(seed);
        assert!((-2000.0..=-1000.0).contains(&reward) && reward > -2000.0, "{reward}");
        let uniform: f64 = stream(seed, Purpose::Reward, 2).random();
        assert_eq!((reward, reward), (-(1000.0 + 1000.0 * uniform), end_of(seed)));
    }
    assert_ne!(end_of(0), end_of(1));
}

/// Dead units are no divergence to the paper: the episode goes on and is paid by its formula.
#[test]
fn dead_units_go_on_under_the_paper() {
    let source = Scripted::new(told(0, 2.0), vec![stuck(1), told(2, 1.0)]);
    let mut env = env(&source, &parts(&*source, Formulation::Paper));
    env.reset(0).unwrap();
    let step = env.step(&[0.1]).unwrap();
    assert!(!step.terminated);
    assert!((step.reward - (10.0 * (2.0 - 2.3) + 1.0)).abs() < 1e-12);
}

/// A roll-back in the last interval ends the episode, and the LR stays within its bounds however often it falls.
#[test]
fn roll_back_after_roll_back() {
    let intervals: Vec<Measurement> = (1..=8).map(diverged).collect();
    let source = Scripted::new(told(0, 2.0), intervals);
    let mut env = env(&source, &from_anchor(&source, Formulation::Pilot));
    env.reset(0).unwrap();
    let steps: Vec<_> = (0..8).map(|_| env.step(&[0.0]).unwrap()).collect();
    assert!(steps.iter().all(|s| s.reward == -0.2 && s.info.val_loss == 2.0));
    assert_eq!(steps.iter().position(|s| s.terminated), Some(7));
    assert_eq!(steps[7].info.rolled_back, 8);
    let want = |t: i32| (0.01 * 8f64.sqrt() * 0.1f64.powi(t)).max(1e-6);
    assert!(source.lrs().iter().zip(0..).all(|(lr, t)| (lr / want(t) - 1.0).abs() < 1e-9), "{:?}", source.lrs());
}
