//! Settings of `[moments]`: signal and noise through depth.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::citations::Citation;
use crate::data::{DataSource, Npy, Npz, Reader};
use crate::error::Invalid;
use crate::experiment::within;
use crate::layers::{Empty, Layer};
use crate::shape::Shape;

/// Moments of signal and noise.
pub(crate) const MOMENTS: Citation = Citation::new(
    "@inproceedings{labatie2019moments,
  author = {Labatie, Antoine},
  title = {Characterizing Well-Behaved vs. Pathological Deep Neural Networks},
  booktitle = {International Conference on Machine Learning},
  year = {2019},
  eprint = {1811.03087},
  archiveprefix = {arXiv},
}",
);

/// What is measured in random networks, and on which inputs.
///
/// ```
/// use fintan_config::{DataSource, MomentsSettings};
///
/// let moments: MomentsSettings = toml::from_str("inputs.spectrum.exponent = 1.3\nbatch = 32")?;
/// assert_eq!((moments.batch, moments.realisations), (32, 10));
/// assert!(matches!(moments.inputs, DataSource::Spectrum(spectrum) if spectrum.exponent == 1.3));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MomentsSettings {
    /// Where inputs come from.
    pub inputs: DataSource,
    /// Number of inputs in one realisation.
    pub batch: usize,
    /// Standardize every input channel to mean 0 and variance 1 over the batch and its positions.
    pub standardize: bool,
    /// Drop channels that are constant over a batch, in signal and noise, instead of refusing them.
    pub drop_constant: bool,
    /// Number of realisations. Each draws its batch, noise and weights independently.
    pub realisations: usize,
    /// Measure at every `every`-th layer and at the last; by default at 100 depths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<usize>,
    /// Measure at these layers, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depths: Option<Vec<usize>>,
    /// Measure at these points of a layer; by default at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locs: Option<Vec<String>>,
    /// Measure effective ranks, participation ratios and correlations between inputs at these points; by default behind
    /// nonlinearities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank_locs: Option<Vec<String>>,
    /// The tensors whose ranks are measured.
    pub ranks: Vec<Tensor>,
    /// Also measure the moments of each channel separately.
    pub per_channel: bool,
    /// How noise passes a batch norm.
    pub bn_noise: BnNoise,
    /// Precision of the propagation; moments are summed in f64 in either case.
    pub dtype: Precision,
    /// Tangent kernels of the same networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntk: Option<MomentsNtk>,
}

impl Default for MomentsSettings {
    fn default() -> Self {
        Self {
            inputs: DataSource::Iid(Empty {}),
            batch: 64,
            standardize: true,
            drop_constant: false,
            realisations: 10,
            every: None,
            depths: None,
            locs: None,
            rank_locs: None,
            ranks: vec![Tensor::Signal, Tensor::Noise],
            per_channel: false,
            bn_noise: BnNoise::FixedStats,
            dtype: Precision::F32,
            ntk: None,
        }
    }
}

/// Signal or noise.
///
/// ```
/// use fintan_config::{MomentTensor, MomentsSettings};
///
/// let moments: MomentsSettings = toml::from_str("ranks = ['noise']")?;
/// assert_eq!(moments.ranks, [MomentTensor::Noise]);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tensor {
    /// The inputs, propagated to a layer.
    Signal,
    /// A small perturbation of the inputs, propagated to a layer.
    Noise,
}

/// How noise is propagated through a batch norm.
///
/// ```
/// use fintan_config::{BnNoise, MomentsSettings};
///
/// let moments: MomentsSettings = toml::from_str("bn_noise = 'full'")?;
/// assert_eq!((moments.bn_noise, MomentsSettings::default().bn_noise), (BnNoise::Full, BnNoise::FixedStats));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BnNoise {
    /// Mean and variance are treated as constants: the derivative in the limit of infinitely many inputs.
    FixedStats,
    /// The derivative includes the statistics of the batch.
    Full,
}

/// Floating-point precision of a propagation.
///
/// ```
/// use fintan_config::{MomentsSettings, Precision};
///
/// let moments: MomentsSettings = toml::from_str("dtype = 'f64'")?;
/// assert_eq!((moments.dtype, MomentsSettings::default().dtype), (Precision::F64, Precision::F32));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

