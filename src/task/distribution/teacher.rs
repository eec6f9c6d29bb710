//! Random functions that made-up targets come from.

use super::sampling::{gumbel, normals};
use crate::nn::kernels::gemm::{Trans, Update, matmul};
use crate::rng::Rng;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// A random function of an example, whose weights are drawn with the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Function {
    /// A matrix.
    Linear {},
    /// A perceptron with a hidden layer of tanh units.
    Mlp {
        /// Hidden units.
        hidden: usize,
        /// Standard deviation of what goes into a hidden unit, for inputs of variance 1: how nonlinear it is.
        gain: f64,
    },
    /// A sum of cosine waves with random directions and phases.
    Fourier {
        /// Number of waves.
        waves: usize,
        /// Standard deviation of a wave's argument: how fast it oscillates.
        frequency: f64,
    },
}

impl Function {
    /// The values `[n][outputs]` at `x: [n][features]`; each output has mean 0 and variance 1 over them.
    pub(super) fn values(self, rng: &mut Rng, x: &[f32], features: usize, outputs: usize) -> Vec<f32> {
        let mut values = match self {
            Function::Linear {} => product(rng, x, features, outputs, 1.0),
            Function::Mlp { hidden, gain } => {
                let mut h = product(rng, x, features, hidden, gain as f32);
                let biases = normals(rng, hidden);
                shift_and_map(&mut h, &biases, |v| (v).tanh());
                product(rng, &h, hidden, outputs, 1.0)
            }
            Function::Fourier { waves, frequency } => {
                let mut h = product(rng, x, features, waves, frequency as f32);
                let phases: Vec<f32> = (0..waves).map(|_| std::f32::consts::TAU * rng.random::<f32>()).collect();
                shift_and_map(&mut h, &phases, f32::cos);
                product(rng, &h, waves, outputs, 1.0)
            }
        };
        standardise(&mut values, outputs);
        values
    }
}

/// `x: [n][inputs]` times a matrix of normal numbers with standard deviation gain/√inputs.
fn product(rng: &mut Rng, x: &[f32], inputs: usize, outputs: usize, gain: f32) -> Vec<f32> {
    let n = x.len() / inputs;
    let scale = gain / (inputs as f32).sqrt();
    let weights: Vec<f32> = normals(rng, inputs * outputs).into_iter().map(|w| scale * w).collect();
    let mut y = vec![0.0; n * outputs];
    matmul(n, outputs, inputs, x, Trans::No, &weights, Trans::No, &mut y, Update::Overwrite);
    y
}

fn shift_and_map(rows: &mut [f32], shifts: &[f32], map: impl Fn(f32) -> f32) {
    for row in rows.chunks_exact_mut(shifts.len()) {
        row.iter_mut().zip(shifts).for_each(|(v, shift)| *v = map(*v + shift));
    }
}

/// Give each column of `rows: [n][width]` mean 0 and variance 1; a constant column becomes 0.
pub(super) fn standardise(rows: &mut [f32], width: usize) {
    let moments = moments(rows, width);
    apply(rows, &moments);
}

/// Mean and standard deviation of each column; a standard deviation of 0 counts as 1.
pub(super) fn moments(rows: &[f32], width: usize) -> Vec<(f32, f32)> {
    let n = (rows.len() / width).max(1) as f64;
    let (mut sums, mut squares) = (vec![0.0f64; width], vec![0.0f64; width]);
    for row in rows.chunks_exact(width) {
        for ((sum, square), v) in sums.iter_mut().zip(&mut squares).zip(row) {
            *sum += f64::from(*v);
            *square += f64::from(*v).powi(2);
        }
    }
    let of_column = |(sum, square): (&f64, &f64)| {
        let mean = sum / n;
        let sd = (square / n - mean * mean).max(0.0).sqrt();
        (mean as f32, if sd > 1e-6 * (1.0 + mean.abs()) { sd as f32 } else { 1.0 })
    };
    sums.iter().zip(&squares).map(of_column).collect()
}

/// Subtract the mean of each column and divide by its standard deviation.
pub(super) fn apply(rows: &mut [f32], moments: &[(f32, f32)]) {
    for row in rows.chunks_exact_mut(moments.len()) {
        row.iter_mut().zip(moments).for_each(|(v, (mean, sd))| *v = (*v - mean) / sd);
    }
}

/// The class of each row of `logits: [n][classes]`: the largest, or one drawn from softmax of `sharpness` × logits.
pub(super) fn classes_of(rng: &mut Rng, logits: &[f32], classes: usize, sharpness: Option<f64>) -> Vec<u32> {
    let class = |row: &[f32]| {
        let mut best = (0, f32::NEG_INFINITY);
        for (i, &logit) in row.iter().enumerate() {
            let value = sharpness.map_or(logit, |s| s as f32 * logit + gumbel(rng));
            if value > best.1 {
                best = (i as u32, value);
            }
        }
        best.0
    };
    logits.chunks_exact(classes).map(class).collect()
}
