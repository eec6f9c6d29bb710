//! Training runs to watch: healthy ones of many kinds, and ones with a fault put in.

use lrpilot::nn::OptimizerSpec;
use lrpilot::task::{ConfiguredTask, Preset, QuadraticConfig, TaskConfig};
use lrpilot::{Hyperparameters, Measurement, Result, Task, TaskSource};
use lrpilot_core::guard::{Fault, Guard, GuardConfig, Verdict};
use std::f64::consts::PI;

/// Losses and gradient norms of one run, step by step.
#[derive(Clone)]
pub struct Trace {
    /// Kind of the run, for the table.
    pub kind: String,
    /// Largest learning rate relative to about the largest that trains with the optimizer at hand.
    pub lr: f64,
    /// Loss of each batch, before its update.
    pub losses: Vec<f64>,
    /// ‖g‖ of each batch.
    pub norms: Vec<f64>,
    /// Steps of an interval, for guards that see only intervals.
    pub interval: usize,
}

/// How a run is made; everything is drawn from its index.
struct Plan {
    kind: String,
    task: TaskConfig,
    /// Largest learning rate of the schedule, and the optimizer's edge.
    lr: f64,
    edge: f64,
    shape: Shape,
    steps: usize,
    interval: usize,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Constant,
    Cosine,
    WarmUpCosine,
    /// Four cosines, one after the other.
    Restarts,
}

impl Shape {
    /// Factor on the learning rate at the share `t` of the run, in [0, 1].
    fn at(self, t: f64) -> f64 {
        let cosine = |t: f64| 0.5 * (1.0 + (PI * t).cos());
        match self {
            Shape::Constant => 1.0,
            Shape::Cosine => cosine(t),
            Shape::WarmUpCosine if t < 0.1 => (t / 0.1).max(1e-3),
            Shape::WarmUpCosine => cosine((t - 0.1) / 0.9),
            Shape::Restarts => cosine((4.0 * t).fract()),
        }
    }
}

/// The `n`-th number of SplitMix64, on to the indices 0..`choices`.
fn draw(index: u64, n: u64, choices: usize) -> usize {
    let mut z = (index * 16 + n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % choices as u64) as usize
}

