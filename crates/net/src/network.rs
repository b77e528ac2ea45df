//! An [`Architecture`] with parameters on a device, and its three rules.

use std::sync::Arc;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_config::{Architecture, Init, Layer, Node, NormAxes, Parametrization, Shape, Standard};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::activation::Pointwise;
use crate::correlation::{Correlation, Lowering};
use crate::ending::{Below, Ending, Link};
use crate::norm::{BatchStatistics, Normalized, normalize, normalize_by};
use crate::site::{Kind, Linear, Site};

/// Where and how a network computes.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The device of its parameters.
    pub device: Device,
    /// `F32` or `F64`.
    pub dtype: DType,
    /// How its convolutions are computed.
    pub lowering: Lowering,
}

/// Which statistics batch normalization uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Those of the batch at hand.
    Train,
    /// The running averages of training.
    Eval,
}

/// A network: an [`Architecture`] and its parameters.
///
/// Maps are channels last: samples enter and leave as `[batch, rows, columns, channels]`, vectors as
/// `[batch, 1, 1, features]`. Parameters are matrices in the order of [`Network::parameter_names`].
///
/// Three rules, for the whole network as for each layer:
///
/// | rule | is |
/// | --- | --- |
/// | [`forward`](Self::forward) | y = f(θ, x), and a [`Tape`] of what the others need |
/// | [`pullback`](Self::pullback) | (dθ, dx) = (∂f/∂θ)ᵀ dy, (∂f/∂x)ᵀ dy |
/// | [`pushforward`](Self::pushforward) | dy = ∂f/∂θ dθ + ∂f/∂x dx |
///
/// Cotangents and tangents may have rows in front of the batch: `[rows · batch, ..]`, row-major, so that one tape serves
/// any number of them. The rules are Burn tensor operations: on an autodiff device they can be differentiated again.
#[derive(Module, Debug)]
pub struct Network {
    parameters: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    running: Vec<Running>,
    #[module(skip)]
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    architecture: Architecture,
    lowering: Lowering,
    operations: Vec<Operation>,
}

/// Running statistics of one batch normalization, `[1, channels]`.
#[derive(Debug, Clone)]
struct Running {
    mean: Tensor<2>,
    variance: Tensor<2>,
    momentum: f64,
}

/// What a forward pass leaves for the other two rules: one entry a layer.
#[derive(Debug, Clone)]
pub struct Tape(Vec<Entry>);

#[derive(Debug, Clone)]
enum Entry {
    /// The layer needs nothing.
    Nothing,
    /// The input of a layer, or the pre-activation of a nonlinearity.
    Input(Tensor<4>),
    BatchNorm(Normalized, Option<BatchStatistics>),
    LayerNorm(Normalized),
    Residual(Vec<Entry>, Vec<Entry>),
}

/// Cotangents of the parameters, in their order.
pub type Cotangents = Vec<Tensor<2>>;

#[derive(Debug)]
enum Operation {
    Linear {
        map: Linear,
        parameter: usize,
        scale: Scale,
        bias_scale: f64,
    },
    Pointwise(Pointwise),
    BatchNorm {
        affine: Option<usize>,
        eps: f64,
        running: usize,
    },
    LayerNorm {
        affine: Option<usize>,
        eps: f64,
        over: NormAxes,
    },
    /// Between an image and a vector in channel, row, column order, or between two images.
    Reshape {
        from: Shape,
        to: Shape,
    },
    GlobalAveragePool {
        from: Shape,
    },
    Residual {
        branch: Vec<Operation>,
        shortcut: Vec<Operation>,
        scale: f64,
    },
}

/// What the parametrization multiplies `W ∗ x` by.
#[derive(Debug, Clone)]
enum Scale {
    One,
    Number(f64),
    /// `[1, rows, columns, 1]`
    Map(Tensor<4>),
}

impl Scale {
    fn apply(&self, y: Tensor<4>) -> Tensor<4> {
        match self {
            Self::One => y,
            Self::Number(a) => y.mul_scalar(*a),
            Self::Map(map) => y * map.clone(),
        }
    }
}

impl Scale {
    /// The factor, where it is the same everywhere.
    fn number(&self) -> Option<f64> {
        match self {
            Self::One => Some(1.0),
            Self::Number(a) => Some(*a),
            Self::Map(_) => None,
        }
    }

