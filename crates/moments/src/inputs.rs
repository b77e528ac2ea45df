//! Batches of inputs and their noise.

use faer::{Accum, MatMut, MatRef, Par};
use fintan_config::{DataSource, MomentsSettings, PowerSpectrum, Shape};
use rand::RngExt as _;

use crate::normals::{Drawn, Normals, stream};

/// Inputs from which batches are chosen.
///
/// ```
/// use fintan_config::Shape;
/// use fintan_moments::{InputError, Pool};
///
/// let pool = Pool { values: vec![0.0, 1.0, 2.0, 3.0], shape: Shape::vector(2) };
/// assert_eq!(pool.count(), 2);
/// assert_eq!(pool.check(8), Err(InputError::TooFew { batch: 8, count: 2 }));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// `[count, channels, rows, columns]`, row-major.
    pub values: Vec<f32>,
    /// Shape of one input.
    pub shape: Shape,
}

/// A batch and its noise.
///
/// ```
/// use fintan_config::MomentsSettings;
/// use fintan_moments::Batch;
///
/// // Two inputs with one channel, which is standardized.
/// let batch = Batch::new(vec![1.0, 5.0], vec![0.5, -0.5], 1, 2, &MomentsSettings::default(), 0)?;
/// assert_eq!((batch.signal, batch.mu2), (vec![-1.0, 1.0], 1.0));
/// # Ok::<(), fintan_moments::InputError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Number of inputs.
    pub count: usize,
    /// x⁰, `[count, rows, columns, channels]`, row-major.
    pub signal: Vec<f64>,
    /// dx⁰, in the same shape: independent values from N(0, 1).
    pub noise: Vec<f64>,
    /// μ₂(x⁰); 1 if inputs are standardized.
    pub mu2: f64,
    /// Fraction of channels that are kept, which is the mean square of the noise.
    pub live: f64,
}

/// The error for inputs that cannot be used.
///
/// ```
/// use fintan_config::MomentsSettings;
/// use fintan_moments::{Batch, InputError};
///
/// let constant = Batch::new(vec![3.0, 3.0], vec![0.5, -0.5], 1, 2, &MomentsSettings::default(), 7);
/// assert_eq!(constant, Err(InputError::AllConstant { realisation: 7 }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Some channels do not vary.
    #[error(
        "{constant} of {channels} input channels are constant over the batch of realisation {realisation} (the first is \
         channel {first}); set `moments.drop_constant = true` to leave such channels out"
    )]
    Constant {
        /// Number of constant channels.
        constant: usize,
        /// Number of channels.
        channels: usize,
        /// Index of the first constant channel.
        first: usize,
        /// Index of the realisation.
        realisation: u64,
    },
    /// No channel varies.
    #[error("every input channel is constant over the batch of realisation {realisation}")]
    AllConstant {
        /// Index of the realisation.
        realisation: u64,
    },
    /// The data set has too few inputs.
    #[error("`moments.batch` is {batch}, but the data set holds {count} inputs")]
    TooFew {
        /// Number of inputs in a batch.
        batch: usize,
        /// Number of inputs in the data set.
        count: usize,
    },
    /// A value is not finite.
    #[error("input {input} of the data set holds {value}")]
    NotFinite {
        /// Index of the input.
        input: usize,
        /// The value.
        value: String,
    },
}

impl Pool {
    /// Number of inputs.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.shape.len()
    }

    /// Checks that a batch can be chosen from the pool.
    ///
    /// # Errors
    /// Too few inputs, or a value that is not finite.
    pub fn check(&self, batch: usize) -> Result<(), InputError> {
        let count = self.count();
        if count < batch {
            return Err(InputError::TooFew { batch, count });
        }
        match self.values.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(InputError::NotFinite { input: at / self.shape.len(), value: self.values[at].to_string() }),
            None => Ok(()),
        }
    }
}

