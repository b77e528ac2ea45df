//! The limit between the pixels of an output image: checkerboards, borders, layer-dependent rates.

use std::path::Path;

use fintan_artifact::{Array, write_npz, write_whole};
use fintan_config::{Architecture, Exponents, LayerRates, Shape};
use fintan_report::heat_map_png;
use fintan_theory::{LimitError, NetworkLimit, Request, Ultrametric, border_ratio};
use serde_json::{Map, Value, json};

use crate::csv;
use crate::error::Error;

/// Eigenspaces of the kernel between the pixels of one input with |x|² = features, away from borders, in closed form.
///
/// ```
/// let net = fintan::Network::parse("network = { input = 4, layers = [
///     { dense = { out = 8 } }, { reshape = { channels = 2, height = 2, width = 2 } },
///     { deconv = { out = 1, kernel = 2, stride = 2 } },
/// ] }")?;
/// let folder = tempfile::tempdir()?;
/// let study = fintan::LimitStudy::of(&net).write(&folder.path().join("theory"))?;
/// let blocks = study.findings().iter().find_map(|found| match found {
///     fintan::LimitFinding::Blocks(Ok(blocks)) => Some(blocks),
///     _ => None,
/// });
/// let spectrum: &fintan::PositionSpectrum = blocks.expect("an image");
/// assert!((spectrum.spaces.iter().map(|space| space.trace_share).sum::<f64>() - 1.0).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PositionSpectrum {
    /// The kernel over blocks of positions that share their parents.
    pub kernel: Ultrametric,
    /// The eigenspaces, constant images first.
    pub spaces: Vec<PositionEigenspace>,
    /// λ/λ_min of each eigenspace for gradient descent with layer-dependent rates `(|I_0|/|I_l|)^γ`, with γ as name.
    pub rates: Vec<(&'static str, Vec<f64>)>,
}

/// An eigenspace of a [`PositionSpectrum`].
///
/// ```
/// let space = fintan::PositionEigenspace {
///     pattern: "period 2".into(), multiplicity: 3, scaled: 0.5, eigenvalue: 2.0, ratio: 4.0, trace_share: 0.25,
/// };
/// assert_eq!(space.eigenvalue / space.ratio, 0.5);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PositionEigenspace {
    /// The images in the eigenspace: `constant image`, `period 2`, .., `everything else`.
    pub pattern: String,
    /// The dimension.
    pub multiplicity: usize,
    /// The kernel between two pixels that differ at this level, divided by the kernel of a pixel with itself.
    pub scaled: f64,
    /// The eigenvalue.
    pub eigenvalue: f64,
    /// The eigenvalue over the smallest eigenvalue.
    pub ratio: f64,
    /// The share of the trace.
    pub trace_share: f64,
}

/// Borders of an image at infinite width: the mean over the two outermost frames of pixels over the mean of all other pixels.
/// The value 1 means no border artefact.
///
/// ```
/// let border = fintan::PixelLimit { border_variance: Some(1.0), border_ntk: None };
/// assert_eq!(border.border_variance, Some(1.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelLimit {
    /// The ratio of variances; `None` for images without an interior.
    pub border_variance: Option<f64>,
    /// The ratio of the kernel of each pixel with itself.
    pub border_ntk: Option<f64>,
}

/// Computes the eigenspaces of the position kernel. The inner error is the layer without a closed form, and why.
pub(super) fn blocks(
    architecture: &Architecture,
    own: &LayerRates,
    folder: &Path,
) -> Result<Result<PositionSpectrum, (&'static str, &'static str)>, Error> {
    let kernel = match Ultrametric::of(architecture, [1.0; 3]) {
        Ok(kernel) => kernel,
        Err(LimitError::Layer { layer, reason }) => return Ok(Err((layer, reason))),
        Err(e) => return Err(e.into()),
    };
    let (scaled, spectrum, shares) = (kernel.scaled(), kernel.spectrum(), kernel.trace_shares());
    let ratios = |spectrum: &[(f64, usize)]| -> Vec<f64> {
        let least = spectrum[spectrum.len() - 1].0;
        spectrum.iter().map(|(value, _)| value / least).collect()
    };
    let pattern = |k: usize| match k {
        0 => "constant image".to_owned(),
        k if k + 1 == spectrum.len() => "everything else".to_owned(),
        k => format!("period {}", ((kernel.sizes[0] / kernel.sizes[k]) as f64).sqrt().round()),
    };
    let spaces = spectrum.iter().zip(ratios(&spectrum)).enumerate();
    let spaces: Vec<PositionEigenspace> = spaces
        .map(|(k, (&(eigenvalue, multiplicity), ratio))| PositionEigenspace {
            pattern: pattern(k),
            multiplicity,
            scaled: scaled[k],
            eigenvalue,
            ratio,
            trace_share: shares[k],
        })
        .collect();
    let rows = spaces.iter().enumerate().map(|(k, space)| {
        let &PositionEigenspace { multiplicity, scaled, eigenvalue, ratio, trace_share, .. } = space;
        vec![k as f64, multiplicity as f64, kernel.ntk[k], scaled, eigenvalue, ratio, trace_share]
    });
    let table = csv::numbers("block,multiplicity,ntk,scaled_ntk,eigenvalue,ratio,trace_share", rows);
    write_whole(&folder.join("blocks.csv"), table.as_bytes())?;

    // The presets of layer-dependent rates, and the rates of the network.
    let exponents = |weights, biases| LayerRates::Exponents(Exponents { weights, biases });
    let mut rules = vec![
        ("off", LayerRates::Off),
        ("1/2", exponents(0.5, 0.5)),
        ("3/4", exponents(0.75, 0.75)),
        ("1", exponents(1.0, 1.0)),
    ];
    if *own != LayerRates::Off {
        rules.push(("configured", *own));
    }
    let under = |rule: LayerRates| {
        let layers = architecture.flat().into_iter().filter(|node| node.index.is_some());
        ratios(&kernel.with_rates(&layers.map(|node| rule.factors(node)).collect::<Vec<_>>()).spectrum())
    };
    let rates = rules.into_iter().map(|(name, rule)| (name, under(rule))).collect();
    Ok(Ok(PositionSpectrum { kernel, spaces, rates }))
}

