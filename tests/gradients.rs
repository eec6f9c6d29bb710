//! Every coordinate of every layer's gradients, to parameters and to inputs, against central finite differences.

use lrpilot::nn::loss::{cross_entropy, mse};
use lrpilot::nn::model::LayerSpec::{self, *};
use lrpilot::nn::{Mode, Shape, chain::Chain};
use lrpilot::rng::{Purpose, stream};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A loss of outputs that also writes its gradient.
type Loss<'a> = dyn Fn(&[f32], Option<&mut [f32]>) -> f64 + 'a;

/// Multiples of 2⁻²⁰ in [-1, 1): adding a step of at least 2⁻¹³ to one is exact in f32.
fn uniform(n: usize, seed: u64, index: u64) -> Vec<f32> {
    let mut rng = stream(seed, Purpose::Weights, index);
    (0..n).map(|_| rng.random_range(-(1 << 20)..1 << 20) as f32 / (1 << 20) as f32).collect()
}

/// What is differentiated: `Σ weights·y`, in f64, of a training pass with a fixed dropout stream.
struct Case {
    chain: Chain,
    values: [Vec<f32>; 2],
    batch: usize,
    weights: Vec<f32>,
    seed: u64,
}

impl Case {
    fn new(input: Shape, layers: &[LayerSpec], batch: usize, seed: u64) -> Case {
        let chain = Chain::new(input, layers, batch).unwrap();
        let n: usize = chain.params().iter().map(|p| p.len()).sum();
        let weights = uniform(batch * chain.output_shape().len(), seed, 2);
        Case { values: [uniform(n, seed, 0), uniform(batch * input.len(), seed, 1)], chain, batch, weights, seed }
    }

    /// The terms of the objective, one for each output.
    fn terms(&mut self) -> Vec<f64> {
        let mut buffers = vec![0.0; self.chain.buffers().iter().map(|b| b.len()).sum()];
        let mut rng = stream(self.seed, Purpose::Dropout, 0);
        let [p, x] = &self.values;
        self.chain.forward(p, &mut buffers, x, self.batch, &mut Mode::Train(&mut rng));
        self.chain.output(self.batch).iter().zip(&self.weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).collect()
    }

    fn gradients(&mut self) -> [Vec<f32>; 2] {
        self.terms();
        self.chain.output_and_gradient(self.batch).1.copy_from_slice(&self.weights);
        let [p, x] = &self.values;
        let (mut grads, mut dx) = (vec![f32::NAN; p.len()], vec![f32::NAN; x.len()]);
        self.chain.backward(p, x, Some(&mut dx), &mut grads, self.batch);
        [grads, dx]
    }

    /// Difference quotients along coordinate `i` of the parameters (0) or the input (1).
    fn slopes(&mut self, which: usize, i: usize, h: f32) -> Slopes {
        let old = self.values[which][i];
        let [far_below, below, here, above, far_above] = [-h, -h / 2.0, 0.0, h / 2.0, h].map(|step| {
            self.values[which][i] = old + step;
            self.terms()
        });
        self.values[which][i] = old;
        let change = |a: &[f64], b: &[f64]| b.iter().zip(a).map(|(b, a)| b - a).sum::<f64>();
        let step = f64::from(h);
        let (mut all, mut changed) = (0.0, 0.0);
        for (o, (term, w)) in here.iter().zip(&self.weights).enumerate() {
            let size_sq = (f64::from(*w).abs() + term.abs()).powi(2);
            all += size_sq;
            if [&far_below, &below, &above, &far_above].iter().any(|terms| terms[o] != *term) {
                changed += size_sq;
            }
        }
        Slopes {
            below: [change(&far_below, &here) / step, change(&below, &here) / (step / 2.0)],
            above: [change(&here, &far_above) / step, change(&here, &above) / (step / 2.0)],
            rounding: ROUNDINGS * 2f64.powi(-24) * (changed.sqrt() / step + all.sqrt()),
        }
    }

