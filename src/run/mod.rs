//! Runs: learn, evaluate, compare; jobs, store, checkpoints and the run folder they live in.

pub mod compare;
pub mod config;
pub mod demo;
pub mod export;
pub mod jobs;
pub mod learner;
pub mod sensitivity;
pub mod session;
pub mod stop;
pub mod trial;

pub use compare::{CompareOptions, PolicyGroup, compare};
pub use config::{LearnConfig, RunConfig};
pub use learner::Learner;
pub use stop::StopFlag;
pub use trial::{Method, Record, Runner, Trial};
