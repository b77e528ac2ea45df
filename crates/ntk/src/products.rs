//! Matrix products whose long sums are computed in blocks.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use faer::linalg::matmul::{matmul, triangular};
use faer::prelude::ReborrowMut as _;
use faer::{Accum, MatMut, MatRef, Par};
use fintan_net::{HostNumber, HostValues};
use gemm_common::cache::{CACHE_INFO, kernel_params};
use rayon::prelude::*;
use triangular::BlockStructure::{Rectangular, TriangularLower};

use crate::cones::Real;

/// Number of terms that are summed in the precision of the device; the sums of such blocks are added in f64.
///
/// A sum of 10⁸ positive terms in one f32 product lost 0.4 % in a measurement. With blocks of this length, f32 kernels agree
/// with f64 kernels to 10⁻⁶.
const BLOCK: usize = 4096;

/// Smallest number of multiply-adds of a task.
const PARALLEL: usize = 1 << 21;

/// Smallest number of rows of a task.
const BAND: usize = 96;

/// Smallest number of entries of a task that copies or multiplies them one by one.
pub(crate) const ENTRIES: usize = 1 << 15;

/// Bytes that each thread keeps for matrix products of this program's loops and of Burn: one second-level cache.
pub(crate) fn kept_by_thread() -> f64 {
    CACHE_INFO[1].cache_bytes as f64
}

/// An upper bound for the number of values in the copies that a product `[m, k] [k, n]` makes of values of `size` bytes. The
/// copies are of one factor, some terms at a time, and of a few rows of the other. Which factor is copied depends on the
/// layouts, the number of terms on the caches.
pub(crate) fn packed([m, n]: [usize; 2], k: usize, size: usize) -> f64 {
    let k = k.min(BLOCK);
    if m == 0 || n == 0 || k == 0 {
        return 0.0;
    }
    // The largest register blocks, those of 512-bit vectors.
    let (rows, columns) = (192 / size, 8);
    let params = kernel_params(m.max(n), m.max(n), k, rows, columns, size);
    ((m.max(n) + columns + 2 * params.mc) * params.kc) as f64
}

/// Where products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// On the device of the tensors.
    Device,
    /// By loops over host memory, for CPU backends; for `x xᵀ` only one half is computed.
    Host,
}

/// How the products of a batch are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// All products: `[b, m, n]`.
    Kept,
    /// Their sum: `[m, n]`.
    Summed,
}

/// `x yᵀ`, or `x xᵀ` without `y`, for batched `[b, m, k]` and `[b, n, k]`; the result is on the host.
pub(crate) fn products(x: &Tensor<3>, y: Option<&Tensor<3>>, batch: Batch, by: By) -> Vec<f64> {
    match (by, x.dtype()) {
        (By::Device, _) => on_device(x, y.unwrap_or(x), batch),
        (By::Host, DType::F64) => on_host::<f64>(x, y, batch),
        (By::Host, _) => on_host::<f32>(x, y, batch),
    }
}

fn on_device(x: &Tensor<3>, y: &Tensor<3>, batch: Batch) -> Vec<f64> {
    let ([b, m, k], n) = (x.dims(), y.dims()[1]);
    let mut sums = zeros(batch, [b, m, n]);
    for start in (0..k).step_by(BLOCK) {
        let len = BLOCK.min(k - start);
        let block = |t: &Tensor<3>| if len == k { t.clone() } else { t.clone().narrow(2, start, len) };
        let product = numbers(block(x).matmul(block(y).transpose()));
        let parts = product.chunks(sums.len().max(1));
        parts.for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value));
    }
    sums
}

fn zeros(batch: Batch, [b, m, n]: [usize; 3]) -> Vec<f64> {
    vec![0.0; if batch == Batch::Summed { m * n } else { b * m * n }]
}

