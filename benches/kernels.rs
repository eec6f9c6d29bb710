//! Time of the inner loops, one at a time: `cargo bench --bench kernels [-- FILTER]`. One thread, random values.
//!
//! The comparison with PyTorch is in `bench/versus_pytorch`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use lrpilot::agent::{Policy, Ppo, PpoConfig, Slot};
use lrpilot::env::{Env, Formulation, LrEnv, Observation};
use lrpilot::nn::kernels::aligned::{AlignedVec, zeros};
use lrpilot::nn::kernels::gemm::{Trans, Update, matmul};
use lrpilot::nn::kernels::window::Window;
use lrpilot::nn::layers::batch_norm::BatchNorm;
use lrpilot::nn::layers::conv::Conv2d;
use lrpilot::nn::layers::{Layer, Pass};
use lrpilot::nn::loss::cross_entropy;
use lrpilot::nn::model::{Activation, named};
use lrpilot::nn::{LayerSpec, Mode, Network, Optimizer, OptimizerSpec, Shape};
use lrpilot::rng::{Purpose, stream};
use lrpilot::run::RunConfig;
use lrpilot::schedule::Learned;
use lrpilot::schedule::learned::Provenance;
use lrpilot::task::data::{Examples, Targets};
use lrpilot::task::{ConfiguredTask, NoisyQuadratic, Preset, Task, TaskConfig, TaskSource as _};
use lrpilot_core::{Group, Hyperparameters, Measurement, RunSpec};
use rand::RngExt as _;
use std::sync::Arc;

fn main() {
    divan::main();
}

const CLASSES: usize = 10;
const BATCH: usize = 64;

/// Uniform values in [−1, 1), in memory as networks have theirs.
fn random(len: usize) -> AlignedVec {
    let mut rng = stream(0, Purpose::Data, len as u64);
    AlignedVec::from((0..len).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect::<Vec<f32>>())
}

fn labels(len: usize) -> Vec<u32> {
    (0..len).map(|i| (i % CLASSES) as u32).collect()
}

/// `m × n × k` and how the operands lie.
type Product = (usize, usize, usize, Trans, Trans);

/// Where they occur: dense layers forward (digits-mlp, mnist-mlp), mnist-mlp's weights' gradient, a component of Winograd's
/// tiles in mnist-cnn (forward, gradient of the weights, of the input) and in resnet with few and with many channels, a first
/// convolution's windows, gradients of the weights and the input of mnist-cnn's first dense layer.
const PRODUCTS: [(&str, Product); 12] = [
    ("64x32x64", (64, 32, 64, Trans::No, Trans::Yes)),
    ("64x128x784", (64, 128, 784, Trans::No, Trans::Yes)),
    ("128x784x64", (128, 784, 64, Trans::Yes, Trans::No)),
    ("72x64x32", (72, 64, 32, Trans::No, Trans::No)),
    ("32x64x72", (32, 64, 72, Trans::Yes, Trans::No)),
    ("72x32x64", (72, 32, 64, Trans::No, Trans::No)),
    ("224x16x16", (224, 16, 16, Trans::No, Trans::No)),
    ("16x16x224", (16, 16, 224, Trans::Yes, Trans::No)),
    ("56x64x64", (56, 64, 64, Trans::No, Trans::No)),
    ("676x32x9", (676, 32, 9, Trans::No, Trans::No)),
    ("128x9216x64", (128, 9216, 64, Trans::Yes, Trans::No)),
    ("64x9216x128", (64, 9216, 128, Trans::No, Trans::No)),
];

fn by_name<T: Copy>(table: &[(&str, T)], name: &str) -> T {
    table.iter().find(|entry| entry.0 == name).expect("the names come from the table").1
}

/// Our matrix product; items are floating-point operations.
#[divan::bench(args = PRODUCTS.map(|p| p.0))]
fn product(bencher: Bencher, name: &str) {
    let (m, n, k, ta, tb) = by_name(&PRODUCTS, name);
    let (a, b, mut c) = (random(m * k), random(k * n), zeros(m * n));
    bencher.counter(ItemsCount::new(2 * m * n * k)).bench_local(|| {
        matmul(m, n, k, black_box(&a), ta, black_box(&b), tb, &mut c, Update::Overwrite);
    });
}

