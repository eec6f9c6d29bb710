//! Pooling: maximum over windows and mean over whole planes.

use crate::nn::conv::sum;
use crate::nn::layer::{Layer, Mode, Shape};

/// Maximum over disjoint windows (`torch.nn.MaxPool2d(size)`): rows and columns that fill no window are left out, the
/// first of equal maxima gets the gradient, and NaN wins.
pub struct MaxPool {
    input: Shape,
    output: Shape,
    size: usize,
    /// For each output, the position of its maximum in the input plane.
    chosen: Vec<u32>,
}

impl MaxPool {
    /// A layer over windows of side `size`.
    ///
    /// # Errors
    /// A message, if `size` is zero or larger than the image.
    pub fn new(input: Shape, size: usize, max_batch: usize) -> Result<Self, String> {
        if size == 0 || size > input.height || size > input.width {
            return Err(format!("a pooling window of side {size} on an image {}×{}", input.height, input.width));
        }
        let output = Shape::image(input.channels, input.height / size, input.width / size);
        Ok(MaxPool { input, output, size, chosen: vec![0; output.len() * max_batch] })
    }
}

impl Layer for MaxPool {
    fn output(&self) -> Shape {
        self.output
    }

    fn forward(&mut self, _: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        let (w, size) = (self.input.width, self.size);
        let rows = y.chunks_exact_mut(self.output.width).zip(self.chosen.chunks_exact_mut(self.output.width));
        let plane_len = self.input.height * w;
        for (r, (out, chosen)) in rows.enumerate() {
            let (plane, i) = (r / self.output.height, r % self.output.height);
            let plane = &x[plane * plane_len..][..plane_len];
            let top = i * size * w;
            for (j, (o, c)) in out.iter_mut().zip(chosen).enumerate() {
                let corner = top + j * size;
                let (mut best, mut at) = (plane[corner], corner);
                for ky in 0..size {
                    for (kx, &v) in plane[corner + ky * w..][..size].iter().enumerate() {
                        if v > best || v.is_nan() {
                            (best, at) = (v, corner + ky * w + kx);
                        }
                    }
                }
                (*o, *c) = (best, at as u32);
            }
        }
    }

    fn backward(
        &mut self,
        _: &[f32],
        _: &[f32],
        _: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        _: &mut [f32],
        _: usize,
    ) {
        let Some(dx) = dx else { return };
        dx.fill(0.0);
        let (out_len, in_len) = (self.output.height * self.output.width, self.input.height * self.input.width);
        let planes = dx.chunks_exact_mut(in_len).zip(dy.chunks_exact(out_len)).zip(self.chosen.chunks_exact(out_len));
        for ((dx, dy), chosen) in planes {
            chosen.iter().zip(dy).for_each(|(&at, d)| dx[at as usize] += d);
        }
    }
}

/// Mean over each channel's positions (`torch.nn.AdaptiveAvgPool2d(1)`).
pub struct GlobalAvgPool {
    input: Shape,
}

impl GlobalAvgPool {
    /// A layer over whole planes of `input`.
    pub fn new(input: Shape) -> Self {
        GlobalAvgPool { input }
    }
}

impl Layer for GlobalAvgPool {
    fn output(&self) -> Shape {
        Shape::flat(self.input.channels)
    }

    fn forward(&mut self, _: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        let n = self.input.height * self.input.width;
        y.iter_mut().zip(x.chunks_exact(n)).for_each(|(y, plane)| *y = sum(plane) / n as f32);
    }

    fn backward(
        &mut self,
        _: &[f32],
        _: &[f32],
        _: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        _: &mut [f32],
        _: usize,
    ) {
        let Some(dx) = dx else { return };
        let n = self.input.height * self.input.width;
        dx.chunks_exact_mut(n).zip(dy).for_each(|(plane, d)| plane.fill(*d / n as f32));
    }
}
