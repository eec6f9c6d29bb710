//! A sequence of layers over shared slices: which descriptions become one layer, and how the passes go through them.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::window::Window;
use crate::nn::layers::activation::Elementwise;
use crate::nn::layers::batch_norm::BatchNorm;
use crate::nn::layers::conv::Conv2d;
use crate::nn::layers::conv_norm::ConvNorm;
use crate::nn::layers::conv_pool::ConvPool;
use crate::nn::layers::dense::Dense;
use crate::nn::layers::dropout::Dropout;
use crate::nn::layers::layout::{ChangeLayout, Layout};
use crate::nn::layers::pool::{GlobalAvgPool, MaxPool};
use crate::nn::layers::residual::Residual;
use crate::nn::layers::{Layer, Mode, ParamInfo, Pass, total_len};
use crate::nn::model::{Activation, LayerSpec, Shape};
use crate::{Error, Result};
use std::ops::Range;

/// A sequence of layers with its activations, which are allocated once for the largest batch.
pub struct Chain {
    links: Vec<Link>,
    /// Scratch space for the gradients of two neighbouring activations, each as large as the largest activation.
    d_here: AlignedVec,
    d_next: AlignedVec,
}

struct Link {
    layer: Box<dyn Layer>,
    /// The index and the parameter range of each description that was fused into the layer. The index is that of PyTorch's
    /// `nn.Sequential`.
    parts: Vec<(usize, Range<usize>)>,
    params: Range<usize>,
    buffers: Range<usize>,
    output_len: usize,
    activation: AlignedVec,
}

impl Chain {
    /// Builds the layers for examples of shape `input` and batches up to `max_batch`. A ReLU or tanh is fused into a dense or
    /// convolutional layer before it, a ReLU also into a batch normalisation before it or a max-pooling after it. Batch
    /// normalisation and 2×2 max-pooling are fused into a convolution before them.
    ///
    /// # Errors
    /// [`Error::Config`] naming the layer whose description does not fit its input, as `model[3]`.
    pub fn new(input: Shape, specs: &[LayerSpec], max_batch: usize) -> Result<Self> {
        let mut builder = Builder { links: Vec::new(), shape: input, layout: Layout::ChannelsFirst, max_batch };
        let mut i = 0;
        while i < specs.len() {
            let part = Fused::beginning_with(specs, i);
            builder.change_layout(layout_for(&specs[part.spec]), part.spec);
            let layer = build(builder.shape, specs, &part, max_batch).map_err(|(index, message)| {
                Error::config(format!("model[{index}]"), message, "change the layer or the one before it")
            })?;
            builder.push(layer, part.spec);
            i = part.next;
        }
        if specs.is_empty() {
            return Err(Error::config("model", "the list is empty", "give at least one layer"));
        }
        builder.change_layout(Some(Layout::ChannelsFirst), specs.len());
        let links = builder.links;
        let largest = links.iter().map(|l| l.output_len).max().unwrap_or(0) * max_batch;
        Ok(Chain { links, d_here: zeros(largest), d_next: zeros(largest) })
    }

    /// The shape of one output example.
    pub fn output_shape(&self) -> Shape {
        self.links[self.links.len() - 1].layer.output()
    }

    /// Values per example of the widest activation.
    pub fn widest_activation(&self) -> usize {
        self.links.iter().map(|l| l.output_len).max().unwrap_or(0)
    }

    /// The index in the description of each layer that has parameters.
    pub fn layer_names(&self) -> Vec<String> {
        self.parts().map(|(index, _)| index.to_string()).collect()
    }

    /// The parameter range of each layer that has parameters.
    pub fn layer_ranges(&self) -> Vec<Range<usize>> {
        self.parts().map(|(_, params)| params.clone()).collect()
    }

    fn parts(&self) -> impl Iterator<Item = &(usize, Range<usize>)> {
        self.links.iter().flat_map(|l| &l.parts).filter(|(_, params)| !params.is_empty())
    }

    /// The parameter tensors in storage order. Their names begin with their layer's index.
    pub fn params(&self) -> Vec<ParamInfo> {
        let parts = self.links.iter().flat_map(|l| l.parts.iter().zip(l.layer.parts()));
        parts.flat_map(|((index, _), infos)| numbered(*index, infos)).collect()
    }

    /// The buffers in storage order, with names of the same kind.
    pub fn buffers(&self) -> Vec<ParamInfo> {
        let last = |l: &Link| l.parts.last().map_or(0, |(index, _)| *index);
        self.links.iter().flat_map(|l| numbered(last(l), l.layer.buffers())).collect()
    }

    /// The output of the last `forward`, `[batch][output_shape().len()]`.
    pub fn output(&self, batch: usize) -> &[f32] {
        let last = &self.links[self.links.len() - 1];
        &last.activation[..batch * last.output_len]
    }

