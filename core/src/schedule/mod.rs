//! Schedules: open-loop, metric-driven, recorded and learned ones as one type.
//!
//! A [`Schedule`] is a value: it can be written to a file, compared and sent to another process.
//! [`Schedule::start`] makes it a [`RunningSchedule`], whose state is plain numbers.

mod defaults;
pub mod distance;
pub mod file;
pub mod fit;
pub mod learned;
pub mod metric;
pub mod named;
pub mod numbers;
pub mod open_loop;

pub use learned::{Learned, LearnedRun, Provenance};
pub use metric::{GreedyLr, MetricDriven, Plateau};
pub use open_loop::OpenLoop;

use crate::control::ControllerState;
use crate::explain::{Decided, Explanation};
use crate::generalist::{Generalist, GeneralistRun, GeneralistState};
use crate::guard::{AuditEvent, Guard, GuardConfig, GuardState, Verdict};
use crate::range::{Range, check};
use crate::{Decision, Error, Hyperparameters, Measurement, Result, RunSpec};
use metric::MetricState;
use serde::{Deserialize, Serialize};

/// Whatever sets the learning rate of a run.
///
/// ```
/// use lrpilot_core::{Measurement, OptimizerFamily, RunSpec, Schedule};
/// let run = RunSpec::new(4, OptimizerFamily::Adam, Vec::new());
/// let mut schedule = Schedule::cosine(0.1, 4).start(&run, &Measurement::default())?;
/// let mut lrs = vec![schedule.hyperparameters().lr];
/// for _ in 1..4 {
///     let _ = schedule.observe(&Measurement::default());
///     lrs.push(schedule.hyperparameters().lr);
/// }
/// assert!((lrs[2] - 0.05).abs() < 1e-15);
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// A function of the interval, on a base LR.
    OpenLoop {
        /// The schedule, with the interval as its step.
        schedule: OpenLoop,
        /// The base LR (for one-cycle and cyclic schedules the largest), > 0.
        lr: f64,
    },
    /// A metric-driven schedule, which sees [`Measurement::loss`].
    Metric {
        /// The schedule.
        schedule: MetricDriven,
        /// The initial LR, > 0.
        lr: f64,
    },
    /// Numbers, e.g. recorded from another run; the last one is held.
    Replay {
        /// LR of each interval, ≥ 0; at least one.
        lrs: Vec<f64>,
    },
    /// A frozen policy.
    Learned {
        /// The policy.
        policy: Box<Learned>,
        /// Initial LR; see [`Learned::start`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lr: Option<f64>,
    },
    /// A pretrained policy, for runs that it has never seen.
    Generalist {
        /// The policy.
        policy: Box<Generalist>,
        /// Initial LR; see [`Generalist::start`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lr: Option<f64>,
    },
}

impl Schedule {
    /// A constant LR.
    pub fn constant(lr: f64) -> Self {
        Schedule::OpenLoop { schedule: OpenLoop::Constant {}, lr }
    }

    /// PyTorch's `CosineAnnealingLR` from `lr` to 0 over `horizon` intervals.
    pub fn cosine(lr: f64, horizon: usize) -> Self {
        Schedule::OpenLoop { schedule: OpenLoop::cosine(horizon), lr }
    }

    /// PyTorch's `OneCycleLR` with its defaults, up to `lr`, over `horizon` intervals.
    pub fn one_cycle(lr: f64, horizon: usize) -> Self {
        Schedule::OpenLoop { schedule: OpenLoop::one_cycle(horizon.max(2)), lr }
    }

    /// The frozen policy in a file, be it learned on a task or pretrained.
    ///
    /// # Errors
    /// As [`Learned::load`] and [`Generalist::load`].
    pub fn load(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Schedule::from_bytes(&std::fs::read(path).map_err(|e| Error::io(path, e))?, path)
    }

    /// The frozen policy in the content of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Learned::from_bytes`] and [`Generalist::from_bytes`].
    pub fn from_bytes(bytes: &[u8], path: &std::path::Path) -> Result<Self> {
        match file::header(bytes, path)? {
            (file::GENERALIST_VERSION, _) => Ok(Schedule::generalist(Generalist::from_bytes(bytes, path)?)),
            _ => Ok(Schedule::learned(Learned::from_bytes(bytes, path)?)),
        }
    }

