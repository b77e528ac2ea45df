//! Arguments of `fintan eval`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use fintan_artifact::Metric;

use super::{BatchNormMode, DeviceArgs, OutputArgs};

/// A metric of samples, or a group of metrics that are computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum MetricChoice {
    /// All metrics.
    All,
    /// Mean correlation of two samples' pixels. It is 1 if every latent gives one image.
    Correlation,
    /// Mean structural similarity of two samples over several scales.
    MsSsim,
    /// Standard deviation of a pixel over samples.
    Std,
    /// Sliced Wasserstein distance of whole images.
    Swd,
    /// Sliced Wasserstein distance of 7x7 patches.
    PatchSwd,
    /// Energy at period 2: checkerboards.
    Nyquist,
    /// Variance explained by a pixel's place modulo 2.
    Phase2,
    /// Variance explained by a pixel's place modulo 8.
    Phase8,
    /// Variance of the border over that of the interior.
    Border,
    /// Fréchet distance of features.
    Fid,
    /// Kernel distance of features.
    Kid,
    /// Precision and recall of features.
    PrecisionRecall,
    /// Classes that samples fall into.
    Modes,
}

impl MetricChoice {
    /// The metrics of the choice.
    pub(crate) const fn metrics(self) -> &'static [Metric] {
        match self {
            Self::All => Metric::ALL,
            Self::Correlation => &[Metric::Correlation],
            Self::MsSsim => &[Metric::MsSsim],
            Self::Std => &[Metric::Std],
            Self::Swd => &[Metric::Swd],
            Self::PatchSwd => &[Metric::PatchSwd],
            Self::Nyquist => &[Metric::Nyquist],
            Self::Phase2 => &[Metric::Phase2],
            Self::Phase8 => &[Metric::Phase8],
            Self::Border => &[Metric::Border],
            Self::Fid => &[Metric::Fid],
            Self::Kid => &[Metric::Kid],
            Self::PrecisionRecall => &[Metric::Precision, Metric::Recall],
            Self::Modes => &[Metric::Classes, Metric::ClassDivergence],
        }
    }
}

/// `fintan eval`
#[derive(Debug, ClapArgs)]
pub(crate) struct Eval {
    /// The run directory of a GAN.
    pub run: PathBuf,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// Images of each set: samples, reference half and held-out half of the data. If half of the data has fewer, that number is
    /// used.
    #[arg(long, short, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(4..=100_000))]
    pub n: u64,
    /// Seed of the latents; by default the run's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The checkpoint of this step; by default the newest.
    #[arg(long)]
    pub step: Option<u64>,
    /// Statistics of batch norms.
    #[arg(long, value_enum, default_value_t = BatchNormMode::Running)]
    pub bn: BatchNormMode,
    /// The metrics to compute, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    pub metrics: Vec<MetricChoice>,
    /// Compute features with this network instead of a classifier trained on the data: a safetensors file with its architecture
    /// as JSON beside it, as `fintan export` writes them. It takes images in [-1, 1] and ends with a vector.
    #[arg(long, value_name = "FILE.safetensors")]
    pub features: Option<PathBuf>,
    /// Change the place of the data, such as `data.idx.labels=train-labels-idx1-ubyte.gz`. Can be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Steps of the classifier's training.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub classifier_steps: u64,
}
