//! The decision process of a schedule: what is seen, what is done, where a run starts and what follows divergence.
//!
//! [`PolicySpec`] is what was learned; [`RunSpec`] is the run at hand, made anew for each episode and each deployment.
//! A [`Controller`] is both of them at work, and the same one serves learning and deployment.

pub mod action;
pub mod anchor;
pub mod controller;
pub mod divergence;
pub mod observation;

pub use action::Action;
pub use controller::{Controller, ControllerState, PolicySpec, RunFacts, RunSpec, check_bounds};
pub use divergence::{Decision, OnDivergence};
pub use observation::Observation;
