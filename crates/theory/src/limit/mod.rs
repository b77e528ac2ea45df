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

mod layers;
mod relation;
mod signal;
mod sweep;
mod wiring;

use fintan_config::{Architecture, Node, NormAxes, Parametrization, Shape, Transform, Window};
use rayon::prelude::*;

use self::layers::Linear;
pub use self::relation::Relation;
use self::signal::{Field, Owner, Signal, common};
pub(crate) use self::sweep::Growing;
use crate::dual::{Dual, DualError};
use crate::series::Known;
use crate::wide::{Wide, exponent_of, scaled_by};

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
    /// A variance that a nonlinearity of a scale of its own cannot take.
    #[error("a variance of 10^{log10:.0} enters `{name}`, which is more than its moments are computed for")]
    Range {
        /// The nonlinearity.
        name: &'static str,
        /// The variance's logarithm to base 10.
        log10: f64,
    },
    /// A kernel that is no number, or too large for one.
    #[error("{what} of this network at infinite width is no number of f64{}", size(*log10))]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// The logarithm to base 10 of its size; not a number where the number is none.
        log10: f64,
    },
}

fn size(log10: f64) -> String {
    if log10.is_finite() { format!(": it is near 10^{log10:.0}") } else { String::new() }
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
    /// Pools: of each position that comes out, what is added up and divided.
    Means(Vec<Window>),
    Residual {
        branch: Vec<Step>,
        shortcut: Vec<Step>,
        scale: f64,
    },
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

    /// The limit with the output nonlinearity, where there is one: the mean of the kernel over initialisations.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_outputs(architecture: &Architecture) -> Result<Self, LimitError> {
        let (skipped, input) = skip_reshapes(architecture);
        let mut pools = false;
        let nodes = &architecture.nodes[skipped..];
        let (steps, _) = compile(nodes, architecture.parametrization, input.positions(), &mut pools)?;
        Ok(Self { input, steps, pools })
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

    /// The kernels of [`Self::gram`], each reduced by `map` as soon as it is there: kernels over all positions are large.
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
        walk.through(&self.steps, enter(self.input, x, x, needs_all(&self.steps, false))?, false)?;
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
        let signal = enter(self.input, x, y, needs_all(&self.steps, request.all_positions))?;
        let mut walk = Walk { request, pooled, many, pools: 0, met: Vec::new() };
        let out = walk.through(&self.steps, signal, request.all_positions)?;
        let real =
            |field: &Field, scale: i64| -> Vec<f64> { field.values.iter().map(|v| scaled_by(*v, scale)).collect() };
        let scale = out.tangent_scale;
        let parts = if request.parts {
            let name = |owner: Owner| format!("{}.{}", owner.index, if owner.bias { "bias" } else { "weight" });
            out.tangent.iter().map(|(owner, field)| (name(*owner), real(field, scale))).collect()
        } else {
            Vec::new()
        };
        let (covariance, ntk) = (real(&out.covariance, out.scale[0] + out.scale[1]), real(&out.summed(), scale));
        let (positions, all_positions) = (out.positions(), out.all());
        for (what, values, size) in [
            ("the covariance", &covariance, out.product(out.covariance.largest(), [0, 1])),
            ("the tangent kernel", &ntk, Wide::scaled(out.summed().largest(), scale)),
        ] {
            if !values.iter().all(|v| v.is_finite()) {
                return Err(LimitError::NotFinite { what, log10: size.log10() });
            }
        }
        Ok(LimitKernel { positions, all_positions, covariance, ntk, parts })
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

/// How many reshapes the network begins with, and the shape behind them: inputs keep the order of their values.
pub(crate) fn skip_reshapes(architecture: &Architecture) -> (usize, Shape) {
    let reshapes = |node: &&Node| node.transform() == Transform::Reshape;
    let skipped = architecture.nodes.iter().take_while(reshapes).count();
    (skipped, skipped.checked_sub(1).map_or(architecture.input, |last| architecture.nodes[last].output))
}

/// Two inputs as they come, in channel, row, column order.
fn enter(input: Shape, x: &[f64], y: &[f64], all: bool) -> Result<Signal, LimitError> {
    let (channels, positions) = (input.channels, input.positions());
    for data in [x, y] {
        if data.len() != input.len() {
            return Err(LimitError::Input { found: data.len(), wanted: input.len() });
        }
    }
    // Where squares of the data leave the range of f64, in units of the data.
    let size = [x, y].map(|v| exponent_of(v.iter().fold(0.0, |most, v| v.abs().max(most))));
    let far = size.iter().any(|size| size.is_some_and(|size| size.abs() > 32));
    let scale = if far { common(size, [0, 0]) } else { [0, 0] };
    let held = |v: &[f64], side: usize| v.iter().map(|v| scaled_by(*v, -scale[side])).collect::<Vec<f64>>();
    let (x, y) = (&held(x, 0)[..], &held(y, 1)[..]);
    let mean = |of: &dyn Fn(usize) -> f64| -> f64 { (0..channels).map(of).sum::<f64>() / channels as f64 };
    let each = |of: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..positions).map(of).collect() };
    let at = |v: &[f64], c: usize, p: usize| v[c * positions + p];
    Ok(Signal {
        covariance: Field::from_fn(positions, all, |p, q| mean(&|c| at(x, c, p) * at(y, c, q))),
        gap: Field::from_fn(positions, all, |p, q| 0.5 * mean(&|c| (at(x, c, p) - at(y, c, q)).powi(2))),
        tangent: Vec::new(),
        second: [x, y].map(|v| each(&|p| mean(&|c| at(v, c, p) * at(v, c, p)))),
        mean: [x, y].map(|v| each(&|p| mean(&|c| at(v, c, p)))),
        scale,
        tangent_scale: 0,
        gaussian: false,
        fresh: false,
    })
}