fn on_host<T: Real + HostNumber>(x: &Tensor<3>, y: Option<&Tensor<3>>, batch: Batch) -> Vec<f64> {
    let ([b, m, k], n) = (x.dims(), y.unwrap_or(x).dims()[1]);
    let mut sums = zeros(batch, [b, m, n]);
    if k == 0 || sums.is_empty() {
        return sums;
    }
    let (first, second) = (HostValues::of(x), y.map(HostValues::of));
    let (first, second) = (first.slice::<T>(), second.as_ref().map(HostValues::slice::<T>));
    let pair = |i: usize| (&first[i * m * k..(i + 1) * m * k], second.map(|all| &all[i * n * k..(i + 1) * n * k]));
    let bands = bands(m, m * n * k.min(BLOCK) * if batch == Batch::Summed { b } else { 1 }, second.is_none());
    let tasks: Vec<(usize, Range<usize>, &mut [f64])> = sums
        .chunks_mut(m * n)
        .enumerate()
        .flat_map(|(i, sum)| {
            let mut rest = sum;
            let cut = |rows: &Range<usize>| {
                let (band, after) = std::mem::take(&mut rest).split_at_mut(rows.len() * n);
                rest = after;
                (i, rows.clone(), band)
            };
            bands.iter().map(cut).collect::<Vec<_>>()
        })
        .collect();
    let add = |(i, rows, sum): (usize, Range<usize>, &mut [f64])| {
        let pairs = if batch == Batch::Summed { 0..b } else { i..i + 1 };
        let mut block = vec![T::default(); rows.len() * n];
        pairs.for_each(|i| add_product(sum, &mut block, pair(i), rows.clone(), [n, k]));
    };
    if b * m * n * k < PARALLEL {
        tasks.into_iter().for_each(add);
    } else {
        tasks.into_par_iter().with_min_len(PARALLEL.div_ceil(m * n * k)).for_each(add);
    }
    if second.is_none() {
        sums.chunks_mut(m * m).for_each(|sum| mirror(sum, m, 0));
    }
    sums
}

/// The ranges of rows that are computed by one task each, with about equal work; below a diagonal, the last rows are the longest.
///
/// They follow from the product alone and not from the number of threads, because the order of a sum in the product of two
/// matrices depends on their sizes.
fn bands(rows: usize, work: usize, triangle: bool) -> Vec<Range<usize>> {
    let count = (rows / BAND).min(work / PARALLEL).clamp(1, 16);
    let end = |i: usize| {
        let share = i as f64 / count as f64;
        let end = rows as f64 * if triangle { share.sqrt() } else { share };
        // Whole register blocks, except at the end.
        if i == count { rows } else { (end as usize).next_multiple_of(24).min(rows) }
    };
    (0..count).map(|i| end(i)..end(i + 1)).filter(|band| !band.is_empty()).collect()
}

/// Reads some rows of a matrix of rows of length k, and of them the terms `start .. start + len`.
fn terms<T: Real>([start, len, k]: [usize; 3]) -> impl Fn(&[T], Range<usize>) -> MatRef<'_, T> {
    move |all, rows| MatRef::from_row_major_slice_with_stride(&all[rows.start * k + start..], rows.len(), len, k)
}

/// `sum += x yᵀ` for some rows; without `y`, the part of `x xᵀ` on and below the diagonal. `block` is memory of the size of `sum`.
fn add_product<T: Real>(
    sum: &mut [f64],
    block: &mut [T],
    (x, y): (&[T], Option<&[T]>),
    rows: Range<usize>,
    [n, k]: [usize; 2],
) {
    let (one, replace, par) = (T::of(1.0), Accum::Replace, Par::Seq);
    for start in (0..k).step_by(BLOCK) {
        let len = BLOCK.min(k - start);
        let part = terms::<T>([start, len, k]);
        let left = part(x, rows.clone());
        let mut to = MatMut::from_row_major_slice_mut(block, rows.len(), n);
        if let Some(y) = y {
            matmul(to, replace, left, part(y, 0..n).transpose(), one, par);
            sum.iter_mut().zip(&*block).for_each(|(sum, value)| *sum += value.double());
            continue;
        }
        if rows.start > 0 {
            let before = to.rb_mut().submatrix_mut(0, 0, rows.len(), rows.start);
            matmul(before, replace, left, part(x, 0..rows.start).transpose(), one, par);
        }
        let to = to.submatrix_mut(0, rows.start, rows.len(), rows.len());
        triangular::matmul(to, TriangularLower, replace, left, Rectangular, left.transpose(), Rectangular, one, par);
        for (i, (sum, row)) in sum.chunks_mut(n).zip(block.chunks(n)).enumerate() {
            sum[..=rows.start + i].iter_mut().zip(row).for_each(|(sum, value)| *sum += value.double());
        }
    }
}

