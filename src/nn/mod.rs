//! Small networks that train fast on one core: layers with hand-written backward passes over preallocated workspaces,
//! losses, optimizers and initialisers.
//!
//! [`model`] describes a network, [`layers`] are what it is made of, [`kernels`] do their arithmetic, [`chain`] and
//! [`network`] put layers together, and [`optimizer`] moves the weights.
//!
//! Tensors are plain `f32` slices, batch-major. Images are `[batch][channel][row][column]` at a network's ends, as in
//! PyTorch, and `[batch][row][column][channel]` between its layers. This module knows of no data sets, tasks or
//! reinforcement learning. A training step allocates nothing after the first one.

pub mod chain;
pub mod init;
pub mod kernels;
pub mod layers;
pub mod loss;
pub mod model;
pub mod network;
pub mod optimizer;

pub use layers::Mode;
pub use model::{LayerSpec, Shape};
pub use network::Network;
pub use optimizer::{Optimizer, OptimizerSpec, StepNorms};
