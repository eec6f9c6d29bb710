//! Dropout (`torch.nn.Dropout`).

use crate::nn::kernels::simd::vectorized;
use crate::nn::layers::{Layer, Mode, Pass};
use crate::nn::model::Shape;
use rand::Rng as _;

/// While training, zeroes each value with probability `p` and multiplies the others by 1/(1−p); the identity otherwise.
pub struct Dropout {
    shape: Shape,
    p: f32,
    /// Whether each value of the last training pass was kept. It is a byte because memory is slower than the conversion.
    kept: Vec<u8>,
}

impl Dropout {
    /// A layer on examples of shape `shape`. The probability is rounded to a multiple of 2⁻¹⁶.
    ///
    /// # Errors
    /// A message, if `p` is not in [0, 1).
    pub fn new(shape: Shape, p: f32, max_batch: usize) -> Result<Self, String> {
        if !(0.0..1.0).contains(&p) {
            return Err(format!("a dropout probability of {p}, which is not in [0, 1)"));
        }
        Ok(Dropout { shape, p, kept: vec![0; shape.len() * max_batch] })
    }

    /// The factor of a kept value.
    fn scale(&self) -> f32 {
        1.0 / (1.0 - self.p)
    }
}

/// The factor of a value.
#[inline(always)]
fn factor(kept: u8, scale: f32) -> f32 {
    if kept == 0 { 0.0 } else { scale }
}

impl Layer for Dropout {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&mut self, pass: Pass<'_>, _: &mut [f32], y: &mut [f32], mode: &mut Mode<'_>) {
        let Mode::Train(rng) = mode else {
            y.copy_from_slice(pass.x);
            return;
        };
        // A value takes 16 random bits: half the cost of 32, and exact for the usual p.
        let (threshold, scale) = ((self.p * 65536.0).round() as u32, self.scale());
        let mut bytes = [0u8; 2048];
        for ((x, y), kept) in pass.x.chunks(1024).zip(y.chunks_mut(1024)).zip(self.kept.chunks_mut(1024)) {
            let bytes = &mut bytes[..2 * x.len()];
            rng.fill_bytes(bytes);
            vectorized(
                #[inline(always)]
                || {
                    for ((kept, y), (x, b)) in kept.iter_mut().zip(y).zip(x.iter().zip(bytes.chunks_exact(2))) {
                        *kept = u8::from(u32::from(u16::from_le_bytes([b[0], b[1]])) >= threshold);
                        *y = *x * factor(*kept, scale);
                    }
                },
            );
        }
    }

    fn backward(&mut self, _: Pass<'_>, _: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, _: &mut [f32]) {
        let Some(dx) = dx else { return };
        let scale = self.scale();
        vectorized(
            #[inline(always)]
            || dx.iter_mut().zip(dy).zip(&self.kept).for_each(|((dx, dy), kept)| *dx = *dy * factor(*kept, scale)),
        );
    }
}
