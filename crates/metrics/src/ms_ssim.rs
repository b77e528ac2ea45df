//! Multi-scale structural similarity between samples.

use rayon::prelude::*;

use crate::{MetricError, Samples, Tick};

/// Rows and columns of the Gaussian window.
pub const SSIM_WINDOW: usize = 11;

const SIGMA: f64 = 1.5;
/// Weights of the scales, finest first (Wang et al. 2003).
const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
/// (0.01 L)² and (0.03 L)², with values scaled to [0, 1], so that L = 1.
const CONSTANTS: [f64; 2] = [1e-4, 9e-4];

/// Mean similarity of pairs of samples.
///
/// ```
/// use fintan_metrics::{Samples, ms_ssim};
///
/// // Two equal images of 16 x 16 pixels, large enough for one scale.
/// let samples = Samples { values: vec![0.5; 2 * 16 * 16], size: 16, channels: 1 };
/// let found = ms_ssim(&samples, &|_| {})?;
/// assert_eq!((found.scales, found.pairs), (1, 1));
/// assert!((found.value - 1.0).abs() < 1e-12);
/// # Ok::<(), fintan_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MsSsim {
    /// The mean; it is 1 if all samples are the same image.
    pub value: f64,
    /// Number of scales that fit.
    pub scales: usize,
    /// Number of pairs in the mean.
    pub pairs: usize,
}

/// Number of scales that fit images of a size: up to five; after each halving the window must still fit.
#[must_use]
pub fn ms_ssim_scales(size: usize) -> usize {
    (0..WEIGHTS.len()).take_while(|scale| size >> scale >= SSIM_WINDOW).count()
}

/// Mean MS-SSIM of pairs (i, i + n/2) of images in [-1, 1], as defined by Wang, Simoncelli and Bovik (2003):
///
/// `Π_j cs_j^w_j`, with `l·cs` instead of `cs` at the coarsest scale j,
///
/// cs is the contrast-structure term and l the luminance term, under an 11x11 Gaussian window of σ = 1.5 that stays inside
/// the image; both are averaged over positions. Each scale is the previous one averaged over 2x2 pixels (an odd last row is
/// dropped). If fewer than five scales fit, the weights of those that fit are divided by their sum. A negative mean counts
/// as 0. Channels are averaged last.
///
/// # Errors
/// Fewer than two samples, images smaller than the window.
pub fn ms_ssim(samples: &Samples, tick: Tick) -> Result<MsSsim, MetricError> {
    let metric = "MS-SSIM";
    let (n, scales) = (samples.len(), ms_ssim_scales(samples.size));
    if n < 2 {
        return Err(MetricError::TooFew { metric, found: n, needed: 2 });
    }
    if scales == 0 {
        return Err(MetricError::TooSmall { metric, found: samples.size, needed: SSIM_WINDOW });
    }
    if samples.values.iter().any(|v| !v.is_finite()) {
        return Err(MetricError::NotFinite(metric));
    }
    let sum: f64 = WEIGHTS[..scales].iter().sum();
    let weights: Vec<f64> = WEIGHTS[..scales].iter().map(|w| w / sum).collect();
    let window = window();
    let len = samples.size * samples.size * samples.channels;
    let image = |i: usize| &samples.values[i * len..(i + 1) * len];
    let pairs = n / 2;
    let each: Vec<f64> = (0..pairs)
        .into_par_iter()
        .map(|i| {
            let channels = (0..samples.channels).map(|c| {
                let [a, b] = [i, i + pairs].map(|i| plane(image(i), c, samples.channels));
                similarity(a, b, samples.size, &weights, &window)
            });
            tick(1);
            channels.sum::<f64>() / samples.channels as f64
        })
        .collect();
    Ok(MsSsim { value: each.iter().sum::<f64>() / pairs as f64, scales, pairs })
}

/// One channel, scaled to [0, 1].
fn plane(image: &[f32], channel: usize, channels: usize) -> Vec<f64> {
    image.iter().skip(channel).step_by(channels).map(|&v| f64::midpoint(f64::from(v), 1.0)).collect()
}

fn window() -> [f64; SSIM_WINDOW] {
    let centre = (SSIM_WINDOW / 2) as f64;
    let bell =
        std::array::from_fn::<f64, SSIM_WINDOW, _>(|i| (-(i as f64 - centre).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let sum: f64 = bell.iter().sum();
    bell.map(|v| v / sum)
}

fn similarity(mut a: Vec<f64>, mut b: Vec<f64>, mut size: usize, weights: &[f64], window: &[f64]) -> f64 {
    let mut product = 1.0;
    for (scale, weight) in weights.iter().enumerate() {
        let [structure, whole] = terms(&a, &b, size, window);
        let last = scale + 1 == weights.len();
        product *= (if last { whole } else { structure }).max(0.0).powf(*weight);
        if !last {
            (a, b) = (halve(&a, size), halve(&b, size));
            size /= 2;
        }
    }
    product
}

/// Means over positions of cs and of l·cs.
fn terms(a: &[f64], b: &[f64], size: usize, window: &[f64]) -> [f64; 2] {
    let times = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(p, q)| p * q).collect::<Vec<_>>();
    let [mean_a, mean_b] = [a, b].map(|x| blur(x, size, window));
    let [aa, bb, ab] = [times(a, a), times(b, b), times(a, b)].map(|x| blur(&x, size, window));
    let (mut structure, mut whole) = (0.0, 0.0);
    for i in 0..mean_a.len() {
        let (ma, mb) = (mean_a[i], mean_b[i]);
        let (va, vb, cov) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
        let cs = (2.0 * cov + CONSTANTS[1]) / (va + vb + CONSTANTS[1]);
        structure += cs;
        whole += cs * (2.0 * ma * mb + CONSTANTS[0]) / (ma * ma + mb * mb + CONSTANTS[0]);
    }
    [structure, whole].map(|sum| sum / mean_a.len() as f64)
}

/// Applies the window at every position inside the image: first along rows, then along columns.
fn blur(x: &[f64], size: usize, window: &[f64]) -> Vec<f64> {
    let left = size + 1 - window.len();
    let weigh = |values: &mut dyn Iterator<Item = f64>| values.zip(window).map(|(v, w)| v * w).sum::<f64>();
    let rows: Vec<f64> = (0..size * left)
        .map(|i| weigh(&mut x[i / left * size + i % left..].iter().copied().take(window.len())))
        .collect();
    (0..left * left).map(|i| weigh(&mut rows[i..].iter().copied().step_by(left).take(window.len()))).collect()
}

fn halve(x: &[f64], size: usize) -> Vec<f64> {
    let half = size / 2;
    (0..half * half)
        .map(|i| {
            let at = 2 * (i / half) * size + 2 * (i % half);
            (x[at] + x[at + 1] + x[at + size] + x[at + size + 1]) / 4.0
        })
        .collect()
}
