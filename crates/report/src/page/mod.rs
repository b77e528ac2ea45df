//! Runs as one page of HTML that needs nothing but itself: no server, no network, no other file.

mod curves;
mod kernels;
mod markup;
mod numbers;
mod run;
mod samples;
mod settings;

use std::fmt::Write as _;
use std::path::PathBuf;

use fintan_artifact::{Comparison, RunError};

use self::markup::escape;
use self::run::{Kind, Run, tell_apart};
use crate::plot::PlotError;

/// A run that is to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Its directory.
    pub root: PathBuf,
    /// Its layers with their regimes at the start, which someone else computes.
    pub layers: Vec<Layer>,
}

/// A layer with its regime.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The network it belongs to.
    pub network: String,
    /// Index of its parameters, and what it is.
    pub layer: String,
    /// Its characteristic value; none for a first layer.
    pub r: Option<f64>,
    /// Order, edge or chaos.
    pub regime: Option<String>,
    /// Whether a batch norm stands before it, which r does not see.
    pub behind_batch_norm: bool,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A run that cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A plot that cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

impl From<std::io::Error> for PageError {
    fn from(e: std::io::Error) -> Self {
        Self::Run(e.into())
    }
}

/// A part of the page: what it is called, and its HTML.
type Section = (&'static str, String);

/// The page of runs, with the table of a comparison where there is one.
///
/// # Errors
/// Runs that are damaged, and pictures that are missing.
pub fn page(shown: &[Shown], comparison: Option<&Comparison>) -> Result<String, PageError> {
    let read = shown.iter().map(|run| Run::read(&run.root, &run.layers));
    let mut runs = read.collect::<Result<Vec<Run>, _>>()?;
    tell_apart(&mut runs);
    let mut sections: Vec<Section> = Vec::new();
    let mut add = |name: &'static str, html: String| {
        if !html.is_empty() {
            sections.push((name, html));
        }
    };
    add("Comparison", comparison.map(numbers::comparison).unwrap_or_default());
    add("Samples", samples::grids(&runs)?);
    add("Metrics", numbers::metrics(&runs));
    add("Differences", settings::section(&runs));
    add("Regimes at the start", numbers::regimes(&runs));
    add("Training", curves::section(&runs)?);
    add("Health", numbers::health(&runs));
    add("Interpolations and samples", samples::drawn(&runs)?);
    add("Kernels", kernels::section(&runs)?);
    add("Predictions", kernels::pictures(&runs, "flow")?);
    add("Moments", kernels::moments(&runs)?);
    Ok(whole(&runs, &sections))
}

fn whole(runs: &[Run], sections: &[Section]) -> String {
    let mut groups: Vec<&str> = runs.iter().map(|run| run.group.as_str()).collect();
    groups.dedup();
    let title = escape(&groups.join(", "));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <header><h1>{title}</h1>\n<nav>",
        include_str!("page.css")
    );
    let anchor = |name: &str| name.to_lowercase().replace(' ', "-");
    for (name, _) in sections {
        let _ = write!(html, "<a href=\"#{}\">{name}</a> ", anchor(name));
    }
    html.push_str("</nav></header>\n<main>\n");
    for (name, section) in sections {
        let _ = write!(html, "<section id=\"{}\">\n<h2>{name}</h2>\n{section}</section>\n", anchor(name));
    }
    let _ = write!(html, "</main>\n<script>\n{}</script>\n</body>\n</html>\n", include_str!("page.js"));
    html
}

/// The runs of a kind.
fn of<'r, 'a>(runs: &'r [Run<'a>], kind: Kind) -> impl Iterator<Item = &'r Run<'a>> {
    runs.iter().filter(move |run| run.kind == kind)
}
