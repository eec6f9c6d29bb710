//! The anchor against its formula, and where there is nothing to compute it from.

use lrpilot_core::{AnchorRule, Group, Measurement, OptimizerFamily, RunSpec};
use proptest::prelude::*;

const BOUNDS: (f64, f64) = (1e-6, 4.0);

fn probe(weight_norms: &[f64], grad_norms: &[f64]) -> Measurement {
    Measurement { weight_norms: weight_norms.to_vec(), grad_norms: grad_norms.to_vec(), ..Measurement::default() }
}

fn groups(n: usize) -> Vec<Group> {
    (0..n).map(|i| Group::new(format!("{i}"), 10 * (i + 1))).collect()
}

proptest! {
    /// The geometric mean as the n-th root of the product, the root mean square over all values, then the bounds.
    #[test]
    fn is_its_formula(norms in proptest::collection::vec((1e-3f64..1e3, 1e-3f64..1e3), 1..6), factor in 1e-4f64..10.0) {
        let (w, g): (Vec<f64>, Vec<f64>) = norms.iter().copied().unzip();
        let n = w.len();
        let product: f64 = norms.iter().map(|(w, g)| w / g).product();
        let over = (factor * product.powf(1.0 / n as f64)).clamp(BOUNDS.0, BOUNDS.1);
        let ours = AnchorRule::WeightOverGradient(factor).lr(&probe(&w, &g), &groups(n), BOUNDS);
        prop_assert!((ours / over - 1.0).abs() < 1e-9);
        let size: usize = (1..=n).map(|i| 10 * i).sum();
        let rms = (factor * (w.iter().map(|w| w * w).sum::<f64>() / size as f64).sqrt()).clamp(BOUNDS.0, BOUNDS.1);
        let ours = AnchorRule::WeightRms(factor).lr(&probe(&w, &g), &groups(n), BOUNDS);
        prop_assert!((ours / rms - 1.0).abs() < 1e-9);
    }
}

#[test]
fn absent_norms_give_the_middle_of_the_bounds() {
    // √(1e-6 · 4)
    let middle = 2e-3;
    let over = AnchorRule::WeightOverGradient(0.01);
    let rms = AnchorRule::WeightRms(0.01);
    let near =
        |rule: AnchorRule, probe: &Measurement| (rule.lr(probe, &groups(2), BOUNDS) / middle - 1.0).abs() < 1e-12;
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    for nothing in [
        probe(&[], &[]),
        probe(&[1.0, 2.0], &[]),
        probe(&[0.0, 0.0], &[1.0, 1.0]),
        probe(&[1.0, 1.0], &[0.0, 0.0]),
        probe(&[nan, nan], &[1.0, 1.0]),
        probe(&[infinity, 1.0], &[1.0, 1.0]),
    ] {
        assert!(near(over, &nothing), "{nothing:?}");
    }
    for nothing in [probe(&[], &[1.0, 1.0]), probe(&[nan, 1.0], &[]), probe(&[infinity, 1.0], &[])] {
        assert!(near(rms, &nothing), "{nothing:?}");
    }
    // A group without weights (a fresh bias) is left out of the mean.
    let lr = over.lr(&probe(&[0.0, 6.0], &[1.0, 2.0]), &groups(2), BOUNDS);
    assert!((lr - 0.03).abs() < 1e-15);
}

/// The rule and the bounds are the optimizer's.
#[test]
fn a_run_has_its_optimizers_rule() {
    let m = probe(&[3.0, 4.0], &[1.0, 1.0]);
    let lr = |family| RunSpec::new(5, family, groups(2)).anchor_lr(&m);
    // √12 = ‖w‖/‖g‖ in the geometric mean; √(25/30) is the root mean square.
    let cases = [
        (OptimizerFamily::Sgd { momentum: 0.0 }, 1e-2 * 12f64.sqrt()),
        (OptimizerFamily::Sgd { momentum: 0.9 }, 1e-3 * 12f64.sqrt()),
        (OptimizerFamily::Adam, 1e-2 * (25f64 / 30.0).sqrt()),
        (OptimizerFamily::Adagrad, 0.1 * (25f64 / 30.0).sqrt()),
        (OptimizerFamily::Adadelta, 10.0 * (25f64 / 30.0).sqrt()),
    ];
    for (family, want) in cases {
        assert!((lr(family) / want - 1.0).abs() < 1e-12, "{family:?}: {}", lr(family));
    }
}
