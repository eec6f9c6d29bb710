//! [`Controller::act`] for each action: formulas, bounds, numbers that are none, further hyperparameters.

use lrpilot_core::control::{Action, Controller, Observation, OnDivergence};
use lrpilot_core::{
    Decision, Group, HyperparameterName, HyperparameterRange, Hyperparameters, Measurement, OptimizerFamily,
    PolicySpec, RunSpec,
};

const BOUNDS: (f64, f64) = (1e-4, 0.5);

pub fn spec(action: Action) -> PolicySpec {
    PolicySpec {
        observation: Observation::Rich,
        action,
        hyperparameters: Vec::new(),
        on_divergence: OnDivergence::RollBack { factor: 0.1, reward: -0.2 },
        initial_lr: None,
        max_anchor_distance: 1.5,
        observed_groups: 0,
    }
}

pub fn run(horizon: usize) -> RunSpec {
    let run = RunSpec::new(horizon, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("all", 4)]);
    RunSpec { lr_bounds: BOUNDS, ..run }
}

/// A controller at the start of a run of four intervals, at LR 0.1.
fn started(spec: PolicySpec) -> Controller {
    let mut controller = Controller::new(spec, run(4));
    controller.start(&Measurement::default(), 0.1, 0.1, &mut Vec::new());
    controller
}

fn first_lr(action: Action, a: f32) -> f64 {
    started(spec(action)).act(&[a]).lr
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs()
}

fn actions() -> [Action; 5] {
    let base = vec![0.2, 0.3];
    [
        Action::Linear {},
        Action::Log {},
        Action::Multiplicative { step: 0.5 },
        Action::Drift { step: 0.5 },
        Action::Residual { base, alpha: 0.7 },
    ]
}

/// Actions of −1 and 1, beyond them, of 0, and of no number, which count as 0.
#[test]
fn every_action_at_its_ends() {
    let (min, max) = BOUNDS;
    let root10 = 10f64.sqrt();
    let middle = (min * max).sqrt();
    // For a = −1, 0 and 1; drift's base factor is 4/5 at t = 0 and H = 4.
    let residual = |a: f64| 0.2 * (0.7 * a.tanh()).exp();
    let want = [
        [min, min, max],
        [min, middle, max],
        [0.1 / root10, 0.1, 0.1 * root10],
        [0.08 / root10, 0.08, 0.08 * root10],
        [residual(-1.0), 0.2, residual(1.0)],
    ];
    for (action, [low, zero, high]) in actions().into_iter().zip(want) {
        for (a, want) in [(-1.0, low), (0.0, zero), (-0.0, zero), (1.0, high)] {
            let lr = first_lr(action.clone(), a);
            assert!(near(lr, want), "{action:?} of {a}: {lr}, not {want}");
        }
        for a in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(near(first_lr(action.clone(), a), zero), "{action:?} of {a}");
        }
        let beyond = [first_lr(action.clone(), -50.0), first_lr(action.clone(), 50.0)];
        let limits = if let Action::Residual { .. } = action {
            [0.2 * (-0.7f64).exp(), 0.2 * 0.7f64.exp()]
        } else {
            [low, high]
        };
        assert!(near(beyond[0], limits[0]) && near(beyond[1], limits[1]), "{action:?}: {beyond:?}");
        assert!(near(started(spec(action.clone())).act(&[]).lr, zero), "{action:?} without an action");
    }
}

/// However often the LR is pushed, it ends at a bound; from there it comes back at once.
#[test]
fn learning_rates_stay_within_their_bounds() {
    for action in [Action::Multiplicative { step: 0.9 }, Action::Drift { step: 0.9 }] {
        for (push, bound) in [(1.0, BOUNDS.1), (-1.0, BOUNDS.0)] {
            let mut controller = started(spec(action.clone()));
            let mut lr = 0.0;
            for _ in 0..6 {
                lr = controller.act(&[push]).lr;
                assert!((BOUNDS.0..=BOUNDS.1).contains(&lr));
            }
            assert_eq!(lr, bound, "{action:?}");
            assert_ne!(controller.act(&[-push]).lr, bound, "{action:?}");
        }
    }
}

/// Base numbers are given as they are, also as bits, for a = 0; the last one is held; bounds hold for them too.
#[test]
fn a_zero_residual_gives_the_base() {
    let base = vec![0.1 + 0.2, 1.0 / 3.0, 1e-9, 7.0, 0.123_456_789];
    let mut controller = Controller::new(spec(Action::Residual { base, alpha: 2.0 }), run(7));
    controller.start(&Measurement::default(), 0.1, 0.1, &mut Vec::new());
    let want = [0.1 + 0.2, 1.0 / 3.0, BOUNDS.0, BOUNDS.1, 0.123_456_789, 0.123_456_789, 0.123_456_789];
    for want in want {
        assert_eq!(controller.act(&[0.0]).lr.to_bits(), f64::to_bits(want));
        assert_eq!(controller.observe(&Measurement::default(), &mut Vec::new()), Decision::GoOn);
    }
}

/// Further hyperparameters take the actions after the LR's, in their order; one that is missing is left as it is.
#[test]
fn further_hyperparameters_take_their_actions_in_order() {
    let decay = HyperparameterRange { name: HyperparameterName::WeightDecay, min: 1e-6, max: 1e-2 };
    let momentum = HyperparameterRange { name: HyperparameterName::Momentum, min: 0.5, max: 0.95 };
    let hyperparameters = vec![decay, momentum];
    let spec = PolicySpec { hyperparameters, ..spec(Action::Multiplicative { step: 0.5 }) };
    assert_eq!(spec.action_dim(), 3);
    let act = |action: &[f32]| started(spec.clone()).act(action);
    // 1 − μ from 0.5 to 0.05: at u = 0 it is √(0.5 · 0.05).
    let cases = [
        ([0.0f32, -1.0, -1.0], 1e-6, 0.5),
        ([0.0, 1.0, 1.0], 1e-2, 0.95),
        ([0.0, 0.5, 0.0], 1e-3, 1.0 - 0.025f64.sqrt()),
        ([0.0, 9.0, -9.0], 1e-2, 0.5),
        ([0.0, f32::NAN, f32::NAN], 1e-4, 1.0 - 0.025f64.sqrt()),
        ([0.0, f32::INFINITY, f32::NEG_INFINITY], 1e-2, 0.5),
    ];
    for (action, decay, momentum) in cases {
        let set = act(&action);
        assert!(near(set.weight_decay.unwrap(), decay) && near(set.momentum.unwrap(), momentum), "{action:?}: {set:?}");
    }
    assert_eq!(act(&[0.0]), Hyperparameters::lr(0.1));
    assert_eq!(act(&[]), Hyperparameters::lr(0.1));
    assert!(act(&[0.0, 0.0]).weight_decay.is_some() && act(&[0.0, 0.0]).momentum.is_none());
}

/// A start that is no number becomes the lowest LR, one out of bounds the nearer bound.
#[test]
fn starts_are_within_the_bounds() {
    for (initial, want) in [(f64::NAN, BOUNDS.0), (0.0, BOUNDS.0), (f64::INFINITY, BOUNDS.1), (0.2, 0.2)] {
        let mut controller = Controller::new(spec(Action::Multiplicative { step: 0.5 }), run(4));
        controller.start(&Measurement::default(), initial, 0.1, &mut Vec::new());
        assert_eq!((controller.lr(), controller.act(&[0.0]).lr), (want, want));
    }
}
