//! Metric-driven schedules: each step takes in a metric and may change the learning rate.

use crate::Result;
use crate::range::{self, Range};
use serde::{Deserialize, Serialize};

/// Whether a smaller or a larger metric is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Smaller (a loss).
    #[default]
    Min,
    /// Larger (an accuracy).
    Max,
}

/// How the threshold on an improvement is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threshold {
    /// Relative to the best.
    Rel,
    /// Absolute.
    Abs,
}

/// `torch.optim.lr_scheduler.ReduceLROnPlateau` with PyTorch's names and defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plateau {
    /// Direction.
    pub mode: Better,
    /// LR factor in (0, 1).
    pub factor: f64,
    /// Bad steps that are put up with.
    pub patience: usize,
    /// Smallest improvement that counts.
    pub threshold: f64,
    /// How it is meant.
    pub threshold_mode: Threshold,
    /// Steps to wait after a reduction.
    pub cooldown: usize,
    /// Smallest LR.
    pub min_lr: f64,
    /// Smallest change of the LR that is made.
    pub eps: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau {
            mode: Better::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: Threshold::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

/// `transformers.GreedyLR` (5.23; arXiv 2512.14527) with its names and defaults.
///
/// One deviation: with `smooth`, transformers keeps a running sum, which a single NaN poisons for ever; here the mean is
/// taken over the window, so that a NaN leaves it after `window_size` steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GreedyLr {
    /// Direction.
    pub mode: Better,
    /// The LR is multiplied by this after bad steps and divided by it after good ones; in (0, 1).
    pub factor: f64,
    /// Bad or good steps in a row that are put up with.
    pub patience: usize,
    /// Smallest improvement that counts.
    pub threshold: f64,
    /// How it is meant.
    pub threshold_mode: Threshold,
    /// Steps to wait after a reduction.
    pub cooldown: usize,
    /// Steps to wait after an increase.
    pub warmup: usize,
    /// Smallest LR.
    pub min_lr: f64,
    /// Largest LR.
    pub max_lr: f64,
    /// Smallest change of the LR that is made.
    pub eps: f64,
    /// Whether the metric is averaged over the last `window_size` steps.
    pub smooth: bool,
    /// Length of that window.
    pub window_size: usize,
    /// Reductions at the smallest LR before everything starts anew.
    pub reset_start: i64,
}

impl Default for GreedyLr {
    fn default() -> Self {
        GreedyLr {
            mode: Better::Min,
            factor: 0.95,
            patience: 10,
            threshold: 1e-6,
            threshold_mode: Threshold::Abs,
            cooldown: 0,
            warmup: 0,
            min_lr: 1e-3,
            max_lr: 1.0,
            eps: 1e-8,
            smooth: false,
            window_size: 50,
            reset_start: 500,
        }
    }
}

/// A metric-driven schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum MetricDriven {
    /// [`Plateau`].
    Plateau(Plateau),
    /// [`GreedyLr`].
    Greedy(GreedyLr),
}

impl MetricDriven {
    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let check = |key: &str, v: f64, range: Range| range::check(format_args!("schedule.{key}"), v, range);
        let (factor, threshold, eps, min_lr) = match self {
            MetricDriven::Plateau(p) => (p.factor, p.threshold, p.eps, p.min_lr),
            MetricDriven::Greedy(g) => (g.factor, g.threshold, g.eps, g.min_lr),
        };
        check("factor", factor, Range::Inside)?;
        check("threshold", threshold, Range::NotNegative)?;
        check("eps", eps, Range::NotNegative)?;
        check("min_lr", min_lr, Range::NotNegative)?;
        let MetricDriven::Greedy(g) = self else { return Ok(()) };
        check("max_lr", g.max_lr, Range::Above(g.min_lr))?;
        range::count("schedule.window_size", g.window_size, 1, u64::MAX)?;
        range::count("schedule.reset_start", g.reset_start, 0, u64::MAX)
    }
}

/// A metric-driven schedule at work.
///
/// ```
/// use lrpilot_core::schedule::{metric::MetricState, MetricDriven, Plateau};
/// let plateau = MetricDriven::Plateau(Plateau { patience: 1, ..Plateau::default() });
/// let mut state = MetricState::new(plateau, 0.1);
/// let lrs: Vec<f64> = [1.0, 1.0, 1.0].into_iter().map(|loss| state.step(loss)).collect();
/// assert_eq!(lrs, [0.1, 0.1, 0.1 * 0.1]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricState {
    schedule: MetricDriven,
    initial_lr: f64,
    lr: f64,
    #[serde(with = "bits::optional")]
    best: Option<f64>,
    bad: usize,
    good: usize,
    cooldown: usize,
    warmup: usize,
    reset_left: i64,
    #[serde(with = "bits::list")]
    window: Vec<f64>,
}

