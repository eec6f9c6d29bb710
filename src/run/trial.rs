//! One training run of a network under some method: the unit of every evaluation.

use crate::env::Action;
use crate::record::IntervalRecord;
use crate::schedule::metric::MetricState;
use crate::schedule::{Learned, MetricDriven, OpenLoop};
use crate::task::data::{DatasetName, Splits, load};
use crate::task::{
    Knobs, Measurement, NoisyQuadratic, Split, Supervised, SupervisedConfig, Task, TaskConfig, TaskSpec,
};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whatever sets the learning rate of a run.
#[derive(Clone, Debug)]
pub enum Method {
    /// An open-loop schedule on an initial (or largest) LR.
    OpenLoop {
        /// The schedule, with the interval as its step.
        schedule: OpenLoop,
        /// The base LR.
        lr: f64,
    },
    /// A metric-driven schedule that sees the validation-A loss.
    Metric {
        /// The schedule.
        schedule: MetricDriven,
        /// The initial LR.
        lr: f64,
    },
    /// A frozen policy.
    Learned {
        /// The policy.
        policy: Box<Learned>,
        /// Initial LR; the anchor if absent.
        lr: Option<f64>,
    },
    /// LRs as recorded from another run; the last one is held.
    Replay {
        /// One LR per interval.
        lrs: Vec<f64>,
    },
}

/// Data of a task, loaded once and shared, from which any number of tasks are made.
#[derive(Clone)]
pub struct Runner {
    config: TaskConfig,
    splits: Option<Arc<Splits>>,
}

/// Which held-back losses a run records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Validation B after the last interval only: enough for tuning and selection.
    Final,
    /// Validation B after every interval, test after the last one.
    Everything,
}

/// How a training run went.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The whole curve, one entry per interval.
    pub curve: Vec<IntervalRecord>,
    /// NaN or infinity, or stuck at chance.
    pub diverged: bool,
    /// Loss on the test set after the last interval, where everything is recorded.
    pub test_loss: Option<f64>,
    /// Forward passes on batches beyond one for each optimizer step (line search).
    pub extra_forward_passes: u64,
}

impl Runner {
    /// Load the task's data from below `data_root` (digits need none).
    ///
    /// # Errors
    /// [`Error::Data`] for data files, [`Error::Config`] for the task.
    pub fn new(config: &TaskConfig, data_root: Option<&Path>) -> Result<Self> {
        let splits = match config {
            TaskConfig::NoisyQuadratic(c) => {
                c.check()?;
                None
            }
            TaskConfig::Supervised(c) => {
                c.check()?;
                let root = match (data_root, c.dataset) {
                    (_, DatasetName::Digits) => PathBuf::new(),
                    (Some(root), _) => root.to_owned(),
                    (None, other) => {
                        let remedy = "name it with --data-dir or LRPILOT_DATA";
                        return Err(Error::usage(format!("the data set {} needs a data folder", other.name()), remedy));
                    }
                };
                Some(Arc::new(Splits::new(&load(c.dataset, &root)?, &c.data)?))
            }
        };
        Ok(Runner { config: config.clone(), splits })
    }

    /// A new task on the shared data.
    ///
    /// # Errors
    /// [`Error::Config`] for a model that does not fit the data.
    pub fn task(&self) -> Result<Box<dyn Task>> {
        Ok(match (&self.config, &self.splits) {
            (TaskConfig::Supervised(c), Some(splits)) => {
                Box::new(Supervised::new(Arc::new(c.clone()), Arc::clone(splits))?)
            }
            (TaskConfig::NoisyQuadratic(c), _) => Box::new(NoisyQuadratic::new(c.clone())?),
            (TaskConfig::Supervised(_), None) => return Err(Error::Bug("a supervised task without data".into())),
        })
    }

    /// A runner for another supervised task on the same data (the same data set and splits).
    pub fn with_task(&self, task: &SupervisedConfig) -> Runner {
        Runner { config: TaskConfig::Supervised(task.clone()), splits: self.splits.clone() }
    }

    /// Description and data of a supervised task.
    pub fn supervised(&self) -> Option<(&SupervisedConfig, &Arc<Splits>)> {
        match (&self.config, &self.splits) {
            (TaskConfig::Supervised(config), Some(splits)) => Some((config, splits)),
            _ => None,
        }
    }

    /// Facts about the task.
    ///
    /// # Errors
    /// As [`Runner::task`].
    pub fn spec(&self) -> Result<TaskSpec> {
        Ok(self.task()?.spec().clone())
    }

    /// The task's configuration.
    pub fn config(&self) -> &TaskConfig {
        &self.config
    }
}

