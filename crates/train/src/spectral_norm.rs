//! Spectral normalization of a discriminator.
//!
//! The weight matrix W of each linear layer is replaced by `W / σ`, `σ = uᵀ W v`. The singular vectors u and v are updated
//! by power iterations in each step (Miyato et al., arXiv 1802.05957). Matrices are those of [`PlacedNetwork::parameters`]; for a
//! convolution it is `[k_h k_w c_in, c_out]`, the transpose of the matrix in that paper.
//!
//! It is a reparametrization outside the network. The network contains the effective weights `W / σ`, so kernels, samples
//! and exports use the function that is trained. The optimiser moves W.

use burn::tensor::{Tensor, TensorData};
use fintan_config::Layer;
use fintan_net::PlacedNetwork;
use fintan_net::weights::{Tensors, WeightsError, fitting};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// Number of power iterations before the first step, whose vectors are random.
const AT_START: usize = 30;

/// The weights that the optimiser moves, with their singular vectors.
#[derive(Clone)]
pub(crate) struct SpectralNorm {
    iterations: usize,
    /// Every parameter of the network; weights of linear layers before division by σ.
    raw: Vec<Tensor<2>>,
    layers: Vec<Singular>,
}

/// The largest singular value of a parameter, and its vectors.
#[derive(Clone)]
struct Singular {
    parameter: usize,
    /// `[rows, 1]`
    u: Tensor<2>,
    /// `[columns, 1]`
    v: Tensor<2>,
    /// `[1, 1]`
    sigma: Tensor<2>,
}

impl SpectralNorm {
    /// Starts with the weights of `network` as drawn; singular vectors are drawn from `rng`.
    pub(crate) fn new(network: &PlacedNetwork, iterations: usize, rng: &mut ChaCha20Rng) -> Self {
        let raw = network.parameters();
        let linear = |layer: &Layer| layer.properties().is_linear;
        let nodes = network.architecture().flat().into_iter().filter(|node| linear(&node.layer));
        let layers = nodes.filter_map(|node| node.index).map(|index| {
            let w = &raw[2 * index];
            let [rows, columns] = w.dims();
            let values: Vec<f64> = (0..rows).map(|_| StandardNormal.sample(rng)).collect();
            let data = TensorData::new(values, [rows, 1]).convert_dtype(w.dtype());
            let options = (&w.device(), w.dtype());
            let (u, v) = (unit(Tensor::from_data(data, options)), Tensor::zeros([columns, 1], options));
            Singular { parameter: 2 * index, u, v, sigma: Tensor::ones([1, 1], options) }
        });
        let mut norm = Self { iterations: AT_START, layers: layers.collect(), raw: Vec::new() };
        norm.renew(raw);
        norm.iterations = iterations;
        norm
    }

    /// The parameters that the optimiser moves.
    pub(crate) fn raw(&self) -> Vec<Tensor<2>> {
        self.raw.clone()
    }

    /// The parameters that the network uses.
    pub(crate) fn effective(&self) -> Vec<Tensor<2>> {
        let mut parameters = self.raw();
        for Singular { parameter, sigma, .. } in &self.layers {
            parameters[*parameter] = parameters[*parameter].clone() / sigma.clone();
        }
        parameters
    }

    /// Converts derivatives in the effective parameters to derivatives in the raw parameters. With u and v fixed,
    /// `dσ = uᵀ dW v`, so `dW = (D - ⟨D, W / σ⟩ u vᵀ) / σ`.
    pub(crate) fn pullback(&self, mut gradients: Vec<Tensor<2>>) -> Vec<Tensor<2>> {
        for Singular { parameter, u, v, sigma } in &self.layers {
            let d = gradients[*parameter].clone();
            let along = (d.clone() * self.raw[*parameter].clone()).sum().reshape([1, 1]) / sigma.clone();
            let direction = u.clone().matmul(v.clone().transpose());
            gradients[*parameter] = (d - direction * along) / sigma.clone();
        }
        gradients
    }

    /// Replaces the raw parameters, and updates the singular vectors.
    pub(crate) fn renew(&mut self, raw: Vec<Tensor<2>>) {
        self.raw = raw;
        for Singular { parameter, u, v, sigma } in &mut self.layers {
            let w = &self.raw[*parameter];
            for _ in 0..self.iterations {
                *v = unit(w.clone().transpose().matmul(u.clone()));
                *u = unit(w.clone().matmul(v.clone()));
            }
            *sigma = value(w, u, v);
        }
    }

