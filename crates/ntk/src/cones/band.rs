//! Patch Gram matrices of pairs of positions with a fixed shift, for all pairs of samples.

use std::ops::Range;

use rayon::prelude::*;

use super::axis::{Axis, Interval};
use super::chain::ConeLayer;
use super::gemm::{Matrix, product_transposed};
use super::plan::ConePlan;
use super::real::Real;

/// `Gamma[u, u + shift]` of a layer, for `u` in a rectangle of its output: `[rows, columns, N1, N2]`.
pub(super) struct Band<T> {
    pub(super) shift: [isize; 2],
    rectangle: [Range<usize>; 2],
    values: Vec<T>,
    pairs: usize,
}

impl<T> Band<T> {
    /// The matrix `[N1, N2]` over samples at `u`.
    pub(super) fn at(&self, [y, x]: [usize; 2]) -> &[T] {
        let row = (y - self.rectangle[0].start) * self.rectangle[1].len() + x - self.rectangle[1].start;
        &self.values[row * self.pairs..(row + 1) * self.pairs]
    }
}

/// The bands that the windows of a level need: shifts within a window between positions that share weights. If `half` is
/// true, only one of two opposite shifts is included.
pub(super) fn shifts(plan: &ConePlan, level: usize, half: bool) -> Vec<[isize; 2]> {
    let modulus = plan.layers()[level - 1].modulus();
    let mut size = [0, 0];
    for rank in 0..plan.len() {
        let window = plan.window(level, rank);
        size = [size[0].max(window[0].len), size[1].max(window[1].len)];
    }
    let reach = |axis: usize| {
        let (m, largest) = (modulus[axis] as isize, size[axis].saturating_sub(1) / modulus[axis]);
        (-(largest as isize)..=largest as isize).map(move |t| t * m)
    };
    let all = reach(0).flat_map(|y| reach(1).map(move |x| [y, x]));
    all.filter(|&shift| !half || shift >= [0, 0]).collect()
}

/// The smallest rectangle of a level that contains the windows of all outputs.
pub(super) fn rectangle(plan: &ConePlan, level: usize) -> [Range<usize>; 2] {
    let mut hull: Option<[Range<usize>; 2]> = None;
    for rank in 0..plan.len() {
        let [y, x] = plan.clipped(level, rank);
        if y.is_empty() || x.is_empty() {
            continue;
        }
        hull = Some(match hull {
            None => [y, x],
            Some([hy, hx]) => [hy.start.min(y.start)..hy.end.max(y.end), hx.start.min(x.start)..hx.end.max(x.end)],
        });
    }
    hull.unwrap_or([0..0, 0..0])
}

/// One band of a layer, between the samples of two chains with the same weights.
///
/// `Gamma[u, u + d] = scale[u] scale[u + d] sum_k <a_n[q], a_n'[q + e]>`, where `q` is the input that tap `k` connects to
/// `u` and `e` is the corresponding shift of the inputs. Products of activations at distance `e` are summed over the taps.
pub(super) fn band<T: Real>(
    layers: [&ConeLayer<'_, T>; 2],
    samples: [usize; 2],
    rectangle: &[Range<usize>; 2],
    shift: [isize; 2],
) -> Band<T> {
    let geometry = &layers[0].geometry;
    let axes = [Axis::new(geometry, 0), Axis::new(geometry, 1)];
    let read = |axis: usize| {
        let outputs = Interval { start: rectangle[axis].start as isize, len: rectangle[axis].len() };
        axes[axis].window(outputs).clip(geometry.input[axis])
    };
    let read = [read(0), read(1)];
    let input_shift = [axes[0].input_shift(shift[0]), axes[1].input_shift(shift[1])];
    let dots = products(layers, samples, &read, input_shift);
    let (pairs, width) = (samples[0] * samples[1], rectangle[1].len());
    let [h, w, _] = geometry.output;
    let mut values = vec![T::default(); rectangle[0].len() * width * pairs];
    values.par_chunks_mut((width * pairs).max(1)).zip(rectangle[0].clone()).for_each(|(row, y)| {
        let Some(y2) = moved(y, shift[0], h) else { return };
        for (block, x) in row.chunks_mut(pairs).zip(rectangle[1].clone()) {
            let Some(x2) = moved(x, shift[1], w) else { continue };
            for ky in axes[0].taps(y) {
                let Some(qy) = axes[0].source(y, ky) else { continue };
                for kx in axes[1].taps(x) {
                    let Some(qx) = axes[1].source(x, kx) else { continue };
                    let at = (qy - read[0].start) * read[1].len() + qx - read[1].start;
                    for (value, &dot) in block.iter_mut().zip(&dots[at * pairs..]) {
                        *value += dot;
                    }
                }
            }
            let scale = layers[0].scale[y * w + x] * layers[1].scale[y2 * w + x2];
            for value in block {
                *value *= scale;
            }
        }
    });
    Band { shift, rectangle: rectangle.clone(), values, pairs }
}

/// `<a_n[q], a_n'[q + shift]>` for `q` in a rectangle of the input, zero where `q + shift` is off the map.
fn products<T: Real>(
    [first, second]: [&ConeLayer<'_, T>; 2],
    samples: [usize; 2],
    read: &[Range<usize>; 2],
    shift: [isize; 2],
) -> Vec<T> {
    let [h, w, c] = first.geometry.input;
    let (pairs, width) = (samples[0] * samples[1], read[1].len());
    let mut dots = vec![T::default(); read[0].len() * width * pairs];
    dots.par_chunks_mut((width * pairs).max(1)).zip(read[0].clone()).for_each(|(row, y)| {
        let Some(y2) = moved(y, shift[0], h) else { return };
        for (block, x) in row.chunks_mut(pairs).zip(read[1].clone()) {
            let Some(x2) = moved(x, shift[1], w) else { continue };
            let matrix = |values, rows, y, x| Matrix {
                data: tail(values, (y * w + x) * c),
                rows,
                columns: c,
                stride: h * w * c,
            };
            let a = matrix(&first.activations, samples[0], y, x);
            product_transposed(block, false, a, matrix(&second.activations, samples[1], y2, x2));
        }
    });
    dots
}

fn tail<T>(values: &[T], start: usize) -> &[T] {
    values.get(start..).unwrap_or_default()
}

fn moved(at: usize, shift: isize, size: usize) -> Option<usize> {
    at.checked_add_signed(shift).filter(|&at| at < size)
}
