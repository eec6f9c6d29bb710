//! A convolution and the batch normalisation of its output in one layer: the statistics are accumulated, and the gradients
//! computed, while each chunk of the values between the two is in cache.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::Update::{self, Overwrite};
use crate::nn::kernels::simd::slab_len;
use crate::nn::kernels::sums::add_column_sums;
use crate::nn::kernels::window::{Images, Window};
use crate::nn::layers::activation::add_bias_and_activate;
use crate::nn::layers::batch_norm::BatchNorm;
use crate::nn::layers::conv::Conv2d;
use crate::nn::layers::{Layer, Mode, ParamInfo, Pass, total_len};
use crate::nn::model::{Activation, Shape};

/// `y = act(norm(w ⋆ x + b))`, with the parameters of [`Conv2d`] and then those of [`BatchNorm`].
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
    activation: Activation,
    /// Number of the convolution's parameters.
    conv_params: usize,
    conv_output: AlignedVec,
    /// Room for a chunk of the gradient of `conv_output`.
    d_chunk: AlignedVec,
    /// Scratch space for sums over positions.
    slab: Vec<f32>,
}

impl ConvNorm {
    /// A layer from `input` to `channels`. `bias` is that of the convolution; the activation is the identity or ReLU.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn new(
        input: Shape,
        channels: usize,
        window: Window,
        bias: bool,
        activation: Activation,
        max_batch: usize,
    ) -> Result<Self, String> {
        let conv = Conv2d::new(input, channels, window, bias, Activation::Identity)?;
        let output = conv.output();
        Ok(ConvNorm {
            norm: BatchNorm::new(output, activation),
            activation,
            conv_params: total_len(&conv.params()),
            conv_output: zeros(output.len() * max_batch),
            d_chunk: zeros(conv.chunk_len()),
            slab: vec![0.0; slab_len(channels)],
            conv,
        })
    }

    /// `y = act(norm(w ⋆ x + b) + added)`.
    pub(crate) fn forward_with(
        &mut self,
        pass: Pass<'_>,
        buffers: &mut [f32],
        added: Option<&[f32]>,
        y: &mut [f32],
        mode: &mut Mode<'_>,
    ) {
        let (conv_params, norm_params) = pass.params.split_at(self.conv_params);
        let (w, bias) = conv_params.split_at(self.conv.weights());
        let between = &mut self.conv_output[..y.len()];
        let (norm, training) = (&mut self.norm, matches!(mode, Mode::Train(_)));
        norm.reset();
        self.conv.convolve(w, pass.x, Images::All(between), |chunk, _| {
            if !bias.is_empty() {
                add_bias_and_activate(chunk, bias, Activation::Identity);
            }
            if training {
                norm.accumulate(chunk);
            }
        });
        norm.normalize(Pass { params: norm_params, x: between, ..pass }, buffers, added, y, mode);
    }

    /// All gradients. If something was added before the activation, `dy` is the gradient before the activation, otherwise
    /// it is the gradient of the output.
    pub(crate) fn backward_with(
        &mut self,
        pass: Pass<'_>,
        dy: &[f32],
        added: bool,
        dx: Option<(&mut [f32], Update)>,
        grads: &mut [f32],
    ) {
        let activation = if added { Activation::Identity } else { self.activation };
        let (conv_params, norm_params) = pass.params.split_at(self.conv_params);
        let (conv_grads, norm_grads) = grads.split_at_mut(self.conv_params);
        let (dw, db) = conv_grads.split_at_mut(self.conv.weights());
        let between = &self.conv_output[..dy.len()];
        self.norm.param_gradients(norm_params, between, dy, activation, norm_grads);
        db.fill(0.0);
        let (norm, slab) = (&self.norm, &mut self.slab);
        let d = Images::Chunk(&mut self.d_chunk);
        self.conv.convolve_backward(&conv_params[..dw.len()], pass.x, d, dx, dw, |chunk, range| {
            norm.input_gradient(&between[range.clone()], &dy[range], activation, chunk);
            if !db.is_empty() {
                add_column_sums(chunk, slab, db);
            }
        });
    }
}

impl Layer for ConvNorm {
    fn output(&self) -> Shape {
        self.conv.output()
    }

    fn parts(&self) -> Vec<Vec<ParamInfo>> {
        vec![self.conv.params(), self.norm.params()]
    }

    fn params(&self) -> Vec<ParamInfo> {
        self.parts().concat()
    }

    fn buffers(&self) -> Vec<ParamInfo> {
        self.norm.buffers()
    }

    fn forward(&mut self, pass: Pass<'_>, buffers: &mut [f32], y: &mut [f32], mode: &mut Mode<'_>) {
        self.forward_with(pass, buffers, None, y, mode);
    }

    fn backward(&mut self, pass: Pass<'_>, _: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, grads: &mut [f32]) {
        self.backward_with(pass, dy, false, dx.map(|dx| (dx, Overwrite)), grads);
    }
}
