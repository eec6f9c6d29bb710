//! A classifier trained on a data set, one interval at a time.

use crate::nn::aligned::{AlignedVec, zeros};
use crate::nn::line_search::LineSearch;
use crate::nn::loss::cross_entropy;
use crate::nn::{Mode, Network, Optimizer, OptimizerSpec, StepNorms};
use crate::rng::{Purpose, stream};
use crate::task::config::SupervisedConfig;
use crate::task::data::{Examples, Splits};
use crate::task::size::of_task;
use crate::task::{AnchorRule, Knobs, Measurement, Split, Task, TaskSpec, TaskState};
use crate::{Error, Result};
use rand::seq::SliceRandom as _;
use std::ops::Range;
use std::sync::Arc;

/// Activations of a batch of the evaluation stay below this many values, so that they stay in cache.
const EVALUATION_VALUES: usize = 1 << 18;

/// A classifier on shared, read-only data.
pub struct Supervised {
    config: Arc<SupervisedConfig>,
    splits: Arc<Splits>,
    spec: TaskSpec,
    network: Network,
    /// Parameter range of each layer.
    layers: Vec<Range<usize>>,
    optimizer: Optimizer,
    searcher: Option<Searcher>,
    seed: u64,
    interval: usize,
    steps: u64,
    /// The epoch that `order` belongs to; `u64::MAX` for none.
    order_epoch: u64,
    order: Vec<u32>,
    batch_x: AlignedVec,
    batch_y: Vec<u8>,
    start_params: Vec<f32>,
    sums: Sums,
}

/// A line search, and the network's state while it tries step sizes.
struct Searcher {
    search: LineSearch,
    params: Vec<f32>,
    buffers: Vec<f32>,
}

impl Searcher {
    fn new(config: &SupervisedConfig, examples: usize, network: &Network) -> Option<Self> {
        let OptimizerSpec::Sls(search) = config.optimizer else { return None };
        let search = LineSearch::new(search, examples.div_ceil(config.batch_size) as u64);
        Some(Searcher { search, params: network.params.to_vec(), buffers: network.buffers.clone() })
    }
}

/// Sums over the batches of an interval.
#[derive(Default)]
struct Sums {
    grad_norms: Vec<f64>,
    update_sq: Vec<f64>,
    /// Of the last step.
    step: Vec<StepNorms>,
    norm: f64,
    norm_sq: f64,
    loss_halves: [f64; 2],
    loss: f64,
    step_size: f64,
    forward_passes: u64,
    /// Examples since the first layer last had a gradient.
    still: usize,
}

impl Sums {
    /// Σg² of the last step over all layers.
    fn step_grad_sq(&self) -> f64 {
        self.step.iter().map(|s| s.grad_sq).sum()
    }

    /// Add the last step, on a batch of `examples`; returns the norm of its gradient over all layers.
    fn add_step(&mut self, examples: usize) -> f64 {
        let moves = self.step.first().is_none_or(|first| first.grad_sq != 0.0);
        self.still = if moves { 0 } else { self.still + examples };
        for ((norm, update), step) in self.grad_norms.iter_mut().zip(&mut self.update_sq).zip(&self.step) {
            *norm += step.grad_sq.sqrt();
            *update += step.update_sq;
        }
        let grad_sq = self.step_grad_sq();
        self.norm += grad_sq.sqrt();
        self.norm_sq += grad_sq;
        grad_sq.sqrt()
    }

    fn clear(&mut self) {
        self.grad_norms.fill(0.0);
        self.update_sq.fill(0.0);
        (self.norm, self.norm_sq, self.loss_halves, self.loss) = (0.0, 0.0, [0.0; 2], 0.0);
        (self.step_size, self.forward_passes, self.still) = (0.0, 0, 0);
    }
}

