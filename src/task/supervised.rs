//! A network trained on a data set, one interval at a time.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::optimizer::OptimizerState;
use crate::nn::optimizer::line_search::LineSearch;
use crate::nn::{Mode, Network, Optimizer, OptimizerSpec, StepNorms};
use crate::rng::{Purpose, stream};
use crate::task::config::SupervisedConfig;
use crate::task::data::{Examples, Splits, Targets};
use crate::task::{Split, Task, TaskSpec, in_task, load_state, save_state};
use crate::{Error, Result, limits, range};
use lrpilot_core::{AnchorRule, Group, Hyperparameters, Measurement, OptimizerFamily, Recorder};
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Activations of a batch of the evaluation stay below this many values, so that they stay in cache.
const EVALUATION_VALUES: usize = 1 << 18;

/// A network on shared, read-only data.
pub struct Supervised {
    config: Arc<SupervisedConfig>,
    splits: Arc<Splits>,
    spec: TaskSpec,
    network: Network,
    /// Factor of each layer's initial parameters; none for all 1.
    init_gains: Vec<f32>,
    /// Parameter range of each layer.
    layers: Vec<Range<usize>>,
    optimizer: Optimizer,
    line_search: Option<LineSearch>,
    seed: u64,
    /// The epoch that `order` belongs to, once there is one.
    order_epoch: Option<u64>,
    order: Vec<u32>,
    batch_x: AlignedVec,
    batch_targets: Targets,
    start_params: Vec<f32>,
    recorder: Recorder,
    sums: Sums,
}

/// What one step saw, and what the recorder does not sum up over an interval.
#[derive(Default)]
struct Sums {
    /// Of the last step, for each layer.
    step: Vec<StepNorms>,
    grad_sq: Vec<f64>,
    update_sq: Vec<f64>,
    step_size: f64,
    forward_passes: u64,
    /// Examples since the first layer last had a gradient.
    still: usize,
}

impl Sums {
    fn new(layers: usize) -> Self {
        Sums {
            step: vec![StepNorms::default(); layers],
            grad_sq: vec![0.0; layers],
            update_sq: vec![0.0; layers],
            ..Sums::default()
        }
    }

    /// Begin an interval.
    fn begin(&mut self) {
        (self.step_size, self.forward_passes, self.still) = (0.0, 0, 0);
    }

    /// Split the norms of the last step, on a batch of `examples`, into those of gradients and those of updates.
    fn split(&mut self, examples: usize) {
        let moves = self.step.first().is_none_or(|first| first.grad_sq != 0.0);
        self.still = if moves { 0 } else { self.still + examples };
        for ((grad, update), step) in self.grad_sq.iter_mut().zip(&mut self.update_sq).zip(&self.step) {
            (*grad, *update) = (step.grad_sq, step.update_sq);
        }
    }
}

/// Everything an episode's future depends on.
#[derive(Serialize, Deserialize)]
struct State {
    seed: u64,
    interval: usize,
    steps: u64,
    params: Vec<f32>,
    buffers: Vec<f32>,
    optimizer: OptimizerState,
    /// Last step size of a line search.
    step_size: Option<f64>,
}

