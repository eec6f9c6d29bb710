//! What the guard did, for the record.

use super::Fault;
use crate::exact;
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditKind {
    /// The caller was asked to go back to its snapshot.
    RollBack,
    /// The guard gave up.
    GiveUp,
    /// The learning rate's factor has recovered as far as it does.
    Recovered,
}

/// One line of the audit log.
///
/// ```
/// use lrpilot_core::guard::{AuditEvent, Guard, GuardConfig, Verdict};
/// let mut guard = Guard::new(GuardConfig::default())?;
/// assert!(matches!(guard.step(1, f64::NAN, None), Verdict::RollBack { .. }));
/// let line = guard.drain_events()[0].to_json_line();
/// assert!(line.starts_with(r#"{"step":1,"kind":"roll-back","fault":"not-finite","loss":"NaN","#));
/// let event: AuditEvent = serde_json::from_str(&line).unwrap();
/// assert_eq!((event.lr_factor, event.rollbacks, event.snapshot_step), (0.5, 1, 0));
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEvent {
    /// The optimizer step, in the caller's count.
    pub step: u64,
    /// What happened.
    pub kind: AuditKind,
    /// What was wrong, where something was.
    pub fault: Option<Fault>,
    /// The loss that was told last.
    #[serde(with = "exact::optional")]
    pub loss: Option<f64>,
    /// The gradient norm that was told with it.
    #[serde(with = "exact::optional")]
    pub grad_norm: Option<f64>,
    /// The loss's running level before it, in the loss's unit.
    #[serde(with = "exact::optional")]
    pub level: Option<f64>,
    /// (loss − level) in units of the usual change from one loss to the next.
    #[serde(with = "exact::optional")]
    pub deviation: Option<f64>,
    /// Factor on the learning rate from here on, in (0, 1].
    pub lr_factor: f64,
    /// Roll-backs in the run so far, this one included.
    pub rollbacks: u32,
    /// Step of the snapshot that is the last good one; 0 is the start of the run.
    pub snapshot_step: u64,
    /// The same in words.
    pub reason: String,
}

impl AuditEvent {
    /// The event as JSON without line breaks, NaN and infinity as the words "NaN" and "inf".
    pub fn to_json_line(&self) -> String {
        serde_json::to_string(self).expect("numbers, words and names of fields always have a JSON form")
    }
}
