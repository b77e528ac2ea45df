//! Spectral normalization of a discriminator.
//!
//! The weight matrix W of each linear layer enters as `W / σ`, `σ = uᵀ W v` with singular vectors u and v that power
//! iterations follow from step to step (Miyato et al., arXiv 1802.05957). Matrices are those of [`Network::parameters`]:
//! `[k_h k_w c_in, c_out]` of a convolution, which is the matrix of that paper, transposed.
//!
//! It is a reparametrization in front of the network, which holds the effective weights `W / σ`: what reads a network
//! (kernels, samples, exports) sees the function that is trained. The optimiser moves W.

use burn::tensor::{Tensor, TensorData};
use fintan_config::Layer;
use fintan_net::Network;
use fintan_net::weights::{Tensors, WeightsError};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// Power iterations before the first step, whose vectors are random.
const AT_START: usize = 30;

/// Weights as the optimiser sees them, with their singular vectors.
#[derive(Clone)]
pub(crate) struct SpectralNorm {
    iterations: usize,
    /// Every parameter of the network; those of linear layers before they are divided.
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
    /// Follows the weights of `network` as it was drawn; vectors are drawn from `rng`.
    pub(crate) fn new(network: &Network, iterations: usize, rng: &mut ChaCha20Rng) -> Self {
        let raw = network.parameters();
        let linear = |layer: &Layer| matches!(layer, Layer::Dense(_) | Layer::Conv(_) | Layer::Deconv(_));
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

    /// The parameters as the optimiser sees them.
    pub(crate) fn raw(&self) -> Vec<Tensor<2>> {
        self.raw.clone()
    }

    /// The parameters that the network computes with.
    pub(crate) fn effective(&self) -> Vec<Tensor<2>> {
        let mut parameters = self.raw();
        for Singular { parameter, sigma, .. } in &self.layers {
            parameters[*parameter] = parameters[*parameter].clone() / sigma.clone();
        }
        parameters
    }

    /// Derivatives in the raw parameters, from those in the effective ones: with u and v held, `dσ = uᵀ dW v`, so
    /// `dW = (D - ⟨D, W / σ⟩ u vᵀ) / σ`.
    pub(crate) fn pullback(&self, mut gradients: Vec<Tensor<2>>) -> Vec<Tensor<2>> {
        for Singular { parameter, u, v, sigma } in &self.layers {
            let d = gradients[*parameter].clone();
            let along = (d.clone() * self.raw[*parameter].clone()).sum().reshape([1, 1]) / sigma.clone();
            let direction = u.clone().matmul(v.clone().transpose());
            gradients[*parameter] = (d - direction * along) / sigma.clone();
        }
        gradients
    }

    /// Takes other raw parameters and follows their singular vectors.
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

    /// Raw weights in PyTorch's names and layouts, vectors as `{i}.u` and `{i}.v`.
    pub(crate) fn to_tensors(&self, network: &Network) -> Tensors {
        let mut tensors = network.with_parameters(self.raw()).to_tensors();
        for Singular { parameter, u, v, .. } in &self.layers {
            for (name, vector) in [("u", u), ("v", v)] {
                let data = vector.clone().reshape([vector.dims()[0]]).into_data();
                tensors.insert(format!("{}.{name}", parameter / 2), data);
            }
        }
        tensors
    }

    /// The same in a state that was stored.
    ///
    /// # Errors
    /// Tensors that are missing or of other shapes.
    pub(crate) fn with_tensors(mut self, tensors: &Tensors, network: &Network) -> Result<Self, WeightsError> {
        self.raw = network.with_tensors(tensors)?.parameters();
        for Singular { parameter, u, v, sigma } in &mut self.layers {
            let w = &self.raw[*parameter];
            for (name, vector) in [("u", &mut *u), ("v", &mut *v)] {
                let (name, expected) = (format!("{}.{name}", *parameter / 2), vec![vector.dims()[0]]);
                let Some(data) = tensors.get(&name) else {
                    let present = tensors.keys().cloned().collect::<Vec<_>>().join(", ");
                    return Err(WeightsError::Missing { name, expected, present });
                };
                if data.shape().to_vec() != expected {
                    return Err(WeightsError::Shape { name, expected, found: data.shape().to_vec() });
                }
                if data.iter::<f64>().any(|value| !value.is_finite()) {
                    return Err(WeightsError::NotFinite { name });
                }
                let data = data.clone().convert_dtype(w.dtype());
                *vector = Tensor::<1>::from_data(data, (&w.device(), w.dtype())).reshape([expected[0], 1]);
            }
            *sigma = value(w, u, v);
        }
        Ok(self)
    }
}

/// `uᵀ W v`, not below what can be divided by.
fn value(w: &Tensor<2>, u: &Tensor<2>, v: &Tensor<2>) -> Tensor<2> {
    u.clone().transpose().matmul(w.clone().matmul(v.clone())).clamp_min(1e-12)
}

fn unit(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().square().sum().sqrt().clamp_min(1e-12).reshape([1, 1]);
    x / norm
}
