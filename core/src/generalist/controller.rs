//! A pretrained policy's specification and the run at hand, at work; without the network, so that it serves learning and
//! deployment alike.

use super::features::{FEATURES, Memory, Standing};
use super::{GeneralistSpec, Grid};
use crate::{Decision, Measurement, RunSpec};
use serde::{Deserialize, Serialize};

/// Roll-backs in a row because of a high loss.
const MOST_FAILURES: u32 = 2;

/// Turns actions into learning rates, and measurements into observations and decisions.
///
/// ```
/// use lrpilot_core::generalist::{GeneralistController, GeneralistSpec};
/// use lrpilot_core::{Decision, Group, Measurement, OptimizerFamily, RunSpec};
/// let mut run = RunSpec::new(10, OptimizerFamily::Adam, vec![Group::new("w", 100)]);
/// run.facts.steps = Some(1_000);
/// let mut controller = GeneralistController::new(GeneralistSpec::plain(), run);
/// let probe = Measurement { weight_norms: vec![1.0], val_loss: Some(2.0), ..Measurement::default() };
/// let mut observation = Vec::new();
/// controller.start(&probe, None, &mut observation);
/// controller.act(0.0);
/// let anchor = 0.01 * 0.1; // a hundredth of the root mean square of the weights
/// assert!((controller.lr_at(0) - 0.1 * anchor).abs() < 1e-12, "the base begins at a tenth");
/// assert_eq!(controller.observe(&Measurement { val_loss: Some(1.5), ..probe }, &mut observation), Decision::GoOn);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GeneralistController {
    spec: GeneralistSpec,
    run: RunSpec,
    grid: Grid,
    state: GeneralistState,
}

/// What changes in a [`GeneralistController`] during a run: plain numbers, to be saved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneralistState {
    memory: Memory,
    /// A.
    anchor: f64,
    /// Intervals done.
    decision: usize,
    /// m.
    residual: f64,
    action: f64,
    /// The first training loss and the first on held-back data: what divergence is measured by.
    first_losses: [Option<f64>; 2],
    /// Intervals rolled back in a row.
    failures: u32,
    /// Whether the last interval was rolled back.
    rolled_back: bool,
    /// The last interval that was not undone.
    last_good: Measurement,
}

impl GeneralistController {
    /// A controller at rest; [`GeneralistController::start`] begins a run.
    pub fn new(spec: GeneralistSpec, run: RunSpec) -> Self {
        let anchor = (run.lr_bounds.0 * run.lr_bounds.1).sqrt();
        let grid = Grid::of(&run);
        GeneralistController { spec, run, grid, state: GeneralistState { anchor, ..GeneralistState::default() } }
    }

    /// Begin a run from the probe of the untrained network; writes the first observation.
    ///
    /// A learning rate that the user gives sets the first residual if it is within
    /// [`GeneralistSpec::start_distance`] of the anchor, and is ignored if it is further off. Where the probe has no norms,
    /// so that there is no anchor, it is the anchor itself.
    pub fn start(&mut self, probe: &Measurement, given: Option<f64>, out: &mut Vec<f32>) {
        let given = given.filter(|lr| lr.is_finite() && *lr > 0.0);
        let (min, max) = self.run.lr_bounds;
        let found = self.spec.anchor.anchor(&self.run, probe);
        let anchor = found.or(given).unwrap_or((min * max).sqrt()).clamp(min, max);
        let wanted = given.map_or(0.0, |lr| (lr / anchor).log10());
        let near = wanted.abs() <= self.spec.start_distance;
        self.state = GeneralistState {
            anchor,
            residual: if near { wanted } else { 0.0 },
            first_losses: losses(probe),
            last_good: probe.clone(),
            ..GeneralistState::default()
        };
        self.look(&probe.clone(), out);
    }

    /// Take the action u of the coming interval; clipped to ±1, and 0 if it is not finite.
    pub fn act(&mut self, action: f32) {
        let action = f64::from(action);
        self.state.residual = self.spec.residual.moved(self.state.residual, action, self.share());
        self.state.action = if action.is_finite() { action.clamp(-1.0, 1.0) } else { 0.0 };
    }

