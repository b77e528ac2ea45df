//! Kernels, predictions from kernels, and moments.

use maud::{Markup, html};
use serde_json::Value;

use super::curves::plots;
use super::markup::{markdown, text};
use super::run::{Kind, Run, picture};
use super::{PageError, of};

/// Largest number of pictures shown for one run.
const PICTURES: usize = 24;

/// Curves of kernels measured during training, and pictures of kernels that were computed separately.
pub(super) fn section(runs: &[Run]) -> Result<Markup, PageError> {
    let observed: Vec<_> =
        runs.iter().filter(|run| !run.kernels.is_empty()).map(|run| (run, &run.kernels[..])).collect();
    let curves = plots(
        &observed,
        &[
            ("Trace of the kernel", true, &[|l: &Value| l["trace"].as_f64()]),
            ("Drift since the first, relative", false, &[|l| l["drift"].as_f64()]),
            ("Condition number", true, &[|l| l["condition_number"].as_f64()]),
            ("Effective rank", false, &[|l| l["effective_rank"].as_f64()]),
            ("Share of the trace in checkerboards", false, &[checkerboards]),
            ("Border over interior", false, &[|l| l["pixels"]["border_ratio"].as_f64()]),
        ],
        |line| line["step"].as_u64().unwrap_or_default(),
    )?;
    let pictures = pictures(runs, "ntk")?;
    Ok(html! { (curves) (pictures) })
}

/// The share of the trace in checkerboards: the sum without the first share (constant image) and the last (other patterns).
fn checkerboards(line: &Value) -> Option<f64> {
    let shares = line["pixels"]["trace_shares"].as_array()?;
    Some(shares.get(1..shares.len().max(2) - 1)?.iter().filter_map(Value::as_f64).sum())
}

/// All pictures in a folder of each run.
pub(super) fn pictures(runs: &[Run], folder: &str) -> Result<Markup, PageError> {
    let mut figures: Vec<Markup> = Vec::new();
    for run in runs {
        let files = run.files(folder, &["png", "svg"])?;
        let left = files.len().saturating_sub(PICTURES);
        if left > 0 {
            figures.push(html! { p { (left) " more pictures of " (text(&run.name)) " are not shown." } "\n" });
        }
        for path in files.iter().take(PICTURES) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let caption = format!("{}: {name}", run.name);
            let picture = picture(path)?.map_or_else(|why| why, |picture| picture.html(&caption));
            figures.push(html! { figure { figcaption { (text(caption)) } (picture) } "\n" });
        }
    }
    if figures.is_empty() {
        return Ok(Markup::default());
    }
    Ok(html! { div.many { "\n" @for figure in figures { (figure) } } "\n" })
}

/// Tables and figures of measured moments, with the tangent kernels of the same networks.
pub(super) fn moments(runs: &[Run]) -> Result<Markup, PageError> {
    let mut parts: Vec<Markup> = Vec::new();
    for run in of(runs, Kind::Moments) {
        let Some(report) = run.text("report.md")? else { continue };
        let mut figures: Vec<Markup> = Vec::new();
        for path in run.files("", &["svg"])? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let picture = picture(&path)?.map_or_else(|why| why, |picture| picture.html(&name));
            figures.push(html! { figure { (picture) } "\n" });
        }
        parts.push(html! {
            h3 { (text(&run.name)) } "\n" (markdown(&report))
            div.many { "\n" @for figure in figures { (figure) } } "\n"
        });
    }
    Ok(html! { @for part in parts { (part) } })
}
