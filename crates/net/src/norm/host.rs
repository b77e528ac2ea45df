//! Normalization by loops over host memory, with two passes forward and two backward on all processors. Tensor operations
//! would take nine passes on one processor (`benches/RESULTS.md`).

use burn::tensor::{Element as _, Tensor};
use rayon::prelude::*;

use super::Moments;
use crate::host::{HostNumber, HostValues, tensor, with_type, with_widest_vectors, written_in_chunks};

/// Number of rows that are summed in the precision of the values. These partial sums are then summed in f64 in a fixed order,
/// so that results do not depend on the number of threads.
const ROWS: usize = 256;

/// Computes [`normalize`](super::normalize) on the host, in the memory of x if no other tensor uses that.
pub(super) fn normalize(x: Tensor<2>, over: usize, eps: f64) -> (Tensor<2>, Moments) {
    with_type!(x.dtype(), T => {
        let ([outer, inner], device) = (x.dims(), x.device());
        let mut data = x.into_data();
        let values: &mut [T] = data.as_mut_slice().expect("the type was just asked for");
        let (mean, variance) = if over == 0 { by_columns(values, inner, eps) } else { by_rows(values, inner, eps) };
        let x_hat = Tensor::from_data(data, (&device, T::dtype()));
        let shape = if over == 0 { [1, inner] } else { [outer, 1] };
        let inverse: Vec<f64> = variance.iter().map(|&variance| inverse_std(variance, eps)).collect();
        let [mean, variance, inverse_std] =
            [mean, variance, inverse].map(|values| tensor(numbers::<T>(&values), shape, &x_hat));
        (x_hat, Moments { mean, variance, inverse_std })
    })
}

/// `scales · x̂ + shifts`
///
/// # Shapes
/// - `x_hat`: `[outer, inner]`; `scales`, `shifts`: `[1, inner]`
pub(super) fn scaled_and_shifted(x_hat: &Tensor<2>, scales: &Tensor<2>, shifts: &Tensor<2>) -> Tensor<2> {
    with_type!(x_hat.dtype(), T => {
        let [outer, inner] = x_hat.dims();
        let [values, scales, shifts] = [x_hat, scales, shifts].map(HostValues::of);
        let (values, scales, shifts) = (values.slice::<T>(), scales.slice::<T>(), shifts.slice::<T>());
        let chunk = ROWS * inner;
        let y = written_in_chunks(outer * inner, chunk, || (), #[inline(always)] |(), i, y: &mut [T]| {
            for (y, x) in y.chunks_exact_mut(inner).zip(values[i * chunk..].chunks_exact(inner)) {
                let columns = y.iter_mut().zip(x).zip(scales.iter().zip(shifts));
                columns.for_each(|((y, &x), (&scale, &shift))| *y = x * scale + shift);
            }
        });
        tensor(y, [outer, inner], x_hat)
    })
}

/// The sums over all rows of `d` and of `d x̂`, the cotangents of shifts and scales.
///
/// # Shapes
/// - `d`, `x_hat`: `[outer, inner]`; returns `[1, inner]` twice
pub(super) fn sums(d: &Tensor<2>, x_hat: &Tensor<2>) -> [Tensor<2>; 2] {
    with_type!(d.dtype(), T => {
        let [_, inner] = d.dims();
        let [values, along] = [d, x_hat].map(HostValues::of);
        let sums = column_sums(values.slice::<T>(), along.slice::<T>(), inner);
        sums.map(|sums| tensor(numbers::<T>(&sums), [1, inner], d))
    })
}