/// Numbers by their bits: a NaN or an infinity among them must survive JSON, which has neither.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub mod optional {
        use super::*;

        pub fn serialize<S: Serializer>(v: &Option<f64>, s: S) -> Result<S::Ok, S::Error> {
            v.map(f64::to_bits).serialize(s)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
            Ok(Option::<u64>::deserialize(d)?.map(f64::from_bits))
        }
    }

    pub mod list {
        use super::*;

        pub fn serialize<S: Serializer>(v: &[f64], s: S) -> Result<S::Ok, S::Error> {
            s.collect_seq(v.iter().map(|v| v.to_bits()))
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
            Ok(Vec::<u64>::deserialize(d)?.into_iter().map(f64::from_bits).collect())
        }
    }
}

impl MetricState {
    /// Start at `initial_lr`.
    pub fn new(schedule: MetricDriven, initial_lr: f64) -> Self {
        let reset_left = match &schedule {
            MetricDriven::Greedy(g) => g.reset_start,
            MetricDriven::Plateau(_) => 0,
        };
        MetricState {
            schedule,
            initial_lr,
            lr: initial_lr,
            best: None,
            bad: 0,
            good: 0,
            cooldown: 0,
            warmup: 0,
            reset_left,
            window: Vec::new(),
        }
    }

    /// The LR in use.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Take in the metric of the finished step and return the LR of the next one. A NaN is never an improvement.
    pub fn step(&mut self, metric: f64) -> f64 {
        match self.schedule.clone() {
            MetricDriven::Plateau(p) => self.step_plateau(&p, metric),
            MetricDriven::Greedy(g) => self.step_greedy(&g, metric),
        }
        self.lr
    }

    fn step_plateau(&mut self, p: &Plateau, metric: f64) {
        self.count(metric, p.mode, p.threshold, p.threshold_mode);
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.bad = 0;
        }
        if self.bad > p.patience {
            let lr = (self.lr * p.factor).max(p.min_lr);
            if self.lr - lr > p.eps {
                self.lr = lr;
            }
            (self.cooldown, self.bad) = (p.cooldown, 0);
        }
    }

    fn step_greedy(&mut self, g: &GreedyLr, metric: f64) {
        let metric = if g.smooth { self.average(metric, g.window_size) } else { metric };
        if self.cooldown > 0 || self.warmup > 0 {
            let waiting = if self.cooldown > 0 { &mut self.cooldown } else { &mut self.warmup };
            *waiting -= 1;
            (self.bad, self.good) = (0, 0);
            return;
        }
        self.count(metric, g.mode, g.threshold, g.threshold_mode);
        if self.good > g.patience {
            let lr = (self.lr / g.factor).min(g.max_lr);
            if lr - self.lr > g.eps {
                self.lr = lr;
            }
            self.reset_left = g.reset_start;
            (self.warmup, self.good) = (g.warmup, 0);
        } else if self.bad > g.patience {
            let lr = (self.lr * g.factor).max(g.min_lr);
            if self.lr - lr > g.eps {
                self.lr = lr;
            }
            let reset = self.lr <= g.min_lr && {
                self.reset_left -= 1;
                self.reset_left <= 0
            };
            if reset {
                *self = MetricState::new(self.schedule.clone(), self.initial_lr);
            }
            (self.cooldown, self.bad) = (g.cooldown, 0);
        }
    }

    fn count(&mut self, metric: f64, mode: Better, threshold: f64, threshold_mode: Threshold) {
        let worst = if mode == Better::Min { f64::INFINITY } else { f64::NEG_INFINITY };
        let best = self.best.unwrap_or(worst);
        let better = match (mode, threshold_mode) {
            (Better::Min, Threshold::Rel) => metric < best * (1.0 - threshold),
            (Better::Min, Threshold::Abs) => metric < best - threshold,
            (Better::Max, Threshold::Rel) => metric > best * (1.0 + threshold),
            (Better::Max, Threshold::Abs) => metric > best + threshold,
        };
        if better {
            self.best = Some(metric);
            (self.bad, self.good) = (0, self.good + 1);
        } else {
            (self.bad, self.good) = (self.bad + 1, 0);
        }
    }

    fn average(&mut self, metric: f64, window: usize) -> f64 {
        self.window.push(metric);
        if self.window.len() > window {
            self.window.remove(0);
        }
        self.window.iter().sum::<f64>() / self.window.len() as f64
    }
}