impl Supervised {
    /// Build the task on data that was split before (shared by all tasks of a run).
    ///
    /// # Errors
    /// [`Error::Config`] for a model that does not fit the data or is too large, a batch larger than the training set, or too
    /// many classes.
    pub fn new(config: Arc<SupervisedConfig>, splits: Arc<Splits>) -> Result<Self> {
        config.check()?;
        let train = &splits.train;
        if config.batch_size > train.len() {
            let message = format!("{} is larger than the training set of {}", config.batch_size, train.len());
            return Err(Error::config("task.batch_size", message, "give a smaller batch or more training images"));
        }
        let shape = train.shape;
        let wanted = train.outputs();
        if matches!(train.targets, Targets::Classes { .. }) {
            range::count("task.dataset: classes", wanted, 1, limits::CLASSES)?;
        }
        config.check_size(shape, wanted)?;
        let layers = config.model.layers(wanted).map_err(in_task)?;
        let widest = Network::new(shape, &layers, 1).map_err(in_task)?.widest_activation().max(shape.len());
        let most_evaluated = splits.val_a.len().max(splits.val_b.len()).max(splits.test.len());
        let evaluation_batch = (EVALUATION_VALUES / widest).clamp(1, 1024).min(most_evaluated);
        let network = Network::new(shape, &layers, config.batch_size.max(evaluation_batch)).map_err(in_task)?;
        let outputs = network.output_shape().len();
        if outputs != wanted {
            let (things, remedy) = match train.targets {
                Targets::Classes { .. } => ("classes", "make the last layer as wide as there are classes"),
                Targets::Values { .. } => ("target values", "make the last layer as wide as there are target values"),
            };
            let message = format!("the model ends in {outputs} outputs for {wanted} {things}");
            return Err(Error::config("task.model", message, remedy));
        }
        let layers = network.layer_ranges().to_vec();
        let count = layers.len();
        let spec = spec_of(&config, train, &network);
        Ok(Supervised {
            init_gains: Vec::new(),
            line_search: line_search_of(&config, train.len()),
            optimizer: Optimizer::new(config.optimizer.clone(), network.params.len()),
            seed: 0,
            order_epoch: None,
            order: (0..train.len() as u32).collect(),
            batch_x: zeros(config.batch_size * shape.len()),
            batch_targets: train.targets.zeros(config.batch_size),
            start_params: vec![0.0; network.params.len()],
            recorder: Recorder::new(count),
            sums: Sums::new(count),
            layers,
            config,
            splits,
            spec,
            network,
        })
    }

    /// The task with each layer's initial parameters multiplied: a factor for each layer that has parameters.
    ///
    /// # Errors
    /// [`Error::Config`] for another number of factors than there are such layers.
    pub fn with_init_gains(mut self, gains: Vec<f32>) -> Result<Self> {
        if gains.len() != self.layers.len() {
            let message = format!("{} gains for {} layers with parameters", gains.len(), self.layers.len());
            return Err(Error::config("task.init_gains", message, "give one for each of them"));
        }
        self.init_gains = gains;
        Ok(self)
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
        if self.order_epoch != Some(epoch) {
            self.order.iter_mut().enumerate().for_each(|(i, v)| *v = i as u32);
            shuffle(&mut self.order, self.seed, epoch);
            self.order_epoch = Some(epoch);
        }
        let train = &self.splits.train;
        let first = batch as usize * self.config.batch_size;
        let chosen = &self.order[first..(first + self.config.batch_size).min(self.order.len())];
        train.gather(chosen, &mut self.batch_x, &mut self.batch_targets);
        chosen.len()
    }

    /// Loss and gradient of the loaded batch.
    fn gradient(&mut self, batch: usize, dropout_index: u64) -> f64 {
        let x = &self.batch_x[..batch * self.splits.train.shape.len()];
        let mut dropout = stream(self.seed, Purpose::Dropout, dropout_index);
        self.network.forward(x, batch, &mut Mode::Train(&mut dropout));
        let targets = &self.batch_targets;
        self.network.backward(x, batch, |outputs, d| targets.loss(0..batch, outputs, Some(d)))
    }

    /// The step size that the line search finds for the loaded batch, whose loss and gradient have just been computed.
    /// Trials see the dropout masks of the gradient.
    fn search(&mut self, batch: usize, loss: f64) -> Option<f64> {
        let (line_search, examples) = (self.line_search.as_mut()?, &self.splits.train);
        let x = &self.batch_x[..batch * examples.shape.len()];
        let step = self.recorder.steps();
        let found = line_search.search(&mut self.network, loss, |network| {
            let mut dropout = stream(self.seed, Purpose::Dropout, step);
            let outputs = network.forward(x, batch, &mut Mode::Train(&mut dropout));
            self.batch_targets.loss(0..batch, outputs, None)
        });
        self.sums.step_size += found.step_size;
        self.sums.forward_passes += found.forward_passes;
        Some(found.step_size)
    }

    /// Σg² of the current gradient, layer by layer, to `self.sums.step`.
    fn take_gradient_norms(&mut self) {
        for (norms, range) in self.sums.step.iter_mut().zip(&self.layers) {
            let grad_sq = crate::nn::kernels::sums::sum_sq(&self.network.grads[range.clone()]);
            *norms = StepNorms { update_sq: 0.0, grad_sq };
        }
    }

