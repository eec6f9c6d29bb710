//! [`Recorder`] against slow definitions: each number from the list of all steps.

use lrpilot_core::Recorder;
use proptest::prelude::*;

/// Loss, Σg² and Σ(Δw)² of each of two groups, where they were measured.
#[derive(Clone, Debug)]
struct Step {
    loss: f64,
    grad_sq: Option<[f64; 2]>,
    update_sq: Option<[f64; 2]>,
}

fn step() -> impl Strategy<Value = Step> {
    let pair = || proptest::option::weighted(0.7, [0.0f64..9.0, 0.0f64..9.0]);
    (0.0f64..5.0, pair(), pair()).prop_map(|(loss, grad_sq, update_sq)| Step { loss, grad_sq, update_sq })
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn near(ours: Option<f64>, slow: Option<f64>) -> bool {
    match (ours, slow) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * b.abs().max(1.0),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn all_near(ours: &[f64], slow: Option<[f64; 2]>) -> bool {
    match slow {
        Some(slow) => ours.len() == 2 && ours.iter().zip(slow).all(|(a, b)| near(Some(*a), Some(b))),
        None => ours.is_empty(),
    }
}

/// One list for each group.
fn by_group(of: &[Option<[f64; 2]>], f: fn(f64) -> f64) -> [Vec<f64>; 2] {
    [0, 1].map(|group| of.iter().flatten().map(|pair| f(pair[group])).collect())
}

fn both(values: [Option<f64>; 2]) -> Option<[f64; 2]> {
    Some([values[0]?, values[1]?])
}

fn give(recorder: &mut Recorder, s: &Step) -> bool {
    let list = |pair: &Option<[f64; 2]>| pair.map_or(Vec::new(), |p| p.to_vec());
    recorder.step(s.loss, &list(&s.grad_sq), &list(&s.update_sq))
}

proptest! {
    /// Two intervals one after the other, so that the second shows what the first leaves behind.
    #[test]
    fn sums_up_as_defined(intervals in proptest::collection::vec(proptest::collection::vec(step(), 0..9), 2)) {
        let mut recorder = Recorder::new(2);
        let mut steps = 0;
        for (i, interval) in intervals.iter().enumerate() {
            prop_assert!(interval.iter().all(|s| give(&mut recorder, s)));
            steps += interval.len() as u64;
            let m = recorder.finish(Some(0.7), &[1.0, 2.0]);
            prop_assert_eq!((m.interval, m.steps, m.diverged, m.stuck), (i + 1, steps, false, false));
            prop_assert_eq!((m.val_loss, &m.weight_norms[..]), (Some(0.7), &[1.0, 2.0][..]));

            let losses: Vec<f64> = interval.iter().map(|s| s.loss).collect();
            let half = losses.len() / 2;
            prop_assert!(near(m.train_loss, mean(&losses)));
            // A single step is both halves.
            let first = if losses.len() == 1 { &losses[..] } else { &losses[..half] };
            prop_assert!(near(m.train_loss_first_half, mean(first)));
            prop_assert!(near(m.train_loss_second_half, mean(&losses[half..])));

            let grads: Vec<_> = interval.iter().map(|s| s.grad_sq).collect();
            let norms: Vec<f64> = grads.iter().flatten().map(|g| (g[0] + g[1]).sqrt()).collect();
            prop_assert!(all_near(&m.grad_norms, both(by_group(&grads, f64::sqrt).map(|v| mean(&v)))));
            prop_assert!(near(m.grad_norm_mean, mean(&norms)));
            let variance = mean(&norms).map(|c| norms.iter().map(|n| (n - c).powi(2)).sum::<f64>() / norms.len() as f64);
            // The square root of a difference of nearly equal numbers: compared as a variance.
            prop_assert!(near(m.grad_norm_sd.map(|s| s * s), variance));

            let updates: Vec<_> = interval.iter().map(|s| s.update_sq).collect();
            let rms = both(by_group(&updates, |v| v).map(|v| mean(&v).map(f64::sqrt)));
            prop_assert!(all_near(&m.update_norms, rms));
            let moved: Vec<f64> = updates.iter().flatten().map(|u| u[0] + u[1]).collect();
            let path = (!moved.is_empty()).then(|| moved.iter().sum::<f64>().sqrt());
            prop_assert!(near(m.path_length, path));
            prop_assert_eq!((m.displacement, m.val_accuracy, m.step_size), (None, None, None));
        }
    }

    /// Whatever is not finite makes the interval one that diverged, and only that one.
    #[test]
    fn divergence_is_told_once(at in 0usize..5, kind in 0usize..5, value in prop_oneof![Just(f64::NAN), Just(f64::INFINITY)]) {
        let mut recorder = Recorder::new(1);
        let mut fine = true;
        for i in 0..5 {
            let bad = |wanted| if i == at && kind == wanted { value } else { 1.0 };
            fine = recorder.step(bad(0), &[bad(1)], &[1.0]);
            prop_assert_eq!(fine, i < at || kind > 1);
        }
        let val_loss = if kind == 2 { value } else { 1.0 };
        let weight = if kind == 3 { value } else { 1.0 };
        let m = recorder.finish(Some(val_loss), &[weight]);
        prop_assert_eq!(m.diverged, kind < 4);
        prop_assert_eq!(fine, kind > 1);
        recorder.step(1.0, &[1.0], &[1.0]);
        prop_assert!(!recorder.finish(Some(1.0), &[1.0]).diverged);
    }
}

/// The probe is no interval and no step, and has no halves; lists of another length count as not measured.
#[test]
fn probe_and_lists_that_do_not_fit() {
    let mut recorder = Recorder::new(2);
    recorder.probe(2.0, &[9.0, 16.0]);
    let m = recorder.finish(None, &[]);
    assert_eq!((m.interval, m.steps, m.train_loss), (0, 0, Some(2.0)));
    assert_eq!((m.train_loss_first_half, m.train_loss_second_half, m.val_loss), (None, None, None));
    assert_eq!((m.grad_norms, m.grad_norm_mean, m.grad_norm_sd), (vec![3.0, 4.0], Some(5.0), Some(0.0)));
    assert_eq!((m.update_norms, m.path_length), (vec![], None));
    recorder.step(1.0, &[1.0], &[1.0, 2.0, 3.0]);
    let m = recorder.finish(None, &[]);
    assert_eq!((m.interval, m.steps, m.train_loss), (1, 1, Some(1.0)));
    assert_eq!((m.grad_norms, m.grad_norm_mean, m.update_norms, m.path_length), (vec![], None, vec![], None));
    recorder.reset(7, 90);
    recorder.step(1.0, &[], &[]);
    let m = recorder.finish(None, &[]);
    assert_eq!((m.interval, m.steps), (8, 91));
}
