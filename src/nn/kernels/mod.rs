//! The loops that take the time, over plain slices: matrix products, convolutions and sums. A kernel knows shapes but no
//! layers.

pub mod aligned;
pub(crate) mod conv1x1;
pub mod gemm;
pub(crate) mod im2col;
pub mod simd;
pub mod sums;
pub mod window;
pub(crate) mod winograd;
