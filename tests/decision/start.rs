//! Where episodes and runs start, for each way to say it.

use crate::scripted::{digits, digits_with, env, quadratic};
use lrpilot::env::{Env, EnvConfig, InitialLr};
use lrpilot::nn::OptimizerSpec;
use lrpilot::task::{ConfiguredTask, TaskSource};
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{Learned, Policy};
use std::sync::Arc;

/// The LR of the first interval after an action that leaves it where it is, and the episode's anchor.
fn starts(source: &Arc<ConfiguredTask>, initial_lr: InitialLr, seed: u64) -> (f64, f64) {
    let parts = EnvConfig { initial_lr: Some(initial_lr), ..EnvConfig::default() }.parts(source.spec()).unwrap();
    let mut env = env(source, &parts);
    env.reset(seed).unwrap();
    let lr = env.step(&[0.0]).unwrap().info.lr;
    let mut task = source.task(seed).unwrap();
    let probe = task.reset(seed).unwrap();
    (lr, task.spec().run().anchor_lr(&probe))
}

#[test]
fn each_kind_of_start() {
    let source = Arc::new(quadratic(3));
    for seed in 0..30 {
        let (lr, anchor) = starts(&source, InitialLr::Anchor {}, seed);
        assert_eq!(lr, anchor);
        // Within 1.5 decades of the anchor a fixed LR is taken, beyond them the anchor.
        for (factor, taken) in [(30.0, true), (1.0 / 30.0, true), (33.0, false), (1.0 / 33.0, false)] {
            let fixed = anchor * factor;
            let want = if taken { fixed } else { anchor };
            assert_eq!(starts(&source, InitialLr::Fixed { lr: fixed }, seed).0, want, "{factor}");
        }
        let (lr, anchor) = starts(&source, InitialLr::NearAnchor { decades: 0.5 }, seed);
        assert!((lr / anchor).log10().abs() <= 0.5 + 1e-9, "{lr}");
        let (lr, _) = starts(&source, InitialLr::LogUniform { min: 0.003, max: 0.3 }, seed);
        assert!((0.003..=0.3).contains(&lr), "{lr}");
    }
}

/// A random start is a function of the seed alone, and spread evenly over the decades: of 200 starts, each quarter of the
/// range gets 50 on average with a standard deviation of √(200·¼·¾) = 6.1; five of these are allowed.
#[test]
fn random_starts_are_uniform_in_the_logarithm() {
    let source = Arc::new(quadratic(3));
    let uniform = InitialLr::LogUniform { min: 1e-3, max: 0.1 };
    let near = InitialLr::NearAnchor { decades: 1.0 };
    for kind in [uniform, near] {
        let share = |seed: u64| {
            let (lr, anchor) = starts(&source, kind, seed);
            let low = if kind == uniform { 1e-3 } else { anchor / 10.0 };
            (lr / low).log10() / 2.0
        };
        let shares: Vec<f64> = (0..200).map(share).collect();
        assert!((0..20).all(|seed| shares[seed as usize] == share(seed)));
        for quarter in 0..4 {
            let count = shares.iter().filter(|s| (*s * 4.0).floor() as usize == quarter).count();
            assert!((20..=80).contains(&count), "{count} of 200 in quarter {quarter}");
        }
    }
}

/// A policy learned under SGD starts a run of Adam at Adam's anchor: a hundredth of the root mean square of the weights.
#[test]
fn a_policy_starts_at_the_anchor_of_the_run_at_hand() {
    let sgd = digits(4);
    let parts = EnvConfig::default().parts(sgd.spec()).unwrap();
    let sizes = vec![parts.policy.observation_dim(), 1];
    let network = Policy::new(sizes.clone(), vec![0.0; Policy::param_count(&sizes)], None);
    let policy = Learned::new(network, parts.policy, sgd.spec().run(), Provenance::default()).unwrap();
    let adam = digits_with(|c| {
        c.horizon = 4;
        c.optimizer = toml::from_str::<OptimizerSpec>("type = \"adam\"").unwrap();
    });
    let first_lr = |source: &ConfiguredTask| {
        let mut task = source.task(5).unwrap();
        let probe = task.reset(5).unwrap();
        let parameters: usize = task.spec().groups.iter().map(|g| g.size).sum();
        let sum_sq: f64 = probe.weight_norms.iter().map(|w| w * w).sum();
        let run = policy.start(&task.spec().run(), &probe, None).unwrap();
        (run.hyperparameters().lr, 0.01 * (sum_sq / parameters as f64).sqrt())
    };
    let (lr, rms) = first_lr(&adam);
    assert!((lr / rms - 1.0).abs() < 1e-12, "{lr} against {rms}");
    let (lr, rms) = first_lr(&sgd);
    assert!(lr > 3.0 * rms, "SGD's anchor, {lr}, is not Adam's, {rms}");
}
