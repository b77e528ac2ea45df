//! Kernels of networks of infinite width, between two inputs and all their positions.
//!
//! A denotes the second moments at the input of a linear layer (of one channel; for data, the mean over channels). c_p is
//! the fan-in as a function of position, and w, b² are the variances of weights and biases (1 - β² and β²):
//!
//! `Σ_pp' = b² + w/√(c_p c_p') Σ_{taps shared by p and p'} A_qq'`
//!
//! `Θ_pp' = (Σ_pp' - b²) + b² + w/√(c_p c_p') Σ_{shared taps} T_qq'`, where after a nonlinearity `A = E[σ(u) σ(v)]`,
//! `T = E[σ'(u) σ'(v)] Θ` for (u, v) ~ N(0, Σ).
//!
//! The first two terms of Θ are the parts of the layer's own weights and biases. Under the standard parametrization, whose
//! weights are not scaled in the forward pass, these parts are `channels · Σ_taps A` and 1, and they grow with the width.
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

/// The error for a network whose kernel at infinite width is not computed here.
///
/// ```
/// # use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// # let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// # let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// # let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// use fintan_theory::{LimitError, NetworkLimit, Request};
///
/// // `network` has 4 inputs.
/// let error = NetworkLimit::new(&network)?.kernel(&[1.0], &[1.0], &Request::default()).unwrap_err();
/// assert_eq!(error, LimitError::Input { found: 1, wanted: 4 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LimitError {
    /// A layer without a known limit.
    #[error("layer `{layer}` has no limit of infinite width that is known here: {reason}")]
    Layer {
        /// The layer's name.
        layer: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// An input of the wrong length.
    #[error("the network takes {wanted} values, an input has {found}")]
    Input {
        /// Number of values given.
        found: usize,
        /// Number of values needed.
        wanted: usize,
    },
    /// A quadrature that did not converge.
    #[error(transparent)]
    Dual(#[from] DualError),
    /// A variance outside the range for which a nonlinearity's moments are computed.
    #[error("a variance of 10^{log10:.0} enters `{name}`, and its moments are not computed for variances that large")]
    Range {
        /// The nonlinearity.
        name: &'static str,
        /// Logarithm to base 10 of the variance.
        log10: f64,
    },
    /// A kernel that is not a number, or is too large for f64.
    #[error("{what} of this network at infinite width is not a finite f64 number{}", size(*log10))]
    NotFinite {
        /// Name of the value.
        what: &'static str,
        /// Logarithm to base 10 of its size; NaN if the value is not a number.
        log10: f64,
    },
}

fn size(log10: f64) -> String {
    if log10.is_finite() { format!(": it is near 10^{log10:.0}") } else { String::new() }
}

/// Options for the computation of a kernel.
///
/// ```
/// # use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// # let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// # let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// # let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// use fintan_theory::{NetworkLimit, Request};
///
/// // `network` is dense, standardized ReLU, dense, with β = 0.
/// let request = Request { parts: true, ..Request::default() };
/// let kernel = NetworkLimit::new(&network)?.kernel(&[1.0; 4], &[1.0; 4], &request)?;
/// let (name, values) = &kernel.parts[0];
/// assert_eq!(name, "0.weight");
/// assert!((values[0] - 1.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Compute all pairs of output positions, instead of each position with itself.
    pub all_positions: bool,
    /// Compute each parameter's part, instead of only the sum.
    pub parts: bool,
    /// Factors of the parts, (weights, biases) by index, for instance layer-dependent learning rates; `None` means 1.
    pub rates: Option<Vec<(f64, f64)>>,
}