    /// Checks all coordinates against the first step along which the objective is smooth.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let gradients = self.gradients();
        for (which, what) in ["parameter", "input"].into_iter().enumerate() {
            for (i, &gradient) in gradients[which].iter().enumerate() {
                let gradient = f64::from(gradient);
                let slopes = STEPS.iter().map(|h| self.slopes(which, i, *h)).find(Slopes::smooth);
                let Some(slopes) = slopes else {
                    return Err(TestCaseError::fail(format!("{what} {i}: the objective is not smooth along any step")));
                };
                let (want, tolerance) = (slopes.derivative(), RELATIVE * gradient.abs() + slopes.rounding);
                let agrees = (gradient - want).abs() <= tolerance;
                prop_assert!(agrees, "{} {}: {}, by differences {} ± {}", what, i, gradient, want, tolerance);
            }
        }
        Ok(())
    }
}

/// Steps, the largest first because rounding is least for it. 98 % of the coordinates are smooth along it; the others have a
/// ReLU or a maximum that switches within the step.
const STEPS: [f32; 4] = [1.0 / 64.0, 1.0 / 256.0, 1.0 / 1024.0, 1.0 / 4096.0];
/// Tolerance relative to the coordinate's own derivative.
const RELATIVE: f64 = 1e-3;
/// Roundings of 2⁻²⁴ that an output carries, relative to 1 + |y|. The cases below need up to 19.
const ROUNDINGS: f64 = 32.0;

/// One-sided difference quotients with steps h and h/2, on both sides.
struct Slopes {
    below: [f64; 2],
    above: [f64; 2],
    /// Rounding error of a difference quotient, `ROUNDINGS · 2⁻²⁴ · √Σ (w·(1 + |y|))² / h` over the outputs that the
    /// coordinate changes, and of the gradient itself, the same without `/ h` over all outputs. The errors of different
    /// outputs are independent, so their squares add up.
    rounding: f64,
}

impl Slopes {
    fn central(&self) -> [f64; 2] {
        [0, 1].map(|i| (self.below[i] + self.above[i]) / 2.0)
    }

    /// Whether the objective is smooth within ±h. The central quotients with h and h/2 then agree, and the difference
    /// between the two sides, `h·f″`, is proportional to the step. A kink at a distance d < h breaks the second rule unless
    /// d = h/3, and there it breaks the first. Half of the tolerance is left for what a small kink does to the derivative.
    fn smooth(&self) -> bool {
        let [whole, half] = self.central();
        let [bend, half_bend] = [0, 1].map(|i| self.above[i] - self.below[i]);
        let tolerance = (RELATIVE * half.abs() + self.rounding) / 2.0;
        (whole - half).abs() <= tolerance && (bend - 2.0 * half_bend).abs() <= 2.0 * tolerance
    }

    /// The derivative by Richardson's extrapolation, whose truncation error is of order h⁴.
    fn derivative(&self) -> f64 {
        let [whole, half] = self.central();
        (4.0 * half - whole) / 3.0
    }
}

/// A layer alone or two that belong together, on an image of 5 to 8 rows and columns.
fn layers() -> impl Strategy<Value = Vec<LayerSpec>> {
    let conv = || {
        (1usize..5, 1usize..4, 1usize..3, 0usize..2).prop_map(|(channels, kernel, stride, padding)| Conv2d {
            channels,
            kernel,
            stride,
            padding,
        })
    };
    prop_oneof![
        (1usize..6).prop_map(|units| vec![Dense { units }]),
        (1usize..6).prop_map(|units| vec![Dense { units }, Tanh {}]),
        (1usize..6).prop_map(|units| vec![Dense { units }, BatchNorm {}]),
        conv().prop_map(|c| vec![c]),
        conv().prop_map(|c| vec![c, Relu {}]),
        (conv(), 2usize..4).prop_map(|(c, size)| vec![c, MaxPool { size: if size == 2 { 1 } else { 2 } }]),
        (2usize..5).prop_map(|size| vec![MaxPool { size }]),
        Just(vec![Relu {}]),
        Just(vec![Tanh {}]),
        Just(vec![GlobalAvgPool {}]),
        Just(vec![BatchNorm {}]),
        Just(vec![BatchNorm {}, Relu {}]),
        (1u32..10).prop_map(|p| vec![Dropout { p: p as f32 / 16.0 }]),
        (1usize..4, 1usize..3).prop_map(|(channels, stride)| vec![Residual { channels, stride }]),
    ]
}

