//! Where a network stands between order and chaos: the numbers that goals are about.

use fintan_config::{Architecture, Shape};

use super::TuneError;
use crate::depth::condition;
use crate::limit::{Limit, LimitError, Request};
use crate::regime::{Regime, regimes};
use crate::valuation::Ultrametric;

/// Pixels that count as the border of an image.
const FRAME: usize = 2;

/// A network at infinite width, in the numbers that decide between order and chaos.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Geometric mean over layers of the characteristic value r; none of a network of one layer.
    pub r: Option<f64>,
    /// ϑ between two orthogonal inputs.
    pub scaled: f64,
    /// Condition number of the kernel of `inputs` orthogonal inputs.
    pub condition: f64,
    /// Number of inputs of the condition number.
    pub inputs: usize,
    /// Eigenspaces over positions away from borders, constant image first; none for vectors, and the reason where the
    /// kernel has no such closed form.
    pub blocks: Option<Result<Vec<Block>, TuneError>>,
    /// Mean variance of the outermost two pixels over that of the interior; none where there is no interior.
    pub border: Option<f64>,
}

/// An eigenspace over the positions of an image: patterns of one period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// λ_k over the smallest of them.
    pub ratio: f64,
    /// Its dimension.
    pub multiplicity: usize,
    /// Its share of the trace.
    pub share: f64,
}

impl Standing {
    /// Of a network as it is initialised.
    ///
    /// # Errors
    /// A network without a limit, or with a single input value.
    pub fn of(architecture: &Architecture, inputs: usize) -> Result<Self, TuneError> {
        let pair = scaled(architecture, 0.0)?;
        let blocks = (!architecture.output().is_vector()).then(|| blocks(architecture));
        Ok(Self {
            r: mean_r(architecture),
            scaled: pair.scaled,
            condition: condition(pair.scaled, inputs),
            inputs,
            blocks,
            border: border_ratio(architecture.output(), &pair.variances),
        })
    }

    /// The regime of the mean r.
    #[must_use]
    pub fn regime(&self) -> Option<Regime> {
        self.r.map(Regime::of)
    }
}

/// Geometric mean of r over the layers that have one.
pub(super) fn mean_r(architecture: &Architecture) -> Option<f64> {
    let logs: Vec<f64> = regimes(architecture).iter().filter_map(|layer| layer.r).map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// Two inputs of a network.
pub(super) struct Scaled {
    /// ϑ, summed over output positions.
    pub(super) scaled: f64,
    /// Σ_pp of the first input.
    variances: Vec<f64>,
}

/// `ϑ = Σ_p Θ_pp(x, y) / √(Σ_p Θ_pp(x, x) Σ_p Θ_pp(y, y))` of two inputs with |x|² = |y|² = n, x·y = c n.
pub(super) fn scaled(architecture: &Architecture, c: f64) -> Result<Scaled, TuneError> {
    let limit = Limit::new(architecture)?;
    let [x, y] = inputs(limit.input(), c)?;
    let request = Request::default();
    let traced = |x: &[f64], y: &[f64]| -> Result<(f64, Vec<f64>), TuneError> {
        let kernel = limit.kernel(x, y, &request)?;
        Ok((kernel.ntk.iter().sum(), kernel.covariance))
    };
    let (own, variances) = traced(&x, &x)?;
    // Inputs that have the same second moments at each position have the same kernel with themselves.
    let other = if limit.input().channels > 1 { own } else { traced(&y, &y)?.0 };
    let (between, _) = traced(&x, &y)?;
    Ok(Scaled { scaled: between / (own * other).sqrt(), variances })
}

/// Two inputs with |x|² = |y|² = n and x·y = c n: with x on every other channel, at each position alike; of a single
/// channel, on every other column (or row), so that windows of even strides see the same correlation.
fn inputs(shape: Shape, c: f64) -> Result<[Vec<f64>; 2], TuneError> {
    let Shape { channels, height, width } = shape;
    let first = |i: usize| {
        let along = match (channels, width) {
            (1, 1) => i,
            (1, _) => i % width,
            _ => i / (height * width),
        };
        along % 2 == 0
    };
    let n = shape.len();
    let ours = (0..n).filter(|&i| first(i)).count();
    if ours == n {
        return Err(TuneError::OneInput);
    }
    let (on, off) = ((n as f64 / ours as f64).sqrt(), (n as f64 / (n - ours) as f64).sqrt());
    let rest = (1.0 - c * c).max(0.0).sqrt() * off;
    let of = |at_first: f64, elsewhere: f64| (0..n).map(|i| if first(i) { at_first } else { elsewhere }).collect();
    Ok([of(on, 0.0), of(c * on, rest)])
}

/// Eigenspaces of the interior, for two equal inputs.
pub(super) fn blocks(architecture: &Architecture) -> Result<Vec<Block>, TuneError> {
    let kernel = Ultrametric::of(architecture, [1.0; 3]).map_err(|e| match e {
        LimitError::Layer { layer, reason } => TuneError::Spectrum { layer, reason },
        other => other.into(),
    })?;
    let spectrum = kernel.spectrum();
    let least = spectrum.iter().map(|s| s.0).fold(f64::INFINITY, f64::min);
    let shares = kernel.trace_shares();
    let block =
        |(&(value, multiplicity), &share): (&(f64, usize), &f64)| Block { ratio: value / least, multiplicity, share };
    Ok(spectrum.iter().zip(&shares).map(block).collect())
}

/// Mean over the border of an image, its two outermost frames of pixels, over the mean of the rest; none where either is empty.
#[must_use]
pub fn border_ratio(shape: Shape, variances: &[f64]) -> Option<f64> {
    let inside = |k: usize, len: usize| (FRAME..len.saturating_sub(FRAME)).contains(&k);
    let (mut border, mut interior) = ((0.0, 0_usize), (0.0, 0_usize));
    if variances.len() != shape.positions() {
        return None;
    }
    for (p, variance) in variances.iter().enumerate() {
        let within = inside(p / shape.width, shape.height) && inside(p % shape.width, shape.width);
        let part = if within { &mut interior } else { &mut border };
        *part = (part.0 + variance, part.1 + 1);
    }
    (interior.1 > 0).then(|| border.0 / border.1 as f64 / (interior.0 / interior.1 as f64))
}
