//! The effect of depth on a network: curves over angles and depth, and the phase diagram.

use std::f64::consts::PI;
use std::path::Path;

use fintan_artifact::{Array, write_npz, write_whole};
use fintan_config::{Architecture, Parametrization};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_theory::{
    Family, Fate, Law, LimitError, MeanField, NetworkLimit, Regime, Relation, Sweep, Wide, condition_bound, mean_r,
    regimes,
};
use serde_json::{Value, json};

use super::LimitFinding;
use crate::csv;
use crate::error::Error;

/// Largest number of computed values for all angles of the circle. Networks with large maps have fewer angles.
const ENTRIES: usize = 1 << 24;

/// The kernel of orthogonal inputs of a network, and the family of networks that the network belongs to.
///
/// ```
/// let net = fintan::Network::parse("network = { input = 4, outputs = 1, fc = { widths = [8, 8] } }")?;
/// let folder = tempfile::tempdir()?;
/// let study = fintan::LimitStudy::of(&net).orthogonal_inputs(9).write(&folder.path().join("theory"))?;
/// let fintan::LimitFinding::Curves(curves) = &study.findings()[1] else { panic!("no curves") };
/// let curves: &fintan::LimitCurves = curves;
/// assert_eq!((curves.layers, curves.inputs), (3, 9));
/// let family: &fintan::FamilyCurves = curves.family.as_ref().expect("hidden layers");
/// assert_eq!(family.family.repeats(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LimitCurves {
    /// The number L of linear layers.
    pub layers: usize,
    /// The geometric mean of r over the depth; `None` for a network with one layer.
    pub r: Option<f64>,
    /// The number of orthogonal inputs for the condition number.
    pub inputs: usize,
    /// Variance, covariance and kernel of two orthogonal inputs after the last layer.
    pub orthogonal: Relation,
    /// The relation of two orthogonal inputs in the `ntk` parametrization, where layers have equal weight; `None` if the
    /// network is in that parametrization or in `graph`.
    pub scaled_parameters: Option<Relation>,
    /// The networks that repeat the hidden block of this one; `None` without hidden layers.
    pub family: Option<FamilyCurves>,
}

/// Limits of a family of networks as depth grows, and the place of the network in the phase diagram.
///
/// ```
/// let net = fintan::Network::parse(r#"
///     network = { input = 4, outputs = 1, parametrization.ntk = { beta = 0.0 }, fc = { widths = [8, 8, 8], activation = {
///         function = "relu", scaling = "standardized"
///     } } }
/// "#)?;
/// let folder = tempfile::tempdir()?;
/// let study = fintan::LimitStudy::of(&net).write(&folder.path().join("theory"))?;
/// let fintan::LimitFinding::Curves(curves) = &study.findings()[1] else { panic!("no curves") };
/// let family: &fintan::FamilyCurves = curves.family.as_ref().expect("hidden layers");
/// let (field, _) = family.fixed_point.as_ref().expect("every variance");
/// // A standardized ReLU without biases is at the edge of chaos.
/// assert!((field.chi - 1.0).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FamilyCurves {
    /// The family.
    pub family: Family,
    /// The fixed point of variances and correlations, and the law of the kernel there; `None` if the variance vanishes or grows
    /// without bound.
    pub fixed_point: Option<(MeanField, Law)>,
    /// The variances of the network's weights (times the fan-in) and of its biases, or why there is no phase diagram.
    pub phases: Result<(f64, f64), &'static str>,
}

/// Computes numbers and curves of the limit of a network. `dots` are angles and scaled kernels of an empirical kernel.
pub(super) fn limit(
    architecture: &Architecture,
    inputs: usize,
    folder: &Path,
    dots: Vec<(f64, f64)>,
) -> Result<LimitFinding, Error> {
    // Whether a layer has a limit can depend on its inputs.
    let orthogonal = match NetworkLimit::new(architecture).and_then(|limit| limit.relation_at(0.0)) {
        Ok(Some(relation)) => relation,
        Ok(None) => return Ok(LimitFinding::ParallelInputs),
        Err(e @ LimitError::Layer { .. }) => return Ok(LimitFinding::NoLimit(e.to_string())),
        Err(e) => return Err(e.into()),
    };
    let scaled_parameters = match architecture.parametrization {
        Parametrization::Standard(_) => NetworkLimit::new(architecture)?.with_scaled_parameters().relation_at(0.0)?,
        Parametrization::Ntk(_) | Parametrization::Graph(_) => None,
    };
    let family = match Family::of(architecture)? {
        Some(family) => {
            let fixed_point = family.mean_field()?.map(|field| (field, family.law(&field)));
            depths(&family, inputs, folder)?;
            circle(&family, folder, dots)?;
            let phases = phases(&family, folder)?;
            Some(FamilyCurves { family, fixed_point, phases })
        }
        None => None,
    };
    let layers = architecture.flat().iter().filter(|node| node.fan_in().is_some()).count();
    let r = mean_r(&regimes(architecture));
    Ok(LimitFinding::Curves(Box::new(LimitCurves { layers, r, inputs, orthogonal, scaled_parameters, family })))
}

