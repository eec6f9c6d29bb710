//! Whatever is fed: no panic, a factor in (0, 1], bounded roll-backs, a state that survives JSON.

use lrpilot_core::Measurement;
use lrpilot_core::guard::{Guard, GuardConfig, GuardState, Verdict};
use proptest::prelude::*;

fn any_loss() -> impl Strategy<Value = f64> {
    prop_oneof![8 => -10.0..10.0f64, 2 => any::<f64>(), 1 => Just(0.0), 1 => Just(f64::NAN), 1 => Just(1e300)]
}

proptest! {
    #[test]
    fn never_breaks(
        feed in proptest::collection::vec((any_loss(), proptest::option::of(any_loss()), 0..4u8, any::<u16>()), 1..400),
        lr_factor in prop_oneof![Just(0.5), Just(f64::MIN_POSITIVE), Just(0.999)],
        (warm_up_steps, memory_steps, max_in_a_row) in (1..10u32, 1..10u32, 0..100u32),
        recovery_steps in prop_oneof![Just(0u64), 1..100u64],
    ) {
        let config =
            GuardConfig { lr_factor, warm_up_steps, memory_steps, max_in_a_row, recovery_steps, ..GuardConfig::default() };
        let mut guard = Guard::new(config.clone()).unwrap();
        let (mut rollbacks, mut given_up) = (0, false);
        for (loss, other, action, step) in feed {
            let step = u64::from(step);
            let verdict = if action == 0 {
                guard.interval(&Measurement { steps: step, train_loss: other, val_loss: Some(loss), ..Default::default() })
            } else {
                guard.step(step, loss, other)
            };
            prop_assert!(!given_up || matches!(verdict, Verdict::GiveUp { .. }), "{:?}", verdict);
            prop_assert!(loss.is_finite() || verdict != Verdict::Healthy);
            match verdict {
                Verdict::Healthy => {}
                Verdict::RollBack { lr_factor, .. } => {
                    rollbacks += 1;
                    prop_assert_eq!(lr_factor, guard.lr_factor());
                }
                Verdict::GiveUp { .. } => given_up = true,
            }
            if action == 1 {
                prop_assert_eq!(guard.is_calm(), guard.snapshot_taken(step));
            }
            prop_assert!(guard.lr_factor() > 0.0 && guard.lr_factor() <= 1.0);
        }
        prop_assert!(rollbacks <= config.max_rollbacks);
        let text = serde_json::to_string(guard.state()).unwrap();
        let state: GuardState = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&state).unwrap(), text);
        prop_assert!(guard.drain_events().len() <= 2 * rollbacks as usize + 1);
    }
}
