//! Kernels and pieces of kernels.

use std::any::Any;
use std::borrow::Cow;
use std::ops::{AddAssign, Range};

use rayon::prelude::*;

use crate::problem::{Problem, Tile};
use crate::spectrum::SpectrumError;

/// Which entries of Θ[(n, o), (n', o')] are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// All of them: `[N1, N2, O, O]`.
    Full,
    /// Summed over o = o': `[N1, N2]`.
    Traced,
    /// Those with o = o': `[N1, N2, O]`.
    Diagonal,
}

impl Entries {
    /// Lengths of the axes of a kernel between `samples`, over `outputs`.
    #[must_use]
    pub fn shape(self, [n1, n2]: [usize; 2], outputs: usize) -> Vec<usize> {
        match self {
            Self::Full => vec![n1, n2, outputs, outputs],
            Self::Traced => vec![n1, n2],
            Self::Diagonal => vec![n1, n2, outputs],
        }
    }

    /// Numbers of a tile's block, for each part; see [`Block`].
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

/// Which entries a kernel has, between how many samples, over how many outputs: all that its tiles depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelShape {
    /// Which entries.
    pub entries: Entries,
    /// Samples of either side.
    pub samples: [usize; 2],
    /// Number of outputs.
    pub outputs: usize,
    /// Whether both sides are the same samples.
    pub symmetric: bool,
}

/// Numbers of a kernel: f64, or f32 where a full kernel was computed in f32, because it may be large.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl Values {
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

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all of them are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        match self {
            Self::F32(values) => values.par_iter().all(|v| v.is_finite()),
            Self::F64(values) => values.par_iter().all(|v| v.is_finite()),
        }
    }

    /// One of them.
    #[must_use]
    pub fn at(&self, i: usize) -> f64 {
        match self {
            Self::F32(values) => values[i].into(),
            Self::F64(values) => values[i],
        }
    }

    /// All of them in double precision.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        (0..self.len()).map(|i| self.at(i))
    }

    /// Adds `factor` times as many others.
    fn add(&mut self, factor: f64, others: &Self) {
        assert_eq!(self.len(), others.len(), "as many numbers");
        match (self, others) {
            (Self::F64(sums), Self::F64(values)) => add(sums, values, |v| factor * v),
            (Self::F64(sums), Self::F32(values)) => add(sums, values, |v| factor * f64::from(v)),
            (Self::F32(sums), Self::F64(values)) => add(sums, values, |v| (factor * v) as f32),
            (Self::F32(sums), Self::F32(values)) => add(sums, values, |v| (factor * f64::from(v)) as f32),
        }
    }

    /// Adds a run of others, from the one at `from`, to values that lie `stride` apart, from the one at `to`.
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

/// Zeros that were written. Memory that is only promised to be zero costs two page faults where it is added to, a read and
/// a write, and the second stops the other threads.
fn written<T: Copy + Default + Send>(len: usize) -> Vec<T> {
    const CHUNK: usize = 1 << 20;
    let mut values = vec![T::default(); len];
    values.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(T::default()));
    values
}

fn add<T: AddAssign, U: Copy>(sums: &mut [T], values: &[U], term: impl Fn(U) -> T) {
    sums.iter_mut().zip(values).for_each(|(sum, &v)| *sum += term(v));
}

fn add_run<T: AddAssign + Copy>(here: &mut [T], stride: usize, there: &[T]) {
    if stride == 1 {
        return add(here, there, |v| v);
    }
    here.iter_mut().step_by(stride).zip(there).for_each(|(here, &v)| *here += v);
}

/// The contribution of one parameter, or of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// `{i}.weight`, `{i}.bias`; `ntk` where parameters were not kept apart.
    pub name: String,
    /// Row-major, axes as [`Entries::shape`].
    pub values: Values,
}

/// A kernel, by parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Which entries it holds.
    pub entries: Entries,
    /// Samples of either side.
    pub samples: [usize; 2],
    /// Number of outputs.
    pub outputs: usize,
    /// One part a parameter, in the network's order, or a single one; they add up to the kernel.
    pub parts: Vec<Part>,
}

/// A piece of a kernel: a tile's entries for every part.
///
/// With N1, N2 samples and O1, O2 outputs of the tile, row-major matrices: full `[N1 O1, N2 O2]`, traced `[N1, N2]` (the sum
/// over the tile's outputs alone), diagonal `[O1, N1, N2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// One matrix a part.
    pub parts: Vec<Values>,
}

impl Kernel {
    /// A kernel of zeros with a part for each of `names`: what tiles are put into.
    #[must_use]
    pub fn zeros(entries: Entries, samples: [usize; 2], outputs: usize, names: &[String], double: bool) -> Self {
        let len = entries.shape(samples, outputs).iter().product();
        let part = |name: &String| Part { name: name.clone(), values: Values::zeros(len, double) };
        Self { entries, samples, outputs, parts: names.iter().map(part).collect() }
    }

    /// The kernel of a problem before any of its tiles is in place: zeros.
    #[must_use]
    pub fn of(problem: &Problem) -> Self {
        let (outputs, names) = (problem.outputs().len(), problem.part_names());
        Self::zeros(problem.entries(), problem.samples(), outputs, &names, problem.is_double())
    }

