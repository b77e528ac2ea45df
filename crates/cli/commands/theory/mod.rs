//! `fintan theory`

mod compare;
mod curves;
mod kernels;
mod positions;
mod widths;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fintan_artifact::{Draft, RunError, write_whole};
use fintan_config::{Architecture, LayerRates, Subject};
use fintan_theory::{PieceRegime, Regime, Wide, regimes};
use serde_json::json;

use crate::args::{Theory, Which};
use crate::failure::Failure;
use crate::given::{self, configuration};
use crate::voice::{answer, answer_json, tell};

/// The infinite-width side of a network.
pub(super) fn theory(args: &Theory) -> Result<(), Failure> {
    let (architecture, rates, seed) = network(args)?;
    let place = place(args);
    if args.inputs.is_some() && place.extension().is_some_and(|end| end == "npz") {
        return kernels::alone(args, &architecture, &place);
    }
    widths::check(&architecture, args)?;
    // The folder appears whole or not at all.
    let draft = Draft::at(&place).map_err(|e| {
        if let RunError::Exists(place) = e {
            return Failure::input(format!("`{}` exists already; name another with --out", place.display()));
        }
        e.into()
    })?;
    let summary = fill(args, &architecture, &rates, seed, draft.path(), &place)?;
    draft.publish()?;
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
    if args.inputs.is_some() {
        let file = folder.join("kernels.npz");
        kernels::write(args, architecture, &file)?;
        summary["kernels"] = place.join("kernels.npz").display().to_string().into();
    }
    let limit = curves::limit(architecture, args.n as usize, folder, dots.unwrap_or_default(), quiet)?;
    if architecture.input.is_vector() && architecture.input.channels > 1 {
        curves::circle_inputs(folder, architecture.input.channels)?;
    }
    if architecture.flat().iter().all(|node| node.output.is_vector()) {
        // What these numbers of dense networks were called first, for programs that read them there.
        summary["dense"] = limit.clone();
    }
    summary["limit"] = limit;
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

/// The regime of each linear layer and residual block.
fn layers(architecture: &Architecture, quiet: bool) -> serde_json::Value {
    let found = regimes(architecture);
    let named = |piece: &PieceRegime| match piece.indices.clone() {
        range if piece.is_block && range.len() > 1 => format!("{}-{}", range.start, range.end - 1),
        range => range.start.to_string(),
    };
    if !quiet {
        answer!("layer   variance          r");
        for piece in &found {
            let star = if piece.behind_batch_norm { "*" } else { "" };
            let block = if piece.is_block { "  residual block" } else { "" };
            let r = piece.r.map_or(String::new(), |r| format!("{r:>10.6} {}{star}", Regime::of(r).word()));
            let variance = piece.variance.map_or_else(|| "-".into(), |q| q.to_string());
            answer!("{:>5} {variance:>10} {r}{block}", named(piece));
        }
        if found.iter().any(|piece| piece.behind_batch_norm) {
            answer!("* behind a batch norm, which recentres over the batch: r does not see that");
        }
    }
    let row = |piece: &PieceRegime| {
        let in_range = piece.variance.filter(|q| q.is_in_range()).map(Wide::value);
        let mut row = json!({
            "index": piece.indices.start, "variance": in_range, "r": piece.r, "residual_block": piece.is_block,
        });
        if piece.is_block {
            row["indices"] = json!([piece.indices.start, piece.indices.end]);
        }
        if let (None, Some(beyond)) = (in_range, piece.variance) {
            row["log10_variance"] = json!(beyond.log10());
        }
        row
    };
    json!(found.iter().map(row).collect::<Vec<_>>())
}

/// Writes a file whole.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(write_whole(path, bytes)?)
}

/// Numbers as CSV under a head.
pub(super) fn write_table(path: &Path, head: &str, rows: impl Iterator<Item = Vec<f64>>) -> Result<(), Failure> {
    write_cells(path, head, rows.map(|row| row.iter().map(f64::to_string).collect()))
}

/// Cells as CSV under a head.
pub(super) fn write_cells(path: &Path, head: &str, rows: impl Iterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut text = format!("{head}\n");
    for row in rows {
        let _ = writeln!(text, "{}", row.join(","));
    }
    write(path, text.as_bytes())
}
