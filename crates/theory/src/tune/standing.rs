//! The position of a network between order and chaos: the numbers that goals concern.

use fintan_config::{Architecture, Shape};

use super::TuneError;
use crate::limit::{LimitError, NetworkLimit, Relation};
use crate::regime::{Regime, mean_r, regimes};
use crate::valuation::Ultrametric;

/// Width in pixels of the border of an image.
const FRAME: usize = 2;

/// The numbers that decide between order and chaos, for a network at infinite width.
///
/// ```
/// use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// use fintan_theory::{Regime, Standing};
/// use std::f64::consts::PI;
///
/// let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// let standing = Standing::of(&network, 2)?;
/// assert_eq!(standing.regime(), Some(Regime::Edge));
/// assert!((standing.scaled - 0.5 / PI).abs() < 1e-12); // of equal inputs it is 1
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Geometric mean over layers and residual blocks of the characteristic value r; `None` for a network with one layer.
    pub r: Option<f64>,
    /// ϑ between two orthogonal inputs.
    pub scaled: f64,
    /// Condition number of the kernel of `inputs` orthogonal inputs.
    pub condition: f64,
    /// Number of inputs of the condition number.
    pub inputs: usize,
    /// Eigenspaces over positions away from borders, the constant image first. `None` for vectors; an error with the reason
    /// if the kernel has no closed form.
    pub blocks: Option<Result<Vec<PatternSpace>, TuneError>>,
    /// Mean variance of the outermost two pixels divided by that of the interior; `None` if there is no interior.
    pub border: Option<f64>,
}

/// An eigenspace over the positions of an image: patterns of one period.
///
/// ```
/// use fintan_config::{Architecture, Beta, Parametrization, Shape};
/// use fintan_theory::Standing;
///
/// let layers = [serde_json::from_str(r#"{ "deconv": { "out": 1, "kernel": 2, "stride": 2 } }"#)?];
/// let network = Architecture::new(Shape::image(4, 1, 1), &layers, Parametrization::Ntk(Beta { beta: 0.5 }))?;
/// let blocks = Standing::of(&network, 2)?.blocks.expect("an image")?;
/// // Over 2 x 2 positions that share only the bias: eigenvalues 1.75 and 3 times 0.75.
/// assert_eq!([blocks[0].multiplicity, blocks[1].multiplicity], [1, 3]);
/// assert!((blocks[0].ratio - 1.75 / 0.75).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatternSpace {
    /// λ_k divided by the smallest eigenvalue.
    pub ratio: f64,
    /// Its dimension.
    pub multiplicity: usize,
    /// Its share of the trace.
    pub share: f64,
}

impl Standing {
    /// The numbers of a network at initialisation.
    ///
    /// # Errors
    /// A network without a limit, or with a single input value.
    pub fn of(architecture: &Architecture, inputs: usize) -> Result<Self, TuneError> {
        let pair = relation(architecture, 0.0)?;
        let blocks = (!architecture.output().is_vector()).then(|| blocks(architecture));
        Ok(Self {
            r: mean_r(&regimes(architecture)),
            scaled: pair.scaled(),
            condition: pair.condition_number(inputs),
            inputs,
            blocks,
            border: border_ratio(architecture.output(), &pair.by_position),
        })
    }

    /// The regime of the mean r.
    #[must_use]
    pub fn regime(&self) -> Option<Regime> {
        self.r.map(Regime::of)
    }
}

/// The relation at the output of a network of two inputs with |x|² = |y|² = n and x·y = c n.
pub(super) fn relation(architecture: &Architecture, c: f64) -> Result<Relation, TuneError> {
    NetworkLimit::new(architecture)?.relation_at(c)?.ok_or(TuneError::OneInput)
}

/// Eigenspaces of the interior, for two equal inputs.
pub(super) fn blocks(architecture: &Architecture) -> Result<Vec<PatternSpace>, TuneError> {
    let kernel = Ultrametric::of(architecture, [1.0; 3]).map_err(|e| {
        if let LimitError::Layer { layer, reason } = e { TuneError::Spectrum { layer, reason } } else { e.into() }
    })?;
    let spectrum = kernel.spectrum();
    let least = spectrum.iter().map(|s| s.0).fold(f64::INFINITY, f64::min);
    let shares = kernel.trace_shares();
    let block = |(&(value, multiplicity), &share): (&(f64, usize), &f64)| PatternSpace {
        ratio: value / least,
        multiplicity,
        share,
    };
    Ok(spectrum.iter().zip(&shares).map(block).collect())
}

/// Mean over the border of an image (its two outermost frames of pixels), divided by the mean of the other pixels; `None` if
/// either is empty.
///
/// ```
/// use fintan_config::Shape;
///
/// // One interior pixel in an image of 5 x 5, with twice the variance of the border.
/// let variances: Vec<f64> = (0..25).map(|p| if p == 12 { 2.0 } else { 1.0 }).collect();
/// assert_eq!(fintan_theory::border_ratio(Shape::image(1, 5, 5), &variances), Some(0.5));
/// ```
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
