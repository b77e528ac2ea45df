//! One realisation: a batch, its noise and fresh weights, carried through the network and measured on the way.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use burn::tensor::{DType, Tensor, TensorData};
use fintan_config::{
    Architecture, BnNoise, DataSource, Dense, Empty, Init, Layer, MomentTensor, Moments, NetworkExperiment, Node,
    Parametrization, Point, Precision,
};
use fintan_net::{Network, NoiseRule, Placement};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::inputs::{Batch, InputError, Pool};
use crate::measure::{Sums, by_channel, mean_cosine, over_channels, ranks};
use crate::normals::{Normals, Purpose};

/// What is measured, and where.
#[derive(Debug)]
pub struct Plan<'a> {
    experiment: &'a NetworkExperiment,
    settings: &'a Moments,
    /// What a record is made for, in the order of records.
    points: Vec<Wanted>,
    /// Places in `points` by the path of a layer.
    at: BTreeMap<Vec<usize>, Vec<usize>>,
    /// Layer l that each entry of the list of layers belongs to.
    depths: Vec<usize>,
    /// Whether the network of c·x is c times that of x, for every c > 0: its signal can be rescaled.
    homogeneous: bool,
}

#[derive(Debug)]
struct Wanted {
    point: Point,
    ranks: bool,
}

/// Moments at one point of one realisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Layer l; 0 for what an embedding gives.
    pub depth: usize,
    /// Name of the point.
    pub loc: String,
    /// Of all channels.
    #[serde(flatten)]
    pub all: Values,
    /// Between 1 and min(inputs · positions - 1, channels).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reff_signal: Option<f64>,
    /// As above.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reff_noise: Option<f64>,
    /// Participation ratio of the signal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pr_signal: Option<f64>,
    /// Participation ratio of the noise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pr_noise: Option<f64>,
    /// Mean cosine between two inputs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cosine: Option<f64>,
    /// Of each channel, where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub channels: Vec<Values>,
}

/// `log 0` is stored as NaN and serialised as null.
mod missing {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// Moments of signal x and noise dx; what is 0 has no logarithm, which is NaN here and nothing in files.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// ν₁(x) is this times 2^bits.
    pub nu1: f64,
    /// ν₁(|x|) is this times 2^bits.
    pub nu1_abs: f64,
    /// ν₂(x) is this times 4^bits.
    pub nu2: f64,
    /// μ₂(x) is this times 4^bits.
    pub mu2: f64,
    /// μ₄(x) is this times 16^bits.
    pub mu4: f64,
    /// The signal was scaled on its way, so that it leaves no range of numbers.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub bits: i32,
    /// log ν₂(x)
    #[serde(with = "missing")]
    pub log_nu2: f64,
    /// log μ₂(x)
    #[serde(with = "missing")]
    pub log_mu2: f64,
    /// log μ₂(dx), the mean square: noise has mean 0.
    #[serde(with = "missing")]
    pub log_mu2_noise: f64,
    /// log χ, `χ² = (μ₂(dx) / μ₂(x)) / (μ₂(dx⁰) / μ₂(x⁰))`: the normalized sensitivity.
    #[serde(with = "missing")]
    pub log_sensitivity: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(bits: &i32) -> bool {
    *bits == 0
}

/// Where a realisation ended before the last layer, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Layer l.
    pub depth: usize,
    /// In words.
    pub reason: String,
}

/// What one realisation gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Realisation {
    /// Its number: together with the seed it decides everything that is drawn.
    pub number: u64,
    /// Set where the signal or the noise died on the way; records then end before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dead: Option<Death>,
    /// In the order of [`Plan::points`].
    pub records: Vec<Record>,
}

/// Parameters of the i-th layer: `draw(i, shape, std)`.
pub type Draw<'a> = dyn FnMut(usize, [usize; 2], f64) -> TensorData + 'a;

