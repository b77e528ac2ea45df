//! What kernel is wanted, of which network, between which inputs.

use std::ops::Range;

use burn::tensor::{DType, Tensor, TensorData};
use fintan_config::Shape;
use fintan_net::{Mode, Network, Tape};

use crate::kernel::Entries;

/// A kernel to compute.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) network: Network,
    pub(crate) sides: Vec<Side>,
    pub(crate) mode: Mode,
    pub(crate) entries: Entries,
    pub(crate) outputs: Vec<usize>,
    apart: bool,
}

/// The samples of one side, after their forward pass.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) x: Tensor<4>,
    pub(crate) tape: Tape,
}

/// Why a problem makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemError {
    /// An output that is not there.
    #[error("the network has outputs 0 to {last}, so there is no output {found}")]
    NoSuchOutput {
        /// The number asked for.
        found: usize,
        /// The largest there is.
        last: usize,
    },
    /// An output twice.
    #[error("output {0} is asked for twice")]
    Twice(usize),
    /// Nothing to compute.
    #[error("a kernel needs at least one sample and one output")]
    Empty,
    /// Batch statistics of one value.
    #[error("batch normalization over a batch of 1 has no spread; give at least 2 samples, or use running statistics")]
    BatchOfOne,
}

/// A piece of a kernel: outputs of the first side against outputs of the second, as positions in the selection.
///
/// Traced and diagonal kernels have `rows == columns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Outputs on the side of the rows.
    pub rows: Range<usize>,
    /// Outputs on the side of the columns.
    pub columns: Range<usize>,
}

impl Problem {
    /// The kernel of `network` between `x1` and `x2`, or of `x1` with itself.
    ///
    /// `outputs` counts in channel, row, column order; an empty list means all of them.
    ///
    /// # Shapes
    /// - `x1`, `x2`: `[N, rows, columns, channels]`
    ///
    /// # Errors
    /// Outputs that are not there, no samples, or a batch norm over a single sample.
    pub fn new(
        network: Network,
        x1: Tensor<4>,
        x2: Option<Tensor<4>>,
        mode: Mode,
        entries: Entries,
        outputs: Vec<usize>,
    ) -> Result<Self, ProblemError> {
        let count = network.architecture().output().len();
        let outputs = if outputs.is_empty() { (0..count).collect() } else { outputs };
        let mut seen = vec![false; count];
        for &o in &outputs {
            match seen.get_mut(o) {
                None => return Err(ProblemError::NoSuchOutput { found: o, last: count - 1 }),
                Some(true) => return Err(ProblemError::Twice(o)),
                Some(seen) => *seen = true,
            }
        }
        let mut sides = Vec::new();
        for x in std::iter::once(x1).chain(x2) {
            let n = x.dims()[0];
            if n == 0 {
                return Err(ProblemError::Empty);
            }
            if n == 1 && mode == Mode::Train && network.architecture().is_batch_coupled() {
                return Err(ProblemError::BatchOfOne);
            }
            let (_, tape) = network.forward(x.clone(), mode);
            sides.push(Side { x, tape });
        }
        Ok(Self { network, sides, mode, entries, outputs, apart: true })
    }

    /// The same kernel without telling parameters apart: a single part, in less memory.
    #[must_use]
    pub fn summed(mut self) -> Self {
        self.apart = false;
        self
    }

    /// Whether parameters are told apart.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.apart
    }

    /// Names of the parts: the parameters, or `ntk` where they are not told apart.
    #[must_use]
    pub fn part_names(&self) -> Vec<String> {
        if self.apart { self.network.parameter_names() } else { vec!["ntk".into()] }
    }

    /// Whether entries are kept in double precision: those of full kernels in f32 are not.
    #[must_use]
    pub fn is_double(&self) -> bool {
        self.entries != Entries::Full || self.is_double_precision()
    }

    /// Whether the network computes in f64.
    #[must_use]
    pub fn is_double_precision(&self) -> bool {
        self.sides[0].x.dtype() == DType::F64
    }

    /// Samples of either side.
    #[must_use]
    pub fn samples(&self) -> [usize; 2] {
        [self.side(0).n(), self.side(1).n()]
    }

    /// The outputs, in order.
    #[must_use]
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// Which entries are wanted.
    #[must_use]
    pub fn entries(&self) -> Entries {
        self.entries
    }

    /// The inputs of one side, or of both.
    pub fn inputs(&self) -> impl Iterator<Item = &Tensor<4>> {
        self.sides.iter().map(|side| &side.x)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Whether both sides are the same samples, so that Θ = Θᵀ.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.sides.len() == 1
    }

    /// Whether the samples of a batch influence one another, so that a cotangent spans the batch.
    #[must_use]
    pub fn is_coupled(&self) -> bool {
        self.mode == Mode::Train && self.network.architecture().is_batch_coupled()
    }

    pub(crate) fn side(&self, i: usize) -> &Side {
        &self.sides[i.min(self.sides.len() - 1)]
    }

    /// Cotangents of the outputs in `range`: rows `[outputs]`, or `[outputs · batch]` where samples are coupled, each in
    /// front of the batch.
    pub(crate) fn seeds(&self, side: usize, range: &Range<usize>) -> Tensor<4> {
        let Shape { channels, height, width } = self.network.architecture().output();
        let (n, len) = (self.side(side).n(), channels * height * width);
        let rows = if self.is_coupled() { range.len() * n } else { range.len() };
        let mut values = vec![0.0_f32; rows * n * len];
        for (i, &o) in self.outputs[range.clone()].iter().enumerate() {
            let at = self.in_memory(o);
            for sample in 0..n {
                let row = if self.is_coupled() { i * n + sample } else { i };
                values[(row * n + sample) * len + at] = 1.0;
            }
        }
        self.tensor(values, [rows * n, height, width, channels])
    }

    /// Where output `o`, counted in channel, row, column order, stands in a channels-last sample.
    pub(crate) fn in_memory(&self, o: usize) -> usize {
        let Shape { channels, height, width } = self.network.architecture().output();
        let (channel, position) = (o / (height * width), o % (height * width));
        position * channels + channel
    }

    pub(crate) fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        let x = &self.sides[0].x;
        Tensor::from_data(TensorData::new(values, shape).convert_dtype(x.dtype()), (&x.device(), x.dtype()))
    }
}

impl Side {
    pub(crate) fn n(&self) -> usize {
        self.x.dims()[0]
    }
}