/// Computes [`Normalized::derivative`](super::Normalized::derivative) of `scales · d` on the host, in the memory of d if no other
/// tensor uses that.
pub(super) fn derivative(
    x_hat: &Tensor<2>,
    inverse_std: &Tensor<2>,
    over: usize,
    scales: Option<&Tensor<2>>,
    d: Tensor<3>,
) -> Tensor<3> {
    with_type!(d.dtype(), T => {
        let ([_, outer, inner], device) = (d.dims(), d.device());
        let ([x_hat, inverse_std], scales) = ([x_hat, inverse_std].map(HostValues::of), scales.map(HostValues::of));
        let (x_hat, inverse_std) = (x_hat.slice::<T>(), inverse_std.slice::<T>());
        let scales = scales.as_ref().map(HostValues::slice::<T>);
        let mut data = d.into_data();
        let values: &mut [T] = data.as_mut_slice().expect("the type was just asked for");
        values.par_chunks_exact_mut(outer * inner).for_each(|d| {
            if over == 0 {
                derived_by_columns(d, x_hat, inverse_std, scales);
            } else {
                let rows = d.par_chunks_exact_mut(inner).zip(x_hat.par_chunks_exact(inner)).zip(inverse_std);
                rows.for_each(|((d, x_hat), &inverse_std)| derived_row(d, x_hat, inverse_std, scales));
            }
        });
        Tensor::from_data(data, (&device, T::dtype()))
    })
}

/// Normalizes columns in place and returns their means and variances.
///
/// Means and sums of squared differences of blocks that fit into the cache are merged in f64 (Chan, Golub and LeVeque 1983), so
/// one pass over the memory is as accurate as two.
fn by_columns<T: HostNumber>(values: &mut [T], inner: usize, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let parts = values.par_chunks(ROWS * inner).map(|block| {
        with_widest_vectors(
            #[inline(always)]
            || {
                let rows = block.len() / inner;
                let mut sums = vec![T::default(); inner];
                for row in block.chunks_exact(inner) {
                    sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
                }
                let factor = T::of(1.0 / rows as f64);
                let mean: Vec<T> = sums.iter().map(|&sum| sum * factor).collect();
                sums.fill(T::default());
                // The rounding of the block's mean is made good by the sum of differences, which it should make zero.
                let mut rest = vec![T::default(); inner];
                for row in block.chunks_exact(inner) {
                    let columns = sums.iter_mut().zip(&mut rest).zip(row.iter().zip(&mean));
                    columns.for_each(|((square, rest), (&x, &mean))| {
                        let difference = x - mean;
                        *rest += difference;
                        *square += difference * difference;
                    });
                }
                (rows as f64, mean, rest, sums)
            },
        )
    });
    let parts: Vec<_> = parts.collect();
    let (mut mean, mut squares, mut count) = (vec![0.0; inner], vec![0.0; inner], 0.0);
    for (rows, block_mean, rest, block_squares) in parts {
        let total = count + rows;
        for j in 0..inner {
            let rest = rest[j].double() / rows;
            let delta = block_mean[j].double() + rest - mean[j];
            mean[j] += delta * rows / total;
            squares[j] += block_squares[j].double() - rows * rest * rest + delta * delta * count * rows / total;
        }
        count = total;
    }
    let variance: Vec<f64> = squares.iter().map(|square| (square / count).max(0.0)).collect();
    let factors: Vec<T> = variance.iter().map(|&variance| T::of(inverse_std(variance, eps))).collect();
    let centre = numbers::<T>(&mean);
    values.par_chunks_mut(ROWS * inner).for_each(|block| {
        with_widest_vectors(
            #[inline(always)]
            || {
                for row in block.chunks_exact_mut(inner) {
                    let columns = row.iter_mut().zip(centre.iter().zip(&factors));
                    columns.for_each(|(x, (&centre, &factor))| *x = (*x - centre) * factor);
                }
            },
        );
    });
    (mean, variance)
}

/// Normalizes rows in place and returns their means and variances.
fn by_rows<T: HostNumber>(values: &mut [T], inner: usize, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let each = values.par_chunks_exact_mut(inner).map(|row| {
        let mean = sum(row, |x| x) / inner as f64;
        let centre = T::of(mean);
        for x in row.iter_mut() {
            *x -= centre;
        }
        let variance = sum(row, |x| x * x) / inner as f64;
        let factor = T::of(inverse_std(variance, eps));
        for x in row {
            *x *= factor;
        }
        (mean, variance)
    });
    each.unzip()
}