    /// A policy that comes with lrpilot, for runs that it has never seen: no learning rate, no tuning.
    ///
    /// ```
    /// use lrpilot_core::generalist::NEWEST;
    /// use lrpilot_core::{Decision, Group, OptimizerFamily, Recorder, RunSpec, Schedule};
    /// // Gradient descent on ½w², ten intervals of five steps.
    /// let mut w = 1.0_f64;
    /// let run = RunSpec::new(10, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("w", 1)]);
    /// let mut recorder = Recorder::new(1);
    /// recorder.probe(0.5 * w * w, &[w * w]);
    /// let mut schedule = Schedule::pretrained(NEWEST)?.start(&run, &recorder.finish(None, &[w.abs()]))?;
    /// for _ in 0..10 {
    ///     let before = w;
    ///     for i in 0..5 {
    ///         let (lr, gradient) = (schedule.lr_at(i), w);
    ///         recorder.step(0.5 * w * w, &[gradient * gradient], &[]);
    ///         w -= lr * gradient;
    ///     }
    ///     if schedule.observe(&recorder.finish(Some(0.5 * w * w), &[w.abs()])) == Decision::RollBack {
    ///         w = before;
    ///     }
    /// }
    /// assert!(w < 1.0);
    /// # Ok::<(), lrpilot_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Generalist::pretrained`].
    pub fn pretrained(name: &str) -> Result<Self> {
        Ok(Schedule::generalist(Generalist::pretrained(name)?))
    }

    /// A pretrained policy that finds its initial LR by itself.
    pub fn generalist(policy: Generalist) -> Self {
        Schedule::Generalist { policy: Box::new(policy), lr: None }
    }

    /// A frozen policy that finds its initial LR by itself.
    pub fn learned(policy: Learned) -> Self {
        Schedule::Learned { policy: Box::new(policy), lr: None }
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        match self {
            Schedule::OpenLoop { schedule, lr } => {
                check("schedule.lr", *lr, Range::Positive)?;
                schedule.check()
            }
            Schedule::Metric { schedule, lr } => {
                check("schedule.lr", *lr, Range::Positive)?;
                schedule.check()
            }
            Schedule::Replay { lrs } => {
                if lrs.is_empty() {
                    return Err(Error::config("schedule.lrs", "there is no learning rate", "give one per interval"));
                }
                lrs.iter().try_for_each(|lr| check("schedule.lrs", *lr, Range::NotNegative))
            }
            Schedule::Learned { .. } | Schedule::Generalist { .. } => Ok(()),
        }
    }

    /// Start a run with the probe of its untrained network, which only learned schedules look at.
    ///
    /// # Errors
    /// As [`Schedule::check`] and [`Learned::start`].
    pub fn start(&self, run: &RunSpec, probe: &Measurement) -> Result<RunningSchedule> {
        self.check()?;
        let (running, hyperparameters) = match self {
            Schedule::OpenLoop { schedule, lr } => {
                (Running::OpenLoop { schedule: schedule.clone(), lr: *lr }, open_loop_at(schedule, *lr, 0))
            }
            Schedule::Metric { schedule, lr } => {
                (Running::Metric(Box::new(MetricState::new(schedule.clone(), *lr))), Hyperparameters::lr(*lr))
            }
            Schedule::Replay { lrs } => (Running::Replay { lrs: lrs.clone() }, Hyperparameters::lr(lrs[0])),
            Schedule::Learned { policy, lr } => {
                let running = policy.start(run, probe, *lr)?;
                let first = running.hyperparameters();
                (Running::Learned(Box::new(running)), first)
            }
            Schedule::Generalist { policy, lr } => {
                let running = policy.start(run, probe, *lr)?;
                let first = Hyperparameters::lr(running.controller().lr_at(0));
                (Running::Generalist(Box::new(running)), first)
            }
        };
        let mut running = RunningSchedule { running, hyperparameters, interval: 0, guard: None };
        if running.rolls_back() {
            let mut guard = Guard::new(GuardConfig::default())?;
            let _ = guard.interval(probe);
            running.guard = Some(Box::new(guard));
        }
        Ok(running)
    }
}

/// A schedule in a run: it says with what to train, and takes one measurement after each interval.
///
/// A policy that may ask for a roll-back is watched by a [`Guard`]: where the policy would go on although the training
/// loss has a fault, the guard asks for the roll-back and lowers the learning rate;
/// [`RunningSchedule::without_guard`] switches it off.
#[derive(Clone, Debug)]
pub struct RunningSchedule {
    running: Running,
    hyperparameters: Hyperparameters,
    /// Intervals finished.
    interval: usize,
    guard: Option<Box<Guard>>,
}

