//! `fintan theory`

use std::path::{Path, PathBuf};

use fintan::theory::{Fate, PieceRegime, Regime, Relation, condition_bound};
use fintan::{
    Device, Error, FamilyCurves, LimitCurves, LimitFinding, LimitStudy, Network, PixelLimit, PositionSpectrum,
    RunError, WidthPoint,
};
use fintan_config::MemoryBound;
use serde_json::json;

use crate::args::{Theory, Which};
use crate::failure::Failure;
use crate::given::{self, configuration};
use crate::voice::{answer, answer_json, tell};

/// Computes the limit of a network at infinite width.
pub(super) fn theory(args: &Theory) -> Result<(), Failure> {
    let network = network(args)?;
    let place = place(args);
    let mut study = LimitStudy::of(&network).orthogonal_inputs(args.n as usize).all_positions(args.positions);
    if let Some(inputs) = &args.inputs {
        study = study.kernels_at(inputs, args.inputs2.as_deref());
        if place.extension().is_some_and(|end| end == "npz") {
            return kernels(args, &study, &place);
        }
    }
    if let Some(kernel) = &args.compare {
        study = study.compare(kernel);
    }
    if !args.widths.is_empty() {
        let widths: Vec<usize> = args.widths.iter().map(|&width| width as usize).collect();
        study = study.widths(&widths, args.seeds, Device::open(args.on.device)?);
    }
    let written = study
        .on_finding(|finding| say(finding, args))
        .write(&place)
        .map_err(|e| if let Error::Run(RunError::Exists(place)) = &e { exists(place) } else { e.into() })?;
    if args.voice.json {
        answer_json(&written.json());
    } else {
        answer!("{}", place.display());
        if !args.voice.quiet {
            tell!("curves as .svg and .csv, numbers in theory.json");
        }
    }
    Ok(())
}

fn exists(place: &Path) -> Failure {
    Failure::input(format!("`{}` exists already; name another with --out", place.display()))
}

/// Writes the kernels at given inputs into a separate file, which must not exist.
fn kernels(args: &Theory, study: &LimitStudy, path: &Path) -> Result<(), Failure> {
    for (flag, given) in [("--compare", args.compare.is_some()), ("--widths", !args.widths.is_empty())] {
        if given {
            return Err(Failure::input(format!("{flag} needs a folder; --out names the file `{}`", path.display())));
        }
    }
    if path.exists() {
        return Err(exists(path));
    }
    study.write_kernels(path)?;
    if args.voice.json {
        answer_json(&json!({ "kernels": path.display().to_string() }));
    } else {
        answer!("{}", path.display());
    }
    Ok(())
}

/// The requested network.
fn network(args: &Theory) -> Result<Network, Failure> {
    let mut loader = Network::open(configuration(&args.config.path)?).bound(MemoryBound::none());
    for change in args.config.overrides() {
        loader = loader.set(&change);
    }
    let network = loader.load()?;
    let discriminator = args.network == Which::Discriminator && network.is_of_gan();
    Ok(if discriminator { network.discriminator()? } else { network })
}

fn place(args: &Theory) -> PathBuf {
    args.out.clone().unwrap_or_else(|| {
        let name = given::name(&args.config.path);
        let word = if args.network == Which::Discriminator { ".discriminator" } else { "" };
        PathBuf::from(format!("{name}{word}.theory"))
    })
}

/// Prints a result.
fn say(finding: &LimitFinding, args: &Theory) {
    if args.voice.json {
        return;
    }
    match finding {
        LimitFinding::Layers(layers) => say_layers(layers),
        LimitFinding::Compared { kernel, comparison, with_output_slopes } => {
            answer!("against `{}`", kernel.display());
            if *with_output_slopes {
                answer!(
                    "  with the output nonlinearity, whose slopes stay random at any width: `fintan ntk --before-output`"
                );
            }
            let (off, worst) = (comparison.relative_difference, comparison.largest_difference);
            answer!("  relative difference {off:.5} (Frobenius), largest {worst:.5} of the largest entry");
        }
        LimitFinding::NoLimit(reason) => answer!("no kernel and no curves: {reason}"),
        LimitFinding::ParallelInputs => {
            answer!("inputs of a single value are all parallel: no kernel of orthogonal ones, and no curves");
        }
        LimitFinding::Curves(curves) => say_curves(curves),
        LimitFinding::Blocks(found) => match found {
            Ok(spectrum) => say_spectrum(spectrum),
            Err((layer, reason)) => answer!("checkerboards in closed form: none, for `{layer}`: {reason}"),
        },
        LimitFinding::Pixels(found) => match found {
            Ok(PixelLimit { border_variance: Some(variance), border_ntk: Some(ntk) }) => {
                answer!("border (the two outermost frames of pixels over all others)");
                answer!("  variance {variance:.4}, NTK {ntk:.4}   1: no border artefact");
            }
            // An image without an interior.
            Ok(PixelLimit { border_variance: _, border_ntk: _ }) => {}
            Err((layer, reason)) => answer!("no limit for pixels: layer `{layer}`: {reason}"),
        },
        LimitFinding::Width(point) => {
            if !args.voice.quiet {
                let WidthPoint { width, relative_error, standard_error } = point;
                tell!("width {width:>6}  relative error {relative_error:.5} ± {standard_error:.5}");
            }
        }
        LimitFinding::Widths { exponent, .. } => {
            answer!("relative error of the empirical NTK falls as width^{exponent:.3}");
        }
        // The kernels are in a file. Other programs must expect more variants; clippy refuses to cover a known one here.
        LimitFinding::Kernels(_) | _ => {}
    }
}

