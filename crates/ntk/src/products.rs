//! Matrix products whose long sums are computed in blocks.

use burn::tensor::{DType, Element, Tensor};
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par};
use gemm_common::cache::{CACHE_INFO, kernel_params};
use rayon::prelude::*;
use triangular::BlockStructure::{Rectangular, TriangularLower};

use crate::cones::Real;

/// Number of terms that are summed in the precision of the device; the sums of such blocks are added in f64.
///
/// A sum of 10⁸ positive terms in one f32 product lost 0.4 % in a measurement. With blocks of this length, f32 kernels agree
/// with f64 kernels to 10⁻⁶.
const BLOCK: usize = 4096;

/// Smallest number of multiply-adds for which a product uses several threads.
const PARALLEL: usize = 1 << 23;

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
pub(crate) fn products(x: Tensor<3>, y: Option<Tensor<3>>, batch: Batch, by: By) -> Vec<f64> {
    match (by, x.dtype()) {
        (By::Device, _) => on_device(&x, y.as_ref().unwrap_or(&x), batch),
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

fn on_host<T: Real + Element>(x: Tensor<3>, y: Option<Tensor<3>>, batch: Batch) -> Vec<f64> {
    let ([b, m, k], n) = (x.dims(), y.as_ref().unwrap_or(&x).dims()[1]);
    let mut sums = zeros(batch, [b, m, n]);
    if k == 0 || sums.is_empty() {
        return sums;
    }
    let (first, second) = (x.into_data(), y.map(Tensor::into_data));
    let first: &[T] = first.as_slice().expect("the type was just asked for");
    let second: Option<&[T]> = second.as_ref().map(|data| data.as_slice().expect("both sides have one type"));
    let pair = |i: usize| (&first[i * m * k..(i + 1) * m * k], second.map(|all| &all[i * n * k..(i + 1) * n * k]));
    // Either all threads work on one product, or several products run in parallel.
    let par = if m * n * k.min(BLOCK) >= PARALLEL { Par::rayon(0) } else { Par::Seq };
    match batch {
        Batch::Kept if par == Par::Seq && b * m * n * k >= PARALLEL => {
            sums.par_chunks_mut(m * n).enumerate().for_each(|(i, sum)| add_product(sum, pair(i), [m, n, k], par));
        }
        Batch::Kept => {
            let each = sums.chunks_mut(m * n).enumerate();
            each.for_each(|(i, sum)| add_product(sum, pair(i), [m, n, k], par));
        }
        Batch::Summed => (0..b).for_each(|i| add_product(&mut sums, pair(i), [m, n, k], par)),
    }
    if second.is_none() {
        sums.chunks_mut(m * m).for_each(|sum| mirror(sum, m));
    }
    sums
}

/// `sum += x yᵀ`; without `y`, the part of `x xᵀ` on and below the diagonal.
fn add_product<T: Real>(sum: &mut [f64], (x, y): (&[T], Option<&[T]>), [m, n, k]: [usize; 3], par: Par) {
    let mut block = vec![T::default(); m * n];
    for start in (0..k).step_by(BLOCK) {
        let len = BLOCK.min(k - start);
        let [left, right] = [(x, m), (y.unwrap_or(x), n)]
            .map(|(all, rows)| MatRef::from_row_major_slice_with_stride(&all[start..], rows, len, k));
        let to = MatMut::from_row_major_slice_mut(&mut block, m, n);
        let (one, replace) = (T::of(1.0), Accum::Replace);
        if y.is_some() {
            matmul(to, replace, left, right.transpose(), one, par);
            sum.iter_mut().zip(&block).for_each(|(sum, value)| *sum += value.double());
            continue;
        }
        triangular::matmul(to, TriangularLower, replace, left, Rectangular, right.transpose(), Rectangular, one, par);
        for (i, (sum, row)) in sum.chunks_mut(n).zip(block.chunks(n)).enumerate() {
            sum[..=i].iter_mut().zip(row).for_each(|(sum, value)| *sum += value.double());
        }
    }
}

/// Copies the part below the diagonal to the part above, in squares that fit into the cache.
fn mirror(matrix: &mut [f64], n: usize) {
    const SQUARE: usize = 32;
    for (top, left) in (0..n).step_by(SQUARE).flat_map(|i| (0..=i).step_by(SQUARE).map(move |j| (i, j))) {
        for i in top..n.min(top + SQUARE) {
            for j in left..i.min(left + SQUARE) {
                matrix[j * n + i] = matrix[i * n + j];
            }
        }
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
