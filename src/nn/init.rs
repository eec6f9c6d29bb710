//! Initialisers whose distributions equal PyTorch's.

use crate::rng::Rng;
use rand::RngExt as _;

/// How a parameter tensor is initialised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in `±1/√fan_in`. This is PyTorch's default for weight (`kaiming_uniform_(a=√5)`) and bias of `Linear` and
    /// `Conv2d`.
    Uniform {
        /// Inputs of one output unit.
        fan_in: usize,
    },
    /// All values are this number.
    Constant(f32),
}

impl Init {
    /// Fills `values`; only [`Init::Uniform`] draws from `rng`.
    pub fn fill(&self, values: &mut [f32], rng: &mut Rng) {
        match *self {
            Init::Uniform { fan_in } => {
                let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
                values.iter_mut().for_each(|v| *v = (rng.random::<f32>() * 2.0 - 1.0) * bound);
            }
            Init::Constant(c) => values.fill(c),
        }
    }
}

/// Fills a row-major `[rows][cols]` matrix with `gain` times a random (semi-)orthogonal matrix
/// (`torch.nn.init.orthogonal_`), by Gram–Schmidt on Gaussian vectors in f64.
///
/// ```
/// use lrpilot::{nn::init::orthogonal, rng::{stream, Purpose}};
/// let mut w = [0.0; 4];
/// orthogonal(&mut w, 2, 2, 2.0, &mut stream(1, Purpose::Policy, 0));
/// assert!((w[0] * w[2] + w[1] * w[3]).abs() < 1e-6);
/// assert!((w[0] * w[0] + w[1] * w[1] - 4.0).abs() < 1e-5);
/// ```
pub fn orthogonal(values: &mut [f32], rows: usize, cols: usize, gain: f32, rng: &mut Rng) {
    assert_eq!(values.len(), rows * cols);
    let (count, dim) = (rows.min(cols), rows.max(cols));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    while basis.len() < count {
        let mut v: Vec<f64> = (0..dim).map(|_| normal(rng)).collect();
        for b in &basis {
            let dot: f64 = v.iter().zip(b).map(|(x, y)| x * y).sum();
            v.iter_mut().zip(b).for_each(|(x, y)| *x -= dot * y);
        }
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm > 1e-6 {
            v.iter_mut().for_each(|x| *x /= norm);
            basis.push(v);
        }
    }
    for r in 0..rows {
        for c in 0..cols {
            let v = if rows <= cols { basis[r][c] } else { basis[c][r] };
            values[r * cols + c] = v as f32 * gain;
        }
    }
}

/// One standard normal number (Box–Muller, the cosine half).
pub fn normal(rng: &mut Rng) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
