//! Networks at infinite width.

mod compare;
mod curves;
mod kernels;
mod positions;
mod study;
mod widths;

use fintan_artifact::Array;
use fintan_config::{Architecture, Shape};
use fintan_theory::{Regime, Standing as NetworkSummary, mean_r, regimes};

pub use self::curves::{FamilyCurves, LimitCurves};
pub use self::positions::{PixelLimit, PositionEigenspace, PositionSpectrum};
pub use self::study::{LimitFinding, LimitStudy, LimitStudyError, WrittenLimitStudy};
use crate::error::Error;
use crate::inputs::check_shape;

/// A network at infinite width: its kernels, its characteristic value r and its regime.
///
/// An output nonlinearity is left out, because its slopes stay random at infinite width.
///
/// ```
/// let net = fintan::Network::parse(r#"
///     [network]
///     input = 2
///     parametrization = { ntk = { beta = 0.0 } }
///     outputs = 1
///     fc = { widths = [64], activation = { function = "relu", scaling = "standardized" } }
/// "#)?;
/// let limit = fintan::Limit::of(net.architecture())?;
/// // A standardized ReLU has E[σ'(Z)²] = 1, which is the edge of chaos without biases.
/// assert_eq!(limit.regime(), Some(fintan::Regime::Edge));
/// let (x, y) = (vec![1.0, 1.0], vec![1.0, -1.0]);
/// let kernel = limit.kernel(&vec![x, y].into())?;
/// // Two layers: Θ(x, x) = 2, and of orthogonal inputs Θ = Σ = 1 / π (Cho and Saul, 2009).
/// let ntk = kernel.ntk.to_f64();
/// assert!((ntk[0] - 2.0).abs() < 1e-9 && (ntk[1] - 1.0 / std::f64::consts::PI).abs() < 1e-9);
/// assert!((kernel.nngp.to_f64()[1] - ntk[1]).abs() < 1e-9);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug)]
pub struct Limit {
    limit: fintan_theory::NetworkLimit,
    architecture: Architecture,
}

/// The kernels of a [`Limit`] between inputs, `[N, N]`, or `[N, N, P]` over the positions of an output image.
///
/// ```
/// let net = fintan::Network::parse("[network]\ninput = 2\nparametrization = { ntk = { beta = 0.0 } }\nlayers = [{ dense = { out = 1 } }]")?;
/// let kernel = fintan::Limit::of(net.architecture())?.kernel(&vec![vec![2.0, 0.0], vec![1.0, 1.0]].into())?;
/// // One layer is linear: Θ = Σ = x · y / 2, scaled to 1 / √2.
/// assert_eq!(kernel.ntk.shape, [2, 2]);
/// assert!((kernel.scaled()[1] - 0.5_f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LimitKernel {
    /// Σ, the covariance of outputs at initialisation (NNGP).
    pub nngp: Array<'static>,
    /// Θ, the neural tangent kernel.
    pub ntk: Array<'static>,
}

impl LimitKernel {
    /// Θ[n, n'] / (Θ[n, n] Θ[n', n'])^½, in the order of [`Self::ntk`].
    #[must_use]
    pub fn scaled(&self) -> Vec<f64> {
        let (n, values) = (self.ntk.shape[0], self.ntk.to_f64());
        let positions = values.len() / (n * n);
        let root = |i: usize, p: usize| values[(i * n + i) * positions + p].sqrt();
        let entry = |(at, &v): (usize, &f64)| {
            let (pair, p) = (at / positions, at % positions);
            v / (root(pair / n, p) * root(pair % n, p))
        };
        values.iter().enumerate().map(entry).collect()
    }
}

impl Limit {
    /// The limit of an architecture as it is initialised.
    ///
    /// # Errors
    /// Fails for a network with a layer that has no limit, such as batch norm.
    pub fn of(architecture: &Architecture) -> Result<Self, Error> {
        Ok(Self { limit: fintan_theory::NetworkLimit::new(architecture)?, architecture: architecture.clone() })
    }

    /// The geometric mean of the characteristic value r over layers and residual blocks; `None` for a network with one layer.
    #[must_use]
    pub fn r(&self) -> Option<f64> {
        mean_r(&regimes(&self.architecture))
    }

    /// The regime of r: order, edge or chaos.
    #[must_use]
    pub fn regime(&self) -> Option<Regime> {
        self.r().map(Regime::of)
    }

    /// NNGP and NTK between all inputs of an array, `[N, features]` or `[N, channels, rows, columns]`.
    ///
    /// # Errors
    /// Fails if the inputs have another shape, or if a quadrature does not converge.
    pub fn kernel(&self, inputs: &LimitInputs) -> Result<LimitKernel, Error> {
        let shape: Shape = self.architecture.input;
        let values = inputs.0.to_f64();
        check_shape(&inputs.0.shape, &values, shape)?;
        let x: Vec<&[f64]> = values.chunks(shape.len()).collect();
        let [nngp, ntk] = kernels::between(&self.limit, &x, None, false)?;
        Ok(LimitKernel { nngp, ntk })
    }

    /// Computes r, the kernel of orthogonal inputs, its condition number for `inputs` of them, and properties of output images.
    ///
    /// # Errors
    /// Fails if the inputs of the network are single numbers.
    pub fn summary(&self, inputs: usize) -> Result<NetworkSummary, Error> {
        Ok(NetworkSummary::of(&self.architecture, inputs)?)
    }
}

/// Inputs for a [`Limit`]: rows of features, or an array.
///
/// ```
/// let inputs = fintan::LimitInputs::from(vec![vec![1.0, 2.0]]);
/// assert_eq!(inputs.0.shape, [1, 2]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LimitInputs(pub Array<'static>);

impl From<Array<'static>> for LimitInputs {
    fn from(array: Array<'static>) -> Self {
        Self(array)
    }
}

impl From<Vec<Vec<f64>>> for LimitInputs {
    fn from(rows: Vec<Vec<f64>>) -> Self {
        Self(crate::inputs::array_of_rows(&rows))
    }
}