/// Tangent kernels of the networks whose moments are measured, each with a linear readout of one output.
///
/// ```
/// let ntk: fintan_config::MomentsNtk = toml::from_str("depths = [1, 10]")?;
/// assert_eq!((ntk.depths, ntk.inputs), (vec![1, 10], None));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MomentsNtk {
    /// Number of inputs of a kernel, taken from the front of a batch: by default 16, or the batch if it is smaller. With
    /// batch norm it is always the whole batch, whose statistics the norm uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<usize>,
    /// Number of networks, from the first realisation on: by default 8, or all if there are fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realisations: Option<usize>,
    /// Depths at which the networks are truncated.
    pub depths: Vec<usize>,
}

impl MomentsSettings {
    /// The depths at which a network of `depth` layers is measured.
    #[must_use]
    pub fn depths(&self, depth: usize) -> Vec<usize> {
        if let Some(depths) = &self.depths {
            return depths.clone();
        }
        let every = self.every.unwrap_or((depth / 100).max(1));
        let mut depths: Vec<usize> = (1..=depth / every).map(|i| i * every).collect();
        if depths.last() != Some(&depth) {
            depths.push(depth);
        }
        depths
    }
}

/// Checks the settings against a network of `depth` layers with the points `locs`.
pub(crate) fn check_moments(
    moments: &MomentsSettings,
    network: &Architecture,
    depth: usize,
    locs: &[String],
) -> Result<(), Invalid> {
    // Every field is named here, so a new setting does not compile until someone decides how to check it.
    let MomentsSettings {
        inputs,
        batch,
        standardize: _,
        drop_constant,
        realisations,
        every,
        depths,
        locs: wanted,
        rank_locs,
        ranks: _,
        per_channel: _,
        bn_noise: _,
        dtype: _,
        ntk,
    } = moments;
    check_inputs(inputs, network.input)?;
    within("moments.batch", *batch, 1, 1 << 24)?;
    within("moments.realisations", *realisations, 1, 10_000_000)?;
    let samples =
        network.flat().iter().map(|node| batch.saturating_mul(node.output.positions())).min().unwrap_or(*batch);
    if samples < 2 {
        return Err(Invalid::new(
            "moments.batch",
            format!("`moments.batch` must be at least 2 for vectors, got {batch}"),
        )
        .with_help("moments are taken over inputs and positions"));
    }
    if *drop_constant && !moments.standardize {
        return Err(Invalid::new("moments.drop_constant", "`moments.drop_constant` needs `moments.standardize`"));
    }
    if let (Some(_), Some(_)) = (every, depths) {
        return Err(Invalid::new("moments.every", "`moments.every` and `moments.depths` exclude one another"));
    }
    if let Some(every) = every {
        within("moments.every", *every, 1, depth)?;
    }
    if let Some(depths) = depths {
        check_depths("moments.depths", depths, depth)?;
    }
    for (key, names) in [("moments.locs", wanted), ("moments.rank_locs", rank_locs)] {
        for name in names.iter().flatten() {
            if !locs.contains(name) {
                let message = format!("`{key}` has no point `{name}`; allowed are {}", locs.join(", "));
                return Err(Invalid::new(key, message));
            }
        }
    }
    if wanted.as_ref().is_some_and(Vec::is_empty) {
        return Err(Invalid::new("moments.locs", "`moments.locs` must name at least one point"));
    }
    if let Some(MomentsNtk { inputs, realisations: networks, depths }) = ntk {
        within("moments.ntk.inputs", inputs.unwrap_or(2), 2, *batch)?;
        within("moments.ntk.realisations", networks.unwrap_or(1), 1, *realisations)?;
        if inputs.is_some_and(|inputs| inputs < *batch) && network.is_batch_coupled() {
            let message = format!("`moments.ntk.inputs` must be `moments.batch` ({batch}) under batch norm");
            return Err(Invalid::new("moments.ntk.inputs", message).with_help("or leave it out"));
        }
        check_depths("moments.ntk.depths", depths, depth)?;
    }
    Ok(())
}

fn check_depths(key: &str, depths: &[usize], depth: usize) -> Result<(), Invalid> {
    if depths.is_empty() {
        return Err(Invalid::new(key, format!("`{key}` must name at least one depth")));
    }
    for &l in depths {
        within(key, l, 1, depth)?;
    }
    if !depths.is_sorted_by(|a, b| a < b) {
        return Err(Invalid::new(key, format!("`{key}` must grow, without repeats")));
    }
    Ok(())
}

