//! Learning-rate schedules learned by reinforcement learning.
//!
//! Data flows one way: a [`task`], built on [`nn`], is seen as an [`env`](mod@env), controlled by an
//! [`agent`], frozen into a [`schedule`], [`run`] and [`report`]ed.

pub mod agent;
pub mod atomic;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod env;
pub mod error;
pub mod limits;
pub mod nn;
pub mod range;
pub mod report;
pub mod rng;
pub mod run;
pub mod schedule;
pub mod task;

pub use error::{Error, Result};
