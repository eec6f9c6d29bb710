//! Runs: learn, evaluate, compare; jobs, store, checkpoints and the run folder they live in.

pub mod checkpoint;
pub mod child;
pub mod compare;
pub mod config;
pub mod demo;
pub mod export;
pub mod folder;
pub mod job;
pub mod jobs;
pub mod learn;
pub mod lock;
pub mod paper;
pub mod sensitivity;
pub mod session;
pub mod stop;
pub mod store;

pub use child::{Method, Record, Runner};
pub use compare::{CompareOptions, compare};
pub use config::{LearnConfig, RunConfig};
pub use learn::Learner;
pub use stop::StopFlag;
