//! Small networks trained fast on one core: layers with hand-written backward passes over preallocated workspaces,
//! losses, optimizers and initialisers.
//!
//! Tensors are plain `f32` slices, batch-major. Images are `[batch][channel][row][column]` at a network's ends, as in
//! PyTorch, and `[batch][row][column][channel]` between its layers. Nothing here knows of data sets, tasks or
//! reinforcement learning. After the first step nothing allocates.

pub mod chain;
pub mod init;
pub mod kernels;
pub mod layers;
pub mod loss;
pub mod model;
pub mod network;
pub mod optimizer;

pub use layers::{LayerSpec, Mode, Shape};
pub use network::Network;
pub use optimizer::{Optimizer, OptimizerSpec, StepNorms};
