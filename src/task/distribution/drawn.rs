//! The description of a drawn task: everything that decides it, readable.

use super::config::Family;
use super::data::DataDraw;
use super::power_law::PowerLawConfig;
use crate::limits;
use crate::nn::{LayerSpec, OptimizerSpec, Shape};
use crate::task::data::SplitConfig;
use serde::{Deserialize, Serialize};

/// A task as it was drawn. With the real data sets that it names, it decides the task to the last bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawnTask {
    /// Name for people.
    pub name: String,
    /// Seed of its data.
    pub seed: u64,
    /// Decision intervals in a training.
    pub horizon: usize,
    /// Optimizer steps in an interval.
    pub interval_steps: usize,
    /// What is trained.
    pub problem: Problem,
}

/// What a drawn task trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Problem {
    /// A network on examples.
    Network(Box<NetworkProblem>),
    /// Linear regression with a power-law spectrum.
    PowerLaw(PowerLawConfig),
}

/// A network on examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkProblem {
    /// Where the examples come from.
    pub data: DataDraw,
    /// Numbers that go into the network for an example.
    pub features: usize,
    /// Numbers that come out: classes, or target values.
    pub outputs: usize,
    /// How many examples each part has.
    pub sizes: Sizes,
    /// Share of the training labels that are replaced by another class, in [0, 1].
    pub label_noise: f64,
    /// Factor of all inputs, after they were standardised.
    pub input_scale: f64,
    /// The network.
    pub net: Net,
    /// The optimizer.
    pub optimizer: OptimizerSpec,
    /// Examples in a batch.
    pub batch_size: usize,
}

/// How many examples each part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Training examples, N.
    pub train: usize,
    /// Validation A.
    pub val_a: usize,
    /// Validation B.
    pub val_b: usize,
    /// Test.
    pub test: usize,
}

impl Sizes {
    /// Examples in all parts.
    pub fn total(&self) -> usize {
        self.train + self.val_a + self.val_b + self.test
    }
}

/// A perceptron whose hidden layers are all alike, behind convolutions where it has any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Net {
    /// Channels of each convolution (3×3, zeros around the image, then the activation and the largest of 2×2 values).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<usize>,
    /// Hidden layers.
    pub layers: usize,
    /// Units of each.
    pub width: usize,
    /// tanh, otherwise ReLU.
    pub tanh: bool,
    /// Batch normalisation before each activation.
    pub batch_norm: bool,
    /// Probability that dropout zeroes a value behind the activation of a hidden layer; 0 for no dropout.
    pub dropout: f32,
    /// Factor of the initial weights and biases of each convolution and each dense layer, the output layer included.
    pub init_gains: Vec<f32>,
}

impl Net {
    /// The layers of a network with so many outputs.
    pub fn layer_specs(&self, outputs: usize) -> Vec<LayerSpec> {
        let activation = || if self.tanh { LayerSpec::Tanh {} } else { LayerSpec::Relu {} };
        let mut specs = Vec::new();
        for &channels in &self.channels {
            specs.push(LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 1 });
            specs.extend(self.batch_norm.then_some(LayerSpec::BatchNorm {}));
            specs.extend([activation(), LayerSpec::MaxPool { size: 2 }]);
        }
        for _ in 0..self.layers {
            specs.push(LayerSpec::Dense { units: self.width });
            specs.extend(self.batch_norm.then_some(LayerSpec::BatchNorm {}));
            specs.push(activation());
            specs.extend((self.dropout > 0.0).then_some(LayerSpec::Dropout { p: self.dropout }));
        }
        specs.push(LayerSpec::Dense { units: outputs });
        specs
    }

    /// A gain for each layer that has parameters: 1 for batch normalisation.
    pub(super) fn parameter_gains(&self) -> Vec<f32> {
        let (last, hidden) = self.init_gains.split_last().map_or((1.0, &[][..]), |(last, hidden)| (*last, hidden));
        let of_layer = |gain: &f32| [Some(*gain), self.batch_norm.then_some(1.0)].into_iter().flatten();
        hidden.iter().flat_map(of_layer).chain([last]).collect()
    }

    /// Trained values without biases and normalisation, and multiplications of an example with them, for inputs of `shape`.
    fn size(&self, shape: Shape, outputs: usize) -> (usize, usize) {
        let (mut image, mut weights, mut products) = (shape, 0, 0);
        for &channels in &self.channels {
            let kernels = 9 * image.channels * channels;
            weights += kernels;
            products += kernels * image.height * image.width;
            image = Shape::image(channels, image.height / 2, image.width / 2);
        }
        let dense = self.width * (image.len() + (self.layers - 1) * self.width + outputs);
        (weights + dense, products + dense)
    }
}

impl DrawnTask {
    /// The family that it belongs to.
    pub fn family(&self) -> Family {
        match &self.problem {
            Problem::Network(network) => network.data.family(),
            Problem::PowerLaw(_) => Family::PowerLaw,
        }
    }

    /// Optimizer steps in a training, T.
    pub fn steps(&self) -> usize {
        self.horizon * self.interval_steps
    }

    /// Trained values without biases and normalisation.
    pub fn weights(&self) -> usize {
        match &self.problem {
            Problem::Network(n) => n.net.size(n.shape(), n.outputs).0,
            Problem::PowerLaw(p) => p.dimensions,
        }
    }

    /// Floating-point operations of a training, estimated: 6 × steps × batch size × multiplications of an
    /// example; of a power law, which draws a
    /// number for each dimension and step instead, about 50 for each.
    pub fn flops(&self) -> f64 {
        match &self.problem {
            Problem::Network(n) => n.flops(self.steps()),
            Problem::PowerLaw(p) => (50 * self.steps() * p.dimensions) as f64,
        }
    }
}

impl NetworkProblem {
    /// The parts as a configured task names them, whose seeds have one bit less.
    pub(super) fn split_config(&self, seed: u64) -> SplitConfig {
        let Sizes { train, val_a, val_b, test } = self.sizes;
        let (train_images, label_noise) = (train, self.label_noise);
        SplitConfig { train_images, val_a, val_b, test, label_noise, data_seed: seed & limits::SEED }
    }

    /// The optimizer in a word, in which SGD with momentum is `momentum` or `nesterov`.
    pub fn optimizer_name(&self) -> &'static str {
        match self.optimizer {
            OptimizerSpec::Sgd { momentum: 0.0, .. } => "sgd",
            OptimizerSpec::Sgd { nesterov, .. } => {
                if nesterov {
                    "nesterov"
                } else {
                    "momentum"
                }
            }
            OptimizerSpec::Adam { .. } => "adam",
            OptimizerSpec::Adamw { .. } => "adamw",
            OptimizerSpec::Rmsprop { .. } => "rmsprop",
            _ => "other",
        }
    }

    /// Inputs as the network takes them: an image where it begins with a convolution.
    pub(super) fn shape(&self) -> Shape {
        match &self.data {
            DataDraw::Images(draw) if !self.net.channels.is_empty() => Shape::image(1, draw.rows, draw.columns),
            _ => Shape::flat(self.features),
        }
    }

    /// Floating-point operations of so many optimizer steps, estimated.
    pub(super) fn flops(&self, steps: usize) -> f64 {
        let (_, products) = self.net.size(self.shape(), self.outputs);
        6.0 * steps as f64 * self.batch_size as f64 * products as f64
    }
}
