//! The tangent of the pullback against autodiff through the pullback, against differences, and against its own symmetry.

use burn::tensor::Tensor;
use fintan_config::{Architecture, Layer, Shape};
use fintan_net::{Cotangents, Lowering, Mode, PlacedNetwork, Placement};

use fintan_testing::networks::{
    dot, flex, golden, ndarray, normal, placements, random_architecture, relative_difference, rng,
};

/// A network with parameters away from their start (scales of norms are 1 there), inputs, cotangents and tangents.
struct Case {
    name: String,
    network: PlacedNetwork,
    x: Tensor<4>,
    dx: Tensor<4>,
    dy: Tensor<4>,
    dy_tangent: Tensor<4>,
    d_parameters: Cotangents,
}

fn case(name: String, architecture: &Architecture, seed: u64, to: &Placement) -> Case {
    let mut random = rng(seed);
    let network = PlacedNetwork::init(architecture, &mut random, to);
    let moved = network.parameters().into_iter().map(|p| p.clone() + normal(p.dims(), &mut random, to).mul_scalar(0.3));
    let network = network.with_parameters(moved.collect());
    let Shape { channels, height, width } = architecture.input;
    let [x, dx] = [(), ()].map(|()| normal([3, height, width, channels], &mut random, to));
    let Shape { channels, height, width } = architecture.output();
    let [dy, dy_tangent] = [(), ()].map(|()| normal([3, height, width, channels], &mut random, to));
    let d_parameters = network.parameters().iter().map(|p| normal(p.dims(), &mut random, to)).collect();
    Case { name, network, x, dx, dy, dy_tangent, d_parameters }
}

fn architectures() -> impl Iterator<Item = (String, Architecture)> {
    let golden = golden().into_iter().map(|case| (case.name, case.architecture));
    golden.chain((0..40).map(|seed| (format!("seed {seed}"), random_architecture(3000 + seed))))
}

/// Networks for which autodiff through the pullback is exact. Burn's autodiff rounds the divisor of a quotient to single precision,
/// and the pullback of a mean over all positions is a quotient; differences test these networks.
fn exact_architectures() -> impl Iterator<Item = (String, Architecture)> {
    let is_mean = |node: &fintan_config::Node| {
        matches!(node.layer, Layer::GlobalAveragePool(_) | Layer::AvgPool(_)) && node.output.positions() == 1
    };
    architectures().filter(move |(_, architecture)| !architecture.flat().iter().any(|node| is_mean(node)))
}

impl Case {
    /// The derivative of `(∂f/∂θ)ᵀ dy` along dθ, and along the other tangents that are given.
    fn found(&self, dx: Option<&Tensor<4>>, dy_tangent: Option<&Tensor<4>>) -> Cotangents {
        self.found_along(&self.d_parameters, dx, dy_tangent)
    }

    fn found_along(
        &self,
        d_parameters: &[Tensor<2>],
        dx: Option<&Tensor<4>>,
        dy_tangent: Option<&Tensor<4>>,
    ) -> Cotangents {
        let (_, tape) = self.network.forward(self.x.clone(), Mode::Train);
        let dx = dx.cloned().unwrap_or_else(|| self.x.zeros_like());
        let (_, tangents) = self.network.pushforward_taped(&tape, dx, Some(d_parameters));
        self.network.pullback_parameters_tangent(&tape, &tangents, self.dy.clone(), dy_tangent.cloned())
    }

    /// The pullback of `dy + t dy_tangent` at parameters and inputs that are moved by t along their tangents.
    fn pulled(&self, t: f64) -> Cotangents {
        let moved = self.network.parameters().into_iter().zip(&self.d_parameters);
        let network = self.network.with_parameters(moved.map(|(p, d)| p + d.clone().mul_scalar(t)).collect());
        let (_, tape) = network.forward(self.x.clone() + self.dx.clone().mul_scalar(t), Mode::Train);
        network.pullback_parameters(&tape, self.dy.clone() + self.dy_tangent.clone().mul_scalar(t))
    }

