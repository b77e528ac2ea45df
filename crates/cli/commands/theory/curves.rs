//! What depth does to a network: angles, depth sweeps, the phase diagram.

use std::f64::consts::PI;
use std::path::Path;

use fintan_artifact::{Array, write_npz};
use fintan_config::{Architecture, Parametrization};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_theory::{Family, Fate, Limit, LimitError, Regime, Relation, Sweep, Wide, condition_bound, mean_r, regimes};
use serde_json::{Value, json};

use super::{write_cells, write_table};
use crate::failure::Failure;
use crate::voice::answer;

/// Values of all angles of the circle that are worked out at most; networks with large maps have fewer angles.
const ENTRIES: usize = 1 << 24;

/// Numbers and curves of the limit of a network; `dots`: angles and scaled kernels of an empirical kernel.
pub(super) fn limit(
    architecture: &Architecture,
    inputs: usize,
    folder: &Path,
    dots: Vec<(f64, f64)>,
    quiet: bool,
) -> Result<Value, Failure> {
    let limit = match Limit::new(architecture) {
        Ok(limit) => limit,
        Err(e @ LimitError::Layer { .. }) => {
            if !quiet {
                answer!("no kernel and no curves: {e}");
            }
            return Ok(json!({ "no_limit": e.to_string() }));
        }
        Err(e) => return Err(e.into()),
    };
    let mut summary = json!({});
    let orthogonal = match limit.relation_at(0.0) {
        Ok(Some(relation)) => relation,
        Ok(None) => {
            if !quiet {
                answer!("inputs of a single value are all parallel: no kernel of orthogonal ones, and no curves");
            }
            return Ok(summary);
        }
        // Some refusals depend on what enters a layer.
        Err(e @ LimitError::Layer { .. }) => {
            if !quiet {
                answer!("no kernel and no curves: {e}");
            }
            return Ok(json!({ "no_limit": e.to_string() }));
        }
        Err(e) => return Err(e.into()),
    };
    let pieces = regimes(architecture);
    let mean = mean_r(&pieces);
    let layers = architecture.flat().iter().filter(|node| node.fan_in().is_some()).count();
    if !quiet {
        answer!("this network, of {layers} linear layers, at infinite width");
        if let Some(r) = mean {
            answer!("  {}: geometric mean of r over the depth {r:.6}", Regime::of(r).word());
        }
        kernel_lines(&orthogonal, inputs, layers);
    }
    summary["layers"] = json!(layers);
    summary["r"] = json!(mean);
    summary["regime"] = json!(mean.map(|r| Regime::of(r).word()));
    kernel_numbers(&mut summary, &orthogonal, inputs);
    if matches!(architecture.parametrization, Parametrization::Standard(_)) {
        let mut scaled = json!({});
        if let Some(relation) = Limit::new(architecture)?.with_scaled_parameters().relation_at(0.0)? {
            if !quiet {
                answer!("weights and biases of these variances in the `ntk` parametrization, where layers count alike");
                kernel_lines(&relation, inputs, layers);
            }
            kernel_numbers(&mut scaled, &relation, inputs);
        }
        summary["ntk_parametrization"] = scaled;
    }
    let Some(family) = Family::of(architecture)? else {
        if !quiet {
            answer!("no hidden layers: no curves over depth");
        }
        return Ok(summary);
    };
    let [head, block, tail] = family.names();
    summary["family"] = json!({ "head": head, "block": block, "repeats": family.repeats(), "tail": tail });
    regime(&family, &mut summary, quiet)?;
    depths(&family, inputs, folder)?;
    circle(&family, folder, dots)?;
    summary["phases"] = phases(&family, folder, quiet)?;
    Ok(summary)
}

fn kernel_lines(relation: &Relation, inputs: usize, layers: usize) {
    answer!("  at L = {layers}: scaled NTK of orthogonal inputs {:.6}", relation.scaled());
    match relation.condition_number(inputs) {
        number if number.is_finite() => answer!("  at L = {layers}: condition number of {inputs} of them {number:.4}"),
        _ => answer!(
            "  at L = {layers}: condition number of {inputs} of them above {:.1e}, where its smallest eigenvalue is rounding",
            condition_bound(inputs)
        ),
    }
}

