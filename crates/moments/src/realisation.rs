//! The plan of a measurement, and its realisations: a batch, its noise and new random weights.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use fintan_config::{
    Architecture, BnNoise, DataSource, Dense, Empty, Init, Layer, MomentsSettings, NetworkExperiment, Node,
    Parametrization, Point, Precision,
};
use fintan_net::{NoiseRule, PlacedNetwork, Placement};
use rayon::prelude::*;

use crate::inputs::{Batch, InputError, Pool};
use crate::normals::{Drawn, Normals};
use crate::propagation::Propagation;
use crate::record::Realisation;

/// The quantities and points of a measurement.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::Subject;
/// use fintan_moments::MomentsPlan;
/// use fintan_net::{Lowering, Placement};
///
/// let text = "
///     network = { input = 4, vanilla = { depth = 2, width = 8 } }
///     moments = { inputs.spectrum.exponent = 1.0, batch = 8, realisations = 2 }
/// ";
/// let Subject::Network(experiment) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// let plan = MomentsPlan::new(&experiment).expect("[moments] is there");
/// let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// let realisation = plan.realise(0, None, &cpu)?;
/// assert_eq!(realisation.records.len(), plan.points().count());
/// assert_eq!(realisation, plan.realise(0, None, &cpu)?); // the seed and the number decide everything
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MomentsPlan<'a> {
    experiment: &'a NetworkExperiment,
    pub(crate) settings: &'a MomentsSettings,
    /// The points with a record, in the order of records.
    pub(crate) points: Vec<Wanted>,
    /// For the path of a layer, the indices of its points in `points`.
    pub(crate) at: BTreeMap<Vec<usize>, Vec<usize>>,
    /// The layer l of each entry of the network's list of layers.
    depths: Vec<usize>,
    /// Whether f(c·x) = c f(x) for every c > 0. Then the signal can be rescaled.
    pub(crate) homogeneous: bool,
}

/// A point of the measurement, and whether effective ranks are computed there.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) point: Point,
    pub(crate) ranks: bool,
}

/// Draws parameters of the i-th layer: `draw(i, shape, std)`.
pub type Draw<'a> = dyn FnMut(usize, [usize; 2], f64) -> TensorData + 'a;

impl<'a> MomentsPlan<'a> {
    /// The plan of a network with `[moments]`; `None` for other networks.
    #[must_use]
    pub fn new(experiment: &'a NetworkExperiment) -> Option<Self> {
        let settings = experiment.settings.moments.as_ref()?;
        let points = experiment.points();
        let depths = settings.depths(points.iter().map(|point| point.depth).max()?);
        // A unit starts after the point of its input.
        let mut of_nodes = vec![0; experiment.network.nodes.len()];
        for point in points.iter().filter(|point| point.path.len() == 1 && point.loc != "loc1") {
            of_nodes[point.path[0]] = point.depth;
        }
        for i in (1..of_nodes.len()).rev() {
            if of_nodes[i - 1] == 0 && points.iter().all(|point| point.path != [i - 1]) {
                of_nodes[i - 1] = of_nodes[i];
            }
        }
        let named = |names: &Option<Vec<String>>, loc: &String| names.as_ref().is_none_or(|names| names.contains(loc));
        let wanted: Vec<Wanted> = points
            .into_iter()
            .filter(|p| p.depth == 0 || (depths.contains(&p.depth) && named(&settings.locs, &p.loc)))
            .map(|point| {
                let asked = settings.rank_locs.as_ref().map(|names| names.contains(&point.loc) || point.depth == 0);
                Wanted { ranks: asked.unwrap_or(point.activated || point.depth == 0), point }
            })
            .collect();
        let mut at: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        for (i, wanted) in wanted.iter().enumerate() {
            at.entry(wanted.point.path.clone()).or_default().push(i);
        }
        let homogeneous = is_homogeneous(&experiment.network);
        Some(Self { experiment, settings, points: wanted, at, depths: of_nodes, homogeneous })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &MomentsSettings {
        self.settings
    }

    /// Approximate upper bound on the bytes of one realisation: signal and noise before and after a layer, as maps and as
    /// patches, and the weights of the layer.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        let size = if self.settings.dtype == Precision::F64 { 8.0 } else { 4.0 };
        let of = |node: &Node| {
            let patches = if let Layer::Conv(c) | Layer::Deconv(c) = &node.layer {
                node.weight_sites() * node.input.channels * c.kernel.0[0] * c.kernel.0[1]
            } else {
                0
            };
            size * (2 * self.settings.batch * (2 * node.input.len() + 2 * node.output.len() + patches)) as f64
        };
        let network = &self.experiment.network;
        let values = network.flat().iter().map(|node| of(node)).fold(0.0, f64::max);
        // All weights of a residual block are drawn at once.
        let weights = (0..network.nodes.len()).map(|i| network.piece(i..i + 1).parameter_count()).max().unwrap_or(0);
        // These are in double precision: the batch as it is drawn, and a tensor that is measured.
        let largest = network.flat().iter().map(|node| node.output.len()).max().unwrap_or(0).max(network.input.len());
        // Fields with a spectrum are transformed by matrices of cosines and sines along each axis.
        let square = |n: usize| n as f64 * n as f64;
        let fourier = match &self.settings.inputs {
            DataSource::Spectrum(_) => 8.0 * (square(network.input.height) + square(network.input.width)),
            DataSource::Iid(_)
            | DataSource::Npy(_)
            | DataSource::Shapes(_)
            | DataSource::Idx(_)
            | DataSource::Cifar(_)
            | DataSource::Folder(_)
            | DataSource::Tar(_)
            | DataSource::Zip(_)
            | DataSource::Npz(_)
            | DataSource::Teacher(_) => 0.0,
        };
        values + 2.0 * size * weights as f64 + 40.0 * (self.settings.batch * largest) as f64 + fourier
    }