/// Copies the part below the diagonal to the part above. `rows` are the rows of a matrix from row `first` on, to its last.
fn mirror(rows: &mut [f64], n: usize, first: usize) {
    const SQUARE: usize = 32;
    let count = rows.len() / n;
    if count <= SQUARE {
        for (i, j) in (0..count).flat_map(|i| (0..i).map(move |j| (i, j))) {
            rows[j * n + first + i] = rows[i * n + first + j];
        }
        return;
    }
    let half = (count / 2).next_multiple_of(SQUARE);
    let (top, bottom) = rows.split_at_mut(half * n);
    // In squares that fit into the cache.
    top.par_chunks_mut(SQUARE * n).enumerate().with_min_len(ENTRIES.div_ceil(SQUARE * n)).for_each(|(square, top)| {
        for (i, bottom) in bottom.chunks(SQUARE * n).enumerate() {
            let from = first + half + i * SQUARE;
            for (row, top) in top.chunks_mut(n).enumerate() {
                let column = bottom[first + square * SQUARE + row..].iter().step_by(n);
                top[from..].iter_mut().zip(column).for_each(|(to, &value)| *to = value);
            }
        }
    });
    let (above, below) = (|rows: &mut [f64]| mirror(rows, n, first), |rows: &mut [f64]| mirror(rows, n, first + half));
    if count * count < ENTRIES {
        above(top);
        below(bottom);
    } else {
        rayon::join(|| above(top), || below(bottom));
    }
}

/// Copies the values of a tensor to the host.
pub(crate) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    let data = x.into_data();
    if data.dtype() == DType::F64 {
        return data.try_into_vec().expect("the type was just asked for");
    }
    data.as_slice::<f32>().expect("networks are F32 or F64").iter().map(|&v| v.into()).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Bands of rows must not change a sum: kernels have equal bytes on machines with different numbers of cores.
    #[test]
    fn products_have_the_same_bytes_for_any_number_of_threads_and_are_symmetric() {
        let (b, m, k) = (3, 333, 200);
        let values = |seed: usize| -> Tensor<3> {
            let values: Vec<f32> = (0..b * m * k).map(|i| ((i * 7919 + seed) % 2003) as f32 / 1000.0 - 1.0).collect();
            Tensor::from_data(TensorData::new(values, [b, m, k]), &Device::flex())
        };
        let (x, y) = (values(0), values(5));
        let with = |threads: usize, y: Option<&Tensor<3>>, batch| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| products(&x, y, batch, By::Host))
        };
        for batch in [Batch::Kept, Batch::Summed] {
            for second in [None, Some(&y)] {
                let one = with(1, second, batch);
                assert!((2..9).all(|threads| with(threads, second, batch) == one), "{batch:?}");
                let exact = on_device(&x, second.unwrap_or(&x), batch);
                assert!(one.iter().zip(&exact).all(|(one, exact)| (one - exact).abs() < 1e-4), "{batch:?}");
            }
            let own = with(2, None, batch);
            let at = |matrix: usize, i: usize, j: usize| own[(matrix * m + i) * m + j];
            let all = (0..own.len() / (m * m)).flat_map(|a| (0..m * m).map(move |ij| (a, ij / m, ij % m)));
            assert!(all.into_iter().all(|(a, i, j)| at(a, i, j) == at(a, j, i)));
        }
    }
}
