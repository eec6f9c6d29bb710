//! Environments that step in lockstep.

use crate::env::{Env, Space, Step};
use crate::{Error, Result};

/// Several environments of one kind that take one step each at a time (Gymnasium's `VectorEnv`, without autoreset):
/// what a batch of networks on one device wants.
pub trait VectorEnv: Send {
    /// Number of environments.
    fn count(&self) -> usize;
    /// The space of each one's observations.
    fn observation_space(&self) -> Space;
    /// The space of each one's actions.
    fn action_space(&self) -> Space;
    /// Start an episode in environment `index` and return its first observation.
    ///
    /// # Errors
    /// The environment's own.
    fn reset(&mut self, index: usize, seed: u64) -> Result<Vec<f32>>;
    /// Take one action in each environment.
    ///
    /// # Errors
    /// The first environment's that has one; [`Error::Bug`] for another number of actions.
    fn step(&mut self, actions: &[Vec<f32>]) -> Result<Vec<Step>>;
}

/// Separate environments, stepped one after another.
///
/// ```
/// use lrpilot::env::{EnvConfig, LrEnv, SyncVectorEnv, VectorEnv};
/// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
/// use std::sync::Arc;
/// let source = Arc::new(ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?);
/// let parts = EnvConfig::default().parts(source.spec())?;
/// let mut envs = SyncVectorEnv::default();
/// for _ in 0..2 {
///     envs.push(Box::new(LrEnv::new(source.clone(), parts.clone())?));
/// }
/// (0..2).try_for_each(|i| envs.reset(i, i as u64).map(|_| ()))?;
/// assert_eq!(envs.step(&[vec![0.0], vec![0.5]])?.len(), 2);
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Default)]
pub struct SyncVectorEnv {
    envs: Vec<Box<dyn Env>>,
}

impl SyncVectorEnv {
    /// Add an environment; all must have the same spaces.
    pub fn push(&mut self, env: Box<dyn Env>) {
        self.envs.push(env);
    }
}

impl VectorEnv for SyncVectorEnv {
    fn count(&self) -> usize {
        self.envs.len()
    }

    fn observation_space(&self) -> Space {
        self.envs.first().map_or(Space::Discrete(0), |e| e.observation_space())
    }

    fn action_space(&self) -> Space {
        self.envs.first().map_or(Space::Discrete(0), |e| e.action_space())
    }

    fn reset(&mut self, index: usize, seed: u64) -> Result<Vec<f32>> {
        let env = self.envs.get_mut(index).ok_or_else(|| Error::Bug(format!("there is no environment {index}")))?;
        env.reset(seed)
    }

    fn step(&mut self, actions: &[Vec<f32>]) -> Result<Vec<Step>> {
        if actions.len() != self.envs.len() {
            return Err(Error::Bug(format!("{} actions for {} environments", actions.len(), self.envs.len())));
        }
        self.envs.iter_mut().zip(actions).map(|(env, action)| env.step(action)).collect()
    }
}
