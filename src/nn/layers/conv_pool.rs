//! A convolution and the max-pooling of its output in one layer, so that the values between them never leave the cache.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::Update::Overwrite;
use crate::nn::kernels::simd::slab_len;
use crate::nn::kernels::sums::add_column_sums;
use crate::nn::kernels::window::Images;
use crate::nn::layers::activation::add_bias_and_activate;
use crate::nn::layers::conv::Conv2d;
use crate::nn::layers::pool::MaxPool;
use crate::nn::layers::{Layer, Mode, ParamInfo, Pass};
use crate::nn::model::{Activation, Shape};

/// `y = maxpool(act(w ⋆ x + b))` over windows of side [`ConvPool::SIDE`], with the parameters of [`Conv2d`].
pub struct ConvPool {
    conv: Conv2d,
    pool: MaxPool,
    /// Room for a chunk of the convolution's output, or of its gradient.
    chunk: AlignedVec,
    /// Scratch space for sums over positions.
    slab: Vec<f32>,
}

impl ConvPool {
    /// Side of the windows. Chunks of the convolution begin with an even row, so they cut no window of this side.
    pub const SIDE: usize = 2;

    /// Pools the output of `conv`, which has a bias and no activation. `relu` says whether a ReLU comes before the maximum.
    ///
    /// # Errors
    /// As [`MaxPool::new`].
    pub fn new(conv: Conv2d, relu: bool, max_batch: usize) -> Result<Self, String> {
        let pool = MaxPool::new(conv.output(), Self::SIDE, relu, max_batch)?;
        let (chunk, slab) = (zeros(conv.chunk_len()), vec![0.0; slab_len(conv.output().channels)]);
        Ok(ConvPool { conv, pool, chunk, slab })
    }
}

impl Layer for ConvPool {
    fn output(&self) -> Shape {
        self.pool.output()
    }

    fn params(&self) -> Vec<ParamInfo> {
        self.conv.params()
    }

    fn forward(&mut self, pass: Pass<'_>, _: &mut [f32], y: &mut [f32], _: &mut Mode<'_>) {
        let (w, b) = pass.params.split_at(self.conv.weights());
        let pool = &mut self.pool;
        self.conv.convolve(w, pass.x, Images::Chunk(&mut self.chunk), |chunk, range| {
            add_bias_and_activate(chunk, b, Activation::Identity);
            pool.pool(chunk, &range, y);
        });
    }

    fn backward(&mut self, pass: Pass<'_>, _: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, grads: &mut [f32]) {
        let weights = self.conv.weights();
        let (dw, db) = grads.split_at_mut(weights);
        let (pool, slab, dx) = (&self.pool, &mut self.slab, dx.map(|dx| (dx, Overwrite)));
        db.fill(0.0);
        let (w, d) = (&pass.params[..weights], Images::Chunk(&mut self.chunk));
        self.conv.convolve_backward(w, pass.x, d, dx, dw, |chunk, range| {
            pool.input_gradient(dy, &range, chunk);
            add_column_sums(chunk, slab, db);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernels::window::Window;
    use crate::nn::layers::total_len;
    use crate::rng::{Purpose, stream};
    use proptest::prelude::*;

    /// Uniform in [−1, 1).
    fn values(len: usize, index: u64) -> Vec<f32> {
        let mut rng = stream(0, Purpose::Data, index);
        (0..len).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// The layer equals, bit for bit, the convolution followed by the pooling: for odd and even sides, several images in
        /// a chunk, im2col and Winograd.
        #[test]
        fn is_one_after_the_other(
            channels in prop_oneof![Just((16, 32)), Just((3, 5))], sides in (2usize..20, 2usize..20), padding in 0usize..2,
            kernel in prop_oneof![Just(1usize), Just(3)], batch in 1usize..7, relu: bool,
        ) {
            let input = Shape::image(channels.0, sides.0 + 2, sides.1 + 2);
            let window = Window { kernel, stride: 1, padding };
            let conv = || Conv2d::new(input, channels.1, window, true, Activation::Identity).unwrap();
            let (mut first, mut fused) = (conv(), ConvPool::new(conv(), relu, batch).unwrap());
            let mut second = MaxPool::new(first.output(), ConvPool::SIDE, relu, batch).unwrap();
            let p = values(total_len(&fused.params()), 0);
            let (x, dy) = (values(batch * input.len(), 1), values(batch * second.output().len(), 2));
            let nan = |len: usize| vec![f32::NAN; len];
            let mode = &mut Mode::Eval;
            let (mut between, mut y, mut want) = (nan(batch * first.output().len()), nan(dy.len()), nan(dy.len()));
            let pass = Pass { params: &p, x: &x, batch };
            fused.forward(pass, &mut [], &mut y, mode);
            first.forward(pass, &mut [], &mut between, mode);
            second.forward(Pass { params: &[], x: &between, batch }, &mut [], &mut want, mode);
            prop_assert_eq!(&y, &want);
            let (mut dx, mut grads) = (nan(x.len()), nan(p.len()));
            fused.backward(pass, &y, &mut dy.clone(), Some(&mut dx), &mut grads);
            let (mut d_between, mut want_dx, mut want_grads) = (nan(between.len()), nan(x.len()), nan(p.len()));
            let second_pass = Pass { params: &[], x: &between, batch };
            second.backward(second_pass, &y, &mut dy.clone(), Some(&mut d_between), &mut []);
            first.backward(pass, &between, &mut d_between, Some(&mut want_dx), &mut want_grads);
            prop_assert_eq!((dx, grads), (want_dx, want_grads));
        }
    }
}
