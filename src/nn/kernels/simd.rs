//! Run-time choice of the vector instructions.

/// Run `f`, compiled for each instruction set that `pulp` knows (AVX-512, AVX2 + FMA, baseline, NEON), with the best one
/// that this machine has. Loops inside must be inlined into `f` to profit.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Values of the positions that are added up side by side: sums then run in enough chains to hide the latency of an
/// addition, whatever the number of channels.
pub(crate) fn slab_len(channels: usize) -> usize {
    128usize.next_multiple_of(channels)
}
