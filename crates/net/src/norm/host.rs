//! Normalization by loops over host memory, with three passes forward and two backward on all processors. Tensor operations
//! would take nine passes on one processor (`benches/RESULTS.md`).

use std::ops::{AddAssign, Mul, Sub};

use burn::tensor::{DType, Element, ElementConversion as _, Tensor, TensorData};
use rayon::prelude::*;

use super::Moments;

/// Number of rows that are summed in the precision of the values. These partial sums are then summed in f64 in a fixed order,
/// so that results do not depend on the number of threads.
const ROWS: usize = 256;

/// The floating-point types f32 and f64, with the operations that the loops need.
trait Float: Element + Default + AddAssign + Sub<Output = Self> + Mul<Output = Self> {}

impl<T: Element + Default + AddAssign + Sub<Output = T> + Mul<Output = T>> Float for T {}

fn of<T: Float>(value: f64) -> T {
    value.elem()
}

/// Computes [`normalize`](super::normalize) on the host.
pub(super) fn normalize(x: Tensor<2>, over: usize, eps: f64) -> (Tensor<2>, Moments) {
    if x.dtype() == DType::F64 { normalized::<f64>(x, over, eps) } else { normalized::<f32>(x, over, eps) }
}

/// Computes [`Normalized::derivative`](super::Normalized::derivative) on the host.
pub(super) fn derivative(x_hat: Tensor<2>, inverse_std: Tensor<2>, over: usize, d: Tensor<3>) -> Tensor<3> {
    if d.dtype() == DType::F64 {
        derived::<f64>(x_hat, inverse_std, over, d)
    } else {
        derived::<f32>(x_hat, inverse_std, over, d)
    }
}

fn normalized<T: Float>(x: Tensor<2>, over: usize, eps: f64) -> (Tensor<2>, Moments) {
    let ([outer, inner], device, dtype) = (x.dims(), x.device(), x.dtype());
    let mut data = x.into_data();
    let values = slice_mut::<T>(&mut data);
    let (mean, variance) = if over == 0 { by_columns(values, inner, eps) } else { by_rows(values, inner, eps) };
    let shape = if over == 0 { [1, inner] } else { [outer, 1] };
    let tensor = |values: &[f64]| Tensor::from_data(TensorData::new(numbers::<T>(values), shape), (&device, dtype));
    let inverse_std: Vec<f64> = variance.iter().map(|&variance| inverse_std(variance, eps)).collect();
    let moments = Moments { mean: tensor(&mean), variance: tensor(&variance), inverse_std: tensor(&inverse_std) };
    (Tensor::from_data(data, (&device, dtype)), moments)
}

/// Normalizes columns in place and returns their means and variances.
fn by_columns<T: Float>(values: &mut [T], inner: usize, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let mean = column_means(values, inner, |x| x);
    change_columns(values, &numbers(&mean), |x, mean| x - mean);
    let variance = column_means(values, inner, |x| x * x);
    let factors: Vec<T> = variance.iter().map(|&variance| of(inverse_std(variance, eps))).collect();
    change_columns(values, &factors, |x, factor| x * factor);
    (mean, variance)
}

fn column_means<T: Float>(values: &[T], inner: usize, term: impl Fn(T) -> T + Sync) -> Vec<f64> {
    let sums = values.par_chunks(ROWS * inner).map(|rows| {
        let mut sums = vec![T::default(); inner];
        for row in rows.chunks_exact(inner) {
            sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += term(x));
        }
        sums
    });
    total(&sums.collect::<Vec<_>>(), inner, (values.len() / inner) as f64)
}

fn change_columns<T: Float>(values: &mut [T], by: &[T], change: impl Fn(T, T) -> T + Sync) {
    values.par_chunks_mut(ROWS * by.len()).for_each(|rows| {
        for row in rows.chunks_exact_mut(by.len()) {
            row.iter_mut().zip(by).for_each(|(x, &by)| *x = change(*x, by));
        }
    });
}

/// Normalizes rows in place and returns their means and variances.
fn by_rows<T: Float>(values: &mut [T], inner: usize, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let each = values.par_chunks_mut(inner).map(|row| {
        let mean = sum(row, |x| x) / inner as f64;
        let centre = of(mean);
        for x in row.iter_mut() {
            *x = *x - centre;
        }
        let variance = sum(row, |x| x * x) / inner as f64;
        let factor = of(inverse_std(variance, eps));
        for x in row {
            *x = *x * factor;
        }
        (mean, variance)
    });
    each.unzip()
}

