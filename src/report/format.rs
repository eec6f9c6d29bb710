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

/// `text` in lines of at most `width` characters, broken at spaces; all lines but the first begin with `indent` spaces.
/// Spaces at the beginning stay. A word that is longer than a line has one for itself.
///
/// ```
/// use lrpilot::report::format::wrap;
/// assert_eq!(wrap("one two three", 9, 2), "one two\n  three");
/// ```
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let start = text.len() - text.trim_start().len();
    let (mut wrapped, mut column) = (text[..start].to_owned(), start);
    let mut first_in_line = true;
    for word in text.split_ascii_whitespace() {
        let length = word.chars().count();
        if !first_in_line && column + 1 + length > width {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            (column, first_in_line) = (indent, true);
        }
        if !first_in_line {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        (column, first_in_line) = (column + length, false);
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No word is lost, no line is too long, and none could have taken the next line's first word.
        #[test]
        fn wrapped_text_is_the_same_words_in_full_lines(words in prop::collection::vec("[a-zé—]{1,9}", 0..40), indent in 0usize..4) {
            let wrapped = wrap(&words.join(" "), 20, indent);
            prop_assert_eq!(wrapped.split_whitespace().collect::<Vec<_>>(), words);
            let lines: Vec<&str> = wrapped.lines().collect();
            for (i, line) in lines.iter().enumerate() {
                prop_assert!(line.chars().count() <= 20);
                prop_assert!(i == 0 || line.chars().take_while(|c| *c == ' ').count() == indent);
                let next = lines.get(i + 1).and_then(|l| l.split_whitespace().next());
                prop_assert!(next.is_none_or(|word| line.chars().count() + 1 + word.chars().count() > 20));
            }
        }
    }

    #[test]
    fn a_long_word_stands_alone_and_leading_spaces_stay() {
        assert_eq!(wrap("  a 12345678 b", 6, 1), "  a\n 12345678\n b");
    }
}
