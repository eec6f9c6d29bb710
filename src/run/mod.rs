//! Runs: learn, evaluate, compare; and what keeps them safe on disk.

pub mod atomic;
pub mod checkpoint;
pub mod folder;
pub mod job;
pub mod lock;
pub mod stop;
pub mod store;
