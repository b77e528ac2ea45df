//! Position kernels of generators away from borders, and their spectra in closed form.
//!
//! In a stack of transposed convolutions of stride s, two positions share weights in the k-th layer from the top only if s^k
//! divides their difference. So the kernel depends on (p, p') only through the largest such k: it is ultrametric. g_0, ...,
//! g_{K-1} are its values (the last on the diagonal), a_j = g_j - g_{j-1}, and |C_j| is the number of positions that share
//! at least class j with a given position. Then
//!
//! `λ_k = Σ_{j ≥ k} a_j |C_j|`, with multiplicity n/|C_k| - n/|C_{k-1}|
//!
//! Eigenspace k contains the patterns of period s^k that are orthogonal to those of period s^{k-1}: the constant image, then
//! checkerboards of period s, s², ... (arXiv 1907.05715).

use fintan_config::{Architecture, Convolution, Node, NormAxes, Parametrization, Transform};

use crate::dual::{Dual, GaussianPair};
use crate::limit::LimitError;
use crate::variances::Variances;

/// A kernel over positions that depends only on their valuation.
///
/// ```
/// use fintan_config::{Architecture, Beta, Parametrization, Shape};
/// use fintan_theory::Ultrametric;
///
/// let layers = [serde_json::from_str(r#"{ "deconv": { "out": 1, "kernel": 2, "stride": 2 } }"#)?];
/// let network = Architecture::new(Shape::image(1, 1, 1), &layers, Parametrization::Ntk(Beta { beta: 0.5 }))?;
/// // The 2 x 2 positions of the output share no weights, but they share the bias: β² = 0.25.
/// let kernel = Ultrametric::of(&network, [1.0; 3])?;
/// assert_eq!((&kernel.ntk, &kernel.sizes), (&vec![0.25, 1.0], &vec![4, 1]));
/// assert_eq!(kernel.spectrum(), [(1.75, 1), (0.75, 3)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ultrametric {
    /// Θ for each class: first pairs that share no weights, last a position with itself.
    pub ntk: Vec<f64>,
    /// Σ for each class.
    pub covariance: Vec<f64>,
    /// Number of positions that share at least this class with a given position: n, n/s², ..., 1.
    pub sizes: Vec<usize>,
    /// Parts of Θ for each class: `{i}.weight` and `{i}.bias`.
    pub parts: Vec<(String, Vec<f64>)>,
}

impl Ultrametric {
    /// The kernel of a generator for a pair of inputs with the mean squares and mean product `[|x|², |y|², x·y] / n`.
    ///
    /// # Errors
    /// A network whose interior is not ultrametric: convolutions of stride 1 with kernels above 1, maps that do not grow by
    /// the stride, or strides that do not divide the kernel unless the fan-in is counted at each position.
    pub fn of(architecture: &Architecture, moments: [f64; 3]) -> Result<Self, LimitError> {
        if architecture.input.positions() > 1 {
            return refuse("input", FROM_A_VECTOR);
        }
        let [x, y, product] = moments;
        let mut classes = Classes {
            covariance: vec![product],
            gap: vec![f64::midpoint(x, y) - product],
            second: [x, y],
            mean: [0.0; 2],
            parts: Vec::new(),
            sizes: vec![1],
            gaussian: false,
        };
        for node in &architecture.before_output().nodes {
            classes.pass(node, architecture.parametrization)?;
        }
        let mut ntk = vec![0.0; classes.sizes.len()];
        for (sum, value) in classes.parts.iter().flat_map(|(_, part)| part.iter().enumerate()).map(|(j, v)| (j, *v)) {
            ntk[sum] += value;
        }
        let found = Self { ntk, covariance: classes.covariance, sizes: classes.sizes, parts: classes.parts };
        // Eigenvalues are reported relative to the smallest of them.
        let spectrum = found.spectrum();
        let least = spectrum.iter().map(|(value, _)| *value).fold(f64::INFINITY, f64::min);
        if spectrum.iter().any(|(value, _)| !(value / least).is_finite()) {
            return Err(LimitError::NotFinite { what: "an eigenvalue over the smallest", log10: f64::NAN });
        }
        Ok(found)
    }