#[derive(Clone, Debug)]
enum Running {
    OpenLoop { schedule: OpenLoop, lr: f64 },
    Metric(Box<MetricState>),
    Replay { lrs: Vec<f64> },
    Learned(Box<LearnedRun>),
    Generalist(Box<GeneralistRun>),
}

/// Everything that changes in a [`RunningSchedule`], to be saved with a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleState {
    interval: usize,
    hyperparameters: Hyperparameters,
    of: KindState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guard: Option<GuardState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindState {
    OpenLoop,
    Replay,
    Metric(MetricState),
    Learned(ControllerState),
    Generalist(GeneralistState),
}

impl RunningSchedule {
    /// With what to train the coming interval.
    pub fn hyperparameters(&self) -> Hyperparameters {
        self.hyperparameters
    }

    /// The learning rate of step number `i`, from 0, of the coming interval: for callers that set it at each optimizer step.
    pub fn lr_at(&self, i: u64) -> f64 {
        match &self.running {
            Running::Generalist(run) => run.controller().lr_at(i) * self.lr_factor(),
            _ => self.hyperparameters.lr,
        }
    }

    /// The guard's factor on the policy's learning rate.
    fn lr_factor(&self) -> f64 {
        self.guard.as_ref().map_or(1.0, |guard| guard.lr_factor())
    }

    /// The same without a guard.
    pub fn without_guard(self) -> Self {
        RunningSchedule { guard: None, ..self }
    }

    /// What the guard did since the last call, for a log.
    ///
    /// ```
    /// use lrpilot_core::generalist::NEWEST;
    /// use lrpilot_core::{Decision, Measurement, OptimizerFamily, RunSpec, Schedule};
    /// let run = RunSpec::new(20, OptimizerFamily::Adam, Vec::new());
    /// let told = |loss: f64| Measurement { train_loss: Some(loss), val_loss: Some(loss), ..Measurement::default() };
    /// let mut schedule = Schedule::pretrained(NEWEST)?.start(&run, &told(1.0))?;
    /// for interval in 1..10 {
    ///     assert_eq!(schedule.observe(&told(1.0 / f64::from(interval))), Decision::GoOn);
    /// }
    /// assert_eq!(schedule.observe(&told(1.2)), Decision::RollBack, "ten times the last loss, though no divergence");
    /// assert_eq!(schedule.audit().len(), 1);
    /// # Ok::<(), lrpilot_core::Error>(())
    /// ```
    pub fn audit(&mut self) -> Vec<AuditEvent> {
        self.guard.as_mut().map_or_else(Vec::new, |guard| guard.drain_events())
    }

    /// After how many optimizer steps the schedule wants its next measurement; absent where the interval is the caller's.
    pub fn steps_to_decision(&self) -> Option<u64> {
        match &self.running {
            Running::Generalist(run) => run.controller().steps_to_decision(),
            _ => None,
        }
    }

    /// Whether [`Decision::RollBack`] may come, so that the caller has to keep a snapshot of each interval's start.
    pub fn rolls_back(&self) -> bool {
        match &self.running {
            Running::Learned(run) => run.controller().policy().on_divergence.rolls_back(),
            Running::Generalist(_) => true,
            _ => false,
        }
    }

    /// What a policy saw and did at its last decision; `None` for other schedules, and in a run whose state was restored
    /// until the next measurement.
    pub fn decided(&self) -> Option<Decided> {
        let decided = match &self.running {
            Running::Learned(run) => run.decided(),
            Running::Generalist(run) => run.decided(),
            _ => None,
        };
        decided.map(|decided| Decided { lr: self.lr_at(0), ..decided })
    }

    /// What each input of a policy did to its last decision, against the `typical` observation, e.g. the mean of those of
    /// [`RunningSchedule::decided`].
    ///
    /// # Errors
    /// [`Error::Config`] if `typical` has another length than an observation, or nothing was decided.
    pub fn explain(&self, typical: &[f32]) -> Result<Explanation> {
        let explanation = match &self.running {
            Running::Learned(run) => run.explain(typical)?,
            Running::Generalist(run) => run.explain(typical)?,
            _ => return Err(Decided::missing()),
        };
        Ok(Explanation { lr: self.lr_at(0), ..explanation })
    }

