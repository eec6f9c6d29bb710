//! Stochastic line search (SLS, Vaswani et al. 2019, "Painless Stochastic Gradient"). It finds the step size of each SGD
//! step on the batch itself, by backtracking until the Armijo condition holds.

use crate::Result;
use crate::keys::{Allowed, Choice, Key};
use crate::nn::Network;
use crate::nn::kernels::sums::sum_sq;
use crate::range::{self, Range};
use serde::{Deserialize, Serialize};

/// The search gives up after this many trials.
const MOST_TRIALS: u64 = 100;
/// The step size if the search gives up.
const GIVEN_UP: f64 = 1e-6;
/// The search does not try steps along a gradient with a smaller norm.
const NO_GRADIENT: f64 = 1e-8;

/// How each step's search starts (Vaswani et al. 2019, algorithm 2; numbered as in the authors' code).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// Option 0: from the last step size.
    Keep,
    /// Option 1: from the last step size times γ^(1/batches per epoch), so that it can grow γ-fold in an epoch.
    #[default]
    Grow,
    /// Option 2: from the initial step size.
    Initial,
}

/// The settings, with the authors' names and defaults. In TOML: `{ type = "sls", c = 0.1 }`.
/// [`LineSearchConfig::KEYS`] has the ranges, and `lrpilot config` prints them with the defaults.
///
/// The authors' code bounds the step size only in its Goldstein variant. Here `eta_max`, with that variant's default of 10,
/// bounds every search, as in the paper's algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineSearchConfig {
    /// c of the Armijo condition.
    pub c: f64,
    /// β, the factor of a backtracking step.
    pub beta: f64,
    /// γ, the growth per epoch.
    pub gamma: f64,
    /// First step size.
    pub init_step_size: f64,
    /// η_max.
    pub eta_max: f64,
    /// Where a search starts.
    pub reset: Reset,
}

impl LineSearchConfig {
    /// The keys of the optimizer `sls`.
    pub const KEYS: &[Key] = &[
        Key::new("c", Allowed::Number(Range::Inside), "share of the decrease η‖g‖² that a step has to reach"),
        Key::new("beta", Allowed::Number(Range::Inside), "factor of a backtracking step"),
        Key::new("gamma", Allowed::Number(Range::AtLeastOne), "growth of the step size in an epoch, if reset is grow"),
        Key::new("init_step_size", Allowed::Number(Range::Positive), "first step size"),
        Key::new("eta_max", Allowed::Number(Range::Positive), "largest step size that a search starts from"),
        Key::new("reset", Allowed::Name(Reset::CHOICES), "where the search of a step starts"),
    ];
}

impl Reset {
    /// The names with what they stand for.
    pub const CHOICES: &[Choice] = &[
        Choice::new("keep", "the last step size"),
        Choice::new("grow", "the last step size, grown so that it can grow by gamma in an epoch"),
        Choice::new("initial", "the first step size"),
    ];
}

impl Default for LineSearchConfig {
    fn default() -> Self {
        LineSearchConfig { c: 0.1, beta: 0.9, gamma: 2.0, init_step_size: 1.0, eta_max: 10.0, reset: Reset::Grow }
    }
}

impl LineSearchConfig {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key (`optimizer.beta`), the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let check = |key: &str, v: f64, range: Range| range::check(format_args!("optimizer.{key}"), v, range);
        check("c", self.c, Range::Inside)?;
        check("beta", self.beta, Range::Inside)?;
        check("gamma", self.gamma, Range::AtLeastOne)?;
        check("init_step_size", self.init_step_size, Range::Positive)?;
        check("eta_max", self.eta_max, Range::Positive)
    }
}

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The step size η of `w − η·g`.
    pub step_size: f64,
    /// Forward passes of the search, without the one for the gradient.
    pub forward_passes: u64,
}

