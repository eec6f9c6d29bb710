//! The agent: proximal policy optimisation (Schulman et al. 2017) as in Stable-Baselines3, for any [`Env`](crate::env::Env).
//!
//! Not here: recurrent policies, image observations, more than one process.

mod collector;
mod config;
mod distribution;
mod loss;
mod normalizer;
mod ppo;
mod rollout;
mod stats;

pub use collector::{Collector, LocalPool, RolloutExecutor, Trajectory};
pub use config::{PpoConfig, Squash};
pub use distribution::{Head, log_prob_categorical, log_prob_gaussian};
pub use loss::clipped_surrogate;
pub use lrpilot_core::{Policy, RunningMoments};
pub use normalizer::ReturnNormalizer;
pub use ppo::{Ppo, PpoState};
pub use rollout::{Episode, Rollout, Slot, SlotState, compare_siblings, gae};
pub use stats::UpdateStats;
