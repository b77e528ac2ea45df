//! Weights in the order in which the pullback reads them.

use std::borrow::Cow;

use super::chain::ConeLayer;
use super::geometry::LayerKind;
use super::real::Real;

/// `[k_h][slot][c_out][c_in]`. Slots are the horizontal taps, ordered so that the outputs that read the same input use
/// neighbouring slots. A row of a window is then one product with consecutive rows of this matrix.
pub(super) struct PullWeights<'a, T: Clone> {
    matrix: Cow<'a, [T]>,
    /// Slot of each horizontal tap.
    slots: Vec<usize>,
    rows: usize,
    columns: usize,
}

impl<'a, T: Real> PullWeights<'a, T> {
    pub(super) fn new(layer: &ConeLayer<'a, T>) -> Self {
        let [kh, kw] = layer.geometry.kernel;
        let (ci, co) = (layer.geometry.input[2], layer.geometry.output[2]);
        if layer.geometry.kind == LayerKind::Deconv {
            return Self { matrix: Cow::Borrowed(layer.weights), slots: (0..kw).collect(), rows: co, columns: ci };
        }
        // The next output reads the same input with the tap that is smaller by the stride.
        let stride = layer.geometry.stride[1];
        let mut taps: Vec<usize> = (0..kw).collect();
        taps.sort_by_key(|&tap| (tap % stride, kw - tap));
        let mut slots = vec![0; kw];
        for (slot, &tap) in taps.iter().enumerate() {
            slots[tap] = slot;
        }
        let mut matrix = vec![T::default(); layer.weights.len()];
        for ky in 0..kh {
            for kx in 0..kw {
                let from = &layer.weights[(ky * kw + kx) * ci * co..][..ci * co];
                let to = &mut matrix[(ky * kw + slots[kx]) * ci * co..][..ci * co];
                for (i, row) in from.chunks(co).enumerate() {
                    for (o, &value) in row.iter().enumerate() {
                        to[o * ci + i] = value;
                    }
                }
            }
        }
        Self { matrix: Cow::Owned(matrix), slots, rows: co, columns: ci }
    }

    /// The rows of `taps` neighbouring slots, starting with that of tap `(ky, kx)`: `[taps c_out, c_in]`.
    pub(super) fn rows(&self, ky: usize, kx: usize, taps: usize) -> &[T] {
        let block = self.rows * self.columns;
        &self.matrix[(ky * self.slots.len() + self.slots[kx]) * block..][..taps * block]
    }

    /// The weights of one tap and output channel: `[c_in]`.
    pub(super) fn row(&self, ky: usize, kx: usize, channel: usize) -> &[T] {
        &self.rows(ky, kx, 1)[channel * self.columns..][..self.columns]
    }
}
