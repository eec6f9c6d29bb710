//! The decision process of a schedule, against formulas and slow definitions.

mod anchor;
mod controller;
mod features;
mod file;
mod recorder;
mod state;
