//! Random streams keyed by (seed, purpose, index).
//!
//! Every random number in the crate comes from such a stream, so nothing has to be replayed on resume and no result
//! depends on threads, workers or arrival order. There is no process-wide generator.

use rand::SeedableRng;

/// The generator behind every stream.
pub type Rng = rand::rngs::ChaCha8Rng;

/// What a stream is for; two purposes never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights of the trained network.
    Weights = 1,
    /// Order of the training examples; index = epoch.
    BatchOrder = 2,
    /// Dropout masks; index = optimizer step.
    Dropout = 3,
    /// Which examples go to which split, and which labels are noised.
    Data = 4,
    /// Initial learning rate of an episode.
    InitialLr = 5,
    /// Random part of a reward; index = decision.
    Reward = 6,
    /// Initial weights of the policy and value networks.
    Policy = 7,
    /// Sampled actions; index = environment × 2³² + decision.
    Action = 8,
    /// Minibatch permutation of an update; index = update × 2¹⁶ + epoch.
    Minibatch = 9,
    /// Seeds of episodes; index = episode.
    Episode = 10,
    /// Resampling in intervals (index 0, read as a stream); seeds of evaluations and of their replays (as derived seeds).
    Bootstrap = 11,
    /// Initial state of a test environment.
    Environment = 12,
    /// Which task of a distribution an episode trains.
    TaskDraw = 13,
    /// What an episode of a pretrained policy's learning keeps from it, and where it starts.
    Mask = 14,
    /// Resampling of the tasks of a suite.
    TaskBootstrap = 17,
}

/// The stream for `purpose` number `index` under `seed`.
///
/// ```
/// use lrpilot::rng::{stream, Purpose};
/// use rand::Rng;
/// let mut a = stream(7, Purpose::Weights, 0);
/// let mut b = stream(7, Purpose::Weights, 0);
/// assert_eq!(a.next_u64(), b.next_u64());
/// ```
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    key[24..].copy_from_slice(b"lrpilot1");
    Rng::from_seed(key)
}

/// A seed derived from `(seed, purpose, index)`, for something that itself takes a seed.
pub fn derive_seed(seed: u64, purpose: Purpose, index: u64) -> u64 {
    use rand::Rng as _;
    stream(seed, purpose, index).next_u64()
}

// What seeds are derived for. The upper bits of an index keep roles apart that share a purpose: episodes of learning stay
// below 2⁶¹, since there are fewer than 2²⁹ environments.

/// Seed of episode number `episode` of the environment number `env` in learning.
///
/// ```
/// use lrpilot::rng::{episode_seed, evaluation_seed, replay_source_seed, selection_seed, sensitivity_seed, tuning_seed};
/// let of_roles = [episode_seed(7, 0, 0), selection_seed(7, 0), tuning_seed(7, 0), evaluation_seed(7, 0),
///     replay_source_seed(7), sensitivity_seed(7, 0)];
/// assert!((0..6).all(|i| (0..i).all(|j| of_roles[i] != of_roles[j])));
/// ```
pub fn episode_seed(seed: u64, env: u64, episode: u64) -> u64 {
    derive_seed(seed, Purpose::Episode, env << 32 | episode)
}

/// Seed of run number `i` on which the candidates for a policy are tried.
pub fn selection_seed(seed: u64, i: u64) -> u64 {
    derive_seed(seed, Purpose::Episode, 1 << 63 | i)
}

/// Seed of run number `i` on which each setting of a tuned schedule is tried.
pub fn tuning_seed(seed: u64, i: u64) -> u64 {
    derive_seed(seed, Purpose::Episode, 1 << 62 | i)
}

/// Seed of episode number `i` over which the sensitivities of a policy are taken.
pub fn sensitivity_seed(seed: u64, i: u64) -> u64 {
    derive_seed(seed, Purpose::Episode, 1 << 61 | i)
}

/// Fresh seed number `i` of an evaluation.
pub fn evaluation_seed(seed: u64, i: u64) -> u64 {
    derive_seed(seed, Purpose::Bootstrap, 1 + i)
}

/// Seed of the run whose learning rates are replayed on the fresh seeds.
pub fn replay_source_seed(seed: u64) -> u64 {
    derive_seed(seed, Purpose::Bootstrap, 0)
}