    /// Take in the measurement of the finished interval and set the hyperparameters of the next one.
    pub fn observe(&mut self, m: &Measurement) -> Decision {
        self.interval += 1;
        match &mut self.running {
            Running::OpenLoop { schedule, lr } => self.hyperparameters = open_loop_at(schedule, *lr, self.interval),
            Running::Metric(state) => self.hyperparameters.lr = state.step(m.loss()),
            Running::Replay { lrs } => self.hyperparameters.lr = lrs[self.interval.min(lrs.len() - 1)],
            Running::Learned(run) => {
                let decision = run.observe(m);
                self.hyperparameters = run.hyperparameters();
                return self.guarded(decision, m);
            }
            Running::Generalist(run) => {
                let decision = run.observe(m);
                self.hyperparameters.lr = run.controller().lr_at(0);
                return self.guarded(decision, m);
            }
        }
        Decision::GoOn
    }

    /// The policy's decision, unless it would go on and the guard sees a fault; the factor on the learning rate is applied.
    /// Where the guard has given up, the policy goes on alone.
    fn guarded(&mut self, decision: Decision, m: &Measurement) -> Decision {
        let Some(guard) = &mut self.guard else { return decision };
        let decision = match decision {
            Decision::RollBack => Decision::RollBack,
            Decision::GoOn => match guard.interval(m) {
                Verdict::RollBack { .. } => Decision::RollBack,
                Verdict::Healthy => {
                    let _ = guard.snapshot_taken(m.steps);
                    Decision::GoOn
                }
                Verdict::GiveUp { .. } => Decision::GoOn,
            },
        };
        self.hyperparameters.lr *= self.lr_factor();
        decision
    }

    /// The state, to be saved.
    ///
    /// ```
    /// use lrpilot_core::{Measurement, OptimizerFamily, RunSpec, Schedule};
    /// let (run, m) = (RunSpec::new(9, OptimizerFamily::Adam, Vec::new()), Measurement::default());
    /// let mut first = Schedule::cosine(0.1, 9).start(&run, &m)?;
    /// let _ = first.observe(&m);
    /// let text = serde_json::to_string(&first.state()).unwrap();
    /// let mut second = Schedule::cosine(0.1, 9).start(&run, &m)?;
    /// second.set_state(serde_json::from_str(&text).unwrap())?;
    /// assert_eq!(second.hyperparameters(), first.hyperparameters());
    /// # Ok::<(), lrpilot_core::Error>(())
    /// ```
    pub fn state(&self) -> ScheduleState {
        let of = match &self.running {
            Running::OpenLoop { .. } => KindState::OpenLoop,
            Running::Replay { .. } => KindState::Replay,
            Running::Metric(state) => KindState::Metric((**state).clone()),
            Running::Learned(run) => KindState::Learned(run.controller().state().clone()),
            Running::Generalist(run) => KindState::Generalist(run.controller().state().clone()),
        };
        let guard = self.guard.as_ref().map(|guard| guard.state().clone());
        ScheduleState { interval: self.interval, hyperparameters: self.hyperparameters, of, guard }
    }

    /// Go on from a saved state of the same schedule, to the same bits.
    ///
    /// # Errors
    /// [`Error::Config`] if the state is of another kind of schedule.
    pub fn set_state(&mut self, state: ScheduleState) -> Result<()> {
        let ScheduleState { interval, hyperparameters, of, guard: guard_state } = state;
        match (&mut self.running, of) {
            (Running::OpenLoop { .. }, KindState::OpenLoop) | (Running::Replay { .. }, KindState::Replay) => {}
            (Running::Metric(state), KindState::Metric(saved)) => **state = saved,
            (Running::Learned(run), KindState::Learned(saved)) => run.set_state(saved, hyperparameters),
            (Running::Generalist(run), KindState::Generalist(saved)) => run.set_state(saved),
            _ => {
                let message = "the saved state is of another kind of schedule";
                return Err(Error::config("schedule", message, "restore it into the schedule that it was saved from"));
            }
        }
        if let (Some(guard), Some(state)) = (&mut self.guard, guard_state) {
            guard.set_state(state)?;
        }
        (self.interval, self.hyperparameters) = (interval, hyperparameters);
        Ok(())
    }
}

/// Where the optimizer has no momentum, the caller ignores it.
fn open_loop_at(schedule: &OpenLoop, lr: f64, interval: usize) -> Hyperparameters {
    Hyperparameters { momentum: schedule.momentum(interval), ..Hyperparameters::lr(schedule.lr(lr, interval)) }
}
