//! The classic problems of the parity example, against Gymnasium (`tests/golden/classic.py`).

#[path = "common/classic.rs"]
mod classic;

use classic::{Acrobot, CartPole, Classic, Dynamics, Pendulum};
use lrpilot::env::Env;
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
struct Trajectory {
    start: Vec<f64>,
    steps: Vec<GoldenStep>,
}

#[derive(Deserialize)]
struct GoldenStep {
    action: f32,
    state: Vec<f64>,
    reward: f64,
    terminated: bool,
}

/// Actions are f32 here, so that trajectories agree to f32 accuracy.
fn follows<D: Dynamics>(trajectory: &Trajectory) {
    let mut env = Classic::<D>::new();
    env.reset(0).unwrap();
    env.state.clone_from(&trajectory.start);
    for (i, want) in trajectory.steps.iter().enumerate() {
        let step = env.step(&[want.action]).unwrap();
        for (ours, theirs) in env.state.iter().zip(&want.state) {
            assert!((ours - theirs).abs() < 1e-5, "step {i}: {ours} against {theirs}");
        }
        assert!((step.reward - want.reward).abs() < 1e-5, "step {i}");
        assert_eq!(step.terminated, want.terminated, "step {i}");
    }
}

#[test]
fn dynamics_equal_gymnasium() {
    let golden: HashMap<String, Trajectory> = serde_json::from_str(include_str!("golden/classic.json")).unwrap();
    follows::<CartPole>(&golden["CartPole-v1"]);
    follows::<Acrobot>(&golden["Acrobot-v1"]);
    follows::<Pendulum>(&golden["Pendulum-v1"]);
}

#[test]
fn episodes_are_cut_off_at_the_limit() {
    let mut env = Classic::<Pendulum>::new();
    env.reset(1).unwrap();
    let ends: Vec<bool> = (0..200).map(|_| env.step(&[0.0]).unwrap().truncated).collect();
    assert_eq!(ends.iter().position(|t| *t), Some(199));
}