    /// Runs the layers on `x: [batch][input]`.
    pub fn forward(&mut self, params: &[f32], buffers: &mut [f32], x: &[f32], batch: usize, mode: &mut Mode<'_>) {
        let mut before: &[f32] = x;
        for link in &mut self.links {
            let y = &mut link.activation[..batch * link.output_len];
            let pass = Pass { params: &params[link.params.clone()], x: before, batch };
            link.layer.forward(pass, &mut buffers[link.buffers.clone()], y, mode);
            before = y;
        }
    }

    /// The output of the last `forward` and the slice for `∂L/∂output`, which is to be filled before [`Chain::backward`].
    pub fn output_and_gradient(&mut self, batch: usize) -> (&[f32], &mut [f32]) {
        let last = &self.links[self.links.len() - 1];
        let n = batch * last.output_len;
        (&last.activation[..n], &mut self.d_here[..n])
    }

    /// Computes the parameter gradients and, unless it is `None`, `dx = ∂L/∂x`, after a training `forward` on the same `x`. Both
    /// are overwritten.
    pub fn backward(&mut self, params: &[f32], x: &[f32], mut dx: Option<&mut [f32]>, grads: &mut [f32], batch: usize) {
        // No layer before the first parameters needs a gradient, unless that of the input is wanted.
        let first = if dx.is_some() { 0 } else { self.links.iter().take_while(|l| l.params.is_empty()).count() };
        for i in (first..self.links.len()).rev() {
            let (before, rest) = self.links.split_at_mut(i);
            let link = &mut rest[0];
            let n = batch * link.output_len;
            let (y, dy) = (&link.activation[..n], &mut self.d_here[..n]);
            let (x, dx) = match before.last() {
                Some(previous) => {
                    let n = batch * previous.output_len;
                    (&previous.activation[..n], (i > first).then_some(&mut self.d_next[..n]))
                }
                None => (x, dx.take()),
            };
            let pass = Pass { params: &params[link.params.clone()], x, batch };
            link.layer.backward(pass, y, dy, dx, &mut grads[link.params.clone()]);
            std::mem::swap(&mut self.d_here, &mut self.d_next);
        }
    }
}

/// A chain that is being built.
struct Builder {
    links: Vec<Link>,
    /// Shape and layout of the last output.
    shape: Shape,
    layout: Layout,
    max_batch: usize,
}

impl Builder {
    /// Adds a layer that was made of the description `index` and perhaps those after it.
    fn push(&mut self, layer: Box<dyn Layer>, index: usize) {
        let (first, buffer) = self.links.last().map_or((0, 0), |l| (l.params.end, l.buffers.end));
        let mut param = first;
        let mut parts = Vec::new();
        for (i, infos) in layer.parts().iter().enumerate() {
            parts.push((index + i, param..param + total_len(infos)));
            param += total_len(infos);
        }
        self.shape = layer.output();
        let output_len = self.shape.len();
        self.links.push(Link {
            parts,
            params: first..param,
            buffers: buffer..buffer + total_len(&layer.buffers()),
            layer,
            output_len,
            activation: zeros(output_len * self.max_batch),
        });
    }

    /// Adds a change of layout in front of layer `index`, if it needs one.
    fn change_layout(&mut self, layout: Option<Layout>, index: usize) {
        let Some(layout) = layout.filter(|layout| *layout != self.layout) else { return };
        if ChangeLayout::matters(self.shape) {
            self.push(Box::new(ChangeLayout::new(self.shape, layout)), index);
        }
        self.layout = layout;
    }
}

/// The layout that a layer needs its input in; elementwise layers take any.
fn layout_for(spec: &LayerSpec) -> Option<Layout> {
    match spec {
        LayerSpec::Dense { .. } => Some(Layout::ChannelsFirst),
        LayerSpec::Relu {} | LayerSpec::Tanh {} | LayerSpec::Dropout { .. } => None,
        _ => Some(Layout::ChannelsLast),
    }
}

/// The tensors `infos` with the index of their description in front of their names.
fn numbered(index: usize, infos: Vec<ParamInfo>) -> impl Iterator<Item = ParamInfo> {
    infos.into_iter().map(move |p| ParamInfo { name: format!("{index}.{}", p.name), ..p })
}

/// Descriptions that become one layer.
struct Fused {
    /// Index of the description that says what the layer is; the others are fused into it.
    spec: usize,
    activation: Activation,
    /// What is fused into a convolution.
    partner: Partner,
    /// Index of the first description after the layer.
    next: usize,
}

/// A layer that is fused into the convolution before it.
#[derive(Clone, Copy)]
enum Partner {
    None,
    MaxPool,
    BatchNorm,
}

