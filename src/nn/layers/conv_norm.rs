//! A convolution and the batch normalisation of its output in one layer: statistics are taken, and gradients handed back,
//! while a piece of what is between them is in cache.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::Update::{self, Overwrite};
use crate::nn::kernels::simd::slab_len;
use crate::nn::layers::activation::add_bias_and_activate;
use crate::nn::layers::batch_norm::BatchNorm;
use crate::nn::layers::conv::{Conv2d, Images, Window, add_column_sums};
use crate::nn::layers::{Activation, Layer, Mode, ParamInfo, Shape};

/// `y = act(norm(w ⋆ x + b))`, with the parameters of [`Conv2d`] and then those of [`BatchNorm`].
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
    activation: Activation,
    /// Number of the convolution's parameters.
    conv_params: usize,
    conv_output: AlignedVec,
    /// Room for a piece of the gradient of that.
    d_piece: AlignedVec,
    /// Scratch space for sums over positions.
    slab: Vec<f32>,
}

impl ConvNorm {
    /// A layer from `input` to `channels`, the convolution with a bias or without; the activation is the identity or ReLU.
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
            conv_params: conv.params().iter().map(ParamInfo::len).sum(),
            conv_output: zeros(output.len() * max_batch),
            d_piece: zeros(conv.piece_len()),
            slab: vec![0.0; slab_len(channels)],
            conv,
        })
    }

    /// `y = act(norm(w ⋆ x + b) + added)`.
    pub(crate) fn forward_with(
        &mut self,
        p: &[f32],
        b: &mut [f32],
        x: &[f32],
        added: Option<&[f32]>,
        y: &mut [f32],
        mode: &mut Mode<'_>,
    ) {
        let (conv_p, norm_p) = p.split_at(self.conv_params);
        let (w, bias) = conv_p.split_at(self.conv.weights());
        let between = &mut self.conv_output[..y.len()];
        let (norm, training) = (&mut self.norm, matches!(mode, Mode::Train(_)));
        norm.begin();
        self.conv.convolve(w, x, Images::All(between), |piece, _| {
            if !bias.is_empty() {
                add_bias_and_activate(piece, bias, Activation::Identity);
            }
            if training {
                norm.take_in(piece);
            }
        });
        norm.normalize(norm_p, b, between, added, self.activation, y, mode);
    }

    /// All gradients, from `dy` past whatever was added before the activation: with something added, `dy` is the gradient
    /// before the activation.
    pub(crate) fn backward_with(
        &mut self,
        p: &[f32],
        x: &[f32],
        dy: &[f32],
        added: bool,
        dx: Option<(&mut [f32], Update)>,
        grads: &mut [f32],
    ) {
        let activation = if added { Activation::Identity } else { self.activation };
        let (conv_p, norm_p) = p.split_at(self.conv_params);
        let (conv_grads, norm_grads) = grads.split_at_mut(self.conv_params);
        let (dw, db) = conv_grads.split_at_mut(self.conv.weights());
        let between = &self.conv_output[..dy.len()];
        self.norm.gradients(norm_p, between, dy, activation, norm_grads);
        db.fill(0.0);
        let (norm, slab) = (&self.norm, &mut self.slab);
        let d = Images::Piece(&mut self.d_piece);
        self.conv.convolve_backward(&conv_p[..dw.len()], x, d, dx, dw, |piece, place| {
            norm.pass_back(&between[place.clone()], &dy[place], activation, piece);
            if !db.is_empty() {
                add_column_sums(piece, slab, db);
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

    fn forward(&mut self, p: &[f32], b: &mut [f32], x: &[f32], y: &mut [f32], _: usize, mode: &mut Mode<'_>) {
        self.forward_with(p, b, x, None, y, mode);
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
        self.backward_with(p, x, dy, false, dx.map(|dx| (dx, Overwrite)), grads);
    }
}
