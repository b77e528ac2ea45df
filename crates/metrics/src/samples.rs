//! Measures of collapse and checkerboards in samples. The arithmetic is on the host in f64.

use serde::{Deserialize, Serialize};

/// Images on the host.
///
/// ```
/// use fintan_metrics::Samples;
///
/// // Two images of one pixel, one black and one white.
/// let samples = Samples { values: vec![-1.0, 1.0], size: 1, channels: 1 };
/// assert_eq!((samples.len(), samples.std()), (2, 2.0_f64.sqrt())); // with the divisor n - 1
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// `[images, rows, columns, channels]`, flat.
    pub values: Vec<f32>,
    /// Rows and columns.
    pub size: usize,
    /// Channels.
    pub channels: usize,
}

/// The measures of a set of samples.
///
/// ```
/// use fintan_metrics::Samples;
///
/// // Two equal images of 8 x 8 pixels: a checkerboard of period 2.
/// let values = (0..128).map(|i| if (i / 8 + i % 8) % 2 == 0 { 1.0 } else { -1.0 }).collect();
/// let measures = Samples { values, size: 8, channels: 1 }.measure();
/// assert_eq!((measures.std, measures.phase2), (0.0, 1.0));
/// assert!((measures.correlation - 1.0).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Number of samples.
    pub samples: usize,
    /// Mean over pairs of samples of the correlation of their pixels: 1 if every latent gives the same image.
    pub correlation: f64,
    /// Standard deviation of a pixel over samples, averaged over pixels and channels.
    pub std: f64,
    /// Fraction of spectral energy (grey, mean removed) in rows and columns of frequency 1/2: period-2 patterns.
    pub nyquist: f64,
    /// Fraction of variance explained by the position of a pixel modulo 2: the period-2 part of a checkerboard.
    pub phase2: f64,
    /// Fraction of variance explained by the position of a pixel modulo 8.
    pub phase8: f64,
    /// Variance over samples of the outermost two pixels, divided by that of the interior.
    pub border: f64,
}

impl Samples {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.image_len()
    }

    /// Whether there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn image_len(&self) -> usize {
        self.size * self.size * self.channels
    }

    fn images(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.image_len())
    }

    /// Computes all measures. Ratios with a denominator of 0 (constant images) are 0.
    #[must_use]
    pub fn measure(&self) -> Measures {
        let grey = self.grey();
        Measures {
            samples: self.len(),
            correlation: self.correlation(),
            std: self.std(),
            nyquist: nyquist_share(&grey, self.size),
            phase2: phase_share(&grey, self.size, 2),
            phase8: phase_share(&grey, self.size, 8),
            border: self.border_ratio(),
        }
    }

    /// Mean over pairs (i, i + n/2) of the correlation of two images' values.
    #[must_use]
    pub fn correlation(&self) -> f64 {
        let half = self.len() / 2;
        let centred: Vec<Vec<f64>> = self
            .images()
            .take(2 * half)
            .map(|image| {
                let mean = image.iter().map(|&v| f64::from(v)).sum::<f64>() / image.len() as f64;
                image.iter().map(|&v| f64::from(v) - mean).collect()
            })
            .collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let each = (0..half).map(|i| {
            let (a, b) = (&centred[i], &centred[i + half]);
            ratio(dot(a, b), (dot(a, a) * dot(b, b)).sqrt())
        });
        ratio(each.sum(), half as f64)
    }

    /// Variance over samples at each value of an image.
    fn variances(&self) -> Vec<f64> {
        let n = self.len() as f64;
        let (mut sums, mut squares) = (vec![0.0; self.image_len()], vec![0.0; self.image_len()]);
        for image in self.images() {
            for (sum, &v) in sums.iter_mut().zip(image) {
                *sum += f64::from(v);
            }
        }
        for image in self.images() {
            for ((square, sum), &v) in squares.iter_mut().zip(&sums).zip(image) {
                *square += (f64::from(v) - sum / n).powi(2);
            }
        }
        squares.into_iter().map(|s| s / (n - 1.0).max(1.0)).collect()
    }

    /// Standard deviation over samples, averaged over the values of an image.
    #[must_use]
    pub fn std(&self) -> f64 {
        self.variances().iter().map(|v| v.sqrt()).sum::<f64>() / self.image_len() as f64
    }

    fn border_ratio(&self) -> f64 {
        let (mut border, mut interior) = ((0.0, 0_u32), (0.0, 0_u32));
        for (i, variance) in self.variances().into_iter().enumerate() {
            let (row, column) = (i / self.channels / self.size, i / self.channels % self.size);
            let inside = |k: usize| (2..self.size.saturating_sub(2)).contains(&k);
            let part = if inside(row) && inside(column) { &mut interior } else { &mut border };
            *part = (part.0 + variance, part.1 + 1);
        }
        ratio(ratio(border.0, f64::from(border.1)), ratio(interior.0, f64::from(interior.1)))
    }

    /// The mean of the channels, with the mean of each image subtracted.
    fn grey(&self) -> Vec<Vec<f64>> {
        self.images()
            .map(|image| {
                let grey: Vec<f64> = image
                    .chunks_exact(self.channels)
                    .map(|pixel| pixel.iter().map(|&v| f64::from(v)).sum::<f64>() / self.channels as f64)
                    .collect();
                let mean = grey.iter().sum::<f64>() / grey.len() as f64;
                grey.into_iter().map(|v| v - mean).collect()
            })
            .collect()
    }
}

