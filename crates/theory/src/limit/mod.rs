//! Kernels of networks of infinite width, between two inputs and all their positions.
//!
//! With A the second moments that enter a linear layer (of one channel; of the data, their mean over channels), c_p the
//! fan-in over positions and w, b² the variances of weights and biases (1 - β² and β²),
//!
//! `Σ_pp' = b² + w/√(c_p c_p') Σ_{taps shared by p and p'} A_qq'`
//!
//! `Θ_pp' = (Σ_pp' - b²) + b² + w/√(c_p c_p') Σ_{shared taps} T_qq'`, where a nonlinearity makes
//! `A = E[σ(u) σ(v)]`, `T = E[σ'(u) σ'(v)] Θ` of (u, v) ~ N(0, Σ).
//!
//! The first two terms of Θ are the layer's own weights and biases. Under the standard parametrization, whose weights
//! are not scaled in the forward pass, they are `channels · Σ_taps A` and 1, and grow with the width.
//!
//! Sources: Jacot, Gabriel, Hongler, NeurIPS 2018 (dense); Arora et al., NeurIPS 2019 (convolutions); Jacot, Gabriel, Ged,
//! Hongler, arXiv 1907.05715 (transposed convolutions, graph-based parametrization).

mod rules;
mod signal;
mod wiring;

use fintan_config::{Architecture, Layer, Node, NormAxes, Parametrization, Shape};
use rayon::prelude::*;

use self::signal::{Field, Owner, Signal};
use self::wiring::Wiring;
use crate::dual::{Dual, DualError};
use crate::series::Known;
use crate::variances::Variances;

/// Why a network has no kernel at infinite width that is computed here.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LimitError {
    /// A layer without such a limit.
    #[error("layer `{layer}` has no limit of infinite width that is known here: {reason}")]
    Layer {
        /// The layer's name.
        layer: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// Inputs of another length.
    #[error("the network takes {wanted} values, an input has {found}")]
    Input {
        /// What was given.
        found: usize,
        /// What the network takes.
        wanted: usize,
    },
    /// A quadrature that did not converge.
    #[error(transparent)]
    Dual(#[from] DualError),
}

/// What is wanted of a kernel.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Between all pairs of output positions, rather than each with itself.
    pub all_positions: bool,
    /// Each parameter's part, rather than the sum alone.
    pub parts: bool,
    /// A factor for each parameter's part, (weights, biases) by index, as layer-dependent learning rates; none: 1.
    pub rates: Option<Vec<(f64, f64)>>,
}

/// The kernels between two inputs x and y at the network's last linear layer, the same for every output channel and zero
/// between channels.
///
/// Over positions p of x and p' of y: P² entries, row-major, or P with p = p' (as [`Request::all_positions`] asked).
#[derive(Debug, Clone, PartialEq)]
pub struct LimitKernel {
    /// Output positions.
    pub positions: usize,
    /// Whether all pairs of positions are held.
    pub all_positions: bool,
    /// Σ, the covariance of the outputs of a network at its initialisation (NNGP).
    pub covariance: Vec<f64>,
    /// Θ, the neural tangent kernel.
    pub ntk: Vec<f64>,
    /// Parts of Θ: `{i}.weight` and `{i}.bias`; empty where not asked for.
    pub parts: Vec<(String, Vec<f64>)>,
}

/// A network at infinite width.
///
/// An output nonlinearity is left off: it multiplies the kernel by σ'(f(x)) σ'(f(y)), which stays random at any width.
#[derive(Debug)]
pub struct Limit {
    input: Shape,
    steps: Vec<Step>,
    pools: bool,
}

#[derive(Debug)]
enum Step {
    Linear(Linear),
    Activation(Dual, Known),
    LayerNorm {
        over: NormAxes,
        eps: f64,
        affine: Option<usize>,
    },
    /// A vector becomes an image: positions of their own, independent of one another.
    Spread {
        positions: usize,
    },
    /// Frames and up-sampling: of each position that comes out, the one that stands there; none for zeros.
    Copies(Vec<Option<usize>>),
    Pool,
    Residual {
        branch: Vec<Step>,
        shortcut: Vec<Step>,
        scale: f64,
    },
}

#[derive(Debug)]
struct Linear {
    index: usize,
    wiring: Wiring,
    /// √(w / c_p)
    factors: Vec<f64>,
    /// b²
    bias: f64,
    /// Own part of Θ over Σ - b².
    weights_own: f64,
    /// Own part of the biases.
    bias_own: f64,
}

