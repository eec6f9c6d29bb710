//! A chain of layers with its parameters, gradients and buffers. Each of the three is one contiguous slice.

use crate::Result;
use crate::nn::chain::Chain;
use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::layers::{Mode, ParamInfo, total_len};
use crate::nn::model::{LayerSpec, Shape};
use crate::rng::Rng;
use std::ops::Range;

/// A feed-forward network.
///
/// ```
/// use lrpilot::nn::{LayerSpec, Mode, Network, Shape};
/// use lrpilot::rng::{stream, Purpose};
/// let layers = [LayerSpec::Dense { units: 8 }, LayerSpec::Relu {}, LayerSpec::Dense { units: 3 }];
/// let mut network = Network::new(Shape::flat(4), &layers, 16)?;
/// network.init(&mut stream(0, Purpose::Weights, 0));
/// let y = network.forward(&[0.5; 8], 2, &mut Mode::Eval);
/// assert_eq!(y.len(), 2 * 3);
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub struct Network {
    chain: Chain,
    infos: Vec<ParamInfo>,
    buffer_infos: Vec<ParamInfo>,
    layers: Vec<Range<usize>>,
    max_batch: usize,
    /// All trained values, tensor after tensor in the order of [`Network::param_infos`].
    pub params: AlignedVec,
    /// `∂L/∂params` of the last backward pass.
    pub grads: AlignedVec,
    /// Values that belong to the state but are not trained (batch-normalisation statistics).
    pub buffers: Vec<f32>,
}

impl Network {
    /// Builds a network for examples of shape `input` and batches up to `max_batch`; parameters are zero until
    /// [`Network::init`].
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the layer that does not fit, as `model[3]`.
    pub fn new(input: Shape, layers: &[LayerSpec], max_batch: usize) -> Result<Self> {
        let chain = Chain::new(input, layers, max_batch)?;
        let (infos, buffer_infos) = (chain.params(), chain.buffers());
        let (n, buffers) = (total_len(&infos), total_len(&buffer_infos));
        let mut network = Network {
            layers: chain.layer_ranges(),
            chain,
            infos,
            buffer_infos,
            max_batch,
            params: zeros(n),
            grads: zeros(n),
            buffers: vec![0.0; buffers],
        };
        network.init_buffers();
        Ok(network)
    }

    /// Draws new parameters and resets the buffers.
    pub fn init(&mut self, rng: &mut Rng) {
        let mut rest = &mut self.params[..];
        for info in &self.infos {
            let (values, tail) = rest.split_at_mut(info.len());
            info.init.fill(values, rng);
            rest = tail;
        }
        self.init_buffers();
    }

    fn init_buffers(&mut self) {
        let mut rest = &mut self.buffers[..];
        // Buffers are initialised with constants, which draw nothing.
        let mut unused = crate::rng::stream(0, crate::rng::Purpose::Weights, u64::MAX);
        for info in &self.buffer_infos {
            let (values, tail) = rest.split_at_mut(info.len());
            info.init.fill(values, &mut unused);
            rest = tail;
        }
    }

    /// The shape of one output example.
    pub fn output_shape(&self) -> Shape {
        self.chain.output_shape()
    }

    /// Values per example of the widest activation.
    pub fn widest_activation(&self) -> usize {
        self.chain.widest_activation()
    }

    /// The name of each layer that has parameters: its index in the description.
    pub fn layer_names(&self) -> Vec<String> {
        self.chain.layer_names()
    }

    /// The largest batch that [`Network::forward`] takes.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Parameter tensors in storage order, with PyTorch's names.
    pub fn param_infos(&self) -> &[ParamInfo] {
        &self.infos
    }

    /// Buffers in storage order, with PyTorch's names.
    pub fn buffer_infos(&self) -> &[ParamInfo] {
        &self.buffer_infos
    }

    /// The range in `params` of each layer that has parameters (weight and bias together).
    pub fn layer_ranges(&self) -> &[Range<usize>] {
        &self.layers
    }

    /// Runs the network on `x: [batch][input]` and returns `[batch][output]`.
    ///
    /// # Panics
    /// If `batch` is larger than [`Network::max_batch`].
    pub fn forward(&mut self, x: &[f32], batch: usize, mode: &mut Mode<'_>) -> &[f32] {
        assert!(batch <= self.max_batch, "batch {batch} above the largest {}", self.max_batch);
        self.chain.forward(&self.params, &mut self.buffers, x, batch, mode);
        self.chain.output(batch)
    }

    /// Runs the backward pass after a training `forward` on the same `x`. `loss(output, ∂L/∂output)` fills the gradient of the
    /// output and returns the loss, which is returned. The parameter gradients are written to `grads`.
    pub fn backward(&mut self, x: &[f32], batch: usize, loss: impl FnOnce(&[f32], &mut [f32]) -> f64) -> f64 {
        let (y, dy) = self.chain.output_and_gradient(batch);
        let value = loss(y, dy);
        self.chain.backward(&self.params, x, None, &mut self.grads, batch);
        value
    }
}
