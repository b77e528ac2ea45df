//! Kernels, predictions from them, and moments.

use std::fmt::Write as _;

use serde_json::Value;

use super::curves::plots;
use super::markup::{escape, markdown, png, svg};
use super::run::{Kind, Run};
use super::{PageError, of};

/// Pictures of one run that are shown.
const PICTURES: usize = 24;

/// Kernels beside training as curves, and pictures of those that were computed apart.
pub(super) fn section(runs: &[Run]) -> Result<String, PageError> {
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
    Ok(curves + &pictures(runs, "ntk")?)
}

/// Of the shares of a trace, those that are neither the constant image's nor what is left.
fn checkerboards(line: &Value) -> Option<f64> {
    let shares = line["pixels"]["trace_shares"].as_array()?;
    Some(shares.get(1..shares.len().max(2) - 1)?.iter().filter_map(Value::as_f64).sum())
}

/// Every picture in a folder of each run.
pub(super) fn pictures(runs: &[Run], folder: &str) -> Result<String, PageError> {
    let mut html = String::new();
    for run in runs {
        let files = run.files(folder, &["png", "svg"])?;
        let _ = match files.len().checked_sub(PICTURES) {
            Some(left @ 1..) => writeln!(html, "<p>{left} more pictures of {} are not shown.</p>", escape(&run.name)),
            _ => Ok(()),
        };
        for path in files.iter().take(PICTURES) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let caption = format!("{}: {name}", run.name);
            let picture = if path.extension().is_some_and(|e| e == "svg") {
                svg(&fs_err::read_to_string(path)?)
            } else {
                png(&fs_err::read(path)?, &caption)
            };
            let _ = writeln!(html, "<figure><figcaption>{}</figcaption>{picture}</figure>", escape(&caption));
        }
    }
    Ok(if html.is_empty() { html } else { format!("<div class=\"many\">\n{html}</div>\n") })
}

/// Tables and figures of measured moments, with the tangent kernels of the same networks.
pub(super) fn moments(runs: &[Run]) -> Result<String, PageError> {
    let mut html = String::new();
    for run in of(runs, Kind::Moments) {
        let report = run.dir.root().join("report.md");
        if !report.is_file() {
            continue;
        }
        let _ = writeln!(html, "<h3>{}</h3>\n{}", escape(&run.name), markdown(&fs_err::read_to_string(&report)?));
        html.push_str("<div class=\"many\">\n");
        for path in run.files("", &["svg"])? {
            let _ = writeln!(html, "<figure>{}</figure>", svg(&fs_err::read_to_string(&path)?));
        }
        html.push_str("</div>\n");
    }
    Ok(html)
}
