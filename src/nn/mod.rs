//! Small networks trained fast on one core: layers with hand-written backward passes over preallocated workspaces,
//! losses, optimizers and initialisers.
//!
//! Tensors are plain `f32` slices, batch-major. Images are `[batch][channel][row][column]` at a network's ends, as in
//! PyTorch, and `[batch][row][column][channel]` between its layers. Nothing here knows of data sets, tasks or
//! reinforcement learning. After the first step nothing allocates.

pub mod activation;
pub mod aligned;
pub mod batch_norm;
pub mod chain;
pub mod conv;
pub mod conv_norm;
pub mod conv_pool;
pub mod dense;
pub mod dropout;
pub mod gemm;
pub mod init;
pub mod layer;
pub mod line_search;
pub mod loss;
pub mod models;
pub mod network;
pub mod norms;
pub mod optimizer;
pub mod order;
pub(crate) mod pointwise;
pub mod pool;
pub mod residual;
pub mod simd;
pub(crate) mod unfold;
pub(crate) mod winograd;

pub use layer::{LayerSpec, Mode, Shape};
pub use network::Network;
pub use optimizer::{Optimizer, OptimizerSpec, StepNorms};
