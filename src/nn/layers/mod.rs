//! The layers, and the contract that they share.

pub mod activation;
pub mod batch_norm;
pub mod conv;
pub mod conv_norm;
pub mod conv_pool;
pub mod dense;
pub mod dropout;
pub mod layout;
pub mod pool;
pub mod residual;

use crate::nn::init::Init;
use crate::nn::model::Shape;
use crate::rng::Rng;

/// One parameter tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// PyTorch's name within the layer, e.g. `weight` or `conv1.weight`.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// How its values are initialised.
    pub init: Init,
}

impl ParamInfo {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Number of values of several tensors.
pub(crate) fn total_len(infos: &[ParamInfo]) -> usize {
    infos.iter().map(ParamInfo::len).sum()
}

/// Whether a forward pass trains or evaluates.
pub enum Mode<'a> {
    /// Training: dropout masks are drawn from the stream, and batch statistics are used and recorded.
    Train(&'a mut Rng),
    /// Evaluation: nothing is dropped, and the recorded statistics are used.
    Eval,
}

/// What the forward and the backward pass of a layer both read.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The layer's parameters, tensor after tensor in the order of [`Layer::params`].
    pub params: &'a [f32],
    /// The layer's input, `[batch][input.len()]`.
    pub x: &'a [f32],
    /// Examples in the batch, ≥ 1.
    pub batch: usize,
}

/// A layer over slices. The network owns parameters, gradients, buffers and activations; a layer holds only its shape and
/// scratch space, which is allocated when the layer is built for a largest batch.
///
/// The input is `[batch][input.len()]` and the output `[batch][output.len()]`; images are `[row][column][channel]`.
pub trait Layer: Send + Sync {
    /// The shape of one output example.
    fn output(&self) -> Shape;

    /// The parameter tensors, in the order of [`Pass::params`].
    fn params(&self) -> Vec<ParamInfo> {
        Vec::new()
    }

    /// The parameters grouped by the [`LayerSpec`](crate::nn::LayerSpec)s that were fused into this layer; one group by
    /// default.
    fn parts(&self) -> Vec<Vec<ParamInfo>> {
        vec![self.params()]
    }

    /// Values that are not trained but belong to the state, with their PyTorch names (batch-normalisation statistics).
    /// They belong to the last group of [`Layer::parts`].
    fn buffers(&self) -> Vec<ParamInfo> {
        Vec::new()
    }

    /// Computes the output `y` of `pass`; in training mode it may update `buffers`.
    fn forward(&mut self, pass: Pass<'_>, buffers: &mut [f32], y: &mut [f32], mode: &mut Mode<'_>);

    /// From `dy = ∂L/∂y` computes `grads = ∂L/∂params` and, unless `dx` is `None`, `dx = ∂L/∂x`; both are overwritten and
    /// `dy` may be destroyed. It must follow a training [`Layer::forward`] of the same `pass`, which gave `y`.
    fn backward(&mut self, pass: Pass<'_>, y: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, grads: &mut [f32]);
}
