//! What is measured in a run: losses and norms of optimizer steps, summed up to one [`Measurement`] an interval.

use crate::exact;
use serde::{Deserialize, Serialize};

/// A group of parameters with norms of its own: a layer, or a parameter group of an optimizer.
///
/// ```
/// let groups = [lrpilot_core::Group::new("body", 9_000), lrpilot_core::Group::new("head", 1_000)];
/// assert_eq!(groups.iter().map(|g| g.size).sum::<usize>(), 10_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Name for people.
    pub name: String,
    /// Number of trained values, ≥ 1.
    pub size: usize,
}

impl Group {
    /// A group of `size` values.
    pub fn new(name: impl Into<String>, size: usize) -> Self {
        Group { name: name.into(), size }
    }
}

/// What is known after an interval. The first one of a run is a *probe*: loss and gradient of one batch, no update.
///
/// **What was not measured is absent** (`None`, or an empty list), never 0; a policy then sees a neutral input. Losses
/// are means over examples; norms are Euclidean. JSON has no NaN and no infinity; there they are the words "NaN" and
/// "inf".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Intervals done so far, 0 for the probe.
    pub interval: usize,
    /// Optimizer steps so far in the run.
    pub steps: u64,
    /// Mean training loss over the interval's batches, each before its update.
    #[serde(default, with = "exact::optional")]
    pub train_loss: Option<f64>,
    /// Mean over the first half of the batches; absent for the probe.
    #[serde(default, with = "exact::optional")]
    pub train_loss_first_half: Option<f64>,
    /// Mean over the second half.
    #[serde(default, with = "exact::optional")]
    pub train_loss_second_half: Option<f64>,
    /// Sample standard deviation of the batches' losses; absent for fewer than two batches.
    #[serde(default, with = "exact::optional")]
    pub train_loss_sd: Option<f64>,
    /// Largest loss of a batch; absent for the probe.
    #[serde(default, with = "exact::optional")]
    pub train_loss_max: Option<f64>,
    /// Mean loss on held-back data after the interval (validation A of lrpilot's own tasks).
    #[serde(default, with = "exact::optional")]
    pub val_loss: Option<f64>,
    /// Accuracy on the same data, in [0, 1].
    #[serde(default, with = "exact::optional")]
    pub val_accuracy: Option<f64>,
    /// ‖g‖ of each group, mean over the interval's batches.
    #[serde(with = "exact::list")]
    pub grad_norms: Vec<f64>,
    /// ‖w‖ of each group at the end.
    #[serde(with = "exact::list")]
    pub weight_norms: Vec<f64>,
    /// ‖Δw‖ of each group, root mean square over the interval's steps; empty for the probe.
    #[serde(with = "exact::list")]
    pub update_norms: Vec<f64>,
    /// Mean over batches of the global gradient norm.
    #[serde(default, with = "exact::optional")]
    pub grad_norm_mean: Option<f64>,
    /// Standard deviation over batches of the global gradient norm.
    #[serde(default, with = "exact::optional")]
    pub grad_norm_sd: Option<f64>,
    /// ‖w_end − w_start‖ over the interval.
    #[serde(default, with = "exact::optional")]
    pub displacement: Option<f64>,
    /// √Σ‖Δw_step‖² over the interval.
    #[serde(default, with = "exact::optional")]
    pub path_length: Option<f64>,
    /// Mean step size, where the optimizer finds its own (line search).
    #[serde(default, with = "exact::optional")]
    pub step_size: Option<f64>,
    /// Forward passes on batches beyond one for each optimizer step (line search).
    pub extra_forward_passes: u64,
    /// NaN or infinity in loss, weights or gradients.
    pub diverged: bool,
    /// At chance with a zero gradient in the first group: dead units, which training cannot revive.
    pub stuck: bool,
}

impl Measurement {
    /// The loss to go by: on held-back data where that was measured, otherwise the training loss; NaN without either.
    ///
    /// ```
    /// use lrpilot_core::Measurement;
    /// let told = Measurement { train_loss: Some(0.5), ..Measurement::default() };
    /// assert_eq!(told.loss(), 0.5);
    /// assert_eq!(Measurement { val_loss: Some(0.7), ..told }.loss(), 0.7);
    /// assert!(Measurement::default().loss().is_nan());
    /// ```
    pub fn loss(&self) -> f64 {
        self.val_loss.or(self.train_loss).unwrap_or(f64::NAN)
    }
}

/// Sums up the optimizer steps of an interval. The same code serves lrpilot's own networks and other people's loops.
///
/// ```
/// use lrpilot_core::Recorder;
/// let mut recorder = Recorder::new(2);
/// recorder.step(1.0, &[9.0, 16.0], &[]); // a loss and Σg² of each group; Σ(Δw)² is not measured
/// recorder.step(0.5, &[0.0, 1.0], &[]);
/// let m = recorder.finish(Some(0.6), &[]);
/// assert_eq!((m.interval, m.steps, m.train_loss, m.val_loss), (1, 2, Some(0.75), Some(0.6)));
/// assert_eq!((m.grad_norms, m.grad_norm_mean), (vec![1.5, 2.5], Some(3.0)));
/// assert_eq!((m.path_length, m.displacement), (None, None), "absent, not 0");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Recorder {
    groups: usize,
    interval: usize,
    steps: u64,
    probing: bool,
    losses: Vec<f64>,
    /// Σ over steps of ‖g‖ and of Σ(Δw)², for each group.
    grad_norms: Vec<f64>,
    update_sq: Vec<f64>,
    /// Steps in which gradients and updates were measured.
    with_grad: usize,
    with_update: usize,
    norm: f64,
    norm_sq: f64,
    diverged: bool,
}

