//! Training a network on random images of the right shape.

use crate::pace::{repeat, side_by_side};
use crate::{Line, WARM_UP};
use lrpilot::Result;
use lrpilot::nn::kernels::aligned::{AlignedVec, zeros};
use lrpilot::nn::model::named;
use lrpilot::nn::{LayerSpec, Mode, Network, Optimizer, OptimizerSpec, Shape};
use lrpilot::rng::{Purpose, stream};
use lrpilot::task::data::{Examples, Targets};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;

pub const CLASSES: usize = 10;
const BATCH: usize = 64;
/// Small enough for training on random labels to stay finite.
const LR: f64 = 0.01;

/// A network to be trained, and the images of an epoch.
pub struct Model {
    shape: Shape,
    layers: Vec<LayerSpec>,
    images: usize,
}

impl Model {
    pub const NAMES: [&str; 5] = ["digits-mlp", "mnist-mlp", "mnist-cnn", "cifar-cnn", "resnet"];

    pub fn named(work: &str) -> Option<Model> {
        let (name, shape, images) = match work {
            "digits-mlp" => ("mlp-32", Shape::flat(64), 1024),
            "mnist-mlp" => ("mlp-128", Shape::flat(784), 5120),
            "mnist-cnn" => ("mnist-cnn", Shape::image(1, 28, 28), 5120),
            "cifar-cnn" => ("cifar-cnn", Shape::image(3, 32, 32), 2048),
            "resnet" => ("resnet", Shape::image(3, 32, 32), 2048),
            _ => return None,
        };
        Some(Model { shape, layers: named(name, CLASSES).ok()?, images })
    }
}

/// Floating-point operations of the matrix products of a training step, per image: the forward product, the one for the
/// weights' gradient and the one for the input's, which the first layer does not need.
fn training_flops(mut shape: Shape, layers: &[LayerSpec]) -> f64 {
    let mut total = 0.0;
    let mut first = true;
    for layer in layers {
        let (forward, output) = forward_flops(shape, layer);
        total += forward * if first { 2.0 } else { 3.0 };
        first &= forward == 0.0;
        shape = output;
    }
    total
}

/// Operations of the products of one layer for one image, and the shape of what comes out.
fn forward_flops(input: Shape, layer: &LayerSpec) -> (f64, Shape) {
    let convolution = |from: Shape, channels: usize, kernel: usize, stride: usize, padding: usize| {
        let side = |n: usize| (n + 2 * padding - kernel) / stride + 1;
        let output = Shape::image(channels, side(from.height), side(from.width));
        (2.0 * (output.len() * kernel * kernel * from.channels) as f64, output)
    };
    match *layer {
        LayerSpec::Dense { units } => (2.0 * (input.len() * units) as f64, Shape::flat(units)),
        LayerSpec::Conv2d { channels, kernel, stride, padding } => {
            convolution(input, channels, kernel, stride, padding)
        }
        LayerSpec::Residual { channels, stride } => {
            let (first, hidden) = convolution(input, channels, 3, stride, 1);
            let (second, output) = convolution(hidden, channels, 3, 1, 1);
            let same = stride == 1 && channels == input.channels;
            let skip = if same { 0.0 } else { convolution(input, channels, 1, stride, 0).0 };
            (first + second + skip, output)
        }
        LayerSpec::MaxPool { size } => (0.0, Shape::image(input.channels, input.height / size, input.width / size)),
        LayerSpec::GlobalAvgPool {} => (0.0, Shape::flat(input.channels)),
        _ => (0.0, input),
    }
}

/// Uniform pixels in [−1, 1) and uniform labels.
pub fn random_examples(shape: Shape, count: usize, seed: u64) -> Examples {
    let mut rng = stream(seed, Purpose::Data, 0);
    let x = (0..count * shape.len()).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
    let labels = (0..count).map(|_| rng.random_range(0..CLASSES as u32)).collect();
    Examples { shape, x, targets: Targets::Classes { count: CLASSES, labels } }
}

/// Images per second of `threads` networks trained side by side.
pub fn measure(model: &Model, threads: usize, seconds: f64, line: &mut Line) -> Result<()> {
    let examples = random_examples(model.shape, model.images, 0);
    let rate = side_by_side(
        threads,
        |seed| {
            let mut training = Training::new(model, &examples, seed)?;
            repeat(WARM_UP * seconds, || Ok(training.step()))?;
            Ok(training)
        },
        |mut training| repeat(seconds, || Ok(training.step())),
    )?;
    line.images_per_s = Some(rate);
    line.epochs_per_s = Some(rate / model.images as f64);
    line.flops_per_image = Some(training_flops(model.shape, &model.layers));
    line.parameters = Some(Network::new(model.shape, &model.layers, 1)?.params.len());
    Ok(())
}

/// A network in training, batch by batch.
struct Training<'a> {
    network: Network,
    optimizer: Optimizer,
    examples: &'a Examples,
    seed: u64,
    epoch: u64,
    steps: u64,
    order: Vec<u32>,
    next: usize,
    x: AlignedVec,
    targets: Targets,
}

impl<'a> Training<'a> {
    fn new(model: &Model, examples: &'a Examples, seed: u64) -> Result<Self> {
        let mut network = Network::new(model.shape, &model.layers, BATCH)?;
        network.init(&mut stream(seed, Purpose::Weights, 0));
        let momentum = OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        Ok(Training {
            optimizer: Optimizer::new(momentum, network.params.len()),
            network,
            seed,
            epoch: 0,
            steps: 0,
            order: (0..examples.len() as u32).collect(),
            next: examples.len(),
            x: zeros(BATCH * model.shape.len()),
            targets: examples.targets.zeros(BATCH),
            examples,
        })
    }

    /// Shuffle if an epoch begins, copy the batch, forward, cross-entropy, backward, momentum step. Returns the images.
    fn step(&mut self) -> f64 {
        if self.next == self.order.len() {
            self.order.shuffle(&mut stream(self.seed, Purpose::BatchOrder, self.epoch));
            (self.epoch, self.next) = (self.epoch + 1, 0);
        }
        let chosen = &self.order[self.next..self.next + BATCH];
        self.examples.gather(chosen, &mut self.x, &mut self.targets);
        let mut dropout = stream(self.seed, Purpose::Dropout, self.steps);
        self.network.forward(&self.x, BATCH, &mut Mode::Train(&mut dropout));
        self.network.backward(&self.x, BATCH, |outputs, d| self.targets.loss(0..BATCH, outputs, Some(d)));
        self.optimizer.step(&mut self.network.params, &self.network.grads, LR);
        (self.next, self.steps) = (self.next + BATCH, self.steps + 1);
        BATCH as f64
    }
}
