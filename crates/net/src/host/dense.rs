//! Products of dense layers, and sums of columns.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::matrix::Threads;
use super::{HostNumber, HostValues, Matrix, SMALL, add_product, set_product, tensor, with_type, with_widest_vectors};

/// Number of rows of a matrix whose columns one task sums.
const ROWS: usize = 256;

/// `factor · x w + bias`
///
/// # Shapes
/// - `x`: `[rows, k]`; `w`: `[k, n]`, or `[n, k]` if it is transposed; `bias`: `[1, c]`, repeated `n / c` times
pub(crate) fn dense(
    x: &Tensor<2>,
    w: &Tensor<2>,
    transposed: bool,
    factor: f64,
    bias: Option<&Tensor<2>>,
) -> Tensor<2> {
    with_type!(x.dtype(), T => {
        let ([rows, k], [a, b]) = (x.dims(), w.dims());
        let n = if transposed { a } else { b };
        let (x_values, w_values, bias) = (HostValues::of(x), HostValues::of(w), bias.map(HostValues::of));
        let mut y = match &bias {
            Some(bias) => {
                let bias = bias.slice::<T>();
                bias.repeat(rows * n / bias.len())
            }
            None => vec![T::default(); rows * n],
        };
        let w = Matrix::new(w_values.slice::<T>(), a, b);
        let w = if transposed { w.transposed() } else { w };
        add_product(&mut y, T::of(factor), Matrix::new(x_values.slice(), rows, k), w, Threads::All);
        tensor(y, [rows, n], x)
    })
}

/// `factor · dy wᵀ`, the cotangent of x.
pub(crate) fn dense_inputs(dy: &Tensor<2>, w: &Tensor<2>, factor: f64) -> Tensor<2> {
    let ([rows, n], [k, _]) = (dy.dims(), w.dims());
    if 4 * rows > k {
        return dense(dy, w, true, factor, None);
    }
    // For few rows and a large matrix, the product is faster if the rows are the operand that is read against its memory
    // order: with 128 rows and 4096 columns it takes half the time (benches/RESULTS.md).
    with_type!(dy.dtype(), T => {
        let (dy_values, w_values) = (HostValues::of(dy), HostValues::of(w));
        let mut turned = vec![T::default(); k * rows];
        let (left, right) = (Matrix::new(w_values.slice(), k, n), Matrix::new(dy_values.slice::<T>(), rows, n));
        set_product(&mut turned, T::of(factor), left, right.transposed(), Threads::All);
        let dx: Tensor<2> = tensor(turned, [k, rows], dy);
        dx.transpose()
    })
}

/// `factor · xᵀ dy`, the cotangent of w.
pub(crate) fn dense_weights(x: &Tensor<2>, dy: &Tensor<2>, factor: f64) -> Tensor<2> {
    with_type!(x.dtype(), T => {
        let ([rows, k], [_, n]) = (x.dims(), dy.dims());
        let (x_values, dy_values) = (HostValues::of(x), HostValues::of(dy));
        let mut w = vec![T::default(); k * n];
        let left = Matrix::new(x_values.slice::<T>(), rows, k).transposed();
        set_product(&mut w, T::of(factor), left, Matrix::new(dy_values.slice(), rows, n), Threads::All);
        tensor(w, [k, n], x)
    })
}

/// `factor · Σ` over all rows: `[rows, columns]` to `[1, columns]`.
pub(crate) fn columns_summed(x: &Tensor<2>, factor: f64) -> Tensor<2> {
    with_type!(x.dtype(), T => {
        let [_, columns] = x.dims();
        let values = HostValues::of(x);
        let sums = column_sums(values.slice::<T>(), columns);
        tensor(sums.into_iter().map(|sum| T::of(factor * sum)).collect(), [1, columns], x)
    })
}

/// Sums of columns; blocks of rows are summed in the precision of the values and added in f64.
fn column_sums<T: HostNumber>(values: &[T], columns: usize) -> Vec<f64> {
    let sum = |rows: &[T]| {
        with_widest_vectors(
            #[inline(always)]
            || {
                let mut sums = vec![T::default(); columns];
                for row in rows.chunks_exact(columns) {
                    sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
                }
                sums
            },
        )
    };
    let parts: Vec<Vec<T>> = if values.len() <= SMALL {
        values.chunks(ROWS * columns).map(sum).collect()
    } else {
        values.par_chunks(ROWS * columns).map(sum).collect()
    };
    let mut total = vec![0.0; columns];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part.double());
    }
    total
}
