//! One training run of the suite.

use crate::Result;
use crate::suite::method::{Drive, Sight};
use crate::task::{Split, Task, TaskSpec};
use lrpilot_core::schedule::OpenLoop;
use lrpilot_core::{Decision, Hyperparameters, Measurement, RunSpec, RunningSchedule, Schedule};
use serde::{Deserialize, Serialize};

/// Intervals of a run: how often metric-driven schedules look, and how often everybody's weights are compared for early
/// stopping. A policy that measures when it likes is compared when it does.
pub const INTERVALS: u64 = 48;
/// How often a run in tuning is looked at, where its schedule does not have to look: a broken one ends there.
const TUNING_LOOKS: u64 = 8;
/// Moments at which the rates of a measuring schedule are kept.
const KEPT_RATES: u64 = 240;
/// Losses count as at most this many times the untrained network's, and so does a run that diverged.
const CAP: f64 = 2.0;

/// What is looked at besides what the schedule needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// Validation B at the end.
    Tuning,
    /// That, the test set at the end, and early stopping.
    Everything,
}

/// How a training went. Losses are at most twice the untrained network's, which a diverged run counts as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Loss of the untrained network on validation A.
    pub untrained: f64,
    /// Loss on validation B after the last step.
    pub val_b: f64,
    /// Loss on the test set after the last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// Loss on the test set of the weights with the smallest loss on validation A.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<f64>,
    /// NaN or infinity.
    pub diverged: bool,
    /// The network ended no better than one that knows nothing, without having diverged.
    pub at_chance: bool,
    /// Learning rate of the first step.
    pub first_lr: f64,
    /// Rates of a measuring schedule at equally spaced moments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lrs: Vec<f64>,
}

/// Train one network from `seed`, which fixes weights and batch order whatever the drive. Every run has the same optimizer
/// steps; those that a policy rolls back are spent.
///
/// A run ends at once where its loss is no longer finite, and at the next look where its units are dead, which no training
/// revives: the weights are then judged as they are.
///
/// # Errors
/// As the task's and the schedule's; divergence is no error.
pub fn train(task: &mut dyn Task, drive: &Drive, seed: u64, look: Look) -> Result<Training> {
    let probe = task.reset(seed)?;
    let (steps, untrained) = (task.spec().steps(), probe.loss());
    let mut pilot = Pilot::new(drive, task.spec(), &probe, look)?;
    let (mut done, mut diverged) = (0, false);
    let (mut lrs, mut best) = (Rates::new(steps), Best::default());
    while done < steps {
        let length = pilot.next_look(done).min(steps - done).max(1);
        let before = if pilot.rolls_back() { Some(task.save()?) } else { None };
        let m = task.advance_steps(length, &|i| pilot.lr(done, i), &pilot.hyperparameters(done))?;
        lrs.keep(done..done + length, |step| pilot.lr(done, step - done));
        done += length;
        match (pilot.observe(&m), before) {
            (Decision::RollBack, Some(state)) => task.load(&state)?,
            _ if m.diverged => {
                diverged = true;
                break;
            }
            _ => {
                if look == Look::Everything {
                    best.keep(&m, task)?;
                }
                if m.stuck {
                    break;
                }
            }
        }
    }
    let val_b = capped(task, Split::ValidationB, diverged, untrained)?;
    let at_chance = !diverged && task.spec().chance_loss.is_some_and(|chance| val_b > 0.95 * chance);
    let (mut test, mut stopped) = (None, None);
    if look == Look::Everything {
        test = Some(capped(task, Split::Test, diverged, untrained)?);
        let found = best.restore(task)?;
        stopped = Some(capped(task, Split::Test, !found, untrained)?);
    }
    let (first_lr, lrs) = (lrs.first, if matches!(pilot, Pilot::Running { .. }) { lrs.kept } else { Vec::new() });
    Ok(Training { untrained, val_b, test, stopped, diverged, at_chance, first_lr, lrs })
}

/// The loss on a split, at most [`CAP`] times that of the untrained network.
fn capped(task: &mut dyn Task, split: Split, diverged: bool, untrained: f64) -> Result<f64> {
    let loss = if diverged { f64::INFINITY } else { task.evaluate(split)?.0 };
    Ok(if loss.is_nan() { f64::INFINITY } else { loss }.min(CAP * untrained))
}

