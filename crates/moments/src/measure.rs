//! Moments of a tensor over inputs, positions and channels.

use faer::{Mat, Par, Side};

/// Moments of a tensor v of C channels over its rows (inputs and positions), in f64.
///
/// `ν_p,c = mean v_c^p`, `μ_p,c = mean (v_c - ν_1,c)^p`; without the index c, they are means over channels. Source: Labatie,
/// ICML 2019.
///
/// ```
/// // One channel with the values 1 and 3.
/// let moments = &fintan_moments::measure::by_channel(&[1.0, 3.0], 1)[0];
/// assert_eq!((moments.nu1, moments.nu2, moments.mu2, moments.mu4), (2.0, 5.0, 1.0, 1.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMoments {
    /// ν_1
    pub nu1: f64,
    /// ν_1(|v|)
    pub nu1_abs: f64,
    /// ν_2
    pub nu2: f64,
    /// μ_2
    pub mu2: f64,
    /// μ_4
    pub mu4: f64,
}

/// Moments of each channel.
///
/// # Shapes
/// - `values`: `[rows, channels]`, row-major
#[must_use]
pub fn by_channel<T: Copy + Into<f64>>(values: &[T], channels: usize) -> Vec<ChannelMoments> {
    let rows = (values.len() / channels) as f64;
    let mut sums = vec![[0.0; 3]; channels];
    for row in values.chunks_exact(channels) {
        for (sum, &v) in sums.iter_mut().zip(row) {
            let v: f64 = v.into();
            sum[0] += v;
            sum[1] += v.abs();
            sum[2] += v * v;
        }
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum[0] / rows).collect();
    let mut central = vec![[0.0; 2]; channels];
    for row in values.chunks_exact(channels) {
        for ((sum, &v), mean) in central.iter_mut().zip(row).zip(&means) {
            let d: f64 = v.into() - mean;
            sum[0] += d * d;
            sum[1] += d * d * d * d;
        }
    }
    let of = |(([_, abs, square], [second, fourth]), &nu1): ((&[f64; 3], &[f64; 2]), &f64)| ChannelMoments {
        nu1,
        nu1_abs: abs / rows,
        nu2: square / rows,
        mu2: second / rows,
        mu4: fourth / rows,
    };
    sums.iter().zip(&central).zip(&means).map(of).collect()
}

/// The mean over channels.
#[must_use]
pub fn over_channels(channels: &[ChannelMoments]) -> ChannelMoments {
    let mean = |of: fn(&ChannelMoments) -> f64| channels.iter().map(of).sum::<f64>() / channels.len() as f64;
    ChannelMoments {
        nu1: mean(|s| s.nu1),
        nu1_abs: mean(|s| s.nu1_abs),
        nu2: mean(|s| s.nu2),
        mu2: mean(|s| s.mu2),
        mu4: mean(|s| s.mu4),
    }
}

/// The number of directions that a tensor spans.
///
/// ```
/// // Four rows of two channels that vary alike and independently: a covariance with two equal eigenvalues.
/// let values = [1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0];
/// let ranks = fintan_moments::measure::ranks(&values, 2).expect("they vary");
/// assert!((ranks.effective - 2.0).abs() < 1e-12 && (ranks.participation - 2.0).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranks {
    /// r_eff = tr C / λ_max(C), where C is the covariance of the channels over rows.
    pub effective: f64,
    /// (tr C)² / tr C²
    pub participation: f64,
}

/// Ranks of the covariance between channels, between 1 and min(rows - 1, channels).
///
/// They are computed from the Gram matrix of the centred rows or columns, whichever is smaller; both have the same
/// eigenvalues. `None` if nothing varies.
///
/// # Shapes
/// - `values`: `[rows, channels]`, row-major
#[must_use]
pub fn ranks<T: Copy + Into<f64>>(values: &[T], channels: usize) -> Option<Ranks> {
    let rows = values.len() / channels;
    let mut means = vec![0.0; channels];
    for row in values.chunks_exact(channels) {
        for (mean, &v) in means.iter_mut().zip(row) {
            *mean += v.into();
        }
    }
    let centred = Mat::from_fn(rows, channels, |i, c| values[i * channels + c].into() - means[c] / rows as f64);
    let gram = gram(&centred, rows < channels);
    let trace: f64 = (0..gram.nrows()).map(|i| gram[(i, i)]).sum();
    let squares: f64 = gram.norm_l2().powi(2);
    let largest = gram.self_adjoint_eigenvalues(Side::Lower).ok()?.last().copied()?;
    (largest > 0.0).then(|| Ranks { effective: trace / largest, participation: trace * trace / squares })
}

/// Mean cosine between the inputs of a batch, each flattened to a vector; `None` if one of them is 0.
///
/// # Shapes
/// - `values`: `[inputs, ..]`, row-major
///
/// ```
/// // Two orthogonal inputs.
/// let cosine = fintan_moments::measure::mean_cosine(&[1.0, 0.0, 0.0, 2.0], 2).expect("not 0");
/// assert!(cosine.abs() < 1e-12);
/// ```
#[must_use]
pub fn mean_cosine<T: Copy + Into<f64>>(values: &[T], inputs: usize) -> Option<f64> {
    let cosines = cosines(values, inputs)?;
    (inputs > 1).then(|| cosines.iter().sum::<f64>() / cosines.len() as f64)
}

/// Cosines of the pairs i < j of a batch, in that order.
#[must_use]
pub fn cosines<T: Copy + Into<f64>>(values: &[T], inputs: usize) -> Option<Vec<f64>> {
    let len = values.len() / inputs;
    let gram = gram(&Mat::from_fn(inputs, len, |i, k| values[i * len + k].into()), true);
    let lengths: Vec<f64> = (0..inputs).map(|i| gram[(i, i)].sqrt()).collect();
    if lengths.iter().any(|length| *length == 0.0 || !length.is_finite()) {
        return None;
    }
    let pairs = (0..inputs).flat_map(|i| (i + 1..inputs).map(move |j| (i, j)));
    Some(pairs.map(|(i, j)| gram[(i, j)] / (lengths[i] * lengths[j])).collect())
}

/// `A Aᵀ`, or `Aᵀ A`.
fn gram(a: &Mat<f64>, of_rows: bool) -> Mat<f64> {
    let size = if of_rows { a.nrows() } else { a.ncols() };
    let mut gram = Mat::zeros(size, size);
    let (left, right) = if of_rows { (a.as_ref(), a.transpose()) } else { (a.transpose(), a.as_ref()) };
    // Realisations run in parallel, so each product uses only its own thread.
    faer::linalg::matmul::matmul(gram.as_mut(), faer::Accum::Replace, left, right, 1.0, Par::Seq);
    gram
}