    /// The factor at each of `positions`.
    fn factors(&self, positions: usize) -> Vec<f64> {
        match self {
            Self::One => vec![1.0; positions],
            Self::Number(a) => vec![*a; positions],
            Self::Map(map) => map.to_data().iter::<f64>().collect(),
        }
    }
}

impl Network {
    /// Draws a network: every parameter from `rng` on the host, in order, so that one seed gives one network everywhere.
    #[must_use]
    pub fn init(architecture: &Architecture, rng: &mut ChaCha20Rng, placement: &Placement) -> Self {
        let mut parameters = Vec::new();
        let mut running = Vec::new();
        for node in architecture.flat() {
            let [rows, columns] = weight_shape(node);
            if let Layer::BatchNorm(norm) = &node.layer {
                let shape = [1, node.input.channels];
                let options = (&placement.device, placement.dtype);
                let (mean, variance) = (Tensor::zeros(shape, options), Tensor::ones(shape, options));
                running.push(Running { mean, variance, momentum: norm.momentum });
            }
            if node.index.is_none() {
                continue;
            }
            let (weights, biases) = match (node.fan_in(), architecture.parametrization) {
                (None, _) => (vec![1.0; rows * columns], vec![0.0; node.bias_count()]),
                (Some(fan_in), parametrization) => {
                    let (weight_std, bias_std) = match parametrization {
                        Parametrization::Standard(Standard { init, bias_std }) => (
                            match init {
                                Init::He => (2.0 / fan_in).sqrt(),
                                Init::Lecun => (1.0 / fan_in).sqrt(),
                                Init::Normal(std) => std,
                            },
                            bias_std,
                        ),
                        Parametrization::Ntk(_) | Parametrization::Graph(_) => (1.0, 1.0),
                    };
                    let mut draw = |count, std| -> Vec<f64> {
                        (0..count).map(|_| std * Distribution::<f64>::sample(&StandardNormal, rng)).collect()
                    };
                    (draw(rows * columns, weight_std), draw(node.bias_count(), bias_std))
                }
            };
            let bias_shape = [1, biases.len()];
            for (values, shape) in [(weights, [rows, columns]), (biases, bias_shape)] {
                let data = TensorData::new(values, shape).convert_dtype(placement.dtype);
                let tensor = Tensor::from_data(data, (&placement.device, placement.dtype));
                parameters.push(Param::initialized(ParamId::from(parameters.len() as u64), tensor));
            }
        }
        let mut norms = 0;
        let operations = compile(&architecture.nodes, architecture.parametrization, placement, &mut norms);
        Self {
            parameters,
            running,
            plan: Arc::new(Plan { architecture: architecture.clone(), lowering: placement.lowering, operations }),
        }
    }

