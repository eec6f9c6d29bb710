//! The loops that take the time, on plain slices: matrix products, convolutions, sums.

pub mod aligned;
pub(crate) mod conv1x1;
pub mod gemm;
pub(crate) mod im2col;
pub mod simd;
pub mod sums;
pub(crate) mod winograd;
