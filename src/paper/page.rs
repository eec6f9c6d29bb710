//! `paper.html`: one file that needs nothing from outside.

use super::document::{PaperResults, PaperTable};
use crate::{Error, Result};
use askama::Template;

#[derive(Template)]
#[template(path = "paper.html")]
struct Page<'a> {
    results: &'a PaperResults,
    figures: Vec<Picture<'a>>,
    style: &'static str,
}

struct Picture<'a> {
    title: &'a str,
    caption: &'a str,
    command: &'a str,
    seeds: &'a str,
    /// The picture as an address, so that its style sheet stays its own.
    data: String,
}

impl PaperTable {
    /// Whether a row is of our own method, which the page highlights.
    fn is_ours(&self, label: &str) -> bool {
        label.starts_with("lrpilot")
    }
}

/// The page as text.
///
/// # Errors
/// [`Error::Bug`] only if the program's own template fails.
///
/// ```
/// use lrpilot::paper::{document::PaperResults, page::html};
/// assert!(html(&PaperResults { scale: "<smoke>".into(), ..PaperResults::default() })?.contains("&#60;smoke&#62;"));
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub fn html(results: &PaperResults) -> Result<String> {
    let figures = results.figures.iter().map(|f| Picture {
        title: &f.title,
        caption: &f.caption,
        command: &f.command,
        seeds: &f.seeds,
        data: data_address(&f.svg()),
    });
    let page = Page { results, figures: figures.collect(), style: include_str!("../../templates/report.css") };
    page.render().map_err(|e| Error::Bug(format!("paper.html: {e}")))
}

/// An SVG as the address of an image (RFC 2397), with everything encoded that a quoted attribute or an address minds.
fn data_address(svg: &str) -> String {
    let mut address = String::from("data:image/svg+xml;charset=utf-8,");
    for c in svg.chars() {
        match c {
            '%' | '#' | '"' | '<' | '>' | '&' | '\n' => address.push_str(&format!("%{:02X}", u32::from(c))),
            c => address.push(c),
        }
    }
    address
}