impl LimitCurves {
    /// The numbers in the form of `theory.json`.
    pub(super) fn json(&self) -> Value {
        let mut numbers = json!({ "layers": self.layers, "r": self.r, "regime": self.r.map(|r| Regime::of(r).word()) });
        self.kernel(&mut numbers, &self.orthogonal);
        if let Some(relation) = &self.scaled_parameters {
            let mut scaled = json!({});
            self.kernel(&mut scaled, relation);
            numbers["ntk_parametrization"] = scaled;
        }
        let Some(FamilyCurves { family, fixed_point, phases }) = &self.family else { return numbers };
        let [head, block, tail] = family.names();
        numbers["family"] = json!({ "head": head, "block": block, "repeats": family.repeats(), "tail": tail });
        numbers["fixed_point"] = Value::Null;
        if let Some((field, law)) = fixed_point {
            let variance = matches!(field.fate, Fate::Tends | Fate::Stays).then_some(field.q);
            let fate = match field.fate {
                Fate::Tends => "tends",
                Fate::Stays => "every",
                Fate::Vanishes => "vanishes",
                Fate::Grows => "grows",
            };
            numbers["fixed_point"] = json!({
                "r": field.chi, "regime": Regime::of(field.chi).word(), "variance": variance, "variance_fate": fate,
                "correlation": field.c, "correlation_depth": field.correlation_depth(),
                "variance_depth": field.variance_depth(),
            });
            numbers["law"] = json!(law.words());
        }
        numbers["phases"] = match phases {
            Ok((weights, biases)) => json!({ "weights": weights, "biases": biases }),
            Err(reason) => json!({ "refused": reason }),
        };
        numbers
    }

    fn kernel(&self, numbers: &mut Value, relation: &Relation) {
        let number = relation.condition_number(self.inputs);
        numbers["inputs"] = json!(self.inputs);
        numbers["scaled_ntk"] = json!(relation.scaled());
        numbers["condition_number"] = if number.is_finite() { json!(number) } else { Value::Null };
        if !number.is_finite() {
            numbers["condition_number_above"] = json!(condition_bound(self.inputs));
        }
    }
}

/// Draws the scaled kernel against the angle between inputs on a circle, for the network's depth and for powers of two.
fn circle(family: &Family, folder: &Path, dots: Vec<(f64, f64)>) -> Result<(), Error> {
    let own = family.repeats();
    // Multiples of 2 degrees, or a coarser grid.
    let steps = (ENTRIES / (family.entries().max(1) * own.max(32))).clamp(6, 90);
    let angles: Vec<f64> = (0..=steps).map(|i| PI * i as f64 / steps as f64).collect();
    let is_large = family.entries() > 1 << 12;
    let Some(sweep) = family.sweep(&angles, if is_large { own } else { 32 })? else { return Ok(()) };
    // Depth counts linear layers, or blocks if a block has several linear layers.
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
    let table = csv::cells("layers,angle,scaled_ntk,ntk,correlation,repeats", rows);
    write_whole(&folder.join("circle.csv"), table.as_bytes())?;
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
    Ok(write_whole(&folder.join("circle.svg"), curves_svg(&axes, &curves)?.as_bytes())?)
}

fn titled(title: &str, family: &Family) -> String {
    format!("{title}: {}", family.words())
}

/// Inputs on a great circle of the sphere |x|² = features, 10 degrees apart, for `fintan ntk --inputs`.
pub(super) fn circle_inputs(folder: &Path, features: usize) -> Result<(), Error> {
    let radius = (features as f64).sqrt();
    let mut inputs = vec![0.0; 19 * features];
    for (i, x) in inputs.chunks_mut(features).enumerate() {
        let angle = PI * i as f64 / 18.0;
        (x[0], x[1]) = (radius * angle.cos(), radius * angle.sin());
    }
    Ok(write_npz(&folder.join("circle_inputs.npz"), &[("inputs", Array::f64(&[19, features], inputs))])?)
}

/// Draws the scaled kernel and the condition number of orthogonal inputs against depth.
fn depths(family: &Family, inputs: usize, folder: &Path) -> Result<(), Error> {
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
    write_whole(&folder.join("depth.csv"), csv::cells(head, rows).as_bytes())?;
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
    write_whole(&folder.join("depth.svg"), scaled.as_bytes())?;
    let title = titled(&format!("Condition number of {inputs} orthogonal inputs"), family);
    let conditioning =
        curves_svg(&axes(title, "condition number", true), &[line("", &|at| at.condition_number(inputs))])?;
    Ok(write_whole(&folder.join("condition.svg"), conditioning.as_bytes())?)
}

/// Draws the critical line r = 1 in the plane of the block's variances of weights and biases, with the place of the network.
/// The inner error says why there is no line.
fn phases(family: &Family, folder: &Path) -> Result<Result<(f64, f64), &'static str>, Error> {
    let Some((weights, biases)) = family.variances() else {
        return Ok(Err("linear layers of the block have weights or biases of different variances"));
    };
    let over: Vec<f64> = (0..=24).map(|i| f64::from(i) / 24.0).collect();
    let found = family.critical_line(&over)?;
    let line: Vec<(f64, f64)> = found.into_iter().zip(over).filter_map(|(w, b)| Some((w?, b))).collect();
    if line.is_empty() {
        return Ok(Err("with no variance of weights from 0.01 to 100 is the block between the two"));
    }
    let rows = line.iter().map(|&(w, b)| vec![w, b]);
    let table = csv::numbers("critical_weight_variance,bias_variance", rows);
    write_whole(&folder.join("phases.csv"), table.as_bytes())?;
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
    write_whole(&folder.join("phases.svg"), curves_svg(&axes, &curves)?.as_bytes())?;
    Ok(Ok((weights, biases)))
}

/// A number of a table, which may be outside the range of f64.
fn cell(number: Wide) -> String {
    if number.is_in_range() { number.value().to_string() } else { number.to_string() }
}
