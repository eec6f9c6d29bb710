//! Losses, averaged over the batch as PyTorch does by default.

use crate::nn::activation::exp;

/// Softmax cross-entropy (`torch.nn.functional.cross_entropy`) of `logits: [batch][classes]` against class indices.
/// Writes `∂L/∂logits` and returns the mean loss.
///
/// ```
/// let mut d = [0.0; 2];
/// let loss = lrpilot::nn::loss::cross_entropy(&[0.0, 0.0], &[1], 2, Some(&mut d));
/// assert!((loss - 2f64.ln()).abs() < 1e-6);
/// assert_eq!(d, [0.5, -0.5]);
/// ```
pub fn cross_entropy(logits: &[f32], targets: &[u8], classes: usize, mut dlogits: Option<&mut [f32]>) -> f64 {
    let scale = 1.0 / targets.len() as f32;
    let mut total = 0.0;
    for (i, (row, &target)) in logits.chunks_exact(classes).zip(targets).enumerate() {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|v| exp(v - max)).sum();
        total += f64::from(max + sum.ln() - row[usize::from(target)]);
        if let Some(d) = dlogits.as_deref_mut() {
            let d = &mut d[i * classes..(i + 1) * classes];
            let factor = scale / sum;
            d.iter_mut().zip(row).for_each(|(d, v)| *d = exp(v - max) * factor);
            d[usize::from(target)] -= scale;
        }
    }
    total / targets.len() as f64
}

/// Mean squared error over all values (`torch.nn.functional.mse_loss`). Writes `∂L/∂y` and returns the loss.
///
/// ```
/// let mut d = [0.0; 2];
/// assert_eq!(lrpilot::nn::loss::mse(&[1.0, 3.0], &[0.0, 3.0], Some(&mut d)), 0.5);
/// assert_eq!(d, [1.0, 0.0]);
/// ```
pub fn mse(y: &[f32], target: &[f32], dy: Option<&mut [f32]>) -> f64 {
    let n = y.len() as f64;
    if let Some(dy) = dy {
        let scale = 2.0 / n as f32;
        dy.iter_mut().zip(y).zip(target).for_each(|((d, y), t)| *d = scale * (y - t));
    }
    y.iter().zip(target).map(|(y, t)| f64::from(y - t).powi(2)).sum::<f64>() / n
}