/// Pairs from which on series are set up rather than each pair integrated.
const MANY: usize = 256;

/// Second moments behind each map that averages positions, at each position.
type Pooled = Vec<Vec<Wide>>;

/// On the way through the layers.
struct Walk<'a> {
    request: &'a Request,
    pooled: &'a [Pooled; 2],
    /// Whether there are so many pairs of inputs that series pay.
    many: bool,
    /// Maps that average positions, so far.
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
        // A mean has the covariances of all that is averaged.
        Step::Means(_) => true,
        Step::Spread { .. } => false,
        Step::Linear(linear) => all && linear.positions() > 1,
        Step::Residual { branch, shortcut, .. } => needs_all(branch, all) || needs_all(shortcut, all),
        Step::Activation(..) | Step::LayerNorm { .. } | Step::Copies(_) => all,
    })
}

/// Why there is no limit: of an activation, and of a residual block.
pub(crate) const NOT_GAUSSIAN: &str = "its input is not Gaussian; weights must stand between two nonlinearities";
const FLATTENED: &str = "a flattened image enters it";
pub(crate) const DEPENDENT: &str = "branch and shortcut are dependent; one of them must end with weights";

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
        match node.transform() {
            Transform::Conv(_) | Transform::Deconv(_) if flattened => return refuse(node.layer.name(), FLATTENED),
            Transform::Dense | Transform::Conv(_) | Transform::Deconv(_) => {
                let linear = Linear::of(node, parametrization, positions);
                positions = linear.positions();
                steps.push(Step::Linear(linear));
            }
            Transform::Pointwise(activation) => steps.push(Step::Activation(Dual::new(activation), Known::default())),
            Transform::BatchNorm(_) => {
                return refuse(
                    "batch_norm",
                    "it couples the samples of a batch; `fintan ntk` computes its finite-width kernel",
                );
            }
            Transform::LayerNorm(norm) => {
                // The features of a flattened image are its channels and positions.
                let over = if flattened { NormAxes::Chw } else { norm.over };
                steps.push(Step::LayerNorm { over, eps: norm.eps, affine: node.index });
            }
            // What is flattened keeps its positions until a dense layer sums over them.
            Transform::Reshape if node.output == node.input || node.output.is_vector() => {}
            Transform::Reshape if node.input.is_vector() && positions == 1 => {
                positions = node.output.positions();
                steps.push(Step::Spread { positions });
            }
            Transform::Reshape => return refuse("reshape", "only vectors are reshaped to images"),
            Transform::Positions(map) => {
                let sources = map.sources();
                if flattened {
                    // The one position of a vector, as it is.
                    if sources.is_some_and(|sources| sources == [Some(0)]) {
                        continue;
                    }
                    return refuse(node.layer.name(), FLATTENED);
                }
                positions = node.output.positions();
                *pools |= sources.is_none();
                steps.push(sources.map_or_else(|| Step::Means(map.windows()), Step::Copies));
            }
            Transform::Residual { scale } => {
                let (branch, behind) = compile(&node.branch, parametrization, positions, pools)?;
                let (shortcut, _) = compile(&node.shortcut, parametrization, positions, pools)?;
                positions = behind;
                steps.push(Step::Residual { branch, shortcut, scale });
            }
        }
    }
    Ok((steps, positions))
}
