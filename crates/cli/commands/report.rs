//! `fintan report`

use std::path::{Path, PathBuf};

use fintan_artifact::{Comparison, RunDir, write_whole};
use fintan_config::{Architecture, MemoryBound, Subject};
use fintan_report::{Layer, Shown, page};
use fintan_theory::{Regime, regimes};

use super::settings_of_run::subject_of_run;
use crate::args::Report;
use crate::failure::Failure;
use crate::voice::{answer, answer_json};

/// Puts runs on one page.
pub(super) fn report(args: &Report) -> Result<(), Failure> {
    let (mut roots, mut comparison) = (Vec::new(), None);
    for path in &args.runs {
        if path.join("compare.json").is_file() {
            if comparison.is_some() || args.runs.len() > 1 {
                return Err(Failure::input(format!("`{}` is a comparison; it has a page to itself", path.display())));
            }
            let found = Comparison::read(path)?;
            roots.extend(runs_of(&found, path));
            comparison = Some(found);
        } else {
            roots.push(path.clone());
        }
    }
    let out = args.out.clone().unwrap_or_else(|| match &args.runs[..] {
        [one] => one.join("report.html"),
        _ => PathBuf::from("report.html"),
    });
    if out.extension().is_none_or(|e| e != "html") {
        return Err(Failure::input(format!("--out is a page and must end with .html, got `{}`", out.display())));
    }
    write(&roots, comparison.as_ref(), &out)?;
    if args.voice.json {
        let names: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        answer_json(&serde_json::json!({ "report": out.display().to_string(), "runs": names }));
    } else {
        answer!("{}", out.display());
    }
    Ok(())
}

/// Where the runs of a comparison in `folder` are: below it, or where its user said.
fn runs_of(comparison: &Comparison, folder: &Path) -> Vec<PathBuf> {
    let runs = comparison.rows.iter().flat_map(|row| &row.runs);
    let below = |run: &str| if folder.join(run).is_dir() { folder.join(run) } else { PathBuf::from(run) };
    runs.map(|run| below(&run.run)).collect()
}

/// Writes the page of a comparison into its folder.
pub(super) fn of_comparison(comparison: &Comparison, folder: &Path) -> Result<PathBuf, Failure> {
    let out = folder.join("report.html");
    write(&runs_of(comparison, folder), Some(comparison), &out)?;
    Ok(out)
}

fn write(roots: &[PathBuf], comparison: Option<&Comparison>, out: &Path) -> Result<(), Failure> {
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut shown = Vec::new();
    for root in roots {
        let run = RunDir::open(root)?;
        let real = fs_err::canonicalize(root).map_err(Failure::input)?;
        if seen.contains(&real) {
            return Err(Failure::input(format!("`{}` is named twice", root.display())));
        }
        seen.push(real);
        let layers = match subject_of_run(&run, &[], MemoryBound::none())? {
            Subject::Gan(experiment) => {
                [layers("generator", &experiment.generator), layers("discriminator", &experiment.discriminator)]
                    .concat()
            }
            Subject::Network(network) => layers("network", &network.network),
        };
        shown.push(Shown { root: root.clone(), layers });
    }
    let html = page(&shown, comparison).map_err(|e| match e {
        fintan_report::PageError::Run(e) => e.into(),
        fintan_report::PageError::Plot(e) => Failure::from(e),
    })?;
    Ok(write_whole(out, html.as_bytes())?)
}

/// The linear layers and residual blocks of a network, with their regimes at infinite width.
fn layers(name: &str, network: &Architecture) -> Vec<Layer> {
    let regimes = regimes(network);
    let pieces = network
        .nodes
        .iter()
        .filter(|node| node.fan_in().is_some() || matches!(node.layer, fintan_config::Layer::Residual(_)));
    let layers = pieces.zip(regimes).map(|(node, piece)| Layer {
        network: name.into(),
        layer: node.layer.name().into(),
        r: piece.r,
        regime: piece.r.map(|r| Regime::of(r).word().into()),
        behind_batch_norm: piece.behind_batch_norm,
    });
    layers.collect()
}
