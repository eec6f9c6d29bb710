//! The environment: a task whose learning rate is the action.

use crate::env::config::{EnvParts, InitialLr};
use crate::env::reward::{Outcome, paper_divergence_reward};
use crate::env::{Env, Info, Space, Step};
use crate::rng::{Purpose, stream};
use crate::task::{Task, TaskSource};
use crate::{Error, Result};
use lrpilot_core::control::{Action, Controller, ControllerState, OnDivergence};
use lrpilot_core::{Decision, Hyperparameters, Measurement};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A training run as a decision process, one decision per interval. Each episode trains the task that its seed draws.
///
/// After the last interval the episode is *terminated*, not truncated: the time left is part of the problem and (in
/// both formulations) of the observation, so the value after it is zero.
pub struct LrEnv {
    source: Arc<dyn TaskSource>,
    parts: EnvParts,
    task: Box<dyn Task>,
    controller: Controller,
    state: EpisodeState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EpisodeState {
    seed: u64,
    rolled_back: usize,
    done: bool,
}

impl LrEnv {
    /// An environment of the tasks of `source` with the given parts.
    ///
    /// ```
    /// use lrpilot::env::{Env, EnvConfig, LrEnv};
    /// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
    /// use std::sync::Arc;
    /// let source = Arc::new(ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?);
    /// let parts = EnvConfig::default().parts(source.spec())?;
    /// let mut env = LrEnv::new(source, parts)?;
    /// env.reset(0)?;
    /// let step = env.step(&[0.5])?; // the learning rate rises by a quarter of a decade
    /// assert!(step.reward > 0.0, "the loss fell");
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    ///
    /// # Errors
    /// The source's own.
    pub fn new(source: Arc<dyn TaskSource>, parts: EnvParts) -> Result<Self> {
        let task = source.task(0)?;
        let controller = Controller::new(parts.policy.clone(), task.spec().run());
        let state = EpisodeState { seed: 0, rolled_back: 0, done: true };
        Ok(LrEnv { source, parts, task, controller, state })
    }

    /// Make the task and the controller of the episode with `seed`.
    fn begin(&mut self, seed: u64) -> Result<()> {
        if self.source.varies() {
            self.task = self.source.task(seed)?;
        }
        self.controller = Controller::new(self.parts.policy.clone(), self.task.spec().run());
        Ok(())
    }

    fn initial_lr(&self, seed: u64, anchor: f64) -> f64 {
        let mut rng = stream(seed, Purpose::InitialLr, 0);
        let mut between = |a: f64, b: f64| (a.ln() + rng.random::<f64>() * (b / a).ln()).exp();
        match self.parts.initial_lr {
            InitialLr::Fixed { lr } => self.controller.initial_lr(anchor, Some(lr)),
            InitialLr::Anchor {} => anchor,
            InitialLr::NearAnchor { decades } => between(anchor * 10f64.powf(-decades), anchor * 10f64.powf(decades)),
            InitialLr::LogUniform { min, max } => between(min, max),
        }
    }

    /// Reward of the measured interval, and whether it ended the episode by divergence.
    fn reward(&self, decision: Decision, diverged: bool, before: &Standing, current: f64) -> (f64, bool) {
        let (interval, horizon) = (self.controller.interval(), self.controller.run().horizon);
        match (decision, self.parts.policy.on_divergence) {
            (Decision::RollBack, OnDivergence::RollBack { reward, .. }) => (reward, false),
            (_, OnDivergence::Terminate {}) if diverged => {
                let mut rng = stream(self.state.seed, Purpose::Reward, interval as u64);
                (paper_divergence_reward(rng.random()), true)
            }
            _ => {
                let Standing { initial, best, previous } = *before;
                let outcome = Outcome { initial, best, previous, current, interval, horizon };
                (self.parts.reward.of(&outcome), false)
            }
        }
    }

    fn info(&self, hyperparameters: &Hyperparameters, m: &Measurement) -> Info {
        Info {
            lr: hyperparameters.lr,
            val_loss: m.loss(),
            train_loss: m.train_loss.unwrap_or(f64::NAN),
            val_accuracy: m.val_accuracy.unwrap_or(0.0),
            rolled_back: self.state.rolled_back,
            diverged: m.diverged,
        }
    }
}

/// Losses before an interval, which its reward is measured against.
struct Standing {
    initial: f64,
    best: f64,
    previous: f64,
}

impl Env for LrEnv {
    fn observation_space(&self) -> Space {
        let (n, limit) = (self.parts.policy.observation_dim(), self.parts.policy.observation.limit());
        Space::Box { low: vec![-limit; n], high: vec![limit; n] }
    }

    fn action_space(&self) -> Space {
        let (min, max) = self.source.spec().lr_bounds;
        let (low, high) = match self.parts.policy.action {
            Action::Linear {} => (min as f32, max as f32),
            _ => (-1.0, 1.0),
        };
        let others = self.parts.policy.hyperparameters.len();
        let with_others = |lr: f32, other: f32| std::iter::once(lr).chain(std::iter::repeat_n(other, others)).collect();
        Space::Box { low: with_others(low, -1.0), high: with_others(high, 1.0) }
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>> {
        self.begin(seed)?;
        let probe = self.task.reset(seed)?;
        let anchor = self.controller.run().anchor_lr(&probe);
        let initial = self.initial_lr(seed, anchor);
        let mut observation = Vec::new();
        self.controller.start(&probe, initial, anchor, &mut observation);
        self.state = EpisodeState { seed, rolled_back: 0, done: false };
        Ok(observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        if self.state.done {
            return Err(Error::Bug("step after the end of an episode; reset the environment first".into()));
        }
        let snapshot = if self.parts.policy.on_divergence.rolls_back() { Some(self.task.save()?) } else { None };
        let (memory, previous) = (self.controller.memory(), self.controller.last_good().loss());
        let before = Standing { initial: memory.initial(), best: memory.best(), previous };
        let hyperparameters = self.controller.act(action);
        let mut measured = self.task.advance(&hyperparameters)?;
        let mut observation = Vec::new();
        let decision = self.controller.observe(&measured, &mut observation);
        let (reward, diverged) = self.reward(decision, measured.diverged, &before, measured.loss());
        if let (Decision::RollBack, Some(snapshot)) = (decision, snapshot) {
            self.task.load(&snapshot)?;
            self.state.rolled_back += 1;
            measured.clone_from(self.controller.last_good());
        }
        let terminated = diverged || self.controller.interval() >= self.controller.run().horizon;
        self.state.done = terminated;
        let info = self.info(&hyperparameters, &measured);
        Ok(Step { observation, reward, terminated, truncated: false, info })
    }

    fn save(&self) -> Result<Vec<u8>> {
        let saved = (self.controller.state(), &self.state, self.task.save()?);
        postcard::to_stdvec(&saved).map_err(|e| Error::Bug(format!("an environment cannot be saved: {e}")))
    }

    fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let (controller, state, task): (ControllerState, EpisodeState, Vec<u8>) =
            postcard::from_bytes(bytes).map_err(|e| Error::Bug(format!("a saved environment cannot be read: {e}")))?;
        self.begin(state.seed)?;
        self.task.load(&task)?;
        self.controller.set_state(controller);
        self.state = state;
        Ok(())
    }
}
