//! The definition of a kernel: network, inputs, outputs and entries.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::{DType, Tensor, TensorData};
use fintan_config::Shape;
use fintan_net::{DeviceLimits, Mode, PlacedNetwork, Tape};

use crate::kernel::{Entries, KernelShape};
use crate::plan;

/// A kernel to compute.
///
/// Forward passes are computed lazily: each side makes its forward pass when a method needs the tape.
///
/// ```
/// use burn::tensor::{DType, Device, Tensor};
/// use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest};
/// use rand::SeedableRng as _;
///
/// let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// let network = PlacedNetwork::init(&architecture, &mut rand_chacha::ChaCha20Rng::seed_from_u64(0), &cpu);
/// let x = Tensor::from_data([[[[1.0, 0.0]]], [[[0.0, 2.0]]]], (&cpu.device, cpu.dtype));
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Traced, Vec::new())?;
/// let kernel = KernelParts::compute(&request, &KernelPlan::new(&request, None, f64::INFINITY)?);
/// // The network is y = w · x + b, so that Θ = x · x' + 1.
/// assert_eq!(kernel.total().iter().collect::<Vec<_>>(), [2.0, 1.0, 1.0, 5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct KernelRequest {
    pub(crate) network: PlacedNetwork,
    pub(crate) sides: Vec<Side>,
    pub(crate) mode: Mode,
    pub(crate) entries: Entries,
    pub(crate) outputs: Vec<usize>,
    apart: bool,
    on_cones: OnceLock<usize>,
    limits: DeviceLimits,
}

/// One side of a kernel: a batch, and the range of its samples that are rows.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) x: Tensor<4>,
    /// All samples, unless samples are coupled; a coupled batch stays whole even if only some samples are rows.
    pub(crate) rows: Range<usize>,
    tape: Arc<OnceLock<Tape>>,
}

/// The error for an invalid problem.
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
/// use fintan_ntk::{Entries, KernelRequest, RequestError};
///
/// // A network with one output.
/// let error = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, vec![3]).unwrap_err();
/// assert_eq!(error, RequestError::NoSuchOutput { found: 3, last: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// An output that does not exist.
    #[error("the network has outputs 0 to {last}, so there is no output {found}")]
    NoSuchOutput {
        /// The requested output.
        found: usize,
        /// The largest output.
        last: usize,
    },
    /// An output that is listed twice.
    #[error("output {0} is asked for twice")]
    Twice(usize),
    /// No samples or no outputs.
    #[error("a kernel needs at least one sample and one output")]
    Empty,
    /// Batch normalization with the statistics of a single sample.
    #[error("batch normalization over a batch of 1 has no spread; give at least 2 samples, or use running statistics")]
    BatchOfOne,
}

/// A block of a kernel: samples and outputs of the first side against those of the second. Outputs are positions in the
/// selection.
///
/// In traced and diagonal kernels both sides of a tile have the same outputs.
///
/// ```
/// let tile = fintan_ntk::Tile { samples: [8..16, 0..8], outputs: [0..3, 0..3] };
/// assert!(!tile.is_diagonal()); // its mirror image has samples 0 to 8 as rows
/// assert_eq!(fintan_ntk::Entries::Traced.block_len(&tile), 8 * 8);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Samples of rows and of columns.
    pub samples: [Range<usize>; 2],
    /// Outputs of rows and of columns.
    pub outputs: [Range<usize>; 2],
}

impl Tile {
    /// Whether rows and columns are equal. In a symmetric kernel every other tile has a mirror image.
    #[must_use]
    pub fn is_diagonal(&self) -> bool {
        let ([a, b], [o, p]) = (&self.samples, &self.outputs);
        a == b && o == p
    }
}

impl KernelRequest {
    /// The kernel of `network` between `x1` and `x2`, or of `x1` with itself.
    ///
    /// `outputs` are indices in channel, row, column order; an empty list selects all outputs.
    ///
    /// # Shapes
    /// - `x1`, `x2`: `[N, rows, columns, channels]`
    ///
    /// # Errors
    /// Outputs that do not exist, no samples, or a batch norm over a single sample.
    pub fn new(
        network: PlacedNetwork,
        x1: Tensor<4>,
        x2: Option<Tensor<4>>,
        mode: Mode,
        entries: Entries,
        outputs: Vec<usize>,
    ) -> Result<Self, RequestError> {
        let count = network.architecture().output().len();
        let outputs = if outputs.is_empty() { (0..count).collect() } else { outputs };
        let mut seen = vec![false; count];
        for &o in &outputs {
            match seen.get_mut(o) {
                None => return Err(RequestError::NoSuchOutput { found: o, last: count - 1 }),
                Some(true) => return Err(RequestError::Twice(o)),
                Some(seen) => *seen = true,
            }
        }
        let mut sides = Vec::new();
        for x in std::iter::once(x1).chain(x2) {
            let n = x.dims()[0];
            if n == 0 {
                return Err(RequestError::Empty);
            }
            if n == 1 && mode == Mode::Train && network.architecture().is_batch_coupled() {
                return Err(RequestError::BatchOfOne);
            }
            sides.push(Side::new(x));
        }
        let limits = DeviceLimits::default();
        Ok(Self { network, sides, mode, entries, outputs, apart: true, on_cones: OnceLock::new(), limits })
    }

