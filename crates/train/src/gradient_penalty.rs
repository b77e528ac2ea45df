//! Penalties on the slope of a discriminator at images, which need second derivatives.

use burn::tensor::{Tensor, TensorData};
use fintan_config::{GanLoss, GradientPenalty, R1};
use fintan_net::{Mode, PlacedNetwork};
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;

use fintan_data::{Purpose, stream};

/// The penalties of a loss.
///
/// The slope ∇l(x) is computed by the network's own pullback, and the derivative of a penalty in the parameters by the tangent of
/// the pullback ([`PlacedNetwork::slope_cotangents`]).
#[derive(Clone)]
pub(crate) struct Penalties {
    wgan: Option<GradientPenalty>,
    r1: Option<R1>,
}

/// A penalty and its derivative in each parameter.
pub(crate) struct Penalty {
    pub(crate) value: Tensor<1>,
    pub(crate) gradients: Vec<Tensor<2>>,
}

impl Penalties {
    /// The penalties of a loss; `None` if it has none.
    pub(crate) fn new(loss: &GanLoss) -> Option<Self> {
        let wgan = loss.function.properties().slope_penalty;
        (wgan.is_some() || loss.r1.is_some()).then_some(Self { wgan, r1: loss.r1 })
    }

    /// The sum of the penalties of discriminator step `number`; `None` if the step has no penalty.
    ///
    /// # Shapes
    /// - `real`, `generated`: `[batch, rows, columns, channels]`
    pub(crate) fn of(
        &self,
        network: &PlacedNetwork,
        real: &Tensor<4>,
        generated: &Tensor<4>,
        seed: u64,
        number: u64,
    ) -> Option<Penalty> {
        let wgan = self.wgan.map(|GradientPenalty { penalty }| {
            let between = between(real, generated, &mut stream(seed, Purpose::Interpolation, number));
            // The added constant keeps the square root differentiable at 0.
            at(network, between, |squares| {
                let root = squares.add_scalar(1e-12).sqrt();
                let off = root.clone().sub_scalar(1.0);
                Height { value: off.clone().square().mul_scalar(penalty), slope: (off / root).mul_scalar(penalty) }
            })
        });
        let r1 = self.r1.filter(|r1| number.is_multiple_of(r1.every)).map(|R1 { gamma, every }| {
            let weight = 0.5 * gamma * every as f64;
            at(network, real.clone(), |squares| Height {
                value: squares.clone().mul_scalar(weight),
                slope: squares.ones_like().mul_scalar(weight),
            })
        });
        match (wgan, r1) {
            (Some(a), Some(b)) => Some(Penalty {
                value: a.value + b.value,
                gradients: a.gradients.into_iter().zip(b.gradients).map(|(a, b)| a + b).collect(),
            }),
            (one, other) => one.or(other),
        }
    }
}

/// A function h of |∇l(x)|² for each image, and its derivative h'.
struct Height {
    value: Tensor<2>,
    slope: Tensor<2>,
}

/// The penalty `mean h(|∇l(x)|²)`, with its derivatives `∂/∂θ ⟨v, ∇l(x)⟩` for `v = 2 h' ∇l(x) / n`.
fn at(network: &PlacedNetwork, x: Tensor<4>, height: impl Fn(Tensor<2>) -> Height) -> Penalty {
    let (outputs, tape) = network.forward(x, Mode::Train);
    let ones = outputs.ones_like();
    let slopes = network.pullback(&tape, ones.clone());
    let n = slopes.dims()[0];
    let Height { value, slope } = height(slopes.clone().reshape([n as i32, -1]).square().sum_dim(1));
    let v = slopes * slope.mul_scalar(2.0 / n as f64).reshape([n, 1, 1, 1]);
    Penalty { value: value.mean(), gradients: network.slope_cotangents(&tape, ones, v) }
}

