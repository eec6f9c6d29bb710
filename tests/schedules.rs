//! Schedules against PyTorch and transformers (`tests/golden/schedules.py`), and what must hold for all of them.

use lrpilot::schedule::metric::MetricState;
use lrpilot::schedule::{MetricDriven, OpenLoop};
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
    let OpenLoop::OneCycle { div_factor, final_div_factor, three_phase, linear, .. } = OpenLoop::one_cycle(10) else {
        unreachable!()
    };
    let schedule =
        OpenLoop::OneCycle { total_steps: 10, pct_start: 0.1, div_factor, final_div_factor, three_phase, linear };
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
        OpenLoop::Constant { factor: 2.0, total_iters: 3 },
        OpenLoop::Sequential { schedules: vec![OpenLoop::Fixed {}], milestones: vec![3] },
    ];
    for schedule in bad {
        assert_eq!(schedule.check().unwrap_err().exit_code(), 78, "{schedule:?}");
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
