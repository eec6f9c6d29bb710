//! Files of runs: whole or absent, locked while they are written, and identified by what decides their content.

pub mod checkpoint;
pub mod folder;
pub mod identity;
pub mod journal;
pub mod lock;

pub use lrpilot_core::atomic;