    /// Loss and accuracy (0 where the targets are numbers) on a held-back split, at the optimizer's evaluation point.
    fn evaluate_on(&mut self, splits: &Splits, split: Split) -> (f64, f64) {
        let examples = match split {
            Split::ValidationA => &splits.val_a,
            Split::ValidationB => &splits.val_b,
            Split::Test => &splits.test,
        };
        let width = examples.shape.len();
        let (mut loss, mut correct) = (0.0, 0usize);
        self.optimizer.enter_evaluation(&mut self.network.params);
        for first in (0..examples.len()).step_by(self.network.max_batch()) {
            let batch = first..examples.len().min(first + self.network.max_batch());
            let x = &examples.x[first * width..batch.end * width];
            let outputs = self.network.forward(x, batch.len(), &mut Mode::Eval);
            loss += examples.targets.loss(batch.clone(), outputs, None) * batch.len() as f64;
            correct += examples.targets.correct(batch, outputs);
        }
        self.optimizer.leave_evaluation(&mut self.network.params);
        (loss / examples.len() as f64, correct as f64 / examples.len() as f64)
    }

    /// The measurement of the interval that the recorder has summed up; `batches` is 0 for the probe.
    fn measure(&mut self, batches: usize, diverged: bool) -> Measurement {
        let splits = Arc::clone(&self.splits);
        let (val_loss, val_accuracy) =
            if diverged { (f64::NAN, 0.0) } else { self.evaluate_on(&splits, Split::ValidationA) };
        let network = &self.network;
        let norm = |r: &Range<usize>| crate::nn::kernels::sums::sum_sq(&network.params[r.clone()]).sqrt();
        let weight_norms: Vec<f64> = network.layer_ranges().iter().map(norm).collect();
        let displacement_sq: f64 =
            network.params.iter().zip(&self.start_params).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let measured = self.recorder.finish(Some(val_loss), &weight_norms);
        let chance = self.spec.chance_loss.unwrap_or(f64::INFINITY);
        let searched = batches > 0 && self.line_search.is_some();
        Measurement {
            val_accuracy: Some(val_accuracy),
            displacement: (batches > 0).then(|| displacement_sq.sqrt()),
            step_size: searched.then(|| self.sums.step_size / batches as f64),
            extra_forward_passes: self.sums.forward_passes,
            diverged: diverged || measured.diverged,
            // A smaller batch may have no gradient by chance, or because batch normalisation takes the mean of one example.
            stuck: self.sums.still >= self.config.batch_size && val_loss > 0.9 * chance,
            ..measured
        }
    }
}

impl Task for Supervised {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn reset(&mut self, seed: u64) -> Result<Measurement> {
        (self.seed, self.order_epoch) = (seed, None);
        self.recorder.reset(0, 0);
        self.network.init(&mut stream(seed, Purpose::Weights, 0));
        for (range, gain) in self.layers.iter().zip(&self.init_gains) {
            self.network.params[range.clone()].iter_mut().for_each(|w| *w *= gain);
        }
        self.optimizer.reset();
        self.line_search.iter_mut().for_each(LineSearch::reset);
        self.start_params.copy_from_slice(&self.network.params);
        self.sums.begin();
        let batch = self.load_batch(0);
        let buffers = self.network.buffers.clone();
        let loss = self.gradient(batch, u64::MAX);
        self.network.buffers.copy_from_slice(&buffers);
        self.take_gradient_norms();
        self.sums.split(batch);
        self.recorder.probe(loss, &self.sums.grad_sq);
        Ok(self.measure(0, !loss.is_finite()))
    }

    fn advance(&mut self, hyperparameters: &Hyperparameters) -> Result<Measurement> {
        self.advance_steps(self.spec.steps_per_interval as u64, &|_| hyperparameters.lr, hyperparameters)
    }

    fn trains_single_steps(&self) -> bool {
        true
    }