    /// Raw weights with PyTorch's names and layouts, singular vectors as `{i}.u` and `{i}.v`.
    pub(crate) fn to_tensors(&self, network: &PlacedNetwork) -> Tensors {
        let mut tensors = network.with_parameters(self.raw()).to_tensors();
        for Singular { parameter, u, v, .. } in &self.layers {
            for (name, vector) in [("u", u), ("v", v)] {
                let data = vector.clone().reshape([vector.dims()[0]]).into_data();
                tensors.insert(format!("{}.{name}", parameter / 2), data);
            }
        }
        tensors
    }

    /// This norm with a stored state.
    ///
    /// # Errors
    /// Tensors that are missing or have other shapes.
    pub(crate) fn with_tensors(mut self, tensors: &Tensors, network: &PlacedNetwork) -> Result<Self, WeightsError> {
        let mut weights = tensors.clone();
        for Singular { parameter, .. } in &self.layers {
            for name in ["u", "v"] {
                weights.remove(&format!("{}.{name}", *parameter / 2));
            }
        }
        self.raw = network.with_tensors(&weights)?.parameters();
        for Singular { parameter, u, v, sigma } in &mut self.layers {
            let w = &self.raw[*parameter];
            for (name, vector) in [("u", &mut *u), ("v", &mut *v)] {
                let (name, len) = (format!("{}.{name}", *parameter / 2), vector.dims()[0]);
                let data = fitting(tensors, &name, &[len], w.dtype())?;
                *vector = Tensor::<1>::from_data(data, (&w.device(), w.dtype())).reshape([len, 1]);
            }
            *sigma = value(w, u, v);
        }
        Ok(self)
    }
}

/// `uᵀ W v`, with a lower bound that allows division.
fn value(w: &Tensor<2>, u: &Tensor<2>, v: &Tensor<2>) -> Tensor<2> {
    u.clone().transpose().matmul(w.clone().matmul(v.clone())).clamp_min(1e-12)
}

