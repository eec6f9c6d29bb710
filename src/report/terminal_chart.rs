//! A learning-rate schedule as a chart of text: Braille dots on a logarithmic axis, at most 80 columns by 16 rows.
//!
//! Deliberately not here: colour, and asking how wide the terminal is. The same numbers give the same text everywhere.

use super::axis::Axis;
use std::fmt::Write as _;

/// Columns of the whole chart.
const COLUMNS: usize = 80;
/// Columns left of the plot: the label, a space, and the axis.
const LEFT: usize = 8;
/// Columns and rows of characters in the plot.
const PLOT: (usize, usize) = (COLUMNS - LEFT, 13);
/// Dots in the plot: a Braille character has two columns of four.
const DOTS: (usize, usize) = (2 * PLOT.0, 4 * PLOT.1);
/// Bits of a Braille character's dots, by row and column.
const BITS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
/// The Braille character without dots.
const BLANK: u32 = 0x2800;
/// What fills the range of several runs.
const SHADE: char = '░';

/// The learning rates of intervals 1, 2, … against a logarithmic axis, and the `range` (lowest, highest) of each
/// interval as a shade behind them; an empty range draws none. What is not finite or not above 0 is left out.
///
/// ```
/// use lrpilot::report::terminal_chart::terminal_chart;
/// let lrs: Vec<f64> = (0..30).map(|i| 0.1 * 0.8f64.powi(i)).collect();
/// let chart = terminal_chart(&lrs, &[]);
/// assert!(chart.lines().count() <= 16 && chart.lines().all(|line| line.chars().count() <= 80));
/// assert!(chart.starts_with("learning rate") && chart.contains("1e-2"));
/// ```
pub fn terminal_chart(lrs: &[f64], range: &[(f64, f64)]) -> String {
    let ends = range.iter().flat_map(|&(lowest, highest)| [lowest, highest]);
    let axis = Axis::log(lrs.iter().copied().chain(ends), (DOTS.1 - 1) as f64, 0.0);
    let row = |lr: f64| (lr.is_finite() && lr > 0.0).then(|| axis.position(lr).round() as usize);
    let mut cells = vec![[BLANK; PLOT.0]; PLOT.1];
    for (x, (top, bottom)) in stairs(lrs, row).into_iter().enumerate().filter_map(|(x, span)| Some((x, span?))) {
        for y in top..=bottom {
            cells[y / 4][x / 2] |= BITS[y % 4][x % 2];
        }
    }
    let highest = stairs(&range.iter().map(|r| r.1).collect::<Vec<_>>(), row);
    let lowest = stairs(&range.iter().map(|r| r.0).collect::<Vec<_>>(), row);
    let shaded = |x: usize, y: usize| match (highest[2 * x], lowest[2 * x]) {
        (Some((top, _)), Some((_, bottom))) => (top / 4..=bottom / 4).contains(&y),
        _ => false,
    };
    let labels = labels(&axis);
    let mut text = "learning rate (log axis)\n".to_owned();
    for (y, line) in cells.iter().enumerate() {
        let (label, mark) = labels[y].as_ref().map_or(("", '│'), |label| (label, '┤'));
        let drawn = line.iter().enumerate().map(|(x, cell)| match *cell {
            BLANK if shaded(x, y) => SHADE,
            BLANK => ' ',
            dots => char::from_u32(dots).unwrap_or(' '),
        });
        let drawn: String = drawn.collect();
        let _ = writeln!(text, "{label:>6} {mark}{}", drawn.trim_end());
    }
    let _ = writeln!(text, "{:>LEFT$}{}", '└', "─".repeat(PLOT.0));
    text + &below(lrs.len())
}

/// For each column of dots the rows (top, bottom) that the staircase of the values covers. A learning rate holds for a
/// whole interval, so the line is level there and upright between two intervals.
fn stairs(values: &[f64], row: impl Fn(f64) -> Option<usize>) -> Vec<Option<(usize, usize)>> {
    let mut spans = Vec::with_capacity(DOTS.0);
    let mut last: Option<usize> = None;
    for x in 0..DOTS.0 {
        let (begin, end) = (x * values.len() / DOTS.0, ((x + 1) * values.len()).div_ceil(DOTS.0));
        // With fewer intervals than dots a column may touch two; it belongs to the first.
        let end = if values.len() < DOTS.0 { (begin + 1).min(values.len()) } else { end };
        let rows: Vec<usize> = values[begin..end].iter().filter_map(|v| row(*v)).collect();
        let span = rows.iter().chain(&last).fold(None, |span: Option<(usize, usize)>, &y| {
            let (top, bottom) = span.unwrap_or((y, y));
            Some((top.min(y), bottom.max(y)))
        });
        last = rows.last().copied();
        spans.push(span.filter(|_| last.is_some()));
    }
    spans
}