impl Limit {
    /// The limit of an architecture as it is initialised, up to its last linear layer.
    ///
    /// # Errors
    /// The first layer without a limit: batch norms (batches couple), nonlinearities of what is not Gaussian, sums of
    /// dependent branches, norms before the first weights, reshaped images.
    pub fn new(architecture: &Architecture) -> Result<Self, LimitError> {
        Self::of_outputs(&architecture.before_output())
    }

    /// The same with the output nonlinearity, where there is one: the mean of the kernel over initialisations.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_outputs(architecture: &Architecture) -> Result<Self, LimitError> {
        let (mut nodes, mut input) = (&architecture.nodes[..], architecture.input);
        while let Some((Node { layer: Layer::Reshape(_) | Layer::Flatten(_), output, .. }, rest)) = nodes.split_first()
        {
            (input, nodes) = (*output, rest);
        }
        let mut pools = false;
        let (steps, _) = compile(nodes, architecture.parametrization, input.positions(), &mut pools)?;
        Ok(Self { input, steps, pools })
    }

    /// Shape of an input: where the first layers reshape it, that which they give.
    pub(crate) fn input(&self) -> Shape {
        self.input
    }

    /// The kernels between two inputs, in channel, row, column order.
    ///
    /// # Errors
    /// An input of the wrong length, and a quadrature that does not converge.
    pub fn kernel(&self, x: &[f64], y: &[f64], request: &Request) -> Result<LimitKernel, LimitError> {
        let pooled = if self.pools { [self.pooled(x)?, self.pooled(y)?] } else { Default::default() };
        self.between(x, y, request, &pooled, false)
    }

    /// The kernels between every x and every y, in rows; with `y` none, of the x among themselves.
    ///
    /// # Errors
    /// As [`Self::kernel`].
    pub fn gram(&self, x: &[&[f64]], y: Option<&[&[f64]]>, request: &Request) -> Result<Vec<LimitKernel>, LimitError> {
        self.gram_map(x, y, request, |kernel| kernel)
    }

    /// The same, each kernel reduced by `map` as soon as it is there: kernels over all positions are large.
    ///
    /// # Errors
    /// As [`Self::kernel`].
    pub fn gram_map<T: Send>(
        &self,
        x: &[&[f64]],
        y: Option<&[&[f64]]>,
        request: &Request,
        map: impl Fn(LimitKernel) -> T + Sync,
    ) -> Result<Vec<T>, LimitError> {
        let pooled = |inputs: &[&[f64]]| -> Result<Vec<Pooled>, LimitError> {
            if !self.pools {
                return Ok(vec![Pooled::default(); inputs.len()]);
            }
            inputs.iter().map(|x| self.pooled(x)).collect()
        };
        let many = x.len() * y.map_or(x.len(), <[_]>::len) >= MANY;
        let own = pooled(x)?;
        if let Some(y) = y {
            let others = pooled(y)?;
            let pairs: Vec<(usize, usize)> = (0..x.len()).flat_map(|i| (0..y.len()).map(move |j| (i, j))).collect();
            let of = |&(i, j): &(usize, usize)| {
                self.between(x[i], y[j], request, &[own[i].clone(), others[j].clone()], many).map(&map)
            };
            return pairs.par_iter().map(of).collect();
        }
        let pairs: Vec<(usize, usize)> = (0..x.len()).flat_map(|i| (i..x.len()).map(move |j| (i, j))).collect();
        let of = |&(i, j): &(usize, usize)| {
            let kernel = self.between(x[i], x[j], request, &[own[i].clone(), own[j].clone()], many)?;
            let below = (i != j).then(|| map(kernel.transposed()));
            Ok((map(kernel), below))
        };
        let upper: Vec<(T, Option<T>)> = pairs.par_iter().map(of).collect::<Result<_, LimitError>>()?;
        let mut all: Vec<Option<T>> = (0..x.len() * x.len()).map(|_| None).collect();
        for ((i, j), (above, below)) in pairs.into_iter().zip(upper) {
            all[i * x.len() + j] = Some(above);
            if below.is_some() {
                all[j * x.len() + i] = below;
            }
        }
        Ok(all.into_iter().flatten().collect())
    }

    /// Second moments of an input behind each pool: they need the covariances between its positions.
    fn pooled(&self, x: &[f64]) -> Result<Pooled, LimitError> {
        let mut walk =
            Walk { request: &Request::default(), pooled: &Default::default(), many: false, pools: 0, met: Vec::new() };
        walk.through(&self.steps, self.enter(x, x, needs_all(&self.steps, false))?, false)?;
        Ok(walk.met)
    }

    fn between(
        &self,
        x: &[f64],
        y: &[f64],
        request: &Request,
        pooled: &[Pooled; 2],
        many: bool,
    ) -> Result<LimitKernel, LimitError> {
        let signal = self.enter(x, y, needs_all(&self.steps, request.all_positions))?;
        let mut walk = Walk { request, pooled, many, pools: 0, met: Vec::new() };
        let mut out = walk.through(&self.steps, signal, request.all_positions)?;
        let parts = if request.parts {
            let name = |owner: Owner| format!("{}.{}", owner.index, if owner.bias { "bias" } else { "weight" });
            out.tangent.iter().map(|(owner, field)| (name(*owner), field.values.clone())).collect()
        } else {
            Vec::new()
        };
        let mut ntk = vec![0.0; out.covariance.values.len()];
        for (_, part) in out.tangent.drain(..) {
            for (sum, value) in ntk.iter_mut().zip(part.values) {
                *sum += value;
            }
        }
        let (positions, all_positions) = (out.positions(), out.all());
        Ok(LimitKernel { positions, all_positions, covariance: out.covariance.values, ntk, parts })
    }

    fn enter(&self, x: &[f64], y: &[f64], all: bool) -> Result<Signal, LimitError> {
        let (channels, positions) = (self.input.channels, self.input.positions());
        for input in [x, y] {
            if input.len() != self.input.len() {
                return Err(LimitError::Input { found: input.len(), wanted: self.input.len() });
            }
        }
        let mean = |of: &dyn Fn(usize) -> f64| -> f64 { (0..channels).map(of).sum::<f64>() / channels as f64 };
        let each = |of: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..positions).map(of).collect() };
        let at = |v: &[f64], c: usize, p: usize| v[c * positions + p];
        Ok(Signal {
            covariance: Field::from_fn(positions, all, |p, q| mean(&|c| at(x, c, p) * at(y, c, q))),
            gap: Field::from_fn(positions, all, |p, q| 0.5 * mean(&|c| (at(x, c, p) - at(y, c, q)).powi(2))),
            tangent: Vec::new(),
            second: [x, y].map(|v| each(&|p| mean(&|c| at(v, c, p) * at(v, c, p)))),
            mean: [x, y].map(|v| each(&|p| mean(&|c| at(v, c, p)))),
            gaussian: false,
            fresh: false,
        })
    }
}

