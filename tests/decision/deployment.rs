//! What was learned is what runs: a frozen policy in somebody's loop takes the decisions that it takes in the environment.

use crate::scripted::{Call, Scripted, digits, diverged, env, parts, told};
use lrpilot::env::{Action, Env, EnvConfig, EnvParts, Formulation, InitialLr, OnDivergence};
use lrpilot::nn::init::normal;
use lrpilot::rng::{Purpose, stream};
use lrpilot::run::{Record, run_trial};
use lrpilot::task::TaskSource;
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{Decision, Learned, Policy, Schedule};
use std::sync::Arc;

/// A policy with random weights, large enough that its actions go to both bounds and to places between.
fn policy(source: &dyn TaskSource, parts: &EnvParts, bias: f32) -> Learned {
    let sizes = vec![parts.policy.observation_dim(), 6, 1];
    let mut rng = stream(11, Purpose::Policy, 0);
    let mut params: Vec<f32> = (0..Policy::param_count(&sizes)).map(|_| 0.3 * normal(&mut rng) as f32).collect();
    *params.last_mut().unwrap() = bias;
    let network = Policy::new(sizes, params, None);
    Learned::new(network, parts.policy.clone(), source.spec().run(), Provenance::default()).unwrap()
}

/// The policy as the agent: its output for each observation goes into the environment as it is.
fn in_environment<S: TaskSource + 'static>(
    source: &Arc<S>,
    parts: &EnvParts,
    learned: &Learned,
) -> (Vec<f64>, Vec<f64>) {
    let mut env = env(source, parts);
    let mut network = learned.policy().clone();
    let (mut observation, mut action) = (env.reset(7).unwrap(), [0.0]);
    let (mut lrs, mut losses) = (Vec::new(), Vec::new());
    loop {
        network.act(&observation, &mut action);
        let step = env.step(&action).unwrap();
        lrs.push(step.info.lr);
        losses.push(step.info.val_loss);
        if step.terminated {
            return (lrs, losses);
        }
        observation = step.observation;
    }
}

/// The policy as a schedule in a plain loop, up to the end of the run.
fn in_a_loop(source: &dyn TaskSource, learned: &Learned) -> (Vec<f64>, Vec<f64>) {
    let mut task = source.task(7).unwrap();
    let probe = task.reset(7).unwrap();
    let mut schedule = Schedule::learned(learned.clone()).start(&task.spec().run(), &probe).unwrap();
    let (mut lrs, mut losses): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for _ in 0..task.spec().horizon {
        let before = task.save().unwrap();
        lrs.push(schedule.hyperparameters().lr);
        let measured = task.advance(&schedule.hyperparameters()).unwrap();
        match schedule.observe(&measured) {
            Decision::GoOn => losses.push(measured.loss()),
            Decision::RollBack => {
                task.load(&before).unwrap();
                losses.push(losses.last().copied().unwrap_or(probe.loss()));
            }
        }
    }
    (lrs, losses)
}

fn bits(v: &[f64]) -> Vec<u64> {
    v.iter().map(|v| v.to_bits()).collect()
}

fn at_anchor(source: &dyn TaskSource, formulation: Formulation) -> EnvParts {
    let parts = parts(source, formulation);
    // The paper's action does not go on from the initial LR.
    let initial_lr = if formulation == Formulation::Pilot { InitialLr::Anchor {} } else { parts.initial_lr };
    EnvParts { initial_lr, ..parts }
}

#[test]
fn a_frozen_policy_decides_as_in_the_environment() {
    for formulation in [Formulation::Paper, Formulation::Pilot] {
        let source = digits(8);
        let parts = at_anchor(&*source, formulation);
        let learned = policy(&*source, &parts, 0.05);
        let (lrs, losses) = in_environment(&source, &parts, &learned);
        let (deployed, deployed_losses) = in_a_loop(&*source, &learned);
        assert_eq!(bits(&lrs), bits(&deployed), "{formulation:?}: {lrs:?} against {deployed:?}");
        assert_eq!(bits(&losses), bits(&deployed_losses), "{formulation:?}");
        assert!(lrs.len() == 8 && lrs.windows(2).any(|w| w[0] != w[1]), "{formulation:?} moves the LR: {lrs:?}");
        let trial = run_trial(&mut *source.task(7).unwrap(), &Schedule::learned(learned), 7, Record::Final).unwrap();
        let of_trial: Vec<f64> = trial.curve.iter().map(|r| r.lr).collect();
        assert_eq!(bits(&lrs), bits(&of_trial), "{formulation:?}");
    }
}