impl Batch {
    /// Draws the batch of a realisation and its noise.
    ///
    /// # Errors
    /// Channels that cannot be standardized.
    pub fn draw(
        settings: &MomentsSettings,
        shape: Shape,
        seed: u64,
        realisation: u64,
        pool: Option<&Pool>,
    ) -> Result<Self, InputError> {
        let (count, len) = (settings.batch, settings.batch * shape.len());
        let mut normals = Normals::new(seed, realisation, Drawn::Signal, 0);
        let signal = match (pool, &settings.inputs) {
            (Some(pool), _) => chosen(pool, count, seed, realisation),
            (None, DataSource::Spectrum(PowerSpectrum { exponent })) if shape.is_vector() => {
                vectors(&mut normals, count, shape.channels, *exponent)
            }
            (None, DataSource::Spectrum(PowerSpectrum { exponent })) => fields(&mut normals, count, shape, *exponent),
            (
                None,
                DataSource::Iid(_)
                | DataSource::Shapes(_)
                | DataSource::Idx(_)
                | DataSource::Cifar(_)
                | DataSource::Folder(_)
                | DataSource::Tar(_)
                | DataSource::Zip(_)
                | DataSource::Npy(_)
                | DataSource::Npz(_)
                | DataSource::Teacher(_),
            ) => normals.take(len, 1.0).into_iter().map(f64::from).collect(),
        };
        let noise = Normals::new(seed, realisation, Drawn::Noise, 0).take(len, 1.0);
        let noise = noise.into_iter().map(f64::from).collect();
        Self::new(signal, noise, shape.channels, count, settings, realisation)
    }

    /// A batch of given inputs and noise, `[count, rows, columns, channels]`, standardized according to the settings.
    ///
    /// # Errors
    /// Channels that cannot be standardized.
    pub fn new(
        mut signal: Vec<f64>,
        mut noise: Vec<f64>,
        channels: usize,
        count: usize,
        settings: &MomentsSettings,
        realisation: u64,
    ) -> Result<Self, InputError> {
        if !settings.standardize {
            let mu2 = crate::measure::over_channels(&crate::measure::by_channel(&signal, channels)).mu2;
            if mu2 == 0.0 {
                return Err(InputError::AllConstant { realisation });
            }
            return Ok(Self { count, signal, noise, mu2, live: 1.0 });
        }
        let constant = standardize(&mut signal, channels);
        if let Some(&first) = constant.first() {
            if constant.len() == channels {
                return Err(InputError::AllConstant { realisation });
            }
            if !settings.drop_constant {
                return Err(InputError::Constant { constant: constant.len(), channels, first, realisation });
            }
            for row in noise.chunks_exact_mut(channels) {
                for &c in &constant {
                    row[c] = 0.0;
                }
            }
        }
        let live = (channels - constant.len()) as f64 / channels as f64;
        Ok(Self { count, signal, noise, mu2: live, live })
    }
}

/// Standardizes every channel to mean 0 and variance 1. Returns the channels that do not vary; these are set to 0.
fn standardize(values: &mut [f64], channels: usize) -> Vec<usize> {
    let rows = (values.len() / channels) as f64;
    let first = values[..channels].to_vec();
    let constant: Vec<usize> =
        (0..channels).filter(|&c| values.chunks_exact(channels).all(|row| row[c] == first[c])).collect();
    let mut means = vec![0.0; channels];
    for row in values.chunks_exact(channels) {
        for ((mean, v), first) in means.iter_mut().zip(row).zip(&first) {
            *mean += (v - first) / rows;
        }
    }
    let mut variances = vec![0.0; channels];
    for row in values.chunks_exact_mut(channels) {
        for (((variance, v), mean), first) in variances.iter_mut().zip(row).zip(&means).zip(&first) {
            *v = *v - first - mean;
            *variance += *v * *v / rows;
        }
    }
    let mut factors: Vec<f64> = variances.iter().map(|variance| 1.0 / variance.sqrt()).collect();
    for &c in &constant {
        factors[c] = 0.0;
    }
    for row in values.chunks_exact_mut(channels) {
        for (v, factor) in row.iter_mut().zip(&factors) {
            *v *= factor;
        }
    }
    constant
}

