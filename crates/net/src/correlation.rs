//! The linear map behind convolutions and transposed convolutions, by matrix products or Burn's own kernels.
//!
//! Between a *big* map and a *small* one, with taps u, weights `w[u, c_big, c_small]` and zero padding,
//!
//! - [`Correlation::gather`]: `small[q, c'] = Σ_u Σ_c big[s q + u - pad, c] w[u, c, c']`
//! - [`Correlation::scatter`], its adjoint: `big[p, c] = Σ_u Σ_c' small[(p + pad - u) / s, c'] w[u, c, c']`
//! - [`Correlation::weights`], its adjoint in w: `w[u, c, c'] = Σ_q big[s q + u - pad, c] small[q, c']`
//!
//! The forward rule of a convolution is `gather` and its pullback is `scatter`; for a transposed convolution it is the
//! reverse. Both have `weights` as the cotangent of W. Maps are channels last, `[batch, rows, columns, channels]`: every
//! matrix product then has batch and positions as rows, and nothing is transposed. Weights are `[k_h k_w c_big, c_small]`.

use burn::tensor::Tensor;
use burn::tensor::module::{conv_transpose2d, conv2d, conv2d_weight_backward};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, PadMode};
use fintan_config::{Convolution, Shape};

use crate::host;
use crate::windows::Windows;

/// How convolutions and transposed convolutions are computed. All methods agree up to rounding. Their speed depends on the
/// backend and was measured (`benches/RESULTS.md`).
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor};
/// # use fintan_config::{Architecture, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # use rand::SeedableRng as _;
/// # let layers = [serde_json::from_str(r#"{ "conv": { "out": 2, "kernel": 3 } }"#)?];
/// # let architecture = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default())?;
/// // The output of one convolution, computed in two ways.
/// let output = |lowering| {
///     let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering };
///     let network = PlacedNetwork::init(&architecture, &mut rand_chacha::ChaCha20Rng::seed_from_u64(0), &cpu);
///     network.forward(Tensor::ones([1, 4, 4, 1], (&cpu.device, cpu.dtype)), Mode::Eval).0
/// };
/// let difference = output(Lowering::Native) - output(Lowering::Host);
/// assert!(difference.abs().max().into_scalar::<f64>() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lowering {
    /// Burn's convolution kernels.
    Native,
    /// Matrix products of patches, which are strided views: tensor operations only, so autodiff goes through.
    Views,
    /// Matrix products of patches that are copied and summed by loops on the host, for CPU backends, whose tensors are in
    /// host memory. On an autodiff device it becomes `Views`.
    Host,
}

/// Geometry of a correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Correlation {
    big: [usize; 3],
    small: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    lowering: Lowering,
}

impl Correlation {
    pub(crate) fn new(c: &Convolution, big: Shape, small: Shape, lowering: Lowering) -> Self {
        let hwc = |s: Shape| [s.height, s.width, s.channels];
        let (kernel, stride, padding) = (c.kernel.0, c.stride.0, c.padding.0);
        Self { big: hwc(big), small: hwc(small), kernel, stride, padding, lowering }
    }

    pub(crate) fn lowering(&self) -> Lowering {
        self.lowering
    }

    pub(crate) fn gather(&self, big: Tensor<4>, w: Tensor<2>) -> Tensor<4> {
        if self.on_host(&big) {
            return self.windows().gather(&big, &w, 1.0, None);
        }
        let [h, width, c] = self.small;
        let n = big.dims()[0];
        if self.lowering == Lowering::Native {
            let y = conv2d(channels_first(big), self.native_weights(w), None, self.conv_options());
            return channels_last(y);
        }
        self.patches(big).matmul(w).reshape([n, h, width, c])
    }

