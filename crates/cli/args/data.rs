//! Arguments of `fintan data`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::OutputArgs;

/// `fintan data`
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Count, size, channels, classes and what could not be read.
    Info(DataArgs),
    /// Show what `info` shows, and write a PNG of some images as training sees them.
    Preview(Preview),
}

/// The path of the data.
#[derive(Debug, ClapArgs)]
pub(crate) struct DataArgs {
    /// A folder of images, a .tar or .zip of images, an .npy or .npz array, an IDX file, CIFAR .bin batches (file or folder),
    /// or a configuration (.toml) or run directory for the data that it names.
    pub path: PathBuf,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// Rows and columns to bring images to.
    #[arg(long, default_value_t = 32)]
    pub size: usize,
    /// 1 (grey) or 3 (RGB).
    #[arg(long, default_value_t = 3)]
    pub channels: usize,
}

/// `fintan data preview`
#[derive(Debug, ClapArgs)]
pub(crate) struct Preview {
    #[command(flatten)]
    pub data: DataArgs,
    /// Number of images.
    #[arg(long, short, default_value_t = 64)]
    pub n: usize,
    /// The PNG file.
    #[arg(long, default_value = "preview.png")]
    pub out: PathBuf,
}
