//! The guard beside real training runs: forty healthy ones of all kinds, and faults put into them.

#[path = "../examples/guard_false_alarms/runs.rs"]
mod runs;

use lrpilot_core::guard::GuardConfig;
use runs::{Injected, Trace, mean, train};

fn healthy() -> Vec<Trace> {
    let traces = (0..40).map(|index| train(index, None).unwrap());
    traces.filter(|trace| trace.losses.len() <= 1000 && trace.is_healthy()).collect()
}

#[test]
fn healthy_runs_are_left_alone_and_faults_are_found() {
    let (traces, config) = (healthy(), GuardConfig::default());
    assert!(traces.len() >= 20, "{}", traces.len());
    let alarm = |trace: &Trace| trace.first_alarm(&config).unwrap().map(|alarm| (trace.kind.clone(), trace.lr, alarm));
    let alarms: Vec<_> = traces.iter().filter_map(alarm).collect();
    // docs/lab/guard.md has 1 % over 1,000 runs, most of them noisy quadratics at the edge, of which one is here.
    assert!(alarms.len() <= 1, "{alarms:?}");
    let alarms = traces.iter().filter(|trace| trace.first_alarm_of_intervals(&config).unwrap().is_some()).count();
    assert!(alarms <= 1, "{alarms}");
    for injected in Injected::ALL {
        let faulty = |trace: &Trace| injected.put_into(trace, trace.losses.len() / 2);
        let caught: Vec<bool> =
            traces.iter().filter_map(faulty).map(|trace| trace.first_alarm(&config).unwrap().is_some()).collect();
        let missed = caught.iter().filter(|caught| !**caught).count();
        // A spike in heavy noise may be missed, as in the notebook.
        assert!(caught.len() >= 5 && missed <= usize::from(injected == Injected::Spike), "{injected:?}: {caught:?}");
    }
}

/// With thirty times the largest learning rate that trains, where that is the end of learning.
#[test]
fn a_learning_rate_that_is_far_too_high_is_found() {
    let mut harmed = 0;
    for index in 0..20 {
        let trace = train(index, Some(300)).unwrap();
        let (before, after) = (mean(&trace.losses[250..300]), mean(&trace.losses[trace.losses.len() - 50..]));
        if !after.is_finite() || after > mean(&trace.losses[..3]) {
            harmed += 1;
            let (at, _) = trace.first_alarm(&GuardConfig::default()).unwrap().expect("a fault in what does harm");
            assert!((300..400).contains(&at), "run {index}: from {before} to {after}, found at step {at}");
        }
    }
    assert!(harmed >= 10, "{harmed}");
}
