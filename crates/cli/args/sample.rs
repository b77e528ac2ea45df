//! Arguments of `fintan sample`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::{DeviceArgs, OutputArgs};

/// Statistics of a batch-normalized generator when it draws samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BatchNormMode {
    /// Running averages of training: a sample depends on its latent only.
    Running,
    /// The statistics of the current batch, as in training.
    Batch,
}

/// How latents are interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Interpolation {
    /// Along the great circle between two latents.
    Slerp,
}

/// Rows and columns of a grid, `8x8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GridShape {
    pub rows: u64,
    pub columns: u64,
}

impl std::str::FromStr for GridShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once('x').and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
        match sides {
            Some((rows, columns)) if (1..=1000).contains(&rows) && (1..=1000).contains(&columns) => {
                Ok(Self { rows, columns })
            }
            _ => Err("it must be rows and columns in 1 to 1000, such as 8x8".into()),
        }
    }
}

/// The truncation of latents.
fn truncation(text: &str) -> Result<f64, String> {
    // With a smaller value, nearly every draw would be rejected.
    match text.parse::<f64>() {
        Ok(bound) if bound >= 0.001 && bound.is_finite() => Ok(bound),
        _ => Err("it must be at least 0.001, such as 0.7".into()),
    }
}

/// `fintan sample`
#[derive(Debug, ClapArgs)]
pub(crate) struct Sample {
    /// The run directory, or a folder that `fintan export` wrote.
    pub run: PathBuf,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// Number of images, by default 64; of interpolations, by default 8.
    #[arg(long, short, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub n: Option<u64>,
    /// Images in a row, by default 8.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub columns: Option<u64>,
    /// Rows and columns of the grid, such as 4x6: the same as `-n 24 --columns 6`.
    #[arg(long, value_name = "ROWSxCOLUMNS", conflicts_with_all = ["n", "columns"])]
    pub grid: Option<GridShape>,
    /// Seed of the latents; by default the run's, which gives the images of its grids.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The checkpoint of this step; by default the newest.
    #[arg(long)]
    pub step: Option<u64>,
    /// Statistics of batch norms.
    #[arg(long, value_enum, default_value_t = BatchNormMode::Running)]
    pub bn: BatchNormMode,
    /// Redraw latent values outside +-PSI until they are inside. Images become more typical and less varied.
    #[arg(long, value_name = "PSI", value_parser = truncation, allow_negative_numbers = true)]
    pub truncation: Option<f64>,
    /// Also write each image as a PNG of its own, in a folder named after the grid.
    #[arg(long)]
    pub png_each: bool,
    /// Also write images [n, channels, rows, columns] in [-1, 1] and latents [n, latent] as an .npz file.
    #[arg(long)]
    pub npz: bool,
    /// Interpolate between pairs of latents: one interpolation a row, of which the picture shows as many images as it has
    /// columns.
    #[arg(long, value_enum)]
    pub interpolate: Option<Interpolation>,
    /// Number of latents of an interpolation, both ends included.
    #[arg(long, default_value_t = 60, requires = "interpolate", value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pub frames: u64,
    /// Also write all interpolations as an animated GIF, forward and back.
    #[arg(long, requires = "interpolate")]
    pub gif: bool,
    /// The PNG file; names of the other files are derived from its name. By default it is in the run's `samples/`.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
