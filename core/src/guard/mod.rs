//! The guard: it watches the losses of a training run, asks for a roll-back with a lower learning rate when something
//! goes wrong, and keeps a log of what it did.
//!
//! It sees numbers only. Snapshots are the caller's, and so are the learning rate and the log's file. Four faults are
//! known ([`Fault`]); [`GuardConfig`] has their thresholds. A network that learns nothing, and a validation loss that
//! rises while the training loss falls, are no faults.

mod audit;
mod config;
mod detector;

pub use audit::{AuditEvent, AuditKind};
pub use config::GuardConfig;
pub use detector::Fault;

use crate::range::{Range, check};
use crate::{Measurement, Result};
use detector::{Detector, Pace};
use serde::{Deserialize, Serialize};

/// What a training loop does after a step or an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[must_use]
pub enum Verdict {
    /// Go on.
    Healthy,
    /// Put weights and optimizer back to the last good snapshot (without one, to the start of the run) and go on with the
    /// schedule's learning rate times [`Guard::lr_factor`].
    RollBack {
        /// The factor from here on, of all roll-backs together, in (0, 1).
        lr_factor: f64,
        /// What went wrong.
        reason: Fault,
    },
    /// The fault comes back in spite of roll-backs: keep the last good snapshot and stop. Every later verdict is the same.
    GiveUp {
        /// What went wrong last.
        reason: Fault,
    },
}

/// Watches one training run.
///
/// ```
/// use lrpilot_core::guard::{Guard, GuardConfig, Verdict};
/// // Gradient descent on ½w², until somebody raises the learning rate at step 60 to where it diverges.
/// let (mut w, mut snapshot) = (1.0_f64, 1.0);
/// let mut guard = Guard::new(GuardConfig::default())?;
/// for step in 1..=200 {
///     let lr = if step < 60 { 0.05 } else { 3.0 } * guard.lr_factor();
///     let (loss, gradient) = (0.5 * w * w, w);
///     match guard.step(step, loss, Some(gradient.abs())) {
///         Verdict::Healthy => w -= lr * gradient,
///         Verdict::RollBack { .. } => w = snapshot,
///         Verdict::GiveUp { .. } => unreachable!("a learning rate of 1.5 converges"),
///     }
///     if step % 20 == 0 && guard.snapshot_taken(step) {
///         snapshot = w;
///     }
/// }
/// assert!(w.abs() < 1e-6);
/// assert_eq!(guard.drain_events().len(), 1);
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Guard {
    config: GuardConfig,
    state: GuardState,
}

/// Everything that changes in a [`Guard`], to be saved with a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardState {
    now: Detectors,
    /// As they were at the last good snapshot.
    at_snapshot: Detectors,
    snapshot_step: u64,
    last_step: u64,
    lr_factor: f64,
    /// What the factor recovers to.
    ceiling: f64,
    rollbacks: u32,
    in_a_row: u32,
    given_up: Option<Fault>,
    events: Vec<AuditEvent>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detectors {
    steps: Detector,
    intervals: Detector,
}

/// What the caller told: a loss, NaN for a run that has diverged.
struct Told {
    step: u64,
    loss: f64,
    grad_norm: Option<f64>,
    /// The statistics before it.
    before: Detector,
}

impl Guard {
    /// A guard at the start of a run, whose first snapshot are the untrained weights.
    ///
    /// # Errors
    /// As [`GuardConfig::check`].
    pub fn new(config: GuardConfig) -> Result<Self> {
        config.check()?;
        let state = GuardState {
            now: Detectors::default(),
            at_snapshot: Detectors::default(),
            snapshot_step: 0,
            last_step: 0,
            lr_factor: 1.0,
            ceiling: 1.0,
            rollbacks: 0,
            in_a_row: 0,
            given_up: None,
            events: Vec::new(),
        };
        Ok(Guard { config, state })
    }

    /// Take in one optimizer step: its number in the caller's count, the loss of its batch (before or after the update)
    /// and, if known, the norm of its gradient. Takes constant time and allocates nothing unless there is a fault.
    pub fn step(&mut self, step: u64, loss: f64, grad_norm: Option<f64>) -> Verdict {
        let told = Told { step, loss, grad_norm, before: self.state.now.steps };
        let finite = grad_norm.is_none_or(f64::is_finite);
        let loss = if finite { loss } else { f64::NAN };
        let fault = self.state.now.steps.observe(loss, &self.config, self.config.steps(), true);
        self.decide(fault, &told)
    }

    /// Take in the measurement of a finished interval (or, as the first, of the probe), for callers that see nothing in
    /// between. It goes by the training loss; where there is only a validation loss, a slow rise is not a fault, since it
    /// may be overfitting. A measurement without any loss is healthy unless it has diverged.
    pub fn interval(&mut self, m: &Measurement) -> Verdict {
        let known = [m.train_loss, m.val_loss, m.grad_norm_mean];
        let norms = m.grad_norms.iter().chain(&m.weight_norms);
        let finite = !m.diverged && known.iter().flatten().chain(norms).all(|v| v.is_finite());
        let loss = m.train_loss.or(m.val_loss);
        let told = Told {
            step: m.steps,
            loss: loss.unwrap_or(f64::NAN),
            grad_norm: m.grad_norm_mean,
            before: self.state.now.intervals,
        };
        let pace: Pace = self.config.intervals();
        let fault = match loss {
            _ if !finite => Some(Fault::NotFinite),
            Some(loss) => self.state.now.intervals.observe(loss, &self.config, pace, m.train_loss.is_some()),
            None => None,
        };
        self.decide(fault, &told)
    }