fn kernel_numbers(summary: &mut Value, relation: &Relation, inputs: usize) {
    let number = relation.condition_number(inputs);
    summary["inputs"] = json!(inputs);
    summary["scaled_ntk"] = json!(relation.scaled());
    summary["condition_number"] = if number.is_finite() { json!(number) } else { Value::Null };
    if !number.is_finite() {
        summary["condition_number_above"] = json!(condition_bound(inputs));
    }
}

/// Where variances and correlations go as the block is repeated, in words and numbers.
fn regime(family: &Family, summary: &mut Value, quiet: bool) -> Result<(), Failure> {
    let field = family.mean_field()?;
    let law = field.map(|field| family.law(&field));
    if !quiet {
        answer!("as a member of its family: {}, {} times here", family.words(), family.repeats());
    }
    let (Some(field), Some(law)) = (field, law) else {
        if !quiet {
            answer!("  the variance has no fixed point above 0: it vanishes or grows without bound");
        }
        summary["fixed_point"] = Value::Null;
        return Ok(());
    };
    let [unit, units] = if family.counts_layers() { ["layer", "layers"] } else { ["block", "blocks"] };
    // Repeated for ever, whatever stands before and behind it.
    let word = Regime::of(field.chi).word();
    if !quiet {
        answer!("  r = {:.6} a {unit}: {word} with depth; {}", field.chi, law.words());
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
    let variance = matches!(field.fate, Fate::Tends | Fate::Stays).then_some(field.q);
    let fate = match field.fate {
        Fate::Tends => "tends",
        Fate::Stays => "every",
        Fate::Vanishes => "vanishes",
        Fate::Grows => "grows",
    };
    summary["fixed_point"] = json!({
        "r": field.chi, "regime": word, "variance": variance, "variance_fate": fate, "correlation": field.c,
        "correlation_depth": field.correlation_depth(), "variance_depth": field.variance_depth(),
    });
    summary["law"] = json!(law.words());
    Ok(())
}

/// Scaled kernel against the angle between inputs on a circle, for the network's depth and powers of two.
fn circle(family: &Family, folder: &Path, dots: Vec<(f64, f64)>) -> Result<(), Failure> {
    let own = family.repeats();
    // Multiples of 2 degrees, or fewer.
    let steps = (ENTRIES / (family.entries().max(1) * own.max(32))).clamp(6, 90);
    let angles: Vec<f64> = (0..=steps).map(|i| PI * i as f64 / steps as f64).collect();
    let is_large = family.entries() > 1 << 12;
    let Some(sweep) = family.sweep(&angles, if is_large { own } else { 32 })? else { return Ok(()) };
    // By linear layers, or by blocks where those have several.
    let counted = if family.counts_layers() { &sweep.layers } else { &sweep.repeats };
    let shown: Vec<usize> = (0..sweep.repeats.len())
        .filter(|&i| sweep.repeats[i] == own || counted[i] > 1 && counted[i] <= 32 && counted[i].is_power_of_two())
        .collect();
    let rows = angles.iter().zip(&sweep.relations).flat_map(|(angle, found)| {
        shown.iter().map(|&i| {
            let at = &found[i];
            let ntk = cell(at.ntk);
            let numbers = [angle.to_string(), at.scaled().to_string(), ntk, at.correlation().to_string()];
            [vec![sweep.layers[i].to_string()], numbers.to_vec(), vec![sweep.repeats[i].to_string()]].concat()
        })
    });
    write_cells(&folder.join("circle.csv"), "layers,angle,scaled_ntk,ntk,correlation,repeats", rows)?;
    let mut curves: Vec<Curve> = shown
        .iter()
        .map(|&i| Curve {
            name: format!("L = {}", sweep.layers[i]),
            points: angles.iter().zip(&sweep.relations).map(|(a, found)| (*a, found[i].scaled())).collect(),
            mark: if sweep.repeats[i] == own { Mark::Line } else { Mark::Dashed },
        })
        .collect();
    if !dots.is_empty() {
        curves.push(Curve { name: "finite width".into(), points: dots, mark: Mark::Dots });
    }
    let axes = Axes {
        title: titled("Scaled NTK between inputs on a circle", family),
        x: "angle".into(),
        y: "scaled NTK".into(),
        ..Axes::default()
    };
    super::write(&folder.join("circle.svg"), curves_svg(&axes, &curves)?.as_bytes())
}

fn titled(title: &str, family: &Family) -> String {
    format!("{title}: {}", family.words())
}

/// Inputs on a great circle of the sphere |x|² = features, 10 degrees apart, for `fintan ntk --inputs`.
pub(super) fn circle_inputs(folder: &Path, features: usize) -> Result<(), Failure> {
    let radius = (features as f64).sqrt();
    let mut inputs = vec![0.0; 19 * features];
    for (i, x) in inputs.chunks_mut(features).enumerate() {
        let angle = PI * i as f64 / 18.0;
        (x[0], x[1]) = (radius * angle.cos(), radius * angle.sin());
    }
    Ok(write_npz(&folder.join("circle_inputs.npz"), &[("inputs", Array::f64(&[19, features], inputs))])?)
}

/// Scaled kernel and conditioning of orthogonal inputs against depth.
fn depths(family: &Family, inputs: usize, folder: &Path) -> Result<(), Failure> {
    let Some(Sweep { repeats, layers, relations }) = family.sweep(&[0.5 * PI], 64)? else { return Ok(()) };
    let found = &relations[0];
    let rows = (0..repeats.len()).map(|i| {
        let at = &found[i];
        vec![
            layers[i].to_string(),
            cell(at.variance[0]),
            at.correlation().to_string(),
            cell(at.own_ntk[0]),
            at.scaled().to_string(),
            at.condition_number(inputs).to_string(),
            repeats[i].to_string(),
        ]
    });
    let head = "layers,variance,correlation,ntk,scaled_ntk,condition_number,repeats";
    write_cells(&folder.join("depth.csv"), head, rows)?;
    let line = |name: &str, of: &dyn Fn(&Relation) -> f64| Curve {
        name: name.into(),
        points: layers.iter().zip(found).map(|(l, at)| (*l as f64, of(at))).collect(),
        mark: Mark::Line,
    };
    let axes = |title: String, y: &str, log_y| Axes {
        title,
        x: "linear layers L".into(),
        y: y.into(),
        log_y,
        ..Axes::default()
    };
    let scaled = curves_svg(
        &axes(titled("Orthogonal inputs through depth", family), "", false),
        &[line("scaled NTK", &Relation::scaled), line("correlation of outputs", &Relation::correlation)],
    )?;
    super::write(&folder.join("depth.svg"), scaled.as_bytes())?;
    let title = titled(&format!("Condition number of {inputs} orthogonal inputs"), family);
    let conditioning =
        curves_svg(&axes(title, "condition number", true), &[line("", &|at| at.condition_number(inputs))])?;
    super::write(&folder.join("condition.svg"), conditioning.as_bytes())
}

/// The critical line r = 1 over variances of weights and biases of the block, and the network's place.
fn phases(family: &Family, folder: &Path, quiet: bool) -> Result<Value, Failure> {
    let refuse = |reason: &str| {
        if !quiet {
            answer!("no plane of order and chaos: {reason}");
        }
        json!({ "refused": reason })
    };
    let Some((weights, biases)) = family.variances() else {
        return Ok(refuse("linear layers of the block have weights or biases of different variances"));
    };
    let over: Vec<f64> = (0..=24).map(|i| f64::from(i) / 24.0).collect();
    let found = family.critical_line(&over)?;
    let line: Vec<(f64, f64)> = found.into_iter().zip(over).filter_map(|(w, b)| Some((w?, b))).collect();
    if line.is_empty() {
        return Ok(refuse("with no variance of weights from 0.01 to 100 is the block between the two"));
    }
    let rows = line.iter().map(|&(w, b)| vec![w, b]);
    write_table(&folder.join("phases.csv"), "critical_weight_variance,bias_variance", rows)?;
    let axes = Axes {
        title: titled("Order (left) and chaos (right)", family),
        x: "variance of the weights, times the fan-in".into(),
        y: "variance of the biases".into(),
        from_zero: true,
        ..Axes::default()
    };
    let curves = [
        Curve { name: "r = 1".into(), points: line, mark: Mark::Line },
        Curve { name: "this network".into(), points: vec![(weights, biases)], mark: Mark::Dots },
    ];
    super::write(&folder.join("phases.svg"), curves_svg(&axes, &curves)?.as_bytes())?;
    Ok(json!({ "weights": weights, "biases": biases }))
}

/// A number of a table, of whatever size.
fn cell(number: Wide) -> String {
    if number.is_in_range() { number.value().to_string() } else { number.to_string() }
}
