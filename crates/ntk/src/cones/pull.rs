//! Pulls the cotangents of one piece back from its outputs to the input of the chain.

use std::borrow::Cow;

use super::axis::{Axis, Readers};
use super::chain::Chain;
use super::gemm::{Matrix, product};
use super::plan::Piece;
use super::real::Real;
use super::weights::PullWeights;

/// Cotangents of a piece: for each level below the last, `[outputs, N, window rows, window columns, c]`, with zeros off the
/// map.
pub(super) struct Windows<T> {
    pub(super) levels: Vec<Vec<T>>,
}

/// Pulls all samples of a piece back to level `lowest`; levels below it stay empty.
pub(super) fn pull<T: Real>(
    chain: &Chain<'_, T>,
    weights: &[PullWeights<'_, T>],
    piece: Piece<'_>,
    lowest: usize,
) -> Windows<T> {
    let top = chain.layers().len() - 1;
    let mut levels = vec![Vec::new(); top + 1];
    if lowest <= top {
        levels[top] = pull_unit(chain, &weights[top], piece);
    }
    for level in (lowest..top).rev() {
        levels[level] = pull_layer(chain, &weights[level], piece, level, &levels[level + 1]);
    }
    Windows { levels }
}

/// Pulls back through the last layer. The cotangent of an output is a single number there, so the result is copied weights.
fn pull_unit<T: Real>(chain: &Chain<'_, T>, weights: &PullWeights<'_, T>, piece: Piece<'_>) -> Vec<T> {
    let level = chain.layers().len() - 1;
    let layer = &chain.layers()[level];
    let ([h, w], c, samples) = (piece.size(level), layer.geometry.input[2], chain.samples());
    let [vertical, horizontal] = [Axis::new(&layer.geometry, 0), Axis::new(&layer.geometry, 1)];
    let mut windows = vec![T::default(); piece.ranks.len() * samples * h * w * c];
    for (local, &rank) in piece.ranks.iter().enumerate() {
        let output = piece.plan.outputs()[rank];
        let scale = layer.scale[output.y * layer.geometry.output[1] + output.x];
        for j in 0..h {
            for i in 0..w {
                let Some([y, x]) = piece.place(level, rank, j, i) else { continue };
                let taps = (vertical.tap(output.y as isize, y as isize), horizontal.tap(output.x as isize, x as isize));
                let (Some(ky), Some(kx)) = taps else { continue };
                let row = weights.row(ky, kx, output.channel);
                for n in 0..samples {
                    let factor = scale * chain.output_derivative(n, [output.y, output.x], output.channel);
                    let to = &mut windows[(((local * samples + n) * h + j) * w + i) * c..][..c];
                    write(to, row, factor, derivative_at(chain, level, n, [y, x]));
                }
            }
        }
    }
    windows
}

/// Pulls back from level `level + 1` to `level`. For every position of the window there is one product: the part of the
/// upper window that reads the position, times the weights of the taps in between. It includes the outputs for which the
/// position is on the map.
fn pull_layer<T: Real>(
    chain: &Chain<'_, T>,
    weights: &PullWeights<'_, T>,
    piece: Piece<'_>,
    level: usize,
    above: &[T],
) -> Vec<T> {
    let layer = &chain.layers()[level];
    let ([h, w], [above_h, above_w]) = (piece.size(level), piece.size(level + 1));
    let (ci, co, samples) = (layer.geometry.input[2], layer.geometry.output[2], chain.samples());
    let (above, scale) = scaled(chain, piece, level, above);
    let above_len = above_h * above_w * co;
    let mut windows = vec![T::default(); piece.ranks.len() * samples * h * w * ci];
    let (mut gathered, mut pulled) = (Vec::new(), Vec::new());
    for j in 0..h {
        for i in 0..w {
            let Some([rows, columns]) = readers(piece, level, j, i) else { continue };
            let places: Vec<_> = (piece.ranks.iter().enumerate())
                .filter_map(|(local, &rank)| Some((local, piece.place(level, rank, j, i)?)))
                .collect();
            let (Some(first), Some(last)) = (places.first(), places.last()) else { continue };
            let (count, part) = (places.len() * samples, columns.len * co);
            // The upper windows that read the position; they are used in place if they are contiguous.
            let view = if last.0 - first.0 + 1 == places.len() {
                let start = first.0 * samples * above_len + (rows.start * above_w + columns.start) * co;
                Matrix { data: &above[start..], rows: count, columns: part, stride: above_len }
            } else {
                gathered.clear();
                for (local, _) in &places {
                    for window in above[local * samples * above_len..].chunks(above_len).take(samples) {
                        for j in rows.start..rows.start + rows.len {
                            gathered.extend_from_slice(&window[(j * above_w + columns.start) * co..][..part]);
                        }
                    }
                }
                Matrix { data: &gathered, rows: count, columns: part, stride: rows.len * part }
            };
            let next_row = if view.stride == above_len { above_w * co } else { part };
            pulled.resize(count * ci, T::default());
            for reader in 0..rows.len {
                let a = Matrix { data: &view.data[reader * next_row..], ..view };
                let b = weights.rows(rows.tap_of(reader), columns.tap, columns.len);
                product(&mut pulled[..count * ci], reader > 0, a, Matrix::new(b, part, ci));
            }
            for (place, pulled) in places.iter().zip(pulled.chunks(samples * ci)) {
                for (n, pulled) in pulled.chunks(ci).enumerate() {
                    let to = &mut windows[(((place.0 * samples + n) * h + j) * w + i) * ci..][..ci];
                    write(to, pulled, scale, derivative_at(chain, level, n, place.1));
                }
            }
        }
    }
    windows
}

/// Windows and a factor whose product is the cotangents times the scale of the layer. If the scale is uniform, the windows
/// are unchanged and the factor is the scale.
fn scaled<'w, T: Real>(chain: &Chain<'_, T>, piece: Piece<'_>, level: usize, above: &'w [T]) -> (Cow<'w, [T]>, T) {
    let layer = &chain.layers()[level];
    if layer.scale.iter().all(|&scale| scale == layer.scale[0]) {
        return (Cow::Borrowed(above), layer.scale[0]);
    }
    let ([h, w], [_, map_w, c]) = (piece.size(level + 1), layer.geometry.output);
    let mut scaled = above.to_vec();
    for (position, values) in scaled.chunks_mut(c).enumerate() {
        let rank = piece.ranks[position / (h * w) / chain.samples()];
        // Cotangents off the map are zero, so they need no scale.
        if let Some([y, x]) = piece.place(level + 1, rank, position / w % h, position % w) {
            for value in values {
                *value *= layer.scale[y * map_w + x];
            }
        }
    }
    (Cow::Owned(scaled), T::of(1.0))
}

