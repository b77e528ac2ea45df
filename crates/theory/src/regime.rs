//! Order or chaos, for each piece of a network.

use std::ops::Range;

use fintan_config::{Architecture, Node};

use crate::bulk::{Bulk, Rule};
use crate::wide::Wide;

/// The behaviour of small differences between inputs.
///
/// ```
/// use fintan_theory::Regime;
///
/// assert_eq!([0.9, 1.0, 1.1].map(Regime::of), [Regime::Order, Regime::Edge, Regime::Chaos]);
/// assert_eq!(Regime::of(1.1).word(), "chaos");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// r < 1: differences shrink; the kernel tends to a constant.
    Order,
    /// r = 1 within half a percent.
    Edge,
    /// r > 1: differences grow; the kernel tends to a Kronecker delta.
    Chaos,
}

impl Regime {
    /// The regime of a characteristic value.
    #[must_use]
    pub fn of(r: f64) -> Self {
        if (r - 1.0).abs() < 0.005 {
            Self::Edge
        } else if r < 1.0 {
            Self::Order
        } else {
            Self::Chaos
        }
    }

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Edge => "edge",
            Self::Chaos => "chaos",
        }
    }
}

/// The regime of one piece of a network: a linear layer with the layers before it, or a residual block.
///
/// ```
/// use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
///
/// let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.5 }))?;
/// let pieces = fintan_theory::regimes(&network);
/// assert_eq!((pieces.len(), pieces[0].r), (2, None)); // the first layer is linear in the input
/// assert!((pieces[1].r.expect("it has a limit") - 0.75).abs() < 1e-12); // r = 1 - β²
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PieceRegime {
    /// Indices of its parameters: the index of the linear layer, or all indices in a residual block.
    pub indices: Range<usize>,
    /// Whether it is a residual block.
    pub is_block: bool,
    /// Variance of its output at infinite width, away from borders, for inputs of unit variance; `None` after a layer
    /// without a limit.
    pub variance: Option<Wide>,
    /// Slope of the correlation map of the piece at equal inputs. `None` for a first linear layer, which is linear in the
    /// input, and after a layer without a limit.
    pub r: Option<f64>,
    /// Whether the piece contains a batch norm, which recentres over the batch; r does not include this effect.
    pub behind_batch_norm: bool,
}

/// Characteristic values of a network at its initialisation, in the limit of infinite width, in the order of its layers.
///
/// q is a variance, and d is half of a small mean square distance between two inputs. A piece maps (q, d) to (q', d'), and
/// `r = (d'/q') / (d/q)`. For weights of variance σ_w² / fan-in and biases of variance σ_b² after a nonlinearity,
///
/// `q' = σ_w² E[σ(√q Z)²] + σ_b²`, `r = σ_w² E[σ'(√q Z)²] q / q'`
///
/// For a standardized σ, σ_w² = 1 - β² and σ_b² = β² this is `r = (1 - β²) E[σ'(Z)²]`. A norm divides both by the variance
/// (arXiv 1907.05715; exact for layer norms). In a residual block, q and d of branch and shortcut are added.
#[must_use]
pub fn regimes(architecture: &Architecture) -> Vec<PieceRegime> {
    let mut found = Vec::new();
    let mut here = Some(Bulk::of(Wide::new(1.0)));
    // The start of the piece, and whether it contains a batch norm so far.
    let (mut before, mut behind_batch_norm) = (here, false);
    for node in &architecture.nodes {
        let coupled = |node: &Node| node.layer.properties().couples_batch;
        behind_batch_norm |= coupled(node) || inner(node).iter().any(|node| coupled(node));
        // After a layer without a limit, nothing is known.
        here = here.and_then(|bulk| bulk.step(&Rule::of(node, architecture.parametrization)).ok());
        let is_block = node.layer.residual().is_some();
        if node.fan_in().is_none() && !is_block {
            continue;
        }
        let indices: Vec<usize> = inner(node).iter().filter_map(|node| node.index).chain(node.index).collect();
        let first = indices.iter().copied().min().unwrap_or(0);
        let indices = first..indices.into_iter().max().map_or(first, |last| last + 1);
        let r = before.zip(here).map(|(before, here)| (here.slope / here.q).over(Wide::new(1.0) / before.q));
        let r = r.filter(|r| r.is_finite() && (is_block || !found.is_empty()));
        found.push(PieceRegime { indices, is_block, variance: here.map(|here| here.q), r, behind_batch_norm });
        here = here.map(Bulk::restarted);
        (before, behind_batch_norm) = (here, false);
    }
    found
}

/// All nodes inside a residual block.
fn inner(node: &Node) -> Vec<&Node> {
    node.branch.iter().chain(&node.shortcut).flat_map(|node| std::iter::once(node).chain(inner(node))).collect()
}

