//! What a pretrained policy sees: numbers that are the same for a network in other units.

use crate::Measurement;
use serde::{Deserialize, Serialize};

/// Names of the features, in order. v is the loss on held-back data, ℓ the mean training loss of the interval, L₀ the
/// first loss of its kind that was told, s the share of the run that is done, T the run's optimizer steps. The *watched*
/// loss is v where it was measured, otherwise ℓ. Ratios of losses are floored by L₀/1000 on both sides.
///
/// A feature of something that was not measured is 0, and the `has` feature before it says so. Every feature is clipped
/// to ±5.
pub const FEATURES: [&str; 34] = [
    "share done",
    "ln(1 - s + 1/50)/2",
    "ln(share of last interval)/2",
    "ln(share of next interval)/2",
    "ln(T)/8",
    "has: number of examples",
    "ln(1 + epochs so far)/3",
    "ln(1 + epochs in all)/3",
    "residual m",
    "log10 b(s)",
    "previous action",
    "rolled back",
    "has: v",
    "ln(watched/L0)",
    "5 ln(watched/best)",
    "5 change of ln watched",
    "5 mean change (0.6)",
    "mean change/mean |change|",
    "4 share since best",
    "has: l",
    "ln(l/L0)",
    "ln(v/l)",
    "5 change of ln(v/l)",
    "5 change of ln l",
    "5 ln(first half/second half)",
    "t-value of the halves/5",
    "sd/mean of batch losses",
    "ln(largest/mean of batch losses)",
    "has: gradient",
    "ln(|g|/first |g|)",
    "2 change of ln |g|",
    "sd/mean of |g|",
    "ln(share since best + 1/50)/2",
    "intervals since best/8",
];

/// Features are clipped to ± this.
const CLIP: f64 = 5.0;
/// Ratios of losses are floored by this share of the first loss.
const FLOOR: f64 = 1e-3;
/// Decay of the running means of changes.
const KEPT: f64 = 0.6;

/// Where a run stands when the policy looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Share of the run that is done, in [0, 1].
    pub share: f64,
    /// Share of the last interval; 0 before the first.
    pub last_interval: f64,
    /// Share of the next interval; 0 at the end.
    pub next_interval: f64,
    /// Optimizer steps in the run, where they are known.
    pub steps: Option<u64>,
    /// How often the run sees each example, where that is known.
    pub epochs: Option<f64>,
    /// The residual m, in decades.
    pub residual: f64,
    /// The base b(s).
    pub base: f64,
    /// The last action, clipped to ±1.
    pub action: f64,
    /// Whether the last interval was rolled back.
    pub rolled_back: bool,
    /// Batches in the last interval, where their number is known.
    pub batches: Option<f64>,
}

/// One loss as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Series {
    first: f64,
    last: f64,
    best: f64,
    best_share: f64,
    since_best: f64,
    change: f64,
    mean_change: f64,
    mean_size: f64,
}

/// ln((a + f)/(b + f)) with f = `floor`; 0 where that is no number.
fn log_ratio(a: f64, b: f64, floor: f64) -> f64 {
    let ratio = ((a + floor) / (b + floor)).ln();
    if ratio.is_finite() { ratio } else { 0.0 }
}

impl Series {
    fn begin(value: f64, share: f64) -> Self {
        Series { first: value, last: value, best: value, best_share: share, ..Series::default() }
    }

    fn floor(&self) -> f64 {
        FLOOR * self.first.abs()
    }

    fn go_on(&mut self, value: f64, share: f64) {
        self.change = log_ratio(value, self.last, self.floor());
        self.mean_change = KEPT * self.mean_change + (1.0 - KEPT) * self.change;
        self.mean_size = KEPT * self.mean_size + (1.0 - KEPT) * self.change.abs();
        self.last = value;
        self.since_best += 1.0;
        if value < self.best {
            (self.best, self.best_share, self.since_best) = (value, share, 0.0);
        }
    }

    fn take(series: &mut Option<Series>, value: Option<f64>, share: f64) {
        let Some(value) = value.filter(|v| v.is_finite()) else { return };
        match series {
            Some(series) => series.go_on(value, share),
            None => *series = Some(Series::begin(value, share)),
        }
    }

    /// ln of the last value over another one.
    fn above(&self, other: f64) -> f64 {
        log_ratio(self.last, other, self.floor())
    }
}

/// What is remembered between decisions. Plain numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    held_back: Option<Series>,
    training: Option<Series>,
    gradient: Option<Series>,
    gap: Option<f64>,
    gap_change: f64,
}