    /// The derivatives in parameters and inputs of `⟨(∂f/∂θ)ᵀ dy, dθ⟩`, by autodiff through the pullback.
    fn by_autodiff(&self) -> Cotangents {
        let to = self.network.placement();
        let taped = self.network.moved(&Placement {
            device: to.device.autodiff(),
            lowering: Lowering::Views,
            ..self.network.placement()
        });
        let leaves: Vec<_> = self.network.parameters().into_iter().map(|p| p.autodiff().require_grad()).collect();
        let taped = taped.with_parameters(leaves.clone());
        let (_, tape) = taped.forward(self.x.clone().autodiff(), Mode::Train);
        let gradients = taped.pullback_parameters(&tape, self.dy.clone().autodiff());
        let along = gradients.into_iter().zip(&self.d_parameters).map(|(g, d)| (g * d.clone().autodiff()).sum());
        let mut found = along.reduce(|a, b| a + b).expect("parameters").backward();
        let each = leaves.iter().zip(self.network.parameters());
        each.map(|(leaf, p)| leaf.grad_remove(&mut found).unwrap_or_else(|| p.zeros_like())).collect()
    }

    /// The largest difference of two lists, over the largest value of the second list or 1.
    fn off(&self, found: &[Tensor<2>], wanted: &[Tensor<2>]) -> f64 {
        let largest = |t: Tensor<2>| t.abs().max().into_scalar::<f64>();
        let size = wanted.iter().map(|w| largest(w.clone())).fold(1.0_f64, f64::max);
        let each = found.iter().zip(wanted).map(|(f, w)| largest(f.clone() - w.clone()));
        let off = each.fold(0.0_f64, |m, x| if x.is_nan() { x } else { m.max(x) }) / size;
        assert!(off.is_finite(), "{}", self.name);
        off
    }
}

/// `Σ_k dy_k ∂²y_k/∂θ² dθ` by autodiff through the pullback, on both CPU backends and in every lowering.
#[test]
fn products_with_second_derivatives_are_those_of_autodiff() {
    let mut curved = 0;
    for (i, (name, architecture)) in exact_architectures().enumerate() {
        for to in placements() {
            let case = case(name.clone(), &architecture, i as u64, &to);
            let (found, wanted) = (case.found(None, None), case.by_autodiff());
            let off = case.off(&found, &wanted);
            assert!(off < 1e-10, "{name}, {to:?}: {off:e}");
            curved += usize::from(wanted.iter().any(|w| w.clone().abs().max().into_scalar::<f64>() > 1e-3));
        }
    }
    assert!(curved > 150, "only {curved} cases have second derivatives");
}

/// All tangents at once against differences of fourth order.
#[test]
fn the_tangent_of_the_pullback_is_what_differences_show() {
    for (i, (name, architecture)) in architectures().enumerate() {
        for device in [flex().device, ndarray()] {
            let to = Placement { device, lowering: Lowering::Host, ..flex() };
            let case = case(name.clone(), &architecture, i as u64, &to);
            let h = 1e-4;
            let [up, down, far_up, far_down] = [h, -h, 2.0 * h, -2.0 * h].map(|t| case.pulled(t));
            let wanted: Cotangents = (0..up.len())
                .map(|p| {
                    let near = (up[p].clone() - down[p].clone()).mul_scalar(8.0);
                    (near - (far_up[p].clone() - far_down[p].clone())).div_scalar(12.0 * h)
                })
                .collect();
            let off = case.off(&case.found(Some(&case.dx), Some(&case.dy_tangent)), &wanted);
            assert!(off < 1e-7, "{name}: {off:e}");
        }
    }
}