    /// η of step number `i`, from 0, of the interval: A·b(s)·10^m, finite and positive, at most the run's upper bound. The
    /// lower bound holds for the anchor alone, since the base runs to zero. Where the number of steps in an interval is not
    /// known, the middle of the interval stands for all of it.
    pub fn lr_at(&self, i: u64) -> f64 {
        let (from, to) = (self.share(), self.grid.share(self.state.decision + 1));
        let s = match self.grid.known_steps(self.state.decision) {
            Some(steps) => from + (to - from) * (i as f64 / steps).min(1.0),
            None => (from + to) / 2.0,
        };
        let lr = self.state.anchor * self.spec.base.at(s) * 10f64.powf(self.state.residual);
        if lr.is_nan() { f64::MIN_POSITIVE } else { lr.clamp(f64::MIN_POSITIVE, self.run.lr_bounds.1) }
    }

    /// Take in the measurement of the finished interval and decide what follows; writes the next observation, which is
    /// always finite. After [`Decision::RollBack`] the residual is lower, and the observation is of the state gone back to.
    /// The steps of an interval that is rolled back count as used.
    pub fn observe(&mut self, m: &Measurement, out: &mut Vec<f32>) -> Decision {
        self.state.decision = (self.state.decision + 1).min(self.grid.decisions());
        for (first, loss) in self.state.first_losses.iter_mut().zip(losses(m)) {
            *first = first.or(loss);
        }
        self.state.rolled_back = self.has_failed(m);
        self.state.failures = if self.state.rolled_back { self.state.failures + 1 } else { 0 };
        if self.state.rolled_back {
            let lowest = self.spec.residual.low;
            self.state.residual = (self.state.residual - self.spec.roll_back_decades).max(lowest);
        } else {
            self.state.last_good.clone_from(m);
        }
        let seen = std::mem::take(&mut self.state.last_good);
        self.look(&seen, out);
        self.state.last_good = seen;
        if self.state.rolled_back { Decision::RollBack } else { Decision::GoOn }
    }

    /// Whether the interval diverged: numbers that are not finite, dead units, or a loss far above the first of its kind.
    /// Where rates a hundred times lower have not helped against the loss, it is the snapshot's own, and the run goes on.
    fn has_failed(&self, m: &Measurement) -> bool {
        let too_high = |(first, loss): (Option<f64>, Option<f64>)| {
            first.zip(loss).is_some_and(|(first, loss)| first > 0.0 && loss > self.spec.divergence * first)
        };
        let exploded = self.state.first_losses.into_iter().zip(losses(m)).any(too_high);
        m.diverged || m.stuck || exploded && self.state.failures < MOST_FAILURES
    }

    fn look(&mut self, m: &Measurement, out: &mut Vec<f32>) {
        let k = self.state.decision;
        let (share, next) = (self.grid.share(k), self.grid.share(k + 1));
        let now = Standing {
            share,
            last_interval: share - self.grid.share(k.saturating_sub(1)),
            next_interval: next - share,
            steps: self.run.facts.steps,
            epochs: self.run.facts.epochs(),
            residual: self.state.residual,
            base: self.spec.base.at(share),
            action: self.state.action,
            rolled_back: self.state.rolled_back,
            batches: k.checked_sub(1).and_then(|last| self.grid.known_steps(last)),
        };
        self.state.memory.observe(m, &now, out);
        debug_assert_eq!(out.len(), FEATURES.len());
    }

    /// Share of the run that is done.
    pub fn share(&self) -> f64 {
        self.grid.share(self.state.decision)
    }

    /// Steps of the coming interval, where the policy chooses them; `None` at the end, too.
    pub fn steps_to_decision(&self) -> Option<u64> {
        self.grid.steps(self.state.decision)
    }

    /// Intervals done.
    pub fn decision(&self) -> usize {
        self.state.decision
    }

    /// Whether the run is done.
    pub fn finished(&self) -> bool {
        self.state.decision >= self.grid.decisions()
    }

    /// The anchor A.
    pub fn anchor(&self) -> f64 {
        self.state.anchor
    }

    /// The residual m, in decades.
    pub fn residual(&self) -> f64 {
        self.state.residual
    }

    /// The last interval that was not undone; the probe before the first.
    pub fn last_good(&self) -> &Measurement {
        &self.state.last_good
    }

    /// When the policy decides.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The run at hand.
    pub fn run(&self) -> &RunSpec {
        &self.run
    }

    /// What was learned, apart from the network.
    pub fn spec(&self) -> &GeneralistSpec {
        &self.spec
    }

    /// The state, to be saved.
    pub fn state(&self) -> &GeneralistState {
        &self.state
    }

    /// Put back a saved state.
    pub fn set_state(&mut self, state: GeneralistState) {
        self.state = state;
    }
}

/// The finite ones of training loss and loss on held-back data.
fn losses(m: &Measurement) -> [Option<f64>; 2] {
    [m.train_loss, m.val_loss].map(|loss| loss.filter(|l| l.is_finite()))
}
