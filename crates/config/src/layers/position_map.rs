//! Fixed linear maps of positions: frames, copies and means.

use crate::shape::Shape;

/// A fixed linear map of positions, the same for every channel: it maps rows, then columns.
///
/// `y[p, q] = Σ_{i in rows[p], j in columns[q]} x[i, j] / (divisor of p · divisor of q)`
///
/// ```
/// use fintan_config::{Layer, Shape, Transform};
///
/// let upsample: Layer = toml::from_str("upsample = { factor = [1, 2] }")?;
/// let Transform::Positions(map) = upsample.transform(Shape::image(1, 1, 2)) else { panic!("a map of positions") };
/// assert_eq!(map.sources(), Some(vec![Some(0), Some(0), Some(1), Some(1)]));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionMap {
    /// The maps of rows and of columns.
    pub axes: [AxisMap; 2],
}

/// A fixed linear map along one axis.
///
/// ```
/// use fintan_config::{Layer, Shape, Transform};
///
/// let upsample: Layer = toml::from_str("upsample = { factor = [1, 2] }")?;
/// let Transform::Positions(map) = upsample.transform(Shape::image(1, 1, 2)) else { panic!("a map of positions") };
/// assert_eq!(map.axes[1].input, 2);
/// assert_eq!(map.axes[1].sources(), Some(vec![Some(0), Some(0), Some(1), Some(1)]));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisMap {
    /// Number of input rows (or columns).
    pub input: usize,
    /// The window of each output row.
    pub windows: Vec<Window>,
}

/// The input rows that are summed, and the divisor of the sum, for one output row.
///
/// ```
/// use fintan_config::{Layer, Shape, Transform, Window};
///
/// let pool: Layer = toml::from_str("avg_pool = { window = 2 }")?;
/// let Transform::Positions(map) = pool.transform(Shape::image(1, 4, 4)) else { panic!("a map of positions") };
/// assert_eq!(map.axes[0].windows[1], Window { sources: vec![2, 3], divisor: 2 });
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Rows that are summed; an empty list gives zeros.
    pub sources: Vec<usize>,
    /// The divisor of the sum.
    pub divisor: usize,
}

impl PositionMap {
    /// The map with the axes `of(axis, length)`.
    pub(crate) fn along(input: Shape, of: impl Fn(usize, usize) -> AxisMap) -> Self {
        Self { axes: [of(0, input.height), of(1, input.width)] }
    }

    /// For each output position, row by row: the input position that it copies, or `None` for zero. The result is `None` if
    /// any output position is a sum or a mean.
    #[must_use]
    pub fn sources(&self) -> Option<Vec<Option<usize>>> {
        let [rows, columns] = &self.axes;
        let (from_rows, from_columns) = (rows.sources()?, columns.sources()?);
        let of = |y: &Option<usize>, x: &Option<usize>| Some((*y)? * columns.input + (*x)?);
        Some(from_rows.iter().flat_map(|y| from_columns.iter().map(move |x| of(y, x))).collect())
    }

    /// For each output position, row by row: the input positions that are summed, and the divisor.
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
    /// A map whose output rows are copies of the input rows `sources`, or zeros for `None`.
    pub(crate) fn moved(input: usize, sources: Vec<Option<usize>>) -> Self {
        let window = |source: Option<usize>| Window { sources: source.into_iter().collect(), divisor: 1 };
        Self { input, windows: sources.into_iter().map(window).collect() }
    }

    /// For each output row: the input row that it copies, or `None` for zeros. The result is `None` if any output row is a
    /// sum.
    #[must_use]
    pub fn sources(&self) -> Option<Vec<Option<usize>>> {
        let source = |window: &Window| match (&window.sources[..], window.divisor) {
            ([], _) => Some(None),
            (&[source], 1) => Some(Some(source)),
            _ => None,
        };
        self.windows.iter().map(source).collect()
    }

    /// Whether every output row is the mean over all input rows.
    #[must_use]
    pub fn is_mean(&self) -> bool {
        self.windows.iter().all(|window| window.divisor == self.input && window.sources.len() == self.input)
    }
}
