//! The metrics of samples: name, label and basis of each, for records, tables and pages.

/// The input of a metric.
///
/// ```
/// use fintan_artifact::{Metric, MetricBasis};
///
/// let pixels = Metric::ALL.iter().filter(|metric| metric.basis() == MetricBasis::Pixels);
/// assert!(pixels.into_iter().any(|metric| metric.name() == "nyquist"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricBasis {
    /// The pixels of images.
    Pixels,
    /// The features that a network computes from images.
    Features,
    /// The classes that a classifier assigns to images.
    Classes,
}

/// Declares the metrics: the name in records, the label on pages, the basis, and whether samples are compared with the data
/// by ratio.
macro_rules! metrics {
    ($($(#[$doc:meta])* $Metric:ident = $name:literal, $label:literal, $basis:ident, ratio: $ratio:literal;)+) => {
        /// A metric of samples.
        ///
        /// ```
        /// use fintan_artifact::{Metric, MetricBasis};
        ///
        /// assert_eq!((Metric::Fid.label(), Metric::Fid.basis()), ("FID", MetricBasis::Features));
        /// assert!(Metric::Std.is_compared_by_ratio() && !Metric::Fid.is_compared_by_ratio());
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $($(#[$doc])* $Metric,)+
        }

        impl Metric {
            /// All metrics, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$Metric,)+];

            /// Its name in `metrics.json` and in tables.
            ///
            /// ```
            /// assert_eq!(fintan_artifact::Metric::Fid.name(), "fid");
            /// ```
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Metric => $name,)+
                }
            }

            /// Its label on pages.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$Metric => $label,)+
                }
            }

            /// The input of the metric.
            #[must_use]
            pub const fn basis(self) -> MetricBasis {
                match self {
                    $(Self::$Metric => MetricBasis::$basis,)+
                }
            }

            /// Whether samples and data are compared by the ratio of their values.
            #[must_use]
            pub const fn is_compared_by_ratio(self) -> bool {
                match self {
                    $(Self::$Metric => $ratio,)+
                }
            }
        }
    };
}

metrics! {
    /// Mean correlation of the pixels of two samples.
    Correlation = "correlation", "correlation", Pixels, ratio: false;
    /// Mean structural similarity of two samples over several scales.
    MsSsim = "ms_ssim", "MS-SSIM", Pixels, ratio: false;
    /// Standard deviation of a pixel over samples.
    Std = "std", "std", Pixels, ratio: true;
    /// Sliced Wasserstein distance of whole images.
    Swd = "swd", "sliced Wasserstein", Pixels, ratio: false;
    /// Sliced Wasserstein distance of 7x7 patches.
    PatchSwd = "patch_swd", "sliced Wasserstein of patches", Pixels, ratio: false;
    /// Energy at period 2.
    Nyquist = "nyquist", "energy at period 2", Pixels, ratio: true;
    /// Variance explained by the position of a pixel modulo 2.
    Phase2 = "phase2", "phase mod 2", Pixels, ratio: true;
    /// Variance explained by the position of a pixel modulo 8.
    Phase8 = "phase8", "phase mod 8", Pixels, ratio: true;
    /// Variance of the border divided by that of the interior.
    Border = "border", "border", Pixels, ratio: true;
    /// Fréchet distance of features.
    Fid = "fid", "FID", Features, ratio: false;
    /// Kernel distance of features.
    Kid = "kid", "KID", Features, ratio: false;
    /// Fraction of samples that lie on the manifold of the data.
    Precision = "precision", "precision", Features, ratio: false;
    /// Fraction of the data that lie on the manifold of the samples.
    Recall = "recall", "recall", Features, ratio: false;
    /// Number of classes with at least one sample.
    Classes = "classes", "classes", Classes, ratio: false;
    /// Kullback-Leibler divergence of the classes of the samples from those of the data.
    ClassDivergence = "class_divergence", "class divergence", Classes, ratio: false;
}

impl Metric {
    /// The metric with this name; `None` if there is none.
    ///
    /// ```
    /// use fintan_artifact::Metric;
    ///
    /// assert_eq!(Metric::from_name("ms_ssim"), Some(Metric::MsSsim));
    /// assert_eq!(Metric::from_name("inception score"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|metric| metric.name() == name)
    }
}
