//! Fills the second half of a symmetric matrix.

use rayon::prelude::*;

use super::super::real::Real;

/// Side of the squares that are transposed at a time: two squares fit into the cache.
const SQUARE: usize = 64;

/// Copies the part right of the diagonal to the left: `rows[b][places[a]] = rows[a][places[b]]` for `a < b`.
pub(super) fn mirror<T: Real>(rows: &mut [&mut [T]], places: &[usize]) {
    if rows.len() <= SQUARE {
        for b in 1..rows.len() {
            let (before, row) = rows.split_at_mut(b);
            for (row_a, &place) in before.iter().zip(places) {
                row[0][place] = row_a[places[b]];
            }
        }
        return;
    }
    let half = rows.len().div_ceil(2 * SQUARE) * SQUARE;
    let (upper, lower) = rows.split_at_mut(half);
    let (upper_places, lower_places) = places.split_at(half);
    transpose(upper, lower, upper_places, lower_places);
    rayon::join(|| mirror(upper, upper_places), || mirror(lower, lower_places));
}

/// Copies a transposed block: `lower[b][upper_places[a]] = upper[a][lower_places[b]]`.
pub(super) fn transpose<T: Real>(
    upper: &[&mut [T]],
    lower: &mut [&mut [T]],
    upper_places: &[usize],
    lower_places: &[usize],
) {
    let strips = lower.par_chunks_mut(SQUARE).zip(lower_places.par_chunks(SQUARE));
    strips.for_each(|(strip, strip_places)| {
        for (square, square_places) in upper.chunks(SQUARE).zip(upper_places.chunks(SQUARE)) {
            for (row, &b) in strip.iter_mut().zip(strip_places) {
                for (row_a, &a) in square.iter().zip(square_places) {
                    row[a] = row_a[b];
                }
            }
        }
    });
}