    /// The architecture.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.plan.architecture
    }

    /// How its convolutions are computed.
    #[must_use]
    pub fn lowering(&self) -> Lowering {
        self.plan.lowering
    }

    /// The parameters, `{0}.weight`, `{0}.bias`, `{1}.weight`, ...; see [`crate::weights`] for their layouts.
    #[must_use]
    pub fn parameters(&self) -> Vec<Tensor<2>> {
        self.parameters.iter().map(Param::val).collect()
    }

    /// The same network with other parameters, in the same order.
    ///
    /// # Panics
    /// If their number or shapes differ.
    #[must_use]
    pub fn with_parameters(&self, parameters: Vec<Tensor<2>>) -> Self {
        assert_eq!(parameters.len(), self.parameters.len(), "number of parameters");
        let parameters = self
            .parameters
            .iter()
            .zip(parameters)
            .map(|(old, new)| {
                assert_eq!(old.val().dims(), new.dims(), "shape of a parameter");
                Param::initialized(old.id, new)
            })
            .collect();
        Self { parameters, running: self.running.clone(), plan: Arc::clone(&self.plan) }
    }

    /// The same network in another place: on another device, in another precision, or with other convolutions.
    ///
    /// # Panics
    /// Never: its own parameters fit it.
    #[must_use]
    pub fn moved(&self, to: &Placement) -> Self {
        let there = Self::init(self.architecture(), &mut ChaCha20Rng::from_seed([0; 32]), to);
        there.with_tensors(&self.to_tensors()).expect("parameters fit their own network")
    }

    /// Names of the parameters: `{i}.weight` and `{i}.bias`, i counting the layers that hold any.
    #[must_use]
    pub fn parameter_names(&self) -> Vec<String> {
        (0..self.parameters.len()).map(|i| format!("{}.{}", i / 2, ["weight", "bias"][i % 2])).collect()
    }

    /// Running means and variances of the batch norms, in order, each `[1, channels]`.
    #[must_use]
    pub fn running_statistics(&self) -> Vec<[Tensor<2>; 2]> {
        self.running.iter().map(|r| [r.mean.clone(), r.variance.clone()]).collect()
    }

    /// The same network with other running statistics.
    ///
    /// # Panics
    /// If their number differs.
    #[must_use]
    pub fn with_running_statistics(mut self, statistics: Vec<[Tensor<2>; 2]>) -> Self {
        assert_eq!(statistics.len(), self.running.len(), "number of batch norms");
        for (running, [mean, variance]) in self.running.iter_mut().zip(statistics) {
            running.mean = mean;
            running.variance = variance;
        }
        self
    }

    /// Moves the running statistics towards those of a training forward pass (unbiased variance, as PyTorch).
    #[must_use]
    pub fn absorb_statistics(mut self, tape: &Tape) -> Self {
        fn walk<'a>(entries: &'a [Entry], found: &mut Vec<&'a BatchStatistics>) {
            for entry in entries {
                match entry {
                    Entry::BatchNorm(_, Some(statistics)) => found.push(statistics),
                    Entry::Residual(branch, shortcut) => {
                        walk(branch, found);
                        walk(shortcut, found);
                    }
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        walk(&tape.0, &mut found);
        for (running, batch) in self.running.iter_mut().zip(found) {
            let m = running.momentum;
            let unbiased = batch.count as f64 / (batch.count.max(2) - 1) as f64;
            running.mean = running.mean.clone().mul_scalar(1.0 - m) + batch.mean.clone().mul_scalar(m);
            running.variance =
                running.variance.clone().mul_scalar(1.0 - m) + batch.variance.clone().mul_scalar(m * unbiased);
        }
        self
    }

    /// y = f(θ, x), with a tape for [`pullback`](Self::pullback) and [`pushforward`](Self::pushforward).
    ///
    /// # Shapes
    /// - `x`: `[batch, rows, columns, channels]`; returns the same with the output's shape
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, mode: Mode) -> (Tensor<4>, Tape) {
        let (y, entries) = self.forward_through(&self.plan.operations, x, mode);
        (y, Tape(entries))
    }

    /// dx = (∂f/∂x)ᵀ dy.
    ///
    /// # Shapes
    /// - `dy`: `[rows · batch, ..]` for the batch of the tape; returns the same with the input's shape
    ///
    /// # Panics
    /// If the tape is another network's.
    #[must_use]
    pub fn pullback(&self, tape: &Tape, dy: Tensor<4>) -> Tensor<4> {
        self.pullback_through(&self.plan.operations, &tape.0, dy, &mut |_| {}, true).expect("dx was asked for")
    }

    /// Carries `dy` back to the first layer with parameters and shows `visit` each of those layers, the last one first.
    ///
    /// # Shapes
    /// - `dy`: `[rows · batch, ..]` for the batch of the tape
    ///
    /// # Panics
    /// If the tape is another network's.
    pub fn visit(&self, tape: &Tape, dy: Tensor<4>, visit: &mut dyn FnMut(Site)) {
        self.pullback_through(&self.plan.operations, &tape.0, dy, visit, false);
    }

    /// The convolutions that the network ends with; none if it ends with something else.
    ///
    /// # Panics
    /// If the tape is another network's.
    #[must_use]
    pub fn ending(&self, tape: &Tape) -> Option<Ending> {
        let (links, derivative, below) = self.split_ending(tape);
        if links.is_empty() {
            return None;
        }
        let architecture = self.architecture();
        let below = match (&self.plan.operations[..below], &tape.0[..below]) {
            ([], _) => Below::Nothing,
            (
                [Operation::Linear { map: Linear::Dense, parameter, scale, bias_scale }, rest @ ..],
                [Entry::Input(x), ..],
            ) if rest.iter().all(|operation| matches!(operation, Operation::Reshape { .. })) => {
                let scale = scale.factors(1)[0];
                Below::Dense { parameter: *parameter, scale, bias_scale: *bias_scale, x: x.clone() }
            }
            _ => Below::Layers,
        };
        let link = |(at, derivative): (usize, Option<Tensor<4>>)| {
            let node = &architecture.nodes[at];
            let (Operation::Linear { parameter, scale, bias_scale, .. }, Entry::Input(x)) =
                (&self.plan.operations[at], &tape.0[at])
            else {
                unreachable!("a tape belongs to the network that wrote it")
            };
            let (transposed, convolution) = match &node.layer {
                Layer::Conv(c) => (false, *c),
                Layer::Deconv(c) => (true, *c),
                _ => unreachable!("only convolutions are linked"),
            };
            Link {
                parameter: *parameter,
                convolution,
                transposed,
                input: node.input,
                output: node.output,
                weights: self.parameter(*parameter),
                scale: scale.factors(node.output.positions()),
                bias_scale: *bias_scale,
                x: x.clone(),
                derivative,
            }
        };
        Some(Ending { links: links.into_iter().map(link).collect(), derivative, below })
    }

    /// Goes on below the network's [`Ending`]: as [`Self::visit`], with cotangents of what enters its first convolution
    /// before any pointwise function.
    ///
    /// # Panics
    /// If the tape is another network's.
    pub fn visit_below(&self, tape: &Tape, dy: Tensor<4>, visit: &mut dyn FnMut(Site)) {
        let (_, _, below) = self.split_ending(tape);
        self.pullback_through(&self.plan.operations[..below], &tape.0[..below], dy, visit, false);
    }

    /// Places of the convolutions at the end with the derivatives behind each, the derivative in front of the first, and
    /// the number of layers below.
    #[expect(clippy::type_complexity, reason = "taken apart at once by its two callers")]
    fn split_ending(&self, tape: &Tape) -> (Vec<(usize, Option<Tensor<4>>)>, Option<Tensor<4>>, usize) {
        let (mut links, mut derivative): (Vec<_>, Option<Tensor<4>>) = (Vec::new(), None);
        let operations = &self.plan.operations;
        let last = operations.len() - usize::from(matches!(operations.last(), Some(Operation::Reshape { .. })));
        let mut below = last;
        for (at, (operation, entry)) in operations[..last].iter().zip(&tape.0).enumerate().rev() {
            match (operation, entry) {
                (Operation::Pointwise(pointwise), Entry::Input(x)) => {
                    let slope = pointwise.derivative(x.clone());
                    derivative = Some(match derivative {
                        Some(after) => after * slope,
                        None => slope,
                    });
                }
                (Operation::Linear { map: Linear::Conv(_) | Linear::Deconv(_), .. }, _) => {
                    links.push((at, derivative.take()));
                }
                _ => break,
            }
            below = at;
        }
        links.reverse();
        (links, derivative, below)
    }

    /// dθ = (∂f/∂θ)ᵀ dy, summed over the batch, for one row of cotangents: the gradient of a loss with ∂loss/∂y = dy.
    ///
    /// # Shapes
    /// - `dy`: `[batch, ..]`; returns one matrix a parameter
    ///
    /// # Panics
    /// If the tape is another network's.
    #[must_use]
    pub fn pullback_parameters(&self, tape: &Tape, dy: Tensor<4>) -> Cotangents {
        let mut cotangents = vec![None; self.parameters.len()];
        self.visit(tape, dy, &mut |site| {
            let i = site.parameter();
            let [weights, biases] = site.gradients();
            cotangents[i] = Some(weights);
            cotangents[i + 1] = Some(biases);
        });
        cotangents.into_iter().map(|c| c.expect("every parameter has a cotangent")).collect()
    }

    /// dy = ∂f/∂x dx + ∂f/∂θ dθ.
    ///
    /// # Shapes
    /// - `dx`: `[rows · batch, ..]`; `dθ`, one tangent for all rows: one matrix a parameter
    #[must_use]
    pub fn pushforward(&self, tape: &Tape, dx: Tensor<4>, d_parameters: Option<&[Tensor<2>]>) -> Tensor<4> {
        self.pushforward_through(&self.plan.operations, &tape.0, dx, d_parameters)
    }

    fn parameter(&self, i: usize) -> Tensor<2> {
        self.parameters[i].val()
    }

    fn forward_through(&self, operations: &[Operation], mut x: Tensor<4>, mode: Mode) -> (Tensor<4>, Vec<Entry>) {
        let mut entries = Vec::with_capacity(operations.len());
        for operation in operations {
            let (y, entry) = self.forward_one(operation, x, mode);
            entries.push(entry);
            x = y;
        }
        (x, entries)
    }

    fn forward_one(&self, operation: &Operation, x: Tensor<4>, mode: Mode) -> (Tensor<4>, Entry) {
        let dims = x.dims();
        match operation {
            Operation::Linear { map, parameter, scale, bias_scale } => {
                let y = scale.apply(map.apply(x.clone(), self.parameter(*parameter)));
                let bias = self.parameter(parameter + 1).mul_scalar(*bias_scale).unsqueeze();
                (y + bias, Entry::Input(x))
            }
            Operation::Pointwise(pointwise) => (pointwise.value(x.clone()), Entry::Input(x)),
            Operation::BatchNorm { affine, eps, running } => {
                let rows = x.reshape([dims[0] * dims[1] * dims[2], dims[3]]);
                let (normalized, statistics) = match mode {
                    Mode::Train => {
                        let (normalized, statistics) = normalize(rows, 0, *eps);
                        (normalized, Some(statistics))
                    }
                    Mode::Eval => {
                        let Running { mean, variance, .. } = self.running[*running].clone();
                        (normalize_by(rows, mean, variance, *eps), None)
                    }
                };
                let y = self.affine(normalized.x_hat.clone(), *affine);
                (y.reshape(dims), Entry::BatchNorm(normalized, statistics))
            }
            Operation::LayerNorm { affine, eps, over } => {
                let (normalized, _) = normalize(x.reshape(layer_norm_view(dims, *over)), 1, *eps);
                let y = self.affine(normalized.x_hat.clone(), *affine);
                (y.reshape(dims), Entry::LayerNorm(normalized))
            }
            Operation::Reshape { from, to } => (reshape(x, *from, *to), Entry::Nothing),
            Operation::GlobalAveragePool { from } => (global_average_pool(x, *from), Entry::Nothing),
            Operation::Residual { branch, shortcut, scale } => {
                let (through, branch) = self.forward_through(branch, x.clone(), mode);
                let (around, shortcut) = self.forward_through(shortcut, x, mode);
                ((through + around).mul_scalar(*scale), Entry::Residual(branch, shortcut))
            }
        }
    }

    /// Scale and shift of a norm.
    fn affine(&self, x_hat: Tensor<2>, parameter: Option<usize>) -> Tensor<2> {
        match parameter {
            Some(i) => x_hat * self.parameter(i) + self.parameter(i + 1),
            None => x_hat,
        }
    }

    /// Returns dx if it is wanted.
    fn pullback_through(
        &self,
        operations: &[Operation],
        entries: &[Entry],
        dy: Tensor<4>,
        visit: &mut dyn FnMut(Site),
        input_wanted: bool,
    ) -> Option<Tensor<4>> {
        let mut dy = Some(dy);
        for (i, (operation, entry)) in operations.iter().zip(entries).enumerate().rev() {
            let wanted = input_wanted || i > 0;
            dy = self.pullback_one(operation, entry, dy?, visit, wanted);
        }
        dy
    }

    fn pullback_one(
        &self,
        operation: &Operation,
        entry: &Entry,
        dy: Tensor<4>,
        visit: &mut dyn FnMut(Site),
        input_wanted: bool,
    ) -> Option<Tensor<4>> {
        let dims = dy.dims();
        match (operation, entry) {
            (Operation::Linear { map, parameter, scale, bias_scale }, Entry::Input(x)) => {
                let scaled = scale.apply(dy.clone());
                let (number, bias_scale) = (scale.number(), *bias_scale);
                let kind = Kind::Linear { map: *map, x, dy, scaled: scaled.clone(), scale: number, bias_scale };
                visit(Site { parameter: *parameter, kind });
                input_wanted.then(|| map.inputs(scaled, self.parameter(*parameter)))
            }
            (Operation::Pointwise(pointwise), Entry::Input(x)) => Some(times_rows(dy, pointwise.derivative(x.clone()))),
            (Operation::BatchNorm { affine, .. }, Entry::BatchNorm(normalized, _))
            | (Operation::LayerNorm { affine, .. }, Entry::LayerNorm(normalized)) => {
                let [outer, inner] = normalized.x_hat.dims();
                let rows = dims.iter().product::<usize>() / (outer * inner);
                let mut d = dy.reshape([rows, outer, inner]);
                if let Some(i) = affine {
                    let kind = Kind::Affine { x_hat: &normalized.x_hat, dy: d.clone(), batch: dims[0] / rows };
                    visit(Site { parameter: *i, kind });
                    d = d * self.parameter(*i).unsqueeze::<3>();
                }
                Some(normalized.derivative(d).reshape(dims))
            }
            (Operation::Reshape { from, to }, Entry::Nothing) => Some(reshape(dy, *to, *from)),
            (Operation::GlobalAveragePool { from }, Entry::Nothing) => {
                let spread = dy.div_scalar(from.positions() as f64);
                Some(spread.expand([dims[0], from.height, from.width, from.channels]))
            }
            (Operation::Residual { branch, shortcut, scale }, Entry::Residual(through, around)) => {
                let dy = dy.mul_scalar(*scale);
                // An empty shortcut passes dy on; both ways are always walked, for the parameters in them.
                let left = self.pullback_through(branch, through, dy.clone(), visit, input_wanted);
                let right = self.pullback_through(shortcut, around, dy, visit, input_wanted);
                left.zip(right).map(|(a, b)| a + b)
            }
            _ => unreachable!("a tape belongs to the network that wrote it"),
        }
    }

    fn pushforward_through(
        &self,
        operations: &[Operation],
        entries: &[Entry],
        mut dx: Tensor<4>,
        d_parameters: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        for (operation, entry) in operations.iter().zip(entries) {
            dx = self.pushforward_one(operation, entry, dx, d_parameters);
        }
        dx
    }

    fn pushforward_one(
        &self,
        operation: &Operation,
        entry: &Entry,
        dx: Tensor<4>,
        d_parameters: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        let dims = dx.dims();
        match (operation, entry) {
            (Operation::Linear { map, parameter, scale, bias_scale }, Entry::Input(x)) => {
                let mut dy = scale.apply(map.apply(dx, self.parameter(*parameter)));
                if let Some(d) = d_parameters {
                    let by_weights = scale.apply(map.apply(x.clone(), d[*parameter].clone()));
                    let by_biases = d[parameter + 1].clone().mul_scalar(*bias_scale).unsqueeze();
                    dy = plus_rows(dy, by_weights + by_biases);
                }
                dy
            }
            (Operation::Pointwise(pointwise), Entry::Input(x)) => times_rows(dx, pointwise.derivative(x.clone())),
            (Operation::BatchNorm { affine, .. }, Entry::BatchNorm(normalized, _))
            | (Operation::LayerNorm { affine, .. }, Entry::LayerNorm(normalized)) => {
                let [outer, inner] = normalized.x_hat.dims();
                let rows = dims.iter().product::<usize>() / (outer * inner);
                let mut d = normalized.derivative(dx.reshape([rows, outer, inner]));
                if let Some(i) = affine {
                    d = d * self.parameter(*i).unsqueeze::<3>();
                    if let Some(tangents) = d_parameters {
                        let by_parameters = normalized.x_hat.clone() * tangents[*i].clone() + tangents[i + 1].clone();
                        d = d + by_parameters.unsqueeze::<3>();
                    }
                }
                d.reshape(dims)
            }
            (Operation::Reshape { from, to }, Entry::Nothing) => reshape(dx, *from, *to),
            (Operation::GlobalAveragePool { from }, Entry::Nothing) => global_average_pool(dx, *from),
            (Operation::Residual { branch, shortcut, scale }, Entry::Residual(through, around)) => {
                let left = self.pushforward_through(branch, through, dx.clone(), d_parameters);
                let right = self.pushforward_through(shortcut, around, dx, d_parameters);
                (left + right).mul_scalar(*scale)
            }
            _ => unreachable!("a tape belongs to the network that wrote it"),
        }
    }
}