/// The same products by the `gemm` crate, for comparison.
#[divan::bench(args = PRODUCTS.map(|p| p.0))]
#[allow(unsafe_code)]
fn product_by_gemm_crate(bencher: Bencher, name: &str) {
    let (m, n, k, ta, tb) = by_name(&PRODUCTS, name);
    let (a, b, mut c) = (random(m * k), random(k * n), zeros(m * n));
    let (a_row, a_col) = if ta == Trans::No { (k as isize, 1) } else { (1, m as isize) };
    let (b_row, b_col) = if tb == Trans::No { (n as isize, 1) } else { (1, k as isize) };
    bencher.counter(ItemsCount::new(2 * m * n * k)).bench_local(|| {
        let (a, b, c) = (black_box(&a).as_ptr(), black_box(&b).as_ptr(), c.as_mut_ptr());
        let none = gemm::Parallelism::None;
        // SAFETY: with these strides every index stays below m·k, k·n and m·n, which are the lengths; `c` is borrowed
        // mutably and overlaps neither operand.
        unsafe {
            gemm::gemm(
                m, n, k, c, 1, n as isize, false, a, a_col, a_row, b, b_col, b_row, 0.0, 1.0, false, false, false, none,
            );
        }
    });
}

/// Input, channels and padding of a 3×3 convolution.
const CONVOLUTIONS: [(&str, (Shape, usize, usize)); 4] = [
    ("mnist-cnn 1", (Shape::image(1, 28, 28), 32, 0)),
    ("mnist-cnn 2", (Shape::image(32, 26, 26), 64, 0)),
    ("resnet 16", (Shape::image(16, 32, 32), 16, 1)),
    ("resnet 64", (Shape::image(64, 8, 8), 64, 1)),
];

/// A layer with its parameters, its buffers and what goes in and out, for one batch.
struct Bed<L> {
    layer: L,
    params: AlignedVec,
    buffers: Vec<f32>,
    grads: AlignedVec,
    x: AlignedVec,
    y: AlignedVec,
    dy: AlignedVec,
    dx: AlignedVec,
}

impl<L: Layer> Bed<L> {
    fn new(input: Shape, layer: L) -> Self {
        let params = layer.params().iter().map(|p| p.len()).sum();
        let output = layer.output().len() * BATCH;
        Bed {
            params: random(params),
            buffers: vec![1.0; layer.buffers().iter().map(|p| p.len()).sum()],
            grads: zeros(params),
            x: random(BATCH * input.len()),
            y: zeros(output),
            dy: random(output),
            dx: zeros(BATCH * input.len()),
            layer,
        }
    }

    fn forward(&mut self) {
        let mut rng = stream(0, Purpose::Dropout, 0);
        let mode = &mut Mode::Train(&mut rng);
        let pass = Pass { params: &self.params, x: black_box(&self.x), batch: BATCH };
        self.layer.forward(pass, &mut self.buffers, &mut self.y, mode);
    }

    fn backward(&mut self) {
        let (dy, dx) = (black_box(&mut self.dy), Some(&mut self.dx[..]));
        let pass = Pass { params: &self.params, x: &self.x, batch: BATCH };
        self.layer.backward(pass, &self.y, dy, dx, &mut self.grads);
    }
}

fn convolution(name: &str) -> Bed<Conv2d> {
    let (input, channels, padding) = by_name(&CONVOLUTIONS, name);
    let window = Window { kernel: 3, stride: 1, padding };
    Bed::new(input, Conv2d::new(input, channels, window, true, Activation::Relu).expect("the shapes fit"))
}

/// A batch of 64; items are images.
#[divan::bench(args = CONVOLUTIONS.map(|c| c.0))]
fn conv_forward(bencher: Bencher, name: &str) {
    let mut bed = convolution(name);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| bed.forward());
}

/// Gradients of weights, bias and input; items are images.
#[divan::bench(args = CONVOLUTIONS.map(|c| c.0))]
fn conv_backward(bencher: Bencher, name: &str) {
    let mut bed = convolution(name);
    bed.forward();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| bed.backward());
}