proptest! {
    // The same cases in every run: the tolerance is a statement about rounding, which rare cases could exceed.
    #![proptest_config(ProptestConfig { cases: 128, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn every_coordinate_is_the_finite_difference(
        layers in layers(), channels in 1usize..4, height in 5usize..9, width in 5usize..9, batch in 2usize..4,
        seed: u64,
    ) {
        Case::new(Shape::image(channels, height, width), &layers, batch, seed).check()?;
    }

    #[test]
    fn losses(rows in 1usize..5, columns in 1usize..6, seed: u64) {
        let n = rows * columns;
        let (mut y, other) = (uniform(n, seed, 0), uniform(n, seed, 1));
        let targets: Vec<u32> = (0..rows).map(|r| ((r + seed as usize % 7) % columns) as u32).collect();
        let losses: [&Loss; 2] = [
            &|y, d| cross_entropy(y, &targets, columns, d),
            &|y, d| mse(y, &other, d),
        ];
        for loss in losses {
            let mut gradient = vec![f32::NAN; n];
            loss(&y, Some(&mut gradient));
            for i in 0..n {
                let old = y[i];
                let mut at = |v: f32| {
                    y[i] = v;
                    loss(&y, None)
                };
                let slope = (at(old + 1.0 / 64.0) - at(old - 1.0 / 64.0)) * 32.0;
                y[i] = old;
                prop_assert!((slope - f64::from(gradient[i])).abs() < 2e-4, "{}: {} {}", i, slope, gradient[i]);
            }
        }
    }
}

/// A network that predicts two numbers, and its mean squared error: rows of few examples, every parameter.
#[test]
fn a_regression() {
    use lrpilot::nn::Network;
    use lrpilot::task::data::Targets;
    let (batch, inputs) = (5, 3);
    let layers = [Dense { units: 4 }, Tanh {}, Dense { units: 2 }];
    let mut network = Network::new(Shape::flat(inputs), &layers, batch).unwrap();
    let n = network.params.len();
    network.params.copy_from_slice(&uniform(n, 7, 0));
    let x = uniform(batch * inputs, 7, 1);
    let targets = Targets::Values { width: 2, values: uniform(batch * 2, 7, 2) };
    network.forward(&x, batch, &mut Mode::Eval);
    network.backward(&x, batch, |y, d| targets.loss(0..batch, y, Some(d)));
    let gradient = network.grads.to_vec();
    for (i, analytic) in gradient.into_iter().enumerate() {
        let old = network.params[i];
        let mut at = |step: f32| {
            network.params[i] = old + step;
            targets.loss(0..batch, network.forward(&x, batch, &mut Mode::Eval), None)
        };
        let slope = (at(1.0 / 64.0) - at(-1.0 / 64.0)) * 32.0;
        network.params[i] = old;
        assert!((slope - f64::from(analytic)).abs() < 1e-3, "{i}: {slope} {analytic}");
    }
}

/// A deep mix, where an error of one layer's input gradient would show in every parameter before it.
#[test]
fn a_whole_network() {
    let layers = [
        Conv2d { channels: 3, kernel: 3, stride: 1, padding: 1 },
        BatchNorm {},
        Relu {},
        Residual { channels: 4, stride: 2 },
        Dropout { p: 0.25 },
        GlobalAvgPool {},
        Dense { units: 5 },
        Tanh {},
        Dense { units: 3 },
    ];
    for seed in 0..3 {
        Case::new(Shape::image(2, 6, 5), &layers, 3, seed).check().unwrap();
    }
}
