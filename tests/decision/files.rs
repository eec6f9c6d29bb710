//! A policy file of format version 1 runs as it did in the version that wrote it.

use crate::scripted::digits;
use lrpilot::run::{Record, run_trial};
use lrpilot::task::TaskSource;
use lrpilot_core::control::{Action, Observation, OnDivergence};
use lrpilot_core::{AnchorRule, Learned, Schedule};
use std::path::Path;

/// `policy.safetensors` of `lrpilot demo --seed 0` (the policy of seed 0), written by the last version with format 1.
const FILE: &str = "tests/fixtures/policy-v1.safetensors";

/// The `lr` and the last `val_loss_b` in the `replay.json` of that version:
/// `lrpilot evaluate digits --schedule policy-v1.safetensors --seeds 3 --set task.horizon=12 --export-replay DIR`.
const LRS: [f64; 12] = [
    0.013941207561074741,
    0.021900095172387626,
    0.03326536346641918,
    0.05063936017704054,
    0.06673655471861499,
    0.062461433773181155,
    0.04675345165409389,
    0.025395421750080697,
    0.01593698191605055,
    0.008151098495458827,
    0.0050323303701573915,
    0.0028191941158260676,
];
const LAST_LOSS: f64 = 0.3871460068002343;

#[test]
fn version_1_is_read_and_runs_as_before() {
    let learned = Learned::load(Path::new(FILE)).unwrap();
    let spec = learned.spec();
    assert_eq!((spec.observation, &spec.action), (Observation::Rich, &Action::Multiplicative { step: 0.5 }));
    // `anchor_reach` and `divergence_factor` of the old metadata; what follows divergence was inferred from the action.
    assert_eq!((spec.max_anchor_distance, spec.initial_lr, spec.observed_groups), (0.7, None, 0));
    assert_eq!(spec.on_divergence, OnDivergence::RollBack { factor: 0.1, reward: -0.2 });
    let on = learned.learned_on();
    let groups = on.groups.len();
    assert_eq!(
        (on.horizon, on.lr_bounds, groups, on.anchor),
        (50, (1e-6, 1.0), 3, AnchorRule::WeightOverGradient(1e-3))
    );
    assert_eq!((learned.provenance().task.as_str(), learned.provenance().seed), ("digits", 0));

    let source = digits(12);
    let trial = run_trial(&mut *source.task(3).unwrap(), &Schedule::learned(learned), 3, Record::Final).unwrap();
    let lrs: Vec<f64> = trial.curve.iter().map(|r| r.lr).collect();
    assert_eq!(lrs, LRS);
    assert_eq!(trial.curve[11].val_loss_b, LAST_LOSS);
}

/// What is written from it is of the current version, and equal.
#[test]
fn version_1_becomes_the_current_version() {
    let learned = Learned::load(Path::new(FILE)).unwrap();
    let bytes = learned.to_bytes().unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("\\\"format_version\\\":2"));
    assert_eq!(Learned::from_bytes(&bytes, Path::new("new")).unwrap(), learned);
}