    /// The kernel with every part multiplied by factors (weights, biases) by index, for instance layer-dependent learning
    /// rates.
    #[must_use]
    pub fn with_rates(&self, rates: &[(f64, f64)]) -> Self {
        let mut scaled = self.clone();
        scaled.ntk.fill(0.0);
        for (name, part) in &mut scaled.parts {
            let rate = name.split_once('.').and_then(|(index, kind)| {
                let &(weights, biases) = rates.get(index.parse::<usize>().ok()?)?;
                Some(if kind == "bias" { biases } else { weights })
            });
            let rate = rate.unwrap_or(1.0);
            for (sum, value) in scaled.ntk.iter_mut().zip(part) {
                *value *= rate;
                *sum += *value;
            }
        }
        scaled
    }

    /// Θ divided by its value on the diagonal: ϑ for each class.
    #[must_use]
    pub fn scaled(&self) -> Vec<f64> {
        let diagonal = self.ntk.last().copied().unwrap_or(1.0);
        self.ntk.iter().map(|g| g / diagonal).collect()
    }

    /// Eigenvalues over the positions of one input, with their multiplicities: constant image first.
    #[must_use]
    pub fn spectrum(&self) -> Vec<(f64, usize)> {
        Self::eigenvalues(&self.ntk, &self.sizes)
    }

    /// λ_k of one part of the kernel: all parts have the same eigenspaces.
    #[must_use]
    pub fn part_spectrum(&self, part: &[f64]) -> Vec<(f64, usize)> {
        Self::eigenvalues(part, &self.sizes)
    }

    fn eigenvalues(g: &[f64], sizes: &[usize]) -> Vec<(f64, usize)> {
        let n = sizes[0];
        let step = |j: usize| g[j] - if j == 0 { 0.0 } else { g[j - 1] };
        (0..g.len())
            .map(|k| {
                let value = (k..g.len()).map(|j| step(j) * sizes[j] as f64).sum();
                (value, n / sizes[k] - if k == 0 { 0 } else { n / sizes[k - 1] })
            })
            .collect()
    }

    /// Fraction of the trace in each eigenspace.
    #[must_use]
    pub fn trace_shares(&self) -> Vec<f64> {
        let trace = self.sizes[0] as f64 * self.ntk.last().copied().unwrap_or(1.0);
        self.spectrum().iter().map(|&(value, count)| value * count as f64 / trace).collect()
    }
}

/// Moments for each class, corresponding to the moments by position in [`crate::NetworkLimit`].
struct Classes {
    covariance: Vec<f64>,
    gap: Vec<f64>,
    second: [f64; 2],
    mean: [f64; 2],
    parts: Vec<(String, Vec<f64>)>,
    sizes: Vec<usize>,
    gaussian: bool,
}

/// Positions of data would have their own covariances.
const FROM_A_VECTOR: &str = "the closed form starts from a vector";

fn refuse<T>(layer: &'static str, reason: &'static str) -> Result<T, LimitError> {
    Err(LimitError::Layer { layer, reason })
}

impl Classes {
    fn pass(&mut self, node: &Node, parametrization: Parametrization) -> Result<(), LimitError> {
        match node.transform() {
            Transform::Dense => {
                self.linear(node, parametrization);
                Ok(())
            }
            Transform::Conv(c) => self.windows(node, &c, false, parametrization),
            Transform::Deconv(c) => self.windows(node, &c, true, parametrization),
            Transform::Pointwise(activation) => self.activation(&Dual::new(activation)),
            Transform::LayerNorm(norm) if !norm.affine && (norm.over == NormAxes::Features || self.gaussian) => {
                self.layer_norm(norm.eps);
                Ok(())
            }
            Transform::LayerNorm(_) => refuse("layer_norm", "only norms over features without scales are ultrametric"),
            Transform::Reshape if node.output.positions() > 1 && self.parts.is_empty() => {
                refuse("reshape", FROM_A_VECTOR)
            }
            Transform::Reshape if node.input.is_vector() => {
                let positions = node.output.positions();
                if positions > 1 {
                    let off = self.mean[0] * self.mean[1];
                    self.split(positions, off, f64::midpoint(self.second[0], self.second[1]) - off, None);
                }
                Ok(())
            }
            Transform::BatchNorm(_) => refuse("batch_norm", "it couples the samples of a batch"),
            Transform::Reshape | Transform::Positions(_) | Transform::Residual { .. } => {
                refuse(node.layer.name(), "the closed form is for generators of transposed convolutions")
            }
        }
    }

