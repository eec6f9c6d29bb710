//! Plain text for a terminal of 80 columns.

/// Columns that help texts keep to.
pub const WIDTH: usize = 80;

/// Append `text` in lines of at most [`WIDTH`] columns, broken at spaces: the first begins with `first`, the others with
/// `rest`. A word that is longer than a line stands alone.
///
/// ```
/// let mut out = String::new();
/// lrpilot::cli::text::wrap(&mut out, "# ", "#   ", &"word ".repeat(20));
/// assert_eq!(out.lines().count(), 2);
/// assert!(out.lines().all(|line| line.chars().count() <= 80) && out.ends_with("\n#   word word word word word\n"));
/// ```
pub fn wrap(out: &mut String, first: &str, rest: &str, text: &str) {
    let mut line = first.to_owned();
    let mut begun = false;
    for word in text.split_whitespace() {
        if begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = rest.to_owned();
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Append `name` and, from column `column` on, what there is to say about it.
pub fn item(out: &mut String, column: usize, name: &str, text: &str) {
    let indent = " ".repeat(column);
    let first = format!("  {name}");
    if first.chars().count() + 2 > column {
        out.push_str(&first);
        out.push('\n');
        wrap(out, &indent, &indent, text);
    } else {
        wrap(out, &format!("{first:column$}"), &indent, text);
    }
}
