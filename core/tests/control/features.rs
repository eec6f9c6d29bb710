//! The observations against values computed by hand from made-up measurements.

use crate::controller::{run, spec};
use lrpilot_core::control::observation::RICH_FEATURES;
use lrpilot_core::control::{Action, Controller, Observation};
use lrpilot_core::{Decision, Measurement, PolicySpec, RunSpec};

const START: f64 = 0.02;
const ANCHOR: f64 = 0.05;

#[track_caller]
fn assert_features(what: &str, ours: &[f32], want: &[f64]) {
    assert_eq!(ours.len(), want.len(), "{what}");
    for (i, (ours, want)) in ours.iter().zip(want).enumerate() {
        let near = (f64::from(*ours) - want).abs() <= 1e-6 * want.abs().max(1.0);
        assert!(near, "{what}: `{}` is {ours}, not {want}", RICH_FEATURES[i]);
    }
}

fn probe() -> Measurement {
    Measurement {
        train_loss: Some(2.0),
        val_loss: Some(2.5),
        grad_norms: vec![0.5, 2.0],
        weight_norms: vec![2.0, 4.0],
        grad_norm_mean: Some(2.1),
        grad_norm_sd: Some(0.0),
        ..Measurement::default()
    }
}

fn first() -> Measurement {
    Measurement {
        interval: 1,
        train_loss: Some(1.6),
        train_loss_first_half: Some(1.8),
        train_loss_second_half: Some(1.4),
        val_loss: Some(1.5),
        grad_norms: vec![0.3, 0.9],
        weight_norms: vec![3.0, 1.5],
        update_norms: vec![0.003, 0.015],
        grad_norm_mean: Some(0.95),
        grad_norm_sd: Some(0.19),
        displacement: Some(0.5),
        path_length: Some(0.2),
        ..Measurement::default()
    }
}

/// Losses and nothing else: no halves, no norms.
fn bare(train: f64, val: Option<f64>) -> Measurement {
    Measurement { train_loss: Some(train), val_loss: val, ..Measurement::default() }
}

fn controller(observation: Observation, observed_groups: usize, first: &Measurement) -> (Controller, Vec<f32>) {
    let spec = PolicySpec { observation, observed_groups, ..spec(Action::Multiplicative { step: 0.5 }) };
    let mut controller = Controller::new(spec, RunSpec { lr_bounds: (1e-6, 1.0), ..run(10) });
    let mut out = Vec::new();
    controller.start(first, START, ANCHOR, &mut out);
    (controller, out)
}