impl<'a> Plan<'a> {
    /// Of a network with `[moments]`; `None` without.
    #[must_use]
    pub fn new(experiment: &'a NetworkExperiment) -> Option<Self> {
        let settings = experiment.settings.moments.as_ref()?;
        let points = experiment.points();
        let depths = settings.depths(points.iter().map(|point| point.depth).max()?);
        // A unit begins behind the point that it is entered at.
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
    pub fn settings(&self) -> &Moments {
        self.settings
    }

    /// Bytes that one realisation holds at most, roughly: signal and noise in front of and behind a layer, as maps and as patches,
    /// and the layer's weights.
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
        // A residual block is drawn as a whole.
        let weights = (0..network.nodes.len()).map(|i| network.piece(i..i + 1).parameter_count()).max().unwrap_or(0);
        // In double precision: the batch as it is drawn, and a tensor that is measured.
        let largest = network.flat().iter().map(|node| node.output.len()).max().unwrap_or(0).max(network.input.len());
        // Fields with a spectrum are transformed by matrices along either axis: cosines and sines.
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

    /// Positions of the last map.
    #[must_use]
    pub fn positions_at_the_end(&self) -> usize {
        self.experiment.network.output().positions()
    }

    /// The points that are measured at, in the order of records.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().map(|wanted| &wanted.point)
    }

    /// Draws a realisation and measures it. Its number and the seed decide everything: no other realisation, device or
    /// number of threads matters (but for the last digits of a device's arithmetic).
    ///
    /// # Errors
    /// Inputs that cannot be standardized.
    pub fn realise(&self, number: u64, pool: Option<&Pool>, placement: &Placement) -> Result<Realisation, InputError> {
        let seed = self.experiment.settings.seed;
        let batch = Batch::draw(self.settings, self.experiment.network.input, seed, number, pool)?;
        let mut streams: Vec<Normals> = Vec::new();
        let mut draw = |node: usize, shape: [usize; 2], std: f64| {
            while streams.len() <= node {
                streams.push(Normals::new(seed, number, Purpose::Weights, streams.len() as u64));
            }
            weights(&mut streams[node], shape, std)
        };
        Ok(self.propagate_signal_noise(number, &batch, &mut draw, placement))
    }

    /// Whether the inputs of a realisation can be drawn.
    ///
    /// # Errors
    /// Inputs that cannot be standardized.
    pub fn check_inputs(&self, number: u64, pool: Option<&Pool>) -> Result<(), InputError> {
        let Self { settings, experiment, .. } = self;
        Batch::draw(settings, experiment.network.input, experiment.settings.seed, number, pool).map(|_| ())
    }

    /// Some realisations, each on a thread.
    ///
    /// # Errors
    /// As [`Self::realise`].
    pub fn realise_side_by_side(
        &self,
        numbers: &[u64],
        pool: Option<&Pool>,
        placement: &Placement,
    ) -> Result<Vec<Realisation>, InputError> {
        match numbers {
            // On the thread that called, which a device may be bound to.
            [number] => Ok(vec![self.realise(*number, pool, placement)?]),
            _ => numbers.par_iter().map(|&number| self.realise(number, pool, placement)).collect(),
        }
    }

    /// The architecture up to the end of layer `depth`, with a linear readout of one output.
    ///
    /// # Panics
    /// If there is no such layer.
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

