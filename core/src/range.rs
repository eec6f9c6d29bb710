//! Ranges of configuration values: one check and one wording for all of them.

use crate::{Error, Result};
use std::fmt::Display;

/// What a number in a configuration must be. NaN is in no range, infinity neither.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Any finite number.
    Finite,
    /// A finite number > 0.
    Positive,
    /// A finite number ≥ 0.
    NotNegative,
    /// A finite number ≤ 0.
    NotPositive,
    /// A finite number ≥ 1.
    AtLeastOne,
    /// A finite number above another one.
    Above(f64),
    /// In (0, 1).
    Inside,
    /// In [0, 1].
    Share,
    /// In [0, 1).
    BelowOne,
    /// In (0, 1].
    Factor,
}

impl Range {
    /// Whether `value` is in the range.
    pub fn contains(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Range::Finite => true,
                Range::Positive => value > 0.0,
                Range::NotNegative => value >= 0.0,
                Range::NotPositive => value <= 0.0,
                Range::AtLeastOne => value >= 1.0,
                Range::Above(least) => value > least,
                Range::Inside => value > 0.0 && value < 1.0,
                Range::Share => (0.0..=1.0).contains(&value),
                Range::BelowOne => (0.0..1.0).contains(&value),
                Range::Factor => value > 0.0 && value <= 1.0,
            }
    }

    /// The range in words.
    pub fn words(self) -> String {
        match self {
            Range::Finite => "a finite number".into(),
            Range::Positive => "a finite number > 0".into(),
            Range::NotNegative => "a finite number ≥ 0".into(),
            Range::NotPositive => "a finite number ≤ 0".into(),
            Range::AtLeastOne => "a finite number ≥ 1".into(),
            Range::Above(least) => format!("a finite number above {least}"),
            Range::Inside => "a number in (0, 1)".into(),
            Range::Share => "a number in [0, 1]".into(),
            Range::BelowOne => "a number in [0, 1)".into(),
            Range::Factor => "a number in (0, 1]".into(),
        }
    }
}

/// Whether the number at `place` is in `range`.
///
/// ```
/// use lrpilot_core::range::{Range, check};
/// assert!(check("ppo.gamma", 0.99, Range::Share).is_ok());
/// let error = check("ppo.gamma", f64::NAN, Range::Share).unwrap_err();
/// assert_eq!(error.to_string(), "ppo.gamma: NaN is not a number in [0, 1]; give one that is");
/// ```
///
/// # Errors
/// [`Error::Config`] naming the place, the value and the range.
pub fn check(place: impl Display, value: f64, range: Range) -> Result<()> {
    if range.contains(value) {
        return Ok(());
    }
    Err(Error::config(place.to_string(), format!("{value} is not {}", range.words()), "give one that is"))
}

/// Whether the whole number at `place` is between `least` and `most`, both included.
///
/// ```
/// use lrpilot_core::range::count;
/// assert!(count("learn.epochs", 10, 1, 100).is_ok());
/// let error = count("learn.epochs", 0, 1, 100).unwrap_err();
/// assert_eq!(error.to_string(), "learn.epochs: 0 is not a whole number ≥ 1; give at least 1");
/// let error = count("learn.epochs", 101, 1, 100).unwrap_err();
/// assert_eq!(error.to_string(), "learn.epochs: 101 is not a whole number ≤ 100; give at most 100");
/// ```
///
/// # Errors
/// [`Error::Config`] naming the place, the value and the bound.
pub fn count(place: impl Display, value: impl TryInto<u64> + Display, least: u64, most: u64) -> Result<()> {
    let (text, place) = (value.to_string(), place.to_string());
    // A number that u64 does not hold is too large, unless it has a sign.
    let value = value.try_into().unwrap_or(if text.starts_with('-') { 0 } else { u64::MAX });
    if value < least || text.starts_with('-') {
        return Err(Error::config(
            place,
            format!("{text} is not a whole number ≥ {least}"),
            format!("give at least {least}"),
        ));
    }
    if value > most {
        return Err(Error::config(
            place,
            format!("{text} is not a whole number ≤ {most}"),
            format!("give at most {most}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of every range, by the mathematical notation of its words; what is not finite is in none.
    #[test]
    fn ranges_have_the_ends_that_they_say() {
        let cases = [
            (Range::Finite, &[-1e300, 0.0, 1e300][..], &[][..]),
            (Range::Positive, &[1e-300, 1e300], &[-1.0, 0.0]),
            (Range::NotNegative, &[0.0, 1e300], &[-1e-300]),
            (Range::NotPositive, &[0.0, -1e300], &[1e-300]),
            (Range::AtLeastOne, &[1.0, 2.0], &[0.999, -1.0]),
            (Range::Above(0.5), &[0.51], &[0.5, 0.0]),
            (Range::Inside, &[1e-9, 0.999], &[0.0, 1.0]),
            (Range::Share, &[0.0, 1.0], &[-1e-9, 1.001]),
            (Range::BelowOne, &[0.0, 0.999], &[-1e-9, 1.0]),
            (Range::Factor, &[1e-9, 1.0], &[0.0, 1.001]),
        ];
        for (range, inside, outside) in cases {
            assert!(inside.iter().all(|v| range.contains(*v)), "{range:?}");
            let never = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            assert!(!outside.iter().chain(&never).any(|v| range.contains(*v)), "{range:?}");
        }
    }
}
