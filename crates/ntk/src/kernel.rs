//! Kernels and blocks of kernels.

use std::any::Any;
use std::borrow::Cow;
use std::ops::{AddAssign, Range};

use rayon::prelude::*;

use crate::problem::{KernelRequest, Tile};
use crate::products::ENTRIES;
use crate::spectrum::SpectrumError;

/// The entries of Θ[(n, o), (n', o')] that a kernel contains.
///
/// ```
/// use fintan_ntk::Entries;
///
/// // Between 2 and 5 samples of a network with 3 outputs.
/// assert_eq!(Entries::Full.shape([2, 5], 3), [2, 5, 3, 3]);
/// assert_eq!(Entries::Traced.shape([2, 5], 3), [2, 5]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// All entries: `[N1, N2, O, O]`.
    Full,
    /// Summed over o = o': `[N1, N2]`.
    Traced,
    /// The entries with o = o': `[N1, N2, O]`.
    Diagonal,
}

impl Entries {
    /// Lengths of the axes of a kernel between `samples` with `outputs` outputs.
    #[must_use]
    pub fn shape(self, [n1, n2]: [usize; 2], outputs: usize) -> Vec<usize> {
        match self {
            Self::Full => vec![n1, n2, outputs, outputs],
            Self::Traced => vec![n1, n2],
            Self::Diagonal => vec![n1, n2, outputs],
        }
    }

    /// Number of values in a tile's block, for each part; see [`Block`].
    #[must_use]
    pub fn block_len(self, Tile { samples: [a, b], outputs: [rows, columns] }: &Tile) -> usize {
        a.len()
            * b.len()
            * match self {
                Self::Full => rows.len() * columns.len(),
                Self::Traced => 1,
                Self::Diagonal => rows.len(),
            }
    }
}

/// Entries, samples and outputs of a kernel; its tiles depend on nothing else.
///
/// ```
/// use fintan_ntk::{Entries, KernelShape, TileSize};
///
/// let kernel = KernelShape { entries: Entries::Traced, samples: [4, 4], outputs: 1, symmetric: true };
/// let tiles = kernel.tiles(TileSize { samples: 2, outputs: 1 });
/// assert_eq!(tiles.len(), 3); // on and below the diagonal
/// assert_eq!(tiles[1].samples, [2..4, 0..2]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelShape {
    /// The entries.
    pub entries: Entries,
    /// Number of samples on each side.
    pub samples: [usize; 2],
    /// Number of outputs.
    pub outputs: usize,
    /// Whether both sides are the same samples.
    pub symmetric: bool,
}

/// Values of a kernel: f64, or f32 if a full kernel was computed in f32, because full kernels are large.
///
/// ```
/// let values = fintan_ntk::KernelValues::F32(vec![1.0, 2.5]);
/// assert_eq!((values.len(), values.at(1)), (2, 2.5));
/// assert!(values.is_finite());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum KernelValues {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl KernelValues {
    /// Zeros.
    #[must_use]
    pub fn zeros(len: usize, double: bool) -> Self {
        if double { Self::F64(written(len)) } else { Self::F32(written(len)) }
    }

    /// The numbers as `T`, which is their type.
    pub(crate) fn slice_mut<T: 'static>(&mut self) -> &mut [T] {
        let numbers: &mut dyn Any = match self {
            Self::F32(numbers) => numbers,
            Self::F64(numbers) => numbers,
        };
        numbers.downcast_mut::<Vec<T>>().expect("full kernels are kept in the precision in which they are computed")
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all values are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        match self {
            Self::F32(values) => values.par_iter().all(|v| v.is_finite()),
            Self::F64(values) => values.par_iter().all(|v| v.is_finite()),
        }
    }

    /// Value `i` in double precision.
    #[must_use]
    pub fn at(&self, i: usize) -> f64 {
        match self {
            Self::F32(values) => values[i].into(),
            Self::F64(values) => values[i],
        }
    }

    /// All values in double precision.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        (0..self.len()).map(|i| self.at(i))
    }

    /// Adds `factor` times `others`, which has the same length.
    fn add(&mut self, factor: f64, others: &Self) {
        assert_eq!(self.len(), others.len(), "as many numbers");
        match (self, others) {
            (Self::F64(sums), Self::F64(values)) => add(sums, values, |v| factor * v),
            (Self::F64(sums), Self::F32(values)) => add(sums, values, |v| factor * f64::from(v)),
            (Self::F32(sums), Self::F64(values)) => add(sums, values, |v| (factor * v) as f32),
            (Self::F32(sums), Self::F32(values)) => add(sums, values, |v| (factor * f64::from(v)) as f32),
        }
    }

    /// Adds `len` values of `others`, starting at `from`, to values at distance `stride`, starting at `to`.
    fn add_run(&mut self, to: usize, stride: usize, others: &Self, from: usize, len: usize) {
        match (self, others) {
            (Self::F64(here), Self::F64(there)) => add_run(&mut here[to..], stride, &there[from..from + len]),
            (Self::F32(here), Self::F32(there)) => add_run(&mut here[to..], stride, &there[from..from + len]),
            (Self::F64(_), Self::F32(_)) | (Self::F32(_), Self::F64(_)) => {
                panic!("a kernel and its blocks have one precision")
            }
        }
    }
}

