//! The identity of a job: equal specifications have equal ids, on every machine and in every version.

use crate::settings::canonical_json;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// sha256 (64 lower-case hex digits) of the canonical JSON of `spec`.
///
/// A job is a pure function of its specification, so a result stored under this id need not be computed again.
///
/// ```
/// use lrpilot::store::identity::job_id;
/// #[derive(serde::Serialize)]
/// struct Spec { method: &'static str, seed: u64 }
/// // printf '{"method":"cosine","seed":3}' | sha256sum
/// assert_eq!(
///     job_id(&Spec { method: "cosine", seed: 3 }),
///     "5da13773212e49a0feeab0666ef3004c6e98985bc82f229c98630f678624e190"
/// );
/// ```
///
/// # Panics
/// As [`canonical_json`].
pub fn job_id(spec: &impl Serialize) -> String {
    sha256_hex(canonical_json(spec).as_bytes())
}

/// sha256 of `bytes` as 64 lower-case hex digits.
///
/// ```
/// // FIPS 180-2, appendix B.1
/// assert_eq!(
///     lrpilot::store::identity::sha256_hex(b"abc"),
///     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
/// );
/// ```
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
