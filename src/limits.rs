//! The largest numbers that a configuration may ask for.
//!
//! They are far above what anybody has used, and low enough that no product of them overflows 64 bits and that nothing
//! is allocated which a machine cannot have: a typing error is refused in words instead of ending the process.

/// Decision intervals in a run. A run records some 200 bytes for each, so this is 200 MB.
pub const HORIZON: u64 = 1_000_000;
/// Optimizer steps in an interval. The noisy quadratic keeps 16 bytes for each, so this is 160 MB.
pub const INTERVAL_STEPS: u64 = 10_000_000;
/// Dimensions of the noisy quadratic: 40 bytes each.
pub const DIMENSIONS: u64 = 10_000_000;
/// Images in a split or a batch: more than any of the data sets has.
pub const IMAGES: u64 = 1_000_000;
/// Classes: the cross-entropy computes the exponentials of a whole row at once, and has room for so many.
pub const CLASSES: u64 = 1024;
/// Numbers in a table that has been split and encoded: 4 GiB of f32.
pub const TABLE: u64 = 1 << 30;
/// Units, channels, and sides of kernels, paddings, strides and windows of a layer: their products fit in 64 bits.
pub const WIDTH: u64 = 1_000_000;
/// Layers in a network or in a policy's observation.
pub const LAYERS: u64 = 10_000;
/// Numbers that the networks of all environments hold together, parameters and activations of a batch: 32 GiB of f32.
pub const NUMBERS: u64 = 1 << 33;
/// Epochs of learning: more than a thousand years of epochs of a second.
pub const EPOCHS: u64 = 100_000_000_000;
/// Environments side by side.
pub const ENVIRONMENTS: u64 = 100_000;
/// Steps in a rollout, over all environments; each keeps some 100 bytes, so this is 1 GB.
pub const ROLLOUT: u64 = 10_000_000;
/// Snapshots of a policy that are tried, all in memory.
pub const CANDIDATES: u64 = 10_000;
/// Episodes that each snapshot is tried on, and seeds that each setting is tuned on.
pub const TRIALS: u64 = 100_000;
/// Passes over a rollout.
pub const PASSES: u64 = 1_000_000;
/// Units of a hidden layer of the agent's networks.
pub const HIDDEN: u64 = 65_536;
/// Parameters of the agent's networks: 1 GiB of f32.
pub const POLICY: u64 = 1 << 28;
/// Threads: more than any machine has cores.
pub const THREADS: u16 = 1024;
/// A seed: TOML, in which configurations are kept, has no larger whole number.
pub const SEED: u64 = i64::MAX as u64;