/// The kernels between two inputs x and y at the last linear layer of the network. They are the same for every output
/// channel, and zero between different channels.
///
/// The entries run over positions p of x and p' of y: P² entries, row-major, or P entries with p = p' (see
/// [`Request::all_positions`]).
///
/// ```
/// # use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// # let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// # let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// # let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// use fintan_theory::{NetworkLimit, Request};
///
/// // `network` is dense, standardized ReLU, dense, with β = 0.
/// let x = [1.0; 4];
/// let kernel = NetworkLimit::new(&network)?.kernel(&x, &x, &Request::default())?;
/// assert_eq!(kernel.positions, 1);
/// // Every linear layer adds 1 to Θ(x, x).
/// assert!((kernel.covariance[0] - 1.0).abs() < 1e-12 && (kernel.ntk[0] - 2.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PositionKernel {
    /// Number of output positions.
    pub positions: usize,
    /// Whether the kernels contain all pairs of positions.
    pub all_positions: bool,
    /// Σ, the covariance of the outputs of a network at initialisation (NNGP).
    pub covariance: Vec<f64>,
    /// Θ, the neural tangent kernel.
    pub ntk: Vec<f64>,
    /// Parts of Θ, `{i}.weight` and `{i}.bias`; empty if they were not requested.
    pub parts: Vec<(String, Vec<f64>)>,
}

/// A network at infinite width.
///
/// An output nonlinearity is left out: it multiplies the kernel by σ'(f(x)) σ'(f(y)), which remains random at any width.
///
/// ```
/// use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// use fintan_theory::{NetworkLimit, Request};
/// use std::f64::consts::PI;
///
/// let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(2), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// // Two orthogonal inputs with |x|² = 2: the kernel of Cho and Saul at an angle of 90 degrees.
/// let kernel = NetworkLimit::new(&network)?.kernel(&[1.0, 1.0], &[1.0, -1.0], &Request::default())?;
/// assert!((kernel.ntk[0] - 1.0 / PI).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NetworkLimit {
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
    /// Reshapes a vector to an image with independent positions.
    Spread {
        positions: usize,
    },
    /// Frames and up-sampling: for each output position, the input position that it copies; `None` for zeros.
    Copies(Vec<Option<usize>>),
    /// Pools: for each output position, the input positions of the mean.
    Means(Vec<Window>),
    Residual {
        branch: Vec<Step>,
        shortcut: Vec<Step>,
        scale: f64,
    },
}

impl NetworkLimit {
    /// The limit of an architecture at initialisation, up to its last linear layer.
    ///
    /// # Errors
    /// The first layer without a limit: batch norms (they couple the batch), nonlinearities of values that are not Gaussian,
    /// sums of dependent branches, norms before the first weights, reshaped images.
    pub fn new(architecture: &Architecture) -> Result<Self, LimitError> {
        Self::of_outputs(&architecture.before_output())
    }

    /// The limit including the output nonlinearity, if there is one: the mean of the kernel over initialisations.
    ///
    /// # Errors
    /// The errors of [`Self::new`].
    pub fn of_outputs(architecture: &Architecture) -> Result<Self, LimitError> {
        let (skipped, input) = skip_reshapes(architecture);
        let mut pools = false;
        let nodes = &architecture.nodes[skipped..];
        let (steps, _) = compile(nodes, architecture.parametrization, input.positions(), &mut pools)?;
        Ok(Self { input, steps, pools })
    }

    /// The kernels between two inputs, whose values are in channel, row, column order.
    ///
    /// # Errors
    /// An input of the wrong length, or a quadrature that does not converge.
    pub fn kernel(&self, x: &[f64], y: &[f64], request: &Request) -> Result<PositionKernel, LimitError> {
        let pooled = if self.pools { [self.pooled(x)?, self.pooled(y)?] } else { Default::default() };
        self.between(x, y, request, &pooled, false)
    }

    /// The kernels between every x and every y, row by row; without `y`, between all pairs of x.
    ///
    /// # Errors
    /// The errors of [`Self::kernel`].
    pub fn gram(
        &self,
        x: &[&[f64]],
        y: Option<&[&[f64]]>,
        request: &Request,
    ) -> Result<Vec<PositionKernel>, LimitError> {
        self.gram_map(x, y, request, |kernel| kernel)
    }

