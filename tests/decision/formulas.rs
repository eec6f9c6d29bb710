//! The sequence of learning rates and rewards of an episode against the formulas, written out here anew.

use crate::scripted::{Call, Scripted, diverged, env, parts, told};
use lrpilot::env::{Action, Env, EnvConfig, EnvParts, Formulation, InitialLr, Reward};
use lrpilot::task::TaskSource;
use lrpilot_core::{HyperparameterName, HyperparameterRange};
use std::sync::Arc;

const LOSSES: [f64; 6] = [2.0, 1.5, 1.8, 0.9, 0.4, 0.45];

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1e-3)
}

/// The learning rates and rewards of an episode with these actions.
fn episode(source: &Arc<Scripted>, parts: &EnvParts, actions: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let mut env = env(source, parts);
    env.reset(0).unwrap();
    let rewards = actions.iter().map(|a| env.step(&[*a]).unwrap().reward).collect();
    (source.lrs(), rewards)
}

#[track_caller]
fn assert_near(what: &str, ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    assert!(ours.iter().zip(theirs).all(|(a, b)| near(*a, *b)), "{what}: {ours:?} against {theirs:?}");
}

/// The paper: η = a within the bounds; r = γ(best − val) + λ(H − t), best taken before the epoch (eq. 1 and 3).
#[test]
fn paper() {
    let source = Scripted::losses(&LOSSES);
    let (lrs, rewards) = episode(&source, &parts(&*source, Formulation::Paper), &[0.25, 0.5, 7.0, -3.0, f32::NAN]);
    assert_near("LR", &lrs, &[0.25, 0.5, 1.0, 1e-6, 1e-6]);
    // H = 5; the best losses before the epochs are 2, 1.5, 1.5, 0.9, 0.4.
    let want = [
        10.0 * (2.0 - 1.5) + 4.0,
        10.0 * (1.5 - 1.8) + 3.0,
        10.0 * (1.5 - 0.9) + 2.0,
        10.0 * (0.9 - 0.4) + 1.0,
        10.0 * (0.4 - 0.45),
    ];
    assert_near("reward", &rewards, &want);
}

/// The pilot: log10 η ← log10 η + 0.5 u; r = ln(val₋₁ + ε) − ln(val + ε), which telescopes. The anchor of the probe
/// is 0.01·√(2/0.5 · 8/4) = 0.01·√8.
#[test]
fn pilot() {
    let source = Scripted::losses(&LOSSES);
    let parts = EnvParts { initial_lr: InitialLr::Anchor {}, ..parts(&*source, Formulation::Pilot) };
    let actions = [0.5, -1.0, 3.0, 0.0, -0.25];
    let (lrs, rewards) = episode(&source, &parts, &actions);
    let mut log_lr = (0.01 * 8f64.sqrt()).log10();
    let mut want = Vec::new();
    for u in [0.5, -1.0, 1.0, 0.0, -0.25] {
        log_lr += 0.5 * u;
        want.push(10f64.powf(log_lr));
    }
    assert_near("LR", &lrs, &want);
    let improvement = |t: usize| ((LOSSES[t - 1] + 1e-3) / (LOSSES[t] + 1e-3)).ln();
    assert_near("reward", &rewards, &(1..6).map(improvement).collect::<Vec<_>>());
    let total = (2.001f64 / 0.451).ln();
    assert!((rewards.iter().sum::<f64>() - total).abs() < 1e-12);
}

/// The other actions, each in a whole episode from η₀ = 0.02.
#[test]
fn log_drift_and_residual() {
    let base = vec![0.3, 0.2, 0.1];
    let actions = [0.5f32, -2.0, 0.0, 0.25, 1.0];
    let cases: [(Action, Vec<f64>); 3] = [
        (Action::Log {}, [0.5, -1.0, 0.0, 0.25, 1.0].map(|u| 10f64.powf(-6.0 + 6.0 * (u + 1.0) / 2.0)).into()),
        (Action::Drift { step: 0.2 }, {
            // With u = 0 the factors are 5/6, 4/5, 3/4, 2/3, 1/2: a line from η₀ at t = 0 to 0 at t = H + 1 = 6.
            let line = |t: usize| 0.02 * (6.0 - t as f64) / 6.0;
            let risen = [0.5, -0.5, -0.5, -0.25, 0.75].map(|sum| 10f64.powf(0.2 * sum));
            (1..6).map(|t| line(t) * risen[t - 1]).collect()
        }),
        (Action::Residual { base: base.clone(), alpha: 0.5 }, {
            let factor = |a: f64| (0.5 * a.tanh()).exp();
            vec![0.3 * factor(0.5), 0.2 * factor(-2.0), 0.1, 0.1 * factor(0.25), 0.1 * factor(1.0)]
        }),
    ];
    for (action, want) in cases {
        let source = Scripted::losses(&LOSSES);
        let config = EnvConfig {
            action: Some(action.clone()),
            initial_lr: Some(InitialLr::Fixed { lr: 0.02 }),
            ..EnvConfig::default()
        };
        let (lrs, _) = episode(&source, &config.parts(source.spec()).unwrap(), &actions);
        assert_near(&format!("{action:?}"), &lrs, &want);
    }
}