    /// The kernel between some samples of each side: a block of this kernel.
    ///
    /// A coupled batch stays whole; other samples are copied out of their batch.
    ///
    /// # Panics
    /// If the samples do not exist.
    #[must_use]
    pub fn restricted_to(&self, samples: &[Range<usize>; 2]) -> Self {
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

    /// This kernel as a single part, which needs less memory than one part for each parameter.
    #[must_use]
    pub fn without_parts(mut self) -> Self {
        self.apart = false;
        self
    }

    /// This kernel on a device with these limits, which its plan respects. By default there are none.
    #[must_use]
    pub fn with_limits(mut self, limits: DeviceLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The limits of the device.
    #[must_use]
    pub fn limits(&self) -> DeviceLimits {
        self.limits
    }

    /// This kernel with other entries.
    #[must_use]
    pub fn with_entries(mut self, entries: Entries) -> Self {
        self.entries = entries;
        self.on_cones = OnceLock::new();
        self
    }

    /// This kernel with a given number of last convolutions on cones (all, if there are fewer). By default the fastest
    /// number is chosen.
    #[must_use]
    pub fn with_cones(mut self, convolutions: usize) -> Self {
        self.on_cones = OnceLock::from(convolutions);
        self
    }

    /// Whether the kernel has one part for each parameter.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.apart
    }

    /// Names of the parts: the parameters, or `ntk` for a single part.
    #[must_use]
    pub fn part_names(&self) -> Vec<String> {
        if self.apart { self.network.parameter_names() } else { vec!["ntk".into()] }
    }

    /// Whether values are stored in double precision: true except for full kernels computed in f32.
    #[must_use]
    pub fn is_double(&self) -> bool {
        self.entries != Entries::Full || self.is_double_precision()
    }

    /// Whether the network computes in f64.
    #[must_use]
    pub fn is_double_precision(&self) -> bool {
        self.sides[0].x.dtype() == DType::F64
    }

    /// Number of samples on each side.
    #[must_use]
    pub fn samples(&self) -> [usize; 2] {
        [self.side(0).n(), self.side(1).n()]
    }

    /// The outputs, in order.
    #[must_use]
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// The entries to compute.
    #[must_use]
    pub fn entries(&self) -> Entries {
        self.entries
    }

    /// The data on which the tiles of the kernel depend.
    #[must_use]
    pub fn shape(&self) -> KernelShape {
        KernelShape {
            entries: self.entries,
            samples: self.samples(),
            outputs: self.outputs.len(),
            symmetric: self.is_symmetric(),
        }
    }

    /// The inputs of the first side, and of the second side if there is one.
    pub fn inputs(&self) -> impl Iterator<Item = &Tensor<4>> {
        self.sides.iter().map(|side| &side.x)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &PlacedNetwork {
        &self.network
    }

    /// Whether both sides have the same samples, so that Θ = Θᵀ.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.sides.len() == 1
    }

    /// Whether the samples of a batch influence one another (a cotangent then spans the batch).
    #[must_use]
    pub fn is_coupled(&self) -> bool {
        self.mode == Mode::Train && self.network.architecture().is_batch_coupled()
    }

    pub(crate) fn side(&self, i: usize) -> &Side {
        &self.sides[i.min(self.sides.len() - 1)]
    }

    /// Number of last convolutions that are computed on cones. A sub-block reuses the choice made for its parent kernel.
    pub(crate) fn on_cones(&self) -> usize {
        *self.on_cones.get_or_init(|| plan::convolutions_on_cones(self))
    }

    /// The tape of one side; the forward pass is made on the first call.
    pub(crate) fn tape(&self, side: usize) -> &Tape {
        let Side { x, tape, .. } = self.side(side);
        tape.get_or_init(|| self.network.forward(x.clone(), self.mode).1)
    }

    /// Unit cotangents of the outputs in `range`: rows `[outputs]`, or `[outputs · samples]` if samples are coupled, in
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

    /// Index in a channels-last sample of output `o`, which is counted in channel, row, column order.
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

    /// Number of samples that are rows.
    pub(crate) fn n(&self) -> usize {
        self.rows.len()
    }
}