fn derived<T: Float>(x_hat: Tensor<2>, inverse_std: Tensor<2>, over: usize, d: Tensor<3>) -> Tensor<3> {
    let ([_, outer, inner], device, dtype) = (d.dims(), d.device(), d.dtype());
    let (x_hat, inverse_std, mut data) = (x_hat.into_data(), inverse_std.into_data(), d.into_data());
    let (x_hat, inverse_std) = (slice::<T>(&x_hat), slice::<T>(&inverse_std));
    slice_mut::<T>(&mut data).par_chunks_mut(outer * inner).for_each(|d| {
        if over == 0 {
            derived_by_columns(d, x_hat, inverse_std, inner);
        } else {
            let rows = d.par_chunks_mut(inner).zip(x_hat.par_chunks(inner)).zip(inverse_std);
            rows.for_each(|((d, x_hat), &inverse_std)| {
                let mean = of(sum(d, |d| d) / inner as f64);
                let products: f64 = d.chunks(ROWS).zip(x_hat.chunks(ROWS)).map(|(d, x_hat)| dot(d, x_hat)).sum();
                let along = of(products / inner as f64);
                d.iter_mut().zip(x_hat).for_each(|(d, &x_hat)| *d = (*d - mean - x_hat * along) * inverse_std);
            });
        }
    });
    Tensor::from_data(data, (&device, dtype))
}

fn derived_by_columns<T: Float>(d: &mut [T], x_hat: &[T], inverse_std: &[T], inner: usize) {
    let outer = (d.len() / inner) as f64;
    let sums = d.par_chunks(ROWS * inner).zip(x_hat.par_chunks(ROWS * inner)).map(|(d, x_hat)| {
        let (mut sums, mut products) = (vec![T::default(); inner], vec![T::default(); inner]);
        for (d, x_hat) in d.chunks_exact(inner).zip(x_hat.chunks_exact(inner)) {
            let columns = sums.iter_mut().zip(&mut products).zip(d.iter().zip(x_hat));
            columns.for_each(|((sum, product), (&d, &x_hat))| {
                *sum += d;
                *product += d * x_hat;
            });
        }
        (sums, products)
    });
    let (sums, products): (Vec<_>, Vec<_>) = sums.unzip();
    let [mean, along] = [sums, products].map(|parts| numbers::<T>(&total(&parts, inner, outer)));
    d.par_chunks_mut(ROWS * inner).zip(x_hat.par_chunks(ROWS * inner)).for_each(|(d, x_hat)| {
        for (d, x_hat) in d.chunks_exact_mut(inner).zip(x_hat.chunks_exact(inner)) {
            let columns = d.iter_mut().zip(x_hat).zip(mean.iter().zip(&along).zip(inverse_std));
            columns.for_each(|((d, &x_hat), ((&mean, &along), &inverse_std))| {
                *d = (*d - mean - x_hat * along) * inverse_std;
            });
        }
    });
}

fn inverse_std(variance: f64, eps: f64) -> f64 {
    1.0 / (variance + eps).sqrt()
}

/// Adds the partial sums of columns in f64 and divides by `over`.
fn total<T: Float>(parts: &[Vec<T>], inner: usize, over: f64) -> Vec<f64> {
    let mut total = vec![0.0; inner];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part.to_f64());
    }
    for total in &mut total {
        *total /= over;
    }
    total
}

fn sum<T: Float>(row: &[T], term: impl Fn(T) -> T) -> f64 {
    let part = |values: &[T]| {
        let mut sum = T::default();
        for &x in values {
            sum += term(x);
        }
        sum.to_f64()
    };
    row.chunks(ROWS).map(part).sum()
}

fn dot<T: Float>(a: &[T], b: &[T]) -> f64 {
    let mut sum = T::default();
    a.iter().zip(b).for_each(|(&a, &b)| sum += a * b);
    sum.to_f64()
}

fn numbers<T: Float>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| of(value)).collect()
}

fn slice<T: Float>(data: &TensorData) -> &[T] {
    data.as_slice().expect("the type was just asked for")
}

fn slice_mut<T: Float>(data: &mut TensorData) -> &mut [T] {
    data.as_mut_slice().expect("the type was just asked for")
}