/// A line search and its state, the last step size.
///
/// [`LineSearch::search`] finds the step size for the gradient of a [`Network`]; [`LineSearch::find`] is the same search on any
/// function of the step size.
///
/// ```
/// use lrpilot::nn::optimizer::line_search::{LineSearch, LineSearchConfig};
/// // On f(w) = ½·h·w² from w = 1 the Armijo condition holds for η ≤ 2(1 − c)/h = 0.6. The search starts from 1 times
/// // 2^(1/10), as large as it may grow in one of ten batches, and takes 0.9 of it six times.
/// let (h, w) = (3.0, 1.0);
/// let mut search = LineSearch::new(LineSearchConfig::default(), 10);
/// let found = search.find(h * h, 0.5 * h, |eta| 0.5 * h * (w - eta * h) * (w - eta * h));
/// assert!((found.step_size - 2f64.powf(0.1) * 0.9f64.powi(6)).abs() < 1e-12);
/// assert_eq!(found.forward_passes, 7);
/// ```
#[derive(Clone, Debug)]
pub struct LineSearch {
    config: LineSearchConfig,
    batches_per_epoch: u64,
    step_size: f64,
    /// Weights and buffers of the network before the trials of [`LineSearch::search`].
    params: Vec<f32>,
    buffers: Vec<f32>,
}

impl LineSearch {
    /// A search for a training run with `batches_per_epoch` ≥ 1.
    pub fn new(config: LineSearchConfig, batches_per_epoch: u64) -> Self {
        let (params, buffers) = (Vec::new(), Vec::new());
        LineSearch { step_size: config.init_step_size, config, batches_per_epoch, params, buffers }
    }

    /// Forgets the last step size; the search is then like a new one.
    pub fn reset(&mut self) {
        self.step_size = self.config.init_step_size;
    }

    /// The last step size, for saving.
    pub fn step_size(&self) -> f64 {
        self.step_size
    }

    /// Restores a saved step size.
    pub fn set_step_size(&mut self, step_size: f64) {
        self.step_size = step_size;
    }

    /// Finds the step size for the batch whose loss is `loss` and whose gradient is `network.grads`. `closure` returns the loss
    /// of the same batch for the weights that the network has when it is called; it must see the dropout masks of the
    /// gradient. Afterwards weights and buffers are what they were before. The step itself is
    /// [`Optimizer::step`](crate::nn::Optimizer::step) with the step size as the learning rate.
    pub fn search(&mut self, network: &mut Network, loss: f64, mut closure: impl FnMut(&mut Network) -> f64) -> Found {
        let norm_sq = network.layer_ranges().iter().map(|range| sum_sq(&network.grads[range.clone()])).sum();
        let (mut params, mut buffers) = (std::mem::take(&mut self.params), std::mem::take(&mut self.buffers));
        params.clear();
        params.extend_from_slice(&network.params);
        buffers.clear();
        buffers.extend_from_slice(&network.buffers);
        let found = self.find(norm_sq, loss, |eta| {
            let weights = network.params.iter_mut().zip(&params).zip(&network.grads[..]);
            weights.for_each(|((w, start), g)| *w = start - eta as f32 * g);
            closure(network)
        });
        network.params.copy_from_slice(&params);
        network.buffers.copy_from_slice(&buffers);
        (self.params, self.buffers) = (params, buffers);
        found
    }

    /// Finds the step size for a batch with loss `loss` and squared gradient norm `norm_sq`, where `loss_at(η)` is the loss of
    /// the same batch at w − η·g. If the gradient is zero or not finite, no step is tried.
    pub fn find(&mut self, norm_sq: f64, loss: f64, mut loss_at: impl FnMut(f64) -> f64) -> Found {
        let LineSearchConfig { c, beta, gamma, init_step_size, eta_max, reset } = self.config;
        let start = match reset {
            Reset::Keep => self.step_size,
            Reset::Grow => self.step_size * gamma.powf(1.0 / self.batches_per_epoch as f64),
            Reset::Initial => init_step_size,
        };
        self.step_size = start.min(eta_max);
        if norm_sq.sqrt() < NO_GRADIENT || !norm_sq.is_finite() {
            return Found { step_size: self.step_size, forward_passes: 0 };
        }
        for trial in 1..=MOST_TRIALS {
            if loss_at(self.step_size) <= loss - self.step_size * c * norm_sq {
                return Found { step_size: self.step_size, forward_passes: trial };
            }
            self.step_size *= beta;
        }
        Found { step_size: GIVEN_UP, forward_passes: MOST_TRIALS }
    }
}
