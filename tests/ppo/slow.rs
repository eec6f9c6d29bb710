//! Slow definitions of networks and running statistics, in f64.

use lrpilot::agent::RunningMoments;

/// W·tanh(… tanh(W·x + b) …) + b in f64, for parameters that hold weight `[out][in]` and bias `[out]` of each layer.
pub fn slow_network(sizes: &[usize], params: &[f32], input: &[f64]) -> Vec<f64> {
    let (mut at, mut x) = (0, input.to_vec());
    for (layer, pair) in sizes.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let (weight, bias) = (&params[at..at + inputs * outputs], &params[at + inputs * outputs..]);
        let affine = |o: usize| {
            let dot: f64 = (0..inputs).map(|i| f64::from(weight[o * inputs + i]) * x[i]).sum();
            dot + f64::from(bias[o])
        };
        let y: Vec<f64> = (0..outputs).map(affine).collect();
        let last = layer + 2 == sizes.len();
        x = y.into_iter().map(|v| if last { v } else { v.tanh() }).collect();
        at += (inputs + 1) * outputs;
    }
    assert_eq!(at, params.len());
    x
}

/// (x − mean)/√(variance + 1e-8), clipped to ±10; x itself without statistics.
pub fn slow_normalized(moments: Option<&RunningMoments>, x: &[f32]) -> Vec<f64> {
    let one = |(i, v): (usize, &f32)| match moments {
        Some(m) => ((f64::from(*v) - m.mean[i]) / (m.variance[i] + 1e-8).sqrt()).clamp(-10.0, 10.0),
        None => f64::from(*v),
    };
    x.iter().enumerate().map(one).collect()
}

/// Mean and population variance of all numbers so far, beside which a pseudo-sample of mean 0 and variance 1 weighs 1e-4:
/// what Stable-Baselines3's `RunningMeanStd` begins with.
pub fn slow_moments(numbers: &[f64]) -> (f64, f64) {
    let total = numbers.len() as f64 + 1e-4;
    let mean = numbers.iter().sum::<f64>() / total;
    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares + 1e-4 * (1.0 + mean * mean)) / total)
}

#[track_caller]
pub fn assert_near(what: &str, ours: impl Into<f64>, wanted: f64, tolerance: f64) {
    let ours = ours.into();
    assert!((ours - wanted).abs() <= tolerance * wanted.abs().max(1.0), "{what}: {ours} against {wanted}");
}