impl LimitKernel {
    /// With x and y exchanged.
    #[must_use]
    pub fn transposed(&self) -> Self {
        if !self.all_positions {
            return self.clone();
        }
        let n = self.positions;
        let turn = |v: &[f64]| -> Vec<f64> { (0..n * n).map(|i| v[i % n * n + i / n]).collect() };
        Self {
            covariance: turn(&self.covariance),
            ntk: turn(&self.ntk),
            parts: self.parts.iter().map(|(name, v)| (name.clone(), turn(v))).collect(),
            ..*self
        }
    }
}

/// Pairs from which on series are set up rather than each pair integrated.
const MANY: usize = 256;

/// Second moments behind each pool.
type Pooled = Vec<f64>;

/// On the way through the layers.
struct Walk<'a> {
    request: &'a Request,
    pooled: &'a [Pooled; 2],
    /// Whether there are so many pairs of inputs that series pay.
    many: bool,
    /// Pools met so far.
    pools: usize,
    /// What their inputs' own covariances gave.
    met: Pooled,
}

impl Walk<'_> {
    fn through(&mut self, steps: &[Step], mut signal: Signal, all: bool) -> Result<Signal, LimitError> {
        for (i, step) in steps.iter().enumerate() {
            signal = self.step(step, signal, needs_all(&steps[i + 1..], all))?;
        }
        Ok(signal)
    }
}

/// Whether covariances between different positions are needed where `steps` begin, if they are (`all`) at their end.
fn needs_all(steps: &[Step], all: bool) -> bool {
    steps.iter().rev().fold(all, |all, step| match step {
        Step::Pool => true,
        Step::Spread { .. } => false,
        Step::Linear(linear) => all && linear.wiring.parents.len() > 1,
        Step::Residual { branch, shortcut, .. } => needs_all(branch, all) || needs_all(shortcut, all),
        // Copies of one position are different positions.
        Step::Activation(..) | Step::LayerNorm { .. } | Step::Copies(_) => all,
    })
}

