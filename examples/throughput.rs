//! How fast lrpilot does one kind of work: `cargo run --release --example throughput -- WORK --seconds S --threads T`.
//!
//! Prints one line of JSON. T independent copies of the work start together, each on a thread of its own, and their
//! rates are added; that is how lrpilot trains several networks or policies. The data are random, of the right shape, and
//! in memory before the clock starts. `bench/versus_pytorch` runs this beside the same work in PyTorch.

// The other two problems of the file go unused here.
#[allow(dead_code)]
#[path = "../tests/common/classic.rs"]
mod classic;

use classic::{CartPole, Classic};
use lrpilot::agent::{Ppo, PpoConfig, Rollout, Slot};
use lrpilot::env::{Env, Formulation, LrEnv};
use lrpilot::nn::loss::cross_entropy;
use lrpilot::nn::models::named;
use lrpilot::nn::{LayerSpec, Mode, Network, Optimizer, OptimizerSpec, Shape};
use lrpilot::rng::{Purpose, stream};
use lrpilot::run::RunConfig;
use lrpilot::task::data::{Examples, Splits};
use lrpilot::task::{SupervisedConfig, Task, TaskConfig};
use lrpilot::{Error, Result};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use serde::Serialize;
use std::sync::{Arc, Barrier};
use std::time::Instant;

const USAGE: &str = "usage: throughput WORK [--seconds S] [--threads T]

WORK is one of
  digits-mlp mnist-mlp mnist-cnn cifar-cnn resnet   training a network: images/s
  learn-digits learn-mnist-mlp                      learning a policy as the paper does: epochs (environment steps)/s
  ppo-cartpole ppo-cartpole-8                       PPO alone, with 1 or 8 environments: environment steps/s
  gemm                                              the matrix product alone: GFLOP/s";

const CLASSES: usize = 10;
const BATCH: usize = 64;
/// Small enough for training on random labels to stay finite.
const LR: f64 = 0.01;
/// Largest LR that a policy may choose: with the paper's bound of 1 most epochs would be cut short by divergence.
const LARGEST_LEARNED_LR: f64 = 0.02;
/// Share of the measured time that is spent on the same work before it.
const WARM_UP: f64 = 0.25;
/// Environment steps that are collected at a time while the rate of collecting is measured.
const CHUNK: usize = 32;

/// What is printed.
#[derive(Default, Serialize)]
struct Line {
    work: String,
    threads: usize,
    seconds: f64,
    images_per_s: Option<f64>,
    epochs_per_s: Option<f64>,
    steps_per_s: Option<f64>,
    gflops: Option<f64>,
    flops_per_image: Option<f64>,
    peak_rss_mib: Option<f64>,
}

struct Args {
    work: String,
    seconds: f64,
    threads: usize,
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        println!("{USAGE}");
        return 0.into();
    }
    let line = parse(&arguments).and_then(|args| measure(&args));
    match line.and_then(|l| serde_json::to_string(&l).map_err(|e| Error::Bug(e.to_string()))) {
        Ok(json) => {
            println!("{json}");
            0.into()
        }
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code().into()
        }
    }
}

fn parse(arguments: &[String]) -> Result<Args> {
    let bad = |message: String| Error::usage(message, USAGE);
    let mut args = Args { work: String::new(), seconds: 3.0, threads: 2 };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || -> Result<f64> {
            let value = rest.next().ok_or_else(|| bad(format!("{argument} needs a number")))?;
            let parsed = value.parse().ok().filter(|v: &f64| v.is_finite() && *v > 0.0);
            parsed.ok_or_else(|| bad(format!("{argument} {value}: not a number > 0")))
        };
        match argument.as_str() {
            "--seconds" => args.seconds = number()?,
            "--threads" => args.threads = number()?.max(1.0) as usize,
            work if args.work.is_empty() && !work.starts_with('-') => args.work = work.to_owned(),
            other => return Err(bad(format!("unknown argument {other:?}"))),
        }
    }
    if args.work.is_empty() {
        return Err(bad("no WORK given".into()));
    }
    Ok(args)
}

