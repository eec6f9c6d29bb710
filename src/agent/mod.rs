//! The agent: proximal policy optimisation (Schulman et al. 2017) as in Stable-Baselines3, for any [`Env`](crate::env::Env).
//!
//! Not here: recurrent policies, image observations, more than one process.

mod config;
mod distribution;
mod loss;
mod normalizer;
mod policy;
mod ppo;
mod rollout;
mod tanh;

pub use config::{PpoConfig, Squash};
pub use distribution::{Head, log_prob_categorical, log_prob_gaussian};
pub use loss::clipped_surrogate;
pub use normalizer::{ReturnNormalizer, RunningMoments};
pub use policy::Policy;
pub use ppo::{Ppo, PpoState, UpdateStats};
pub use rollout::{Episode, Rollout, Slot, SlotState, gae};
