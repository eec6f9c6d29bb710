//! Schedules against PyTorch and transformers (`tests/golden/schedules.py`), and what must hold for all of them.

use lrpilot::schedule::metric::{Better, MetricState};
use lrpilot::schedule::{GreedyLr, MetricDriven, OpenLoop, Plateau};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
struct Golden {
    base: f64,
    open_loop: Vec<OpenLoopCase>,
    metrics: HashMap<String, Vec<Option<f64>>>,
    metric: Vec<MetricCase>,
}

#[derive(Deserialize)]
struct OpenLoopCase {
    spec: OpenLoop,
    lrs: Vec<f64>,
    momenta: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct MetricCase {
    spec: MetricDriven,
    metrics: String,
    lrs: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/schedules.json")).unwrap()
}

/// PyTorch multiplies the last LR by a factor in every step and so gathers rounding that a closed form does not have;
/// near zero it is relative to the base LR.
#[test]
fn open_loop_schedules_equal_pytorch() {
    let golden = golden();
    for case in &golden.open_loop {
        case.spec.check().unwrap();
        for (step, want) in case.lrs.iter().enumerate() {
            let lr = case.spec.lr(golden.base, step);
            assert!(
                (lr - want).abs() <= 1e-12 * golden.base + 1e-9 * want,
                "{:?}, step {step}: {lr} against {want}",
                case.spec
            );
            match (&case.momenta, case.spec.momentum(step)) {
                (Some(momenta), Some(momentum)) => {
                    assert!((momentum - momenta[step]).abs() < 1e-12, "{:?}, step {step}: {momentum}", case.spec);
                }
                (None, None) => {}
                other => panic!("{:?}: momentum {other:?}", case.spec),
            }
        }
    }
}

#[test]
fn metric_driven_schedules_equal_the_originals() {
    let golden = golden();
    for case in &golden.metric {
        let mut state = MetricState::new(case.spec.clone(), golden.base);
        let metrics = &golden.metrics[&case.metrics];
        for (step, (metric, want)) in metrics.iter().zip(&case.lrs).enumerate() {
            let lr = state.step(metric.unwrap_or(f64::NAN));
            assert!(
                (lr - want).abs() <= 1e-12,
                "{:?} on {}, step {step}: {lr} against {want}",
                case.spec,
                case.metrics
            );
        }
    }
}

/// No PyTorch class does these in one: the closed forms, by hand.
#[test]
fn warm_up_and_warm_up_stable_decay() {
    let warmup = OpenLoop::Warmup { steps: 4, then: Box::new(OpenLoop::cosine(10)) };
    let lrs: Vec<f64> = (0..5).map(|t| warmup.lr(1.0, t)).collect();
    assert_eq!(lrs, [0.25, 0.5, 0.75, 1.0, 1.0]);
    assert_eq!(warmup.lr(1.0, 9), OpenLoop::cosine(10).lr(1.0, 5));
    let wsd = OpenLoop::WarmupStableDecay { warmup: 2, stable: 3, decay: 4 };
    let lrs: Vec<f64> = (0..11).map(|t| wsd.lr(1.0, t)).collect();
    assert_eq!(lrs, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
}

/// A first phase of no length: the largest LR at once.
#[test]
fn one_cycle_with_an_empty_phase_has_no_nan() {
    let mut schedule = OpenLoop::one_cycle(10);
    if let OpenLoop::OneCycle { pct_start, .. } = &mut schedule {
        *pct_start = 0.1;
    }
    let lrs: Vec<f64> = (0..12).map(|t| schedule.lr(1.0, t)).collect();
    assert_eq!(lrs[0], 1.0);
    assert!(lrs.iter().all(|lr| lr.is_finite() && *lr >= 0.0), "{lrs:?}");
}

#[test]
fn impossible_settings_are_refused() {
    let bad = [
        OpenLoop::cosine(0),
        OpenLoop::one_cycle(1),
        OpenLoop::Step { step_size: 0, gamma: 0.1 },
        OpenLoop::Exponential { gamma: f64::NAN },
        OpenLoop::ConstantLr { factor: 2.0, total_iters: 3 },
        OpenLoop::Sequential { schedules: vec![OpenLoop::Constant {}], milestones: vec![3] },
    ];
    for schedule in bad {
        assert!(schedule.check().is_err(), "{schedule:?}");
    }
}

proptest! {
    #[test]
    fn learning_rates_are_finite_and_not_negative(
        n in 2usize..200, step in 0usize..1000, gamma in 0.0f64..1.0, base in 1e-6f64..10.0,
    ) {
        let schedules = [
            OpenLoop::cosine(n),
            OpenLoop::one_cycle(n),
            OpenLoop::Exponential { gamma },
            OpenLoop::Polynomial { total_iters: n, power: gamma },
            OpenLoop::CosineWarmRestarts { t_0: n, t_mult: 2, eta_min: 0.0 },
            OpenLoop::WarmupStableDecay { warmup: n, stable: n, decay: n },
        ];
        for schedule in schedules {
            schedule.check().unwrap();
            let lr = schedule.lr(base, step);
            prop_assert!(lr.is_finite() && lr >= 0.0, "{schedule:?}: {lr}");
        }
    }
}

/// As long as the cosine restarts with the same period, no step is far away.
#[test]
fn warm_restarts_take_no_time_at_any_step() {
    let schedule = OpenLoop::CosineWarmRestarts { t_0: 7, t_mult: 1, eta_min: 0.0 };
    assert_eq!(schedule.lr(1.0, 7_000_000_000_000 + 3), schedule.lr(1.0, 3));
}

#[test]
fn metric_driven_settings_are_checked() {
    let good = [MetricDriven::Plateau(Plateau::default()), MetricDriven::Greedy(GreedyLr::default())];
    assert!(good.iter().all(|s| s.check().is_ok()));
    let plateau = |change: fn(&mut Plateau)| {
        let mut p = Plateau::default();
        change(&mut p);
        MetricDriven::Plateau(p)
    };
    let greedy = |change: fn(&mut GreedyLr)| {
        let mut g = GreedyLr::default();
        change(&mut g);
        MetricDriven::Greedy(g)
    };
    let bad = [
        ("factor", plateau(|p| p.factor = 1.0)),
        ("threshold", plateau(|p| p.threshold = -1.0)),
        ("eps", plateau(|p| p.eps = f64::NAN)),
        ("factor", greedy(|g| g.factor = 0.0)),
        ("min_lr", greedy(|g| g.min_lr = -1.0)),
        ("max_lr", greedy(|g| g.max_lr = 1e-4)),
        ("window_size", greedy(|g| g.window_size = 0)),
        ("reset_start", greedy(|g| g.reset_start = -1)),
    ];
    for (key, schedule) in bad {
        let error = schedule.check().unwrap_err();
        assert!(error.to_string().contains(key), "{key}: {error}");
    }
}

/// A NaN in the smoothing window, or an infinite best metric, is what JSON has no number for.
#[test]
fn a_saved_state_goes_on_to_the_same_values() {
    let specs = [
        MetricDriven::Greedy(GreedyLr { smooth: true, window_size: 4, patience: 1, ..GreedyLr::default() }),
        MetricDriven::Plateau(Plateau { mode: Better::Max, patience: 0, ..Plateau::default() }),
    ];
    for spec in specs {
        let mut state = MetricState::new(spec, 0.1);
        for metric in [1.0, f64::NAN, f64::INFINITY, 0.5] {
            state.step(metric);
            let mut copy: MetricState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            let mut original = state.clone();
            for metric in [0.4, 0.3, f64::NAN, 0.2, 0.1] {
                assert_eq!(copy.step(metric).to_bits(), original.step(metric).to_bits());
            }
        }
    }
}
