//! A single HTML page about runs that needs no server, no network and no other file.

mod curves;
mod kernels;
mod markup;
mod numbers;
mod run;
mod samples;
mod settings;

use std::path::PathBuf;

use fintan_artifact::{Comparison, RunError};
use maud::{DOCTYPE, Markup, html};

use self::markup::{as_it_is, is_empty, policy, text};
use self::run::{Kind, Run, tell_apart};
use crate::plot::PlotError;

/// A run to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Its directory.
    pub root: PathBuf,
    /// Its layers with their regimes at initialisation; the caller computes them.
    pub layers: Vec<LayerRegime>,
}

/// A layer with its regime.
///
/// ```
/// let layer = fintan_report::LayerRegime {
///     network: "generator".into(),
///     layer: "1 deconv".into(),
///     r: Some(1.47),
///     regime: Some("chaos".into()),
///     behind_batch_norm: false,
/// };
/// assert_eq!(layer.regime.as_deref(), Some("chaos"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRegime {
    /// The network it belongs to.
    pub network: String,
    /// Index of its parameters, and its kind.
    pub layer: String,
    /// Its characteristic value; `None` for a first layer.
    pub r: Option<f64>,
    /// Order, edge or chaos.
    pub regime: Option<String>,
    /// Whether a batch norm is in front of it, whose effect r does not include.
    pub behind_batch_norm: bool,
}

/// The error for a page that cannot be made.
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

/// A section of the page: its title and its content.
type Section = (&'static str, Markup);

/// The page about several runs, with the table of a comparison if there is one.
///
/// ```
/// let html = fintan_report::page(&[], None)?;
/// assert!(html.starts_with("<!DOCTYPE html>"));
/// # Ok::<(), fintan_report::PageError>(())
/// ```
///
/// # Errors
/// Damaged runs, or missing pictures.
pub fn page(shown: &[Shown], comparison: Option<&Comparison>) -> Result<String, PageError> {
    let read = shown.iter().map(|run| Run::read(&run.root, &run.layers));
    let mut runs = read.collect::<Result<Vec<Run>, _>>()?;
    tell_apart(&mut runs);
    let mut sections: Vec<Section> = Vec::new();
    let mut add = |name: &'static str, section: Markup| {
        if !is_empty(&section) {
            sections.push((name, section));
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

/// The only script of the page; it moves the slider.
const SCRIPT: &str = include_str!("page.js");

fn whole(runs: &[Run], sections: &[Section]) -> String {
    let mut groups: Vec<&str> = runs.iter().map(|run| run.group.as_str()).collect();
    groups.dedup();
    let title = text(groups.join(", "));
    let style = format!("{}{}", include_str!("page.css"), curves::style());
    let anchor = |name: &str| name.to_lowercase().replace(' ', "-");
    let page = html! {
        (DOCTYPE) "\n"
        html lang="en" {
            "\n" head {
                "\n" meta charset="utf-8";
                "\n" meta http-equiv="Content-Security-Policy" content=(policy(&style, SCRIPT));
                "\n" meta name="viewport" content="width=device-width, initial-scale=1";
                "\n" meta name="color-scheme" content="light dark";
                "\n" title { (title) }
                "\n" style { (as_it_is(&style)) }
                "\n"
            }
            "\n" body {
                "\n" header {
                    h1 { (title) }
                    "\n" nav { @for (name, _) in sections { a href=(format!("#{}", anchor(name))) { (name) } " " } }
                }
                "\n" main {
                    "\n"
                    @for (name, section) in sections {
                        section id=(anchor(name)) { "\n" h2 { (name) } "\n" (section) } "\n"
                    }
                }
                "\n" script { (as_it_is(SCRIPT)) }
                "\n"
            }
            "\n"
        }
        "\n"
    };
    page.into_string()
}

/// The runs of one kind.
fn of<'r, 'a>(runs: &'r [Run<'a>], kind: Kind) -> impl Iterator<Item = &'r Run<'a>> {
    runs.iter().filter(move |run| run.kind == kind)
}
