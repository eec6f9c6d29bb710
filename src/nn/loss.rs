//! Losses. They are averaged over the batch, as PyTorch's are by default.

use crate::nn::kernels::simd::vectorized;
use crate::nn::layers::activation::exp;

/// Softmax cross-entropy (`torch.nn.functional.cross_entropy`) of `logits: [batch][classes]` against class indices. Writes
/// `∂L/∂logits`, unless `dlogits` is `None`, and returns the mean loss.
///
/// # Panics
/// If a target is not below `classes`, or `classes` is 0 or above 1024.
///
/// ```
/// let mut d = [0.0; 2];
/// let loss = lrpilot::nn::loss::cross_entropy(&[0.0, 0.0], &[1], 2, Some(&mut d));
/// assert!((loss - 2f64.ln()).abs() < 1e-6);
/// assert_eq!(d, [0.5, -0.5]);
/// ```
pub fn cross_entropy(logits: &[f32], targets: &[u32], classes: usize, mut dlogits: Option<&mut [f32]>) -> f64 {
    let scale = 1.0 / targets.len() as f32;
    let rows = EXPONENTIALS / classes;
    let mut buffer = [0.0; EXPONENTIALS];
    let mut total = 0.0;
    for (part, (logits, targets)) in logits.chunks(rows * classes).zip(targets.chunks(rows)).enumerate() {
        let mut d = dlogits.as_deref_mut().map(|d| &mut d[part * rows * classes..][..logits.len()]);
        let e = match &mut d {
            Some(d) => &mut **d,
            None => &mut buffer[..logits.len()],
        };
        total += vectorized(
            #[inline(always)]
            || softmax_losses(logits, targets, classes, e, scale),
        );
    }
    total / targets.len() as f64
}

/// At most this many exponentials, those of whole rows, are computed together.
const EXPONENTIALS: usize = 1024;

/// Returns the sum of the rows' losses and writes the rows' gradients times `scale` to `e`, which is as long as `logits`.
#[inline(always)]
fn softmax_losses(logits: &[f32], targets: &[u32], classes: usize, e: &mut [f32], scale: f32) -> f64 {
    let mut total = 0.0;
    for (e, (row, &target)) in e.chunks_exact_mut(classes).zip(logits.chunks_exact(classes).zip(targets)) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        e.iter_mut().zip(row).for_each(|(e, v)| *e = v - max);
        total -= f64::from(e[target as usize]);
    }
    e.iter_mut().for_each(|e| *e = exp(*e));
    for (e, &target) in e.chunks_exact_mut(classes).zip(targets) {
        let sum: f32 = e.iter().sum();
        total += f64::from(sum.ln());
        let factor = scale / sum;
        e.iter_mut().for_each(|e| *e *= factor);
        e[target as usize] -= scale;
    }
    total
}

/// Mean squared error over all values (`torch.nn.functional.mse_loss`). Writes `∂L/∂y`, unless `dy` is `None`, and returns the
/// loss.
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
