//! What depth does to a network: angles, depth sweeps, the phase diagram.

use std::f64::consts::PI;
use std::path::Path;

use fintan_artifact::{Array, write_npz};
use fintan_config::{Activation, Architecture, Layer, Parametrization};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_theory::{AtDepth, Dual, Law, MeanField, Regime, critical_line, depth_sweep, depth_sweeps};
use serde_json::json;

use super::write_table;
use crate::failure::Failure;
use crate::voice::answer;

/// The dense network that has the hidden nonlinearity, the variances and the depth of another.
pub(super) struct Dense {
    pub(super) activation: Activation,
    pub(super) weights: f64,
    pub(super) biases: f64,
    /// Linear layers.
    pub(super) layers: usize,
    dual: Dual,
}

impl Dense {
    /// None where there is no hidden nonlinearity, or weights are of a size of their own in each layer.
    pub(super) fn of(architecture: &Architecture) -> Option<Self> {
        let nodes = architecture.flat();
        let linear = |layer: &Layer| matches!(layer, Layer::Dense(_) | Layer::Conv(_) | Layer::Deconv(_));
        let last = nodes.iter().rposition(|node| linear(&node.layer))?;
        let activation = nodes[..last].iter().find_map(|node| match node.layer {
            Layer::Activation(activation) => Some(activation),
            _ => None,
        })?;
        let layers = nodes.iter().filter(|node| linear(&node.layer)).count();
        let (weights, biases) = match architecture.parametrization {
            Parametrization::Ntk(b) | Parametrization::Graph(b) => (1.0 - b.beta * b.beta, b.beta * b.beta),
            Parametrization::Standard(standard) => (standard.init.variance()?, standard.bias_std * standard.bias_std),
        };
        Some(Self { activation, weights, biases, layers, dual: Dual::new(activation) })
    }

    fn sweep(&self, gap: f64, layers: usize) -> Result<Vec<AtDepth>, Failure> {
        Ok(depth_sweep(&self.dual, self.weights, self.biases, gap, layers)?)
    }