fn derived_by_columns<T: HostNumber>(d: &mut [T], x_hat: &[T], inverse_std: &[T], scales: Option<&[T]>) {
    let inner = inverse_std.len();
    let outer = (d.len() / inner) as f64;
    // The mean of `scales · d` is `scales` times the mean of d.
    let [mean, along] = column_sums(d, x_hat, inner).map(|sums| {
        let means: Vec<f64> = sums.into_iter().map(|sum| sum / outer).collect();
        numbers::<T>(&means)
    });
    let factors: Vec<T> = match scales {
        Some(scales) => inverse_std.iter().zip(scales).map(|(&inverse_std, &scale)| inverse_std * scale).collect(),
        None => inverse_std.to_vec(),
    };
    d.par_chunks_mut(ROWS * inner).zip(x_hat.par_chunks(ROWS * inner)).for_each(|(d, x_hat)| {
        with_widest_vectors(
            #[inline(always)]
            || {
                for (d, x_hat) in d.chunks_exact_mut(inner).zip(x_hat.chunks_exact(inner)) {
                    let columns = d.iter_mut().zip(x_hat).zip(mean.iter().zip(&along).zip(&factors));
                    columns.for_each(|((d, &x_hat), ((&mean, &along), &factor))| {
                        *d = (*d - mean - x_hat * along) * factor;
                    });
                }
            },
        );
    });
}

fn derived_row<T: HostNumber>(d: &mut [T], x_hat: &[T], inverse_std: T, scales: Option<&[T]>) {
    if let Some(scales) = scales {
        d.iter_mut().zip(scales).for_each(|(d, &scale)| *d *= scale);
    }
    let inner = d.len() as f64;
    let mean = T::of(sum(d, |d| d) / inner);
    let products: f64 = d.chunks(ROWS).zip(x_hat.chunks(ROWS)).map(|(d, x_hat)| dot(d, x_hat)).sum();
    let along = T::of(products / inner);
    d.iter_mut().zip(x_hat).for_each(|(d, &x_hat)| *d = (*d - mean - x_hat * along) * inverse_std);
}

/// Sums over all rows of `d` and of `d x̂`.
fn column_sums<T: HostNumber>(d: &[T], x_hat: &[T], inner: usize) -> [Vec<f64>; 2] {
    let parts = d.par_chunks(ROWS * inner).zip(x_hat.par_chunks(ROWS * inner)).map(|(d, x_hat)| {
        with_widest_vectors(
            #[inline(always)]
            || {
                let (mut sums, mut products) = (vec![T::default(); inner], vec![T::default(); inner]);
                for (d, x_hat) in d.chunks_exact(inner).zip(x_hat.chunks_exact(inner)) {
                    let columns = sums.iter_mut().zip(&mut products).zip(d.iter().zip(x_hat));
                    columns.for_each(|((sum, product), (&d, &x_hat))| {
                        *sum += d;
                        *product += d * x_hat;
                    });
                }
                [sums, products]
            },
        )
    });
    let mut total = [vec![0.0; inner], vec![0.0; inner]];
    for part in parts.collect::<Vec<_>>() {
        for (total, part) in total.iter_mut().zip(part) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part.double());
        }
    }
    total
}

fn inverse_std(variance: f64, eps: f64) -> f64 {
    1.0 / (variance + eps).sqrt()
}

fn sum<T: HostNumber>(row: &[T], term: impl Fn(T) -> T) -> f64 {
    let part = |values: &[T]| {
        let mut sum = T::default();
        for &x in values {
            sum += term(x);
        }
        sum.double()
    };
    row.chunks(ROWS).map(part).sum()
}

fn dot<T: HostNumber>(a: &[T], b: &[T]) -> f64 {
    let mut sum = T::default();
    a.iter().zip(b).for_each(|(&a, &b)| sum += a * b);
    sum.double()
}

fn numbers<T: HostNumber>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::of(value)).collect()
}
