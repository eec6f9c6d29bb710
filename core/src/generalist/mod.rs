//! Pretrained policies: one policy for runs that it has never seen, whatever the network, the data and the optimizer.
//!
//! The learning rate of optimizer step s·T of a run of T steps is η = A·b(s)·10^m. The *anchor* A follows from facts of
//! the run and the untrained network ([`AnchorModel`]), the *base* b is a fixed shape that rises, then falls to zero
//! ([`Base`]), and the *residual* m is what the policy decides on, some two dozen times in a run ([`Residual`]). A policy
//! that always says 0 gives the base run, bit for bit.
//!
//! What is seen ([`FEATURES`]) does not change when the weights or the losses are rescaled, and time is a share of the
//! run. So a network with other units is the same run.

mod anchor;
mod controller;
mod features;
mod grid;
mod policy;
mod pretrained;
mod shape;

pub use anchor::{ANCHOR_TERMS, AnchorModel, Term};
pub use controller::{GeneralistController, GeneralistState};
pub use features::{FEATURES, Standing};
pub use grid::Grid;
pub use policy::{Generalist, GeneralistRun, GeneralistSpec};
pub use pretrained::NEWEST;
pub use shape::{Base, Residual};