const NORMALISED: Shape = Shape::image(16, 32, 32);

/// A batch of 64; items are images.
#[divan::bench]
fn batch_norm_forward(bencher: Bencher) {
    let mut bed = Bed::new(NORMALISED, BatchNorm::new(NORMALISED, Activation::Relu));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| bed.forward());
}

#[divan::bench]
fn batch_norm_backward(bencher: Bencher) {
    let mut bed = Bed::new(NORMALISED, BatchNorm::new(NORMALISED, Activation::Relu));
    bed.forward();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| bed.backward());
}

/// Loss and gradient of a batch of 64 with 10 and 100 classes.
#[divan::bench(args = [10, 100])]
fn cross_entropy_and_gradient(bencher: Bencher, classes: usize) {
    let (logits, targets, mut d) = (random(BATCH * classes), labels(BATCH), vec![0.0; BATCH * classes]);
    bencher.bench_local(|| cross_entropy(black_box(&logits), &targets, classes, Some(&mut d)));
}

/// A step of each optimizer on mnist-mlp's 101,770 parameters; items are parameters.
#[divan::bench(args = ["sgd", "sgd with momentum", "adam", "adamw", "nadam", "radam", "adadelta", "adagrad", "rmsprop",
    "prodigy", "schedule-free-sgd", "schedule-free-adamw"])]
fn optimizer_step(bencher: Bencher, name: &str) {
    const PARAMETERS: usize = 101_770;
    let toml = match name {
        "sgd with momentum" => "type = 'sgd'\nmomentum = 0.9".to_owned(),
        other => format!("type = '{other}'"),
    };
    let spec: OptimizerSpec = toml::from_str(&toml).expect("a known optimizer");
    let mut optimizer = Optimizer::new(spec, PARAMETERS);
    let (mut params, grads) = (random(PARAMETERS), random(PARAMETERS));
    bencher.counter(ItemsCount::new(PARAMETERS)).bench_local(|| optimizer.step(&mut params, black_box(&grads), 1e-6));
}

/// Copy a batch of 64 out of 5,120 images of MNIST's size, others every time; items are images.
#[divan::bench]
fn batch_gather(bencher: Bencher) {
    const IMAGES: u32 = 5120;
    let shape = Shape::flat(784);
    let pixels = random(IMAGES as usize * shape.len()).to_vec();
    let targets = Targets::Classes { count: CLASSES, labels: labels(IMAGES as usize) };
    let examples = Examples { shape, x: pixels, targets };
    let (mut x, mut y) = (zeros(BATCH * shape.len()), examples.targets.zeros(BATCH));
    let mut rng = stream(0, Purpose::BatchOrder, 0);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| [0; BATCH].map(|_: u32| rng.random_range(0..IMAGES)))
        .bench_local_refs(|chosen| examples.gather(black_box(chosen), &mut x, &mut y));
}

/// A policy of two tanh layers of 64.
fn policy(observation: usize) -> Policy {
    let sizes = vec![observation, 64, 64, 1];
    let params = random(Policy::param_count(&sizes)).iter().map(|p| 0.1 * p).collect();
    Policy::new(sizes, params, None)
}

fn quadratic(formulation: Formulation) -> (RunConfig, LrEnv) {
    let config = RunConfig::preset("noisy-quadratic", formulation).expect("a known preset");
    let source = Arc::new(ConfiguredTask::new(&config.task, None).expect("a valid preset"));
    let parts = config.env.parts(source.spec()).expect("valid parts");
    (config, LrEnv::new(source, parts).expect("a valid task"))
}

/// The policy's forward pass on one observation, as in a rollout.
#[divan::bench]
fn ppo_forward(bencher: Bencher) {
    let observation = random(Observation::Rich.dim(3));
    let mut policy = policy(observation.len());
    let mut action = [0.0];
    bencher.bench_local(|| {
        policy.act(black_box(&observation), &mut action);
        action[0]
    });
}

