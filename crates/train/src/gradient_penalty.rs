//! Penalties on the slope of a discriminator at images: gradients of gradients.

use burn::tensor::Tensor;
use fintan_config::{Adversarial, Architecture, GanLoss, GradientPenalty, R1};
use fintan_net::{Mode, Network, Placement};
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;

use crate::seeds::{Purpose, stream};

/// The penalties of a loss, and the discriminator on the autodiff device.
///
/// The slope ∇l(x) comes from the network's own pullback. Its rules are tensor operations, so autodiff goes through them
/// and gives the derivative of a penalty in the parameters. There convolutions are strided views, or Burn's kernels: loops
/// over host memory give way.
#[derive(Clone)]
pub(crate) struct Penalties {
    /// Its parameters are given anew each time.
    network: Network,
    wgan: Option<GradientPenalty>,
    r1: Option<R1>,
}

/// A penalty and its derivative in each parameter.
pub(crate) struct Penalty {
    pub(crate) value: Tensor<1>,
    pub(crate) gradients: Vec<Tensor<2>>,
}

impl Penalties {
    /// Those of a loss, or none.
    pub(crate) fn new(loss: &GanLoss, discriminator: &Architecture, placement: &Placement) -> Option<Self> {
        let wgan = match loss.function {
            Adversarial::WganGp(penalty) => Some(penalty),
            _ => None,
        };
        let taped = Placement { device: placement.device.clone().autodiff(), ..placement.clone() };
        // Which weights are drawn here does not matter: none of them is used.
        let network = || Network::init(discriminator, &mut stream(0, Purpose::Discriminator, 0), &taped);
        (wgan.is_some() || loss.r1.is_some()).then(|| Self { network: network(), wgan, r1: loss.r1 })
    }

    /// The sum of the penalties in discriminator step `number`, if there is one then.
    ///
    /// # Shapes
    /// - `real`, `generated`: `[batch, rows, columns, channels]`
    pub(crate) fn of(
        &self,
        parameters: &[Tensor<2>],
        real: &Tensor<4>,
        generated: &Tensor<4>,
        seed: u64,
        number: u64,
    ) -> Option<Penalty> {
        let wgan = self.wgan.map(|GradientPenalty { penalty }| {
            let between = between(real, generated, &mut stream(seed, Purpose::Interpolation, number));
            // The root has no derivative at 0.
            self.at(parameters, between, |squares| {
                squares.add_scalar(1e-12).sqrt().sub_scalar(1.0).square().mul_scalar(penalty)
            })
        });
        let r1 = self.r1.filter(|r1| number.is_multiple_of(r1.every)).map(|R1 { gamma, every }| {
            let weight = 0.5 * gamma * every as f64;
            self.at(parameters, real.clone(), |squares| squares.mul_scalar(weight))
        });
        match (wgan, r1) {
            (Some(a), Some(b)) => Some(Penalty {
                value: a.value + b.value,
                gradients: a.gradients.into_iter().zip(b.gradients).map(|(a, b)| a + b).collect(),
            }),
            (one, other) => one.or(other),
        }
    }

    /// `mean height(|∇l(x)|²)`.
    fn at(&self, parameters: &[Tensor<2>], x: Tensor<4>, height: impl Fn(Tensor<2>) -> Tensor<2>) -> Penalty {
        let leaves: Vec<_> = parameters.iter().map(|p| p.clone().autodiff().require_grad()).collect();
        let network = self.network.with_parameters(leaves.clone());
        let (outputs, tape) = network.forward(x.autodiff(), Mode::Train);
        let slopes = network.pullback(&tape, outputs.ones_like());
        let n = slopes.dims()[0];
        let value = height(slopes.reshape([n as i32, -1]).square().sum_dim(1)).mean();
        let mut found = value.backward();
        let gradients = leaves
            .iter()
            .zip(parameters)
            // The slope does not depend on some of them, such as the last bias.
            .map(|(leaf, p)| leaf.grad_remove(&mut found).unwrap_or_else(|| p.zeros_like()))
            .collect();
        Penalty { value: value.inner(), gradients }
    }
}

/// `ε x + (1 - ε) x'`, ε uniform in [0, 1) for each pair.
fn between(real: &Tensor<4>, generated: &Tensor<4>, rng: &mut ChaCha20Rng) -> Tensor<4> {
    let n = real.dims()[0];
    let shares: Vec<f32> = (0..n).map(|_| rng.random_range(0.0..1.0)).collect();
    let data = burn::tensor::TensorData::new(shares, [n, 1, 1, 1]).convert_dtype(real.dtype());
    let share: Tensor<4> = Tensor::from_data(data, (&real.device(), real.dtype()));
    generated.clone() + (real.clone() - generated.clone()) * share
}
