//! `fintan theory`

mod compare;
mod curves;
mod positions;
mod widths;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fintan_artifact::write_whole;
use fintan_config::{Architecture, LayerRates, Subject};
use fintan_theory::{Regime, regimes};
use serde_json::json;

use crate::args::{Theory, Which};
use crate::failure::Failure;
use crate::given::{self, configuration};
use crate::voice::{answer, answer_json, tell};

/// The infinite-width side of a network.
pub(super) fn theory(args: &Theory) -> Result<(), Failure> {
    let (architecture, rates, seed) = network(args)?;
    let place = place(args);
    if place.exists() {
        return Err(Failure::input(format!("`{}` exists already; name another with --out", place.display())));
    }
    // Beside its place until it is whole.
    let mut name = place.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".part-{}", std::process::id()));
    let folder = place.with_file_name(name);
    if let Some(parent) = folder.parent() {
        fs_err::create_dir_all(parent).map_err(Failure::input)?;
    }
    fs_err::create_dir(&folder).map_err(Failure::input)?;
    let summary = fill(args, &architecture, &rates, seed, &folder, &place).and_then(|summary| {
        fs_err::rename(&folder, &place).map_err(Failure::input)?;
        Ok(summary)
    });
    let summary = match summary {
        Ok(summary) => summary,
        Err(e) => {
            // What went wrong is the better message of the two.
            let _ = fs_err::remove_dir_all(&folder);
            return Err(e);
        }
    };
    if args.voice.json {
        answer_json(&summary);
    } else {
        answer!("{}", place.display());
        if !args.voice.quiet {
            tell!("curves as .svg and .csv, numbers in theory.json");
        }
    }
    Ok(())
}

/// Computes and writes everything into `folder`, which will stand at `place`.
fn fill(
    args: &Theory,
    architecture: &Architecture,
    rates: &LayerRates,
    seed: u64,
    folder: &Path,
    place: &Path,
) -> Result<serde_json::Value, Failure> {
    let quiet = args.voice.json;
    let mut summary = json!({ "folder": place.display().to_string(), "parameters": architecture.parameter_count() });
    summary["layers"] = layers(architecture, quiet);
    let compared = args.compare.as_ref().map(|path| compare::compare(path, architecture, folder, quiet));
    let (compared, dots) = compared.transpose()?.unzip();
    if let Some(compared) = compared {
        summary["compare"] = compared;
    }
    let inputs = args.n as usize;
    match curves::Dense::of(architecture) {
        Some(dense) => {
            let at = dense.depths(folder, inputs)?;
            summary["dense"] = dense.regime(&at, inputs, quiet)?;
            dense.circle(folder, &dots.unwrap_or_default())?;
            if architecture.input.is_vector() && architecture.input.channels > 1 {
                curves::Dense::circle_inputs(folder, architecture.input.channels)?;
            }
            dense.phases(folder)?;
        }
        None if quiet => {}
        None => answer!("no hidden nonlinearity with one variance of weights: no curves over depth"),
    }
    if !architecture.output().is_vector() {
        summary["blocks"] = positions::blocks(architecture, rates, folder, quiet)?;
        summary["border"] = positions::pixels(architecture, folder, args.positions, quiet)?;
    }
    if !args.widths.is_empty() {
        summary["widths"] = widths::widths(architecture, args, seed, folder)?;
    }
    write(&folder.join("theory.json"), format!("{summary:#}\n").as_bytes())?;
    Ok(summary)
}

/// The network that was asked for, its rates and the seed.
fn network(args: &Theory) -> Result<(Architecture, LayerRates, u64), Failure> {
    let subject = Subject::load(&configuration(&args.config.path)?, &args.config.overrides())?;
    Ok(match subject {
        Subject::Network(alone) => (alone.network, LayerRates::Off, alone.settings.seed),
        Subject::Gan(gan) => {
            let settings = &gan.settings;
            match args.network {
                Which::Generator => (gan.generator.clone(), settings.generator.layer_rates, settings.seed),
                Which::Discriminator => (gan.discriminator.clone(), settings.discriminator.layer_rates, settings.seed),
            }
        }
    })
}

fn place(args: &Theory) -> PathBuf {
    args.out.clone().unwrap_or_else(|| {
        let name = given::name(&args.config.path);
        let word = if args.network == Which::Discriminator { ".discriminator" } else { "" };
        PathBuf::from(format!("{name}{word}.theory"))
    })
}

/// The regime of each layer.
fn layers(architecture: &Architecture, quiet: bool) -> serde_json::Value {
    let found = regimes(architecture);
    if !quiet {
        answer!("layer   variance          r");
        for layer in &found {
            let star = if layer.behind_batch_norm { "*" } else { "" };
            let r = layer.r.map_or(String::new(), |r| format!("{r:>10.6} {}{star}", Regime::of(r).word()));
            answer!("{:>5} {:>10.6} {r}", layer.index, layer.variance);
        }
        if found.iter().any(|layer| layer.behind_batch_norm) {
            answer!("* behind a batch norm, which recentres over the batch: r does not see that");
        }
    }
    json!(
        found
            .iter()
            .map(|layer| json!({ "index": layer.index, "variance": layer.variance, "r": layer.r }))
            .collect::<Vec<_>>()
    )
}

/// Writes a file whole.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(write_whole(path, bytes)?)
}

/// Numbers as CSV under a head.
pub(super) fn write_table(path: &Path, head: &str, rows: impl Iterator<Item = Vec<f64>>) -> Result<(), Failure> {
    let mut text = format!("{head}\n");
    for row in rows {
        let cells: Vec<String> = row.iter().map(f64::to_string).collect();
        let _ = writeln!(text, "{}", cells.join(","));
    }
    write(path, text.as_bytes())
}