/// An update with Stable-Baselines3's settings (2048 samples, 10 epochs, minibatch 64); items are samples passed.
#[divan::bench(sample_count = 10)]
fn ppo_update(bencher: Bencher) {
    let (_, env) = quadratic(Formulation::Pilot);
    let config = PpoConfig::default();
    let passed = config.n_steps * config.n_epochs;
    let (observation, space) = (env.observation_space().dim(), env.action_space());
    let mut ppo = Ppo::new(config, observation, &space, 0).expect("valid settings");
    let rollout = ppo.collect(&mut [Slot::new(0, Box::new(env))], |_| ()).expect("an environment without files");
    bencher.counter(ItemsCount::new(passed)).bench_local(|| ppo.update(black_box(&rollout), 1.0));
}

/// A frozen policy's decision, the observation included.
#[divan::bench(args = [3, 30])]
fn learned_decision(bencher: Bencher, layers: usize) {
    let (config, env) = quadratic(Formulation::Pilot);
    let source = ConfiguredTask::new(&config.task, None).expect("a valid preset");
    let spec = config.env.parts(source.spec()).expect("valid parts").policy;
    let policy = policy(env.observation_space().dim());
    let groups = (0..layers).map(|i| Group::new(format!("layer {i}"), 100)).collect();
    let run = RunSpec { groups, ..source.spec().run() };
    let learned = Learned::new(policy, spec, run.clone(), Provenance::default()).expect("a fitting policy");
    let measured = Measurement {
        train_loss: Some(0.5),
        val_loss: Some(0.6),
        grad_norms: vec![0.1; layers],
        weight_norms: vec![1.0; layers],
        update_norms: vec![0.01; layers],
        grad_norm_mean: Some(0.2),
        path_length: Some(0.1),
        displacement: Some(0.05),
        ..Measurement::default()
    };
    let mut running = learned.start(&run, &measured, None).expect("a run in range");
    bencher.bench_local(|| running.observe(black_box(&measured)));
}

/// Model, optimizer and batch of each preset; two models that no preset has.
fn trained(name: &str) -> (Shape, Vec<LayerSpec>, OptimizerSpec, usize) {
    let momentum = OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
    match Preset::from_name(name).map(Preset::config) {
        Some(TaskConfig::Supervised(task)) => {
            let shape = if name == "digits" { Shape::image(1, 8, 8) } else { Shape::image(1, 28, 28) };
            (shape, task.model.layers(CLASSES).expect("a known model"), task.optimizer, task.batch_size)
        }
        _ => (Shape::image(3, 32, 32), named(name, CLASSES).expect("a known model"), momentum, BATCH),
    }
}

/// Forward, cross-entropy, backward and optimizer step of one batch; items are images.
#[divan::bench(args = ["digits", "mnist-mlp", "mnist-cnn", "cifar-cnn", "resnet"])]
fn training_step(bencher: Bencher, name: &str) {
    let (shape, layers, optimizer, batch) = trained(name);
    let mut network = Network::new(shape, &layers, batch).expect("the layers fit");
    network.init(&mut stream(0, Purpose::Weights, 0));
    let mut optimizer = Optimizer::new(optimizer, network.params.len());
    let (x, y) = (random(batch * shape.len()), labels(batch));
    let mut steps = 0;
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        let mut dropout = stream(0, Purpose::Dropout, steps);
        network.forward(black_box(&x), batch, &mut Mode::Train(&mut dropout));
        network.backward(&x, batch, |logits, d| cross_entropy(logits, &y, CLASSES, Some(d)));
        optimizer.step(&mut network.params, &network.grads, 1e-4);
        steps += 1;
    });
}

/// An interval of the noisy quadratic model: ten steps in fifty dimensions.
#[divan::bench]
fn quadratic_interval(bencher: Bencher) {
    let TaskConfig::NoisyQuadratic(config) = Preset::NoisyQuadratic.config() else { unreachable!("as its name says") };
    let mut task = NoisyQuadratic::new(config).expect("a valid preset");
    task.reset(0).expect("nothing to fail");
    bencher.bench_local(|| task.advance(&Hyperparameters::lr(0.1)).expect("nothing to fail").val_loss);
}