/// `ε x + (1 - ε) x'`, with ε uniform in [0, 1) for each pair.
fn between(real: &Tensor<4>, generated: &Tensor<4>, rng: &mut ChaCha20Rng) -> Tensor<4> {
    let n = real.dims()[0];
    let shares: Vec<f32> = (0..n).map(|_| rng.random_range(0.0..1.0)).collect();
    let data = TensorData::new(shares, [n, 1, 1, 1]).convert_dtype(real.dtype());
    let share: Tensor<4> = Tensor::from_data(data, (&real.device(), real.dtype()));
    generated.clone() + (real.clone() - generated.clone()) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differences::{dot, placement, slope_along, spread};
    use fintan_config::{Adversarial, Architecture, Layer, Shape};
    use fintan_net::{Lowering, Placement};
    use rand::SeedableRng as _;

    /// Discriminators of 2x6x6 images with every kind of layer that has rules and does not couple images.
    const LAYERS: [&str; 8] = [
        r#"[{"conv":{"out":4,"kernel":4,"stride":2,"padding":1}},{"activation":{"function":"leaky_relu","slope":0.2}},
            {"conv":{"out":3,"kernel":3,"padding":1}},{"activation":{"function":"relu","scaling":"normalized"}},
            {"flatten":{}},{"dense":{"out":1}}]"#,
        r#"[{"conv":{"out":3,"kernel":3,"stride":2}},{"activation":{"function":"tanh"}},{"layer_norm":{"over":"chw","eps":0.01}},
            {"conv":{"out":1,"kernel":2}}]"#,
        r#"[{"conv":{"out":3,"kernel":[2,3],"stride":[2,1],"padding":[0,1]}},{"layer_norm":{"over":"features","eps":0.01}},
            {"activation":{"function":"gelu"}},{"global_average_pool":{}},{"dense":{"out":1}}]"#,
        r#"[{"flatten":{}},{"dense":{"out":7}},{"activation":{"function":"softplus"}},{"dense":{"out":5}},
            {"activation":{"function":"silu"}},{"dense":{"out":1}}]"#,
        r#"[{"conv":{"out":2,"kernel":3,"stride":3}},{"activation":{"function":"elu"}},
            {"deconv":{"out":2,"kernel":4,"stride":2,"padding":1}},{"activation":{"function":"sin"}},
            {"flatten":{}},{"dense":{"out":1}}]"#,
        r#"[{"conv":{"out":3,"kernel":1}},{"residual":{"layers":[{"activation":{"function":"erf"}},
            {"conv":{"out":3,"kernel":3,"padding":1}}],"shortcut":[],"scale":0.7}},{"activation":{"function":"selu"}},
            {"global_average_pool":{}},{"dense":{"out":1}}]"#,
        r#"[{"flatten":{}},{"dense":{"out":6}},{"activation":{"function":"abs"}},{"dense":{"out":4}},
            {"activation":{"function":"sigmoid"}},{"dense":{"out":1}}]"#,
        r#"[{"pad":{"before":1,"after":1,"mode":"periodic"}},{"conv":{"out":3,"kernel":3}},{"activation":{"function":"tanh"}},
            {"pad":{"before":[1,0],"after":1,"mode":"symmetric"}},{"conv":{"out":2,"kernel":4,"stride":2}},
            {"activation":{"function":"softplus"}},{"flatten":{}},{"dense":{"out":1}}]"#,
    ];

    fn discriminators() -> Vec<Architecture> {
        let parametrizations =
            [r#"{"standard":{"init":"he","bias_std":0.3}}"#, r#"{"ntk":{"beta":0.2}}"#, r#"{"graph":{"beta":0.2}}"#];
        let layers = LAYERS.iter().map(|text| serde_json::from_str::<Vec<Layer>>(text).expect("layers"));
        let each = layers.zip(parametrizations.iter().cycle());
        each.map(|(layers, p)| {
            let parametrization = serde_json::from_str(p).expect("a parametrization");
            Architecture::new(Shape::image(2, 6, 6), &layers, parametrization).expect("sound")
        })
        .collect()
    }

    fn losses() -> [GanLoss; 3] {
        let wgan = Adversarial::WganGp(GradientPenalty { penalty: 10.0 });
        [
            GanLoss { function: Adversarial::Bce, r1: Some(R1 { gamma: 3.0, every: 1 }) },
            GanLoss { function: wgan, r1: None },
            GanLoss { function: wgan, r1: Some(R1 { gamma: 0.7, every: 4 }) },
        ]
    }

    /// The penalties from their formulas, without autodiff.
    fn formula(loss: &GanLoss, network: &PlacedNetwork, real: &Tensor<4>, generated: &Tensor<4>) -> f64 {
        let squares = |x: Tensor<4>| -> Vec<f64> {
            let n = x.dims()[0];
            let (outputs, tape) = network.forward(x, Mode::Train);
            let slopes = network.pullback(&tape, outputs.ones_like()).into_data().iter::<f64>().collect::<Vec<_>>();
            slopes.chunks(slopes.len() / n).map(|slope| slope.iter().map(|v| v * v).sum()).collect()
        };
        let mean = |values: Vec<f64>, of: &dyn Fn(f64) -> f64| -> f64 {
            let n = values.len() as f64;
            values.into_iter().map(of).sum::<f64>() / n
        };
        let mut sum = 0.0;
        if let Adversarial::WganGp(GradientPenalty { penalty }) = loss.function {
            let mut rng = stream(1, Purpose::Interpolation, 8);
            sum += mean(squares(between(real, generated, &mut rng)), &|s| penalty * (s.sqrt() - 1.0).powi(2));
        }
        if let Some(R1 { gamma, every }) = loss.r1 {
            sum += mean(squares(real.clone()), &|s| 0.5 * gamma * s) * every as f64;
        }
        sum
    }

    /// `∂/∂θ ⟨v, ∇l(x)⟩` by autodiff through the pullback, whose rules are tensor operations.
    fn by_autodiff(network: &PlacedNetwork, x: &Tensor<4>, v: &Tensor<4>) -> Vec<Tensor<2>> {
        let to = network.placement();
        let taped = network.moved(&Placement { device: to.device.autodiff(), ..to });
        let leaves: Vec<_> = network.parameters().into_iter().map(|p| p.autodiff().require_grad()).collect();
        let taped = taped.with_parameters(leaves.clone());
        let (outputs, tape) = taped.forward(x.clone().autodiff(), Mode::Train);
        let slopes = taped.pullback(&tape, outputs.ones_like());
        let mut found = (slopes * v.clone().autodiff()).sum().backward();
        let each = leaves.iter().zip(network.parameters());
        each.map(|(leaf, p)| leaf.grad_remove(&mut found).unwrap_or_else(|| p.zeros_like())).collect()
    }

    /// The tangent of the pullback against autodiff through the pullback, in every lowering, with batch norms too.
    #[test]
    fn slope_cotangents_are_those_of_autodiff() {
        let normed = r#"[{"conv":{"out":4,"kernel":3,"padding":1}},{"batch_norm":{"eps":0.01}},{"activation":{"function":"mish"}},
            {"residual":{"layers":[{"batch_norm":{}},{"activation":{"function":"gelu_tanh"}},{"conv":{"out":4,"kernel":1}}],
            "shortcut":[{"conv":{"out":4,"kernel":1}}]}},{"avg_pool":{"window":2}},{"flatten":{}},{"dense":{"out":1}}]"#;
        let layers: Vec<Layer> = serde_json::from_str(normed).expect("layers");
        let parametrization = serde_json::from_str(r#"{"ntk":{"beta":0.2}}"#).expect("a parametrization");
        let normed = Architecture::new(Shape::image(2, 6, 6), &layers, parametrization).expect("sound");
        for (i, architecture) in discriminators().iter().chain([&normed]).enumerate() {
            // Burn's autodiff keeps 1/n of a mean in single precision.
            let is_mean = |node: &fintan_config::Node| matches!(node.layer, Layer::GlobalAveragePool(_));
            let within = if architecture.nodes.iter().any(is_mean) { 1e-8 } else { 1e-10 };
            for lowering in [Lowering::Views, Lowering::Host, Lowering::Native] {
                let to = Placement { lowering, ..placement() };
                let mut rng = ChaCha20Rng::seed_from_u64(i as u64);
                let network = PlacedNetwork::init(architecture, &mut rng, &to);
                let scattered = network.parameters().into_iter().map(|p| p.clone() + spread(p.dims(), &mut rng, &to));
                let network = network.with_parameters(scattered.collect());
                let [x, v] = [(), ()].map(|()| spread([3, 6, 6, 2], &mut rng, &to));
                let (outputs, tape) = network.forward(x.clone(), Mode::Train);
                let found = network.slope_cotangents(&tape, outputs.ones_like(), v.clone());
                for ((got, want), name) in
                    found.iter().zip(by_autodiff(&network, &x, &v)).zip(network.parameter_names())
                {
                    let largest = want.clone().abs().max().into_scalar::<f64>();
                    let off = (got.clone() - want).abs().max().into_scalar::<f64>();
                    assert!(off <= within * largest.max(1.0), "{i} {lowering:?} {name}: {off:e} of {largest:e}");
                }
            }
        }
    }

    /// Compares with central differences of the pullback on the plain device, in f64, in random directions of each
    /// parameter.
    #[test]
    fn penalties_have_the_derivatives_that_differences_show() {
        for (i, architecture) in discriminators().iter().enumerate() {
            for lowering in [Lowering::Views, Lowering::Host, Lowering::Native] {
                let to = Placement { lowering, ..placement() };
                let mut rng = ChaCha20Rng::seed_from_u64(i as u64);
                let network = PlacedNetwork::init(architecture, &mut rng, &to);
                let [real, generated] = [(), ()].map(|()| spread([3, 6, 6, 2], &mut rng, &to));
                for loss in losses() {
                    let parameters = network.parameters();
                    let penalties = Penalties::new(&loss).expect("it has some");
                    let found = penalties.of(&network, &real, &generated, 1, 8).expect("in step 8");
                    let value = found.value.into_scalar::<f64>();
                    let at = |parameters| formula(&loss, &network.with_parameters(parameters), &real, &generated);
                    let want = at(parameters.clone());
                    // The constant under the root is 1e-12.
                    assert!((value - want).abs() < 1e-6 * want.max(1e-3), "{i} {lowering:?}: {value} and {want}");
                    for (p, (gradient, name)) in found.gradients.iter().zip(network.parameter_names()).enumerate() {
                        let direction = spread(gradient.dims(), &mut rng, &to);
                        let slope = slope_along(&parameters, p, &direction, at);
                        let exact = dot(gradient, &direction);
                        let off = (exact - slope).abs();
                        assert!(
                            off < 2e-6 * (1.0 + slope.abs()),
                            "{i} {lowering:?} {loss:?} {name}: {exact} and {slope}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_lazy_penalty_comes_every_so_many_steps() {
        let (architecture, to) = (discriminators().remove(3), placement());
        let network = PlacedNetwork::init(&architecture, &mut ChaCha20Rng::seed_from_u64(0), &to);
        let real = spread([2, 6, 6, 2], &mut ChaCha20Rng::seed_from_u64(1), &to);
        let loss = GanLoss { function: Adversarial::Hinge, r1: Some(R1 { gamma: 1.0, every: 4 }) };
        let penalties = Penalties::new(&loss).expect("it has one");
        let there = |step| penalties.of(&network, &real, &real, 0, step).is_some();
        assert_eq!((0..9).filter(|&step| there(step)).collect::<Vec<_>>(), [0, 4, 8]);
        let none = GanLoss { function: Adversarial::Hinge, r1: None };
        assert!(Penalties::new(&none).is_none());
    }
}
