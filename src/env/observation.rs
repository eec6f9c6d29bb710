//! Observations: what the agent sees after each interval.

use crate::task::Measurement;
use serde::{Deserialize, Serialize};

/// Which observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observation {
    /// (validation loss, epochs left, gradient norm of each layer), raw (paper, A.1).
    Paper,
    /// Hand-scaled features of losses, norms and time, independent of the number of layers; see [`RICH_FEATURES`].
    Rich,
    /// Time alone: t/H, 1/(H − t) and ln(H/50). A policy that sees nothing else is an open-loop schedule.
    StateBlind,
}

/// Names of the features of [`Observation::Rich`], in order. Losses are floored by 1e-3; every feature is clipped to ±10
/// and a NaN becomes 0.
pub const RICH_FEATURES: [&str; 25] = [
    "t/H",
    "1/(H-t)",
    "ln(H/50)",
    "log10 LR + 2",
    "ln val",
    "ln train",
    "ln(val/val0)",
    "ln(val/best)",
    "5 dv",
    "5 mean dv (0.5)",
    "5 mean dv (0.8)",
    "5 d train",
    "ln(train/val)",
    "5 ln(first half/second half)",
    "log10 |g|",
    "sd/mean |g|",
    "mean log10(|g|/|w|)",
    "sd log10(|g|/|w|)",
    "mean log10(|dw|/|w|) + 3",
    "max log10(|dw|/|w|) + 3",
    "path efficiency",
    "previous action",
    "rolled back",
    "log10 LR/anchor",
    "interval/8 since best",
];

const TIME_FEATURES: [&str; 3] = ["t/H", "1/(H-t)", "ln(H/50)"];

/// Losses below this look alike.
const LOSS_FLOOR: f64 = 1e-3;

/// What an observer remembers between intervals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    val0: f64,
    best: f64,
    val: f64,
    train: f64,
    dv_fast: f64,
    dv_slow: f64,
    since_best: usize,
}

/// What the observation needs beside the measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// Intervals finished, t.
    pub interval: usize,
    /// Intervals in the episode, H.
    pub horizon: usize,
    /// Learning rate of the last interval (the initial one before the first).
    pub lr: f64,
    /// Anchor LR of the episode.
    pub anchor: f64,
    /// Last action of the LR, clipped to ±1.
    pub action: f64,
    /// Whether the last interval was rolled back.
    pub rolled_back: bool,
}

impl Observation {
    /// Length of the vector for a task with `layers` layers.
    pub fn dim(self, layers: usize) -> usize {
        match self {
            Observation::Paper => 2 + layers,
            Observation::Rich => RICH_FEATURES.len(),
            Observation::StateBlind => TIME_FEATURES.len(),
        }
    }

    /// Name of each entry.
    pub fn names(self, layers: usize) -> Vec<String> {
        match self {
            Observation::Paper => {
                let gradients = (0..layers).map(|i| format!("|g| layer {i}"));
                ["val loss", "epochs left"].into_iter().map(String::from).chain(gradients).collect()
            }
            Observation::Rich => RICH_FEATURES.map(String::from).to_vec(),
            Observation::StateBlind => TIME_FEATURES.map(String::from).to_vec(),
        }
    }

    /// Look at `m` and write the observation to `out`, which is cleared first.
    pub fn observe(self, memory: &mut Memory, m: &Measurement, context: &Context, out: &mut Vec<f32>) {
        let deltas = memory.update(m, context.interval == 0);
        out.clear();
        match self {
            Observation::Paper => {
                out.push(m.val_loss as f32);
                out.push((context.horizon - context.interval) as f32);
                out.extend(m.grad_norms.iter().map(|g| *g as f32));
            }
            Observation::Rich => out.extend(rich(memory, &deltas, m, context).map(bounded)),
            Observation::StateBlind => out.extend(time_features(context).map(bounded)),
        }
    }
}

/// One step of the logarithm of a loss.
struct Deltas {
    val: f64,
    train: f64,
}

impl Memory {
    /// The validation loss of the untrained network.
    pub fn initial(&self) -> f64 {
        self.val0
    }

    /// The smallest validation loss so far.
    pub fn best(&self) -> f64 {
        self.best
    }

    /// The last validation loss.
    pub fn val(&self) -> f64 {
        self.val
    }