impl Supervised {
    /// Build the task on data that was split before (shared by all tasks of a run).
    ///
    /// # Errors
    /// [`Error::Config`] for a model that does not fit the data or a batch larger than the training set.
    pub fn new(config: Arc<SupervisedConfig>, splits: Arc<Splits>) -> Result<Self> {
        config.check()?;
        let train = &splits.train;
        if config.batch_size > train.len() {
            let message = format!("{} is larger than the training set of {}", config.batch_size, train.len());
            return Err(Error::config("task.batch_size", message, "give a smaller batch or more training images"));
        }
        let shape = train.shape;
        let classes = train.classes;
        let layers = config.model.layers(classes).map_err(of_task)?;
        let widest = Network::new(shape, &layers, 1).map_err(of_task)?.widest_activation().max(shape.len());
        let most_evaluated = splits.val_a.len().max(splits.val_b.len()).max(splits.test.len());
        let evaluation_batch = (EVALUATION_VALUES / widest).clamp(1, 1024).min(most_evaluated);
        let network = Network::new(shape, &layers, config.batch_size.max(evaluation_batch)).map_err(of_task)?;
        let outputs = network.output_shape().len();
        if outputs != classes {
            let message = format!("the model ends in {outputs} outputs for {classes} classes");
            return Err(Error::config("task.model", message, "make the last layer as wide as there are classes"));
        }
        let layers = network.layer_ranges().to_vec();
        let count = layers.len();
        let spec = spec_of(&config, train, &network);
        Ok(Supervised {
            searcher: Searcher::new(&config, train.len(), &network),
            optimizer: Optimizer::new(config.optimizer.clone(), network.params.len()),
            seed: 0,
            interval: 0,
            steps: 0,
            order_epoch: u64::MAX,
            order: (0..train.len() as u32).collect(),
            batch_x: zeros(config.batch_size * shape.len()),
            batch_y: vec![0; config.batch_size],
            start_params: vec![0.0; network.params.len()],
            sums: Sums {
                grad_norms: vec![0.0; count],
                update_sq: vec![0.0; count],
                step: vec![StepNorms::default(); count],
                ..Sums::default()
            },
            layers,
            config,
            splits,
            spec,
            network,
        })
    }

    /// The network as it stands, for export.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The data.
    pub fn splits(&self) -> &Splits {
        &self.splits
    }