/// The label of each row of the plot that has one.
fn labels(axis: &Axis) -> Vec<Option<String>> {
    let mut labels = vec![None; PLOT.1];
    for tick in axis.ticks() {
        let row = (axis.position(tick).round() as usize / 4).min(PLOT.1 - 1);
        let free = labels[row].is_none() && (row == 0 || labels[row - 1].is_none());
        if free {
            labels[row] = Some(format!("{tick:e}")).filter(|label| label.chars().count() <= 6);
        }
    }
    labels
}

/// The line below the horizontal axis: the first interval, the word, the last interval.
fn below(intervals: usize) -> String {
    let last = intervals.to_string();
    let between = PLOT.0.saturating_sub(1 + last.chars().count());
    format!("{:LEFT$}1{:^between$}{last}\n", "", "interval")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine() -> Vec<f64> {
        (0..50).map(|i| 0.05 * (1.0 + (std::f64::consts::PI * f64::from(i) / 50.0).cos())).collect()
    }

    #[test]
    fn a_cosine_looks_like_this() {
        let expected = "\
learning rate (log axis)
  1e-1 ┤⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠓⠒⠒⠒⠒⠒⠒⠒⠒⠦⠤⠤⠤⠤⢤⣀⣀⣀⣀⡀
       │                                ⠉⠉⠉⠓⠒⠲⠤⠤⢤⣀⣀⣀
       │                                           ⠈⠉⠉⠙⠒⠦⣄⣀
       │                                                  ⠈⠉⠓⠲⠤⣄⣀
  1e-2 ┤                                                        ⠈⠉⠓⢲⣀
       │                                                            ⠘⠒⠦⢤
       │                                                               ⠘⠒⣆⣀
       │                                                                  ⢸⣀⡀
  1e-3 ┤                                                                    ⣇⣀
       │                                                                     ⢸
       │                                                                     ⠘⠒⡆
       │                                                                       ⡇
  1e-4 ┤                                                                       ⣇
       └────────────────────────────────────────────────────────────────────────
        1                              interval                               50
";
        assert_eq!(terminal_chart(&cosine(), &[]), expected);
    }

    /// Read back from the dots, by the axis of the extremes: row 0 is the largest, row 51 the smallest learning rate.
    #[test]
    fn the_dots_say_the_learning_rates() {
        let lrs = cosine();
        let chart = terminal_chart(&lrs, &[]);
        let plot: Vec<Vec<u32>> =
            chart.lines().skip(1).take(PLOT.1).map(|l| l.chars().skip(LEFT).map(u32::from).collect()).collect();
        let dot = |x: usize, y: usize| {
            let cell = plot[y / 4].get(x / 2).copied().filter(|c| *c >= BLANK);
            cell.is_some_and(|cell| (cell - BLANK) & BITS[y % 4][x % 2] != 0)
        };
        let decades = (lrs[0] / lrs[49]).log10();
        for (interval, lr) in lrs.iter().enumerate() {
            let x = ((2 * interval + 1) * DOTS.0) / 100; // the middle of the interval's columns
            let y = ((lrs[0] / lr).log10() / decades * 51.0).round() as usize;
            assert!(dot(x, y), "interval {interval}: no dot at {x}, {y}");
        }
    }

    #[test]
    fn odd_numbers_stay_inside_the_chart() {
        let long: Vec<f64> = (0..10_000).map(|i| if i % 2 == 0 { 1e-3 } else { 1e-1 }).collect();
        let cases = [vec![], vec![0.1], vec![0.0, 0.0], vec![f64::NAN, 0.1, f64::INFINITY], vec![1e-300, 1e300], long];
        for lrs in cases {
            let range: Vec<(f64, f64)> = lrs.iter().map(|lr| (lr / 2.0, lr * 2.0)).collect();
            for chart in [terminal_chart(&lrs, &[]), terminal_chart(&lrs, &range)] {
                let widest = chart.lines().map(|l| l.chars().count()).max();
                assert!(chart.lines().count() <= 16 && widest <= Some(COLUMNS), "{chart}");
            }
        }
    }

    /// With one run there is no range; with a wide one there is shade on both sides of the line.
    #[test]
    fn a_range_is_shaded() {
        let lrs = [0.1; 20];
        assert!(!terminal_chart(&lrs, &[]).contains(SHADE));
        let shaded = terminal_chart(&lrs, &[(0.01, 1.0); 20]);
        let rows: Vec<&str> = shaded.lines().skip(1).take(PLOT.1).collect();
        assert!(rows[0].contains(SHADE) && rows[12].contains(SHADE) && !rows[6].contains(SHADE), "{shaded}");
    }
}