fn measure(args: &Args) -> Result<Line> {
    let mut line = Line { work: args.work.clone(), threads: args.threads, seconds: args.seconds, ..Line::default() };
    match args.work.as_str() {
        "gemm" => line.gflops = Some(gemm_rate(args)?),
        "learn-digits" => learn(args, "digits", Shape::image(1, 8, 8), &mut line)?,
        "learn-mnist-mlp" => learn(args, "mnist-mlp", Shape::image(1, 28, 28), &mut line)?,
        "ppo-cartpole" => line.steps_per_s = Some(cart_pole(args, 1)?),
        "ppo-cartpole-8" => line.steps_per_s = Some(cart_pole(args, 8)?),
        work => {
            let model = Model::named(work).ok_or_else(|| Error::usage(format!("unknown work {work:?}"), USAGE))?;
            train(args, &model, &mut line)?;
        }
    }
    line.peak_rss_mib = peak_rss_mib();
    Ok(line)
}

/// Prepare and measure `threads` copies side by side and add up their rates.
fn side_by_side<S>(
    threads: usize,
    prepare: impl Fn(u64) -> Result<S> + Sync,
    rate: impl Fn(S) -> Result<f64> + Sync,
) -> Result<f64> {
    // A pool of one thread for each, so that no copy finds a second core to use.
    let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pools: Vec<_> =
        (0..threads).map(pool).collect::<Result<_, _>>().map_err(|e| Error::Bug(format!("no thread pool: {e}")))?;
    let start = Barrier::new(threads);
    let copy = |index: usize| {
        let prepared = prepare(index as u64);
        // Also after an error, or the others would wait for ever.
        start.wait();
        rate(prepared?)
    };
    std::thread::scope(|scope| {
        let copy = &copy;
        let copies: Vec<_> =
            pools.iter().enumerate().map(|(i, pool)| scope.spawn(move || pool.install(|| copy(i)))).collect();
        copies.into_iter().map(|c| c.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    })
}

/// Repeat `piece`, which returns how much it did, for about `seconds`; returns the amount done per second.
fn repeat(seconds: f64, mut piece: impl FnMut() -> Result<f64>) -> Result<f64> {
    let start = Instant::now();
    let mut done = 0.0;
    loop {
        done += piece()?;
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(done / elapsed);
        }
    }
}

/// A network to be trained, and the images of an epoch.
struct Model {
    shape: Shape,
    layers: Vec<LayerSpec>,
    images: usize,
    flops_per_image: f64,
}