    /// The order in which the training examples come in `epoch` of the episode with `seed`.
    pub fn batch_order(&self, seed: u64, epoch: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.splits.train.len() as u32).collect();
        shuffle(&mut order, seed, epoch);
        order
    }

    fn batches_per_epoch(&self) -> u64 {
        self.splits.train.len().div_ceil(self.config.batch_size) as u64
    }

    /// Copy the batch of step number `step` and return its size.
    fn load_batch(&mut self, step: u64) -> usize {
        let (epoch, batch) = (step / self.batches_per_epoch(), step % self.batches_per_epoch());
        if self.order_epoch != epoch {
            self.order.iter_mut().enumerate().for_each(|(i, v)| *v = i as u32);
            shuffle(&mut self.order, self.seed, epoch);
            self.order_epoch = epoch;
        }
        let train = &self.splits.train;
        let first = batch as usize * self.config.batch_size;
        let chosen = &self.order[first..(first + self.config.batch_size).min(self.order.len())];
        train.gather(chosen, &mut self.batch_x, &mut self.batch_y);
        chosen.len()
    }

    /// Loss and gradient of the loaded batch.
    fn gradient(&mut self, batch: usize, dropout_index: u64) -> f64 {
        let x = &self.batch_x[..batch * self.splits.train.shape.len()];
        let mut dropout = stream(self.seed, Purpose::Dropout, dropout_index);
        self.network.forward(x, batch, &mut Mode::Train(&mut dropout));
        let (targets, classes) = (&self.batch_y[..batch], self.splits.train.classes);
        self.network.backward(x, batch, |logits, d| cross_entropy(logits, targets, classes, Some(d)))
    }

    /// The step size that the line search finds for the loaded batch, whose loss and gradient have just been computed.
    /// Trials see the dropout masks of the gradient and leave weights and normalisation statistics as they were.
    fn search(&mut self, batch: usize, loss: f64) -> Option<f64> {
        self.searcher.as_ref()?;
        self.take_gradient_norms();
        let norm_sq = self.sums.step_grad_sq();
        let Searcher { search, params, buffers } = self.searcher.as_mut()?;
        let (network, examples) = (&mut self.network, &self.splits.train);
        let x = &self.batch_x[..batch * examples.shape.len()];
        params.copy_from_slice(&network.params);
        buffers.copy_from_slice(&network.buffers);
        let found = search.find(norm_sq, loss, |eta| {
            let weights = network.params.iter_mut().zip(&*params).zip(&network.grads[..]);
            weights.for_each(|((w, start), g)| *w = start - eta as f32 * g);
            let mut dropout = stream(self.seed, Purpose::Dropout, self.steps);
            let logits = network.forward(x, batch, &mut Mode::Train(&mut dropout));
            cross_entropy(logits, &self.batch_y[..batch], examples.classes, None)
        });
        network.params.copy_from_slice(params);
        network.buffers.copy_from_slice(buffers);
        self.sums.step_size += found.step_size;
        self.sums.forward_passes += found.forward_passes;
        Some(found.step_size)
    }

    /// Σg² of the current gradient, layer by layer, to `self.sums.step`.
    fn take_gradient_norms(&mut self) {
        for (norms, range) in self.sums.step.iter_mut().zip(&self.layers) {
            let grad_sq = crate::nn::norms::sum_sq(&self.network.grads[range.clone()]);
            *norms = StepNorms { update_sq: 0.0, grad_sq };
        }
    }

    /// Loss and accuracy on `examples`.
    fn evaluate_on(&mut self, splits: &Splits, split: Split) -> (f64, f64) {
        let examples = match split {
            Split::ValidationA => &splits.val_a,
            Split::ValidationB => &splits.val_b,
            Split::Test => &splits.test,
        };
        let width = examples.shape.len();
        let (mut loss, mut correct) = (0.0, 0usize);
        for (x, y) in
            examples.x.chunks(self.network.max_batch() * width).zip(examples.y.chunks(self.network.max_batch()))
        {
            let logits = self.network.forward(x, y.len(), &mut Mode::Eval);
            loss += cross_entropy(logits, y, examples.classes, None) * y.len() as f64;
            correct +=
                logits.chunks_exact(examples.classes).zip(y).filter(|(row, y)| argmax(row) == usize::from(**y)).count();
        }
        (loss / examples.len() as f64, correct as f64 / examples.len() as f64)
    }

    /// The measurement after `batches` batches summed up in `self.sums`.
    fn measure(&mut self, batches: usize, first_half: usize, diverged: bool) -> Measurement {
        let splits = Arc::clone(&self.splits);
        let (val_loss, val_accuracy) =
            if diverged { (f64::NAN, 0.0) } else { self.evaluate_on(&splits, Split::ValidationA) };
        let n = batches as f64;
        let (sums, network) = (&self.sums, &self.network);
        let mean = sums.norm / n;
        let weight_norms: Vec<f64> = network
            .layer_ranges()
            .iter()
            .map(|r| crate::nn::norms::sum_sq(&network.params[r.clone()]).sqrt())
            .collect();
        let displacement_sq: f64 =
            network.params.iter().zip(&self.start_params).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let train_loss = sums.loss / n;
        let finite = val_loss.is_finite()
            && train_loss.is_finite()
            && mean.is_finite()
            && weight_norms.iter().all(|w| w.is_finite());
        let half = |i: usize, count: usize| if count == 0 { train_loss } else { sums.loss_halves[i] / count as f64 };
        let chance = self.spec.chance_loss.unwrap_or(f64::INFINITY);
        Measurement {
            interval: self.interval,
            train_loss,
            train_loss_first_half: half(0, first_half),
            train_loss_second_half: half(1, batches - first_half),
            val_loss,
            val_accuracy,
            grad_norms: sums.grad_norms.iter().map(|g| g / n).collect(),
            weight_norms,
            update_norms: sums.update_sq.iter().map(|u| (u / n).sqrt()).collect(),
            grad_norm_mean: mean,
            grad_norm_sd: (sums.norm_sq / n - mean * mean).max(0.0).sqrt(),
            displacement: displacement_sq.sqrt(),
            path_length: sums.update_sq.iter().sum::<f64>().sqrt(),
            steps: self.steps,
            step_size: self.searcher.as_ref().map(|_| sums.step_size / n),
            extra_forward_passes: sums.forward_passes,
            diverged: diverged || !finite,
            // A smaller batch may have no gradient by chance, or because batch normalisation takes the mean of one example.
            stuck: sums.still >= self.config.batch_size && val_loss > 0.9 * chance,
        }
    }
}

impl Task for Supervised {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn reset(&mut self, seed: u64) -> Result<Measurement> {
        (self.seed, self.interval, self.steps, self.order_epoch) = (seed, 0, 0, u64::MAX);
        self.network.init(&mut stream(seed, Purpose::Weights, 0));
        self.optimizer.reset();
        self.searcher.iter_mut().for_each(|s| s.search.reset());
        self.start_params.copy_from_slice(&self.network.params);
        self.sums.clear();
        let batch = self.load_batch(0);
        let buffers = self.network.buffers.clone();
        let loss = self.gradient(batch, u64::MAX);
        self.network.buffers.copy_from_slice(&buffers);
        self.sums.loss = loss;
        self.take_gradient_norms();
        self.sums.add_step(batch);
        Ok(self.measure(1, 0, !loss.is_finite()))
    }

