//! The environment: a task whose learning rate is the action.

use crate::env::config::EnvParts;
use crate::env::control::{Action, Controller, ControllerState, InitialLr, anchor_lr, start_lr};
use crate::env::reward::{OnDivergence, Outcome, paper_divergence_reward};
use crate::env::{Env, Info, Space, Step};
use crate::rng::{Purpose, stream};
use crate::task::{Knobs, Measurement, Task, TaskState};
use crate::{Error, Result};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// A training run as a decision process, one decision per interval.
///
/// After the last interval the episode is *terminated*, not truncated: the time left is part of the problem and (in
/// both formulations) of the observation, so the value after it is zero.
pub struct LrEnv {
    task: Box<dyn Task>,
    parts: EnvParts,
    controller: Controller,
    state: EpisodeState,
    /// Where the task stood before the interval in progress, for rolling back.
    before: Option<TaskState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EpisodeState {
    measurement: Measurement,
    seed: u64,
    rolled_back: usize,
    ended: bool,
}

impl LrEnv {
    /// An environment of `task` with the given parts.
    pub fn new(task: Box<dyn Task>, parts: EnvParts) -> Self {
        let controller = Controller::new(parts.control.clone());
        let state = EpisodeState { measurement: Measurement::default(), seed: 0, rolled_back: 0, ended: true };
        LrEnv { task, parts, controller, state, before: None }
    }

    /// The last measurement.
    pub fn measurement(&self) -> &Measurement {
        &self.state.measurement
    }

    /// The task, for evaluation on held-back data.
    pub fn task_mut(&mut self) -> &mut dyn Task {
        &mut *self.task
    }

    fn initial_lr(&self, seed: u64, anchor: f64) -> f64 {
        let mut rng = stream(seed, Purpose::InitialLr, 0);
        let mut between = |a: f64, b: f64| (a.ln() + rng.random::<f64>() * (b / a).ln()).exp();
        match self.parts.initial_lr {
            InitialLr::Fixed { lr } => start_lr(lr, anchor, self.parts.control.anchor_reach),
            InitialLr::Anchor {} => anchor,
            InitialLr::NearAnchor { decades } => between(anchor * 10f64.powf(-decades), anchor * 10f64.powf(decades)),
            InitialLr::LogUniform { min, max } => between(min, max),
        }
    }

    /// Undo a diverged interval or end the episode; returns the reward and whether the episode ended.
    fn diverged(&mut self, measured: Measurement, observation: &mut Vec<f32>) -> Result<(f64, bool)> {
        match self.parts.on_divergence {
            OnDivergence::Terminate {} => {
                self.state.measurement = measured;
                self.controller.observe(&self.state.measurement, observation);
                // An observation must be finite (Gymnasium's Box of finite float32).
                observation.iter_mut().for_each(|v| *v = if v.is_finite() { *v } else { 0.0 });
                let mut rng = stream(self.state.seed, Purpose::Reward, self.controller.interval() as u64);
                Ok((paper_divergence_reward(rng.random()), true))
            }
            OnDivergence::RollBack { reward, .. } => {
                let before = self.before.as_ref().ok_or_else(|| Error::Bug("no state to roll back to".into()))?;
                self.task.restore(before)?;
                self.state.rolled_back += 1;
                self.controller.roll_back(&self.state.measurement, observation);
                Ok((reward, self.controller.interval() >= self.parts.control.horizon))
            }
        }
    }

    fn info(&self, knobs: &Knobs) -> Info {
        Info {
            lr: knobs.lr,
            val_loss: self.state.measurement.val_loss,
            train_loss: self.state.measurement.train_loss,
            val_accuracy: self.state.measurement.val_accuracy,
            rolled_back: self.state.rolled_back,
            diverged: self.state.measurement.diverged,
        }
    }
}

impl Env for LrEnv {
    fn observation_space(&self) -> Space {
        let n = self.parts.control.observation_dim();
        Space::Box { low: vec![f32::NEG_INFINITY; n], high: vec![f32::INFINITY; n] }
    }

    fn action_space(&self) -> Space {
        let (min, max) = self.parts.control.lr_bounds;
        let (low, high) = match self.parts.control.action {
            Action::Linear {} => (min as f32, max as f32),
            _ => (-1.0, 1.0),
        };
        let knobs = self.parts.control.knobs.len();
        let with_knobs = |lr: f32, knob: f32| std::iter::once(lr).chain(std::iter::repeat_n(knob, knobs)).collect();
        Space::Box { low: with_knobs(low, -1.0), high: with_knobs(high, 1.0) }
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>> {
        let probe = self.task.reset(seed)?;
        let anchor =
            anchor_lr(self.parts.control.anchor, &probe, self.task.spec().parameters, self.parts.control.lr_bounds);
        let initial = self.initial_lr(seed, anchor);
        let mut observation = Vec::new();
        self.controller.start(&probe, initial, anchor, &mut observation);
        (self.state.measurement, self.state.seed) = (probe, seed);
        (self.state.rolled_back, self.state.ended) = (0, false);
        Ok(observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        if self.state.ended {
            return Err(Error::Bug("step after the end of an episode; reset the environment first".into()));
        }
        if matches!(self.parts.on_divergence, OnDivergence::RollBack { .. }) {
            self.before = Some(self.task.snapshot());
        }
        let (memory, previous) = (self.controller.memory(), self.state.measurement.val_loss);
        let (initial, best) = (memory.initial(), memory.best());
        let knobs = self.controller.act(action);
        let measured = self.task.advance(&knobs)?;
        let mut observation = Vec::new();
        let roll_back_if_stuck = self.before.is_some() && measured.stuck;
        let (reward, terminated) = if measured.diverged || roll_back_if_stuck {
            self.diverged(measured, &mut observation)?
        } else {
            let current = measured.val_loss;
            self.state.measurement = measured;
            self.controller.observe(&self.state.measurement, &mut observation);
            let (interval, horizon) = (self.controller.interval(), self.parts.control.horizon);
            let outcome = Outcome { initial, best, previous, current, interval, horizon };
            (self.parts.reward.of(&outcome), interval >= horizon)
        };
        self.state.ended = terminated;
        Ok(Step { observation, reward, terminated, truncated: false, info: self.info(&knobs) })
    }

    fn save(&self) -> Result<Vec<u8>> {
        let saved = (self.controller.state(), &self.state, self.task.snapshot());
        postcard::to_stdvec(&saved).map_err(|e| Error::Bug(format!("an environment cannot be saved: {e}")))
    }

    fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let (controller, state, task): (ControllerState, EpisodeState, TaskState) =
            postcard::from_bytes(bytes).map_err(|e| Error::Bug(format!("a saved environment cannot be read: {e}")))?;
        self.task.restore(&task)?;
        self.controller.set_state(controller);
        self.state = state;
        Ok(())
    }
}