    pub(crate) fn scatter(&self, small: Tensor<4>, w: Tensor<2>) -> Tensor<4> {
        let ([h, width, c], n) = (self.big, small.dims()[0]);
        if self.on_host(&small) {
            return self.windows().scatter(&small, &w, 1.0, None);
        }
        if self.lowering == Lowering::Native {
            let y = conv_transpose2d(channels_first(small), self.native_weights(w), None, self.transposed_options());
            return channels_last(y);
        }
        if self.small[0] * self.small[1] == 1 {
            // There is only one parent: each tap is written to its own position.
            let [kh, kw] = self.kernel;
            let y = small.reshape([n, self.small[2]]).matmul(w.transpose()).reshape([n, kh, kw, c]);
            let frame = [0, 1].map(|axis| {
                let before = self.padding[axis] as isize;
                (-before, self.big[axis] as isize - (self.kernel[axis] as isize - before))
            });
            return framed(y, frame);
        }
        // The output is cut into blocks of s x s. Block m reads A = ⌈k/s⌉ parents on each axis: a stride-1 correlation whose
        // channels are the phases within the block.
        let plan = [0, 1].map(|axis| self.blocks(axis));
        let frame = plan.map(|b| (b.before, b.after));
        let parents = window_views(framed(small, frame), plan.map(|b| b.parents), [1, 1]);
        let [[bh, ah, sh], [bw, aw, sw]] = [0, 1].map(|i| [plan[i].count, plan[i].parents, self.stride[i]]);
        let phases = parents.matmul(self.phase_weights(w, [ah, aw]));
        let y = phases.reshape([n, bh, bw, sh, sw, c]).permute([0, 1, 3, 2, 4, 5]).reshape([n, bh * sh, bw * sw, c]);
        let [top, left] = plan.map(|b| b.skip);
        if [top, left] == [0, 0] && [bh * sh, bw * sw] == [h, width] {
            return y;
        }
        y.slice([0..n, top..top + h, left..left + width, 0..c])
    }

    pub(crate) fn weights(&self, big: Tensor<4>, small: Tensor<4>) -> Tensor<2> {
        if self.on_host(&big) {
            return self.windows().weights(&big, &small, 1.0);
        }
        let [n, h, w, c] = small.dims();
        if self.lowering == Lowering::Native {
            let [kh, kw] = self.kernel;
            let shape = [c, self.big[2], kh, kw];
            let like = Tensor::zeros(shape, (&small.device(), small.dtype()));
            let dw = conv2d_weight_backward(channels_first(big), like, channels_first(small), self.conv_options());
            return dw.permute([2, 3, 1, 0]).reshape([kh * kw * self.big[2], c]);
        }
        self.patches(big).transpose().matmul(small.reshape([n * h * w, c]))
    }

    /// Number of values of the largest tensor that the three maps make: for each sample, and of the weights.
    pub(crate) fn largest(&self) -> (usize, usize) {
        let ([kh, kw], [sh, sw], [c, small]) = (self.kernel, self.stride, [self.big[2], self.small[2]]);
        if self.lowering == Lowering::Native {
            return (0, kh * kw * c * small);
        }
        let patches = self.small[0] * self.small[1] * kh * kw * c;
        // The big map with its frame, from which patches are taken.
        let framed = [0, 1].map(|axis| (self.small[axis] - 1) * self.stride[axis] + self.kernel[axis]);
        let framed = framed[0] * framed[1] * c;
        // Of `scatter`: the small map with its frame, the parents of each block, and the phases of the blocks.
        let [(rows, ah), (columns, aw)] = [0, 1].map(|axis| self.blocks(axis)).map(|b| (b.count, b.parents));
        let parents = rows * columns * ah * aw * small;
        let phases = rows * columns * sh * sw * c;
        let between = (rows + ah) * (columns + aw) * small;
        (patches.max(framed).max(parents).max(phases).max(between), ah * sh * aw * sw * c * small)
    }

    fn on_host(&self, x: &Tensor<4>) -> bool {
        host::serves(x, self.lowering)
    }

    pub(crate) fn windows(&self) -> Windows {
        let Self { big, small: [rows, columns, _], kernel, stride, padding, .. } = *self;
        Windows { map: big, count: [rows, columns], kernel, stride, padding }
    }

    /// `[batch · positions of the small map, k_h k_w c_big]`
    pub(crate) fn patches(&self, big: Tensor<4>) -> Tensor<2> {
        if self.on_host(&big) {
            return self.windows().unfold(&big);
        }
        let frame = [0, 1].map(|axis| {
            let used = (self.small[axis] - 1) * self.stride[axis] + self.kernel[axis];
            let before = self.padding[axis] as isize;
            (before, used as isize - before - self.big[axis] as isize)
        });
        window_views(framed(big, frame), self.kernel, self.stride)
    }

    fn blocks(&self, axis: usize) -> Blocks {
        let (s, pad) = (self.stride[axis], self.padding[axis]);
        let parents = self.kernel[axis].div_ceil(s);
        let (first, last) = (pad / s, (pad + self.big[axis] - 1) / s);
        let count = last - first + 1;
        let before = parents as isize - 1 - first as isize;
        let after = (count + parents - 1) as isize - before - self.small[axis] as isize;
        Blocks { parents, count, before, after, skip: pad - first * s }
    }

