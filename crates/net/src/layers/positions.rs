//! Fixed linear maps of positions: frames, copies and means.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use fintan_config::{AxisMap, PositionMap};

use super::{CotangentPair, WithoutParameters};
use crate::correlation::framed;
use crate::network::Placement;

/// A [`PositionMap`] in the form that is cheapest to compute.
#[derive(Debug)]
pub(crate) enum Positions {
    /// A frame of zeros: (before, after) on each axis.
    Frame([(isize, isize); 2]),
    /// Copies: the source row and column of each output row and column, and the size of the input map.
    Copies { sources: [Vec<i64>; 2], size: [usize; 2] },
    /// The mean over all positions of a map of this size.
    Mean([usize; 2]),
    /// Any other map: a matrix `[out, in]` for each axis.
    Matrices([Tensor<2>; 2]),
}

impl Positions {
    pub(super) fn new(map: &PositionMap, to: &Placement) -> Self {
        let axes = &map.axes;
        let size = axes.each_ref().map(|axis| axis.input);
        if let [Some(rows), Some(columns)] = axes.each_ref().map(frame) {
            return Self::Frame([rows, columns]);
        }
        if let [Some(rows), Some(columns)] = axes.each_ref().map(copies) {
            return Self::Copies { sources: [rows, columns], size };
        }
        if axes.iter().all(|axis| axis.is_mean() && axis.windows.len() == 1) {
            return Self::Mean(size);
        }
        Self::Matrices(axes.each_ref().map(|axis| matrix(axis, to)))
    }

    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Frame(frame) => framed(x, *frame),
            Self::Copies { sources, .. } => sources.iter().enumerate().fold(x, |x, (axis, sources)| {
                let indices = indices(sources, &x);
                x.select(axis + 1, indices)
            }),
            Self::Mean([height, width]) => {
                let [n, _, _, channels] = x.dims();
                let mean: Tensor<3> = x.reshape([n, height * width, channels]).mean_dim(1);
                mean.reshape([n, 1, 1, channels])
            }
            Self::Matrices([rows, columns]) => multiplied(x, rows.clone(), columns.clone()),
        }
    }

    fn adjoint(&self, dy: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Frame(frame) => framed(dy, frame.map(|(before, after)| (-before, -after))),
            // Cotangents of copies are added at their source.
            Self::Copies { sources, size } => sources.iter().enumerate().rev().fold(dy, |dy, (axis, sources)| {
                let mut shape = dy.dims();
                shape[axis + 1] = size[axis];
                let zeros = Tensor::zeros(shape, (&dy.device(), dy.dtype()));
                let indices = indices(sources, &dy);
                zeros.select_assign(axis + 1, indices, dy, IndexingUpdateOp::Add)
            }),
            Self::Mean([height, width]) => {
                let [n, _, _, channels] = dy.dims();
                dy.div_scalar((height * width) as f64).expand([n, *height, *width, channels])
            }
            Self::Matrices([rows, columns]) => multiplied(dy, rows.clone().transpose(), columns.clone().transpose()),
        }
    }
}

impl WithoutParameters for Positions {
    type Saved = ();

    fn forward(&self, x: Tensor<4>) -> (Tensor<4>, ()) {
        (self.apply(x), ())
    }

    fn pullback(&self, (): &(), dy: Tensor<4>) -> Tensor<4> {
        self.adjoint(dy)
    }

    fn pushforward(&self, (): &(), dx: Tensor<4>) -> Tensor<4> {
        self.apply(dx)
    }

    fn pullback_tangent(&self, (): &(), _: &Tensor<4>, dy: CotangentPair) -> CotangentPair {
        dy.map(|d| self.adjoint(d))
    }
}

/// Numbers of zero rows before and after the map, if the axis does nothing else.
fn frame(axis: &AxisMap) -> Option<(isize, isize)> {
    let sources = axis.sources()?;
    let before = sources.iter().take_while(|source| source.is_none()).count();
    let inside = sources.get(before..before + axis.input)?;
    let behind = &sources[before + axis.input..];
    let kept = inside.iter().enumerate().all(|(i, source)| *source == Some(i));
    (kept && behind.iter().all(Option::is_none)).then_some((before as isize, behind.len() as isize))
}

/// The source of each row, if the axis only copies rows.
fn copies(axis: &AxisMap) -> Option<Vec<i64>> {
    axis.sources()?.into_iter().map(|source| source.map(|at| at as i64)).collect()
}

/// The matrix `[out, in]` of an axis.
fn matrix(axis: &AxisMap, to: &Placement) -> Tensor<2> {
    let (out, width) = (axis.windows.len(), axis.input);
    let mut values = vec![0.0; out * width];
    for (i, window) in axis.windows.iter().enumerate() {
        for &source in &window.sources {
            values[i * width + source] += 1.0 / window.divisor as f64;
        }
    }
    Tensor::from_data(TensorData::new(values, [out, width]).convert_dtype(to.dtype), (&to.device, to.dtype))
}

/// The product `rows · x · columnsᵀ` for each channel.
fn multiplied(x: Tensor<4>, rows: Tensor<2>, columns: Tensor<2>) -> Tensor<4> {
    let ([n, h, w, c], [to_h, _], [to_w, _]) = (x.dims(), rows.dims(), columns.dims());
    let x: Tensor<3> = rows.unsqueeze::<3>().matmul(x.reshape([n, h, w * c]));
    let x: Tensor<3> = columns.unsqueeze::<3>().matmul(x.reshape([n * to_h, w, c]));
    x.reshape([n, to_h, to_w, c])
}

fn indices(sources: &[i64], like: &Tensor<4>) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(sources.to_vec(), [sources.len()]), &like.device())
}