    fn decide(&mut self, fault: Option<Fault>, told: &Told) -> Verdict {
        let state = &mut self.state;
        let elapsed = told.step.saturating_sub(state.last_step);
        state.last_step = told.step;
        if let Some(reason) = state.given_up {
            return Verdict::GiveUp { reason };
        }
        let Some(reason) = fault else {
            self.recover(elapsed, told);
            return Verdict::Healthy;
        };
        state.now = state.at_snapshot;
        if state.rollbacks >= self.config.max_rollbacks || state.in_a_row >= self.config.max_in_a_row {
            state.given_up = Some(reason);
            self.record(AuditKind::GiveUp, Some(reason), told);
            return Verdict::GiveUp { reason };
        }
        if state.rollbacks > 0 {
            state.ceiling = (state.ceiling * self.config.lr_factor).max(f64::MIN_POSITIVE);
        }
        state.lr_factor = (state.lr_factor * self.config.lr_factor).max(f64::MIN_POSITIVE);
        state.rollbacks += 1;
        state.in_a_row += 1;
        self.record(AuditKind::RollBack, Some(reason), told);
        Verdict::RollBack { lr_factor: self.state.lr_factor, reason }
    }

    fn recover(&mut self, elapsed: u64, told: &Told) {
        let state = &mut self.state;
        if state.lr_factor >= state.ceiling || self.config.recovery_steps == 0 {
            return;
        }
        let share = elapsed as f64 / self.config.recovery_steps as f64;
        state.lr_factor = (state.lr_factor + (1.0 - self.config.lr_factor) * share).min(state.ceiling);
        if state.lr_factor >= state.ceiling {
            self.record(AuditKind::Recovered, None, told);
        }
    }

    fn record(&mut self, kind: AuditKind, fault: Option<Fault>, told: &Told) {
        let state = &mut self.state;
        let what = fault.map(|fault| fault.to_string()).unwrap_or_default();
        let (factor, snapshot) = (state.lr_factor, state.snapshot_step);
        let reason = match kind {
            AuditKind::RollBack => {
                format!("{what}: back to the snapshot of step {snapshot}, learning rate times {factor}")
            }
            AuditKind::GiveUp => format!(
                "{what}: given up after {} roll-backs, {} of them to the snapshot of step {snapshot}",
                state.rollbacks, state.in_a_row
            ),
            AuditKind::Recovered => format!("no further fault: learning rate times {factor} again"),
        };
        state.events.push(AuditEvent {
            step: told.step,
            kind,
            fault,
            loss: Some(told.loss),
            grad_norm: told.grad_norm,
            level: told.before.level(),
            deviation: told.before.deviation(told.loss),
            lr_factor: factor,
            rollbacks: state.rollbacks,
            snapshot_step: snapshot,
            reason,
        });
    }

    /// Factor on the schedule's learning rate, in (0, 1].
    pub fn lr_factor(&self) -> f64 {
        self.state.lr_factor
    }

    /// Whether the run's state is good enough to be kept as a snapshot: the last losses were not high, and have not been
    /// rising for half of what would be a drift.
    pub fn is_calm(&self) -> bool {
        let Detectors { steps, intervals } = &self.state.now;
        let config = &self.config;
        let calm = steps.is_calm(config, config.steps()) && intervals.is_calm(config, config.intervals());
        calm && self.state.given_up.is_none()
    }

    /// Tell the guard that a snapshot was taken after `step`. Where it answers `false` the run is not calm: the snapshot
    /// should be thrown away, and the one before stays the last good one.
    #[must_use]
    pub fn snapshot_taken(&mut self, step: u64) -> bool {
        let calm = self.is_calm();
        if calm {
            let state = &mut self.state;
            (state.at_snapshot, state.snapshot_step, state.in_a_row) = (state.now, step, 0);
        }
        calm
    }

    /// What happened since the last call, for the audit log; at most two events for each roll-back, and one more.
    pub fn drain_events(&mut self) -> Vec<AuditEvent> {
        std::mem::take(&mut self.state.events)
    }

    /// The settings.
    pub fn config(&self) -> &GuardConfig {
        &self.config
    }

    /// The state, to be saved.
    pub fn state(&self) -> &GuardState {
        &self.state
    }

    /// Go on from a saved state, to the same bits if the settings are the same.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if the factor on the learning rate is none.
    pub fn set_state(&mut self, state: GuardState) -> Result<()> {
        check("guard.state.lr_factor", state.lr_factor, Range::Factor)?;
        check("guard.state.ceiling", state.ceiling, Range::Factor)?;
        self.state = state;
        Ok(())
    }
}
