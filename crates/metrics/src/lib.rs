//! Metrics of image samples: arrays in, numbers out.
//!
//! | metric | of | definition |
//! | --- | --- | --- |
//! | correlation, std, Nyquist and phase shares, border | pixels | [`Samples::measure`] |
//! | MS-SSIM between samples | pixels | [`ms_ssim()`], Wang et al. 2003 |
//! | sliced Wasserstein distance | pixels, patches | [`sliced_wasserstein()`] |
//! | Fréchet distance (FID) | features | [`frechet_distance`], Heusel et al. 2017 |
//! | kernel distance (KID) | features | [`kernel_distance()`], Binkowski et al. 2018 |
//! | precision and recall | features | [`precision_recall`], Kynkaanniemi et al. 2019 |
//! | classes hit | classes | [`modes()`], Metz et al. 2017 |
//!
//! This crate uses no network and no device. The caller computes the features, and reports which features they are. Long
//! computations call a [`Tick`] as they progress.

mod features;
mod frechet;
mod kernel_distance;
mod manifold;
mod modes;
mod ms_ssim;
mod samples;
mod sliced_wasserstein;
mod spread;

pub use features::{Features, Scale};
pub use frechet::frechet_distance;
pub use kernel_distance::kernel_distance;
pub use manifold::{NEIGHBOURS, PrecisionRecall, precision_recall};
pub use modes::{Modes, modes};
pub use ms_ssim::{MsSsim, SSIM_WINDOW, ms_ssim, ms_ssim_scales};
pub use samples::{Measures, Samples};
pub use sliced_wasserstein::{Directions, PATCH, Rows, patches, sliced_wasserstein};
pub use spread::mean_and_spread;

/// A callback for progress: receives the number of items (pairs, rows, directions) done since the last call.
pub type Tick<'a> = &'a (dyn Fn(usize) + Sync);

/// The error for a metric that is undefined.
///
/// ```
/// use fintan_metrics::{Features, MetricError, kernel_distance};
///
/// let one = Features { values: vec![0.0], width: 1 };
/// let error = kernel_distance(&one, &one, &|_| {}).unwrap_err();
/// assert!(matches!(error, MetricError::TooFew { found: 1, needed: 2, .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// Too few samples.
    #[error("{metric} needs at least {needed} samples, got {found}")]
    TooFew {
        /// The metric.
        metric: &'static str,
        /// Samples given.
        found: usize,
        /// The smallest number for which the metric is defined.
        needed: usize,
    },
    /// Images that are too small.
    #[error("{metric} needs images of at least {needed}x{needed}, got {found}x{found}")]
    TooSmall {
        /// The metric.
        metric: &'static str,
        /// Rows and columns given.
        found: usize,
        /// The smallest size for which the metric is defined.
        needed: usize,
    },
    /// Two sets of different shapes.
    #[error("{metric} compares sets of one shape, got {first:?} and {second:?}")]
    Shapes {
        /// The metric.
        metric: &'static str,
        /// Rows and width of the first set.
        first: [usize; 2],
        /// Rows and width of the second set.
        second: [usize; 2],
    },
    /// A value is not finite.
    #[error("{0} is not defined for values that are not finite")]
    NotFinite(&'static str),
}