/// Second derivatives are symmetric, and the rule is linear in its tangents.
#[test]
fn second_derivatives_are_symmetric_and_tangents_add_up() {
    for (i, (name, architecture)) in architectures().enumerate() {
        for to in placements() {
            let case = case(name.clone(), &architecture, i as u64, &to);
            let u: Cotangents = {
                let mut random = rng(900 + i as u64);
                case.d_parameters.iter().map(|d| normal(d.dims(), &mut random, &to)).collect()
            };
            let sum = |a: &[Tensor<2>], b: &[Tensor<2>]| a.iter().zip(b).map(|(a, b)| dot(a, b)).sum::<f64>();
            let along = case.found(None, None);
            let [uv, vu] = [sum(&u, &along), sum(&case.d_parameters, &case.found_along(&u, None, None))];
            let size = sum(&u, &u).sqrt() * sum(&along, &along).sqrt();
            assert!((uv - vu).abs() < 1e-12 * size.max(1.0), "{name}, {to:?}: {uv} and {vu}");

            let (_, tape) = case.network.forward(case.x.clone(), Mode::Train);
            let by_input = case.network.slope_cotangents(&tape, case.dy.clone(), case.dx.clone());
            let by_cotangent = case.network.pullback_parameters(&tape, case.dy_tangent.clone());
            let parts: Cotangents =
                along.into_iter().zip(by_input).zip(by_cotangent).map(|((a, b), c)| a + b + c).collect();
            let off = case.off(&case.found(Some(&case.dx), Some(&case.dy_tangent)), &parts);
            assert!(off < 1e-12, "{name}, {to:?}: {off:e}");
        }
    }
}

/// `∂/∂θ ⟨v, (∂f/∂x)ᵀ dy⟩` on both CPU backends, by autodiff through the pullback.
#[test]
fn slope_cotangents_of_random_networks_are_those_of_autodiff() {
    for (i, (name, architecture)) in exact_architectures().enumerate() {
        for to in placements() {
            let case = case(name.clone(), &architecture, i as u64, &to);
            let taped = case.network.moved(&Placement {
                device: to.device.clone().autodiff(),
                lowering: Lowering::Views,
                ..to.clone()
            });
            let leaves: Vec<_> = case.network.parameters().into_iter().map(|p| p.autodiff().require_grad()).collect();
            let taped = taped.with_parameters(leaves.clone());
            let (_, tape) = taped.forward(case.x.clone().autodiff(), Mode::Train);
            let slope = taped.pullback(&tape, case.dy.clone().autodiff());
            let mut gradients = (slope * case.dx.clone().autodiff()).sum().backward();
            let each = leaves.iter().zip(case.network.parameters());
            let wanted: Cotangents =
                each.map(|(leaf, p)| leaf.grad_remove(&mut gradients).unwrap_or_else(|| p.zeros_like())).collect();

            let (_, tape) = case.network.forward(case.x.clone(), Mode::Train);
            let found = case.network.slope_cotangents(&tape, case.dy.clone(), case.dx.clone());
            let off = case.off(&found, &wanted);
            assert!(off < 1e-10, "{name}, {to:?}: {off:e}");
        }
    }
}

/// With running statistics a batch norm is affine: its tangents are tested apart, against differences.
#[test]
fn tangents_of_evaluation_mode_are_what_differences_show() {
    let architecture = golden()
        .into_iter()
        .map(|case| case.architecture)
        .find(Architecture::is_batch_coupled)
        .expect("a golden case has a batch norm");
    let case = case("running statistics".into(), &architecture, 4, &flex());
    let pulled = |t: f64| {
        let moved = case.network.parameters().into_iter().zip(&case.d_parameters);
        let network = case.network.with_parameters(moved.map(|(p, d)| p + d.clone().mul_scalar(t)).collect());
        let (_, tape) = network.forward(case.x.clone(), Mode::Eval);
        network.pullback_parameters(&tape, case.dy.clone())
    };
    let (_, tape) = case.network.forward(case.x.clone(), Mode::Eval);
    let (_, tangents) = case.network.pushforward_taped(&tape, case.x.zeros_like(), Some(&case.d_parameters));
    let found = case.network.pullback_parameters_tangent(&tape, &tangents, case.dy.clone(), None);
    let h = 1e-4;
    let [up, down, far_up, far_down] = [h, -h, 2.0 * h, -2.0 * h].map(pulled);
    let mut compared = 0;
    for (p, found) in found.iter().enumerate() {
        let near = (up[p].clone() - down[p].clone()).mul_scalar(8.0);
        let wanted = (near - (far_up[p].clone() - far_down[p].clone())).div_scalar(12.0 * h);
        if wanted.clone().abs().max().into_scalar::<f64>() > 1e-6 {
            assert!(relative_difference(found, &wanted) < 1e-7, "parameter {p}");
            compared += 1;
        }
    }
    assert!(compared >= 2, "only {compared} parameters have second derivatives");
}