impl Model {
    fn named(work: &str) -> Option<Model> {
        let (name, shape, images) = match work {
            "digits-mlp" => ("mlp-32", Shape::flat(64), 1024),
            "mnist-mlp" => ("mlp-128", Shape::flat(784), 5120),
            "mnist-cnn" => ("mnist-cnn", Shape::image(1, 28, 28), 5120),
            "cifar-cnn" => ("cifar-cnn", Shape::image(3, 32, 32), 2048),
            "resnet" => ("resnet", Shape::image(3, 32, 32), 2048),
            _ => return None,
        };
        let layers = named(name, CLASSES).ok()?;
        // The round number for PyTorch's MNIST example stands in the documentation, so it is used as it is.
        let flops_per_image = if work == "mnist-cnn" { 72e6 } else { training_flops(shape, &layers) };
        Some(Model { shape, layers, images, flops_per_image })
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

fn random_examples(shape: Shape, count: usize, seed: u64) -> Examples {
    let mut rng = stream(seed, Purpose::Data, 0);
    let x = (0..count * shape.len()).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
    let y = (0..count).map(|_| rng.random_range(0..CLASSES as u8)).collect();
    Examples { shape, classes: CLASSES, x, y }
}

fn train(args: &Args, model: &Model, line: &mut Line) -> Result<()> {
    let examples = random_examples(model.shape, model.images, 0);
    let rate = side_by_side(
        args.threads,
        |seed| {
            let mut training = Training::new(model, &examples, seed)?;
            repeat(WARM_UP * args.seconds, || Ok(training.step()))?;
            Ok(training)
        },
        |mut training| repeat(args.seconds, || Ok(training.step())),
    )?;
    line.images_per_s = Some(rate);
    line.epochs_per_s = Some(rate / model.images as f64);
    line.flops_per_image = Some(model.flops_per_image);
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
    x: Vec<f32>,
    y: Vec<u8>,
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
            x: vec![0.0; BATCH * model.shape.len()],
            y: vec![0; BATCH],
            examples,
        })
    }

    /// Shuffle if an epoch begins, copy the batch, forward, cross-entropy, backward, momentum step.
    fn step(&mut self) -> f64 {
        if self.next == self.order.len() {
            self.order.shuffle(&mut stream(self.seed, Purpose::BatchOrder, self.epoch));
            (self.epoch, self.next) = (self.epoch + 1, 0);
        }
        let width = self.examples.shape.len();
        let chosen = &self.order[self.next..self.next + BATCH];
        for ((x, y), &from) in self.x.chunks_exact_mut(width).zip(&mut self.y).zip(chosen) {
            let from = from as usize;
            x.copy_from_slice(&self.examples.x[from * width..(from + 1) * width]);
            *y = self.examples.y[from];
        }
        let mut dropout = stream(self.seed, Purpose::Dropout, self.steps);
        self.network.forward(&self.x, BATCH, &mut Mode::Train(&mut dropout));
        self.network.backward(&self.x, BATCH, |logits, d| cross_entropy(logits, &self.y, CLASSES, Some(d)));
        self.optimizer.step(&mut self.network.params, &self.network.grads, LR);
        (self.next, self.steps) = (self.next + BATCH, self.steps + 1);
        BATCH as f64
    }
}

/// The paper's learning loop on a preset, with random data of the preset's size.
fn learn(args: &Args, preset: &str, shape: Shape, line: &mut Line) -> Result<()> {
    let mut config = RunConfig::preset(preset, Formulation::Paper)?;
    let TaskConfig::Supervised(task) = &mut config.task else {
        return Err(Error::Bug(format!("{preset} is no supervised task")));
    };
    task.lr_bounds.1 = LARGEST_LEARNED_LR;
    let task = Arc::new(task.clone());
    let sizes = [task.data.train_images, task.data.val_a, task.data.val_b, task.data.test];
    let mut parts = (0..).zip(sizes).map(|(seed, count)| random_examples(shape, count, seed));
    let mut part = || parts.next().ok_or_else(|| Error::Bug("four parts".into()));
    let splits = Arc::new(Splits { train: part()?, val_a: part()?, val_b: part()?, test: part()? });
    let rate = side_by_side(
        args.threads,
        |seed| {
            let mut learning = Learning::new(&config, &task, &splits, seed)?;
            repeat(WARM_UP * args.seconds, || learning.collect())?;
            Ok(learning)
        },
        |mut learning| learning.rate(args.seconds),
    )?;
    line.steps_per_s = Some(rate);
    line.epochs_per_s = Some(rate);
    line.images_per_s = Some(rate * splits.train.len() as f64);
    Ok(())
}

/// A policy being learned. Collecting and updating are timed apart, so that a part of a rollout is enough.
struct Learning {
    /// Collects `CHUNK` steps at a time.
    collector: Ppo,
    /// Updates on a whole rollout.
    learner: Ppo,
    slots: Vec<Slot>,
    rollout: Rollout,
    n_steps: usize,
}

impl Learning {
    fn new(config: &RunConfig, task: &Arc<SupervisedConfig>, splits: &Arc<Splits>, seed: u64) -> Result<Self> {
        let task = lrpilot::task::Supervised::new(Arc::clone(task), Arc::clone(splits))?;
        let parts = config.env.parts(task.spec())?;
        let env = LrEnv::new(Box::new(task), parts);
        let (observation, space) = (env.observation_space().dim(), env.action_space());
        let chunks = PpoConfig { n_steps: CHUNK, ..config.ppo.clone() };
        Ok(Learning {
            collector: Ppo::new(chunks, observation, &space, seed)?,
            learner: Ppo::new(config.ppo.clone(), observation, &space, seed)?,
            slots: vec![Slot::new(0, Box::new(env))],
            rollout: Rollout::default(),
            n_steps: config.ppo.n_steps,
        })
    }

