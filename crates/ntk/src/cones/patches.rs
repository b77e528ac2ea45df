//! The patches that a layer reads, and their Gram matrices.

use rayon::prelude::*;

use super::axis::Axis;
use super::chain::ConeLayer;
use super::gemm::{Matrix, product_transposed};
use super::geometry::Geometry;
use super::plan::ConePlan;
use super::real::Real;

/// Output positions of a layer that lie in some cone, by residue class. Only positions of the same class share weights.
pub(super) struct Positions {
    /// Positions of each class, in the order of the map.
    classes: Vec<Vec<[usize; 2]>>,
    modulus: [usize; 2],
    /// Index of each position of the map in its class; undefined for positions outside all cones.
    index: Vec<usize>,
    width: usize,
}

impl Positions {
    /// Positions at a level in the window of any output.
    pub(super) fn new(plan: &ConePlan, level: usize) -> Self {
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

    /// The positions of each class.
    pub(super) fn classes(&self) -> &[Vec<[usize; 2]>] {
        &self.classes
    }

    /// Index of a position in its class; undefined for a position outside all cones.
    pub(super) fn index(&self, [y, x]: [usize; 2]) -> usize {
        self.index[y * self.width + x]
    }

    /// Residue class of a position.
    pub(super) fn class(&self, [y, x]: [usize; 2]) -> usize {
        y % self.modulus[0] * self.modulus[1] + x % self.modulus[1]
    }

    /// Whether a position lies in some cone.
    pub(super) fn is_held(&self, place: [usize; 2]) -> bool {
        self.classes[self.class(place)].get(self.index(place)) == Some(&place)
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

/// `scale[u] a[q_k(u)]` of one sample, for the positions `u` of a residue class and all taps `k` that can reach them:
/// `[positions, taps c_in]`, zero if the input is off the map.
pub(super) fn patches<T: Real>(layer: &ConeLayer<'_, T>, positions: &Positions, class: usize, sample: usize) -> Vec<T> {
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

/// For each residue class, `Gamma[u, u']` between all positions of two samples, one from each side.
pub(super) fn gram<T: Real>(
    layers: [&ConeLayer<'_, T>; 2],
    positions: [&Positions; 2],
    samples: [usize; 2],
) -> Vec<Vec<T>> {
    let gram = |class: usize| {
        let len = patch_len(&layers[0].geometry, positions[0].modulus, class);
        let patches = [0, 1].map(|side| patches(layers[side], positions[side], class, samples[side]));
        let rows = positions.map(|positions| positions.classes[class].len());
        let mut gram = vec![T::default(); rows[0] * rows[1]];
        let [a, b] = [0, 1].map(|side| Matrix::new(&patches[side], rows[side], len));
        product_transposed(&mut gram, false, a, b);
        gram
    };
    (0..positions[0].classes.len()).into_par_iter().map(gram).collect()
}
