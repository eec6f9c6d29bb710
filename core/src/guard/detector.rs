//! What is unusual in a sequence of losses: running statistics of constant size, and the rules on them.

use super::GuardConfig;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A loss beyond ± this counts as infinite, so that no difference or multiple below overflows.
const LARGEST: f64 = 1e300;
/// A block of the drift rule is at least this fraction of the run so far.
const BLOCKS_IN_A_RUN: u64 = 32;

/// What went wrong in a training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Loss or gradient is NaN or infinite.
    NotFinite,
    /// A single loss is far above everything seen before.
    Enormous,
    /// The loss stays far above its level for several steps.
    Spike,
    /// The smoothed loss has been rising for long and is well above its lowest.
    Drift,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::NotFinite => "the loss or the gradient is NaN or infinite",
            Fault::Enormous => "a loss is far above all that came before",
            Fault::Spike => "the loss stays far above its usual level",
            Fault::Drift => "the smoothed loss has been rising for long",
        })
    }
}

/// What of [`GuardConfig`] depends on whether steps or intervals are counted.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub warm_up: u32,
    pub memory: u32,
    pub spike: f64,
    pub block: u32,
    /// Least progress, as a share of the level at the start.
    pub least_progress: f64,
}

/// The statistics. All numbers are finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detector {
    /// Losses taken in.
    seen: u64,
    last: f64,
    /// m: running mean, in which a rise counts up to the width of what is usual.
    level: f64,
    /// s: running mean of |xₜ − xₜ₋₁|, limited likewise.
    change: f64,
    /// Largest x − m.
    largest: f64,
    /// Highest level in the warm-up, and lowest ever.
    start: f64,
    lowest: f64,
    /// Of the spike rule, ≥ 0.
    score: f64,
    /// The block in the making.
    block_len: u64,
    block_mean: f64,
    last_block: Option<f64>,
    /// The lowest block, and s at its end.
    lowest_block: Option<(f64, f64)>,
    /// Blocks in a row that are higher than the one before.
    rising: u32,
}

impl Detector {
    /// Take in a loss. `drifts` says whether a slow rise is a fault.
    pub fn observe(&mut self, x: f64, config: &GuardConfig, pace: Pace, drifts: bool) -> Option<Fault> {
        // NaN is not below anything.
        let in_range = x.abs() <= LARGEST;
        if !in_range {
            return Some(Fault::NotFinite);
        }
        if self.seen == 0 {
            *self = Detector { seen: 1, last: x, level: x, start: x, lowest: x, ..Detector::default() };
            return None;
        }
        // Equal losses at the start count as one: there is no noise yet to measure in.
        if self.seen == 1 && x == self.last {
            return None;
        }
        let above = x - self.level;
        let scale = self.progress().max(self.start.abs()).max(self.largest);
        if scale > 0.0 && above > config.enormous * scale {
            return Some(Fault::Enormous);
        }
        let settled = self.seen >= u64::from(pace.warm_up);
        // In the warm-up, and without any noise or progress to measure in, nothing is high.
        let unit = self.change.max(config.spike_share * self.counted_progress(pace) / config.spike_clip);
        let known = settled && unit > 0.0;
        let high = known && above > config.spike_share * self.counted_progress(pace);
        self.score = (self.score + if high { (above / unit).min(config.spike_clip) } else { 0.0 } - 1.0).max(0.0);
        if self.score >= pace.spike {
            return Some(Fault::Spike);
        }
        let width = if known { config.spike_clip * unit } else { f64::INFINITY };
        let taken = self.level + above.min(width).max(-width);
        self.update(x, taken, width, pace.memory, settled);
        (self.block(taken, config, pace) && drifts).then_some(Fault::Drift)
    }

    /// What the level came down by, ≥ 0.
    fn progress(&self) -> f64 {
        self.start - self.lowest
    }

    /// P of the rules.
    fn counted_progress(&self, pace: Pace) -> f64 {
        self.progress().max(pace.least_progress * self.start.abs())
    }

    fn update(&mut self, x: f64, taken: f64, width: f64, memory: u32, settled: bool) {
        self.largest = self.largest.max(x - self.level);
        let weight = 1.0 / self.seen.saturating_add(1).min(u64::from(memory)) as f64;
        self.level += (taken - self.level) * weight;
        let weight = 1.0 / self.seen.min(u64::from(memory)) as f64;
        self.change += ((x - self.last).abs().min(width) - self.change) * weight;
        self.lowest = self.lowest.min(self.level);
        if !settled {
            self.start = self.start.max(self.level);
        }
        (self.seen, self.last) = (self.seen.saturating_add(1), x);
    }

    /// Add to the block; whether the blocks have drifted upwards.
    fn block(&mut self, taken: f64, config: &GuardConfig, pace: Pace) -> bool {
        self.block_len = self.block_len.saturating_add(1);
        let n = self.block_len as f64;
        self.block_mean += (taken - self.block_mean) / n;
        if self.block_len < u64::from(pace.block).max(self.seen / BLOCKS_IN_A_RUN) {
            return false;
        }
        let mean = std::mem::take(&mut self.block_mean);
        self.block_len = 0;
        self.rising = if self.last_block.is_some_and(|last| mean > last) { self.rising.saturating_add(1) } else { 0 };
        self.last_block = Some(mean);
        let (lowest, change) = self.lowest_block.filter(|(lowest, _)| *lowest <= mean).unwrap_or((mean, self.change));
        self.lowest_block = Some((lowest, change));
        let noise = config.drift_noise * change * (2.0 / n).sqrt();
        self.rising >= config.drift_blocks
            && mean - lowest > noise.max(config.drift_share * self.counted_progress(pace))
    }

    /// Whether nothing points to a fault in the making.
    pub fn is_calm(&self, config: &GuardConfig, pace: Pace) -> bool {
        4.0 * self.score < pace.spike && 2 * u64::from(self.rising) < u64::from(config.drift_blocks)
    }

    /// The running level, once there is one.
    pub fn level(&self) -> Option<f64> {
        (self.seen > 0).then_some(self.level)
    }

    /// (x − m)/s, where both are known.
    pub fn deviation(&self, x: f64) -> Option<f64> {
        (self.change > 0.0).then(|| (x - self.level) / self.change)
    }
}