/// Prints the regime of each linear layer and residual block.
fn say_layers(layers: &[PieceRegime]) {
    let named = |piece: &PieceRegime| match piece.indices.clone() {
        range if piece.is_block && range.len() > 1 => format!("{}-{}", range.start, range.end - 1),
        range => range.start.to_string(),
    };
    answer!("layer   variance          r");
    for piece in layers {
        let star = if piece.behind_batch_norm { "*" } else { "" };
        let block = if piece.is_block { "  residual block" } else { "" };
        let r = piece.r.map_or(String::new(), |r| format!("{r:>10.6} {}{star}", Regime::of(r).word()));
        let variance = piece.variance.map_or_else(|| "-".into(), |q| q.to_string());
        answer!("{:>5} {variance:>10} {r}{block}", named(piece));
    }
    if layers.iter().any(|piece| piece.behind_batch_norm) {
        answer!("* behind a batch norm, which recentres over the batch: r does not see that");
    }
}

fn say_curves(curves: &LimitCurves) {
    answer!("this network, of {} linear layers, at infinite width", curves.layers);
    if let Some(r) = curves.r {
        answer!("  {}: geometric mean of r over the depth {r:.6}", Regime::of(r).word());
    }
    say_kernel(curves, &curves.orthogonal);
    if let Some(relation) = &curves.scaled_parameters {
        answer!("weights and biases of these variances in the `ntk` parametrization, where layers count alike");
        say_kernel(curves, relation);
    }
    let Some(family) = &curves.family else {
        answer!("no hidden layers: no curves over depth");
        return;
    };
    say_family(family);
    if let Err(reason) = family.phases {
        answer!("no plane of order and chaos: {reason}");
    }
}

fn say_kernel(LimitCurves { layers, inputs, .. }: &LimitCurves, relation: &Relation) {
    answer!("  at L = {layers}: scaled NTK of orthogonal inputs {:.6}", relation.scaled());
    match relation.condition_number(*inputs) {
        number if number.is_finite() => answer!("  at L = {layers}: condition number of {inputs} of them {number:.4}"),
        _ => answer!(
            "  at L = {layers}: condition number of {inputs} of them above {:.1e}, where its smallest eigenvalue is rounding",
            condition_bound(*inputs)
        ),
    }
}

/// Prints the limits of variances and correlations as the block is repeated.
fn say_family(FamilyCurves { family, fixed_point, .. }: &FamilyCurves) {
    answer!("as a member of its family: {}, {} times here", family.words(), family.repeats());
    let Some((field, law)) = fixed_point else {
        answer!("  the variance has no fixed point above 0: it vanishes or grows without bound");
        return;
    };
    let [unit, units] = if family.counts_layers() { ["layer", "layers"] } else { ["block", "blocks"] };
    // This is the limit of many repetitions, whatever the layers before and after the block.
    answer!("  r = {:.6} a {unit}: {} with depth; {}", field.chi, Regime::of(field.chi).word(), law.words());
    match field.fate {
        Fate::Tends => answer!("  variance tends to {:.6}, correlations to {:.6}", field.q, field.c),
        Fate::Stays => {
            answer!("  every variance is a fixed point ({:.6} here) and has no depth scale", field.q);
            answer!("  correlations tend to {:.6}", field.c);
        }
        Fate::Vanishes | Fate::Grows => {
            let word = if field.fate == Fate::Grows { "grows" } else { "vanishes" };
            answer!("  the variance {word}: it is multiplied by {:.6} a {unit}", field.chi_q);
            answer!("  correlations, which do not depend on it, tend to {:.6}", field.c);
        }
    }
    if let Some(depth) = field.correlation_depth() {
        answer!("  depth scale of correlations {depth:.3} {units}");
    }
}

/// Prints the eigenspaces over the pixels of an image.
fn say_spectrum(PositionSpectrum { spaces, rates, .. }: &PositionSpectrum) {
    answer!("kernel between pixels of one input, away from borders");
    let heads = ["eigenspace", "multiplicity", "scaled", "λ/λ_min", "of the trace"];
    answer!("  {:>16} {:>13} {:>10} {:>12} {:>12}", heads[0], heads[1], heads[2], heads[3], heads[4]);
    for space in spaces {
        let (count, scaled, share) = (space.multiplicity, space.scaled, space.trace_share);
        answer!("  {:>16} {count:>13} {scaled:>10.4} {:>12.4} {share:>12.4}", space.pattern, space.ratio);
    }
    answer!("λ/λ_min under layer-dependent rates (|I_0|/|I_l|)^γ of gradient descent");
    for (name, ratios) in rates {
        let text: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:>9.3}")).collect();
        answer!("  γ {name:>10} {}", text.join(" "));
    }
}
