//! The guard: faults put into losses, a real training that it saves, any numbers at all.

mod any_feed;
mod faults;
mod rollback;
mod state;

use lrpilot_core::guard::{Fault, Guard, GuardConfig, Verdict};

/// A number in [−1, 1] that depends on nothing but `n` (the mixing function of SplitMix64).
fn noise(n: u64) -> f64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / (u64::MAX / 2) as f64 - 1.0
}

/// A loss that falls from 5 to 1 over some hundred steps, with noise of batches.
fn healthy(n: u64) -> Vec<f64> {
    (0..n).map(|t| 1.0 + 4.0 * (-(t as f64) / 60.0).exp() + 0.2 * noise(t)).collect()
}

fn guard() -> Guard {
    Guard::new(GuardConfig::default()).unwrap()
}

/// The first fault in `losses` and where it is.
fn first_fault(losses: &[f64]) -> Option<(usize, Fault)> {
    let mut guard = guard();
    losses.iter().enumerate().find_map(|(at, loss)| match guard.step(at as u64 + 1, *loss, None) {
        Verdict::Healthy => None,
        Verdict::RollBack { reason, .. } | Verdict::GiveUp { reason } => Some((at, reason)),
    })
}
