//! Fixed linear maps of positions: frames, copies and means.

use crate::shape::Shape;

/// A fixed linear map of the positions of a map, the same for every channel: rows are mapped, then columns.
///
/// `y[p, q] = Σ_{i in rows[p], j in columns[q]} x[i, j] / (divisor of p · divisor of q)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionMap {
    /// The maps of rows and of columns.
    pub axes: [AxisMap; 2],
}

/// A fixed linear map along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisMap {
    /// Number of rows (or columns) that enter.
    pub input: usize,
    /// Where each row that leaves comes from.
    pub windows: Vec<Window>,
}

/// The rows whose sum, divided by a number, is a row that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Rows that are added up; none gives zeros.
    pub sources: Vec<usize>,
    /// What the sum is divided by.
    pub divisor: usize,
}

impl PositionMap {
    /// The map whose axes are `of(axis, length)`.
    pub(crate) fn along(input: Shape, of: impl Fn(usize, usize) -> AxisMap) -> Self {
        Self { axes: [of(0, input.height), of(1, input.width)] }
    }

    /// The position that each position is, row by row, or none for zeros; no answer where positions are added up.
    #[must_use]
    pub fn sources(&self) -> Option<Vec<Option<usize>>> {
        let [rows, columns] = &self.axes;
        let (from_rows, from_columns) = (rows.sources()?, columns.sources()?);
        let of = |y: &Option<usize>, x: &Option<usize>| Some((*y)? * columns.input + (*x)?);
        Some(from_rows.iter().flat_map(|y| from_columns.iter().map(move |x| of(y, x))).collect())
    }

    /// The positions that each position comes from, and what their sum is divided by, row by row.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        let [rows, columns] = &self.axes;
        let of = |row: &Window, column: &Window| Window {
            sources: row
                .sources
                .iter()
                .flat_map(|y| column.sources.iter().map(move |x| y * columns.input + x))
                .collect(),
            divisor: row.divisor * column.divisor,
        };
        rows.windows.iter().flat_map(|row| columns.windows.iter().map(move |column| of(row, column))).collect()
    }
}

impl AxisMap {
    /// Every row that leaves is one that enters, or zeros.
    pub(crate) fn moved(input: usize, sources: Vec<Option<usize>>) -> Self {
        let window = |source: Option<usize>| Window { sources: source.into_iter().collect(), divisor: 1 };
        Self { input, windows: sources.into_iter().map(window).collect() }
    }

    /// The row that each row that leaves is, or none for zeros; no answer where rows are added up.
    #[must_use]
    pub fn sources(&self) -> Option<Vec<Option<usize>>> {
        let source = |window: &Window| match (&window.sources[..], window.divisor) {
            ([], _) => Some(None),
            (&[source], 1) => Some(Some(source)),
            _ => None,
        };
        self.windows.iter().map(source).collect()
    }

    /// Whether every row that leaves is the mean over all rows.
    #[must_use]
    pub fn is_mean(&self) -> bool {
        self.windows.iter().all(|window| window.divisor == self.input && window.sources.len() == self.input)
    }
}