/// Optimizer step at which interval number `k` of `n` ends.
fn interval_end(k: u64, n: u64, steps: u64) -> u64 {
    (u128::from(k) * u128::from(steps) / u128::from(n)) as u64
}

/// A drive in a run.
enum Pilot<'a> {
    PerStep { schedule: &'a OpenLoop, lr: f64, steps: u64, looks: u64 },
    Replay { lrs: &'a [f64], steps: u64, looks: u64 },
    Running { running: Box<RunningSchedule>, sight: Option<Sight>, steps: u64, looks: u64 },
}

impl<'a> Pilot<'a> {
    fn new(drive: &'a Drive, spec: &TaskSpec, probe: &Measurement, look: Look) -> Result<Self> {
        let steps = spec.steps();
        let most = INTERVALS.min(steps);
        let looks = if look == Look::Tuning { TUNING_LOOKS.min(steps) } else { most };
        Ok(match drive {
            Drive::PerStep { schedule, lr } => {
                // Momentum is set once a look, so it must be looked as often in tuning as later.
                let cycles = spec.accepts_momentum && schedule.momentum(0).is_some();
                Pilot::PerStep { schedule, lr: *lr, steps, looks: if cycles { most } else { looks } }
            }
            Drive::Replay { lrs } => Pilot::Replay { lrs, steps, looks },
            Drive::Schedule(schedule) => Pilot::running(schedule, None, spec, probe)?,
            Drive::Blinkered { schedule, sight } => Pilot::running(schedule, Some(*sight), spec, probe)?,
        })
    }

    fn running(schedule: &Schedule, sight: Option<Sight>, spec: &TaskSpec, probe: &Measurement) -> Result<Self> {
        let (steps, looks) = (spec.steps(), INTERVALS.min(spec.steps()));
        let mut run = RunSpec { horizon: looks as usize, ..spec.run() };
        run.facts.free_intervals = sight != Some(Sight::Intervals);
        let probe = sight.map_or_else(|| probe.clone(), |sight| sight.seen(probe));
        Ok(Pilot::Running { running: Box::new(schedule.start(&run, &probe)?), sight, steps, looks })
    }

    /// Steps until the next measurement, with `done` steps behind.
    fn next_look(&self, done: u64) -> u64 {
        let (Pilot::PerStep { steps, looks, .. }
        | Pilot::Replay { steps, looks, .. }
        | Pilot::Running { steps, looks, .. }) = self;
        if let Pilot::Running { running, .. } = self
            && let Some(wanted) = running.steps_to_decision()
        {
            return wanted;
        }
        let next = (1..=*looks).map(|k| interval_end(k, *looks, *steps)).find(|end| *end > done);
        next.unwrap_or(*steps) - done
    }

    /// Learning rate of step number `i` after `done`.
    fn lr(&self, done: u64, i: u64) -> f64 {
        match self {
            Pilot::PerStep { schedule, lr, .. } => schedule.lr(*lr, (done + i) as usize),
            Pilot::Replay { lrs, steps, .. } => lrs[interval_end(done + i, *steps, lrs.len() as u64) as usize],
            Pilot::Running { running, .. } => running.lr_at(i),
        }
    }

    fn hyperparameters(&self, done: u64) -> Hyperparameters {
        match self {
            Pilot::PerStep { schedule, lr, .. } => Hyperparameters {
                momentum: schedule.momentum(done as usize),
                ..Hyperparameters::lr(schedule.lr(*lr, done as usize))
            },
            Pilot::Replay { .. } => Hyperparameters::lr(self.lr(done, 0)),
            Pilot::Running { running, .. } => running.hyperparameters(),
        }
    }

    fn rolls_back(&self) -> bool {
        matches!(self, Pilot::Running { running, sight, .. } if running.rolls_back() && *sight != Some(Sight::NoSnapshots))
    }

    fn observe(&mut self, m: &Measurement) -> Decision {
        match self {
            Pilot::Running { running, sight: Some(sight), .. } => running.observe(&sight.seen(m)),
            Pilot::Running { running, sight: None, .. } => running.observe(m),
            Pilot::PerStep { .. } | Pilot::Replay { .. } => Decision::GoOn,
        }
    }
}

/// The rates of a run at [`KEPT_RATES`] equally spaced moments, or at every step of a shorter one.
struct Rates {
    steps: u64,
    first: f64,
    kept: Vec<f64>,
}

impl Rates {
    fn new(steps: u64) -> Self {
        Rates { steps, first: f64::NAN, kept: Vec::new() }
    }

    fn keep(&mut self, range: std::ops::Range<u64>, lr: impl Fn(u64) -> f64) {
        if range.start == 0 {
            self.first = lr(0);
        }
        let n = KEPT_RATES.min(self.steps);
        while (self.kept.len() as u64) < n {
            // The first step that a replay gives this rate to.
            let step = (self.kept.len() as u64 * self.steps).div_ceil(n);
            if step >= range.end {
                return;
            }
            self.kept.push(lr(step));
        }
    }
}

/// The weights with the smallest loss on validation A so far.
#[derive(Default)]
struct Best {
    loss: Option<f64>,
    state: Vec<u8>,
}

impl Best {
    fn keep(&mut self, m: &Measurement, task: &dyn Task) -> Result<()> {
        let loss = m.val_loss.unwrap_or(f64::NAN);
        if loss.is_finite() && self.loss.is_none_or(|best| loss < best) {
            (self.loss, self.state) = (Some(loss), task.save()?);
        }
        Ok(())
    }

    /// Put them back; whether there were any.
    fn restore(&self, task: &mut dyn Task) -> Result<bool> {
        if self.loss.is_some() {
            task.load(&self.state)?;
        }
        Ok(self.loss.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::method::Family;
    use crate::task::{ConfiguredTask, Preset, TaskConfig, TaskSource};
    use lrpilot_core::Policy;
    use lrpilot_core::schedule::Provenance;

    fn digits() -> Box<dyn Task> {
        let TaskConfig::Supervised(mut config) = Preset::Digits.config() else { unreachable!() };
        (config.horizon, config.interval_steps) = (11, Some(10));
        ConfiguredTask::new(&TaskConfig::Supervised(config), None).unwrap().task(0).unwrap()
    }

    #[test]
    fn intervals_cover_the_run_whatever_its_length() {
        for steps in [1, 7, 48, 50, 218, 25_000] {
            let n = INTERVALS.min(steps);
            let ends: Vec<u64> = (0..=n).map(|k| interval_end(k, n, steps)).collect();
            assert_eq!((ends[0], ends[n as usize]), (0, steps));
            assert!(ends.windows(2).all(|w| w[0] < w[1] && w[1] - w[0] <= steps.div_ceil(n)), "{steps}: {ends:?}");
        }
    }

    /// Step by step by hand: the same weights as in one piece.
    #[test]
    fn a_cosine_changes_at_every_step_and_looks_do_not_matter() {
        let mut task = digits();
        let drive = Family::Cosine.drive(0.1, 110);
        let tuning = train(&mut *task, &drive, 3, Look::Tuning).unwrap();
        let whole = train(&mut *task, &drive, 3, Look::Everything).unwrap();
        assert_eq!((tuning.val_b, tuning.test), (whole.val_b, None));
        task.reset(3).unwrap();
        for step in 0..110 {
            let lr = 0.05 * (1.0 + (std::f64::consts::PI * f64::from(step) / 110.0).cos());
            task.advance_steps(1, &|_| lr, &Hyperparameters::lr(lr)).unwrap();
        }
        let by_hand = task.evaluate(Split::Test).unwrap().0;
        assert!((whole.test.unwrap() - by_hand).abs() < 1e-5, "{whole:?} {by_hand}");
    }

    /// Validation A after each of the intervals, by hand; the test loss where it is smallest.
    #[test]
    fn early_stopping_takes_the_weights_with_the_smallest_validation_loss() {
        let mut task = digits();
        let run = train(&mut *task, &Family::Constant.drive(0.3, 110), 1, Look::Everything).unwrap();
        task.reset(1).unwrap();
        let (mut best, mut at, mut done) = (f64::INFINITY, f64::NAN, 0);
        for k in 1..=INTERVALS {
            let end = k * 110 / INTERVALS;
            let m = task.advance_steps(end - done, &|_| 0.3, &Hyperparameters::lr(0.3)).unwrap();
            done = end;
            if m.loss() < best {
                (best, at) = (m.loss(), task.evaluate(Split::Test).unwrap().0);
            }
        }
        assert_eq!(run.stopped, Some(at));
        assert_ne!(run.stopped, run.test, "the last weights are not the best ones");
    }

    #[test]
    fn a_run_that_explodes_counts_as_twice_the_untrained_network() {
        let run = train(&mut *digits(), &Family::Constant.drive(1e6, 110), 1, Look::Everything).unwrap();
        let cap = 2.0 * run.untrained;
        assert!(run.diverged || run.at_chance, "{run:?}");
        assert!(run.test.unwrap() <= cap && run.val_b <= cap && run.stopped.unwrap() <= cap);
        let config = crate::task::QuadraticConfig { horizon: 10, interval_steps: 100, ..Default::default() };
        let mut quadratic = ConfiguredTask::new(&TaskConfig::NoisyQuadratic(config), None).unwrap().task(0).unwrap();
        let run = train(&mut *quadratic, &Family::Constant.drive(1e3, 1000), 1, Look::Everything).unwrap();
        assert!(run.diverged);
        assert_eq!((run.test, run.val_b), (Some(2.0 * run.untrained), 2.0 * run.untrained));
    }

    /// 110 steps are fewer than what is kept, so the replay is the run again.
    #[test]
    fn a_replay_of_every_step_is_the_same_run() {
        let mut task = digits();
        let plateau = lrpilot_core::schedule::Plateau { patience: 1, ..Default::default() };
        let schedule = lrpilot_core::schedule::MetricDriven::Plateau(plateau);
        let drive = Drive::Schedule(Schedule::Metric { schedule, lr: 0.3 });
        let run = train(&mut *task, &drive, 2, Look::Everything).unwrap();
        assert_eq!(run.lrs.len(), 110);
        assert!(run.lrs[0] == 0.3 && run.lrs[109] < 0.3, "the schedule acted: {:?}", run.lrs);
        let replayed = train(&mut *task, &Drive::Replay { lrs: run.lrs.clone() }, 2, Look::Everything).unwrap();
        assert_eq!((replayed.test, replayed.stopped, replayed.first_lr), (run.test, run.stopped, 0.3));
    }

    /// A level that breaks the network: with a snapshot it is undone, without one it is not.
    #[test]
    fn without_snapshots_the_damage_stays() {
        use lrpilot_core::generalist::{AnchorModel, FEATURES, Generalist, GeneralistSpec};
        let still = Policy::new(vec![FEATURES.len(), 1], vec![0.0; FEATURES.len() + 1], None);
        let spec =
            GeneralistSpec { anchor: AnchorModel { offset: 3.0, ..AnchorModel::plain() }, ..GeneralistSpec::plain() };
        let schedule = Schedule::generalist(Generalist::new(still, spec, Provenance::default()).unwrap());
        let drive = Drive::Schedule(schedule.clone());
        let with = train(&mut *digits(), &drive, 1, Look::Everything).unwrap();
        let drive = Drive::Blinkered { schedule, sight: Sight::NoSnapshots };
        let without = train(&mut *digits(), &drive, 1, Look::Everything).unwrap();
        assert!(with.test < without.test, "{with:?} {without:?}");
    }

    #[test]
    fn rates_of_long_runs_are_kept_where_a_replay_looks_them_up() {
        let steps = 1_000;
        let mut rates = Rates::new(steps);
        for start in (0..steps).step_by(125) {
            rates.keep(start..start + 125, |step| step as f64);
        }
        assert_eq!(rates.kept.len() as u64, KEPT_RATES);
        for step in 0..steps {
            let kept = rates.kept[interval_end(step, steps, KEPT_RATES) as usize];
            assert!(kept <= step as f64 && step as f64 - kept < 1_000.0 / 240.0, "{step}: {kept}");
        }
    }
}
