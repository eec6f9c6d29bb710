//! 1×1 convolutions without padding, of any stride: matrix products over the positions, which are read in place.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::{
    Trans,
    Update::{self, Add, Overwrite},
    matmul_strided, transpose,
};
use crate::nn::kernels::window::Images;
use crate::nn::model::Shape;
use std::ops::Range;

/// A 1×1 kernel and how it slides over the images.
pub(crate) struct Conv1x1 {
    input: Shape,
    output: Shape,
    stride: usize,
    /// The weights, `[input channel][output channel]`.
    transposed: AlignedVec,
}

impl Conv1x1 {
    /// For every `stride`-th position, in both directions, of images of shape `input`.
    pub fn new(input: Shape, output: Shape, stride: usize) -> Self {
        Conv1x1 { input, output, stride, transposed: zeros(input.channels * output.channels) }
    }

    /// Output positions in a span, which is what one matrix product can cover: the input positions of a span are evenly
    /// spaced. It is a whole image with stride 1, otherwise an output row.
    fn span_len(&self) -> usize {
        if self.stride == 1 { self.output.positions() } else { self.output.width }
    }

    /// Where each span of an image begins in the input and in the output. Its input positions are `self.stride` positions
    /// apart.
    fn spans(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (span, row, channels) = (self.span_len(), self.stride * self.input.row_len(), self.output.channels);
        (0..self.output.positions() / span).map(move |i| (i * row, i * span * channels))
    }

    /// `y ← w ⋆ x`. `finish` is called with each image of `y` and its range in the batch.
    pub fn forward(
        &mut self,
        w: &[f32],
        x: &[f32],
        mut y: Images<'_>,
        mut finish: impl FnMut(&mut [f32], Range<usize>),
    ) {
        let (inputs, outputs, span) = (self.input.channels, self.output.channels, self.span_len());
        transpose(w, outputs, inputs, &mut self.transposed);
        for (i, x) in x.chunks_exact(self.input.len()).enumerate() {
            let range = i * self.output.len()..(i + 1) * self.output.len();
            let y = y.chunk(&range);
            for (from, to) in self.spans() {
                let (left, right) = ((&x[from..], self.stride * inputs), (&self.transposed[..], outputs));
                let positions = (&mut y[to..], outputs);
                matmul_strided(span, outputs, inputs, left, Trans::No, right, Trans::No, positions, Overwrite);
            }
            finish(y, range);
        }
    }

    /// Computes `dw` (overwritten) and, unless it is `None`, `dx` (updated) from `dy`. `prepare` is called with each image of
    /// `dy` before it is used, and its range in the batch.
    pub fn backward(
        &mut self,
        w: &[f32],
        x: &[f32],
        mut dy: Images<'_>,
        mut dx: Option<(&mut [f32], Update)>,
        dw: &mut [f32],
        mut prepare: impl FnMut(&mut [f32], Range<usize>),
    ) {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let (span, n) = (self.span_len(), self.input.len());
        dw.fill(0.0);
        for (i, x) in x.chunks_exact(n).enumerate() {
            let range = i * self.output.len()..(i + 1) * self.output.len();
            let d = dy.chunk(&range);
            prepare(d, range);
            for (from, to) in self.spans() {
                let (left, right) = ((&d[to..], outputs), (&x[from..], self.stride * inputs));
                matmul_strided(outputs, inputs, span, left, Trans::Yes, right, Trans::No, (&mut *dw, inputs), Add);
            }
            let Some((dx, update)) = dx.as_mut() else { continue };
            let dx = &mut dx[i * n..(i + 1) * n];
            if *update == Overwrite && self.stride > 1 {
                dx.fill(0.0);
            }
            for (to, from) in self.spans() {
                let (left, positions) = ((&d[from..], outputs), (&mut dx[to..], self.stride * inputs));
                matmul_strided(span, inputs, outputs, left, Trans::No, (w, inputs), Trans::No, positions, *update);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernels::im2col::Im2col;
    use crate::nn::kernels::window::Window;
    use proptest::prelude::*;

    /// Small whole numbers, whose sums of products are exact in any order.
    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 17) as f32 - 8.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Outputs and gradients equal those of im2col, however many columns and rows the stride leaves over.
        #[test]
        fn equals_im2col(
            channels in (1usize..20, 1usize..20), sides in (1usize..9, 1usize..9), stride in 1usize..4, batch in 1usize..4,
            add: bool,
        ) {
            let input = Shape::image(channels.0, sides.0, sides.1);
            let output = Shape::image(channels.1, (sides.0 - 1) / stride + 1, (sides.1 - 1) / stride + 1);
            let mut conv1x1 = Conv1x1::new(input, output, stride);
            let mut im2col = Im2col::new(input, output, Window { kernel: 1, stride, padding: 0 });
            let w = values(input.channels * output.channels, 0);
            let (x, dy) = (values(batch * input.len(), 1), values(batch * output.len(), 2));
            let one_more = |out: &mut [f32], _: Range<usize>| out.iter_mut().for_each(|v| *v += 1.0);
            let (mut y, mut want) = (vec![f32::NAN; dy.len()], vec![f32::NAN; dy.len()]);
            conv1x1.forward(&w, &x, Images::All(&mut y), one_more);
            im2col.forward(&w, &x, Images::All(&mut want), one_more);
            prop_assert_eq!(y, want);
            let (before, update) = if add { (values(x.len(), 3), Add) } else { (vec![f32::NAN; x.len()], Overwrite) };
            let gradients = || (dy.clone(), before.clone(), vec![f32::NAN; w.len()]);
            let double = |d: &mut [f32], _: Range<usize>| d.iter_mut().for_each(|v| *v *= 2.0);
            let (mut dy_1, mut dx, mut dw) = gradients();
            let (mut dy_2, mut want_dx, mut want_dw) = gradients();
            conv1x1.backward(&w, &x, Images::All(&mut dy_1), Some((&mut dx, update)), &mut dw, double);
            im2col.backward(&x, Images::All(&mut dy_2), Some((&mut want_dx, update)), &mut want_dw, double);
            prop_assert_eq!((dy_1, dx, dw), (dy_2, want_dx, want_dw));
        }
    }
}
