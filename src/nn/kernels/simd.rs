//! Run-time choice of the vector instructions.

/// Runs `f` with the best instruction set of this machine. `f` is compiled for each one that `pulp` knows (AVX-512,
/// AVX2 + FMA, baseline, NEON); only loops that are inlined into `f` profit.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Slab length: a multiple of `channels` that is long enough for sums to run in at least 128 independent chains, which hides the
/// latency of an addition.
pub(crate) fn slab_len(channels: usize) -> usize {
    128usize.next_multiple_of(channels)
}
