//! How many numbers a network takes, from its description alone: known before anything is allocated.

use crate::nn::{LayerSpec, Shape};
use crate::range::{self, Range};
use crate::task::config::SupervisedConfig;
use crate::task::data::Objective;
use crate::task::in_task;
use crate::{Result, limits};

/// Numbers for each parameter: itself, its gradient, where it began the interval, and the state of an optimizer, which is
/// at most that of Prodigy.
const PER_PARAMETER: u128 = 7;

impl SupervisedConfig {
    /// Numbers that a network of this task keeps in memory: parameters with their gradients and the optimizer's state, and the
    /// activations of a batch with their gradients. An estimate from above; 128 bits hold it for any checked description. 0
    /// for a table, whose columns are not known before the file is read; [`Supervised::new`](crate::task::Supervised::new)
    /// checks that network.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a width that is too large, or a model that has no such name.
    pub fn numbers(&self) -> Result<u128> {
        let Some((shape, classes)) = self.dataset.shape_and_classes() else { return Ok(0) };
        let outputs = if self.objective == Objective::Autoencoder { shape.len() } else { classes };
        self.numbers_of(shape, outputs)
    }

    /// Check that [`SupervisedConfig::numbers`] are not too many, for inputs of `shape`.
    pub(super) fn check_size(&self, shape: Shape, outputs: usize) -> Result<()> {
        range::count("task.model: numbers for a batch", self.numbers_of(shape, outputs)?, 0, limits::NUMBERS)
    }

    fn numbers_of(&self, shape: Shape, outputs: usize) -> Result<u128> {
        let layers = self.model.layers(outputs).map_err(in_task)?;
        range::count("task.model: number of layers", layers.len(), 0, limits::LAYERS)?;
        let (mut shape, mut parameters, mut activations) = (shape, 0u128, shape.len() as u128);
        for (i, layer) in layers.iter().enumerate() {
            check_widths(i, layer)?;
            let (out, own) = after(shape, layer);
            parameters += own;
            activations += out.channels as u128 * out.height as u128 * out.width as u128;
            range::count(format_args!("task.model[{i}]: numbers in it"), parameters + activations, 0, limits::NUMBERS)?;
            shape = out;
        }
        let batch = self.batch_size.min(self.data.train_images) as u128;
        Ok(PER_PARAMETER * parameters + 2 * batch * activations)
    }
}

/// Whether each number of a layer is one that can be meant.
fn check_widths(index: usize, layer: &LayerSpec) -> Result<()> {
    let count = |key: &str, v: usize, least: u64| {
        range::count(format_args!("task.model[{index}].{key}"), v, least, limits::WIDTH)
    };
    let check = |key: &str, v: usize| count(key, v, 1);
    match *layer {
        LayerSpec::Dense { units } => check("units", units),
        LayerSpec::Conv2d { channels, kernel, stride, padding } => {
            check("channels", channels)?;
            check("kernel", kernel)?;
            check("stride", stride)?;
            count("padding", padding, 0)
        }
        LayerSpec::MaxPool { size } => check("size", size),
        LayerSpec::Residual { channels, stride } => {
            check("channels", channels)?;
            check("stride", stride)
        }
        LayerSpec::Dropout { p } => range::check(format_args!("task.model[{index}].p"), p.into(), Range::BelowOne),
        _ => Ok(()),
    }
}

/// The shape after a layer, and how many parameters the layer has. A description that fits no network counts as small:
/// the network itself refuses it.
fn after(input: Shape, layer: &LayerSpec) -> (Shape, u128) {
    let flat = input.channels as u128 * input.height as u128 * input.width as u128;
    let windows = |side: usize, kernel: usize, stride: usize, padding: usize| {
        (side + 2 * padding).saturating_sub(kernel) / stride.max(1) + 1
    };
    let convolved = |channels: usize, kernel: usize, stride: usize, padding: usize| Shape {
        channels,
        height: windows(input.height, kernel, stride, padding),
        width: windows(input.width, kernel, stride, padding),
    };
    let weights = |channels: usize, inputs: usize, kernel: usize| {
        channels as u128 * (inputs as u128 * (kernel as u128).pow(2) + 1)
    };
    match *layer {
        LayerSpec::Dense { units } => (Shape::flat(units), units as u128 * (flat + 1)),
        LayerSpec::Conv2d { channels, kernel, stride, padding } => {
            (convolved(channels, kernel, stride, padding), weights(channels, input.channels, kernel))
        }
        LayerSpec::Residual { channels, stride } => {
            let skip = weights(channels, input.channels, 1);
            let own = weights(channels, input.channels, 3) + weights(channels, channels, 3) + 6 * channels as u128;
            (convolved(channels, 3, stride, 1), own + skip)
        }
        LayerSpec::MaxPool { size } => {
            let size = size.max(1);
            (Shape { height: input.height / size, width: input.width / size, ..input }, 0)
        }
        LayerSpec::GlobalAvgPool {} => (Shape::flat(input.channels), 0),
        LayerSpec::BatchNorm {} => (input, 2 * input.channels as u128),
        LayerSpec::Relu {} | LayerSpec::Tanh {} | LayerSpec::Dropout { .. } => (input, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Network;
    use crate::task::{Preset, TaskConfig};

    /// The parameters are those of the network that is built: the estimate is at least as large, and not twice as large.
    #[test]
    fn parameters_are_counted() {
        let TaskConfig::Supervised(config) = Preset::MnistCnn.config() else { unreachable!() };
        for name in ["mlp-32-32", "mnist-cnn", "resnet"] {
            let layers = crate::nn::model::named(name, 10).unwrap();
            let (start, _) = config.dataset.shape_and_classes().unwrap();
            let (mut shape, mut counted) = (start, 0);
            for layer in &layers {
                let (out, own) = after(shape, layer);
                (shape, counted) = (out, counted + own);
            }
            let network = Network::new(start, &layers, 1).unwrap();
            let built = network.params.len() as u128;
            assert!(counted >= built && counted < 2 * built, "{name}: {counted} for {built}");
            assert_eq!(shape, network.output_shape(), "{name}");
        }
    }
}
