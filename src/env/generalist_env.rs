//! The environment in which a pretrained policy learns: tasks of a distribution, few decisions a run, the loss of the end.

use crate::env::{Env, Info, Space, Step};
use crate::nn::init::normal;
use crate::rng::{Purpose, Rng, stream};
use crate::task::{Split, Task, TaskSource, train_interval};
use crate::{Error, Result};
use lrpilot_core::generalist::{FEATURES, GeneralistController, GeneralistSpec, GeneralistState};
use lrpilot_core::{Decision, Hyperparameters, Measurement};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Losses are floored by this share of the untrained network's.
const FLOOR: f64 = 1e-3;
/// Losses above this many times the untrained network's count as that many.
const CAP: f64 = 2.0;
/// Reward of an interval that was rolled back.
const ROLLED_BACK: f64 = -0.2;

/// What episodes keep from the policy, so that one policy serves callers who measure more and callers who measure less.
/// Each is the share of episodes in [0, 1].
///
/// ```
/// use lrpilot::env::Masks;
/// let none = Masks::none();
/// assert_eq!((none.gradients, none.own_moments), (0.0, 1.0), "everything is seen, and the policy chooses when");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Masks {
    /// Without norms of gradients.
    pub gradients: f64,
    /// Without losses on held-back data.
    pub held_back: f64,
    /// Without the held-back loss of the untrained network.
    pub first_held_back: f64,
    /// Without the number of training examples.
    pub examples: f64,
    /// With the policy's own moments of decision; the others decide at the task's intervals.
    pub own_moments: f64,
    /// With a learning rate that the user gave, within half a decade of the anchor.
    pub given_lr: f64,
    /// Without snapshots: what an interval that diverges did to the network stays.
    pub snapshots: f64,
}

impl Default for Masks {
    fn default() -> Self {
        Masks {
            gradients: 0.2,
            held_back: 0.1,
            first_held_back: 0.1,
            examples: 0.1,
            own_moments: 0.5,
            given_lr: 0.4,
            snapshots: 0.5,
        }
    }
}

impl Masks {
    /// Nothing is kept from the policy, which decides at moments of its own.
    pub fn none() -> Self {
        Masks {
            gradients: 0.0,
            held_back: 0.0,
            first_held_back: 0.0,
            examples: 0.0,
            own_moments: 1.0,
            given_lr: 0.0,
            snapshots: 0.0,
        }
    }
}

/// What one episode keeps from the policy.
#[derive(Clone, Copy, Debug)]
struct Mask {
    gradients: bool,
    held_back: bool,
    first_held_back: bool,
    examples: bool,
    own_moments: bool,
    /// Distance of the given learning rate from the anchor, in decades.
    given: Option<f64>,
    snapshots: bool,
}

impl Mask {
    fn draw(masks: &Masks, seed: u64) -> Self {
        let mut rng: Rng = stream(seed, Purpose::Mask, 0);
        let mut with = |share: f64| rng.random::<f64>() < share;
        let gradients = with(masks.gradients);
        let held_back = with(masks.held_back);
        let first_held_back = with(masks.first_held_back);
        let examples = with(masks.examples);
        let own_moments = with(masks.own_moments);
        let given = with(masks.given_lr).then(|| 0.3 * normal(&mut rng));
        let snapshots = rng.random::<f64>() < masks.snapshots;
        Mask { gradients, held_back, first_held_back, examples, own_moments, given, snapshots }
    }

    /// The measurement as the policy sees it.
    fn seen(&self, m: &Measurement, is_probe: bool) -> Measurement {
        let mut seen = m.clone();
        if self.held_back || self.first_held_back && is_probe {
            (seen.val_loss, seen.val_accuracy) = (None, None);
        }
        if self.gradients && !is_probe {
            (seen.grad_norm_mean, seen.grad_norm_sd) = (None, None);
            seen.grad_norms.clear();
        }
        seen
    }
}

