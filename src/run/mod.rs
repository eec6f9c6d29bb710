//! Runs: learn, evaluate, compare; jobs, store, checkpoints and the run folder they live in.

pub mod compare;
pub mod config;
pub mod context;
pub mod demo;
pub mod executor;
pub mod explain;
pub mod export;
pub mod generalist;
pub mod job;
pub mod jobs;
pub mod learner;
pub mod sensitivity;
pub mod session;
pub mod stop;
pub mod trial;

pub use compare::{CompareOptions, PolicyGroup, compare};
pub use config::{LearnConfig, RunConfig};
pub use context::RunContext;
pub use executor::Executor;
pub use job::JobSpec;
pub use learner::Learner;
pub use stop::StopFlag;
pub use trial::{Record, Trial, run_trial};