impl PositionSpectrum {
    /// The numbers in the form of `theory.json`.
    pub(super) fn json(&self) -> Value {
        let column = |of: fn(&PositionEigenspace) -> f64| self.spaces.iter().map(of).collect::<Vec<_>>();
        let kernel = &self.kernel;
        let parts = kernel.parts.iter().map(|(name, part)| {
            let top = kernel.part_spectrum(part)[0].0;
            (name.clone(), json!({ "diagonal": part[part.len() - 1], "largest_eigenvalue": top }))
        });
        let rates = self.rates.iter().map(|(name, ratios)| ((*name).to_owned(), json!(ratios)));
        json!({
            "sizes": kernel.sizes, "ntk": kernel.ntk, "scaled_ntk": column(|space| space.scaled),
            "eigenvalues": column(|space| space.eigenvalue),
            "multiplicities": self.spaces.iter().map(|space| space.multiplicity).collect::<Vec<_>>(),
            "trace_shares": column(|space| space.trace_share), "parts": parts.collect::<Map<_, _>>(),
            "rates": rates.collect::<Map<_, _>>(),
        })
    }
}

impl PixelLimit {
    /// The numbers in the form of `theory.json`.
    pub(super) fn json(&self) -> Value {
        json!({ "border_variance": self.border_variance, "border_ntk": self.border_ntk })
    }
}

/// Computes variance and kernel of each pixel, and if requested the kernel of all pairs. The inner error is the layer without a
/// limit, and why.
pub(super) fn pixels(
    architecture: &Architecture,
    folder: &Path,
    all: bool,
) -> Result<Result<PixelLimit, (&'static str, &'static str)>, Error> {
    let limit = match NetworkLimit::new(architecture) {
        Ok(limit) => limit,
        Err(LimitError::Layer { layer, reason }) if !all => return Ok(Err((layer, reason))),
        Err(e) => return Err(e.into()),
    };
    let input = vec![1.0; architecture.input.len()];
    let request = Request { all_positions: all, ..Request::default() };
    let kernel = limit.kernel(&input, &input, &request)?;
    let Shape { height, width, .. } = architecture.output();
    let step = if all { kernel.positions + 1 } else { 1 };
    let diagonal = |values: &[f64]| values.iter().copied().step_by(step).collect::<Vec<f64>>();
    let (variance, own) = (diagonal(&kernel.covariance), diagonal(&kernel.ntk));
    let [border_variance, border_ntk] = [&variance, &own].map(|values| border_ratio(architecture.output(), values));
    let mut arrays = vec![
        ("variance", Array::f64(&[height, width], variance.clone())),
        ("ntk_diagonal", Array::f64(&[height, width], own.clone())),
    ];
    if all {
        let shape = [kernel.positions, kernel.positions];
        arrays.push(("nngp", Array::f64(&shape, kernel.covariance.as_slice())));
        arrays.push(("ntk", Array::f64(&shape, kernel.ntk.as_slice())));
    }
    write_npz(&folder.join("pixels.npz"), &arrays)?;
    let picture = heat_map_png(height, width, &mut |i, row| row.copy_from_slice(&variance[i * width..][..width]))?;
    write_whole(&folder.join("variance.png"), &picture)?;
    if all {
        let n = kernel.positions;
        let picture = heat_map_png(n, n, &mut |i, row| row.copy_from_slice(&kernel.ntk[i * n..][..n]))?;
        write_whole(&folder.join("pixels.png"), &picture)?;
    }
    Ok(Ok(PixelLimit { border_variance, border_ntk }))
}