    /// Scaled kernel against the angle between inputs on a circle, for the network's depth and powers of two.
    pub(super) fn circle(&self, folder: &Path, dots: &[(f64, f64)]) -> Result<(), Failure> {
        let mut depths = vec![2, 4, 8, 16, 32];
        if !depths.contains(&self.layers) {
            depths.push(self.layers);
            depths.sort_unstable();
        }
        let deepest = depths[depths.len() - 1];
        let angles: Vec<f64> = (0..=90).map(|i| PI * f64::from(i) / 90.0).collect();
        // 1 - cos, exact near 0.
        let gaps: Vec<f64> = angles.iter().map(|a| 2.0 * (a / 2.0).sin().powi(2)).collect();
        let sweeps = depth_sweeps(&self.dual, self.weights, self.biases, &gaps, deepest)?;
        let rows = angles.iter().zip(&sweeps).flat_map(|(angle, sweep)| {
            depths.iter().map(move |&l| {
                let at = &sweep[l - 1];
                vec![l as f64, *angle, at.scaled(), at.ntk, 1.0 - at.one_minus_correlation]
            })
        });
        write_table(&folder.join("circle.csv"), "layers,angle,scaled_ntk,ntk,correlation", rows)?;
        let mut curves: Vec<Curve> = depths
            .iter()
            .map(|&l| Curve {
                name: format!("L = {l}"),
                points: angles.iter().zip(&sweeps).map(|(a, sweep)| (*a, sweep[l - 1].scaled())).collect(),
                mark: if l == self.layers { Mark::Line } else { Mark::Dashed },
            })
            .collect();
        if !dots.is_empty() {
            curves.push(Curve { name: "finite width".into(), points: dots.to_vec(), mark: Mark::Dots });
        }
        let axes = Axes {
            title: "Scaled NTK between points of the sphere".into(),
            x: "angle".into(),
            y: "scaled NTK".into(),
            ..Axes::default()
        };
        super::write(&folder.join("circle.svg"), curves_svg(&axes, &curves)?.as_bytes())
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
    pub(super) fn depths(&self, folder: &Path, inputs: usize) -> Result<AtDepth, Failure> {
        let deepest = 64.max(self.layers);
        let sweep = self.sweep(1.0, deepest)?;
        let rows = sweep.iter().map(|at| {
            let correlation = 1.0 - at.one_minus_correlation;
            vec![at.layers as f64, at.variance, correlation, at.own_ntk, at.scaled(), at.condition_number(inputs)]
        });
        write_table(&folder.join("depth.csv"), "layers,variance,correlation,ntk,scaled_ntk,condition_number", rows)?;
        let line = |name: &str, of: &dyn Fn(&AtDepth) -> f64| Curve {
            name: name.into(),
            points: sweep.iter().map(|at| (at.layers as f64, of(at))).collect(),
            mark: Mark::Line,
        };
        let axes = |title: &str, y: &str, log_y| Axes {
            title: title.into(),
            x: "linear layers L".into(),
            y: y.into(),
            log_y,
            ..Axes::default()
        };
        let scaled = curves_svg(
            &axes("Orthogonal inputs through depth", "", false),
            &[
                line("scaled NTK", &AtDepth::scaled),
                line("correlation of outputs", &|at| 1.0 - at.one_minus_correlation),
            ],
        )?;
        super::write(&folder.join("depth.svg"), scaled.as_bytes())?;
        let title = format!("Condition number of the kernel of {inputs} orthogonal inputs");
        let conditioning =
            curves_svg(&axes(&title, "condition number", true), &[line("", &|at| at.condition_number(inputs))])?;
        super::write(&folder.join("condition.svg"), conditioning.as_bytes())?;
        Ok(sweep[self.layers - 1])
    }

    /// The critical line χ₁ = 1 over variances of weights and biases, and the network's place.
    pub(super) fn phases(&self, folder: &Path) -> Result<(), Failure> {
        let biases: Vec<f64> = (0..=24).map(|i| f64::from(i) / 24.0).collect();
        let found = critical_line(&self.dual, &biases);
        let line: Vec<(f64, f64)> = found.into_iter().zip(biases).filter_map(|(w, b)| Some((w?, b))).collect();
        let rows = line.iter().map(|&(w, b)| vec![w, b]);
        write_table(&folder.join("phases.csv"), "critical_weight_variance,bias_variance", rows)?;
        let axes = Axes {
            title: "Order (left) and chaos (right) of the critical line".into(),
            x: "variance of the weights, times the fan-in".into(),
            y: "variance of the biases".into(),
            from_zero: true,
            ..Axes::default()
        };
        let curves = [
            Curve { name: "r = 1".into(), points: line, mark: Mark::Line },
            Curve { name: "this network".into(), points: vec![(self.weights, self.biases)], mark: Mark::Dots },
        ];
        super::write(&folder.join("phases.svg"), curves_svg(&axes, &curves)?.as_bytes())
    }

    /// The regime in words and numbers.
    pub(super) fn regime(&self, at: &AtDepth, inputs: usize, quiet: bool) -> Result<serde_json::Value, Failure> {
        let field = MeanField::of(&self.dual, self.weights, self.biases)?;
        let law = field.map(|field| Law::of(&self.dual, &field));
        if !quiet {
            answer!("a dense network of this depth and nonlinearity, on the sphere");
            if let (Some(field), Some(law)) = (&field, &law) {
                answer!("  r = {:.6}: {}; {}", field.chi, Regime::of(field.chi).word(), law.words());
                answer!("  variance tends to {:.6}, correlations to {:.6}", field.q, field.c);
                if let Some(depth) = field.correlation_depth() {
                    answer!("  depth scale of correlations {depth:.3} layers");
                }
            } else {
                answer!("  the variance has no fixed point above 0: it vanishes or grows without bound");
            }
            answer!("  at L = {}: scaled NTK of orthogonal inputs {:.6}", at.layers, at.scaled());
            answer!("  at L = {}: condition number of {inputs} of them {:.4}", at.layers, at.condition_number(inputs));
        }
        Ok(json!({
            "layers": at.layers, "scaled_ntk": at.scaled(), "condition_number": at.condition_number(inputs),
            "activation": self.activation,
            "fixed_point": field.map(|f| json!({
                "r": f.chi, "regime": Regime::of(f.chi).word(), "variance": f.q, "correlation": f.c,
                "correlation_depth": f.correlation_depth(), "variance_depth": f.variance_depth(),
            })),
            "law": law.map(|law| law.words()),
        }))
    }
}