    /// The number of positions of the last map.
    #[must_use]
    pub fn positions_at_the_end(&self) -> usize {
        self.experiment.network.output().positions()
    }

    /// The points of the measurement, in the order of records.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().map(|wanted| &wanted.point)
    }

    /// Draws a realisation and measures it. The result depends only on the number and the seed, not on other realisations or on
    /// the number of threads. Devices differ in the last digits.
    ///
    /// # Errors
    /// Fails if the inputs cannot be standardized.
    pub fn realise(&self, number: u64, pool: Option<&Pool>, placement: &Placement) -> Result<Realisation, InputError> {
        let seed = self.experiment.settings.seed;
        let batch = Batch::draw(self.settings, self.experiment.network.input, seed, number, pool)?;
        let mut streams: Vec<Normals> = Vec::new();
        let mut draw = |node: usize, shape: [usize; 2], std: f64| {
            while streams.len() <= node {
                streams.push(Normals::new(seed, number, Drawn::Weights, streams.len() as u64));
            }
            weights(&mut streams[node], shape, std)
        };
        Ok(self.propagate_signal_noise(number, &batch, &mut draw, placement))
    }

    /// Checks that the inputs of a realisation can be drawn.
    ///
    /// # Errors
    /// Fails if the inputs cannot be standardized.
    pub fn check_inputs(&self, number: u64, pool: Option<&Pool>) -> Result<(), InputError> {
        let Self { settings, experiment, .. } = self;
        Batch::draw(settings, experiment.network.input, experiment.settings.seed, number, pool).map(|_| ())
    }

    /// Measures several realisations, each on its own thread.
    ///
    /// # Errors
    /// The errors of [`Self::realise`].
    pub fn realise_side_by_side(
        &self,
        numbers: &[u64],
        pool: Option<&Pool>,
        placement: &Placement,
    ) -> Result<Vec<Realisation>, InputError> {
        match numbers {
            // A single realisation stays on the calling thread, since the device may be bound to it.
            [number] => Ok(vec![self.realise(*number, pool, placement)?]),
            _ => numbers.par_iter().map(|&number| self.realise(number, pool, placement)).collect(),
        }
    }

    /// The architecture up to the end of layer `depth`, with a linear readout of one output.
    ///
    /// # Panics
    /// Panics if there is no such layer.
    #[must_use]
    pub fn with_readout(&self, depth: usize) -> Architecture {
        let Architecture { input, parametrization, nodes } = &self.experiment.network;
        let points = self.experiment.points();
        let end = points.iter().filter(|p| p.depth == depth && p.path.len() == 1).map(|p| p.path[0]).max();
        let mut layers: Vec<Layer> = nodes[..=end.expect("a layer")].iter().map(|node| node.layer.clone()).collect();
        if !nodes[end.expect("a layer")].output.is_vector() {
            layers.push(Layer::Flatten(Empty {}));
        }
        let init = matches!(parametrization, Parametrization::Standard(_)).then_some(Init::Lecun);
        layers.push(Layer::Dense(Dense { out: 1, init }));
        Architecture::new(*input, &layers, *parametrization).expect("the start of a network is one")
    }

    /// The network whose moments [`Self::realise`] measures, up to the end of layer `depth`, with a readout.
    ///
    /// # Panics
    /// Panics if there is no such layer.
    #[must_use]
    pub fn network(&self, number: u64, depth: usize, placement: &Placement) -> PlacedNetwork {
        let architecture = self.with_readout(depth);
        let last = architecture.nodes.len() - 1;
        // The layer that each drawn matrix belongs to. The readout has a stream of its own.
        let mut owners = architecture.nodes.iter().enumerate().flat_map(|(i, node)| {
            let one = Architecture { nodes: vec![node.clone()], ..architecture.clone() };
            let drawn = one.flat().iter().filter(|node| node.fan_in().is_some()).count();
            std::iter::repeat_n(if i == last { u64::MAX } else { i as u64 }, 2 * drawn)
        });
        let mut current: Option<(u64, Normals)> = None;
        PlacedNetwork::drawn(&architecture, placement, &mut |shape, std| {
            let owner = owners.next().expect("as many as are drawn");
            if current.as_ref().is_none_or(|(of, _)| *of != owner) {
                current = Some((owner, Normals::new(self.experiment.settings.seed, number, Drawn::Weights, owner)));
            }
            weights(&mut current.as_mut().expect("just set").1, shape, std)
        })
    }

    /// Propagates a batch layer by layer through a network whose parameters come from `draw`. Only the parameters of one layer
    /// are held at a time.
    pub fn propagate_signal_noise(
        &self,
        number: u64,
        batch: &Batch,
        draw: &mut Draw,
        placement: &Placement,
    ) -> Realisation {
        let network = &self.experiment.network;
        let rule = match self.settings.bn_noise {
            BnNoise::FixedStats => NoiseRule::FixedStats,
            BnNoise::Full => NoiseRule::Full,
        };
        let tensor = |values: &[f64]| {
            let shape = [batch.count, network.input.height, network.input.width, network.input.channels];
            let data = TensorData::new(values.to_vec(), shape).convert_dtype(placement.dtype);
            Tensor::<4>::from_data(data, (&placement.device, placement.dtype))
        };
        let mut run = Propagation::new(self, batch);
        let (mut x, mut dx) = (tensor(&batch.signal), tensor(&batch.noise));
        for (i, node) in network.nodes.iter().enumerate() {
            run.depth = self.depths[i];
            let piece =
                PlacedNetwork::drawn(&network.piece(i..i + 1), placement, &mut |shape, std| draw(i, shape, std));
            (x, dx) = piece.propagate_signal_noise(x, dx, rule, &mut |path, x, dx| {
                let path: Vec<usize> = [i].into_iter().chain(path[1..].iter().copied()).collect();
                run.measure(&path, x, dx);
            });
            let grows = node.layer.properties().is_linear || node.layer.residual().is_some();
            if run.dead.is_some() || (grows && run.rescale(&mut x, &mut dx).is_break()) {
                break;
            }
        }
        run.finish(number)
    }
}

/// Draws the values of a parameter. They are equal in single and in double precision.
fn weights(stream: &mut Normals, shape: [usize; 2], std: f64) -> TensorData {
    let count = shape[0] * shape[1];
    let values = if std == 0.0 { vec![0.0; count] } else { stream.take(count, std as f32) };
    TensorData::new(values, shape)
}

/// Whether every layer is positively homogeneous.
fn is_homogeneous(network: &Architecture) -> bool {
    let biased = match network.parametrization {
        Parametrization::Standard(standard) => standard.bias_std > 0.0,
        Parametrization::Ntk(b) | Parametrization::Graph(b) => b.beta > 0.0,
    };
    !biased && network.flat().iter().all(|node| node.layer.properties().is_homogeneous)
}