fn unit(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().square().sum().sqrt().clamp_min(1e-12).reshape([1, 1]);
    x / norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differences::{dot, placement, slope_along, spread};
    use fintan_config::{Adversarial, Architecture, GanLoss, R1, Shape};
    use fintan_net::Mode;
    use rand::SeedableRng as _;

    use crate::gradient_penalty::Penalties;
    use crate::losses::margin;

    fn discriminator() -> Architecture {
        let layers = r#"[{"conv":{"out":4,"kernel":4,"stride":2,"padding":1}},{"activation":{"function":"leaky_relu","slope":0.2}},
            {"layer_norm":{"eps":0.01}},{"conv":{"out":3,"kernel":3,"padding":1}},{"activation":{"function":"tanh"}},
            {"flatten":{}},{"dense":{"out":5}},{"activation":{"function":"softplus"}},{"dense":{"out":1}}]"#;
        let layers: Vec<Layer> = serde_json::from_str(layers).expect("layers");
        let standard = serde_json::from_str(r#"{"standard":{"init":"he","bias_std":0.2}}"#).expect("standard");
        Architecture::new(Shape::image(2, 6, 6), &layers, standard).expect("sound")
    }

    /// σ² is the largest eigenvalue of Wᵀ W; it is computed by Jacobi rotations of this small matrix.
    fn largest_singular_value(w: &Tensor<2>) -> f64 {
        let [_, n] = w.dims();
        let gram = w.clone().transpose().matmul(w.clone()).into_data().iter::<f64>().collect::<Vec<_>>();
        let mut a: Vec<Vec<f64>> = gram.chunks(n).map(<[f64]>::to_vec).collect();
        for _ in 0..60 {
            for p in 0..n {
                for q in p + 1..n {
                    if a[p][q].abs() < 1e-300 {
                        continue;
                    }
                    let theta = 0.5 * (2.0 * a[p][q]).atan2(a[q][q] - a[p][p]);
                    let (s, c) = theta.sin_cos();
                    for row in &mut a {
                        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                    }
                    let (first, second) = (a[p].clone(), a[q].clone());
                    let turned = |x: f64, y: f64| move |(u, v): (&f64, &f64)| x * u + y * v;
                    a[p] = first.iter().zip(&second).map(turned(c, -s)).collect();
                    a[q] = first.iter().zip(&second).map(turned(s, c)).collect();
                }
            }
        }
        (0..n).map(|i| a[i][i]).fold(0.0, f64::max).sqrt()
    }

    #[test]
    fn effective_weights_have_a_largest_singular_value_of_one_and_the_rest_is_left_alone() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let network = PlacedNetwork::init(&discriminator(), &mut rng, &placement());
        let norm = SpectralNorm::new(&network, 500, &mut rng);
        let mut followed = norm.clone();
        followed.renew(norm.raw());
        let linear = [0, 4, 6, 8];
        for (i, (effective, raw)) in followed.effective().iter().zip(network.parameters()).enumerate() {
            if linear.contains(&i) {
                assert!((largest_singular_value(effective) - 1.0).abs() < 1e-9, "parameter {i}");
                let sigma = largest_singular_value(&raw);
                let off = (effective.clone() - raw.div_scalar(sigma)).abs().max().into_scalar::<f64>();
                assert!(off < 1e-9, "parameter {i}");
            } else {
                assert_eq!(effective.to_data(), raw.to_data(), "parameter {i}");
            }
        }
    }

    /// Compares with central differences in the raw weights, with new singular vectors at each point: at the true vectors σ
    /// does not depend on u and v to first order. The function is a hinge loss with a gradient penalty, through the whole
    /// network.
    #[test]
    fn the_gradient_takes_sigma_into_account() {
        let to = placement();
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let network = PlacedNetwork::init(&discriminator(), &mut rng, &to);
        let mut norm = SpectralNorm::new(&network, 2000, &mut rng);
        norm.renew(norm.raw());
        let x = spread([3, 6, 6, 2], &mut rng, &to);
        let wanted = GanLoss { function: Adversarial::Hinge, r1: Some(R1 { gamma: 2.0, every: 1 }) };
        let penalties = Penalties::new(&wanted).expect("it has one");
        let parts = |effective: Vec<Tensor<2>>| {
            let network = network.with_parameters(effective);
            let (outputs, tape) = network.forward(x.clone(), Mode::Train);
            let own = margin(outputs, -1.0);
            let penalty = penalties.of(&network, &x, &x, 0, 0).expect("in every step");
            let gradients = network.pullback_parameters(&tape, own.cotangent).into_iter().zip(penalty.gradients);
            let value = (own.value + penalty.value).into_scalar::<f64>();
            (value, gradients.map(|(a, b)| a + b).collect::<Vec<_>>())
        };
        let gradients = norm.pullback(parts(norm.effective()).1);
        let height = |raw| {
            let mut moved = norm.clone();
            moved.renew(raw);
            parts(moved.effective()).0
        };
        for (p, gradient) in gradients.iter().enumerate() {
            let direction = spread(gradient.dims(), &mut rng, &to);
            let (slope, exact) = (slope_along(&norm.raw(), p, &direction, height), dot(gradient, &direction));
            assert!((exact - slope).abs() < 1e-6 * (1.0 + slope.abs()), "parameter {p}: {exact} and {slope}");
        }
    }

    #[test]
    fn a_stored_state_goes_on_exactly_and_a_damaged_one_is_named() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let network = PlacedNetwork::init(&discriminator(), &mut rng, &placement());
        let mut norm = SpectralNorm::new(&network, 1, &mut rng);
        let tensors = norm.to_tensors(&network);
        let drawn = SpectralNorm::new(&network, 1, &mut ChaCha20Rng::seed_from_u64(8));
        let mut again = drawn.clone().with_tensors(&tensors, &network).expect("fits");
        let next: Vec<_> = norm.raw().iter().map(|p| p.clone().mul_scalar(1.5).add_scalar(0.01)).collect();
        norm.renew(next.clone());
        again.renew(next);
        let bytes = |norm: &SpectralNorm| norm.effective().iter().map(Tensor::to_data).collect::<Vec<_>>();
        assert_eq!(bytes(&norm), bytes(&again));
        for (name, change) in [("0.u", None), ("3.v", Some(TensorData::new(vec![1.0_f64; 3], [3])))] {
            let mut tensors = tensors.clone();
            match change {
                None => tensors.remove(name),
                Some(data) => tensors.insert(name.into(), data),
            };
            let error = drawn.clone().with_tensors(&tensors, &network).err().expect("damaged").to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
