//! Responses of tasks to the level of the learning rate: what the anchor is fitted to.

use super::score::{Loop, run_schedule};
use crate::Result;
use crate::rng::{Purpose, derive_seed};
use crate::task::{Split, TaskSource};
use lrpilot_core::generalist::{ANCHOR_TERMS, AnchorModel, FEATURES, Generalist, GeneralistSpec};
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{Policy, Schedule};
use serde::{Deserialize, Serialize};

/// Levels of the learning rate that are tried, in decades from the measured anchor.
pub const LEVELS: [f64; 17] =
    [-2.0, -1.75, -1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0];

/// How one task answers to the level of the base schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Number of the task.
    pub index: u64,
    /// Name of the task.
    pub name: String,
    /// The facts that the anchor goes by; absent ones are null.
    pub facts: [Option<f64>; ANCHOR_TERMS.len()],
    /// ln(loss/loss of the untrained network) at the end for each of [`LEVELS`], on data that no run saw.
    pub log_losses: Vec<f64>,
}

impl Response {
    /// The best level, in decades: the least of the losses, each averaged with its neighbours, because one run is noisy.
    ///
    /// ```
    /// use lrpilot::run::generalist::{LEVELS, Response};
    /// let log_losses = LEVELS.iter().map(|level| (level - 0.5).powi(2)).collect();
    /// let response = Response { index: 0, name: "parabola".into(), facts: [None; 8], log_losses };
    /// assert_eq!(response.best_level(), 0.5);
    /// ```
    pub fn best_level(&self) -> f64 {
        let smoothed = |i: usize| {
            let (from, to) = (i.saturating_sub(1), (i + 1).min(self.log_losses.len() - 1));
            // An end counts twice, so that it is averaged over as many as the others.
            let sum: f64 = self.log_losses[from..=to].iter().sum();
            if to - from < 2 { (sum + self.log_losses[i]) / 3.0 } else { sum / 3.0 }
        };
        let best = (0..self.log_losses.len()).min_by(|a, b| smoothed(*a).total_cmp(&smoothed(*b)));
        best.map_or(0.0, |i| LEVELS[i])
    }

    /// Whether the level hardly matters: less than 3 % within a decade of the best one.
    pub fn is_flat(&self) -> bool {
        let best = self.best_level();
        let near = || LEVELS.iter().zip(&self.log_losses).filter(|(level, _)| (**level - best).abs() <= 1.0);
        let (least, most) = near().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (_, l)| (a.min(*l), b.max(*l)));
        most - least < 0.03
    }
}

/// Seed of the task number `index` of the bank.
fn bank_seed(seed: u64, index: u64) -> u64 {
    derive_seed(seed, Purpose::TaskDraw, 1 << 62 | index)
}

/// Train the task number `index` of `source` under the base schedule at each of [`LEVELS`].
///
/// # Errors
/// The task's own.
pub fn respond(source: &dyn TaskSource, spec: &GeneralistSpec, seed: u64, index: u64) -> Result<Response> {
    let seed = bank_seed(seed, index);
    let mut task = source.task(seed)?;
    let still = Policy::new(vec![FEATURES.len(), 1], vec![0.0; FEATURES.len() + 1], None);
    let mut log_losses = Vec::with_capacity(LEVELS.len());
    for level in LEVELS {
        let anchor = AnchorModel { offset: level, ..AnchorModel::plain() };
        let spec = GeneralistSpec { anchor, ..spec.clone() };
        let base = Schedule::generalist(Generalist::new(still.clone(), spec, Provenance::default())?);
        let outcome = run_schedule(&mut *task, &base, seed, Split::ValidationB, Loop::Strict)?;
        let floor = 1e-3 * outcome.initial;
        log_losses.push(((outcome.loss + floor) / (outcome.initial + floor)).ln());
    }
    let facts = AnchorModel::facts(&task.spec().run());
    Ok(Response { index, name: task.spec().name.clone(), facts, log_losses })
}
