//! Run-time choice of the vector instructions.

/// Run `f`, compiled for each instruction set that `pulp` knows (AVX-512, AVX2 + FMA, baseline, NEON), with the best one
/// that this machine has. Loops inside must be inlined into `f` to profit.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
