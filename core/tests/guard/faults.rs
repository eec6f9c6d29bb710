//! Each fault in a loss that is otherwise well, and what is no fault.

use crate::{first_fault, guard, healthy, noise};
use lrpilot_core::Measurement;
use lrpilot_core::guard::{Fault, Verdict};

#[test]
fn a_healthy_loss_is_healthy() {
    assert_eq!(first_fault(&healthy(5000)), None);
}

#[test]
fn numbers_that_are_none_are_found_at_once() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e301] {
        for at in [0, 1, 300] {
            let mut losses = healthy(400);
            losses[at] = bad;
            assert_eq!(first_fault(&losses), Some((at, Fault::NotFinite)));
        }
    }
    let mut guard = guard();
    assert_eq!(guard.step(1, 1.0, Some(2.0)), Verdict::Healthy);
    for norm in [f64::NAN, f64::INFINITY] {
        assert!(matches!(guard.step(2, 1.0, Some(norm)), Verdict::RollBack { reason: Fault::NotFinite, .. }));
    }
}

/// The loss at the start is 5: above 1 + 4 · 5 a single loss is a fault, and one below it is none.
#[test]
fn one_enormous_batch_is_found_at_once() {
    let mut losses = healthy(400);
    losses[300] = 22.0;
    assert_eq!(first_fault(&losses), Some((300, Fault::Enormous)));
    losses[300] = 15.0;
    assert_eq!(first_fault(&losses), None);
}

#[test]
fn a_spike_of_20_steps_is_found_within_it() {
    let mut losses = healthy(400);
    losses[300..320].iter_mut().for_each(|loss| *loss += 3.0);
    let (at, fault) = first_fault(&losses).unwrap();
    assert!(fault == Fault::Spike && (302..310).contains(&at), "{at}: {fault}");
    // A rise of less than half of what the loss has come down by is none.
    let mut losses = healthy(400);
    losses[300..320].iter_mut().for_each(|loss| *loss += 1.0);
    assert_eq!(first_fault(&losses), None);
}

/// One per cent a step, from 1 on: after 250 steps the loss would be 12.
#[test]
fn a_slow_drift_is_found() {
    let mut losses = healthy(800);
    losses[300..].iter_mut().enumerate().for_each(|(i, loss)| *loss *= 1.01f64.powi(i as i32));
    let (at, fault) = first_fault(&losses).unwrap();
    assert!(fault == Fault::Drift && (400..550).contains(&at), "{at}: {fault}");
}

/// A thousandth a step, late in a run of 20,000: blocks have become longer.
#[test]
fn a_slower_drift_is_found_in_a_longer_run() {
    let mut losses = healthy(20_000);
    losses[15_000..].iter_mut().enumerate().for_each(|(i, loss)| *loss *= 1.001f64.powi(i as i32));
    let (at, fault) = first_fault(&losses).unwrap();
    assert!(fault == Fault::Drift && (15_500..18_500).contains(&at), "{at}: {fault}");
}

/// Before anything is learned, the losses of short intervals differ by their batches alone; this once was a spike.
#[test]
fn noise_in_a_run_that_learns_nothing_is_no_spike() {
    let told = [2.3032124, 2.3026458, 2.3034431, 2.3067726, 2.3001, 2.3043, 2.2997, 2.3061];
    let mut guard = guard();
    for (i, loss) in told.into_iter().enumerate() {
        let m = Measurement { interval: i, steps: 5 * i as u64, train_loss: Some(loss), ..Measurement::default() };
        assert_eq!(guard.interval(&m), Verdict::Healthy, "{i}: {loss}");
    }
}

#[test]
fn a_flat_loss_is_healthy_wherever_it_lies() {
    for loss in [0.0, -0.0, 1.0, -3.0, 1e299, 5e-324] {
        assert_eq!(first_fault(&vec![loss; 2000]), None, "{loss}");
    }
    // The first loss that differs gives the unit.
    let mut losses = vec![0.0; 200];
    losses.extend((0..200).map(|t| 1e-9 * (1.0 + noise(t))));
    assert_eq!(first_fault(&losses), None);
}