/// Rows and columns of a layer's weight matrix.
pub(crate) fn weight_shape(node: &Node) -> [usize; 2] {
    match &node.layer {
        Layer::Dense(dense) => [node.input.channels, dense.out],
        Layer::Conv(c) => [c.kernel.0[0] * c.kernel.0[1] * node.input.channels, c.out],
        Layer::Deconv(c) => [c.kernel.0[0] * c.kernel.0[1] * c.out, node.input.channels],
        _ => [1, node.weight_count()],
    }
}

fn compile(nodes: &[Node], parametrization: Parametrization, to: &Placement, norms: &mut usize) -> Vec<Operation> {
    nodes
        .iter()
        .map(|node| {
            let parameter = node.index.map(|i| 2 * i);
            let linear = |map| Operation::Linear {
                map,
                parameter: parameter.expect("a linear layer has parameters"),
                scale: scale(node, parametrization, to),
                bias_scale: parametrization.beta().unwrap_or(1.0),
            };
            match &node.layer {
                Layer::Dense(_) => linear(Linear::Dense),
                Layer::Conv(c) => linear(Linear::Conv(Correlation::new(c, node.input, node.output, to.lowering))),
                Layer::Deconv(c) => linear(Linear::Deconv(Correlation::new(c, node.output, node.input, to.lowering))),
                Layer::Activation(activation) => Operation::Pointwise(Pointwise::new(activation)),
                Layer::BatchNorm(norm) => {
                    *norms += 1;
                    Operation::BatchNorm { affine: parameter, eps: norm.eps, running: *norms - 1 }
                }
                Layer::LayerNorm(norm) => Operation::LayerNorm { affine: parameter, eps: norm.eps, over: norm.over },
                Layer::Reshape(_) | Layer::Flatten(_) => Operation::Reshape { from: node.input, to: node.output },
                Layer::GlobalAveragePool(_) => Operation::GlobalAveragePool { from: node.input },
                Layer::Residual(block) => Operation::Residual {
                    branch: compile(&node.branch, parametrization, to, norms),
                    shortcut: compile(&node.shortcut, parametrization, to, norms),
                    scale: block.scale,
                },
            }
        })
        .collect()
}

