//! The state of a running schedule, through JSON text, for every kind of schedule.

use crate::controller::{run, spec};
use lrpilot_core::control::Action;
use lrpilot_core::schedule::metric::Better;
use lrpilot_core::schedule::{GreedyLr, MetricDriven, Plateau, Provenance};
use lrpilot_core::{Decision, Hyperparameters, Learned, Measurement, Policy, RunningSchedule, Schedule};

const HORIZON: usize = 9;

fn learned() -> Schedule {
    let sizes = vec![25, 3, 1];
    let params = (0..Policy::param_count(&sizes)).map(|i| (i as f32 * 1.7).sin() * 0.4).collect();
    let network = Policy::new(sizes, params, None);
    let spec = spec(Action::Multiplicative { step: 0.5 });
    Schedule::learned(Learned::new(network, spec, run(HORIZON), Provenance::default()).unwrap())
}

fn schedules() -> Vec<Schedule> {
    let plateau = Plateau { mode: Better::Max, patience: 1, cooldown: 1, ..Plateau::default() };
    let greedy = GreedyLr { patience: 0, smooth: true, window_size: 3, warmup: 1, ..GreedyLr::default() };
    vec![
        Schedule::cosine(0.1, HORIZON),
        Schedule::one_cycle(0.1, HORIZON),
        Schedule::Metric { schedule: MetricDriven::Plateau(plateau), lr: 0.1 },
        Schedule::Metric { schedule: MetricDriven::Greedy(greedy), lr: 0.1 },
        Schedule::Replay { lrs: (1..=6).map(|i| 0.1 / f64::from(i)).collect() },
        learned(),
    ]
}

/// Losses that rise and fall, one that is no number, and an interval that diverged.
fn measured(interval: usize) -> Measurement {
    let loss = [2.0, 1.5, 1.7, f64::NAN, 0.9, 1.0, 0.8, 0.7, 0.75, 0.6][interval];
    Measurement { interval, train_loss: Some(loss), diverged: interval == 3 || interval == 7, ..Measurement::default() }
}

fn start(schedule: &Schedule) -> RunningSchedule {
    schedule.start(&run(HORIZON), &measured(0)).unwrap()
}

/// Decisions and hyperparameters of the intervals from `first` on.
fn go_on(running: &mut RunningSchedule, first: usize) -> Vec<(Decision, Hyperparameters)> {
    (first..=HORIZON).map(|i| (running.observe(&measured(i)), running.hyperparameters())).collect()
}

#[test]
fn a_saved_schedule_goes_on_to_the_same_bits() {
    for schedule in schedules() {
        for middle in 0..=HORIZON {
            let mut whole = start(&schedule);
            for i in 1..=middle {
                let _ = whole.observe(&measured(i));
            }
            let text = serde_json::to_string(&whole.state()).unwrap();
            let mut other = start(&schedule);
            other.set_state(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(other.hyperparameters(), whole.hyperparameters(), "{schedule:?} after {middle}");
            let again = serde_json::to_string(&other.state()).unwrap();
            assert_eq!(again, text, "{schedule:?} after {middle}");
            let (ours, want) = (go_on(&mut other, middle + 1), go_on(&mut whole, middle + 1));
            assert_eq!(ours, want, "{schedule:?} after {middle}");
        }
        let lrs: Vec<f64> = go_on(&mut start(&schedule), 1).iter().map(|(_, h)| h.lr).collect();
        assert!(lrs.windows(2).any(|w| w[0] != w[1]), "{schedule:?} moves the LR: {lrs:?}");
    }
    assert!(go_on(&mut start(&learned()), 1).iter().any(|(decision, _)| *decision == Decision::RollBack));
}

#[test]
fn a_state_of_another_kind_is_refused() {
    let kinds = [0, 2, 4, 5].map(|i| schedules().remove(i));
    for (i, schedule) in kinds.iter().enumerate() {
        for (j, other) in kinds.iter().enumerate() {
            let mut running = start(schedule);
            let before = running.state();
            match running.set_state(start(other).state()) {
                Ok(()) => assert_eq!(i, j),
                Err(error) => {
                    assert_ne!(i, j);
                    assert!(error.to_string().contains("another kind of schedule"), "{error}");
                    assert_eq!(running.state(), before, "a refused state changes nothing");
                }
            }
        }
    }
}

/// JSON has no NaN and no infinity, but a state may hold them: in the norms of a probe, or of an interval that diverged and
/// was not undone.
#[test]
fn numbers_that_json_has_not_survive_it() {
    let measured = |v: f64| Measurement {
        train_loss: Some(v),
        grad_norms: vec![v, 1.0],
        weight_norms: vec![1.0, v],
        update_norms: vec![v, v],
        grad_norm_mean: Some(v),
        path_length: Some(v),
        ..Measurement::default()
    };
    for v in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-320, 0.1] {
        let text = serde_json::to_string(&measured(v)).unwrap();
        let copy: Measurement = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{copy:?}"), format!("{:?}", measured(v)));
        let mut first = learned().start(&run(HORIZON), &measured(v)).unwrap();
        let text = serde_json::to_string(&first.state()).unwrap();
        let mut second = learned().start(&run(HORIZON), &Measurement::default()).unwrap();
        second.set_state(serde_json::from_str(&text).unwrap()).unwrap();
        // The roll-back goes back to the probe.
        let lost = Measurement { diverged: true, ..measured(v) };
        assert_eq!((first.observe(&lost), second.observe(&lost)), (Decision::RollBack, Decision::RollBack));
        assert_eq!(first.hyperparameters(), second.hyperparameters());
    }
    let few: Measurement = serde_json::from_str(
        r#"{"interval":1,"steps":2,"grad_norms":[],"weight_norms":[],
        "update_norms":[],"extra_forward_passes":0,"diverged":false,"stuck":false}"#,
    )
    .unwrap();
    assert_eq!(few, Measurement { interval: 1, steps: 2, ..Measurement::default() }, "what is left out is absent");
}
