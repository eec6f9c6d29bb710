//! One training run of a network under some schedule: the unit of every evaluation.

use crate::Result;
use crate::record::IntervalRecord;
use crate::task::{Split, Task, train_interval};
use lrpilot_core::{Decision, Schedule};
use serde::{Deserialize, Serialize};

/// Which held-back losses a run records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// Validation B after the last interval only: enough for tuning and selection.
    Final,
    /// Validation B after every interval, test after the last one.
    Everything,
}

/// How a training run went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The whole curve, one entry per interval.
    pub curve: Vec<IntervalRecord>,
    /// NaN or infinity, or dead units that training cannot revive.
    pub diverged: bool,
    /// The network ended no better than one that knows nothing, without having diverged.
    pub at_chance: bool,
    /// Loss on the test set after the last interval, where everything is recorded.
    pub test_loss: Option<f64>,
    /// Forward passes on batches beyond one for each optimizer step (line search).
    pub extra_forward_passes: u64,
}

/// Train one network under `schedule` from `seed`, which fixes initial weights and batch order whatever the schedule.
///
/// ```
/// use lrpilot::Schedule;
/// use lrpilot::run::{Record, run_trial};
/// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
/// let source = ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?;
/// let trial = run_trial(&mut *source.task(0)?, &Schedule::cosine(0.5, 30), 0, Record::Everything)?;
/// assert!(!trial.diverged && trial.curve.len() == 30);
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// As the task's and the schedule's; divergence is no error but a mark in the result.
pub fn run_trial(task: &mut dyn Task, schedule: &Schedule, seed: u64, record: Record) -> Result<Trial> {
    let probe = task.reset(seed)?;
    let (horizon, accepts_momentum) = (task.spec().horizon, task.spec().accepts_momentum);
    let mut running = schedule.start(&task.spec().run(), &probe)?;
    let (mut curve, mut diverged, mut extra_forward_passes) = (Vec::new(), false, 0);
    for interval in 1..=horizon {
        let before = if running.rolls_back() { Some(task.save()?) } else { None };
        let hyperparameters = running.hyperparameters();
        // A rate that changes within the interval is recorded as it is in its middle.
        let lr = running.lr_at(task.spec().steps_per_interval as u64 / 2);
        let measured = train_interval(task, running.steps_to_decision(), &|i| running.lr_at(i), &hyperparameters)?;
        extra_forward_passes += measured.extra_forward_passes;
        match (running.observe(&measured), before) {
            (Decision::RollBack, Some(state)) => task.load(&state)?,
            _ => diverged |= measured.diverged || measured.stuck,
        }
        let look = record == Record::Everything || interval == horizon;
        let (val_loss_b, val_accuracy_b) =
            if look && !diverged { task.evaluate(Split::ValidationB)? } else { (f64::NAN, f64::NAN) };
        curve.push(IntervalRecord {
            interval,
            lr: measured.step_size.unwrap_or(lr),
            momentum: hyperparameters.momentum.filter(|_| accepts_momentum),
            weight_decay: hyperparameters.weight_decay,
            train_loss: measured.train_loss.unwrap_or(f64::NAN),
            val_loss_a: measured.val_loss.unwrap_or(f64::NAN),
            val_loss_b,
            val_accuracy_b,
        });
        if diverged {
            break;
        }
    }
    let chance = task.spec().chance_loss.unwrap_or(f64::INFINITY);
    let at_chance = curve.last().is_some_and(|last| last.val_loss_b > 0.95 * chance);
    // A last loss that cannot be computed is divergence that came to light late.
    diverged |= curve.last().is_none_or(|last| !last.val_loss_b.is_finite());
    let test_loss = match record {
        Record::Everything if !diverged => Some(task.evaluate(Split::Test)?.0),
        _ => None,
    };
    Ok(Trial { curve, diverged, at_chance: at_chance && !diverged, test_loss, extra_forward_passes })
}