fn scale(node: &Node, parametrization: Parametrization, to: &Placement) -> Scale {
    let fan_in = node.fan_in().expect("a linear layer has a fan-in");
    match (parametrization, node.parents()) {
        (Parametrization::Standard(_), _) => Scale::One,
        (Parametrization::Graph(b), Some([rows, columns])) => {
            // A position that no input reaches gets no signal; any finite factor will do there.
            let at = |p: usize, q: usize| ((rows[p] * columns[q]).max(1) * node.input.channels) as f64;
            let weight = (1.0 - b.beta * b.beta).sqrt();
            let values: Vec<f64> = (0..node.output.height)
                .flat_map(|p| (0..node.output.width).map(move |q| (p, q)))
                .map(|(p, q)| weight / at(p, q).sqrt())
                .collect();
            let data = TensorData::new(values, [1, node.output.height, node.output.width, 1]);
            Scale::Map(Tensor::from_data(data.convert_dtype(to.dtype), (&to.device, to.dtype)))
        }
        (Parametrization::Ntk(b) | Parametrization::Graph(b), _) => {
            Scale::Number((1.0 - b.beta * b.beta).sqrt() / fan_in.sqrt())
        }
    }
}

fn layer_norm_view([n, h, w, c]: [usize; 4], over: NormAxes) -> [usize; 2] {
    match over {
        NormAxes::Chw => [n, h * w * c],
        NormAxes::Features => [n * h * w, c],
    }
}

