//! Extracts windows of channels-last maps, and adds windows back to maps, by loops over host memory.
//!
//! Such loops are faster than tensor operations. Here a patch matrix is one copy (of whole runs of `k_w` pixels), and adding
//! patches back is one pass; a chain of slices, pads and sums passes over the same memory a dozen times. With these loops,
//! convolutions on flex and ndarray are as fast as the backend's matrix product (`benches/RESULTS.md`).

#![expect(clippy::inline_always, reason = "functions that are not inlined are compiled for the oldest processor")]

use std::ops::Range;

use burn::tensor::Tensor;
use gemm_common::cache::CACHE_INFO;
use rayon::prelude::*;

use crate::host::{
    self, HostNumber, HostValues, Matrix, Threads, add_product, set_product, with_type, written_in_chunks,
};

/// Smallest number of rows of a product: with fewer, copying its other factor in the order of the product counts.
const ROWS: usize = 256;

/// Number of tasks among which the samples of a large batch are shared.
const TASKS: usize = 32;

/// Smallest number of columns of the windows in a task of [`Windows::weights`], for the same reason.
const COLUMNS: usize = 256;

/// Windows of a map: `count` on each axis, `stride` apart; the first window starts `padding` before the corner of the map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// Rows, columns and channels of the map.
    pub(crate) map: [usize; 3],
    pub(crate) count: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
}

/// A part of a window's row.
#[derive(Clone, Copy)]
enum Run {
    /// So many values outside the map.
    Zeros(usize),
    /// Values inside the map: their start in the map, their start in the windows of the sample, and their number.
    Values { in_map: usize, in_window: usize, len: usize },
}

