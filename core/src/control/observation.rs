//! Observations: what the agent sees after each interval.

use crate::Measurement;
use serde::{Deserialize, Serialize};

/// Which observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observation {
    /// (validation loss, epochs left, gradient norm of each group), raw (paper, A.1).
    Paper,
    /// Hand-scaled features of losses, norms and time, independent of the number of groups; see [`RICH_FEATURES`].
    Rich,
    /// Time alone: t/H, 1/(H − t) and ln(H/50). A policy that sees nothing else is an open-loop schedule.
    StateBlind,
}

/// Names of the features of [`Observation::Rich`], in order. Losses are floored by 1e-3; every feature is clipped to ±10.
/// A feature of something that was not measured, or is not a number, is 0, but for the halves of a probe, which count as 10. `val` is the loss on held-back data, or the
/// training loss where there is none.
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

/// What features of [`Observation::Rich`] and [`Observation::StateBlind`] are clipped to, on either side of 0.
const LIMIT: f32 = 10.0;

/// Losses below this look alike.
const LOSS_FLOOR: f64 = 1e-3;

/// What an observer remembers between intervals. A loss that was never known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    val0: Option<f64>,
    best: Option<f64>,
    val: Option<f64>,
    train: Option<f64>,
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
    /// Length of the vector for a network with `groups` parameter groups.
    pub fn dim(self, groups: usize) -> usize {
        match self {
            Observation::Paper => 2 + groups,
            Observation::Rich => RICH_FEATURES.len(),
            Observation::StateBlind => TIME_FEATURES.len(),
        }
    }

    /// Largest absolute value of an entry; infinite where entries are not clipped.
    ///
    /// ```
    /// use lrpilot_core::control::Observation;
    /// assert_eq!([Observation::Rich, Observation::Paper].map(Observation::limit), [10.0, f32::INFINITY]);
    /// ```
    pub fn limit(self) -> f32 {
        if self == Observation::Paper { f32::INFINITY } else { LIMIT }
    }

    /// Name of each entry.
    pub fn names(self, groups: usize) -> Vec<String> {
        match self {
            Observation::Paper => {
                let gradients = (0..groups).map(|i| format!("|g| layer {i}"));
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
                out.push(m.loss() as f32);
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
    /// The loss of the untrained network; NaN if unknown.
    pub fn initial(&self) -> f64 {
        known(self.val0)
    }

    /// The smallest loss so far; NaN if unknown.
    pub fn best(&self) -> f64 {
        known(self.best)
    }

    fn update(&mut self, m: &Measurement, first: bool) -> Deltas {
        let finite = |v: f64| v.is_finite().then_some(v);
        let (val, train) = (finite(m.loss()), m.train_loss.and_then(finite));
        if first {
            *self = Memory { val0: val, best: val, val, train, ..Memory::default() };
            return Deltas { val: 0.0, train: 0.0 };
        }
        let deltas =
            Deltas { val: ln(known(self.val)) - ln(known(val)), train: ln(known(self.train)) - ln(known(train)) };
        let change = if deltas.val.is_finite() { deltas.val } else { 0.0 };
        self.dv_fast = 0.5 * self.dv_fast + 0.5 * change;
        self.dv_slow = 0.8 * self.dv_slow + 0.2 * change;
        let better = val.is_some_and(|v| self.best.is_none_or(|best| v < best));
        self.since_best = if better { 0 } else { self.since_best + 1 };
        if better {
            self.best = val;
        }
        (self.val, self.train) = (val.or(self.val), train.or(self.train));
        deltas
    }
}

fn known(v: Option<f64>) -> f64 {
    v.unwrap_or(f64::NAN)
}

/// The logarithm of a floored loss; of an unknown one, NaN.
fn ln(loss: f64) -> f64 {
    if loss.is_nan() { loss } else { loss.max(LOSS_FLOOR).ln() }
}

fn bounded(v: f64) -> f32 {
    if v.is_nan() { 0.0 } else { v.clamp(f64::from(-LIMIT), f64::from(LIMIT)) as f32 }
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
    let u_max = update_ratio.iter().copied().reduce(f64::max).unwrap_or(f64::NAN);
    // A probe has no halves, and there this feature is at its upper limit: so the published policies have learned it.
    let halves = match (m.train_loss_first_half, m.train_loss_second_half) {
        (Some(first), Some(second)) => ln(first) - ln(second),
        _ if c.interval == 0 => f64::INFINITY,
        _ => f64::NAN,
    };
    let path = known(m.path_length);
    let efficiency = (at_least(known(m.displacement), 1e-12) / at_least(path, 1e-12)).log10();
    let moved = path > 0.0;
    let (val, train, norm) = (m.loss(), known(m.train_loss), known(m.grad_norm_mean));
    [
        elapsed,
        last,
        horizon,
        c.lr.log10() + 2.0,
        ln(val),
        ln(train),
        ln(val) - ln(memory.initial()),
        ln(val) - ln(memory.best()),
        5.0 * deltas.val,
        5.0 * memory.dv_fast,
        5.0 * memory.dv_slow,
        5.0 * deltas.train,
        ln(train) - ln(val),
        5.0 * halves,
        at_least(norm, 1e-12).log10(),
        known(m.grad_norm_sd) / at_least(norm, 1e-12),
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

/// The larger of both, where `f64::max` would turn NaN into `least`.
fn at_least(v: f64, least: f64) -> f64 {
    if v.is_nan() { v } else { v.max(least) }
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
                train_loss: Some(value),
                val_loss: Some(value),
                grad_norms: vec![value],
                weight_norms: vec![value],
                update_norms: vec![value],
                path_length: Some(value),
                grad_norm_mean: Some(value),
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
