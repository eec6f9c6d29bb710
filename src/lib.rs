//! Learning-rate schedules learned by reinforcement learning.
//!
//! A PPO agent trains a network again and again, picks the learning rate of each interval (an epoch, or k optimizer
//! steps), and learns what works. What it has learned is frozen into a [`Schedule`] in one small file, which runs in any
//! training loop. This program does all of it:
//!
//! ```
#![doc = include_str!("../examples/quickstart.rs")]
//! ```
//!
//! # What is where
//! - To run a schedule, `lrpilot-core` is enough: [`Recorder`], [`Measurement`], [`RunSpec`], [`Schedule`], [`Decision`]
//!   and [`Hyperparameters`] are its items.
//! - To learn on a network of one's own, implement [`Task`] and [`TaskSource`] (`examples/own_task.rs`), then call
//!   [`learn_in`] and [`compare`]. [`Env`] and [`Ppo`] are the parts below.
//! - lrpilot's own networks, data sets and the decision process are in [`task`], [`env`](mod@env) and [`agent`];
//!   sessions, trials and comparisons in [`run`]; what they write in [`record`].
//!
//! Modules that are not shown here are public for lrpilot's own benches and tests alone, and change without notice.

pub mod agent;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod env;
mod error;
#[doc(hidden)]
pub mod keys;
#[doc(hidden)]
pub mod limits;
#[doc(hidden)]
pub mod nn;
#[doc(hidden)]
pub mod paper;
#[doc(hidden)]
pub mod range;
pub mod record;
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod rng;
pub mod run;
#[doc(hidden)]
pub mod settings;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod suite;
pub mod task;

pub use agent::Ppo;
pub use env::Env;
pub use error::{Error, Result};
pub use lrpilot_core::schedule;
pub use lrpilot_core::{
    Decision, Group, Hyperparameters, Learned, Measurement, OptimizerFamily, Recorder, RunSpec, Schedule,
};
pub use run::compare::{CompareOptions, compare};
pub use run::config::RunConfig;
pub use run::context::RunContext;
pub use run::learner::Learner;
pub use run::session::learn_in;
pub use task::{Split, Task, TaskSource, TaskSpec};

/// The README's and the guide's programs.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/guide/own-loop.md")]
    struct OwnLoop;
    #[doc = include_str!("../docs/guide/guard.md")]
    struct Guard;
}