impl Windows {
    /// Every window as a row of a matrix, with zeros outside the map: `[batch · windows, k_h k_w channels]`.
    pub(crate) fn unfold(&self, maps: &Tensor<4>) -> Tensor<2> {
        let n = maps.dims()[0];
        let shape = [n * self.positions(), self.window_len()];
        if self.is_the_map() {
            return maps.clone().reshape(shape);
        }
        with_type!(maps.dtype(), T => {
            let (map_len, windows_len) = self.sample_lens();
            let values = HostValues::of(maps);
            let values = values.slice::<T>();
            let windows = written_in_chunks(n * windows_len, windows_len, || (), #[inline(always)] |(), i, windows: &mut [T]| {
                let map = &values[i * map_len..];
                self.for_each_run(0..self.kernel[0], |run| match run {
                    Run::Zeros(_) => {}
                    Run::Values { in_map, in_window, len } => {
                        windows[in_window..in_window + len].copy_from_slice(&map[in_map..in_map + len]);
                    }
                });
            });
            host::tensor(windows, shape, maps)
        })
    }

    /// `y = factor · unfold(x) W + bias`: a convolution.
    ///
    /// # Shapes
    /// - `maps`: `[batch, ..map]`; `w`: `[k_h k_w channels, c]`; `bias`: `[1, c]`; returns `[batch, ..count, c]`
    pub(crate) fn gather(&self, maps: &Tensor<4>, w: &Tensor<2>, factor: f64, bias: Option<&Tensor<2>>) -> Tensor<4> {
        let (n, [rows, columns], [k, c]) = (maps.dims()[0], self.count, w.dims());
        let shape = [n, rows, columns, c];
        if self.is_the_map() {
            return host::dense(&maps.clone().reshape([n, k]), w, false, factor, bias).reshape(shape);
        }
        with_type!(maps.dtype(), T => {
            let (x, weights, bias) = (HostValues::of(maps), HostValues::of(w), bias.map(HostValues::of));
            let (x, bias) = (x.slice::<T>(), bias.as_ref().map(HostValues::slice::<T>));
            let (map_len, _) = self.sample_lens();
            let (samples, positions) = (self.samples_at_once::<T>(n), self.positions());
            let chunk = samples * positions * c;
            let y = written_in_chunks(n * positions * c, chunk, Vec::new, #[inline(always)] |windows: &mut Vec<T>, i, y| {
                windows.clear();
                let maps = x[i * samples * map_len..].chunks_exact(map_len).take(samples);
                maps.for_each(|map| self.append(map, 0..self.kernel[0], windows));
                let windows = Matrix::new(windows, y.len() / c, k);
                set_product(y, T::of(factor), windows, Matrix::new(weights.slice(), k, c), Threads::One);
                if let Some(bias) = bias {
                    y.chunks_exact_mut(c).for_each(|y| y.iter_mut().zip(bias).for_each(|(y, &b)| *y += b));
                }
            });
            host::tensor(y, shape, maps)
        })
    }

    /// `y = factor · fold(x Wᵀ) + bias`, the adjoint of [`Self::gather`]: a transposed convolution.
    ///
    /// # Shapes
    /// - `small`: `[batch, ..count, c]`; `w`: `[k_h k_w channels, c]`; `bias`: `[1, channels]`; returns `[batch, ..map]`
    pub(crate) fn scatter(&self, small: &Tensor<4>, w: &Tensor<2>, factor: f64, bias: Option<&Tensor<2>>) -> Tensor<4> {
        let (n, [h, width, channels], [k, c]) = (small.dims()[0], self.map, w.dims());
        let shape = [n, h, width, channels];
        if self.is_the_map() {
            return host::dense(&small.clone().reshape([n, c]), w, true, factor, bias).reshape(shape);
        }
        with_type!(small.dtype(), T => {
            let (x, weights, bias) = (HostValues::of(small), HostValues::of(w), bias.map(HostValues::of));
            let (x, bias) = (x.slice::<T>(), bias.as_ref().map(HostValues::slice::<T>));
            let (map_len, windows_len) = self.sample_lens();
            let (samples, positions) = (self.samples_at_once::<T>(n), self.positions());
            let chunk = samples * map_len;
            let y = written_in_chunks(n * map_len, chunk, Vec::new, #[inline(always)] |windows: &mut Vec<T>, i, maps| {
                let rows = maps.len() / map_len * positions;
                let small = Matrix::new(&x[i * samples * positions * c..][..rows * c], rows, c);
                windows.resize(rows * k, T::default());
                let by = Matrix::new(weights.slice(), k, c).transposed();
                set_product(windows, T::of(factor), small, by, Threads::One);
                for (map, windows) in maps.chunks_exact_mut(map_len).zip(windows.chunks_exact(windows_len)) {
                    if let Some(bias) = bias {
                        map.chunks_exact_mut(channels).for_each(|map| map.copy_from_slice(bias));
                    }
                    self.for_each_run(0..self.kernel[0], #[inline(always)] |run| match run {
                        Run::Zeros(_) => {}
                        Run::Values { in_map, in_window, len } => {
                            let sums = map[in_map..in_map + len].iter_mut();
                            sums.zip(&windows[in_window..in_window + len]).for_each(|(sum, &value)| *sum += value);
                        }
                    });
                }
            });
            host::tensor(y, shape, small)
        })
    }

    /// `dW = factor · unfold(x)ᵀ y`, the cotangent of the weights of both.
    ///
    /// Each task computes the rows of some taps. Samples are taken in the same groups for any number of tasks, so sums are
    /// the same.
    ///
    /// # Shapes
    /// - `maps`: `[batch, ..map]`; `small`: `[batch, ..count, c]`; returns `[k_h k_w channels, c]`
    pub(crate) fn weights(&self, maps: &Tensor<4>, small: &Tensor<4>, factor: f64) -> Tensor<2> {
        let ([n, _, _, c], k) = (small.dims(), self.window_len());
        if self.is_the_map() {
            return host::dense_weights(&maps.clone().reshape([n, k]), &small.clone().reshape([n, c]), factor);
        }
        with_type!(maps.dtype(), T => {
            let (x, small_values) = (HostValues::of(maps), HostValues::of(small));
            let (x, y) = (x.slice::<T>(), small_values.slice::<T>());
            let ((map_len, _), positions) = (self.sample_lens(), self.positions());
            let row = self.kernel[1] * self.map[2];
            // Kernel rows of a task: products of few columns are slow.
            let taps = COLUMNS.div_ceil(row).min(self.kernel[0]);
            let samples = samples_within_cache::<T>(taps * row, positions);
            let mut w = vec![T::default(); k * c];
            w.par_chunks_mut(taps * row * c).enumerate().for_each_init(Vec::new, |windows: &mut Vec<T>, (i, w)| {
                let (first, columns) = (i * taps, w.len() / c);
                let taps = first..first + columns / row;
                for (maps, y) in x.chunks(samples * map_len).zip(y.chunks(samples * positions * c)) {
                    windows.clear();
                    maps.chunks_exact(map_len).for_each(|map| self.append(map, taps.clone(), windows));
                    let rows = y.len() / c;
                    let windows = Matrix::new(windows, rows, columns).transposed();
                    add_product(w, T::of(factor), windows, Matrix::new(y, rows, c), Threads::One);
                }
            });
            host::tensor(w, [k, c], maps)
        })
    }

    /// Number of samples whose windows are multiplied at once: few enough for the cache and for many threads to have some, and
    /// enough for a product to be fast. It does not depend on the number of threads, because the order of the sums in a product
    /// depends on its size.
    fn samples_at_once<T>(&self, batch: usize) -> usize {
        let enough = ROWS.div_ceil(self.positions());
        samples_within_cache::<T>(self.window_len(), self.positions()).min(batch.div_ceil(TASKS).max(enough))
    }

    /// Whether the only window is the whole map.
    fn is_the_map(&self) -> bool {
        self.count == [1, 1] && self.kernel == [self.map[0], self.map[1]] && self.padding == [0, 0]
    }

    /// Number of windows of a map.
    fn positions(&self) -> usize {
        self.count[0] * self.count[1]
    }

    fn window_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.map[2]
    }

    /// Number of values of a sample as a map, and as windows.
    fn sample_lens(&self) -> (usize, usize) {
        (self.map.iter().product(), self.positions() * self.window_len())
    }

    /// Appends the windows of a map, or some kernel rows of each: `[windows, rows k_w channels]`.
    fn append<T: HostNumber>(&self, map: &[T], kernel_rows: Range<usize>, to: &mut Vec<T>) {
        self.for_each_run(kernel_rows, |run| match run {
            Run::Zeros(len) => to.resize(to.len() + len, T::default()),
            Run::Values { in_map, len, .. } => to.extend_from_slice(&map[in_map..in_map + len]),
        });
    }

    /// Visits the runs of one sample in the order of its windows, or of some kernel rows of its windows.
    #[inline(always)]
    fn for_each_run(&self, kernel_rows: Range<usize>, mut visit: impl FnMut(Run)) {
        let ([height, width, channels], kw) = (self.map, self.kernel[1]);
        let mut in_window = 0;
        for row in 0..self.count[0] {
            for column in 0..self.count[1] {
                // The part of the kernel's columns that lies inside the map.
                let left = (column * self.stride[1]) as isize - self.padding[1] as isize;
                let first = (-left).clamp(0, kw as isize) as usize;
                let last = (width as isize - left).clamp(first as isize, kw as isize) as usize;
                for u in kernel_rows.clone() {
                    let y = (row * self.stride[0] + u) as isize - self.padding[0] as isize;
                    if (0..height as isize).contains(&y) && last > first {
                        if first > 0 {
                            visit(Run::Zeros(first * channels));
                        }
                        let x = (left + first as isize) as usize;
                        visit(Run::Values {
                            in_map: (y as usize * width + x) * channels,
                            in_window: in_window + first * channels,
                            len: (last - first) * channels,
                        });
                        if last < kw {
                            visit(Run::Zeros((kw - last) * channels));
                        }
                    } else {
                        visit(Run::Zeros(kw * channels));
                    }
                    in_window += kw * channels;
                }
            }
        }
    }
}

/// Number of samples of so many rows of a matrix that fit into the second-level cache.
fn samples_within_cache<T>(columns: usize, rows_of_sample: usize) -> usize {
    let bytes = columns * rows_of_sample * size_of::<T>();
    (CACHE_INFO[1].cache_bytes / bytes).max(ROWS.div_ceil(rows_of_sample)).max(1)
}