/// Geometric mean of r over the pieces with an r: the regime of the whole depth.
#[must_use]
pub fn mean_r(pieces: &[PieceRegime]) -> Option<f64> {
    if pieces.iter().any(|piece| piece.variance.is_none()) {
        return None;
    }
    let logs: Vec<f64> = pieces.iter().filter_map(|piece| piece.r).map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::{
        Activation, BatchNorm, Beta, Function, Init, Layer, LayerNorm, NormAxes, Parametrization, Residual, Scaling,
        Shape, Standard,
    };

    fn net(activation: Activation, norm: Option<&(bool, Layer)>, parametrization: Parametrization) -> Vec<PieceRegime> {
        let mut layers = Vec::new();
        for _ in 0..3 {
            layers.push(Layer::Dense(8.into()));
            match norm {
                None => layers.push(Layer::Activation(activation)),
                Some((true, norm)) => layers.extend([norm.clone(), Layer::Activation(activation)]),
                Some((false, norm)) => layers.extend([Layer::Activation(activation), norm.clone()]),
            }
        }
        layers.push(Layer::Dense(1.into()));
        regimes(&Architecture::new(Shape::vector(8), &layers, parametrization).expect("sound"))
    }

    fn near(got: Option<f64>, want: f64) {
        assert!(got.is_some_and(|r| (r - want).abs() < 1e-12), "{got:?} and {want}");
    }

    #[test]
    fn standardized_nets_have_the_characteristic_value_of_the_paper() {
        for function in [Function::Relu, Function::Tanh, Function::Gelu] {
            for scaling in [Scaling::Standardized, Scaling::Normalized] {
                let activation = Activation::raw(function).with_scaling(scaling);
                let found = net(activation, None, Parametrization::Ntk(Beta { beta: 0.3 }));
                assert_eq!(found[0].r, None);
                for layer in &found[1..] {
                    assert!(layer.variance.is_some_and(|q| (q.value() - 1.0).abs() < 1e-12));
                    near(layer.r, activation.characteristic_value(0.3));
                }
            }
        }
    }

    #[test]
    fn he_relu_is_at_the_edge_whatever_the_scale_of_the_weights() {
        let relu = Activation::raw(Function::Relu);
        for init in [Init::He, Init::Lecun, Init::Normal(0.02)] {
            let found = net(relu, None, Parametrization::Standard(Standard { init, bias_std: 0.0 }));
            near(found[2].r, 1.0);
            assert_eq!(Regime::of(found[2].r.expect("not the first")), Regime::Edge);
        }
    }

    #[test]
    fn a_norm_after_the_nonlinearity_normalizes_it_and_one_before_does_not() {
        let relu = Activation::raw(Function::Relu);
        let ntk = Parametrization::Ntk(Beta { beta: 0.1 });
        let layer_norm = Layer::LayerNorm(LayerNorm { over: NormAxes::Chw, affine: false, eps: 1e-300 });
        let batch_norm = Layer::BatchNorm(BatchNorm { affine: false, eps: 1e-300, momentum: 0.1 });
        let normalized = relu.with_scaling(Scaling::Normalized).characteristic_value(0.1);
        for norm in [layer_norm, batch_norm.clone()] {
            near(net(relu, Some(&(false, norm)), ntk)[2].r, normalized);
        }
        let before = net(relu, Some(&(true, batch_norm)), ntk);
        assert!(before[2].behind_batch_norm);
        // q = 1 before the raw ReLU: r = 0.99 · 0.5 / (0.99 · 0.5 + 0.01).
        near(before[2].r, 0.495 / 0.505);
    }

    /// A residual block is one piece. In dense, n times residual{normalized ReLU, dense, scale 1/√2}, dense with β = 0.1,
    /// each block has the slope (1 + 0.99 π/(π - 1))/2 = 1.226, so the network is chaotic.
    #[test]
    fn residual_blocks_are_seen_by_r() {
        let sigma = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Normalized));
        let block = Layer::Residual(Residual {
            layers: vec![sigma, Layer::Dense(8.into())],
            shortcut: Vec::new(),
            scale: std::f64::consts::FRAC_1_SQRT_2,
        });
        let of = |n: usize| {
            let layers = [vec![Layer::Dense(8.into())], vec![block.clone(); n], vec![Layer::Dense(1.into())]].concat();
            regimes(
                &Architecture::new(Shape::vector(8), &layers, Parametrization::Ntk(Beta { beta: 0.1 })).expect("sound"),
            )
        };
        let pi = std::f64::consts::PI;
        let slope = 0.5 * (1.0 + 0.99 * pi / (pi - 1.0));
        let found = of(4);
        assert_eq!(
            found.iter().map(|piece| piece.is_block).collect::<Vec<_>>(),
            [false, true, true, true, true, false]
        );
        for piece in &found[1..5] {
            near(piece.r, slope);
        }
        assert_eq!(found[2].indices, 2..3);
        near(found[5].r, 0.99);
        near(mean_r(&found), (slope.powi(4) * 0.99).powf(0.2));
        assert_eq!(mean_r(&found).map(Regime::of), Some(Regime::Chaos));
    }

    /// r does not depend on the scale if all layers are homogeneous, even if variances leave the range of f64.
    #[test]
    fn r_of_deep_networks_with_tiny_or_huge_weights() {
        for variance in [1e-3, 1e6] {
            let mut layers = Vec::new();
            for _ in 0..2000 {
                layers.extend([Layer::Dense(4.into()), Layer::Activation(Activation::raw(Function::Relu))]);
            }
            layers.push(Layer::Dense(1.into()));
            let standard = Parametrization::Standard(Standard { init: Init::Variance(variance), bias_std: 0.0 });
            let found = regimes(&Architecture::new(Shape::vector(4), &layers, standard).expect("sound"));
            let q = found[2000].variance.expect("a limit");
            assert!((q.log10() - 2000.0 * (0.5 * variance).log10() - variance.log10()).abs() < 1e-8, "{q}");
            near(mean_r(&found), 1.0);
        }
    }
}
