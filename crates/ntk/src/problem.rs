//! What kernel is wanted, of which network, between which inputs.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::{DType, Tensor, TensorData};
use fintan_config::Shape;
use fintan_net::{Mode, Network, Tape};

use crate::kernel::{Entries, KernelShape};
use crate::plan;

/// A kernel to compute.
///
/// Nothing is computed before it is asked for: the forward passes of either side are made when a method wants their tapes.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) network: Network,
    pub(crate) sides: Vec<Side>,
    pub(crate) mode: Mode,
    pub(crate) entries: Entries,
    pub(crate) outputs: Vec<usize>,
    apart: bool,
    on_cones: OnceLock<usize>,
}

/// One side of a kernel: a batch, and which of its samples are rows.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) x: Tensor<4>,
    /// All of them unless samples are coupled: then the batch stays whole, whatever becomes rows.
    pub(crate) rows: Range<usize>,
    tape: Arc<OnceLock<Tape>>,
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

/// A piece of a kernel: samples and outputs of the first side against those of the second, outputs as positions in the
/// selection.
///
/// Traced and diagonal kernels have the same outputs on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Samples of rows and of columns.
    pub samples: [Range<usize>; 2],
    /// Outputs of rows and of columns.
    pub outputs: [Range<usize>; 2],
}

impl Tile {
    /// Whether rows and columns are the same; of a symmetric kernel, any other tile has a mirror image.
    #[must_use]
    pub fn is_diagonal(&self) -> bool {
        let ([a, b], [o, p]) = (&self.samples, &self.outputs);
        a == b && o == p
    }
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
            sides.push(Side::new(x));
        }
        Ok(Self { network, sides, mode, entries, outputs, apart: true, on_cones: OnceLock::new() })
    }

    /// The kernel between some samples of either side: a block of this one.
    ///
    /// Coupled samples keep the batch around them; others are taken out of it.
    ///
    /// # Panics
    /// If there are no such samples.
    #[must_use]
    pub fn among(&self, samples: &[Range<usize>; 2]) -> Self {
        let some = |i: usize| {
            let (side, Range { start, end }) = (self.side(i), samples[i].clone());
            assert!(start < end && end <= side.n(), "samples of the problem");
            if self.is_coupled() {
                let first = side.rows.start;
                Side { rows: first + start..first + end, ..side.clone() }
            } else {
                Side::new(side.x.clone().narrow(0, start, end - start))
            }
        };
        let one = self.is_symmetric() && samples[0] == samples[1];
        let sides = if one { vec![some(0)] } else { vec![some(0), some(1)] };
        Self { sides, ..self.clone() }
    }

    /// This kernel without telling parameters apart: a single part, in less memory.
    #[must_use]
    pub fn summed(mut self) -> Self {
        self.apart = false;
        self
    }

    /// The kernel with other entries.
    #[must_use]
    pub fn with_entries(mut self, entries: Entries) -> Self {
        self.entries = entries;
        self.on_cones = OnceLock::new();
        self
    }

    /// This kernel with exactly so many of the convolutions at the end of the network on cones (all, if there are fewer),
    /// where by default the number that is fastest is chosen.
    #[must_use]
    pub fn with_cones(mut self, convolutions: usize) -> Self {
        self.on_cones = OnceLock::from(convolutions);
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

    /// What the tiles of the kernel depend on.
    #[must_use]
    pub fn shape(&self) -> KernelShape {
        KernelShape {
            entries: self.entries,
            samples: self.samples(),
            outputs: self.outputs.len(),
            symmetric: self.is_symmetric(),
        }
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

    /// How many of the convolutions at the end of the network are followed on cones. A sub-block reuses the choice made for
    /// its parent kernel.
    pub(crate) fn on_cones(&self) -> usize {
        *self.on_cones.get_or_init(|| plan::convolutions_on_cones(self))
    }

    /// The forward pass of one side, made the first time.
    pub(crate) fn tape(&self, side: usize) -> &Tape {
        let Side { x, tape, .. } = self.side(side);
        tape.get_or_init(|| self.network.forward(x.clone(), self.mode).1)
    }

    /// Cotangents of the outputs in `range`: rows `[outputs]`, or `[outputs · samples]` where samples are coupled, each in
    /// front of the batch.
    pub(crate) fn seeds(&self, side: usize, range: &Range<usize>) -> Tensor<4> {
        let Shape { channels, height, width } = self.network.architecture().output();
        let (side, len) = (self.side(side), channels * height * width);
        let (n, batch) = (side.n(), side.x.dims()[0]);
        let rows = if self.is_coupled() { range.len() * n } else { range.len() };
        let mut values = vec![0.0_f32; rows * batch * len];
        for (i, &o) in self.outputs[range.clone()].iter().enumerate() {
            let at = self.in_memory(o);
            for (j, sample) in side.rows.clone().enumerate() {
                let row = if self.is_coupled() { i * n + j } else { i };
                values[(row * batch + sample) * len + at] = 1.0;
            }
        }
        self.tensor(values, [rows * batch, height, width, channels])
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
    fn new(x: Tensor<4>) -> Self {
        Self { rows: 0..x.dims()[0], x, tape: Arc::default() }
    }

    /// Samples that are rows.
    pub(crate) fn n(&self) -> usize {
        self.rows.len()
    }
}
