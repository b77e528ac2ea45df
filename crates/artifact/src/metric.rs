//! The metrics of samples: what records, tables and pages know of each.

/// What a metric looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricBasis {
    /// The pixels of images.
    Pixels,
    /// The features that a network sees in images.
    Features,
    /// The classes that a classifier puts images into.
    Classes,
}

/// Declares the metrics: the name in records, the label on pages, what a metric looks at, and whether samples are compared
/// with the data by their ratio.
macro_rules! metrics {
    ($($(#[$doc:meta])* $Metric:ident = $name:literal, $label:literal, $basis:ident, ratio: $ratio:literal;)+) => {
        /// A metric of samples.
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

            /// What it looks at.
            #[must_use]
            pub const fn basis(self) -> MetricBasis {
                match self {
                    $(Self::$Metric => MetricBasis::$basis,)+
                }
            }

            /// Whether samples are compared with the data by their ratio.
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
    /// Mean correlation of two samples' pixels.
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
    /// Variance explained by a pixel's place modulo 2.
    Phase2 = "phase2", "phase mod 2", Pixels, ratio: true;
    /// Variance explained by a pixel's place modulo 8.
    Phase8 = "phase8", "phase mod 8", Pixels, ratio: true;
    /// Variance of the border over that of the interior.
    Border = "border", "border", Pixels, ratio: true;
    /// Fréchet distance of features.
    Fid = "fid", "FID", Features, ratio: false;
    /// Kernel distance of features.
    Kid = "kid", "KID", Features, ratio: false;
    /// Share of samples that lie among the data.
    Precision = "precision", "precision", Features, ratio: false;
    /// Share of the data that lie among samples.
    Recall = "recall", "recall", Features, ratio: false;
    /// Number of classes that samples fall into.
    Classes = "classes", "classes", Classes, ratio: false;
    /// Kullback-Leibler divergence of the classes of samples from those of the data.
    ClassDivergence = "class_divergence", "class divergence", Classes, ratio: false;
}

impl Metric {
    /// The metric of a name.
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