    /// `[A_h A_w c_small, s_h s_w c_big]`: tap u = phase + s (A - 1 - parent).
    fn phase_weights(&self, w: Tensor<2>, [ah, aw]: [usize; 2]) -> Tensor<2> {
        let ([kh, kw], [sh, sw]) = (self.kernel, self.stride);
        let (cb, cs) = (self.big[2], self.small[2]);
        let mut taps = w.reshape([kh, kw, cb, cs]);
        if [ah * sh, aw * sw] != [kh, kw] {
            taps = taps.pad([(0, ah * sh - kh), (0, aw * sw - kw), (0, 0), (0, 0)], PadMode::Constant(0.0));
        }
        taps.reshape([ah, sh, aw, sw, cb, cs])
            .flip([0, 2])
            .permute([0, 2, 5, 1, 3, 4])
            .reshape([ah * aw * cs, sh * sw * cb])
    }

    /// `[c_small, c_big, k_h, k_w]`, the layout of PyTorch and Burn for convolutions and transposed convolutions.
    fn native_weights(&self, w: Tensor<2>) -> Tensor<4> {
        let [kh, kw] = self.kernel;
        w.reshape([kh, kw, self.big[2], self.small[2]]).permute([3, 2, 0, 1])
    }

    fn conv_options(&self) -> ConvOptions<2> {
        ConvOptions::new(self.stride, self.padding, [1, 1], 1)
    }

    fn transposed_options(&self) -> ConvTransposeOptions<2> {
        let extra = [0, 1].map(|axis| {
            // In this order the differences are never negative: the windows of a convolution fit into its padded map.
            self.big[axis] + 2 * self.padding[axis] - (self.small[axis] - 1) * self.stride[axis] - self.kernel[axis]
        });
        ConvTransposeOptions::new(self.stride, self.padding, extra, [1, 1], 1)
    }
}

/// How one axis of the output of a scatter is cut into blocks of length stride.
#[derive(Clone, Copy)]
struct Blocks {
    /// Number of parents of a block.
    parents: usize,
    /// Number of blocks that are kept.
    count: usize,
    /// Zeros before and after the small map; negative numbers remove positions.
    before: isize,
    after: isize,
    /// Number of outputs removed from the first block.
    skip: usize,
}

/// Adds zeros around a map; negative numbers remove positions instead.
pub(crate) fn framed(x: Tensor<4>, frame: [(isize, isize); 2]) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let cut = frame.map(|(before, after)| ((-before).max(0) as usize, (-after).max(0) as usize));
    let add = frame.map(|(before, after)| (before.max(0) as usize, after.max(0) as usize));
    let x = if cut == [(0, 0); 2] { x } else { x.slice([0..n, cut[0].0..h - cut[0].1, cut[1].0..w - cut[1].1, 0..c]) };
    if add == [(0, 0); 2] { x } else { x.pad([(0, 0), add[0], add[1], (0, 0)], PadMode::Constant(0.0)) }
}

/// Every window of a map as a row of a matrix: `[batch · windows, k_h k_w channels]`.
fn window_views(x: Tensor<4>, [kh, kw]: [usize; 2], [sh, sw]: [usize; 2]) -> Tensor<2> {
    let [n, h, w, c] = x.dims();
    let (rows, columns) = ((h - kh) / sh + 1, (w - kw) / sw + 1);
    let shape = [n * rows * columns, kh * kw * c];
    if rows * columns == 1 || kh * kw * sh * sw == 1 {
        return x.reshape(shape);
    }
    let in_rows: Tensor<5> = x.unfold(1, kh, sh);
    let in_both: Tensor<6> = in_rows.unfold(2, kw, sw);
    in_both.permute([0, 1, 2, 4, 5, 3]).reshape(shape)
}

/// Converts `[batch, channels, rows, columns]` to `[batch, rows, columns, channels]`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
///
/// let x = Tensor::<4>::zeros([2, 3, 8, 9], &Device::flex());
/// let y = fintan_net::channels_last(x);
/// assert_eq!(y.dims(), [2, 8, 9, 3]);
/// assert_eq!(fintan_net::channels_first(y).dims(), [2, 3, 8, 9]);
/// ```
#[must_use]
pub fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}

/// Converts `[batch, rows, columns, channels]` to `[batch, channels, rows, columns]`.
#[must_use]
pub fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}
