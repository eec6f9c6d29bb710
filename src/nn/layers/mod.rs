//! What a layer is: its description, its shape, and the forward/backward contract.

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
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// The shape of one example: channels × height × width, whatever the order in memory. A flat vector of `n` features is
/// `n × 1 × 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Channels, or features of a flat vector.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// A flat vector of `features` numbers.
    pub const fn flat(features: usize) -> Self {
        Shape { channels: features, height: 1, width: 1 }
    }

    /// An image.
    pub const fn image(channels: usize, height: usize, width: usize) -> Self {
        Shape { channels, height, width }
    }

    /// Numbers per example.
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Positions of an image; 1 for a flat vector.
    pub const fn positions(&self) -> usize {
        self.height * self.width
    }

    /// Numbers in a row, the channels of a position being together.
    pub const fn row_len(&self) -> usize {
        self.width * self.channels
    }
}

/// One entry of a model description. In TOML: `{ type = "dense", units = 32 }`.
///
/// Flattening before a dense layer is implied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LayerSpec {
    /// `y = x·Wᵀ + b` (`torch.nn.Linear`).
    Dense {
        /// Output features, ≥ 1.
        units: usize,
    },
    /// Cross-correlation (`torch.nn.Conv2d`).
    Conv2d {
        /// Output channels, ≥ 1.
        channels: usize,
        /// Side of the square kernel, ≥ 1.
        kernel: usize,
        /// Step between windows, ≥ 1.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros added on each side.
        #[serde(default)]
        padding: usize,
    },
    /// `max(x, 0)`.
    Relu {},
    /// Hyperbolic tangent.
    Tanh {},
    /// Maximum over disjoint `size × size` windows (`torch.nn.MaxPool2d(size)`).
    MaxPool {
        /// Side of the window, ≥ 1.
        size: usize,
    },
    /// Mean over each channel's positions (`torch.nn.AdaptiveAvgPool2d(1)`).
    GlobalAvgPool {},
    /// Zero each value with probability `p` while training, scaling the rest by 1/(1−p) (`torch.nn.Dropout`).
    Dropout {
        /// Probability of a zero, in [0, 1).
        p: f32,
    },
    /// Batch normalisation per channel (`torch.nn.BatchNorm2d` / `BatchNorm1d`: eps 1e-5, momentum 0.1, affine).
    BatchNorm {},
    /// Two 3×3 convolutions with batch normalisation and a skip connection (the ResNet basic block); the skip is a 1×1
    /// convolution with batch normalisation where channels or stride change.
    Residual {
        /// Output channels, ≥ 1.
        channels: usize,
        /// Stride of the first convolution, ≥ 1.
        #[serde(default = "one")]
        stride: usize,
    },
}

fn one() -> usize {
    1
}

/// A pointwise function fused into the layer before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

/// One parameter tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// PyTorch's name within the layer, e.g. `weight` or `conv1.weight`.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// How it starts.
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

/// Training (dropout drawn from the stream, batch statistics used and updated) or evaluation.
pub enum Mode<'a> {
    /// Training.
    Train(&'a mut Rng),
    /// Evaluation: no dropout, running statistics.
    Eval,
}

/// A layer over slices. Parameters, gradients and buffers belong to the network; a layer holds only its shape and
/// scratch space, all of it allocated when it is built for a largest batch.
///
/// `x: [batch][input.len()]`, `y: [batch][output.len()]`; images are `[row][column][channel]`.
pub trait Layer: Send + Sync {
    /// The shape of one output example.
    fn output(&self) -> Shape;

    /// The parameter tensors, in the order in which they lie in `params`.
    fn params(&self) -> Vec<ParamInfo> {
        Vec::new()
    }

    /// The parameter tensors of each description that the layer was made of: of one alone, unless it says otherwise.
    fn parts(&self) -> Vec<Vec<ParamInfo>> {
        vec![self.params()]
    }

    /// Values that are not trained but belong to the state, with their PyTorch names (batch-normalisation statistics);
    /// they belong to the last part.
    fn buffers(&self) -> Vec<ParamInfo> {
        Vec::new()
    }

    /// Compute `y` from `x`.
    fn forward(
        &mut self,
        params: &[f32],
        buffers: &mut [f32],
        x: &[f32],
        y: &mut [f32],
        batch: usize,
        mode: &mut Mode<'_>,
    );

    /// From `dy = ∂L/∂y` compute the parameter gradients (overwritten) and, unless `dx` is `None`, `∂L/∂x`
    /// (overwritten). Must follow a training `forward` with the same `params`, `x`, `y` and batch. `dy` may be destroyed.
    fn backward(
        &mut self,
        params: &[f32],
        x: &[f32],
        y: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        grads: &mut [f32],
        batch: usize,
    );
}