impl Memory {
    /// Look at the measurement and write the features to `out`, which is cleared first.
    pub(super) fn observe(&mut self, m: &Measurement, now: &Standing, out: &mut Vec<f32>) {
        Series::take(&mut self.held_back, m.val_loss, now.share);
        Series::take(&mut self.training, m.train_loss, now.share);
        // The probe's one batch says little of how gradients are; the first interval is the first gradient.
        let gradient = m.grad_norm_mean.filter(|g| now.share > 0.0 && *g > 0.0);
        Series::take(&mut self.gradient, gradient, now.share);
        self.take_gap(m);
        out.clear();
        out.extend(time(now));
        out.extend(self.watched(m, now));
        out.extend(self.training(m, now));
        out.extend(self.gradients(m));
        let since = now.share - self.best_share();
        out.extend([(since.max(0.0) + 0.02).ln() / 2.0, self.watched_series(m).since_best / 8.0].map(|v| v as f32));
        out.iter_mut().for_each(|v| *v = if v.is_finite() { v.clamp(-CLIP as f32, CLIP as f32) } else { 0.0 });
    }

    /// Intervals end on their second half: its loss is nearest in time to the held-back one.
    fn take_gap(&mut self, m: &Measurement) {
        let (Some(held_back), Some(training)) = (m.val_loss, m.train_loss_second_half) else { return };
        let floor = self.held_back.map_or(0.0, |s| s.floor());
        let gap = log_ratio(held_back, training, floor);
        self.gap_change = self.gap.map_or(0.0, |before| gap - before);
        self.gap = Some(gap);
    }

    /// The loss to go by.
    fn watched_series(&self, m: &Measurement) -> Series {
        let held_back = self.held_back.filter(|_| m.val_loss.is_some());
        held_back.or(self.training).or(self.held_back).unwrap_or_default()
    }

    fn best_share(&self) -> f64 {
        self.held_back.or(self.training).map_or(0.0, |s| s.best_share)
    }

    fn watched(&self, m: &Measurement, now: &Standing) -> [f32; 7] {
        let s = self.watched_series(m);
        [
            f64::from(u8::from(m.val_loss.is_some())),
            s.above(s.first),
            5.0 * s.above(s.best),
            5.0 * s.change,
            5.0 * s.mean_change,
            s.mean_change / (s.mean_size + 1e-6),
            4.0 * (now.share - s.best_share),
        ]
        .map(|v| v as f32)
    }

    fn training(&self, m: &Measurement, now: &Standing) -> [f32; 9] {
        let (Some(s), Some(mean)) = (self.training, m.train_loss) else { return [0.0; 9] };
        let halves = m.train_loss_first_half.zip(m.train_loss_second_half);
        let fall = halves.map_or(0.0, |(first, second)| log_ratio(first, second, s.floor()));
        let t = halves.zip(m.train_loss_sd).zip(now.batches).map_or(0.0, |(((first, second), sd), n)| {
            (first - second) / (2.0 * sd / n.max(1.0).sqrt() + 1e-9 * s.first.abs())
        });
        let spread = m.train_loss_sd.map_or(0.0, |sd| sd / (mean.abs() + s.floor()));
        let largest = m.train_loss_max.map_or(0.0, |max| log_ratio(max, mean, s.floor()));
        let gap = m.val_loss.and(self.gap);
        let gap_change = if gap.is_some() { self.gap_change } else { 0.0 };
        [
            1.0,
            s.above(s.first),
            gap.unwrap_or(0.0),
            5.0 * gap_change,
            5.0 * s.change,
            5.0 * fall,
            t / 5.0,
            spread,
            largest,
        ]
        .map(|v| v as f32)
    }

    fn gradients(&self, m: &Measurement) -> [f32; 4] {
        let (Some(s), Some(mean)) = (self.gradient, m.grad_norm_mean) else { return [0.0; 4] };
        let spread = m.grad_norm_sd.map_or(0.0, |sd| sd / (mean + 1e-12 * s.first));
        [1.0, (s.last / s.first).ln(), 2.0 * s.change, spread].map(|v| v as f32)
    }
}

fn time(now: &Standing) -> [f32; 12] {
    let log_share = |share: f64| if share > 0.0 { share.ln() / 2.0 } else { 0.0 };
    let epochs = |done: f64| now.epochs.map_or(0.0, |epochs| (1.0 + done * epochs).ln() / 3.0);
    [
        now.share,
        (1.0 - now.share + 0.02).ln() / 2.0,
        log_share(now.last_interval),
        log_share(now.next_interval),
        now.steps.map_or(0.0, |steps| (steps as f64).ln() / 8.0),
        f64::from(u8::from(now.epochs.is_some())),
        epochs(now.share),
        epochs(1.0),
        now.residual,
        now.base.max(1e-4).log10(),
        now.action,
        f64::from(u8::from(now.rolled_back)),
    ]
    .map(|v| v as f32)
}