/// A random selection of inputs of a data set, each at most once, channels last.
fn chosen(pool: &Pool, count: usize, seed: u64, realisation: u64) -> Vec<f64> {
    let mut rng = stream(seed, realisation, Drawn::Choice, 0);
    let mut order: Vec<usize> = (0..pool.count()).collect();
    let Shape { channels, height, width } = pool.shape;
    let mut signal = Vec::with_capacity(count * pool.shape.len());
    for i in 0..count {
        let other = rng.random_range(i..order.len());
        order.swap(i, other);
        let input = &pool.values[order[i] * pool.shape.len()..][..pool.shape.len()];
        for position in 0..height * width {
            signal.extend((0..channels).map(|c| f64::from(input[c * height * width + position])));
        }
    }
    signal
}

/// Number of random directions of a spectrum over vectors.
const DIRECTIONS: usize = 512;

/// Vectors with covariance eigenvalues `k^-exponent` in a random basis.
fn vectors(normals: &mut Normals, count: usize, features: usize, exponent: f64) -> Vec<f64> {
    let directions = DIRECTIONS.min(features);
    let mut amplitudes = normals.take(count * directions, 1.0);
    for row in amplitudes.chunks_exact_mut(directions) {
        for (k, a) in row.iter_mut().enumerate() {
            *a *= ((k + 1) as f32).powf(-0.5 * exponent as f32);
        }
    }
    let basis = normals.take(directions * features, (directions as f32).sqrt().recip());
    let mut signal = vec![0.0_f32; count * features];
    faer::linalg::matmul::matmul(
        MatMut::from_row_major_slice_mut(&mut signal, count, features),
        Accum::Replace,
        MatRef::from_row_major_slice(&amplitudes, count, directions),
        MatRef::from_row_major_slice(&basis, directions, features),
        1.0_f32,
        Par::Seq,
    );
    signal.into_iter().map(f64::from).collect()
}

/// Random fields on a torus with power `max(|f|, 1)^-exponent` at frequency f: a common field and one for each channel.
fn fields(normals: &mut Normals, count: usize, shape: Shape, exponent: f64) -> Vec<f64> {
    let Shape { channels, height, width } = shape;
    let positions = height * width;
    let along = |len: usize, i: usize| (i.min(len - i)) as f64;
    let amplitude: Vec<f32> = (0..positions)
        .map(|at| along(height, at / width).hypot(along(width, at % width)).max(1.0).powf(-0.5 * exponent) as f32)
        .collect();
    let [rows, columns] = [height, width].map(Fourier::new);
    let mut smooth = normals.take(count * (channels + 1) * positions, 1.0);
    for field in smooth.chunks_exact_mut(positions) {
        // White noise, with each frequency multiplied by its amplitude.
        let [mut re, mut im] = transform(&rows, &columns, field, &vec![0.0; positions], -1.0);
        for ((re, im), amplitude) in re.iter_mut().zip(&mut im).zip(&amplitude) {
            *re *= amplitude / positions as f32;
            *im *= amplitude / positions as f32;
        }
        let [re, _] = transform(&rows, &columns, &re, &im, 1.0);
        field.copy_from_slice(&re);
    }
    let (common, own) = (0.8_f64.sqrt(), 0.2_f64.sqrt());
    let mut signal = Vec::with_capacity(count * positions * channels);
    for input in smooth.chunks_exact((channels + 1) * positions) {
        for p in 0..positions {
            let shared = common * f64::from(input[p]);
            signal.extend((1..=channels).map(|c| shared + own * f64::from(input[c * positions + p])));
        }
    }
    signal
}

/// cos and sin of 2π u x / n, as matrices.
struct Fourier {
    cos: Vec<f32>,
    sin: Vec<f32>,
    len: usize,
}