    fn advance_steps(
        &mut self,
        steps: u64,
        lr: &dyn Fn(u64) -> f64,
        hyperparameters: &Hyperparameters,
    ) -> Result<Measurement> {
        self.optimizer.set_hyperparameters(hyperparameters.momentum, hyperparameters.weight_decay);
        self.sums.begin();
        self.start_params.copy_from_slice(&self.network.params);
        let (mut done, mut finite) = (0, true);
        while done < steps && finite {
            let batch = self.load_batch(self.recorder.steps());
            let loss = self.gradient(batch, self.recorder.steps());
            let lr = self.search(batch, loss).unwrap_or_else(|| lr(done));
            let (network, sums) = (&mut self.network, &mut self.sums);
            self.optimizer.step_with_norms(&mut network.params, &network.grads, lr, &self.layers, &mut sums.step);
            sums.split(batch);
            finite = self.recorder.step(loss, &sums.grad_sq, &sums.update_sq);
            done += 1;
        }
        Ok(self.measure(done as usize, !finite))
    }

    fn evaluate(&mut self, split: Split) -> Result<(f64, f64)> {
        let splits = Arc::clone(&self.splits);
        Ok(self.evaluate_on(&splits, split))
    }

    fn save(&self) -> Result<Vec<u8>> {
        let state = State {
            seed: self.seed,
            interval: self.recorder.interval(),
            steps: self.recorder.steps(),
            params: self.network.params.to_vec(),
            buffers: self.network.buffers.clone(),
            optimizer: self.optimizer.state().clone(),
            step_size: self.line_search.as_ref().map(LineSearch::step_size),
        };
        save_state(&self.spec.name, &state)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let State { seed, interval, steps, params, buffers, optimizer, step_size } =
            load_state(&self.spec.name, state)?;
        if params.len() != self.network.params.len() || buffers.len() != self.network.buffers.len() {
            return Err(Error::Bug(format!("the saved state is not of the task `{}`", self.spec.name)));
        }
        (self.seed, self.order_epoch) = (seed, None);
        self.recorder.reset(interval, steps);
        self.network.params.copy_from_slice(&params);
        self.network.buffers.copy_from_slice(&buffers);
        self.optimizer.set_state(&optimizer);
        self.line_search.iter_mut().zip(step_size).for_each(|(search, size)| search.set_step_size(size));
        Ok(())
    }
}

fn line_search_of(config: &SupervisedConfig, examples: usize) -> Option<LineSearch> {
    let OptimizerSpec::Sls(search) = config.optimizer else { return None };
    Some(LineSearch::new(search, examples.div_ceil(config.batch_size) as u64))
}

fn shuffle(order: &mut [u32], seed: u64, epoch: u64) {
    order.shuffle(&mut stream(seed, Purpose::BatchOrder, epoch));
}

fn spec_of(config: &SupervisedConfig, train: &Examples, network: &Network) -> TaskSpec {
    let steps = config.interval_steps.unwrap_or(train.len().div_ceil(config.batch_size));
    let family = match config.optimizer {
        OptimizerSpec::Sgd { momentum, .. } => OptimizerFamily::Sgd { momentum: f64::from(momentum) },
        // Its momentum shifts where gradients are taken; it does not add up steps.
        OptimizerSpec::ScheduleFreeSgd(_) => OptimizerFamily::Sgd { momentum: 0.0 },
        OptimizerSpec::Adadelta { .. } => OptimizerFamily::Adadelta,
        OptimizerSpec::Adagrad { .. } => OptimizerFamily::Adagrad,
        _ => OptimizerFamily::Adam,
    };
    let sizes = network.layer_ranges().iter().map(Range::len);
    TaskSpec {
        name: config.name.clone(),
        groups: network.layer_names().into_iter().zip(sizes).map(|(name, size)| Group { name, size }).collect(),
        horizon: config.horizon,
        steps_per_interval: steps,
        batch_size: config.batch_size,
        examples: Some(train.len()),
        optimizer: Some(family),
        chance_loss: train.targets.chance_loss(),
        lr_bounds: config.lr_bounds,
        default_lr: config.optimizer.default_lr(),
        anchor: AnchorRule::of(family),
        accepts_momentum: config.optimizer.accepts_momentum(),
        accepts_weight_decay: config.optimizer.accepts_weight_decay(),
        finds_lr: config.optimizer.finds_lr(),
    }
}
