//! Kernels and pieces of kernels.

use crate::problem::{Problem, Tile};

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
        if double { Self::F64(vec![0.0; len]) } else { Self::F32(vec![0.0; len]) }
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

    fn set(&mut self, i: usize, value: f64) {
        match self {
            Self::F32(values) => values[i] = value as f32,
            Self::F64(values) => values[i] = value,
        }
    }

    /// Adds `factor` times as many others.
    pub(crate) fn add(&mut self, factor: f64, others: impl ExactSizeIterator<Item = f64>) {
        assert_eq!(self.len(), others.len(), "as many numbers");
        match self {
            Self::F32(values) => values.iter_mut().zip(others).for_each(|(sum, v)| *sum += (factor * v) as f32),
            Self::F64(values) => values.iter_mut().zip(others).for_each(|(sum, v)| *sum += factor * v),
        }
    }
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
/// Row-major matrices: full `[N1 · rows, N2 · columns]`, traced `[N1, N2]` (the sum over the tile's outputs alone),
/// diagonal `[outputs of the tile, N1, N2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// One matrix a part.
    pub parts: Vec<Values>,
}

impl Kernel {
    /// The kernel of a problem before any of its tiles is in place: zeros.
    #[must_use]
    pub fn of(problem: &Problem) -> Self {
        let (entries, samples, outputs) = (problem.entries(), problem.samples(), problem.outputs().len());
        let len = entries.shape(samples, outputs).iter().product();
        let part = |name: String| Part { name, values: Values::zeros(len, problem.is_double()) };
        Self { entries, samples, outputs, parts: problem.part_names().into_iter().map(part).collect() }
    }

    /// Lengths of the axes.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.entries.shape(self.samples, self.outputs)
    }

    /// The kernel itself: the sum of its parts, in their order.
    #[must_use]
    pub fn total(&self) -> Values {
        match &self.parts[..] {
            [whole] => whole.values.clone(),
            parts => self.weighted(&vec![1.0; parts.len()]),
        }
    }

    /// Σ_p rate_p · Θ_p: the effective kernel of gradient descent with a learning rate a parameter.
    ///
    /// # Panics
    /// If there is not one rate a part.
    #[must_use]
    pub fn weighted(&self, rates: &[f64]) -> Values {
        assert_eq!(rates.len(), self.parts.len(), "one rate a part");
        let mut sum = Values::zeros(self.parts[0].values.len(), true);
        for (part, &rate) in self.parts.iter().zip(rates) {
            sum.add(rate, part.values.iter());
        }
        sum
    }

    /// Divides every entry, by the number of outputs for instance: the convention of those who trace by a mean.
    pub fn divide(&mut self, by: f64) {
        for part in &mut self.parts {
            for i in 0..part.values.len() {
                part.values.set(i, part.values.at(i) / by);
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

    /// Puts a tile's block into its place; a traced block is added.
    ///
    /// `mirrored`: the block's transpose stands at the tile's mirror image.
    pub fn insert(&mut self, tile: &Tile, block: &Block, mirrored: bool) {
        let ([n1, n2], outputs) = (self.samples, self.outputs);
        for (part, values) in self.parts.iter_mut().zip(&block.parts) {
            match self.entries {
                Entries::Traced => part.values.add(1.0, values.iter()),
                Entries::Diagonal => {
                    for (i, o) in tile.rows.clone().enumerate() {
                        for pair in 0..n1 * n2 {
                            part.values.set(pair * outputs + o, values.at(i * n1 * n2 + pair));
                        }
                    }
                }
                Entries::Full => {
                    let (rows, columns) = (tile.rows.len(), tile.columns.len());
                    for i in 0..n1 * rows {
                        for j in 0..n2 * columns {
                            let (a, b) = (i / rows, j / columns);
                            let (o, p) = (tile.rows.start + i % rows, tile.columns.start + j % columns);
                            let value = values.at(i * n2 * columns + j);
                            part.values.set(((a * n2 + b) * outputs + o) * outputs + p, value);
                            if mirrored {
                                part.values.set(((b * n1 + a) * outputs + p) * outputs + o, value);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Block {
    /// A block of zeros for a tile.
    pub(crate) fn zeros(problem: &Problem, tile: &Tile) -> Self {
        let ([n1, n2], rows, columns) = (problem.samples(), tile.rows.len(), tile.columns.len());
        let len = match problem.entries() {
            Entries::Full => n1 * rows * n2 * columns,
            Entries::Traced => n1 * n2,
            Entries::Diagonal => rows * n1 * n2,
        };
        let zeros = |_| Values::zeros(len, problem.is_double());
        Self { parts: problem.part_names().into_iter().map(zeros).collect() }
    }

    /// Adds what a parameter contributes.
    pub(crate) fn add(&mut self, parameter: usize, values: &[f64]) {
        let part = if self.parts.len() == 1 { 0 } else { parameter };
        self.parts[part].add(1.0, values.iter().copied());
    }
}
