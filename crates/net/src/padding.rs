//! Frames around channels-last maps and up-sampling by copies, and their adjoint.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use fintan_config::{Pad, PadMode, Shape, Upsample};

use crate::correlation::framed;

/// The map x ↦ x with a frame, or with every position repeated, `[batch, rows, columns, channels]`.
#[derive(Debug, Clone)]
pub(crate) enum Padding {
    /// Zeros: (before, after) of each axis.
    Zero([(isize, isize); 2]),
    /// Of each row and column that comes out, the one of the map that stands there; and the size of the map.
    Copied { sources: [Vec<i64>; 2], size: [usize; 2] },
}

impl Padding {
    pub(crate) fn new(pad: &Pad, input: Shape) -> Self {
        if pad.mode == PadMode::Zero {
            return Self::Zero([0, 1].map(|axis| (pad.before.0[axis] as isize, pad.after.0[axis] as isize)));
        }
        Self::copied(input, |axis, len| pad.sources(axis, len))
    }

    pub(crate) fn upsampled(up: &Upsample, input: Shape) -> Self {
        Self::copied(input, |axis, len| up.sources(axis, len))
    }

    fn copied(input: Shape, sources: impl Fn(usize, usize) -> Vec<Option<usize>>) -> Self {
        let size = [input.height, input.width];
        let sources = [0, 1].map(|axis| sources(axis, size[axis]).into_iter().flatten().map(|at| at as i64).collect());
        Self::Copied { sources, size }
    }

    pub(crate) fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Zero(frame) => framed(x, *frame),
            Self::Copied { sources, .. } => sources.iter().enumerate().fold(x, |x, (axis, sources)| {
                let indices = indices(sources, &x);
                x.select(axis + 1, indices)
            }),
        }
    }

    /// The adjoint: copies are added to where they came from.
    pub(crate) fn adjoint(&self, dy: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Zero(frame) => framed(dy, frame.map(|(before, after)| (-before, -after))),
            Self::Copied { sources, size } => sources.iter().enumerate().rev().fold(dy, |dy, (axis, sources)| {
                let mut shape = dy.dims();
                shape[axis + 1] = size[axis];
                let zeros = Tensor::zeros(shape, (&dy.device(), dy.dtype()));
                let indices = indices(sources, &dy);
                zeros.select_assign(axis + 1, indices, dy, IndexingUpdateOp::Add)
            }),
        }
    }
}

fn indices(sources: &[i64], like: &Tensor<4>) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(sources.to_vec(), [sources.len()]), &like.device())
}