/// Losses above the probe's count as the probe's: only the part below it is paid or charged.
#[test]
fn capped_and_negative_loss() {
    let losses = [2.0, 1.0, 50.0, 80.0, 0.5];
    let rewards = |reward| {
        let source = Scripted::losses(&losses);
        let config = EnvConfig { reward: Some(reward), ..EnvConfig::default() };
        episode(&source, &config.parts(source.spec()).unwrap(), &[0.0; 4]).1
    };
    let ln = |a: f64, b: f64| ((a + 0.1) / (b + 0.1)).ln();
    let capped = rewards(Reward::LogImprovement { epsilon: 0.1, capped: true });
    assert_near("capped", &capped, &[ln(2.0, 1.0), ln(1.0, 2.0), 0.0, ln(2.0, 0.5)]);
    let plain = rewards(Reward::LogImprovement { epsilon: 0.1, capped: false });
    assert_near("plain", &plain, &[ln(2.0, 1.0), ln(1.0, 50.0), ln(50.0, 80.0), ln(80.0, 0.5)]);
    assert_near("negative loss", &rewards(Reward::NegativeLoss {}), &[-1.0, -50.0, -80.0, -0.5]);
}

/// The task gets the further settings: 1 − μ and the weight decay run log-linearly over their ranges.
#[test]
fn further_hyperparameters_reach_the_task() {
    let source = Scripted::losses(&LOSSES);
    let hyperparameters = vec![
        HyperparameterRange { name: HyperparameterName::WeightDecay, min: 1e-6, max: 1e-2 },
        HyperparameterRange { name: HyperparameterName::Momentum, min: 0.5, max: 0.99 },
    ];
    let parts = EnvConfig { hyperparameters, ..EnvConfig::default() }.parts(source.spec()).unwrap();
    let mut env = env(&source, &parts);
    env.reset(0).unwrap();
    env.step(&[0.0, -0.5, 0.5]).unwrap();
    let Some(Call::Advance(given)) = source.calls().pop() else { panic!("the last call is no interval") };
    assert!(near(given.weight_decay.unwrap(), 1e-5));
    // (u + 1)/2 = 3/4 of the way from ln 0.5 to ln 0.01.
    assert!(near(1.0 - given.momentum.unwrap(), 0.5f64.powf(0.25) * 0.01f64.powf(0.75)));
}

/// An episode ends with interval H, by itself and not by a limit; what follows is an error until the next reset.
#[test]
fn episodes_terminate_at_the_horizon() {
    for formulation in [Formulation::Paper, Formulation::Pilot] {
        let source = Scripted::losses(&LOSSES);
        let mut env = env(&source, &parts(&*source, formulation));
        assert!(env.step(&[0.1]).is_err(), "a step before the first reset");
        for _ in 0..2 {
            env.reset(0).unwrap();
            let ends: Vec<_> = (0..5).map(|_| env.step(&[0.1]).unwrap()).map(|s| (s.terminated, s.truncated)).collect();
            assert_eq!(ends, [(false, false), (false, false), (false, false), (false, false), (true, false)]);
            let error = env.step(&[0.1]).unwrap_err().to_string();
            assert!(error.contains("after the end of an episode"), "{error}");
        }
        assert_eq!(source.lrs().len(), 10, "the task was not stepped after the end");
    }
}

/// A saved episode goes on to the same steps in another environment, also after a roll-back.
#[test]
fn an_episode_saved_in_the_middle_goes_on() {
    for formulation in [Formulation::Paper, Formulation::Pilot] {
        for second in [told(2, 1.8), diverged(2)] {
            if second.diverged && formulation == Formulation::Paper {
                continue;
            }
            let script = [told(1, 1.5), second, told(3, 0.9), told(4, 0.4), told(5, 0.45)];
            let source = Scripted::new(told(0, 2.0), script.into());
            let parts = parts(&*source, formulation);
            let (mut first, mut other) = (env(&source, &parts), env(&source, &parts));
            first.reset(3).unwrap();
            (0..3).for_each(|_| drop(first.step(&[0.3]).unwrap()));
            other.load(&first.save().unwrap()).unwrap();
            for action in [-0.5, 0.7] {
                assert_eq!(other.step(&[action]).unwrap(), first.step(&[action]).unwrap(), "{formulation:?}");
            }
            assert!(other.step(&[0.0]).is_err());
        }
    }
}