/// A log-likelihood may be negative, an offset changes nothing but what an enormous loss is.
#[test]
fn negative_losses_are_judged_like_others() {
    for offset in [-1.0, -5.0, -1000.0, 1000.0] {
        let shifted = |losses: Vec<f64>| losses.into_iter().map(|loss| loss + offset).collect::<Vec<f64>>();
        assert_eq!(first_fault(&shifted(healthy(2000))), None, "{offset}");
        let mut losses = healthy(400);
        losses[300..320].iter_mut().for_each(|loss| *loss += 3.0);
        assert!(matches!(first_fault(&shifted(losses)), Some((302..310, Fault::Spike))), "{offset}");
    }
}

/// From 1e12 down to 1e-12, a factor of ten every 100 steps.
#[test]
fn a_huge_range_is_no_fault() {
    let losses: Vec<f64> = (0..2400).map(|t| 10f64.powf(12.0 - t as f64 / 100.0) * (1.0 + 0.5 * noise(t))).collect();
    assert_eq!(first_fault(&losses), None);
}

/// By powers of two, where no rounding differs, and by others.
#[test]
fn a_factor_on_the_loss_changes_nothing() {
    let mut spike = healthy(400);
    spike[300..320].iter_mut().for_each(|loss| *loss += 3.0);
    let mut drift = healthy(800);
    drift[300..].iter_mut().enumerate().for_each(|(i, loss)| *loss *= 1.01f64.powi(i as i32));
    for losses in [healthy(3000), spike, drift] {
        for factor in [2f64.powi(-600), 0.5, 1024.0, 2f64.powi(600), 3.7, 1e-9] {
            let scaled: Vec<f64> = losses.iter().map(|loss| factor * loss).collect();
            assert_eq!(first_fault(&scaled), first_fault(&losses), "{factor}");
        }
    }
}

fn interval(at: u64, train_loss: Option<f64>, val_loss: Option<f64>) -> Measurement {
    Measurement { interval: at as usize, steps: 100 * at, train_loss, val_loss, ..Measurement::default() }
}

/// What a guard that sees intervals only says to each training and validation loss.
fn verdicts(losses: impl IntoIterator<Item = (Option<f64>, Option<f64>)>) -> Vec<Verdict> {
    let mut guard = guard();
    losses.into_iter().zip(0..).map(|((train, val), at)| guard.interval(&interval(at, train, val))).collect()
}

#[test]
fn intervals_alone_are_enough() {
    let falling = |at: i32| 0.1 + 2.2 * 0.8f64.powi(at) + 0.02 * noise(at as u64);
    let mut losses: Vec<f64> = (0..30).map(falling).collect();
    assert!(verdicts(losses.iter().map(|l| (Some(*l), None))).iter().all(|v| *v == Verdict::Healthy));
    losses[20] = 2.3;
    let told = verdicts(losses.iter().map(|l| (Some(*l), None)));
    assert_eq!(told.iter().position(|v| *v != Verdict::Healthy), Some(20));
    assert!(matches!(told[20], Verdict::RollBack { reason: Fault::Spike, .. }));
    losses[20..].iter_mut().enumerate().for_each(|(i, l)| *l = 0.15 * 1.3f64.powi(i as i32));
    let told = verdicts(losses.iter().map(|l| (Some(*l), None)));
    assert!(told[20..28].iter().any(|v| matches!(v, Verdict::RollBack { .. })), "{told:?}");
}

/// The validation loss doubles slowly while the training loss goes on falling, or is not measured.
#[test]
fn overfitting_is_no_fault() {
    let val = |at: i32| if at < 10 { 2.3 * 0.8f64.powi(at) } else { 0.25 + 0.02 * f64::from(at - 10) };
    for train in [None, Some(())] {
        let losses = (0..40).map(|at| (train.map(|()| 2.3 * 0.8f64.powi(at)), Some(val(at))));
        assert!(verdicts(losses).iter().all(|v| *v == Verdict::Healthy));
    }
}

#[test]
fn an_interval_that_has_diverged_is_a_fault_and_one_without_a_loss_is_none() {
    let fine = interval(1, Some(1.0), None);
    for bad in [
        Measurement { diverged: true, ..interval(1, None, None) },
        Measurement { val_loss: Some(f64::NAN), ..fine.clone() },
        Measurement { grad_norms: vec![1.0, f64::INFINITY], ..fine.clone() },
    ] {
        assert!(matches!(guard().interval(&bad), Verdict::RollBack { reason: Fault::NotFinite, .. }), "{bad:?}");
    }
    assert_eq!(guard().interval(&fine), Verdict::Healthy);
    assert_eq!(guard().interval(&interval(1, None, None)), Verdict::Healthy);
}