    fn advance(&mut self, knobs: &Knobs) -> Result<Measurement> {
        self.optimizer.set_knobs(knobs.momentum, knobs.weight_decay);
        self.sums.clear();
        self.start_params.copy_from_slice(&self.network.params);
        let planned = self.spec.steps_per_interval;
        let (mut done, mut diverged) = (0, false);
        while done < planned && !diverged {
            let batch = self.load_batch(self.steps);
            let loss = self.gradient(batch, self.steps);
            let lr = self.search(batch, loss).unwrap_or(knobs.lr);
            let (network, sums) = (&mut self.network, &mut self.sums);
            self.optimizer.step_with_norms(&mut network.params, &network.grads, lr, &self.layers, &mut sums.step);
            let norm = sums.add_step(batch);
            sums.loss += loss;
            sums.loss_halves[usize::from(done >= planned / 2)] += loss;
            diverged = !(loss.is_finite() && norm.is_finite());
            self.steps += 1;
            done += 1;
        }
        self.interval += 1;
        Ok(self.measure(done, (planned / 2).min(done), diverged))
    }

    fn evaluate(&mut self, split: Split) -> Result<(f64, f64)> {
        let splits = Arc::clone(&self.splits);
        Ok(self.evaluate_on(&splits, split))
    }

    fn snapshot(&self) -> TaskState {
        TaskState {
            seed: self.seed,
            interval: self.interval,
            steps: self.steps,
            params: self.network.params.to_vec(),
            buffers: self.network.buffers.clone(),
            optimizer: Some(self.optimizer.state().clone()),
            step_size: self.searcher.as_ref().map(|s| s.search.step_size()),
        }
    }

    fn restore(&mut self, state: &TaskState) -> Result<()> {
        let TaskState { seed, interval, steps, params, buffers, optimizer, step_size } = state;
        let fits = params.len() == self.network.params.len() && buffers.len() == self.network.buffers.len();
        let Some(optimizer) = optimizer.as_ref().filter(|_| fits) else {
            return Err(Error::Bug(format!("the saved state is not of the task `{}`", self.spec.name)));
        };
        (self.seed, self.interval, self.steps, self.order_epoch) = (*seed, *interval, *steps, u64::MAX);
        self.network.params.copy_from_slice(params);
        self.network.buffers.copy_from_slice(buffers);
        self.optimizer.set_state(optimizer);
        self.searcher.iter_mut().zip(step_size).for_each(|(s, size)| s.search.set_step_size(*size));
        Ok(())
    }
}

fn shuffle(order: &mut [u32], seed: u64, epoch: u64) {
    order.shuffle(&mut stream(seed, Purpose::BatchOrder, epoch));
}

fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

fn spec_of(config: &SupervisedConfig, train: &Examples, network: &Network) -> TaskSpec {
    let steps = config.interval_steps.unwrap_or(train.len().div_ceil(config.batch_size));
    let anchor = match config.optimizer {
        OptimizerSpec::Sgd { momentum, .. } if momentum > 0.0 => AnchorRule::WeightOverGradient(1e-3),
        OptimizerSpec::Sgd { .. } => AnchorRule::WeightOverGradient(1e-2),
        OptimizerSpec::Adadelta { .. } => AnchorRule::WeightRms(10.0),
        OptimizerSpec::Adagrad { .. } => AnchorRule::WeightRms(0.1),
        _ => AnchorRule::WeightRms(1e-2),
    };
    TaskSpec {
        name: config.name.clone(),
        layers: network.layer_names(),
        parameters: network.params.len(),
        horizon: config.horizon,
        steps_per_interval: steps,
        batch_size: config.batch_size,
        chance_loss: Some((train.classes as f64).ln()),
        lr_bounds: config.lr_bounds,
        default_lr: config.optimizer.default_lr(),
        anchor,
        accepts_momentum: config.optimizer.accepts_momentum(),
        accepts_weight_decay: config.optimizer.accepts_weight_decay(),
        finds_lr: config.optimizer.finds_lr(),
    }
}
