//! Batches of inputs and their noise.

use faer::{Accum, MatMut, MatRef, Par};
use fintan_config::{Inputs, Moments, Shape, Spectrum};
use rand::RngExt as _;

use crate::normals::{Normals, Purpose, stream};

/// Inputs that batches are chosen from.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// `[count, channels, rows, columns]`, row-major.
    pub values: Vec<f32>,
    /// Shape of one.
    pub shape: Shape,
}

/// A batch and its noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Number of inputs.
    pub count: usize,
    /// x⁰, `[count, rows, columns, channels]`, row-major.
    pub signal: Vec<f64>,
    /// dx⁰, the same shape: independent values from N(0, 1).
    pub noise: Vec<f64>,
    /// μ₂(x⁰); 1 where inputs are standardized.
    pub mu2: f64,
    /// Share of channels that are not left out: the mean square that the noise is drawn with.
    pub live: f64,
}

/// Inputs that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Some of them do not vary.
    #[error(
        "{constant} of {channels} input channels are constant over the batch of realisation {realisation} (the first is \
         channel {first}); set `moments.drop_constant = true` to leave such channels out"
    )]
    Constant {
        /// Number of those.
        constant: usize,
        /// Of so many.
        channels: usize,
        /// The first of them.
        first: usize,
        /// In this batch.
        realisation: u64,
    },
    /// None of them varies.
    #[error("every input channel is constant over the batch of realisation {realisation}")]
    AllConstant {
        /// In this batch.
        realisation: u64,
    },
    /// There are too few.
    #[error("`moments.batch` is {batch}, but the data set holds {count} inputs")]
    TooFew {
        /// Wanted.
        batch: usize,
        /// Found.
        count: usize,
    },
    /// A value is no number.
    #[error("input {input} of the data set holds {value}")]
    NotFinite {
        /// Its place.
        input: usize,
        /// What stands there.
        value: String,
    },
}

impl Pool {
    /// Number of inputs.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.shape.len()
    }

    /// Checks that a batch can be chosen from it.
    ///
    /// # Errors
    /// Too few inputs; a value that is not finite.
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
        settings: &Moments,
        shape: Shape,
        seed: u64,
        realisation: u64,
        pool: Option<&Pool>,
    ) -> Result<Self, InputError> {
        let (count, len) = (settings.batch, settings.batch * shape.len());
        let mut normals = Normals::new(seed, realisation, Purpose::Signal, 0);
        let signal = match (&settings.inputs, pool) {
            (_, Some(pool)) => chosen(pool, count, seed, realisation),
            (Inputs::Spectrum(Spectrum { exponent }), _) if shape.is_vector() => {
                vectors(&mut normals, count, shape.channels, *exponent)
            }
            (Inputs::Spectrum(Spectrum { exponent }), _) => fields(&mut normals, count, shape, *exponent),
            _ => normals.take(len, 1.0).into_iter().map(f64::from).collect(),
        };
        let noise = Normals::new(seed, realisation, Purpose::Noise, 0).take(len, 1.0);
        let noise = noise.into_iter().map(f64::from).collect();
        Self::new(signal, noise, shape.channels, count, settings, realisation)
    }

    /// A batch of given inputs and noise, `[count, rows, columns, channels]`, standardized as the settings say.
    ///
    /// # Errors
    /// Channels that cannot be standardized.
    pub fn new(
        mut signal: Vec<f64>,
        mut noise: Vec<f64>,
        channels: usize,
        count: usize,
        settings: &Moments,
        realisation: u64,
    ) -> Result<Self, InputError> {
        if !settings.standardize {
            let mu2 = crate::measure::over_channels(&crate::measure::by_channel(&signal, channels)).mu2;
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

/// Brings every channel to mean 0 and variance 1; returns the channels that do not vary, which are set to 0.
fn standardize(values: &mut [f64], channels: usize) -> Vec<usize> {
    let rows = (values.len() / channels) as f64;
    let mut means = vec![0.0; channels];
    for row in values.chunks_exact(channels) {
        for (mean, v) in means.iter_mut().zip(row) {
            *mean += v / rows;
        }
    }
    let mut variances = vec![0.0; channels];
    for row in values.chunks_exact_mut(channels) {
        for ((variance, v), mean) in variances.iter_mut().zip(row).zip(&means) {
            *v -= mean;
            *variance += *v * *v / rows;
        }
    }
    // Equal values leave the rounding of their mean.
    let is_constant = |variance: f64, mean: f64| variance <= (1e-12 * mean).powi(2);
    let constant: Vec<usize> = (0..channels).filter(|&c| is_constant(variances[c], means[c])).collect();
    let factors: Vec<f64> = (0..channels)
        .map(|c| if is_constant(variances[c], means[c]) { 0.0 } else { 1.0 / variances[c].sqrt() })
        .collect();
    for row in values.chunks_exact_mut(channels) {
        for (v, factor) in row.iter_mut().zip(&factors) {
            *v *= factor;
        }
    }
    constant
}

/// Some inputs of a data set, each at most once, channels last.
fn chosen(pool: &Pool, count: usize, seed: u64, realisation: u64) -> Vec<f64> {
    let mut rng = stream(seed, realisation, Purpose::Choice, 0);
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

/// Directions of a spectrum over vectors.
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

/// Random fields on a torus, of power `max(|f|, 1)^-exponent` at the frequency f: a common one and one for each channel.
fn fields(normals: &mut Normals, count: usize, shape: Shape, exponent: f64) -> Vec<f64> {
    let Shape { channels, height, width } = shape;
    let positions = height * width;
    // White noise passes a circular filter whose response is the amplitude at each frequency.
    let along = |len: usize, i: usize| (i.min(len - i)) as f64;
    let amplitude = |u: usize, v: usize| along(height, u).hypot(along(width, v)).max(1.0).powf(-0.5 * exponent);
    let cosines =
        |len: usize| -> Vec<f64> { (0..len).map(|i| (std::f64::consts::TAU * i as f64 / len as f64).cos()).collect() };
    let (rows, columns) = (cosines(height), cosines(width));
    // The amplitude is even in both frequencies, so the filter is a sum of cosines.
    let mut half = vec![0.0; positions];
    for u in 0..height {
        for x in 0..width {
            half[u * width + x] = (0..width).map(|v| amplitude(u, v) * columns[v * x % width]).sum();
        }
    }
    let mut filter = vec![0.0; positions];
    for y in 0..height {
        for x in 0..width {
            filter[y * width + x] =
                (0..height).map(|u| half[u * width + x] * rows[u * y % height]).sum::<f64>() / positions as f64;
        }
    }
    // As a matrix over pairs of positions.
    let circulant: Vec<f32> = (0..positions)
        .flat_map(|p| {
            let filter = &filter;
            (0..positions).map(move |q| {
                let (dy, dx) = ((q / width + height - p / width) % height, (q % width + width - p % width) % width);
                filter[dy * width + dx] as f32
            })
        })
        .collect();
    let white = normals.take(count * (channels + 1) * positions, 1.0);
    let mut smooth = vec![0.0_f32; white.len()];
    let fields = count * (channels + 1);
    faer::linalg::matmul::matmul(
        MatMut::from_row_major_slice_mut(&mut smooth, fields, positions),
        Accum::Replace,
        MatRef::from_row_major_slice(&white, fields, positions),
        MatRef::from_row_major_slice(&circulant, positions, positions),
        1.0_f32,
        Par::Seq,
    );
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