/// The optimizers by name, and about the largest learning rate with which each still trains digits at a batch of 50.
fn optimizers() -> [(&'static str, OptimizerSpec, f64); 5] {
    let named = |json: &str| serde_json::from_str::<OptimizerSpec>(json).expect("the example's own text");
    [
        ("sgd", named(r#"{"type": "sgd"}"#), 0.5),
        ("momentum", named(r#"{"type": "sgd", "momentum": 0.9}"#), 0.1),
        ("adam", named(r#"{"type": "adam"}"#), 0.02),
        ("rmsprop", named(r#"{"type": "rmsprop"}"#), 0.01),
        ("adagrad", named(r#"{"type": "adagrad"}"#), 0.1),
    ]
}

fn plan(index: u64) -> Plan {
    let pick = |n, choices| draw(index, n, choices);
    let share = [0.01, 0.03, 0.1, 0.3, 0.6, 1.0][pick(0, 6)];
    let shape = [Shape::Constant, Shape::Cosine, Shape::WarmUpCosine, Shape::Restarts][pick(1, 4)];
    let steps = [500, 1000, 2000][pick(2, 3)];
    if index % 5 == 4 {
        let config = QuadraticConfig {
            dimensions: [10, 50, 100][pick(3, 3)],
            noise: [0.001, 0.03, 1.0][pick(4, 3)],
            interval_steps: 1,
            horizon: steps,
            ..QuadraticConfig::default()
        };
        let edge = 1.5;
        let task = TaskConfig::NoisyQuadratic(config);
        return Plan { kind: "noisy quadratic".into(), task, lr: share * edge, edge, shape, steps, interval: 20 };
    }
    let TaskConfig::Supervised(mut config) = Preset::Digits.config() else { unreachable!("digits are supervised") };
    let (name, optimizer, edge) = optimizers()[pick(3, 5)].clone();
    config.optimizer = optimizer;
    config.batch_size = [4, 16, 50, 200][pick(4, 4)];
    config.data.label_noise = [0.0, 0.2, 0.4][pick(5, 3)];
    // Nobody looks at the validation loss here.
    config.data.val_a = 1;
    (config.interval_steps, config.horizon) = (Some(1), steps);
    // Small batches do not bear what large ones do.
    let edge = edge * (config.batch_size as f64 / 50.0).sqrt().min(1.0);
    let kind = format!("digits, {name}");
    Plan { kind, task: TaskConfig::Supervised(config), lr: share * edge, edge, shape, steps, interval: 20 }
}

/// Train the run with this index; from step `fault` on with thirty times the edge as its learning rate, where told.
///
/// # Errors
/// The task's own.
pub fn train(index: u64, fault: Option<usize>) -> Result<Trace> {
    let plan = plan(index);
    let mut task: Box<dyn Task> = ConfiguredTask::new(&plan.task, None)?.task(0)?;
    task.reset(index)?;
    let (mut losses, mut norms) = (Vec::with_capacity(plan.steps), Vec::with_capacity(plan.steps));
    for step in 0..plan.steps {
        let factor = plan.shape.at(step as f64 / plan.steps as f64);
        let lr = if fault.is_some_and(|fault| step >= fault) { 30.0 * plan.edge } else { plan.lr * factor };
        let m = task.advance(&Hyperparameters::lr(lr))?;
        losses.push(m.train_loss.unwrap_or(f64::NAN));
        norms.push(m.grad_norm_mean.unwrap_or(0.0));
    }
    Ok(Trace { kind: plan.kind, lr: plan.lr / plan.edge, losses, norms, interval: plan.interval })
}

/// Arithmetic mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Trace {
    /// Level at the start, lowest mean over a twentieth of the run, and mean over the last twentieth.
    pub fn levels(&self) -> (f64, f64, f64) {
        let part = self.losses.len() / 20;
        let parts: Vec<f64> = self.losses.chunks_exact(part).map(mean).collect();
        let lowest = parts.iter().copied().fold(f64::INFINITY, f64::min);
        (mean(&self.losses[..3]), lowest, parts[parts.len() - 1])
    }

    /// Whether the run is finite and ends where it was best, up to a quarter of what it came down by.
    pub fn is_healthy(&self) -> bool {
        let (start, lowest, end) = self.levels();
        self.losses.iter().all(|loss| loss.is_finite()) && end <= lowest + 0.25 * (start - lowest).max(0.0)
    }

    /// The first fault that a guard sees in the steps, and at which one (counted from 0).
    ///
    /// # Errors
    /// As [`Guard::new`].
    pub fn first_alarm(&self, config: &GuardConfig) -> Result<Option<(usize, Fault)>> {
        let mut guard = Guard::new(config.clone())?;
        let verdicts = self.losses.iter().zip(&self.norms).enumerate();
        let faults = verdicts.map(|(at, (loss, norm))| (at, guard.step(at as u64 + 1, *loss, Some(*norm))));
        Ok(first_fault(faults))
    }

    /// The same for a guard that sees means over intervals only.
    ///
    /// # Errors
    /// As [`Guard::new`].
    pub fn first_alarm_of_intervals(&self, config: &GuardConfig) -> Result<Option<(usize, Fault)>> {
        let mut guard = Guard::new(config.clone())?;
        let probe = std::iter::once(&self.losses[..1]);
        let means = probe.chain(self.losses.chunks_exact(self.interval)).map(mean);
        let faults = means.enumerate().map(|(at, loss)| {
            let m =
                Measurement { train_loss: Some(loss), steps: (at * self.interval) as u64, ..Measurement::default() };
            (at * self.interval, guard.interval(&m))
        });
        Ok(first_fault(faults))
    }
}

fn first_fault(mut verdicts: impl Iterator<Item = (usize, Verdict)>) -> Option<(usize, Fault)> {
    verdicts.find_map(|(at, verdict)| match verdict {
        Verdict::Healthy => None,
        Verdict::RollBack { reason, .. } | Verdict::GiveUp { reason } => Some((at, reason)),
    })
}

/// A fault that is put into the numbers of a healthy run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// One loss is NaN.
    Nan,
    /// One gradient is infinite.
    InfiniteGradient,
    /// One loss is twenty times that of the start, and at least twenty times the largest so far.
    EnormousBatch,
    /// For 20 steps the loss is higher by what the run has come down by: all that was learned is lost.
    Spike,
    /// From there on every loss is larger by 1 % than the one before would have been.
    Drift,
}

impl Injected {
    /// All of them.
    pub const ALL: [Injected; 5] =
        [Injected::Nan, Injected::InfiniteGradient, Injected::EnormousBatch, Injected::Spike, Injected::Drift];

    /// The trace with the fault at step `at` ≥ 50; `None` where the fault does no harm: a spike lower than two usual
    /// changes from one loss to the next, a drift that loses less than half of what was learned.
    pub fn put_into(self, trace: &Trace, at: usize) -> Option<Trace> {
        let mut faulty = trace.clone();
        let (start, lowest, _) = trace.levels();
        let largest = trace.losses[..at].iter().copied().fold(0.0, f64::max);
        let losses = &mut faulty.losses;
        let harms = match self {
            Injected::Nan => {
                losses[at] = f64::NAN;
                true
            }
            Injected::InfiniteGradient => {
                faulty.norms[at] = f64::INFINITY;
                true
            }
            Injected::EnormousBatch => {
                losses[at] = 20.0 * largest.max(start);
                true
            }
            Injected::Spike => {
                let changes: Vec<f64> = losses[at - 50..at].windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
                losses[at..at + 20].iter_mut().for_each(|loss| *loss += start - lowest);
                start - lowest > 2.0 * mean(&changes)
            }
            Injected::Drift => {
                let before = mean(&losses[at - 50..at]);
                losses[at..].iter_mut().enumerate().for_each(|(i, loss)| *loss *= 1.01f64.powi(i as i32 + 1));
                mean(&losses[losses.len() - 20..]) - before > 0.5 * (start - before)
            }
        };
        harms.then_some(faulty)
    }
}
