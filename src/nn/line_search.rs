//! Stochastic line search (SLS, Vaswani et al. 2019, "Painless Stochastic Gradient"): the step size of each SGD step
//! from the batch itself, by backtracking until the Armijo condition holds.

use crate::Result;
use crate::range::{self, Range};
use serde::{Deserialize, Serialize};

/// Backtracking steps after which the search gives up.
const MOST_TRIALS: u64 = 100;
/// The step taken where the search gives up.
const GIVEN_UP: f64 = 1e-6;
/// Gradients with a smaller norm move nothing.
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
///
/// | key | default | purpose | range |
/// |---|---|---|---|
/// | `c` | 0.1 | share of the decrease η‖g‖² that is demanded | (0, 1) |
/// | `beta` | 0.9 | factor of a backtracking step | (0, 1) |
/// | `gamma` | 2 | growth per epoch under `reset = "grow"` | ≥ 1 |
/// | `init_step_size` | 1 | first step size | > 0 |
/// | `eta_max` | 10 | largest step size that a search starts from | > 0 |
/// | `reset` | `grow` | where a search starts | [`Reset`] |
///
/// The authors' code bounds the step size only in its Goldstein variant; here `eta_max`, its default 10, bounds every
/// search, as in the paper's algorithm 1.
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

impl Default for LineSearchConfig {
    fn default() -> Self {
        LineSearchConfig { c: 0.1, beta: 0.9, gamma: 2.0, init_step_size: 1.0, eta_max: 10.0, reset: Reset::Grow }
    }
}

impl LineSearchConfig {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let check = |key: &str, v: f64, range: Range| range::check(format_args!("task.optimizer.{key}"), v, range);
        check("c", self.c, Range::Inside)?;
        check("beta", self.beta, Range::Inside)?;
        check("gamma", self.gamma, Range::AtLeastOne)?;
        check("init_step_size", self.init_step_size, Range::Positive)?;
        check("eta_max", self.eta_max, Range::Positive)
    }
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The step size η of `w − η·g`.
    pub step_size: f64,
    /// Forward passes that the search took besides the one of the gradient.
    pub forward_passes: u64,
}

/// A line search at work.
///
/// ```
/// use lrpilot::nn::line_search::{LineSearch, LineSearchConfig};
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
}

impl LineSearch {
    /// A search in training with `batches_per_epoch` ≥ 1.
    pub fn new(config: LineSearchConfig, batches_per_epoch: u64) -> Self {
        LineSearch { step_size: config.init_step_size, config, batches_per_epoch }
    }

    /// Forget everything, as a new search would.
    pub fn reset(&mut self) {
        self.step_size = self.config.init_step_size;
    }

    /// The last step size, to be saved.
    pub fn step_size(&self) -> f64 {
        self.step_size
    }

    /// Put a saved step size back.
    pub fn set_step_size(&mut self, step_size: f64) {
        self.step_size = step_size;
    }

    /// The step size for a batch with loss `loss` and squared gradient norm `norm_sq`; `loss_at(η)` is the same batch's
    /// loss at w − η·g. A gradient that is zero or not finite is not searched along.
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