fn reshape(x: Tensor<4>, from: Shape, to: Shape) -> Tensor<4> {
    let n = x.dims()[0];
    let flat: Tensor<2> =
        if from.is_vector() { x.reshape([n, from.channels]) } else { x.permute([0, 3, 1, 2]).reshape([n, from.len()]) };
    if to.is_vector() {
        flat.reshape([n, 1, 1, to.channels])
    } else {
        flat.reshape([n, to.channels, to.height, to.width]).permute([0, 2, 3, 1])
    }
}

fn global_average_pool(x: Tensor<4>, from: Shape) -> Tensor<4> {
    let n = x.dims()[0];
    let mean: Tensor<3> = x.reshape([n, from.positions(), from.channels]).mean_dim(1);
    mean.reshape([n, 1, 1, from.channels])
}

/// `d` with rows in front of the batch, times `x` of the batch.
fn times_rows(d: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    over_rows(d, x, |d, x| d * x)
}

fn plus_rows(d: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    over_rows(d, x, |d, x| d + x)
}

fn over_rows(d: Tensor<4>, x: Tensor<4>, combine: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Tensor<4> {
    let (dims, len) = (d.dims(), x.dims().iter().product::<usize>());
    let rows = dims.iter().product::<usize>() / len;
    combine(d.reshape([rows, len]), x.reshape([1, len])).reshape(dims)
}
