//! Line charts, above all of learning-rate schedules, as standalone SVGs, legible on light and dark pages.
//!
//! Deliberately not here: interaction (see [`super::html`]) and any other kind of chart.

use super::axis::Axis;
use super::xml::escape;
use std::fmt::Write as _;

/// One schedule to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct LrSeries {
    /// Label at the end of the line.
    pub name: String,
    /// (interval, learning rate) in the order of the intervals; points without a positive rate are left out.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
const LABEL_HEIGHT: f64 = 16.0;
const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#5c6370}\
.grid{stroke:#8b93a3;stroke-opacity:.25}.line{fill:none;stroke:#7b8494;stroke-width:1.6;stroke-linejoin:round}\
.s0 .line{stroke:#3b5bdb;stroke-width:3}.s0 text{fill:#3b5bdb;font-weight:600}\
.s2 .line{stroke-dasharray:7 4}.s3 .line{stroke-dasharray:2 3}.s4 .line{stroke-dasharray:9 3 2 3}\
.faint .line{stroke:#7b8494;stroke-width:.8;stroke-opacity:.45}\
@media (prefers-color-scheme:dark){text{fill:#a9b1bf}.s0 .line{stroke:#8ea6ff}\
.s0 text{fill:#8ea6ff}}";

/// Learning rate (log axis) against interval, 760 × 380 units, with labels at the ends of the lines. The first series
/// is the highlighted one. Its colours follow the reader's light or dark setting.
///
/// ```
/// use lrpilot::report::svg::{LrSeries, lr_chart};
/// let points = (1..=10).map(|i| (i as f64, 0.1 * 0.7f64.powi(i))).collect();
/// let svg = lr_chart(&[LrSeries { name: "exponential".into(), points }]);
/// assert!(svg.starts_with("<svg ") && svg.contains("exponential"));
/// ```
pub fn lr_chart(series: &[LrSeries]) -> String {
    line_chart("interval", "learning rate", series)
}

/// Any positive quantity (log axis) against any other, drawn as [`lr_chart`] does. Series without a name are drawn thin
/// and without a label.
///
/// ```
/// use lrpilot::report::svg::{LrSeries, line_chart};
/// let run = |name: &str| LrSeries { name: name.into(), points: vec![(1.0, 2.0), (2.0, 1.0)] };
/// assert!(line_chart("epoch", "validation loss", &[run("best"), run("")]).contains("validation loss"));
/// ```
pub fn line_chart(x_label: &str, y_label: &str, series: &[LrSeries]) -> String {
    let drawable = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && y > 0.0;
    let points = || series.iter().flat_map(|s| &s.points).copied().filter(drawable);
    let x = Axis::linear(points().map(|p| p.0), LEFT, WIDTH - RIGHT);
    let y = Axis::log(points().map(|p| p.1), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{} against {}\">\n<style>{STYLE}</style>\n",
        escape(y_label),
        escape(x_label)
    );
    draw_axes(&mut svg, &x, &y, x_label, y_label);
    let named: Vec<&LrSeries> = series.iter().filter(|s| !s.name.is_empty()).collect();
    let labels = label_positions(
        named
            .iter()
            .map(|s| s.points.iter().rev().copied().find(drawable).map_or(HEIGHT / 2.0, |(_, lr)| y.position(lr))),
    );
    // The highlighted series last, on top of the others.
    for s in series.iter().filter(|s| s.name.is_empty()) {
        let line = path(s.points.iter().copied().filter(drawable), &x, &y);
        let _ = writeln!(svg, "<g class=\"faint\"><path class=\"line\" d=\"{line}\"/></g>");
    }
    for (i, s) in named.iter().enumerate().rev() {
        let group = if i == 0 { 0 } else { 1 + (i - 1) % 4 };
        let _ = writeln!(svg, "<g class=\"s{group}\">");
        let line = path(s.points.iter().copied().filter(drawable), &x, &y);
        let _ = writeln!(svg, "<path class=\"line\" d=\"{line}\"/>");
        let (at_x, at_y) = (WIDTH - RIGHT + 10.0, labels[i] + 4.5);
        let _ = writeln!(svg, "<text x=\"{at_x:.1}\" y=\"{at_y:.1}\">{}</text>\n</g>", escape(&s.name));
    }
    svg + "</svg>\n"
}

fn draw_axes(svg: &mut String, x: &Axis, y: &Axis, x_label: &str, y_label: &str) {
    let (right, base) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let plain = y.ticks().iter().all(|tick| (0.1..1e4).contains(tick));
    for tick in y.ticks() {
        let at = y.position(tick);
        let label = if plain { tick.to_string() } else { format!("{tick:e}") };
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.5
        );
    }
    for tick in x.ticks() {
        let at = x.position(tick);
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>", base + 19.0);
    }
    let middle = (LEFT + right) / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        base + 38.0,
        escape(x_label)
    );
    let _ = writeln!(svg, "<text x=\"6\" y=\"18\">{}</text>", escape(y_label));
}

/// The `d` of a path through the points.
fn path(points: impl Iterator<Item = (f64, f64)>, x: &Axis, y: &Axis) -> String {
    let mut d = String::new();
    for (px, py) in points {
        let command = if d.is_empty() { 'M' } else { 'L' };
        let _ = write!(d, "{command}{:.1} {:.1}", x.position(px), y.position(py));
    }
    d
}

/// Heights of labels near the wanted ones, at least a line apart.
fn label_positions(wanted: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = wanted.enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut positions = vec![0.0; order.len()];
    let mut lowest_free = f64::NEG_INFINITY;
    for &(i, wanted) in &order {
        positions[i] = wanted.max(lowest_free);
        lowest_free = positions[i] + LABEL_HEIGHT;
    }
    // If that ran over the bottom, push back up from there.
    let mut highest_free = HEIGHT - BOTTOM;
    for &(i, _) in order.iter().rev() {
        positions[i] = positions[i].min(highest_free);
        highest_free = positions[i] - LABEL_HEIGHT;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap_and_stay_inside() {
        let placed = label_positions([330.0, 331.0, 100.0, 329.0].into_iter());
        let mut sorted = placed.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|w| w[1] - w[0] >= LABEL_HEIGHT), "{placed:?}");
        assert!(sorted[3] <= HEIGHT - BOTTOM);
        assert_eq!(placed[2], 100.0, "a free label stays where it was");
    }

    #[test]
    fn names_are_escaped_and_bad_points_left_out() {
        let points = vec![(1.0, 0.1), (2.0, f64::NAN), (3.0, 0.0), (4.0, 0.01)];
        let svg = lr_chart(&[LrSeries { name: "<b>&".into(), points }]);
        assert!(svg.contains("&lt;b&gt;&amp;") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_still_a_picture() {
        let svg = lr_chart(&[]);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
