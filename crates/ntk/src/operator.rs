//! Products of a kernel with vectors, without forming the kernel.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use fintan_config::Shape;

use crate::plan::{self, PlanError};
use crate::problem::KernelRequest;
use crate::products::numbers;

/// The full kernel of a problem as a linear operator, `Θ v = J (Jᵀ v)`, over rows (n, o).
///
/// Each product is one pullback and one pushforward, of the whole batch or of some samples at a time. With pieces of the
/// batch, each product repeats the forward passes, and only the tapes of one piece are in memory.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor};
/// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # use rand::SeedableRng as _;
/// # let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let network = PlacedNetwork::init(&architecture, &mut rand_chacha::ChaCha20Rng::seed_from_u64(0), &cpu);
/// # let x = Tensor::<4>::from_data([[[[1.0, 0.0]]], [[[0.0, 2.0]]]], (&cpu.device, cpu.dtype));
/// use fintan_ntk::{Entries, KernelRequest, Operator};
///
/// // `network` is y = w · x + b, so that Θ = x · x' + 1, and `x` holds (1, 0) and (0, 2).
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// assert_eq!(Operator::new(&request).times(&[1.0, 0.0]), [2.0, 1.0]); // the first column of Θ
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Operator<'p> {
    problem: &'p KernelRequest,
    pieces: Vec<Range<usize>>,
    vectors: usize,
}

impl<'p> Operator<'p> {
    /// An operator without a memory limit.
    #[must_use]
    pub fn new(problem: &'p KernelRequest) -> Self {
        Self { problem, pieces: std::iter::once(0..problem.samples()[0]).collect(), vectors: usize::MAX }
    }

    /// An operator that uses at most `memory` bytes, including the vectors for `count` eigenpairs.
    ///
    /// # Errors
    /// [`PlanError::Eigenpairs`] if the memory is not sufficient.
    pub fn within(problem: &'p KernelRequest, count: usize, memory: f64) -> Result<Self, PlanError> {
        let (samples, vectors) = plan::of_products(problem, count, memory)?;
        let n = problem.samples()[0];
        let pieces = (0..n).step_by(samples).map(|start| start..n.min(start + samples)).collect();
        Ok(Self { problem, pieces, vectors })
    }

    /// Number of rows of the kernel.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.problem.samples()[0] * self.problem.outputs.len()
    }

    /// Number of samples in one pass through the network.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.pieces[0].len()
    }

    /// Number of pairs of vectors that fit into the memory.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.vectors
    }

    /// Whether both sides are the same samples.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.problem.is_symmetric()
    }

    /// The product Θ v.
    ///
    /// # Panics
    /// If v has another length.
    #[must_use]
    pub fn times(&self, v: &[f64]) -> Vec<f64> {
        let tangents = self.pulled(v);
        self.pieces.iter().flat_map(|piece| self.part(piece, |part| part.pushed(&tangents))).collect()
    }

    /// The quadratic form `vᵀ Θ v = |Jᵀ v|²`.
    pub(crate) fn form(&self, v: &[f64]) -> f64 {
        self.pulled(v).into_iter().flat_map(numbers).map(|x| x * x).sum()
    }

    /// The product Jᵀ v.
    fn pulled(&self, v: &[f64]) -> Vec<Tensor<2>> {
        assert_eq!(v.len(), self.rows(), "one value a row");
        let outputs = self.problem.outputs.len();
        let pulled = self.pieces.iter().map(|piece| {
            let rows = piece.start * outputs..piece.end * outputs;
            self.part(piece, |part| part.pulled(&v[rows]))
        });
        let sum = |sum: Vec<Tensor<2>>, more: Vec<Tensor<2>>| sum.into_iter().zip(more).map(|(a, b)| a + b).collect();
        pulled.reduce(sum).expect("a problem has samples")
    }

    /// Uses a piece of the batch. The tape of the whole batch is kept; tapes of smaller pieces are dropped after use.
    fn part<T>(&self, piece: &Range<usize>, use_it: impl FnOnce(&KernelRequest) -> T) -> T {
        if self.pieces.len() == 1 {
            return use_it(self.problem);
        }
        use_it(&self.problem.restricted_to(&[piece.clone(), piece.clone()]))
    }
}

impl KernelRequest {
    /// J t for the rows of this problem, where t is a tangent of the parameters.
    fn pushed(&self, tangents: &[Tensor<2>]) -> Vec<f64> {
        let side = self.side(0);
        let y = numbers(self.network.pushforward(self.tape(0), side.x.zeros_like(), Some(tangents)));
        let len = y.len() / side.n();
        let at = (0..side.n()).flat_map(|n| self.outputs.iter().map(move |&o| n * len + self.in_memory(o)));
        at.map(|i| y[i]).collect()
    }

    /// Jᵀ v, where v has the rows of this problem.
    fn pulled(&self, v: &[f64]) -> Vec<Tensor<2>> {
        let Shape { channels, height, width } = self.network.architecture().output();
        let (n, len, o) = (self.side(0).n(), channels * height * width, self.outputs.len());
        let mut dy = vec![0.0; n * len];
        for (row, value) in v.iter().enumerate() {
            dy[row / o * len + self.in_memory(self.outputs[row % o])] = *value;
        }
        let x = &self.side(0).x;
        let data = TensorData::new(dy, [n, height, width, channels]).convert_dtype(x.dtype());
        let dy = Tensor::from_data(data, (&x.device(), x.dtype()));
        self.network.pullback_parameters(self.tape(0), dy)
    }
}
