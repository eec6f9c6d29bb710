//! Learning-rate schedules learned by reinforcement learning.
//!
//! Data flows one way: a [`task`], built on [`nn`], is seen as an [`env`](mod@env), controlled by an
//! [`agent`], frozen into a [`schedule`], [`run`] and [`report`]ed.

pub mod agent;
#[cfg(feature = "cli")]
pub mod cli;
pub mod env;
pub mod error;
pub mod keys;
pub mod limits;
pub mod nn;
pub mod paper;
pub mod range;
pub mod record;
pub mod report;
pub mod rng;
pub mod run;
pub mod settings;
pub mod store;
pub mod task;

pub use error::{Error, Result};
pub use lrpilot_core::schedule;
pub use lrpilot_core::{Decision, Hyperparameters, Measurement, Recorder, RunSpec, Schedule};
