//! What follows a fault: the factor on the learning rate, its recovery, the bounds, the log; and a training that is saved.

use crate::{guard, healthy, noise};
use lrpilot_core::guard::{AuditEvent, AuditKind, Fault, Guard, GuardConfig, Verdict};

const NAN: f64 = f64::NAN;

/// Gradient descent on ½ Σ hᵢwᵢ² with noisy gradients; the LR becomes 30 times as large at step 300 and stays so.
/// Returns the loss at the end, roll-backs and whether the guard gave up.
fn quadratic(mut guard: Option<Guard>) -> (f64, usize, bool) {
    let curvature = [1.0, 0.3, 0.1];
    let (mut w, mut snapshot) = ([1.0, -1.0, 1.0], [1.0, -1.0, 1.0]);
    let loss = |w: &[f64; 3]| 0.5 * w.iter().zip(curvature).map(|(w, h)| h * w * w).sum::<f64>();
    let mut rollbacks = 0;
    for step in 1..=2000 {
        let lr = if step < 300 { 0.1 } else { 3.0 } * guard.as_ref().map_or(1.0, Guard::lr_factor);
        let told = loss(&w);
        for (i, (w, h)) in w.iter_mut().zip(curvature).enumerate() {
            *w -= lr * h * (*w - 0.1 * noise(3 * step + i as u64));
        }
        let Some(guard) = &mut guard else { continue };
        match guard.step(step, told, None) {
            Verdict::Healthy => {}
            Verdict::RollBack { .. } => (w, rollbacks) = (snapshot, rollbacks + 1),
            Verdict::GiveUp { .. } => return (loss(&snapshot), rollbacks, true),
        }
        if step % 50 == 0 && guard.snapshot_taken(step) {
            snapshot = w;
        }
    }
    (loss(&w), rollbacks, false)
}

/// Above a learning rate of 2 the steepest direction diverges; a half of 3 converges. The factor recovers after the first
/// fault, not after the second.
#[test]
fn a_training_with_a_learning_rate_that_is_too_high_is_saved() {
    let (alone, _, _) = quadratic(None);
    assert!(!alone.is_finite() || alone > 1e100, "{alone}");
    let (loss, rollbacks, gave_up) = quadratic(Some(guard()));
    assert!(loss < 0.1 && (1..=4).contains(&rollbacks) && !gave_up, "{loss} after {rollbacks} roll-backs");
}

#[test]
fn the_factor_multiplies_and_recovers() {
    let config = GuardConfig { lr_factor: 0.5, recovery_steps: 100, ..GuardConfig::default() };
    let mut guard = Guard::new(config).unwrap();
    let mut factors = Vec::new();
    for step in 1..=1000u64 {
        let faulty = step == 100 || step == 400;
        let _ = guard.step(step, if faulty { NAN } else { 1.0 }, None);
        assert!(step % 10 != 0 || faulty || guard.snapshot_taken(step));
        factors.push(guard.lr_factor());
    }
    let at = |step: usize| factors[step - 1];
    assert_eq!((at(99), at(100), at(399), at(400), at(1000)), (1.0, 0.5, 1.0, 0.5, 0.5));
    assert!((at(150) - 0.75).abs() < 1e-12, "half-way after half of the steps: {}", at(150));
    // The second fault leaves a ceiling of a half, which is reached at once, so that only the first recovery is an event.
    let events = guard.drain_events();
    let kinds: Vec<(u64, AuditKind)> = events.iter().map(|e| (e.step, e.kind)).collect();
    assert_eq!(kinds, [(100, AuditKind::RollBack), (200, AuditKind::Recovered), (400, AuditKind::RollBack)]);
    assert!(guard.drain_events().is_empty());
}

#[test]
fn without_recovery_the_factor_stays() {
    let mut guard = Guard::new(GuardConfig { recovery_steps: 0, ..GuardConfig::default() }).unwrap();
    let _ = guard.step(1, NAN, None);
    assert!((2..5000).all(|step| guard.step(step, 1.0, None) == Verdict::Healthy));
    assert_eq!(guard.lr_factor(), 0.5);
}

#[test]
fn a_fault_that_persists_ends_the_run() {
    let mut guard = guard();
    let verdicts: Vec<Verdict> = (1..=5).map(|step| guard.step(step, NAN, None)).collect();
    let back = |lr_factor| Verdict::RollBack { lr_factor, reason: Fault::NotFinite };
    let up = Verdict::GiveUp { reason: Fault::NotFinite };
    assert_eq!(verdicts, [back(0.5), back(0.25), back(0.125), up, up]);
    assert_eq!(guard.step(6, 1.0, None), up, "it does not change its mind");
    assert!(!guard.is_calm() && !guard.snapshot_taken(6));
    let kinds: Vec<AuditKind> = guard.drain_events().iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [AuditKind::RollBack, AuditKind::RollBack, AuditKind::RollBack, AuditKind::GiveUp]);
}

/// With a snapshot between the faults only the bound of the whole run counts.
#[test]
fn roll_backs_are_bounded_over_the_run() {
    let mut guard = guard();
    let mut rollbacks = 0;
    for step in 1..=10_000 {
        match guard.step(step, if step % 100 == 0 { NAN } else { 1.0 }, None) {
            Verdict::Healthy => assert!(guard.snapshot_taken(step)),
            Verdict::RollBack { .. } => rollbacks += 1,
            Verdict::GiveUp { .. } => break,
        }
    }
    assert_eq!(rollbacks, GuardConfig::default().max_rollbacks);
}

/// In a spike no snapshot is good; after the roll-back the guard judges by what it knew at the snapshot.
#[test]
fn a_snapshot_in_a_spike_is_not_taken() {
    let mut guard = guard();
    let mut losses = healthy(320);
    losses[300..].iter_mut().for_each(|loss| *loss += 3.0);
    let mut refused = 0;
    for (step, loss) in (1..).zip(&losses) {
        let verdict = guard.step(step, *loss, None);
        if step == 300 {
            assert!(guard.snapshot_taken(step));
        }
        if step > 301 {
            refused += usize::from(!guard.is_calm());
        }
        if verdict != Verdict::Healthy {
            break;
        }
    }
    assert!(refused > 0);
    assert!(guard.is_calm(), "it is back at the snapshot");
    let event: AuditEvent = guard.drain_events().remove(0);
    assert_eq!((event.snapshot_step, event.fault), (300, Some(Fault::Spike)));
    assert!((event.level.unwrap() - 1.0).abs() < 0.6 && event.deviation.unwrap() > 4.0, "{event:?}");
    assert!(!event.to_json_line().contains('\n'));
    assert!(event.reason.ends_with("back to the snapshot of step 300, learning rate times 0.5"), "{}", event.reason);
}