    /// The network whose moments [`Self::realise`] measures, up to the end of layer `depth`, and a readout.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn network(&self, number: u64, depth: usize, placement: &Placement) -> Network {
        let architecture = self.with_readout(depth);
        let last = architecture.nodes.len() - 1;
        // Which layer of the list each drawn matrix belongs to; the readout's stream is not another layer's.
        let mut owners = architecture.nodes.iter().enumerate().flat_map(|(i, node)| {
            let one = Architecture { nodes: vec![node.clone()], ..architecture.clone() };
            let drawn = one.flat().iter().filter(|node| node.fan_in().is_some()).count();
            std::iter::repeat_n(if i == last { u64::MAX } else { i as u64 }, 2 * drawn)
        });
        let mut current: Option<(u64, Normals)> = None;
        Network::drawn(&architecture, placement, &mut |shape, std| {
            let owner = owners.next().expect("as many as are drawn");
            if current.as_ref().is_none_or(|(of, _)| *of != owner) {
                current = Some((owner, Normals::new(self.experiment.settings.seed, number, Purpose::Weights, owner)));
            }
            weights(&mut current.as_mut().expect("just set").1, shape, std)
        })
    }

    /// Carries a batch through a network whose parameters come from `draw`, layer by layer: no more than one layer's
    /// parameters are held at a time.
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
        let mut run = Run {
            plan: self,
            inputs: batch.count,
            // log of (μ₂(dx⁰) / μ₂(x⁰)); the noise's variance is known.
            log_input: batch.live.ln() - batch.mu2.ln(),
            signal_bits: 0,
            noise_bits: 0,
            records: vec![None; self.points.len()],
            depth: 0,
            dead: None,
        };
        let (mut x, mut dx) = (tensor(&batch.signal), tensor(&batch.noise));
        for (i, node) in network.nodes.iter().enumerate() {
            run.depth = self.depths[i];
            let piece = Network::drawn(&network.piece(i..i + 1), placement, &mut |shape, std| draw(i, shape, std));
            (x, dx) = piece.propagate_signal_noise(x, dx, rule, &mut |path, x, dx| {
                let path: Vec<usize> = [i].into_iter().chain(path[1..].iter().copied()).collect();
                run.measure(&path, x, dx);
            });
            let grows = node.layer.properties().is_linear || node.layer.residual().is_some();
            if run.dead.is_some() || (grows && run.rescale(&mut x, &mut dx).is_break()) {
                break;
            }
        }
        let records = run.records.into_iter().flatten().collect();
        Realisation { number, dead: run.dead, records }
    }
}

/// Values of a parameter, the same in single and in double precision.
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

/// On the way through the layers.
struct Run<'a> {
    plan: &'a Plan<'a>,
    inputs: usize,
    log_input: f64,
    /// The tensors are 2^-bits times what they stand for.
    signal_bits: i32,
    noise_bits: i32,
    records: Vec<Option<Record>>,
    depth: usize,
    dead: Option<Death>,
}

/// Host values of a tensor.
enum Host {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

fn host(x: &Tensor<4>) -> Host {
    let data = x.to_data();
    if data.dtype() == DType::F64 {
        return Host::F64(data.try_to_vec().expect("the type was just asked for"));
    }
    Host::F32(data.convert::<f32>().try_to_vec().expect("the type was just made"))
}

impl Run<'_> {
    fn measure(&mut self, path: &[usize], x: &Tensor<4>, dx: &Tensor<4>) {
        let Some(places) = self.plan.at.get(path).filter(|_| self.dead.is_none()) else { return };
        let channels = x.dims()[3];
        let ranks = places.iter().any(|&at| self.plan.points[at].ranks);
        let found = match (host(x), host(dx)) {
            (Host::F32(x), Host::F32(dx)) => self.values(&x, &dx, channels, ranks, f64::from(f32::EPSILON)),
            (Host::F64(x), Host::F64(dx)) => self.values(&x, &dx, channels, ranks, f64::EPSILON),
            _ => unreachable!("signal and noise have one type"),
        };
        match found {
            Ok(found) => {
                for &at in places {
                    let Wanted { point, ranks } = &self.plan.points[at];
                    let mut record = Record { depth: point.depth, loc: point.loc.clone(), ..found.clone() };
                    if !ranks {
                        record = Record {
                            reff_signal: None,
                            reff_noise: None,
                            pr_signal: None,
                            pr_noise: None,
                            cosine: None,
                            ..record
                        };
                    }
                    self.records[at] = Some(record);
                }
            }
            Err(reason) => self.dead = Some(Death { depth: self.depth, reason }),
        }
    }

