//! A saved guard goes on to the same bits; settings say what is wrong with them.

use crate::{guard, healthy};
use lrpilot_core::guard::{Guard, GuardConfig, GuardState, Verdict};

/// Loss and verdict of every step, restored at each hundredth one from JSON.
#[test]
fn a_restored_guard_goes_on_to_the_same_bits() {
    let mut losses = healthy(1000);
    losses[250] = f64::NAN;
    losses[610..615].iter_mut().for_each(|loss| *loss += 3.0);
    let run = |restored: bool| {
        let mut guard = guard();
        let mut seen = Vec::new();
        for (step, loss) in (1..).zip(&losses) {
            let verdict = guard.step(step, *loss, Some(0.1 * loss));
            let kept = step % 50 == 0 && guard.snapshot_taken(step);
            seen.push((verdict, kept, guard.lr_factor().to_bits()));
            if restored && step % 100 == 0 {
                let text = serde_json::to_string(guard.state()).unwrap();
                assert!(step != 300 || text.contains("NaN"), "the log is part of the state");
                guard = crate::guard();
                guard.set_state(serde_json::from_str(&text).unwrap()).unwrap();
            }
        }
        (seen, guard.state().clone())
    };
    let (verdicts, state) = run(true);
    let rollbacks = verdicts.iter().filter(|(verdict, ..)| *verdict != Verdict::Healthy).count();
    assert_eq!(rollbacks, 2);
    // NaN is not equal to itself; its text is.
    let (expected, expected_state) = run(false);
    assert_eq!(verdicts, expected);
    assert_eq!(serde_json::to_string(&state).unwrap(), serde_json::to_string(&expected_state).unwrap());
}

#[test]
fn a_state_that_is_none_is_refused() {
    let text = serde_json::to_string(guard().state()).unwrap();
    let broken: GuardState = serde_json::from_str(&text.replace("\"lr_factor\":1.0", "\"lr_factor\":0.0")).unwrap();
    let error = guard().set_state(broken).unwrap_err();
    assert_eq!(error.to_string(), "guard.state.lr_factor: 0 is not a number in (0, 1]; give one that is");
}

#[test]
fn settings_are_checked() {
    let text = serde_json::to_string(&GuardConfig::default()).unwrap();
    assert_eq!(serde_json::from_str::<GuardConfig>(&text).unwrap(), GuardConfig::default());
    assert!(serde_json::from_str::<GuardConfig>(r#"{"spike_shares": 1}"#).is_err());
    for wrong in [
        r#"{"warm_up_steps": 0}"#,
        r#"{"memory_intervals": 0}"#,
        r#"{"drift_blocks": 1}"#,
        r#"{"spike_clip": 1.0}"#,
        r#"{"spike_share": -0.1}"#,
        r#"{"enormous": 0}"#,
        r#"{"lr_factor": 1.0}"#,
        r#"{"lr_factor": 0.0}"#,
    ] {
        let config: GuardConfig = serde_json::from_str(wrong).unwrap();
        let key = wrong.split('"').nth(1).unwrap();
        let error = Guard::new(config).unwrap_err().to_string();
        assert!(error.starts_with(&format!("guard.{key}: ")) && error.contains("; give "), "{error}");
    }
}