    fn windows(
        &mut self,
        node: &Node,
        c: &Convolution,
        transposed: bool,
        parametrization: Parametrization,
    ) -> Result<(), LimitError> {
        let ([kh, kw], [sh, sw]) = (c.kernel.0, c.stride.0);
        if (kh, kw, sh, sw) == (1, 1, 1, 1) {
            self.linear(node, parametrization);
            return Ok(());
        }
        if !transposed {
            return refuse("conv", "windows that overlap at every position are not ultrametric");
        }
        let positions = node.output.positions();
        if node.input.positions() == 1 {
            // Every output position has its own tap; only the bias is shared.
            self.linear(node, parametrization);
            self.unshared(node, parametrization, positions);
            return Ok(());
        }
        let grown = [node.input.height * sh, node.input.width * sw] == [node.output.height, node.output.width];
        let divides = kh % sh == 0 && kw % sw == 0 || matches!(parametrization, Parametrization::Graph(_));
        if sh == 1 || sw == 1 || !grown || !divides {
            return refuse("deconv", "its interior is not ultrametric; the kernel over all pairs of positions is");
        }
        self.linear(node, parametrization);
        self.unshared(node, parametrization, positions);
        Ok(())
    }

    /// A linear layer in which two positions share all taps or none, so that it acts like a dense layer on each class.
    fn linear(&mut self, node: &Node, parametrization: Parametrization) {
        let Variances { weights, biases, scaled } = Variances::of(node, parametrization);
        let fan_in = node.fan_in().expect("a linear layer has a fan-in");
        let own = if scaled { weights } else { fan_in };
        let index = node.index.expect("a linear layer has parameters");
        for value in self.parts.iter_mut().flat_map(|(_, part)| part) {
            *value *= weights;
        }
        let count = self.sizes.len();
        self.parts.push((format!("{index}.weight"), self.covariance.iter().map(|a| own * a).collect()));
        self.parts.push((format!("{index}.bias"), vec![if scaled { biases } else { 1.0 }; count]));
        for (covariance, gap) in self.covariance.iter_mut().zip(&mut self.gap) {
            (*covariance, *gap) = (biases + weights * *covariance, weights * *gap);
        }
        self.second = self.second.map(|q| biases + weights * q);
        (self.mean, self.gaussian) = ([0.0; 2], true);
    }

    /// Adds a class at the front: pairs without a shared tap, which share only the bias.
    fn unshared(&mut self, node: &Node, parametrization: Parametrization, positions: usize) {
        let biases = Variances::of(node, parametrization).biases;
        let gap = f64::midpoint(self.second[0], self.second[1]) - biases;
        self.split(positions, biases, gap, node.index);
    }

    fn split(&mut self, positions: usize, covariance: f64, gap: f64, layer: Option<usize>) {
        self.covariance.insert(0, covariance);
        self.gap.insert(0, gap);
        self.sizes.insert(0, positions);
        let last = layer.map(|index| format!("{index}.bias"));
        for (name, part) in &mut self.parts {
            let shared = if Some(&*name) == last.as_ref() { part[0] } else { 0.0 };
            part.insert(0, shared);
        }
    }

    fn activation(&mut self, dual: &Dual) -> Result<(), LimitError> {
        if !self.gaussian {
            return refuse("activation", "its input is not Gaussian; weights must stand between two nonlinearities");
        }
        let [q1, q2] = self.second;
        for (j, gap) in self.gap.iter_mut().enumerate() {
            let duals = dual.pair(GaussianPair { q1, q2, gap: *gap })?;
            (self.covariance[j], *gap) = (duals.value, duals.gap);
            for (_, part) in &mut self.parts {
                part[j] *= duals.slope;
            }
        }
        let moments = self.second.map(|q| dual.moments(q));
        (self.second, self.mean) = (moments.map(|m| m.second), moments.map(|m| m.mean));
        self.gaussian = false;
        Ok(())
    }

    fn layer_norm(&mut self, eps: f64) {
        let [s, t] = self.mean;
        let [d, e] = [0, 1].map(|i| (self.second[i] - self.mean[i] * self.mean[i] + eps).sqrt());
        self.second = [0, 1].map(|i| (self.second[i] - self.mean[i] * self.mean[i]) / [d, e][i].powi(2));
        let half = f64::midpoint(self.second[0], self.second[1]);
        for (covariance, gap) in self.covariance.iter_mut().zip(&mut self.gap) {
            *covariance = (*covariance - s * t) / (d * e);
            *gap = if (s, d) == (t, e) { *gap / (d * e) } else { half - *covariance };
        }
        for value in self.parts.iter_mut().flat_map(|(_, part)| part) {
            *value /= d * e;
        }
        self.mean = [0.0; 2];
    }
}
