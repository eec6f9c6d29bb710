//! A page of histograms: what a distribution of tasks draws.

use super::html::Origin;
use crate::{Error, Result};
use askama::Template;

/// Intervals of a histogram of numbers.
const BINS: usize = 10;

/// How often what was drawn.
///
/// ```
/// use lrpilot::report::distribution::Histogram;
/// let lengths = Histogram::of_numbers("Steps", "", &[10.0, 20.0, 1000.0], true);
/// assert_eq!(lengths.bins().iter().map(|(_, count)| count).sum::<usize>(), 3);
/// let names = Histogram::of_names("Family", "", ["a", "b", "a"].into_iter());
/// assert_eq!(names.bins(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    title: String,
    note: String,
    bins: Vec<(String, usize)>,
}

impl Histogram {
    /// Of names, the most frequent first.
    pub fn of_names<'a>(title: &str, note: &str, names: impl Iterator<Item = &'a str>) -> Self {
        let mut bins = Vec::<(String, usize)>::new();
        for name in names {
            match bins.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => bins.push((name.to_owned(), 1)),
            }
        }
        bins.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Histogram { title: title.into(), note: note.into(), bins }
    }

    /// Of numbers, in ten intervals that are equally long, or, if `log`, equally long in the logarithm; numbers that are not
    /// finite, or not positive on a logarithmic scale, are left out.
    pub fn of_numbers(title: &str, note: &str, values: &[f64], log: bool) -> Self {
        let scale = |v: f64| if log { v.ln() } else { v };
        let values: Vec<f64> = values.iter().map(|v| scale(*v)).filter(|v| v.is_finite()).collect();
        let (lo, hi) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
        let mut counts = vec![0; if values.is_empty() { 0 } else { BINS }];
        for v in &values {
            let at = if hi > lo { (v - lo) / (hi - lo) * BINS as f64 } else { 0.0 };
            counts[(at as usize).min(BINS - 1)] += 1;
        }
        let edge = |i: usize| {
            let at = lo + (hi - lo) * i as f64 / BINS as f64;
            short(if log { at.exp() } else { at })
        };
        let bins = counts.into_iter().enumerate().map(|(i, count)| (format!("{} – {}", edge(i), edge(i + 1)), count));
        Histogram { title: title.into(), note: note.into(), bins: bins.collect() }
    }

    /// The same with another bar in front.
    pub fn with_first(mut self, name: &str, count: usize) -> Self {
        self.bins.insert(0, (name.to_owned(), count));
        self
    }

    /// Its bars: what, and how often.
    pub fn bins(&self) -> &[(String, usize)] {
        &self.bins
    }
}

/// An edge in about as many digits as tell neighbours apart.
fn short(edge: f64) -> String {
    match edge.abs() {
        1e5.. => format!("{edge:.1e}"),
        10.0.. => format!("{edge:.0}"),
        _ => format!("{edge:.2}"),
    }
}

#[derive(Template)]
#[template(path = "distribution.html")]
struct Page<'a> {
    title: &'a str,
    sentences: &'a [String],
    figures: Vec<Figure<'a>>,
    origin: Vec<(&'static str, &'a str)>,
    style: &'static str,
}

struct Figure<'a> {
    title: &'a str,
    note: &'a str,
    bars: Vec<Bar<'a>>,
}

struct Bar<'a> {
    name: &'a str,
    count: usize,
    percent: f64,
}

/// The page as text, with no script and nothing from outside.
///
/// ```
/// use lrpilot::report::distribution::{Histogram, render};
/// use lrpilot::report::html::Origin;
/// let family = Histogram::of_names("Family", "", ["images", "tables"].into_iter());
/// let page = render("Tasks <1>", &["Two tasks.".into()], &[family], &Origin::default())?;
/// assert!(page.contains("Tasks &#60;1&#62;") && page.contains("images"));
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Bug`] only if the program's own template fails.
pub fn render(title: &str, sentences: &[String], histograms: &[Histogram], origin: &Origin) -> Result<String> {
    let figure = |h: &'_ Histogram| -> Vec<f64> {
        let most = h.bins.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        h.bins.iter().map(|(_, count)| 100.0 * *count as f64 / most as f64).collect()
    };
    let figures = histograms.iter().map(|h| Figure {
        title: &h.title,
        note: &h.note,
        bars: h
            .bins
            .iter()
            .zip(figure(h))
            .map(|((name, count), percent)| Bar { name, count: *count, percent })
            .collect(),
    });
    let page = Page {
        title,
        sentences,
        figures: figures.collect(),
        origin: origin.rows(""),
        style: include_str!("../../templates/report.css"),
    };
    page.render().map_err(|e| Error::Bug(format!("the page of a distribution: {e}")))
}