/// Train one network under `method` from `seed`, which fixes initial weights and batch order whatever the method.
///
/// # Errors
/// As the task's; divergence is no error but a mark in the record.
pub fn run_child(task: &mut dyn Task, method: &Method, seed: u64, record: Record) -> Result<Trial> {
    let probe = task.reset(seed)?;
    let (horizon, accepts_momentum) = (task.spec().horizon, task.spec().accepts_momentum);
    let mut driver = Driver::start(method, &probe, task.spec());
    let mut curve = Vec::with_capacity(horizon);
    let (mut diverged, mut extra_forward_passes) = (false, 0);
    let mut last_good = probe;
    for interval in 1..=horizon {
        let before = driver.rolls_back().then(|| task.snapshot());
        let knobs = driver.knobs();
        let measured = task.advance(&knobs)?;
        let lr = measured.step_size.unwrap_or(driver.lr);
        extra_forward_passes += measured.extra_forward_passes;
        let failed = measured.diverged || measured.stuck;
        let (train_loss, val_loss_a) = (measured.train_loss, measured.val_loss);
        match before {
            Some(state) if failed => {
                task.restore(&state)?;
                driver.roll_back(&last_good);
            }
            _ => {
                diverged |= failed;
                driver.observe(&measured, interval);
                last_good = measured;
            }
        }
        let look = record == Record::Everything || interval == horizon;
        let (val_loss_b, val_accuracy_b) =
            if look && !diverged { task.evaluate(Split::ValidationB)? } else { (f64::NAN, f64::NAN) };
        let momentum = knobs.momentum.filter(|_| accepts_momentum);
        let weight_decay = knobs.weight_decay;
        curve.push(IntervalRecord {
            interval,
            lr,
            momentum,
            weight_decay,
            train_loss,
            val_loss_a,
            val_loss_b,
            val_accuracy_b,
        });
        if diverged {
            break;
        }
    }
    let chance = task.spec().chance_loss.unwrap_or(f64::INFINITY);
    let at_chance = curve.last().is_none_or(|last| last.val_loss_b.is_nan() || last.val_loss_b > 0.95 * chance);
    let test_loss = match record {
        Record::Everything if !diverged => Some(task.evaluate(Split::Test)?.0),
        _ => None,
    };
    Ok(Trial { curve, diverged: diverged || at_chance, test_loss, extra_forward_passes })
}

/// A method at work.
struct Driver {
    kind: DriverKind,
    lr: f64,
    /// Intervals finished.
    interval: usize,
}

enum DriverKind {
    OpenLoop { schedule: OpenLoop, base: f64 },
    Metric(MetricState),
    Learned(Box<Learned>),
    Replay(Vec<f64>),
}

impl Driver {
    fn start(method: &Method, probe: &Measurement, spec: &TaskSpec) -> Self {
        let (kind, lr) = match method {
            Method::OpenLoop { schedule, lr } => {
                (DriverKind::OpenLoop { schedule: schedule.clone(), base: *lr }, schedule.lr(*lr, 0))
            }
            Method::Metric { schedule, lr } => (DriverKind::Metric(MetricState::new(schedule.clone(), *lr)), *lr),
            Method::Learned { policy, lr } => {
                let mut policy = policy.clone();
                let lr = policy.start(probe, spec.parameters, *lr);
                (DriverKind::Learned(policy), lr)
            }
            Method::Replay { lrs } => (DriverKind::Replay(lrs.clone()), lrs.first().copied().unwrap_or(0.0)),
        };
        Driver { kind, lr, interval: 0 }
    }

    /// Whether a diverged interval is undone: part of the `pilot` formulation, which its policies carry along.
    fn rolls_back(&self) -> bool {
        matches!(&self.kind, DriverKind::Learned(p) if !matches!(p.control().action, Action::Linear {}))
    }

    fn knobs(&self) -> Knobs {
        match &self.kind {
            DriverKind::Learned(policy) => policy.knobs(),
            // Where the optimizer has no momentum, the task ignores it.
            DriverKind::OpenLoop { schedule, .. } => {
                Knobs { momentum: schedule.momentum(self.interval), ..Knobs::lr(self.lr) }
            }
            _ => Knobs::lr(self.lr),
        }
    }

    /// After the measured `interval` = 1, 2, …, set the LR of the next one.
    fn observe(&mut self, m: &Measurement, interval: usize) {
        self.interval = interval;
        self.lr = match &mut self.kind {
            DriverKind::OpenLoop { schedule, base } => schedule.lr(*base, interval),
            DriverKind::Metric(state) => state.step(m.val_loss),
            DriverKind::Learned(policy) => policy.observe(m),
            DriverKind::Replay(lrs) => lrs.get(interval).or(lrs.last()).copied().unwrap_or(0.0),
        };
    }

    fn roll_back(&mut self, m: &Measurement) {
        if let DriverKind::Learned(policy) = &mut self.kind {
            self.lr = policy.roll_back(m);
        }
    }
}