/// Zeros that have been written. Lazily zeroed memory costs two page faults when values are added, one for reading and one
/// for writing, and the second stops the other threads.
fn written<T: Copy + Default + Send>(len: usize) -> Vec<T> {
    const CHUNK: usize = 1 << 20;
    let mut values = vec![T::default(); len];
    values.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(T::default()));
    values
}

fn add<T: AddAssign + Send, U: Copy + Sync>(sums: &mut [T], values: &[U], term: impl Fn(U) -> T + Sync) {
    let add = |(sums, values): (&mut [T], &[U])| sums.iter_mut().zip(values).for_each(|(sum, &v)| *sum += term(v));
    if sums.len() <= ENTRIES {
        add((sums, values));
    } else {
        sums.par_chunks_mut(ENTRIES).zip(values.par_chunks(ENTRIES)).for_each(add);
    }
}

fn add_run<T: AddAssign + Copy + Send + Sync>(here: &mut [T], stride: usize, there: &[T]) {
    if stride == 1 {
        return add(here, there, |v| v);
    }
    here.iter_mut().step_by(stride).zip(there).for_each(|(here, &v)| *here += v);
}

/// The contribution of one parameter, or of all parameters.
///
/// ```
/// use fintan_ntk::{Entries, KernelPart, KernelParts, KernelValues};
///
/// let part = |name: &str, value| KernelPart { name: name.into(), values: KernelValues::F64(vec![value]) };
/// let parts = vec![part("0.weight", 4.0), part("0.bias", 1.0)];
/// let kernel = KernelParts { entries: Entries::Traced, samples: [1, 1], outputs: 1, parts };
/// assert_eq!(kernel.total().at(0), 5.0);
/// assert_eq!(kernel.weighted(&[0.5, 1.0]).at(0), 3.0); // half the learning rate for the weights
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KernelPart {
    /// `{i}.weight` or `{i}.bias`; `ntk` if the parameters were not kept separate.
    pub name: String,
    /// Row-major, axes as [`Entries::shape`].
    pub values: KernelValues,
}

/// A kernel, with one part for each parameter.
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
/// use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest};
///
/// // `network` is y = w · x + b, so that Θ = x · x' + 1, and `x` holds (1, 0) and (0, 2).
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// let kernel = KernelParts::compute(&request, &KernelPlan::new(&request, None, f64::INFINITY)?);
/// let [weights, biases] = &kernel.parts[..] else { panic!("two parameters") };
/// assert_eq!((weights.name.as_str(), weights.values.at(3)), ("0.weight", 4.0));
/// assert_eq!((biases.name.as_str(), biases.values.at(3)), ("0.bias", 1.0));
/// assert_eq!((kernel.shape(), kernel.trace(&kernel.total())), (vec![2, 2, 1, 1], 7.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KernelParts {
    /// The entries that it contains.
    pub entries: Entries,
    /// Number of samples on each side.
    pub samples: [usize; 2],
    /// Number of outputs.
    pub outputs: usize,
    /// The parts, whose sum is the kernel: one for each parameter in the network's order, or a single one.
    pub parts: Vec<KernelPart>,
}

/// The entries of a tile, for every part of the kernel.
///
/// With N1, N2 samples and O1, O2 outputs of the tile, the matrices are row-major: full `[N1 O1, N2 O2]`, traced `[N1, N2]`
/// (summed over the outputs of the tile only), diagonal `[O1, N1, N2]`.
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
/// use fintan_ntk::{Entries, KernelRequest, Method};
///
/// // `network` is y = w · x + b, so that Θ = x · x' + 1, and `x` holds (1, 0) and (0, 2).
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// let block = Method::Structured.block(&request, &[0..1, 0..1]);
/// assert_eq!(block.parts[0].iter().collect::<Vec<_>>(), [1.0, 0.0, 0.0, 4.0]); // of the weights
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// One matrix for each part.
    pub parts: Vec<KernelValues>,
}

