//! Range checks of configuration values: those of [`lrpilot_core::range`] with this crate's error.

use crate::Result;
pub use lrpilot_core::range::Range;
use std::fmt::Display;

/// Whether the number at `place` is in `range`.
///
/// ```
/// use lrpilot::range::{Range, check};
/// let error = check("ppo.gamma", f64::NAN, Range::Share).unwrap_err();
/// assert_eq!(error.to_string(), "ppo.gamma: NaN is not a number in [0, 1]; give one that is");
/// ```
///
/// # Errors
/// [`crate::Error::Config`] naming the place, the value and the range.
pub fn check(place: impl Display, value: f64, range: Range) -> Result<()> {
    Ok(lrpilot_core::range::check(place, value, range)?)
}

/// Whether the whole number at `place` is between `least` and `most`, both included.
///
/// # Errors
/// [`crate::Error::Config`] naming the place, the value and the bound.
pub fn count(place: impl Display, value: impl TryInto<u64> + Display, least: u64, most: u64) -> Result<()> {
    Ok(lrpilot_core::range::count(place, value, least, most)?)
}

/// Whether `bounds` are finite, positive and in order.
///
/// # Errors
/// [`crate::Error::Config`] naming the place and the values.
pub fn bounds(place: &str, bounds: (f64, f64)) -> Result<()> {
    Ok(lrpilot_core::control::check_bounds(place, bounds)?)
}