/// Losses fall, rise, are undone, and fall below the floor of 1e-3; the LR is 0.02 times 10^0.25, 10^−0.25, 10^−1.25.
#[test]
fn rich_features_are_their_formulas() {
    let (ln, log10) = (f64::ln, f64::log10);
    let length = ln(10.0 / 50.0);
    let (mut controller, mut seen) = controller(Observation::Rich, 0, &probe());
    let gradient = (log10(0.5 / 2.0) + log10(2.0 / 4.0)) / 2.0;
    let want: [&[f64]; _] = [
        &[0.0, 0.1, length, log10(0.02) + 2.0, ln(2.5), ln(2.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, ln(2.0 / 2.5)],
        &[10.0, log10(2.1), 0.0, gradient, log10(2.0) / 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, log10(0.4), 0.0],
    ];
    assert_features("probe", &seen, &want.concat());

    let (d1, d2) = (ln(2.5 / 1.5), ln(1.5 / 2.0));
    let _ = controller.act(&[0.5]);
    let _ = controller.observe(&first(), &mut seen);
    let gradient = (log10(0.3 / 3.0) + log10(0.9 / 1.5)) / 2.0;
    let want: [&[f64]; _] = [
        &[0.1, 1.0 / 9.0, length, log10(0.02) + 2.25, ln(1.5), ln(1.6), ln(1.5 / 2.5), 0.0],
        &[5.0 * d1, 2.5 * d1, d1, 5.0 * ln(2.0 / 1.6), ln(1.6 / 1.5), 5.0 * ln(1.8 / 1.4), log10(0.95), 0.2],
        // ‖Δw‖/‖w‖ is 1e-3 and 1e-2.
        &[gradient, log10(6.0) / 2.0, 0.5, 1.0, log10(2.5), 0.5, 0.0, log10(0.4) + 0.25, 0.0],
    ];
    assert_features("first", &seen, &want.concat());

    let _ = controller.act(&[-2.0]);
    let _ = controller.observe(&bare(1.2, Some(2.0)), &mut seen);
    let (fast, slow) = (0.25 * d1 + 0.5 * d2, 0.16 * d1 + 0.2 * d2);
    let want: [&[f64]; _] = [
        &[0.2, 0.125, length, log10(0.02) + 1.75, ln(2.0), ln(1.2), ln(2.0 / 2.5), ln(2.0 / 1.5)],
        &[5.0 * d2, 5.0 * fast, 5.0 * slow, 5.0 * ln(1.6 / 1.2), ln(1.2 / 2.0)],
        &[0.0; 8],
        &[-1.0, 0.0, log10(0.4) - 0.25, 0.125],
    ];
    assert_features("second, without halves and norms", &seen, &want.concat());

    let _ = controller.act(&[0.0]);
    let lost = Measurement { diverged: true, ..bare(f64::NAN, Some(f64::INFINITY)) };
    assert_eq!(controller.observe(&lost, &mut seen), Decision::RollBack);
    let (fast, slow) = (0.5 * fast, 0.8 * slow);
    let want: [&[f64]; _] = [
        &[0.3, 1.0 / 7.0, length, log10(0.02) + 0.75, ln(2.0), ln(1.2), ln(2.0 / 2.5), ln(2.0 / 1.5)],
        &[0.0, 5.0 * fast, 5.0 * slow, 0.0, ln(1.2 / 2.0)],
        &[0.0; 9],
        &[1.0, log10(0.4) - 1.25, 0.25],
    ];
    assert_features("third, undone", &seen, &want.concat());

    let _ = controller.act(&[0.0]);
    let _ = controller.observe(&bare(1e-5, None), &mut seen);
    let slow = 0.8 * slow + 0.2 * ln(2.0 / 1e-3);
    let floor = ln(1e-3);
    let want: [&[f64]; _] = [
        &[0.4, 1.0 / 6.0, length, log10(0.02) + 0.75, floor, floor, floor - ln(2.5), 0.0],
        &[10.0, 10.0, 5.0 * slow, 10.0, 0.0],
        &[0.0; 10],
        &[log10(0.4) - 1.25, 0.0],
    ];
    assert_features("fourth, below the floor", &seen, &want.concat());
}

/// Of a run of which nothing is measured, a policy knows the time, the LR and that a probe has no halves.
#[test]
fn what_is_absent_is_neutral() {
    let (mut controller, mut seen) = controller(Observation::Rich, 0, &Measurement::default());
    let length = (10f64 / 50.0).ln();
    let mut want = vec![0.0; 25];
    (want[1], want[2], want[3], want[13], want[23]) = (0.1, length, START.log10() + 2.0, 10.0, 0.4f64.log10());
    assert_features("probe", &seen, &want);
    for t in 1..=10 {
        let _ = controller.act(&[0.0]);
        let _ = controller.observe(&Measurement::default(), &mut seen);
        let left = (10.0 - f64::from(t)).max(1.0);
        (want[0], want[1], want[13], want[24]) = (f64::from(t) / 10.0, 1.0 / left, 0.0, f64::from(t) / 8.0);
        assert_features("nothing measured", &seen, &want);
    }
}

/// (validation loss, epochs left, ‖g‖ of each group), raw; what is no number is 0, and the length is the policy's.
#[test]
fn paper_observation() {
    let (mut controller, mut seen) = controller(Observation::Paper, 2, &probe());
    assert_eq!(seen, [2.5, 10.0, 0.5, 2.0]);
    let _ = controller.observe(&first(), &mut seen);
    assert_eq!(seen, [1.5, 9.0, 0.3, 0.9]);
    let _ =
        controller.observe(&Measurement { grad_norms: vec![f64::NAN, 1e300], ..bare(0.5, Some(f64::NAN)) }, &mut seen);
    assert_eq!(seen, [0.0, 8.0, 0.0, 0.0]);
    let _ = controller.observe(&bare(0.5, None), &mut seen);
    assert_eq!(seen, [0.5, 7.0, 0.0, 0.0]);
    let _ = controller.observe(&Measurement { grad_norms: vec![1.0; 3], ..bare(0.5, None) }, &mut seen);
    assert_eq!(seen, [0.5, 6.0, 1.0, 1.0]);
}

/// Time alone, whatever is measured.
#[test]
fn state_blind_observation() {
    for measured in [first(), Measurement::default(), bare(f64::NAN, None)] {
        let (mut controller, mut seen) = controller(Observation::StateBlind, 0, &measured);
        assert_features("start", &seen, &[0.0, 0.1, 0.2f64.ln()]);
        for t in 1..=10 {
            let _ = controller.observe(&measured, &mut seen);
            let left = (10.0 - f64::from(t)).max(1.0);
            assert_features("later", &seen, &[f64::from(t) / 10.0, 1.0 / left, 0.2f64.ln()]);
        }
    }
}