impl Recorder {
    /// A recorder for `groups` parameter groups.
    pub fn new(groups: usize) -> Self {
        Recorder {
            groups,
            interval: 0,
            steps: 0,
            probing: false,
            losses: Vec::new(),
            grad_norms: vec![0.0; groups],
            update_sq: vec![0.0; groups],
            with_grad: 0,
            with_update: 0,
            norm: 0.0,
            norm_sq: 0.0,
            diverged: false,
        }
    }

    /// Start a new run, or go on with one of which `interval` intervals and `steps` steps are done.
    pub fn reset(&mut self, interval: usize, steps: u64) {
        (self.interval, self.steps) = (interval, steps);
        self.clear();
    }

    /// Intervals finished.
    pub fn interval(&self) -> usize {
        self.interval
    }

    /// Optimizer steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Loss and Σg² of each group (or nothing) of one batch before the first step.
    pub fn probe(&mut self, loss: f64, grad_sq: &[f64]) {
        self.probing = true;
        self.add(Some(loss), grad_sq, &[]);
    }

    /// One optimizer step: the loss before it, Σg² and Σ(Δw)² of each group. A list that is empty, or has not one entry
    /// for each group, counts as not measured. Returns whether loss and gradient are finite.
    pub fn step(&mut self, loss: f64, grad_sq: &[f64], update_sq: &[f64]) -> bool {
        self.steps += 1;
        self.add(Some(loss), grad_sq, update_sq);
        !self.diverged
    }

    /// Σg² of each group in a step that is not counted here: its loss is not known, or told by [`Recorder::step`].
    ///
    /// ```
    /// let mut recorder = lrpilot_core::Recorder::new(2);
    /// recorder.gradient(&[9.0, 16.0]);
    /// let m = recorder.finish(None, &[]);
    /// assert_eq!((m.grad_norm_mean, m.train_loss, m.steps), (Some(5.0), None, 0));
    /// ```
    pub fn gradient(&mut self, grad_sq: &[f64]) {
        self.add(None, grad_sq, &[]);
    }

    fn add(&mut self, loss: Option<f64>, grad_sq: &[f64], update_sq: &[f64]) {
        self.losses.extend(loss);
        self.diverged |= loss.is_some_and(|loss| !loss.is_finite());
        if !grad_sq.is_empty() && grad_sq.len() == self.groups {
            self.grad_norms.iter_mut().zip(grad_sq).for_each(|(sum, sq)| *sum += sq.sqrt());
            let total: f64 = grad_sq.iter().sum();
            self.norm += total.sqrt();
            self.norm_sq += total;
            self.with_grad += 1;
            self.diverged |= !total.sqrt().is_finite();
        }
        if !update_sq.is_empty() && update_sq.len() == self.groups {
            self.update_sq.iter_mut().zip(update_sq).for_each(|(sum, sq)| *sum += sq);
            self.with_update += 1;
        }
    }

    /// The measurement of the interval, with the loss on held-back data and ‖w‖ of each group where they are known
    /// (`None`, or an empty list). The next step begins a new interval.
    pub fn finish(&mut self, val_loss: Option<f64>, weight_norms: &[f64]) -> Measurement {
        self.interval += usize::from(!self.probing);
        let (n, grads, updates) = (self.losses.len(), self.with_grad as f64, self.with_update as f64);
        let mean = |losses: &[f64]| (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64);
        let train_loss = mean(&self.losses);
        let (first, second) = self.losses.split_at(n / 2);
        let norm_mean = (self.with_grad > 0).then(|| self.norm / grads);
        let known = |v: Option<f64>| v.is_none_or(f64::is_finite);
        let finite =
            known(val_loss) && known(train_loss) && known(norm_mean) && weight_norms.iter().all(|w| w.is_finite());
        let measured = Measurement {
            interval: self.interval,
            steps: self.steps,
            train_loss,
            train_loss_first_half: mean(first).or(train_loss).filter(|_| !self.probing),
            train_loss_second_half: mean(second).filter(|_| !self.probing),
            train_loss_sd: train_loss.and_then(|mean| sample_sd(&self.losses, mean)),
            train_loss_max: self.losses.iter().copied().reduce(f64::max).filter(|_| !self.probing),
            val_loss,
            grad_norms: if grads > 0.0 { self.grad_norms.iter().map(|g| g / grads).collect() } else { Vec::new() },
            weight_norms: weight_norms.to_vec(),
            update_norms: if updates > 0.0 {
                self.update_sq.iter().map(|u| (u / updates).sqrt()).collect()
            } else {
                Vec::new()
            },
            grad_norm_mean: norm_mean,
            grad_norm_sd: norm_mean.map(|mean| (self.norm_sq / grads - mean * mean).max(0.0).sqrt()),
            path_length: (self.with_update > 0).then(|| self.update_sq.iter().sum::<f64>().sqrt()),
            diverged: self.diverged || !finite,
            ..Measurement::default()
        };
        self.clear();
        measured
    }

    fn clear(&mut self) {
        self.losses.clear();
        self.grad_norms.fill(0.0);
        self.update_sq.fill(0.0);
        (self.with_grad, self.with_update, self.norm, self.norm_sq) = (0, 0, 0.0, 0.0);
        (self.probing, self.diverged) = (false, false);
    }
}

/// √(Σ(x − mean)²/(n − 1)) of at least two values.
fn sample_sd(values: &[f64], mean: f64) -> Option<f64> {
    let n = values.len() as f64;
    (n > 1.0).then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}