fn check_inputs(inputs: &DataSource, shape: Shape) -> Result<(), Invalid> {
    Reader::Moments.check(inputs)?;
    match inputs {
        DataSource::Npy(Npy { path: _, labels, range }) => check_values("npy", labels.is_some(), range.is_some()),
        DataSource::Npz(Npz { path: _, name: _, labels, range }) => {
            check_values("npz", labels.is_some(), range.is_some())
        }
        DataSource::Shapes(_)
        | DataSource::Idx(_)
        | DataSource::Cifar(_)
        | DataSource::Folder(_)
        | DataSource::Tar(_)
        | DataSource::Zip(_) => {
            if inputs.image(shape).is_some() {
                return Ok(());
            }
            let message =
                format!("`network.input` must be a square image of 1 or 3 channels for these inputs, got {shape}");
            Err(Invalid::new("network.input", message)
                .with_help("for instance [3, 32, 32], or its 3072 values as a vector"))
        }
        DataSource::Teacher(_) | DataSource::Iid(_) | DataSource::Spectrum(_) => Ok(()),
    }
}

/// Refuses settings of images: moments use the values of arrays as they are.
fn check_values(name: &str, labels: bool, range: bool) -> Result<(), Invalid> {
    for (setting, given) in [("labels", labels), ("range", range)] {
        if given {
            let key = format!("moments.inputs.{name}.{setting}");
            let message = format!("`{key}` belongs to images; moments take the values of the array as they are");
            return Err(Invalid::new(key, message).with_help("leave it out"));
        }
    }
    Ok(())
}

/// A point of a network at which moments are measured.
///
/// ```
/// use fintan_config::Subject;
///
/// let text = "network = { input = 4, vanilla = { depth = 2, width = 8 } }\nmoments = {}";
/// let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// let points = network.points();
/// // The embedding, and three points in each of two units.
/// assert_eq!(points.iter().map(|point| point.depth).collect::<Vec<_>>(), [0, 1, 1, 1, 2, 2, 2]);
/// assert_eq!(points[1].loc, "loc1");
/// # Ok::<(), fintan_config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The layer in front of the point: its index in the list, then in the branch of a residual block.
    pub path: Vec<usize>,
    /// Layer l, from 1; 0 is the input or its embedding.
    pub depth: usize,
    /// Its name.
    pub loc: String,
    /// Whether the layer in front of the point is a nonlinearity.
    pub activated: bool,
}

/// Every point of a network, in order.
///
/// The points of `vanilla`, `bn_ff` and `bn_res` are `loc1`, `loc2`, ... in each unit, as in Labatie's code: the input of
/// the unit and the output of each of its layers. For `bn_res` they are the input, the outputs of its first three layers,
/// and the output of the unit. In any other network, layer l begins with the l-th layer of weights, and the point behind
/// each layer has the name of that layer.
#[must_use]
pub(crate) fn points(network: &Architecture, unit: Option<crate::deep::Unit>) -> Vec<Point> {
    use crate::deep::Unit;
    let silent = |layer: &Layer| layer.properties().moves_values;
    let mut points: Vec<Point> = Vec::new();
    let Some(unit) = unit else {
        let mut depth = 0;
        for (i, node) in network.nodes.iter().enumerate() {
            if node.layer.properties().is_linear || node.layer.residual().is_some() {
                depth += 1;
            }
            if silent(&node.layer) || depth == 0 {
                continue;
            }
            let activated = node.layer.properties().is_pointwise;
            let name = node.layer.name();
            let again = points.iter().filter(|p| p.depth == depth && p.loc.trim_end_matches(char::is_numeric) == name);
            let loc = match again.count() {
                0 => name.to_owned(),
                n => format!("{name}{}", n + 1),
            };
            points.push(Point { path: vec![i], depth, loc, activated });
        }
        return points;
    };
    let mut depth = 0;
    let mut embedded = false;
    let mut before: Vec<usize> = Vec::new();
    let mut loc = 1;
    for (i, node) in network.nodes.iter().enumerate() {
        if silent(&node.layer) {
            continue;
        }
        let weights = node.layer.properties().is_linear;
        if !embedded {
            embedded = true;
            points.push(Point { path: vec![i], depth: 0, loc: "embedding".into(), activated: false });
            before = vec![i];
            continue;
        }
        if weights || unit == Unit::BnRes {
            depth += 1;
            loc = 1;
            points.push(Point { path: before.clone(), depth, loc: "loc1".into(), activated: false });
        }
        for (j, inner) in node.branch.iter().enumerate().filter(|(_, inner)| !silent(&inner.layer)).take(3) {
            loc += 1;
            let activated = inner.layer.properties().is_pointwise;
            points.push(Point { path: vec![i, j], depth, loc: format!("loc{loc}"), activated });
        }
        loc += 1;
        let activated = node.layer.properties().is_pointwise;
        points.push(Point { path: vec![i], depth, loc: format!("loc{loc}"), activated });
        before = vec![i];
    }
    points
}