    fn collect(&mut self) -> Result<f64> {
        self.rollout = self.collector.collect(&mut self.slots)?;
        Ok(CHUNK as f64)
    }

    /// Environment steps per second of whole iterations: `n_steps` steps and one update.
    fn rate(&mut self, seconds: f64) -> Result<f64> {
        let collected = repeat(seconds, || self.collect())?;
        let rollout = repeated(&self.rollout, self.n_steps / CHUNK);
        let updated = repeat(seconds / 4.0, || {
            self.learner.update(&rollout, 1.0);
            Ok(self.n_steps as f64)
        })?;
        Ok(1.0 / (1.0 / collected + 1.0 / updated))
    }
}

/// A rollout `times` as long: what an update costs depends on the number of samples alone.
fn repeated(rollout: &Rollout, times: usize) -> Rollout {
    Rollout {
        slots: rollout.slots,
        steps: rollout.steps * times,
        observations: rollout.observations.repeat(times),
        actions: rollout.actions.repeat(times),
        log_probs: rollout.log_probs.repeat(times),
        rewards: rollout.rewards.repeat(times),
        ended: rollout.ended.repeat(times),
        values: rollout.values.repeat(times),
        last_values: rollout.last_values.clone(),
        advantages: rollout.advantages.repeat(times),
        returns: rollout.returns.repeat(times),
        episodes: Vec::new(),
    }
}

/// PPO with Stable-Baselines3's defaults on CartPole-v1, whole iterations of a rollout and an update.
fn cart_pole(args: &Args, envs: usize) -> Result<f64> {
    let iteration = |ppo: &mut Ppo, slots: &mut [Slot]| {
        let rollout = ppo.collect(slots)?;
        ppo.update(&rollout, 1.0);
        Ok((rollout.slots * rollout.steps) as f64)
    };
    side_by_side(
        args.threads,
        |seed| {
            let env = Classic::<CartPole>::new();
            let space = env.action_space();
            let mut ppo = Ppo::new(PpoConfig::default(), env.observation_space().dim(), &space, seed)?;
            let mut slots: Vec<Slot> = (0..envs).map(|i| Slot::new(i, Box::new(Classic::<CartPole>::new()))).collect();
            repeat(WARM_UP * args.seconds, || iteration(&mut ppo, &mut slots))?;
            Ok((ppo, slots))
        },
        |(mut ppo, mut slots)| repeat(args.seconds, || iteration(&mut ppo, &mut slots)),
    )
}

/// GFLOP/s of square f32 products of the `gemm` crate, the best of a few sizes: what a core can do at most.
fn gemm_rate(args: &Args) -> Result<f64> {
    let sizes = [256, 384, 512, 768, 1024];
    let share = args.seconds / sizes.len() as f64;
    side_by_side(
        args.threads,
        |_| Ok(()),
        |()| {
            let rates = sizes.map(|n| {
                let (a, b, mut c) = (vec![0.5; n * n], vec![0.25; n * n], vec![0.0; n * n]);
                product(n, &a, &b, &mut c);
                repeat(share, || {
                    product(n, &a, &b, &mut c);
                    Ok(2e-9 * (n as f64).powi(3))
                })
            });
            rates.into_iter().try_fold(0.0, |best: f64, rate| Ok(best.max(rate?)))
        },
    )
}

/// `c ← a·b`, all `[n][n]`, on the current thread.
#[allow(unsafe_code)]
fn product(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    assert!([a.len(), b.len(), c.len()].iter().all(|len| *len == n * n));
    let (row, none) = (n as isize, gemm::Parallelism::None);
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    // SAFETY: the strides 1 and n stay inside the n·n values of each slice, and `c` is borrowed mutably.
    unsafe {
        gemm::gemm(n, n, n, c, 1, row, false, a, 1, row, b, 1, row, 0.0, 1.0, false, false, false, none);
    }
}

/// The largest resident set of this process so far, where the system tells it (Linux).
fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kib.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