    fn values<T: Copy + Into<f64>>(
        &self,
        x: &[T],
        dx: &[T],
        channels: usize,
        with_ranks: bool,
        epsilon: f64,
    ) -> Result<Record, String> {
        let (signal, noise) = (by_channel(x, channels), by_channel(dx, channels));
        let total = over_channels(&signal);
        let all = self.joined(&total, over_channels(&noise).nu2);
        if !(all.log_mu2.is_finite() && all.log_mu2_noise.is_finite()) {
            return Err(Self::reason(total.nu2, total.mu2, over_channels(&noise).nu2));
        }
        // What is left is the rounding of equal numbers.
        if total.mu2 < (4.0 * epsilon).powi(2) * total.nu2 {
            return Err("the inputs no longer differ by more than rounding".into());
        }
        let of = |which: MomentTensor, values: &[T]| {
            (with_ranks && self.plan.settings.ranks.contains(&which)).then(|| ranks(values, channels)).flatten()
        };
        let (r, dr) = (of(MomentTensor::Signal, x), of(MomentTensor::Noise, dx));
        let channels = if self.plan.settings.per_channel {
            signal.iter().zip(&noise).map(|(x, dx)| self.joined(x, dx.nu2)).collect()
        } else {
            Vec::new()
        };
        Ok(Record {
            depth: 0,
            loc: String::new(),
            all,
            reff_signal: r.map(|r| r.effective),
            reff_noise: dr.map(|r| r.effective),
            pr_signal: r.map(|r| r.participation),
            pr_noise: dr.map(|r| r.participation),
            cosine: with_ranks.then(|| mean_cosine(x, self.inputs)).flatten(),
            channels,
        })
    }

    fn joined(&self, signal: &Sums, noise: f64) -> Values {
        let log = |bits: i32| 2.0 * f64::from(bits) * std::f64::consts::LN_2;
        let log_mu2 = signal.mu2.ln() + log(self.signal_bits);
        let log_mu2_noise = noise.ln() + log(self.noise_bits);
        Values {
            nu1: signal.nu1,
            nu1_abs: signal.nu1_abs,
            nu2: signal.nu2,
            mu2: signal.mu2,
            mu4: signal.mu4,
            bits: self.signal_bits,
            log_nu2: signal.nu2.ln() + log(self.signal_bits),
            log_mu2,
            log_mu2_noise,
            log_sensitivity: 0.5 * (log_mu2_noise - log_mu2 - self.log_input),
        }
    }

    fn reason(nu2: f64, mu2: f64, noise: f64) -> String {
        let what = |name: &str, value: f64| {
            if value == 0.0 { format!("the {name} is 0: a dead layer") } else { format!("the {name} is not finite") }
        };
        if !nu2.is_finite() || nu2 == 0.0 {
            what("signal", nu2)
        } else if mu2 == 0.0 {
            "all inputs have become equal".into()
        } else {
            what("noise", noise)
        }
    }

    /// Brings the noise, and the signal of a homogeneous network, to a mean square near 1 by powers of two, which round
    /// nothing.
    fn rescale(&mut self, x: &mut Tensor<4>, dx: &mut Tensor<4>) -> ControlFlow<()> {
        let power = |t: &Tensor<4>| -> f64 { t.clone().square().mean().into_scalar::<f64>() };
        let noise = power(dx);
        let signal = if self.plan.homogeneous { power(x) } else { 1.0 };
        if !(noise > 0.0 && noise.is_finite() && signal > 0.0 && signal.is_finite()) {
            self.dead = Some(Death { depth: self.depth, reason: Self::reason(signal, 1.0, noise) });
            return ControlFlow::Break(());
        }
        for (t, power, bits) in [(dx, noise, &mut self.noise_bits), (x, signal, &mut self.signal_bits)] {
            let steps = (0.5 * power.log2()).round() as i32;
            // Within a factor of 16 nothing can overflow in the layer to come.
            if steps.abs() >= 4 {
                *t = t.clone().mul_scalar(2.0_f64.powi(-steps));
                *bits += steps;
            }
        }
        ControlFlow::Continue(())
    }
}