impl Fourier {
    fn new(len: usize) -> Self {
        let of = |f: fn(f64) -> f64| -> Vec<f32> {
            let angle = |at: usize| std::f64::consts::TAU * ((at / len) * (at % len) % len) as f64 / len as f64;
            (0..len * len).map(|at| f(angle(at)) as f32).collect()
        };
        Self { cos: of(f64::cos), sin: of(f64::sin), len }
    }
}

/// `Σ_xy e^(±2πi (ux/H + vy/W)) f(x, y)`, real and imaginary part.
fn transform(rows: &Fourier, columns: &Fourier, re: &[f32], im: &[f32], sign: f32) -> [Vec<f32>; 2] {
    let (h, w) = (rows.len, columns.len);
    // The sum a b + factor c d of matrix products.
    let sum = |a: (&[f32], usize), b: (&[f32], usize), c: &[f32], d: &[f32], factor: f32| -> Vec<f32> {
        let mut out = vec![0.0_f32; h * w];
        for (left, right, factor, accum) in [(a.0, b.0, 1.0, Accum::Replace), (c, d, factor, Accum::Add)] {
            faer::linalg::matmul::matmul(
                MatMut::from_row_major_slice_mut(&mut out, h, w),
                accum,
                MatRef::from_row_major_slice(left, left.len() / a.1, a.1),
                MatRef::from_row_major_slice(right, right.len() / b.1, b.1),
                factor,
                Par::Seq,
            );
        }
        out
    };
    let half_re = sum((&rows.cos, h), (re, w), &rows.sin, im, -sign);
    let half_im = sum((&rows.cos, h), (im, w), &rows.sin, re, sign);
    [
        sum((&half_re, w), (&columns.cos, w), &half_im, &columns.sin, -sign),
        sum((&half_im, w), (&columns.cos, w), &half_re, &columns.sin, sign),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_spectrum_they_are_asked_for() {
        let (count, side, exponent) = (400, 6, 1.5);
        let shape = Shape::image(2, side, side);
        let signal = fields(&mut Normals::new(1, 0, Drawn::Signal, 0), count, shape, exponent);
        // Power of channel 0 at some frequencies, from the definition of the Fourier transform.
        let power = |u: usize, v: usize| {
            let of = |input: &[f64]| {
                let (mut re, mut im) = (0.0, 0.0);
                for y in 0..side {
                    for x in 0..side {
                        let angle = std::f64::consts::TAU * (u * y + v * x) as f64 / side as f64;
                        re += angle.cos() * input[2 * (y * side + x)];
                        im -= angle.sin() * input[2 * (y * side + x)];
                    }
                }
                re * re + im * im
            };
            let all: f64 = signal.chunks_exact(2 * side * side).map(of).sum();
            all / (count * side * side) as f64
        };
        for (u, v, radius) in
            [(0, 0, 1.0_f64), (1, 0, 1.0), (0, 2, 2.0), (2, 2, 8.0_f64.sqrt()), (3, 5, 10.0_f64.sqrt())]
        {
            let expected = radius.powf(-exponent);
            // The mean of 400 squares of normal numbers, in the worst case one for each field.
            assert!((power(u, v) / expected - 1.0).abs() < 4.0 * (2.0 / count as f64).sqrt(), "{u} {v}");
        }
        // 0.8 of the variance of the channels is common.
        let product: f64 = signal.chunks_exact(2).map(|two| two[0] * two[1]).sum();
        let square: f64 = signal.chunks_exact(2).map(|two| 0.5 * (two[0] * two[0] + two[1] * two[1])).sum();
        assert!((product / square - 0.8).abs() < 0.05, "{}", product / square);
    }

    #[test]
    fn equal_values_are_constant_whatever_their_mean() {
        for rows in [2, 7, 75, 99, 100, 784] {
            for value in [0.3, 0.1, 1e-9, 123.456, -7e5] {
                let mut values: Vec<f64> = (0..rows).flat_map(|i| [f64::from(i), value]).collect();
                assert_eq!(standardize(&mut values, 2), [1], "{rows} rows of {value}");
                assert!(values.chunks_exact(2).all(|row| row[1] == 0.0));
            }
        }
    }
}