impl KernelParts {
    /// A kernel of zeros with a part for each of `names`, to which tiles can be added.
    #[must_use]
    pub fn zeros(entries: Entries, samples: [usize; 2], outputs: usize, names: &[String], double: bool) -> Self {
        let len = entries.shape(samples, outputs).iter().product();
        let part = |name: &String| KernelPart { name: name.clone(), values: KernelValues::zeros(len, double) };
        Self { entries, samples, outputs, parts: names.iter().map(part).collect() }
    }

    /// A kernel of zeros with the shape of `problem`, to which its tiles can be added.
    #[must_use]
    pub fn of(problem: &KernelRequest) -> Self {
        let (outputs, names) = (problem.outputs().len(), problem.part_names());
        Self::zeros(problem.entries(), problem.samples(), outputs, &names, problem.is_double())
    }

    /// Whether all entries are finite; if not, [`crate::Overflow::of`] finds the reason.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.parts.iter().all(|part| part.values.is_finite())
    }

    /// Lengths of the axes.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.entries.shape(self.samples, self.outputs)
    }

    /// The kernel: the sum of its parts, added in their order.
    #[must_use]
    pub fn total(&self) -> Cow<'_, KernelValues> {
        match &self.parts[..] {
            [whole] => Cow::Borrowed(&whole.values),
            parts => Cow::Owned(self.weighted(&vec![1.0; parts.len()])),
        }
    }

    /// Σ_p rate_p · Θ_p: the effective kernel of gradient descent with one learning rate for each parameter.
    ///
    /// # Panics
    /// If the number of rates and the number of parts differ.
    #[must_use]
    pub fn weighted(&self, rates: &[f64]) -> KernelValues {
        assert_eq!(rates.len(), self.parts.len(), "one rate a part");
        let first = &self.parts[0].values;
        let mut sum = KernelValues::zeros(first.len(), matches!(first, KernelValues::F64(_)));
        for (part, &rate) in self.parts.iter().zip(rates) {
            sum.add(rate, &part.values);
        }
        sum
    }

    /// Rows and columns of the kernel as a matrix: `[N, N]` (traced), `[N O, N O]` with rows (n, o) (full).
    ///
    /// # Errors
    /// [`SpectrumError::Diagonal`]
    pub fn matrix_shape(&self) -> Result<[usize; 2], SpectrumError> {
        match self.entries {
            Entries::Traced => Ok(self.samples),
            Entries::Diagonal => Err(SpectrumError::Diagonal),
            Entries::Full => Ok(self.samples.map(|n| n * self.outputs)),
        }
    }

    /// Copies row `i` of that matrix from `values` into `to`.
    ///
    /// # Panics
    /// If the row does not exist, or if `to` has another length than the row.
    pub fn row(&self, values: &KernelValues, i: usize, to: &mut [f64]) {
        let (n2, o) = (self.samples[1], if self.entries == Entries::Full { self.outputs } else { 1 });
        assert_eq!(to.len(), n2 * o, "a row");
        for (m, to) in to.chunks_mut(o).enumerate() {
            let start = ((i / o * n2 + m) * o + i % o) * o;
            match values {
                KernelValues::F32(values) => {
                    to.iter_mut().zip(&values[start..start + o]).for_each(|(to, &v)| *to = v.into());
                }
                KernelValues::F64(values) => to.copy_from_slice(&values[start..start + o]),
            }
        }
    }

    /// Divides every entry by a number, for instance by the number of outputs if the trace is defined as a mean.
    pub fn divide(&mut self, by: f64) {
        for part in &mut self.parts {
            match &mut part.values {
                KernelValues::F32(values) => values.iter_mut().for_each(|v| *v = (f64::from(*v) / by) as f32),
                KernelValues::F64(values) => values.iter_mut().for_each(|v| *v /= by),
            }
        }
    }

    /// Σ_n Σ_o Θ[(n, o), (n, o)] for the values of a part; n runs up to the number of samples of the smaller side.
    #[must_use]
    pub fn trace(&self, values: &KernelValues) -> f64 {
        let ([n1, n2], o) = (self.samples, self.outputs);
        let at = |n: usize| n * n2 + n;
        let entry = |n: usize| match self.entries {
            Entries::Traced => values.at(at(n)),
            Entries::Diagonal => (at(n) * o..(at(n) + 1) * o).map(|i| values.at(i)).sum(),
            Entries::Full => (0..o).map(|i| values.at((at(n) * o + i) * o + i)).sum(),
        };
        (0..n1.min(n2)).map(entry).sum()
    }

    /// Copies an off-diagonal tile of a symmetric full kernel, with all samples, to its mirror image.
    pub(crate) fn mirror(&mut self, [rows, columns]: &[Range<usize>; 2]) {
        // In squares that fit into the cache.
        const SQUARE: usize = 32;
        fn copy<T: Copy>(values: &mut [T], from: usize, to: usize, [rows, columns]: [usize; 2], stride: usize) {
            for (top, left) in (0..rows).step_by(SQUARE).flat_map(|i| (0..columns).step_by(SQUARE).map(move |j| (i, j)))
            {
                for j in left..columns.min(left + SQUARE) {
                    for i in top..rows.min(top + SQUARE) {
                        values[to + j * stride + i] = values[from + i * stride + j];
                    }
                }
            }
        }
        let ([n, _], o, size) = (self.samples, self.outputs, [rows.len(), columns.len()]);
        let (corner, mirrored) = (rows.start * o + columns.start, columns.start * o + rows.start);
        for part in &mut self.parts {
            for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
                let (from, to) = ((a * n + b) * o * o + corner, (b * n + a) * o * o + mirrored);
                match &mut part.values {
                    KernelValues::F32(values) => copy(values, from, to, size, o),
                    KernelValues::F64(values) => copy(values, from, to, size, o),
                }
            }
        }
    }

    /// Adds the block of a tile to the kernel.
    ///
    /// If `symmetric` is true, an off-diagonal tile is also added to its mirror image.
    ///
    /// # Panics
    /// If the block does not have one matrix for each part, of [`Entries::block_len`] values in the precision of the kernel.
    /// A caller that reads blocks from a file must check this.
    pub fn insert(&mut self, tile: &Tile, block: &Block, symmetric: bool) {
        let mirrored = symmetric && !tile.is_diagonal();
        let (entries, samples, outputs) = (self.entries, self.samples, self.outputs);
        let len = entries.block_len(tile);
        assert_eq!(block.parts.len(), self.parts.len(), "one matrix a part");
        assert!(block.parts.iter().all(|values| values.len() == len), "matrices of the tile's size");
        for (part, values) in self.parts.iter_mut().zip(&block.parts) {
            let mut from = 0;
            runs(entries, samples, outputs, tile, &mut |len, [(to, stride), mirror]| {
                part.values.add_run(to, stride, values, from, len);
                if mirrored {
                    part.values.add_run(mirror.0, mirror.1, values, from, len);
                }
                from += len;
            });
        }
    }
}

