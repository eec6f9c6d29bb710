//! A task as a decision process: observation, action, reward, and [`Env`] with Gymnasium's semantics.

pub mod check;
pub mod config;
pub mod generalist_env;
pub mod keys;
pub mod lr_env;
pub mod reward;
pub mod vector;

pub use check::check_env;
pub use config::{EnvConfig, EnvParts, Formulation, InitialLr};
pub use generalist_env::{GeneralistEnv, Masks};
pub use lr_env::LrEnv;
pub use lrpilot_core::control::{Action, Observation, OnDivergence};
pub use reward::{Outcome, Reward, paper_divergence_reward};
pub use vector::{SyncVectorEnv, VectorEnv};

use crate::Result;
use serde::{Deserialize, Serialize};

/// What observations or actions look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Space {
    /// Numbers between bounds (`gymnasium.spaces.Box`).
    Box {
        /// Lower bounds; may be −∞.
        low: Vec<f32>,
        /// Upper bounds; may be +∞.
        high: Vec<f32>,
    },
    /// One of `n` choices, given as the number `0 ≤ a < n` in a vector of length one (`gymnasium.spaces.Discrete`).
    Discrete(usize),
}

impl Space {
    /// Length of the vector: the box's dimension, or 1.
    pub fn dim(&self) -> usize {
        match self {
            Space::Box { low, .. } => low.len(),
            Space::Discrete(_) => 1,
        }
    }
}

/// What a step returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The observation after the step; of the finished episode if it ended.
    pub observation: Vec<f32>,
    /// The reward for the action.
    pub reward: f64,
    /// The decision process itself ended (its value is 0 from here).
    pub terminated: bool,
    /// A limit cut the episode off (its value goes on; bootstrap from it).
    pub truncated: bool,
    /// For people and logs, never for the agent.
    pub info: Info,
}

/// What a step reports beside observation and reward. Environments that are not training runs leave it at its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Learning rate of the interval.
    pub lr: f64,
    /// Validation-A loss after it.
    pub val_loss: f64,
    /// Mean training loss in it.
    pub train_loss: f64,
    /// Validation-A accuracy after it.
    pub val_accuracy: f64,
    /// Intervals rolled back so far in the episode.
    pub rolled_back: usize,
    /// Whether the interval diverged and ended the episode.
    pub diverged: bool,
}

/// An environment with Gymnasium's semantics. After an episode has ended, `reset` must be called; [`check_env`] tries out
/// whether an environment keeps to this.
///
/// ```
/// use lrpilot::env::{Env, EnvConfig, LrEnv};
/// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
/// use std::sync::Arc;
/// let source = Arc::new(ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?);
/// let parts = EnvConfig::default().parts(source.spec())?;
/// let mut env = LrEnv::new(source, parts)?;
/// let mut observation = env.reset(0)?;
/// loop {
///     let step = env.step(&[0.1 * observation[0]])?; // anything that maps observations to actions
///     observation = step.observation;
///     if step.terminated || step.truncated {
///         break;
///     }
/// }
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub trait Env: Send {
    /// The space of observations, always a box.
    fn observation_space(&self) -> Space;
    /// The space of actions.
    fn action_space(&self) -> Space;
    /// Start an episode and return its first observation.
    fn reset(&mut self, seed: u64) -> Result<Vec<f32>>;
    /// Take an action.
    fn step(&mut self, action: &[f32]) -> Result<Step>;
    /// Everything the episode's future depends on, as bytes.
    fn save(&self) -> Result<Vec<u8>>;
    /// Put back what [`Env::save`] gave, bit for bit.
    fn load(&mut self, state: &[u8]) -> Result<()>;
}
