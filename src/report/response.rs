//! Small charts of how a policy answers to its inputs, as SVG inside a page; their style is the page's.

use super::axis::Axis;
use super::format::significant;
use super::xml::escape;
use crate::record::Response;
use std::fmt::Write as _;

/// Charts drawn at most.
pub const CHARTS_MAX: usize = 12;
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 176.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Height of the marks where the input was seen.
const MARK: f64 = 7.0;

/// A chart with its heading.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseFigure {
    /// Name of the input.
    pub name: String,
    /// Mean |influence|.
    pub influence: String,
    /// The chart, 320 × 176 units.
    pub svg: String,
}

/// Charts of the inputs that have an influence and a curve, in their order, twelve at most, all with the same axis for the
/// action.
///
/// ```
/// use lrpilot::{record::Response, report::response::response_figures};
/// let line = Response { name: "t/H".into(), influence: 0.5, typical: 0.5, curve: vec![(0.0, -1.0), (1.0, 1.0)],
///     seen: vec![0.0, 1.0] };
/// let constant = Response { name: "ln(H/50)".into(), influence: 0.0, typical: 0.0, curve: vec![], seen: vec![0.0] };
/// let figures = response_figures(&[line, constant]);
/// assert_eq!((figures.len(), figures[0].influence.as_str()), (1, "0.50"));
/// assert!(figures[0].svg.starts_with("<svg "));
/// ```
pub fn response_figures(responses: &[Response]) -> Vec<ResponseFigure> {
    let counts = |r: &&Response| r.influence > 0.0 && !r.curve.is_empty();
    let drawn: Vec<&Response> = responses.iter().filter(counts).take(CHARTS_MAX).collect();
    let actions = drawn.iter().flat_map(|r| &r.curve).map(|(_, action)| f64::from(*action));
    let y = Axis::linear(actions, HEIGHT - BOTTOM - MARK - 4.0, TOP);
    let figure = |r: &&Response| ResponseFigure {
        name: r.name.clone(),
        influence: short(f64::from(r.influence)),
        svg: svg(r, &y),
    };
    drawn.iter().map(figure).collect()
}

/// Two decimals, or as many as a small number needs.
fn short(value: f64) -> String {
    if value.abs() >= 0.01 || value == 0.0 { format!("{value:.2}") } else { significant(value) }
}

fn svg(response: &Response, y: &Axis) -> String {
    let x = Axis::linear(response.curve.iter().map(|(v, _)| f64::from(*v)), LEFT, WIDTH - RIGHT);
    let (right, base) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut svg = format!(
        "<svg class=\"response\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"action against {}\">",
        escape(&response.name)
    );
    for tick in every_other(y.ticks(), 4) {
        let (at, class) = (y.position(tick), if tick == 0.0 { "zero" } else { "line" });
        let _ = write!(
            svg,
            "<path class=\"{class}\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 7.0,
            at + 4.0
        );
    }
    for tick in every_other(x.ticks(), 5) {
        let at = x.position(tick);
        let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>", base + 17.0);
    }
    let middle = x.position(f64::from(response.typical));
    let _ = write!(svg, "<path class=\"typical\" d=\"M{middle:.1} {TOP}V{base}\"/><path class=\"seen\" d=\"");
    for value in &response.seen {
        let _ = write!(svg, "M{:.1} {base}v-{MARK}", x.position(f64::from(*value)));
    }
    svg += "\"/><path class=\"curve\" d=\"";
    for (i, (value, action)) in response.curve.iter().enumerate() {
        let command = if i == 0 { 'M' } else { 'L' };
        let (at_x, at_y) = (x.position(f64::from(*value)), y.position(f64::from(*action)));
        let _ = write!(svg, "{command}{at_x:.1} {at_y:.1}");
    }
    svg + "\"/></svg>"
}

/// At most `most` of the ticks, evenly; zero stays if there is one.
fn every_other(ticks: Vec<f64>, most: usize) -> Vec<f64> {
    let stride = ticks.len().div_ceil(most).max(1);
    let first = ticks.iter().position(|tick| *tick == 0.0).unwrap_or(0) % stride;
    ticks.into_iter().skip(first).step_by(stride).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ticks_are_left_and_zero_is_one_of_them() {
        assert_eq!(every_other(vec![-0.4, -0.2, 0.0, 0.2, 0.4, 0.6], 3), [-0.4, 0.0, 0.4]);
        assert_eq!(every_other(vec![-0.2, 0.0, 0.2, 0.4], 2), [0.0, 0.4]);
        assert_eq!(every_other(vec![1.0, 2.0], 4), [1.0, 2.0]);
        assert!(every_other(Vec::new(), 4).is_empty());
    }

    #[test]
    fn names_are_escaped() {
        let curve = vec![(0.0, 0.0), (1.0, 1.0)];
        let response = Response { name: "<b>\"".into(), influence: 1.0, typical: 0.5, curve, seen: vec![0.0, 1.0] };
        let svg = &response_figures(&[response])[0].svg;
        assert!(svg.contains("&lt;b&gt;&quot;") && !svg.contains("<b>") && !svg.contains("NaN"), "{svg}");
    }
}
