//! Optimizers against PyTorch (`tests/golden/optimizers.py`), state and norms against their definitions.

use lrpilot::nn::kernels::sums::sum_sq;
use lrpilot::nn::{Optimizer, OptimizerSpec, StepNorms};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    lrs: Vec<f64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    spec: OptimizerSpec,
    trajectory: Vec<Vec<f32>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/optimizers.json")).unwrap()
}

/// f32 rounding alone: a few units in the last place of the largest parameter.
#[test]
fn trajectories_equal_pytorch() {
    let golden = golden();
    for case in &golden.cases {
        case.spec.check().unwrap();
        let mut optimizer = Optimizer::new(case.spec.clone(), golden.start.len());
        let mut w = golden.start.clone();
        for (step, want) in case.trajectory.iter().enumerate() {
            optimizer.step(&mut w, &golden.gradients[step], golden.lrs[step]);
            for (i, (w, want)) in w.iter().zip(want).enumerate() {
                assert!((w - want).abs() <= 2e-6, "{:?}, step {step}, parameter {i}: {w} against {want}", case.spec);
            }
        }
    }
}

#[test]
fn a_restored_state_goes_on_to_the_same_bits_and_reset_forgets() {
    let golden = golden();
    for case in &golden.cases {
        let run = |optimizer: &mut Optimizer, w: &mut Vec<f32>, steps: std::ops::Range<usize>| {
            steps.for_each(|s| optimizer.step(w, &golden.gradients[s], golden.lrs[s]));
        };
        let mut first = Optimizer::new(case.spec.clone(), golden.start.len());
        let mut w = golden.start.clone();
        run(&mut first, &mut w, 0..5);
        let mut second = Optimizer::new(case.spec.clone(), golden.start.len());
        second.set_state(first.state());
        let mut other = w.clone();
        run(&mut first, &mut w, 5..12);
        run(&mut second, &mut other, 5..12);
        assert_eq!(w, other, "{:?}", case.spec);
        first.reset();
        let mut again = golden.start.clone();
        run(&mut first, &mut again, 0..12);
        assert_eq!(again, w, "{:?}", case.spec);
    }
}

/// Σ(Δw)² of each layer, from the parameters before and after, which are rounded to 6e-8 themselves; Σg² to the bit.
#[test]
fn update_norms_match_the_definition() {
    let golden = golden();
    let layers = [0..3, 3..8];
    for case in &golden.cases {
        let mut optimizer = Optimizer::new(case.spec.clone(), golden.start.len());
        let mut w = golden.start.clone();
        for step in 0..golden.lrs.len() {
            let before = w.clone();
            let mut norms = [StepNorms::default(); 2];
            optimizer.step_with_norms(&mut w, &golden.gradients[step], golden.lrs[step], &layers, &mut norms);
            for (range, StepNorms { update_sq: sum, grad_sq }) in layers.iter().zip(norms) {
                assert_eq!(grad_sq, sum_sq(&golden.gradients[step][range.clone()]));
                let want: f64 = range.clone().map(|i| f64::from(w[i] - before[i]).powi(2)).sum();
                assert!(
                    (sum.sqrt() - want.sqrt()).abs() <= 3e-7 + 1e-5 * want.sqrt(),
                    "{:?}, step {step}: {sum} against {want}",
                    case.spec
                );
            }
        }
    }
}

/// The gradient's sum of squares is the same number whoever takes it: below and at the edges of blocks and lanes.
#[test]
fn gradient_norms_are_to_the_bit_those_of_the_sum() {
    for n in [0, 1, 15, 16, 17, 511, 512, 513, 1023, 1024, 1025, 1040, 1536, 2048, 2050, 5000] {
        let g: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut norms = [StepNorms::default()];
        let mut sgd = Optimizer::new(OptimizerSpec::default(), n);
        sgd.step_with_norms(&mut vec![1.0; n], &g, 0.1, std::slice::from_ref(&(0..n)), &mut norms);
        assert_eq!(norms[0].grad_sq, sum_sq(&g), "n = {n}");
    }
}

/// A controller may change momentum and weight decay; leaving them alone goes back to the optimizer's own.
#[test]
fn momentum_and_weight_decay_can_be_changed() {
    let spec = |momentum, weight_decay| OptimizerSpec::Sgd { momentum, nesterov: false, weight_decay };
    let mut changed = Optimizer::new(spec(0.9, 0.0), 1);
    let mut fixed = Optimizer::new(spec(0.5, 0.1), 1);
    let (mut a, mut b) = ([1.0], [1.0]);
    changed.set_hyperparameters(Some(0.5), Some(0.1));
    for _ in 0..3 {
        changed.step(&mut a, &[0.3], 0.1);
        fixed.step(&mut b, &[0.3], 0.1);
    }
    assert_eq!(a, b);
    changed.set_hyperparameters(None, None);
    changed.step(&mut a, &[0.3], 0.1);
    fixed.step(&mut b, &[0.3], 0.1);
    assert_ne!(a, b);
}

/// 1 − β is PyTorch's: the difference in f64, then rounded. In f32, 1 − 0.999 is off by 1.3e-5. After one step on a
/// gradient of 1, the averages are 1 − β.
#[test]
fn averages_take_in_one_minus_beta_rounded_once() {
    let cases = [
        (r#"{"type": "adam"}"#, 0, 0.1),
        (r#"{"type": "adam"}"#, 1, 0.001),
        (r#"{"type": "adamw"}"#, 1, 0.001),
        (r#"{"type": "adadelta"}"#, 0, 0.1),
        (r#"{"type": "rmsprop"}"#, 0, 0.01),
    ];
    for (spec, tensor, want) in cases {
        let mut optimizer = Optimizer::new(serde_json::from_str(spec).unwrap(), 1);
        optimizer.step(&mut [0.0], &[1.0], 0.1);
        let got = optimizer.state().tensors[tensor][0];
        assert!((got - want).abs() <= f32::EPSILON * want, "{spec}, tensor {tensor}: {got} against {want}");
    }
}