/// The part of the upper window that reads position `(j, i)` of the window of `level`; it is the same for all outputs of a
/// piece.
pub(super) fn readers(piece: Piece<'_>, level: usize, j: usize, i: usize) -> Option<[Readers; 2]> {
    let (outputs, inputs) = (piece.plan.window(level + 1, piece.ranks[0]), piece.plan.window(level, piece.ranks[0]));
    let layer = &piece.plan.layers()[level];
    let rows = Axis::new(layer, 0).readers(outputs[0], inputs[0].start + j as isize)?;
    let columns = Axis::new(layer, 1).readers(outputs[1], inputs[1].start + i as isize)?;
    Some([rows, columns])
}

fn derivative_at<'c, T: Real>(
    chain: &'c Chain<'_, T>,
    level: usize,
    sample: usize,
    [y, x]: [usize; 2],
) -> Option<&'c [T]> {
    let [h, w, c] = chain.layers()[level].geometry.input;
    chain.derivative(level).map(|values| &values[((sample * h + y) * w + x) * c..][..c])
}

/// Computes `to = factor values derivative`.
fn write<T: Real>(to: &mut [T], values: &[T], factor: T, derivative: Option<&[T]>) {
    match derivative {
        Some(derivative) => {
            for ((to, &value), &derivative) in to.iter_mut().zip(values).zip(derivative) {
                *to = value * factor * derivative;
            }
        }
        None => {
            for (to, &value) in to.iter_mut().zip(values) {
                *to = value * factor;
            }
        }
    }
}