/// By Parseval, the energy at row frequency 1/2 is that of the alternating sums of the columns, so no transform is needed.
fn nyquist_share(grey: &[Vec<f64>], size: usize) -> f64 {
    if !size.is_multiple_of(2) {
        return 0.0;
    }
    let n = size as f64;
    let sign = |k: usize| if k.is_multiple_of(2) { 1.0 } else { -1.0 };
    let (mut at_nyquist, mut total) = (0.0, 0.0);
    for image in grey {
        let (mut rows, mut columns) = (vec![0.0; size], vec![0.0; size]);
        for (i, v) in image.iter().enumerate() {
            let (row, column) = (i / size, i % size);
            rows[column] += sign(row) * v;
            columns[row] += sign(column) * v;
        }
        let corner: f64 = rows.iter().enumerate().map(|(k, v)| sign(k) * v).sum();
        let energy = |sums: &[f64]| n * sums.iter().map(|s| s * s).sum::<f64>();
        at_nyquist += energy(&rows) + energy(&columns) - corner * corner;
        total += n * n * image.iter().map(|v| v * v).sum::<f64>();
    }
    ratio(at_nyquist, total)
}

/// Σ over images of the variance of their class means (position modulo `period`), divided by the total variance.
fn phase_share(grey: &[Vec<f64>], size: usize, period: usize) -> f64 {
    if !size.is_multiple_of(period) {
        return 0.0;
    }
    let cells = (size / period).pow(2) as f64;
    let (mut explained, mut total) = (0.0, 0.0);
    for image in grey {
        let mut sums = vec![0.0; period * period];
        for (i, v) in image.iter().enumerate() {
            sums[i / size % period * period + i % size % period] += v;
        }
        explained += sums.iter().map(|s| (s / cells).powi(2)).sum::<f64>() / (period * period) as f64;
        total += image.iter().map(|v| v * v).sum::<f64>() / image.len() as f64;
    }
    ratio(explained, total)
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 1e-12 { a / b } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(size: usize, images: &[&dyn Fn(usize, usize) -> f32]) -> Samples {
        let pixels =
            |f: &&dyn Fn(usize, usize) -> f32| (0..size * size).map(|i| f(i / size, i % size)).collect::<Vec<_>>();
        Samples { values: images.iter().flat_map(pixels).collect(), size, channels: 1 }
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }

    #[test]
    fn a_checkerboard_is_all_nyquist_and_phase() {
        let board = |r: usize, c: usize| if (r + c).is_multiple_of(2) { 1.0 } else { -1.0 };
        let measures = samples(8, &[&board, &board]).measure();
        near(measures.correlation, 1.0);
        near(measures.std, 0.0);
        near(measures.nyquist, 1.0);
        near(measures.phase2, 1.0);
        near(measures.phase8, 1.0);
    }

    #[test]
    fn smooth_waves_are_neither_and_opposites_correlate_to_minus_one() {
        let wave = |r: usize, _: usize| (std::f32::consts::TAU * r as f32 / 16.0).sin();
        let opposite = |r: usize, c: usize| -wave(r, c);
        let measures = samples(16, &[&wave, &opposite]).measure();
        near(measures.correlation, -1.0);
        near(measures.nyquist, 0.0);
        near(measures.phase2, 0.0);
        assert!(measures.std > 0.5);
    }

    /// Compares with a direct Fourier sum, the definition.
    #[test]
    fn nyquist_share_is_that_of_the_spectrum() {
        let size = 6;
        let image = |r: usize, c: usize| ((r * r * 7 + c * 3 + r * c * 5) % 11) as f32;
        let grey = samples(size, &[&image]).grey();
        let (mut at, mut total) = (0.0, 0.0);
        for k in 0..size {
            for l in 0..size {
                let (mut re, mut im) = (0.0, 0.0);
                for (i, v) in grey[0].iter().enumerate() {
                    let angle = std::f64::consts::TAU * ((k * (i / size) + l * (i % size)) as f64) / size as f64;
                    re += v * angle.cos();
                    im -= v * angle.sin();
                }
                let power = re * re + im * im;
                total += power;
                if k == size / 2 || l == size / 2 {
                    at += power;
                }
            }
        }
        near(nyquist_share(&grey, size), at / total);
    }

    #[test]
    fn constant_images_measure_zero_not_nan() {
        let measures = samples(8, &[&|_, _| 0.3, &|_, _| 0.3]).measure();
        for v in [measures.correlation, measures.nyquist, measures.phase2, measures.border] {
            near(v, 0.0);
        }
    }
}