    /// The kernels of [`Self::gram`], each reduced by `map` immediately: kernels over all positions are large.
    ///
    /// # Errors
    /// The errors of [`Self::kernel`].
    pub fn gram_map<T: Send>(
        &self,
        x: &[&[f64]],
        y: Option<&[&[f64]]>,
        request: &Request,
        map: impl Fn(PositionKernel) -> T + Sync,
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

    /// Second moments of an input after each pool, which require the covariances between its positions.
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
    ) -> Result<PositionKernel, LimitError> {
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
        Ok(PositionKernel { positions, all_positions, covariance, ntk, parts })
    }
}

impl PositionKernel {
    /// The kernels with x and y exchanged.
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

/// Number of reshapes at the start of the network, and the shape after them. Reshapes do not change the order of values.
pub(crate) fn skip_reshapes(architecture: &Architecture) -> (usize, Shape) {
    let reshapes = |node: &&Node| node.transform() == Transform::Reshape;
    let skipped = architecture.nodes.iter().take_while(reshapes).count();
    (skipped, skipped.checked_sub(1).map_or(architecture.input, |last| architecture.nodes[last].output))
}

/// The signal of two inputs, with values in channel, row, column order.
fn enter(input: Shape, x: &[f64], y: &[f64], all: bool) -> Result<Signal, LimitError> {
    let (channels, positions) = (input.channels, input.positions());
    for data in [x, y] {
        if data.len() != input.len() {
            return Err(LimitError::Input { found: data.len(), wanted: input.len() });
        }
    }
    // If squares of the data leave the range of f64, the size of the data is the unit.
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

/// From this number of pairs on, series are used instead of an integral for each pair.
const MANY: usize = 256;

/// Second moments at each position, after each map that averages positions.
type Pooled = Vec<Vec<Wide>>;

/// State of a pass through the layers.
struct Walk<'a> {
    request: &'a Request,
    pooled: &'a [Pooled; 2],
    /// Whether there are enough pairs of inputs for series.
    many: bool,
    /// Number of averaging maps so far.
    pools: usize,
    /// Second moments found from the covariances of each input with itself.
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

/// Whether covariances between different positions are needed before `steps`; `all` says whether they are needed after them.
fn needs_all(steps: &[Step], all: bool) -> bool {
    steps.iter().rev().fold(all, |all, step| match step {
        // The variance of a mean depends on the covariances of all averaged positions.
        Step::Means(_) => true,
        Step::Spread { .. } => false,
        Step::Linear(linear) => all && linear.positions() > 1,
        Step::Residual { branch, shortcut, .. } => needs_all(branch, all) || needs_all(shortcut, all),
        Step::Activation(..) | Step::LayerNorm { .. } | Step::Copies(_) => all,
    })
}

/// Reasons for a missing limit: of an activation, and of a residual block.
pub(crate) const NOT_GAUSSIAN: &str = "its input is not Gaussian; weights must stand between two nonlinearities";
const FLATTENED: &str = "a flattened image enters it";
pub(crate) const DEPENDENT: &str = "branch and shortcut are dependent; one of them must end with weights";

fn refuse<T>(layer: &'static str, reason: &'static str) -> Result<T, LimitError> {
    Err(LimitError::Layer { layer, reason })
}

/// Compiles the steps. Also returns the number of positions after them, which counts positions of a flattened image.
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
            // A flattened image keeps its positions until a dense layer sums over them.
            Transform::Reshape if node.output == node.input || node.output.is_vector() => {}
            Transform::Reshape if node.input.is_vector() && positions == 1 => {
                positions = node.output.positions();
                steps.push(Step::Spread { positions });
            }
            Transform::Reshape => return refuse("reshape", "only vectors are reshaped to images"),
            Transform::Positions(map) => {
                let sources = map.sources();
                if flattened {
                    // A vector has one position, which is unchanged.
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
