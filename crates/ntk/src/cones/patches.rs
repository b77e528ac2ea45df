//! Patches that a layer reads, and their Gram matrices a strip at a time.

use std::ops::Range;

use super::axis::Axis;
use super::chain::Layer;
use super::gemm::{Matrix, product_transposed};
use super::geometry::Geometry;
use super::plan::Plan;
use super::real::Real;

/// Positions of a layer's output that some cone holds, by residue class: only positions of one class share weights.
pub(super) struct Positions {
    /// By class, in the order of the map.
    classes: Vec<Vec<[usize; 2]>>,
    modulus: [usize; 2],
    /// Place in its class of each position of the map; meaningless for positions that no cone holds.
    index: Vec<usize>,
    width: usize,
}

impl Positions {
    /// Positions at a level in the windows of any output.
    pub(super) fn new(plan: &Plan, level: usize) -> Self {
        let [h, w, _] = plan.map(level);
        let mut held = vec![false; h * w];
        for rank in 0..plan.len() {
            let [rows, columns] = plan.clipped(level, rank);
            for y in rows {
                held[y * w..][columns.clone()].fill(true);
            }
        }
        let modulus = plan.layers()[level - 1].modulus();
        let (mut classes, mut index) = (vec![Vec::new(); modulus[0] * modulus[1]], vec![0; h * w]);
        for at in (0..h * w).filter(|&at| held[at]) {
            let (y, x) = (at / w, at % w);
            let class = &mut classes[y % modulus[0] * modulus[1] + x % modulus[1]];
            index[at] = class.len();
            class.push([y, x]);
        }
        Self { classes, modulus, index, width: w }
    }

    pub(super) fn modulus(&self) -> [usize; 2] {
        self.modulus
    }

    /// By class.
    pub(super) fn classes(&self) -> &[Vec<[usize; 2]>] {
        &self.classes
    }

    /// Place of a position in its class.
    pub(super) fn index(&self, [y, x]: [usize; 2]) -> usize {
        self.index[y * self.width + x]
    }

    /// The members of a class in one row of the map.
    fn in_row(&self, class: usize, y: usize) -> Range<usize> {
        let class = &self.classes[class];
        class.partition_point(|place| place[0] < y)..class.partition_point(|place| place[0] <= y)
    }
}

/// Taps that reach the outputs of a residue class.
fn taps(geometry: &Geometry, modulus: [usize; 2], class: usize) -> [Vec<usize>; 2] {
    [Axis::new(geometry, 0).taps(class / modulus[1]), Axis::new(geometry, 1).taps(class % modulus[1])]
}

/// Length of the patches of a residue class.
pub(super) fn patch_len(geometry: &Geometry, modulus: [usize; 2], class: usize) -> usize {
    let [vertical, horizontal] = taps(geometry, modulus, class);
    vertical.len() * horizontal.len() * geometry.input[2]
}

/// `scale[u] a[q_k(u)]` of one sample, for the positions `u` of a residue class and all taps `k` that reach it:
/// `[positions, taps c_in]`, zero where the input is off the map.
pub(super) fn patches<T: Real>(layer: &Layer<'_, T>, positions: &Positions, class: usize, sample: usize) -> Vec<T> {
    let geometry = &layer.geometry;
    let axes = [Axis::new(geometry, 0), Axis::new(geometry, 1)];
    let [vertical, horizontal] = taps(geometry, positions.modulus, class);
    let c = geometry.input[2];
    let mut patches = Vec::with_capacity(positions.classes[class].len() * vertical.len() * horizontal.len() * c);
    for &[y, x] in &positions.classes[class] {
        let scale = layer.scale[y * geometry.output[1] + x];
        for &ky in &vertical {
            for &kx in &horizontal {
                match (axes[0].source(y, ky), axes[1].source(x, kx)) {
                    (Some(qy), Some(qx)) => {
                        patches.extend(layer.activation(sample, [qy, qx]).iter().map(|&value| value * scale));
                    }
                    _ => patches.resize(patches.len() + c, T::default()),
                }
            }
        }
    }
    patches
}

/// Patches of all classes.
pub(super) fn all_patches<T: Real>(layer: &Layer<'_, T>, positions: &Positions, sample: usize) -> Vec<Vec<T>> {
    (0..positions.classes.len()).map(|class| patches(layer, positions, class, sample)).collect()
}

/// `Gamma[u, u']` for the positions `u` of one row of the first side's map and all `u'` of the second that share
/// weights.
pub(super) struct Strip<T> {
    /// Residue of the row.
    pub(super) row: usize,
    pub(super) modulus: [usize; 2],
    /// By horizontal residue: columns of the positions `u`.
    pub(super) columns: Vec<Vec<usize>>,
    /// By horizontal residue: `[u', u]`.
    gamma: Vec<Vec<T>>,
}

impl<T: Real> Strip<T> {
    pub(super) fn new(geometry: &Geometry, y: usize, sides: [(&Positions, &[Vec<T>]); 2]) -> Self {
        let [(targets, first), (sources, second)] = sides;
        let modulus = targets.modulus;
        let row = y % modulus[0];
        let (mut columns, mut gamma) = (Vec::new(), Vec::new());
        for class in row * modulus[1]..(row + 1) * modulus[1] {
            let (members, len) = (targets.in_row(class, y), patch_len(geometry, modulus, class));
            let patches = &first[class][members.start * len..members.end * len];
            let (a, b) = (sources.classes[class].len(), members.len());
            let mut values = vec![T::default(); a * b];
            product_transposed(&mut values, false, Matrix::new(&second[class], a, len), Matrix::new(patches, b, len));
            gamma.push(values);
            columns.push(targets.classes[class][members].iter().map(|place| place[1]).collect());
        }
        Self { row, modulus, columns, gamma }
    }

    /// `Gamma[u, u']` for `u` in [`Self::columns`] of the residue of `u'`, by the index of `u'` in its class.
    pub(super) fn row(&self, residue: usize, index: usize) -> &[T] {
        let n = self.columns[residue].len();
        &self.gamma[residue][index * n..(index + 1) * n]
    }
}
