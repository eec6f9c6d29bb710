//! Learn, evaluate, compare.

pub mod child;
pub mod config;
pub mod learn;

pub use child::{Method, Runner};
pub use config::{LearnConfig, RunConfig};