/// Also when intervals are undone, for both actions (the paper's with a roll-back in place of its termination).
#[test]
fn also_when_intervals_are_rolled_back() {
    for action in [Action::Linear {}, Action::Multiplicative { step: 0.5 }, Action::Drift { step: 0.3 }] {
        let script = || {
            let intervals =
                [told(1, 1.5), diverged(2), told(3, 1.2), diverged(4), diverged(5), told(6, 0.7), told(7, 0.8)];
            Scripted::new(told(0, 2.0), intervals.into())
        };
        let source = script();
        let config = EnvConfig {
            action: Some(action.clone()),
            on_divergence: Some(OnDivergence::RollBack { factor: 0.3, reward: -0.5 }),
            initial_lr: Some(InitialLr::Anchor {}),
            ..EnvConfig::default()
        };
        let parts = config.parts(source.spec()).unwrap();
        let learned = policy(&*source, &parts, 0.2);
        let (lrs, losses) = in_environment(&source, &parts, &learned);
        let deployed = in_a_loop(&*script(), &learned);
        assert_eq!((bits(&lrs), bits(&losses)), (bits(&deployed.0), bits(&deployed.1)), "{action:?}");
        assert_eq!(losses, [1.5, 1.5, 1.2, 1.2, 1.2, 0.7, 0.8], "{action:?}");
        let trial = script();
        let run = run_trial(&mut *trial.task(7).unwrap(), &Schedule::learned(learned), 7, Record::Final).unwrap();
        let of_trial: Vec<f64> = run.curve.iter().map(|r| r.lr).collect();
        assert_eq!(bits(&lrs), bits(&of_trial), "{action:?}");
        assert!(!run.diverged, "what was undone does not count");
        // Each load goes back to the weights of the interval's start.
        let loads: Vec<Call> = trial.calls().into_iter().filter(|c| matches!(c, Call::Load(_))).collect();
        assert_eq!(loads, [Call::Load(1), Call::Load(3), Call::Load(3)], "{action:?}");
    }
}

/// Under `terminate` a run keeps no snapshots, and one that diverges is over.
#[test]
fn a_run_without_roll_back_ends_with_its_divergence() {
    let source = Scripted::new(told(0, 2.0), vec![told(1, 1.5), diverged(2), told(3, 0.5)]);
    let parts = parts(&*source, Formulation::Paper);
    let learned = policy(&*source, &parts, 0.2);
    let run = run_trial(&mut *source.task(7).unwrap(), &Schedule::learned(learned), 7, Record::Final).unwrap();
    assert!(run.diverged && run.curve.len() == 2);
    assert!(source.calls().iter().all(|c| !matches!(c, Call::Save(_) | Call::Load(_))));
}

/// An agent that does nothing under `residual` trains the base run, bit for bit.
#[test]
fn a_zero_residual_is_the_base_run() {
    let source = digits(10);
    let base: Vec<f64> = (1..=10).map(|t| 0.07 / f64::from(t)).collect();
    let config =
        EnvConfig { action: Some(Action::Residual { base: base.clone(), alpha: 0.5 }), ..EnvConfig::default() };
    let parts = config.parts(source.spec()).unwrap();
    let replay = Schedule::Replay { lrs: base.clone() };
    let want = run_trial(&mut *source.task(3).unwrap(), &replay, 3, Record::Everything).unwrap();
    let mut env = env(&source, &parts);
    env.reset(3).unwrap();
    for (zero, record) in [0.0, -0.0].iter().cycle().zip(&want.curve) {
        let info = env.step(&[*zero]).unwrap().info;
        assert_eq!([info.lr, info.val_loss, info.train_loss], [record.lr, record.val_loss_a, record.train_loss]);
    }
    let zero = Policy::new(vec![25, 1], vec![0.0; 26], None);
    let learned = Learned::new(zero, parts.policy, source.spec().run(), Provenance::default()).unwrap();
    let run = run_trial(&mut *source.task(3).unwrap(), &Schedule::learned(learned), 3, Record::Everything).unwrap();
    assert_eq!(run, want);
}
