//! Files of runs: whole or absent, locked while they are written, and identified by what decides their content.

pub mod atomic;
pub mod checkpoint;
pub mod files;
pub mod folder;
pub mod identity;
pub mod journal;
pub mod lock;
pub mod run_info;
