//! Every coordinate of every layer's gradients, to parameters and to inputs, against central finite differences.

use lrpilot::nn::loss::{cross_entropy, mse};
use lrpilot::nn::model::LayerSpec::{self, *};
use lrpilot::nn::{Mode, Shape, chain::Chain};
use lrpilot::rng::{Purpose, stream};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A loss of outputs that also writes its gradient.
type Loss<'a> = dyn Fn(&[f32], Option<&mut [f32]>) -> f64 + 'a;

/// Values in [-1, 1).
fn uniform(n: usize, seed: u64, index: u64) -> Vec<f32> {
    let mut rng = stream(seed, Purpose::Weights, index);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
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

    fn objective(&mut self) -> f64 {
        let mut buffers = vec![0.0; self.chain.buffers().iter().map(|b| b.len()).sum()];
        let mut rng = stream(self.seed, Purpose::Dropout, 0);
        let [p, x] = &self.values;
        self.chain.forward(p, &mut buffers, x, self.batch, &mut Mode::Train(&mut rng));
        self.chain.output(self.batch).iter().zip(&self.weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    }

    fn gradients(&mut self) -> [Vec<f32>; 2] {
        self.objective();
        self.chain.output_and_gradient(self.batch).1.copy_from_slice(&self.weights);
        let [p, x] = &self.values;
        let (mut grads, mut dx) = (vec![f32::NAN; p.len()], vec![f32::NAN; x.len()]);
        self.chain.backward(p, x, Some(&mut dx), &mut grads, self.batch);
        [grads, dx]
    }

    /// Difference quotients along coordinate `i` of the parameters (0) or the input (1): central, forward, backward.
    fn slopes(&mut self, which: usize, i: usize, h: f32) -> [f64; 3] {
        let old = self.values[which][i];
        let mut at = |v: f32| {
            self.values[which][i] = v;
            (f64::from(v), self.objective())
        };
        let [below, here, above] = [at(old - h), at(old), at(old + h)];
        self.values[which][i] = old;
        let slope = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (b.0 - a.0);
        [slope(below, above), slope(here, above), slope(below, here)]
    }

    /// Check all coordinates. Where ReLU or a maximum switches within ±h, only the difference quotient on the side of
    /// the present value is the derivative, or one with a smaller h; a wrong gradient agrees with none. The tolerance,
    /// relative to the largest gradient, covers the truncation h²/6·f‴ of the smooth layers at h = 1/64 and the
    /// rounding 1e-7·|f|/h of the sums at h = 1/2048.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let gradients = self.gradients();
        for (which, what) in ["parameter", "input"].into_iter().enumerate() {
            let largest = gradients[which].iter().fold(0.0f32, |m, g| m.max(g.abs()));
            let tolerance = 3e-3 * f64::from(largest) + 5e-4;
            for (i, &gradient) in gradients[which].iter().enumerate() {
                prop_assert!(gradient.is_finite(), "{} {}: {}", what, i, gradient);
                let slopes = [64.0, 256.0, 2048.0].map(|n| self.slopes(which, i, 1.0 / n));
                let agrees = slopes.iter().flatten().any(|s| (s - f64::from(gradient)).abs() <= tolerance);
                prop_assert!(agrees, "{} {}: gradient {}, differences {:?}", what, i, gradient, slopes);
            }
        }
        Ok(())
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
        let targets: Vec<u8> = (0..rows).map(|r| ((r + seed as usize % 7) % columns) as u8).collect();
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