    /// Whether all entries are finite; if not, [`crate::Overflow::of`] says why.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.parts.iter().all(|part| part.values.is_finite())
    }

    /// Lengths of the axes.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.entries.shape(self.samples, self.outputs)
    }

    /// The kernel itself: the sum of its parts, in their order.
    #[must_use]
    pub fn total(&self) -> Cow<'_, Values> {
        match &self.parts[..] {
            [whole] => Cow::Borrowed(&whole.values),
            parts => Cow::Owned(self.weighted(&vec![1.0; parts.len()])),
        }
    }

    /// Σ_p rate_p · Θ_p: the effective kernel of gradient descent with a learning rate a parameter.
    ///
    /// # Panics
    /// If there is not one rate a part.
    #[must_use]
    pub fn weighted(&self, rates: &[f64]) -> Values {
        assert_eq!(rates.len(), self.parts.len(), "one rate a part");
        let first = &self.parts[0].values;
        let mut sum = Values::zeros(first.len(), matches!(first, Values::F64(_)));
        for (part, &rate) in self.parts.iter().zip(rates) {
            sum.add(rate, &part.values);
        }
        sum
    }

    /// Rows and columns of the kernel as a matrix: `[N, N]` (traced), `[N O, N O]` over rows (n, o) (full).
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

    /// Row `i` of `values` as that matrix, into `to`.
    ///
    /// # Panics
    /// If there is no such row, or `to` is not a row long.
    pub fn row(&self, values: &Values, i: usize, to: &mut [f64]) {
        let (n2, o) = (self.samples[1], if self.entries == Entries::Full { self.outputs } else { 1 });
        assert_eq!(to.len(), n2 * o, "a row");
        for (m, to) in to.chunks_mut(o).enumerate() {
            let start = ((i / o * n2 + m) * o + i % o) * o;
            match values {
                Values::F32(values) => to.iter_mut().zip(&values[start..start + o]).for_each(|(to, &v)| *to = v.into()),
                Values::F64(values) => to.copy_from_slice(&values[start..start + o]),
            }
        }
    }

    /// Divides every entry, by the number of outputs for instance: the convention of those who trace by a mean.
    pub fn divide(&mut self, by: f64) {
        for part in &mut self.parts {
            match &mut part.values {
                Values::F32(values) => values.iter_mut().for_each(|v| *v = (f64::from(*v) / by) as f32),
                Values::F64(values) => values.iter_mut().for_each(|v| *v /= by),
            }
        }
    }

    /// Σ_n Σ_o Θ[(n, o), (n, o)] of a part's values, up to the shorter side.
    #[must_use]
    pub fn trace(&self, values: &Values) -> f64 {
        let ([n1, n2], o) = (self.samples, self.outputs);
        let at = |n: usize| n * n2 + n;
        let entry = |n: usize| match self.entries {
            Entries::Traced => values.at(at(n)),
            Entries::Diagonal => (at(n) * o..(at(n) + 1) * o).map(|i| values.at(i)).sum(),
            Entries::Full => (0..o).map(|i| values.at((at(n) * o + i) * o + i)).sum(),
        };
        (0..n1.min(n2)).map(entry).sum()
    }

    /// Copies a tile of a symmetric full kernel, all samples and outputs off the diagonal, to its mirror image.
    pub(crate) fn mirror(&mut self, [rows, columns]: &[Range<usize>; 2]) {
        // Of squares that fit the cache.
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
                    Values::F32(values) => copy(values, from, to, size, o),
                    Values::F64(values) => copy(values, from, to, size, o),
                }
            }
        }
    }

    /// Adds a tile's block to its place.
    ///
    /// `symmetric`: what lies off the diagonal is added to its mirror image too.
    ///
    /// # Panics
    /// If the block has not one matrix a part, of [`Entries::block_len`] numbers in the kernel's precision: who reads it from
    /// a file has to check that.
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

/// Shows the runs of a tile's block, in order: the length of each, and where its first value stands in the kernel and how far
/// apart its values lie there; then the same of its mirror image.
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
    /// A block of zeros between outputs of rows and of columns.
    pub(crate) fn zeros(problem: &Problem, outputs: &[Range<usize>; 2]) -> Self {
        let tile = Tile { samples: problem.samples().map(|n| 0..n), outputs: outputs.clone() };
        let len = problem.entries().block_len(&tile);
        let zeros = |_| Values::zeros(len, problem.is_double());
        Self { parts: problem.part_names().into_iter().map(zeros).collect() }
    }

    /// Whether all entries are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.parts.iter().all(Values::is_finite)
    }

    /// Adds what several parameters contribute.
    pub(crate) fn add_all(&mut self, parts: Vec<(usize, Vec<f64>)>) {
        for (parameter, values) in parts {
            self.add(parameter, &values);
        }
    }

    /// Adds what a parameter contributes.
    pub(crate) fn add(&mut self, parameter: usize, values: &[f64]) {
        let part = if self.parts.len() == 1 { 0 } else { parameter };
        match &mut self.parts[part] {
            Values::F64(sums) => add(sums, values, |v| v),
            Values::F32(sums) => add(sums, values, |v| v as f32),
        }
    }
}
