//! Extracts windows of channels-last maps, and adds windows back to maps, by loops over host memory.
//!
//! Such loops are faster than tensor operations. Here a patch matrix is one copy (of whole runs of `k_w` pixels), and adding
//! patches back is one pass; a chain of slices, pads and sums passes over the same memory a dozen times. With these loops,
//! convolutions on flex and ndarray are as fast as the backend's matrix product (`benches/RESULTS.md`).

use std::ops::AddAssign;

use burn::tensor::{DType, Element, Tensor, TensorData};
use rayon::prelude::*;

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

/// A part of a window's row that lies inside the map: its start in the map, its start in the window, and its length.
#[derive(Clone, Copy)]
struct Run {
    in_map: usize,
    in_window: usize,
    len: usize,
}

impl Windows {
    /// Every window as a row of a matrix, with zeros outside the map: `[batch · windows, k_h k_w channels]`.
    pub(crate) fn unfold(&self, maps: Tensor<4>) -> Tensor<2> {
        let (n, device, dtype) = (maps.dims()[0], maps.device(), maps.dtype());
        let shape = [n * self.count[0] * self.count[1], self.window_len()];
        if self.is_the_map() {
            return maps.reshape(shape);
        }
        let data = maps.into_data();
        let rows = if dtype == DType::F64 {
            TensorData::new(self.unfold_values(slice::<f64>(&data)), shape)
        } else {
            TensorData::new(self.unfold_values(slice::<f32>(&data)), shape)
        };
        Tensor::from_data(rows, (&device, dtype))
    }

    /// The adjoint of [`Self::unfold`]: adds each value of a window at its position in the map.
    pub(crate) fn fold(&self, windows: Tensor<2>, batch: usize) -> Tensor<4> {
        let [h, w, c] = self.map;
        let (shape, device, dtype) = ([batch, h, w, c], windows.device(), windows.dtype());
        if self.is_the_map() {
            return windows.reshape(shape);
        }
        let data = windows.into_data();
        let maps = if dtype == DType::F64 {
            TensorData::new(self.fold_values(slice::<f64>(&data), batch), shape)
        } else {
            TensorData::new(self.fold_values(slice::<f32>(&data), batch), shape)
        };
        Tensor::from_data(maps, (&device, dtype))
    }

    /// Whether the only window is the whole map.
    fn is_the_map(&self) -> bool {
        self.count == [1, 1] && self.kernel == [self.map[0], self.map[1]] && self.padding == [0, 0]
    }

    fn window_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.map[2]
    }

    /// Number of values of a sample as a map, and as windows.
    fn sample_lens(&self) -> (usize, usize) {
        (self.map.iter().product(), self.count[0] * self.count[1] * self.window_len())
    }

    fn unfold_values<T: Copy + Default + Send + Sync>(&self, maps: &[T]) -> Vec<T> {
        let (map_len, windows_len) = self.sample_lens();
        let mut windows = vec![T::default(); maps.len() / map_len * windows_len];
        windows.par_chunks_mut(windows_len).zip(maps.par_chunks(map_len)).for_each(|(windows, map)| {
            self.for_each_run(|Run { in_map, in_window, len }| {
                windows[in_window..in_window + len].copy_from_slice(&map[in_map..in_map + len]);
            });
        });
        windows
    }

    fn fold_values<T: Copy + Default + Send + Sync + AddAssign>(&self, windows: &[T], batch: usize) -> Vec<T> {
        let (map_len, windows_len) = self.sample_lens();
        let mut maps = vec![T::default(); batch * map_len];
        maps.par_chunks_mut(map_len).zip(windows.par_chunks(windows_len)).for_each(|(map, windows)| {
            self.for_each_run(|Run { in_map, in_window, len }| {
                for (sum, &value) in map[in_map..in_map + len].iter_mut().zip(&windows[in_window..in_window + len]) {
                    *sum += value;
                }
            });
        });
        maps
    }

    /// Visits the runs of one sample in the order of its windows.
    fn for_each_run(&self, mut visit: impl FnMut(Run)) {
        let ([height, width, channels], [kh, kw]) = (self.map, self.kernel);
        let mut in_window = 0;
        for row in 0..self.count[0] {
            for column in 0..self.count[1] {
                // The part of the kernel's columns that lies inside the map.
                let left = (column * self.stride[1]) as isize - self.padding[1] as isize;
                let first = (-left).clamp(0, kw as isize) as usize;
                let last = (width as isize - left).clamp(first as isize, kw as isize) as usize;
                for u in 0..kh {
                    let y = (row * self.stride[0] + u) as isize - self.padding[0] as isize;
                    if (0..height as isize).contains(&y) && last > first {
                        let x = (left + first as isize) as usize;
                        visit(Run {
                            in_map: (y as usize * width + x) * channels,
                            in_window: in_window + first * channels,
                            len: (last - first) * channels,
                        });
                    }
                    in_window += kw * channels;
                }
            }
        }
    }
}

fn slice<E: Element>(data: &TensorData) -> &[E] {
    data.as_slice().expect("the type was just asked for")
}
