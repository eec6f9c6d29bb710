//! A convolution and the max-pooling of its output in one layer, so that what is between them never leaves the cache.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::Update::Overwrite;
use crate::nn::kernels::simd::slab_len;
use crate::nn::layers::activation::add_bias_and_activate;
use crate::nn::layers::conv::{Conv2d, Images, add_column_sums};
use crate::nn::layers::pool::MaxPool;
use crate::nn::layers::{Activation, Layer, Mode, ParamInfo, Shape};

/// `y = maxpool(act(w ⋆ x + b))` over windows of side [`ConvPool::SIDE`], with the parameters of [`Conv2d`].
pub struct ConvPool {
    conv: Conv2d,
    pool: MaxPool,
    /// Room for a piece of the convolution's output, and of its gradient.
    piece: AlignedVec,
    /// Scratch space for sums over positions.
    slab: Vec<f32>,
}

impl ConvPool {
    /// Side of the windows: rows of the convolution come in twos.
    pub const SIDE: usize = 2;

    /// The pooling of what `conv` gives, which has a bias and no activation, with ReLU before the maximum or without.
    ///
    /// # Errors
    /// As [`MaxPool::new`].
    pub fn new(conv: Conv2d, relu: bool, max_batch: usize) -> Result<Self, String> {
        let pool = MaxPool::new(conv.output(), Self::SIDE, relu, max_batch)?;
        let (piece, slab) = (zeros(conv.piece_len()), vec![0.0; slab_len(conv.output().channels)]);
        Ok(ConvPool { conv, pool, piece, slab })
    }
}

impl Layer for ConvPool {
    fn output(&self) -> Shape {
        self.pool.output()
    }

    fn params(&self) -> Vec<ParamInfo> {
        self.conv.params()
    }

    fn forward(&mut self, p: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        let (w, b) = p.split_at(self.conv.weights());
        let pool = &mut self.pool;
        self.conv.convolve(w, x, Images::Piece(&mut self.piece), |piece, place| {
            add_bias_and_activate(piece, b, Activation::Identity);
            pool.take_in(piece, &place, y);
        });
    }

    fn backward(
        &mut self,
        p: &[f32],
        x: &[f32],
        _: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        grads: &mut [f32],
        _: usize,
    ) {
        let weights = self.conv.weights();
        let (dw, db) = grads.split_at_mut(weights);
        let (pool, slab, dx) = (&self.pool, &mut self.slab, dx.map(|dx| (dx, Overwrite)));
        db.fill(0.0);
        self.conv.convolve_backward(&p[..weights], x, Images::Piece(&mut self.piece), dx, dw, |piece, place| {
            pool.pass_back(dy, &place, piece);
            add_column_sums(piece, slab, db);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::layers::conv::Window;
    use crate::rng::{Purpose, stream};
    use proptest::prelude::*;

    /// Uniform in [−1, 1).
    fn values(len: usize, index: u64) -> Vec<f32> {
        let mut rng = stream(0, Purpose::Data, index);
        (0..len).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Bit for bit the convolution and the pooling one after the other: odd and even sides, several images in a piece,
        /// windows and tiles.
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
            let p = values(fused.params().iter().map(ParamInfo::len).sum(), 0);
            let (x, dy) = (values(batch * input.len(), 1), values(batch * second.output().len(), 2));
            let nan = |len: usize| vec![f32::NAN; len];
            let mut mode = Mode::Eval;
            let (mut between, mut y, mut want) = (nan(batch * first.output().len()), nan(dy.len()), nan(dy.len()));
            fused.forward(&p, &mut [], &x, &mut y, batch, &mut mode);
            first.forward(&p, &mut [], &x, &mut between, batch, &mut mode);
            second.forward(&[], &mut [], &between, &mut want, batch, &mut mode);
            prop_assert_eq!(&y, &want);
            let (mut dx, mut grads) = (nan(x.len()), nan(p.len()));
            fused.backward(&p, &x, &y, &mut dy.clone(), Some(&mut dx), &mut grads, batch);
            let (mut d_between, mut want_dx, mut want_grads) = (nan(between.len()), nan(x.len()), nan(p.len()));
            second.backward(&[], &between, &y, &mut dy.clone(), Some(&mut d_between), &mut [], batch);
            first.backward(&p, &x, &between, &mut d_between, Some(&mut want_dx), &mut want_grads, batch);
            prop_assert_eq!((dx, grads), (want_dx, want_grads));
        }
    }
}