    fn update(&mut self, m: &Measurement, first: bool) -> Deltas {
        if first {
            *self = Memory {
                val0: m.val_loss,
                best: m.val_loss,
                val: m.val_loss,
                train: m.train_loss,
                ..Memory::default()
            };
            return Deltas { val: 0.0, train: 0.0 };
        }
        let deltas = Deltas { val: ln(self.val) - ln(m.val_loss), train: ln(self.train) - ln(m.train_loss) };
        let finite = if deltas.val.is_finite() { deltas.val } else { 0.0 };
        self.dv_fast = 0.5 * self.dv_fast + 0.5 * finite;
        self.dv_slow = 0.8 * self.dv_slow + 0.2 * finite;
        self.since_best = if m.val_loss < self.best { 0 } else { self.since_best + 1 };
        self.best = self.best.min(m.val_loss);
        (self.val, self.train) = (m.val_loss, m.train_loss);
        deltas
    }
}

fn ln(loss: f64) -> f64 {
    loss.max(LOSS_FLOOR).ln()
}

fn bounded(v: f64) -> f32 {
    if v.is_nan() { 0.0 } else { v.clamp(-10.0, 10.0) as f32 }
}

fn time_features(c: &Context) -> [f64; 3] {
    let (t, h) = (c.interval as f64, c.horizon as f64);
    [t / h, 1.0 / (h - t).max(1.0), (h / 50.0).ln()]
}

fn rich(memory: &Memory, deltas: &Deltas, m: &Measurement, c: &Context) -> [f64; RICH_FEATURES.len()] {
    let [elapsed, last, horizon] = time_features(c);
    let ratio = |a: &[f64]| -> Vec<f64> {
        a.iter().zip(&m.weight_norms).map(|(a, w)| (a.max(1e-12) / w.max(1e-12)).log10()).collect()
    };
    let (gradient_ratio, update_ratio) = (ratio(&m.grad_norms), ratio(&m.update_norms));
    let (g_mean, g_sd) = mean_sd(&gradient_ratio);
    let (u_mean, _) = mean_sd(&update_ratio);
    let u_max = update_ratio.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let halves = ln(m.train_loss_first_half) - ln(m.train_loss_second_half);
    let efficiency = (m.displacement.max(1e-12) / m.path_length.max(1e-12)).log10();
    let moved = m.path_length > 0.0;
    [
        elapsed,
        last,
        horizon,
        c.lr.log10() + 2.0,
        ln(m.val_loss),
        ln(m.train_loss),
        ln(m.val_loss) - ln(memory.val0),
        ln(m.val_loss) - ln(memory.best),
        5.0 * deltas.val,
        5.0 * memory.dv_fast,
        5.0 * memory.dv_slow,
        5.0 * deltas.train,
        ln(m.train_loss) - ln(m.val_loss),
        5.0 * halves,
        m.grad_norm_mean.max(1e-12).log10(),
        m.grad_norm_sd / m.grad_norm_mean.max(1e-12),
        g_mean,
        g_sd,
        if moved { u_mean + 3.0 } else { 0.0 },
        if moved { u_max + 3.0 } else { 0.0 },
        if moved { efficiency } else { 0.0 },
        c.action,
        f64::from(u8::from(c.rolled_back)),
        (c.lr / c.anchor).log10(),
        memory.since_best as f64 / 8.0,
    ]
}

fn mean_sd(v: &[f64]) -> (f64, f64) {
    let n = v.len().max(1) as f64;
    let mean = v.iter().sum::<f64>() / n;
    (mean, (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is measured, a policy's input is finite and within ±10.
    #[test]
    fn rich_features_are_bounded_for_any_measurement() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300] {
            let m = Measurement {
                train_loss: value,
                val_loss: value,
                grad_norms: vec![value],
                weight_norms: vec![value],
                update_norms: vec![value],
                path_length: value,
                grad_norm_mean: value,
                ..Measurement::default()
            };
            let (mut memory, mut out) = (Memory::default(), Vec::new());
            for interval in 0..3 {
                let c = Context { interval, horizon: 3, lr: 0.1, anchor: 0.1, action: 0.0, rolled_back: false };
                Observation::Rich.observe(&mut memory, &m, &c, &mut out);
                assert_eq!(out.len(), RICH_FEATURES.len());
                assert!(out.iter().all(|v| v.abs() <= 10.0), "{value}: {out:?}");
            }
        }
    }
}