/// Visits the runs of a tile's block in order. For each run: its length, the index of its first value in the kernel and the
/// distance between its values there, and the same two numbers for its mirror image.
fn runs(
    entries: Entries,
    [n1, n2]: [usize; 2],
    all: usize,
    tile: &Tile,
    visit: &mut dyn FnMut(usize, [(usize, usize); 2]),
) {
    let ([first, second], [rows, columns]) = (&tile.samples, &tile.outputs);
    match entries {
        Entries::Traced => {
            for a in first.clone() {
                visit(second.len(), [(a * n2 + second.start, 1), (second.start * n1 + a, n1)]);
            }
        }
        Entries::Diagonal => {
            for (o, a) in rows.clone().flat_map(|o| first.clone().map(move |a| (o, a))) {
                let (pair, mirrored) = (a * n2 + second.start, second.start * n1 + a);
                visit(second.len(), [(pair * all + o, all), (mirrored * all + o, n1 * all)]);
            }
        }
        Entries::Full => {
            for (a, o) in first.clone().flat_map(|a| rows.clone().map(move |o| (a, o))) {
                for b in second.clone() {
                    let (pair, mirrored, p) = (a * n2 + b, b * n1 + a, columns.start);
                    visit(columns.len(), [((pair * all + o) * all + p, 1), ((mirrored * all + p) * all + o, all)]);
                }
            }
        }
    }
}

impl Block {
    /// A block of zeros between outputs of rows and outputs of columns.
    pub(crate) fn zeros(problem: &KernelRequest, outputs: &[Range<usize>; 2]) -> Self {
        let tile = Tile { samples: problem.samples().map(|n| 0..n), outputs: outputs.clone() };
        let len = problem.entries().block_len(&tile);
        let zeros = |_| KernelValues::zeros(len, problem.is_double());
        Self { parts: problem.part_names().into_iter().map(zeros).collect() }
    }

    /// Whether all entries are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.parts.iter().all(KernelValues::is_finite)
    }

    /// Adds the contributions of several parameters.
    pub(crate) fn add_all(&mut self, parts: Vec<(usize, Vec<f64>)>) {
        for (parameter, values) in parts {
            self.add(parameter, &values);
        }
    }

    /// Adds the contribution of a parameter.
    pub(crate) fn add(&mut self, parameter: usize, values: &[f64]) {
        let part = if self.parts.len() == 1 { 0 } else { parameter };
        match &mut self.parts[part] {
            KernelValues::F64(sums) => add(sums, values, |v| v),
            KernelValues::F32(sums) => add(sums, values, |v| v as f32),
        }
    }
}