fn refuse<T>(layer: &'static str, reason: &'static str) -> Result<T, LimitError> {
    Err(LimitError::Layer { layer, reason })
}

/// The steps, and the positions of the signal behind them: those of an image that was flattened too.
fn compile(
    nodes: &[Node],
    parametrization: Parametrization,
    mut positions: usize,
    pools: &mut bool,
) -> Result<(Vec<Step>, usize), LimitError> {
    let mut steps = Vec::with_capacity(nodes.len());
    for node in nodes {
        let flattened = positions != node.input.positions();
        match &node.layer {
            Layer::Conv(_) | Layer::Deconv(_) | Layer::Pad(_) | Layer::Upsample(_) if flattened => {
                return refuse(node.layer.name(), "a flattened image enters it");
            }
            Layer::Dense(_) | Layer::Conv(_) | Layer::Deconv(_) => {
                let linear = linear(node, parametrization, positions);
                positions = linear.wiring.parents.len();
                steps.push(Step::Linear(linear));
            }
            Layer::Activation(activation) => steps.push(Step::Activation(Dual::new(*activation), Known::default())),
            Layer::BatchNorm(_) => {
                return refuse(
                    "batch_norm",
                    "it couples the samples of a batch; `fintan ntk` computes its finite-width kernel",
                );
            }
            Layer::LayerNorm(norm) => {
                // The features of a flattened image are its channels and positions.
                let over = if flattened { NormAxes::Chw } else { norm.over };
                steps.push(Step::LayerNorm { over, eps: norm.eps, affine: node.index });
            }
            Layer::Reshape(to) if node.input.is_vector() && positions == 1 => {
                positions = to.positions();
                steps.push(Step::Spread { positions });
            }
            Layer::Reshape(to) if *to == node.input => {}
            Layer::Reshape(_) => return refuse("reshape", "only vectors are reshaped to images"),
            // What is flattened keeps its positions until a dense layer sums over them.
            Layer::Flatten(_) => {}
            // The mean over the one position of a vector.
            Layer::Pad(pad) => {
                positions = node.output.positions();
                steps.push(Step::Copies(sources(node, |axis, len| pad.sources(axis, len))));
            }
            Layer::Upsample(up) => {
                positions = node.output.positions();
                steps.push(Step::Copies(sources(node, |axis, len| up.sources(axis, len))));
            }
            Layer::GlobalAveragePool(_) if flattened => {}
            Layer::GlobalAveragePool(_) => {
                (*pools, positions) = (true, 1);
                steps.push(Step::Pool);
            }
            Layer::Residual(block) => {
                let (branch, behind) = compile(&node.branch, parametrization, positions, pools)?;
                let (shortcut, _) = compile(&node.shortcut, parametrization, positions, pools)?;
                positions = behind;
                steps.push(Step::Residual { branch, shortcut, scale: block.scale });
            }
        }
    }
    Ok((steps, positions))
}

/// Of each position that comes out, the one that stands there.
fn sources(node: &Node, along: impl Fn(usize, usize) -> Vec<Option<usize>>) -> Vec<Option<usize>> {
    let [rows, columns] = [(0, node.input.height), (1, node.input.width)].map(|(axis, len)| along(axis, len));
    let width = node.input.width;
    rows.iter().flat_map(|y| columns.iter().map(move |x| Some((*y)? * width + (*x)?))).collect()
}

fn linear(node: &Node, parametrization: Parametrization, positions: usize) -> Linear {
    let wiring = Wiring::of(node, positions);
    // Channels a position, where a flattened image counts as one again.
    let channels = match node.layer {
        Layer::Dense(_) => node.input.channels / positions,
        _ => node.input.channels,
    } as f64;
    let fan_in = node.fan_in().expect("a linear layer has a fan-in") / channels;
    let Variances { weights, biases, scaled } = Variances::of(node, parametrization);
    let factors = wiring.parents.iter().map(|parents| {
        let count = match (parametrization, &node.layer) {
            (Parametrization::Graph(_), Layer::Deconv(_)) => parents.len().max(1) as f64,
            _ => fan_in,
        };
        (weights / count).sqrt()
    });
    Linear {
        index: node.index.expect("a linear layer has parameters"),
        factors: factors.collect(),
        bias: biases,
        weights_own: if scaled { 1.0 } else { channels * fan_in / weights },
        bias_own: if scaled { biases } else { 1.0 },
        wiring,
    }
}
