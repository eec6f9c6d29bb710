//! How numbers are written for people: one place, so that terminal, Markdown and HTML agree.

use crate::record::Estimate;

/// A number to 4 significant digits: plain between 10⁻³ and 10⁵, scientific outside; `—` if not finite.
///
/// ```
/// use lrpilot::report::format::significant;
/// assert_eq!(significant(0.123456), "0.1235");
/// assert_eq!(significant(12.3456), "12.35");
/// assert_eq!(significant(0.99999), "1.000");
/// assert_eq!(significant(0.00001234), "1.234e-5");
/// assert_eq!(significant(f64::NAN), "—");
/// ```
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "—".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    // Through scientific notation first, so that 0.99999 counts as 1.000 and not as 1.0000.
    let scientific = format!("{value:.3e}");
    let exponent: i32 = scientific.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    if (-3..5).contains(&exponent) { format!("{value:.*}", (3 - exponent).max(0) as usize) } else { scientific }
}

/// A learning rate in scientific notation with 3 significant digits.
///
/// ```
/// assert_eq!(lrpilot::report::format::learning_rate(0.00316), "3.16e-3");
/// ```
pub fn learning_rate(value: f64) -> String {
    if value.is_finite() { format!("{value:.2e}") } else { "—".into() }
}

/// A count with a thin space between thousands.
///
/// ```
/// assert_eq!(lrpilot::report::format::count(1234567), "1\u{202f}234\u{202f}567");
/// ```
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + 6);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// An estimate as `iqm [lo, hi]`.
///
/// ```
/// use lrpilot::{record::Estimate, report::format::estimate};
/// let e = Estimate { iqm: 0.25, lo: 0.2, hi: 0.3, values: vec![0.25] };
/// assert_eq!(estimate(&e), "0.2500 [0.2000, 0.3000]");
/// ```
pub fn estimate(estimate: &Estimate) -> String {
    let Estimate { iqm, lo, hi, values: _ } = estimate;
    if iqm.is_finite() {
        format!("{} [{}, {}]", significant(*iqm), significant(*lo), significant(*hi))
    } else {
        "—".into()
    }
}