/// A training run of a task that the seed draws, as a decision process: the action moves the residual of
/// [`lrpilot_core::generalist`], and the rewards add up to ln L₀ − ln L(end), where L(end) is measured on data that the
/// policy never sees. An interval that diverges is rolled back at the cost of 0.2, where the episode has snapshots.
///
/// ```
/// use lrpilot::env::{Env, GeneralistEnv, Masks};
/// use lrpilot::task::{ConfiguredTask, Preset};
/// use lrpilot_core::generalist::GeneralistSpec;
/// use std::sync::Arc;
/// let source = Arc::new(ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?);
/// let mut env = GeneralistEnv::new(source, GeneralistSpec::plain(), Masks::none())?;
/// env.reset(0)?;
/// let (mut sum, mut steps) = (0.0, 0);
/// loop {
///     let step = env.step(&[0.0])?; // the base run
///     (sum, steps) = (sum + step.reward, steps + 1);
///     if step.terminated {
///         break;
///     }
/// }
/// assert!(steps == 24 && sum > 0.0, "the loss fell");
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub struct GeneralistEnv {
    source: Arc<dyn TaskSource>,
    spec: GeneralistSpec,
    masks: Masks,
    task: Box<dyn Task>,
    controller: GeneralistController,
    mask: Mask,
    state: EpisodeState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EpisodeState {
    seed: u64,
    rolled_back: usize,
    done: bool,
    /// Loss of the untrained network on validation A.
    initial: f64,
    /// The last loss that was counted.
    loss: f64,
}

impl GeneralistEnv {
    /// An environment of the tasks of `source`.
    ///
    /// # Errors
    /// The source's own.
    pub fn new(source: Arc<dyn TaskSource>, spec: GeneralistSpec, masks: Masks) -> Result<Self> {
        let task = source.task(0)?;
        let mask = Mask::draw(&masks, 0);
        let controller = GeneralistController::new(spec.clone(), task.spec().run());
        let state = EpisodeState { seed: 0, rolled_back: 0, done: true, initial: 1.0, loss: 1.0 };
        Ok(GeneralistEnv { source, spec, masks, task, controller, mask, state })
    }

    /// Make the task and the controller of the episode with `seed`.
    fn begin(&mut self, seed: u64) -> Result<()> {
        if self.source.varies() {
            self.task = self.source.task(seed)?;
        }
        self.mask = Mask::draw(&self.masks, seed);
        let mut run = self.task.spec().run();
        run.facts.free_intervals = self.mask.own_moments && self.task.trains_single_steps();
        if self.mask.examples {
            run.facts.examples = None;
        }
        self.controller = GeneralistController::new(self.spec.clone(), run);
        Ok(())
    }

    /// The loss as rewards count it.
    fn counted(&self, loss: f64) -> f64 {
        let cap = CAP * self.state.initial;
        if loss.is_finite() { loss.min(cap) } else { cap }
    }

    /// ln of one loss over the next, floored.
    fn reward(&self, next: f64) -> f64 {
        let floor = FLOOR * self.state.initial;
        ((self.state.loss + floor) / (next + floor)).ln()
    }
}

impl Env for GeneralistEnv {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![-5.0; FEATURES.len()], high: vec![5.0; FEATURES.len()] }
    }

    fn action_space(&self) -> Space {
        Space::Box { low: vec![-1.0], high: vec![1.0] }
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>> {
        self.begin(seed)?;
        let probe = self.task.reset(seed)?;
        let initial = probe.loss();
        self.state = EpisodeState { seed, rolled_back: 0, done: false, initial, loss: initial };
        let given = self.mask.given.and_then(|decades| {
            let anchor = self.spec.anchor.anchor(self.controller.run(), &probe)?;
            Some(anchor * 10f64.powf(decades))
        });
        let mut observation = Vec::new();
        self.controller.start(&self.mask.seen(&probe, true), given, &mut observation);
        Ok(observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        if self.state.done {
            return Err(Error::Bug("step after the end of an episode; reset the environment first".into()));
        }
        let snapshot = self.task.save()?;
        self.controller.act(action.first().copied().unwrap_or(0.0));
        let lr = self.controller.lr_at(0);
        let controller = &self.controller;
        let (steps, rate) = (controller.steps_to_decision(), |i| controller.lr_at(i));
        let measured = train_interval(&mut *self.task, steps, &rate, &Hyperparameters::lr(lr))?;
        let mut observation = Vec::new();
        let decision = self.controller.observe(&self.mask.seen(&measured, false), &mut observation);
        let mut reward = match decision {
            Decision::RollBack if !self.mask.snapshots => {
                self.task.load(&snapshot)?;
                self.state.rolled_back += 1;
                ROLLED_BACK
            }
            Decision::RollBack | Decision::GoOn => {
                let loss = self.counted(measured.loss());
                let reward = self.reward(loss);
                self.state.loss = loss;
                reward
            }
        };
        self.state.done = self.controller.finished();
        if self.state.done {
            let (end, _) = self.task.evaluate(Split::ValidationB)?;
            let end = self.counted(end);
            reward += self.reward(end);
            self.state.loss = end;
        }
        let info = Info {
            lr,
            val_loss: self.state.loss,
            train_loss: measured.train_loss.unwrap_or(f64::NAN),
            val_accuracy: measured.val_accuracy.unwrap_or(0.0),
            rolled_back: self.state.rolled_back,
            diverged: false,
        };
        Ok(Step { observation, reward, terminated: self.state.done, truncated: false, info })
    }

    fn save(&self) -> Result<Vec<u8>> {
        let saved = (self.controller.state(), &self.state, self.task.save()?);
        postcard::to_stdvec(&saved).map_err(|e| Error::Bug(format!("an environment cannot be saved: {e}")))
    }

    fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let (controller, state, task): (GeneralistState, EpisodeState, Vec<u8>) =
            postcard::from_bytes(bytes).map_err(|e| Error::Bug(format!("a saved environment cannot be read: {e}")))?;
        self.begin(state.seed)?;
        self.task.load(&task)?;
        self.controller.set_state(controller);
        self.state = state;
        Ok(())
    }
}