impl Fused {
    fn beginning_with(specs: &[LayerSpec], i: usize) -> Self {
        use LayerSpec::{BatchNorm, Conv2d, Dense, MaxPool, Relu, Tanh};
        const SIDE: usize = ConvPool::SIDE;
        let rest = &specs[i..];
        // A ReLU is left to a max-pooling after it: there it is the same function of fewer values.
        let relu = |after: usize| match &rest[after..] {
            [Relu {}, MaxPool { .. }, ..] => (Activation::Identity, after),
            [Relu {}, ..] => (Activation::Relu, after + 1),
            _ => (Activation::Identity, after),
        };
        let (spec, (activation, len), partner) = match rest {
            [Conv2d { .. }, Relu {}, MaxPool { size: SIDE }, ..] => (i, (Activation::Relu, 3), Partner::MaxPool),
            [Conv2d { .. }, MaxPool { size: SIDE }, ..] => (i, (Activation::Identity, 2), Partner::MaxPool),
            [Conv2d { .. }, BatchNorm {}, ..] => (i, relu(2), Partner::BatchNorm),
            [Relu {}, MaxPool { .. }, ..] => (i + 1, (Activation::Relu, 2), Partner::None),
            [Dense { .. } | Conv2d { .. }, Tanh {}, ..] => (i, (Activation::Tanh, 2), Partner::None),
            [Dense { .. } | Conv2d { .. } | BatchNorm {}, ..] => (i, relu(1), Partner::None),
            _ => (i, (Activation::Identity, 1), Partner::None),
        };
        Fused { spec, activation, partner, next: i + len }
    }
}

/// The layer of `part`; or the index of the description that is wrong, and a message.
fn build(input: Shape, specs: &[LayerSpec], part: &Fused, max_batch: usize) -> Result<Box<dyn Layer>, (usize, String)> {
    let Fused { spec, activation, partner, next } = *part;
    let wrong = |message| (spec, message);
    match (&specs[spec], partner) {
        _ if input.is_empty() => Err(wrong(format!("its input {input:?} is empty"))),
        (&LayerSpec::Conv2d { channels, kernel, stride, padding }, Partner::BatchNorm) => {
            let window = Window { kernel, stride, padding };
            let layer = ConvNorm::new(input, channels, window, true, activation, max_batch).map_err(wrong)?;
            Ok(Box::new(layer))
        }
        (&LayerSpec::Conv2d { channels, kernel, stride, padding }, Partner::MaxPool) => {
            let window = Window { kernel, stride, padding };
            let conv = Conv2d::new(input, channels, window, true, Activation::Identity).map_err(wrong)?;
            let layer = ConvPool::new(conv, activation == Activation::Relu, max_batch).map_err(|m| (next - 1, m))?;
            Ok(Box::new(layer))
        }
        (single, _) => build_single(input, single, activation, max_batch).map_err(wrong),
    }
}

fn build_single(
    input: Shape,
    spec: &LayerSpec,
    activation: Activation,
    max_batch: usize,
) -> Result<Box<dyn Layer>, String> {
    Ok(match *spec {
        LayerSpec::Dense { units: 0 } => return Err("a dense layer with 0 units".into()),
        LayerSpec::Dense { units } => Box::new(Dense::new(input.len(), units, activation)),
        LayerSpec::Conv2d { channels, kernel, stride, padding } => {
            Box::new(Conv2d::new(input, channels, Window { kernel, stride, padding }, true, activation)?)
        }
        LayerSpec::Relu {} => Box::new(Elementwise::new(input, Activation::Relu)),
        LayerSpec::Tanh {} => Box::new(Elementwise::new(input, Activation::Tanh)),
        LayerSpec::MaxPool { size } => Box::new(MaxPool::new(input, size, activation == Activation::Relu, max_batch)?),
        LayerSpec::GlobalAvgPool {} => Box::new(GlobalAvgPool::new(input)),
        LayerSpec::Dropout { p } => Box::new(Dropout::new(input, p, max_batch)?),
        LayerSpec::BatchNorm {} => Box::new(BatchNorm::new(input, activation)),
        LayerSpec::Residual { channels, stride } => Box::new(Residual::new(input, channels, stride, max_batch)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::model::LayerSpec::{BatchNorm, Conv2d, Dense, MaxPool, Relu};

    /// Fused layers keep the names of PyTorch's `nn.Sequential`, and each part has its own range.
    #[test]
    fn fused_layers_keep_their_indices() {
        let conv = |channels| Conv2d { channels, kernel: 3, stride: 1, padding: 1 };
        let specs =
            [conv(2), BatchNorm {}, Relu {}, conv(3), Relu {}, MaxPool { size: 2 }, BatchNorm {}, Dense { units: 4 }];
        let chain = Chain::new(Shape::image(1, 4, 4), &specs, 2).unwrap();
        let names = |infos: Vec<ParamInfo>| infos.into_iter().map(|p| p.name).collect::<Vec<_>>().join(" ");
        let layers = ["0", "1", "3", "6", "7"];
        assert_eq!(names(chain.params()), layers.map(|i| format!("{i}.weight {i}.bias")).join(" "));
        assert_eq!(names(chain.buffers()), ["1", "6"].map(|i| format!("{i}.running_mean {i}.running_var")).join(" "));
        assert_eq!(chain.layer_names(), layers);
        let lengths: Vec<usize> = chain.layer_ranges().iter().map(Range::len).collect();
        assert_eq!(lengths, [2 * 9 + 2, 2 + 2, 3 * 2 * 9 + 3, 3 + 3, 4 * 12 + 4]);
    }
}
