//! Arguments of `fintan theory`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::{Config, DeviceArgs, OutputArgs};

/// Which network of a GAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// The generator (or the average of its weights, if the configuration averages them).
    Generator,
    /// The discriminator.
    Discriminator,
}

/// `fintan theory`
#[derive(Debug, ClapArgs)]
pub(crate) struct Theory {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// Which network of a GAN.
    #[arg(long, value_enum, default_value_t = Which::Generator)]
    pub network: Which,
    /// Number of orthogonal inputs for condition numbers.
    #[arg(long, short, default_value_t = 64, value_parser = clap::value_parser!(u64).range(2..=1_000_000_000))]
    pub n: u64,
    /// Write NNGP and NTK of the limit at these inputs, as arrays `nngp` and `ntk` of `kernels.npz` (before an output
    /// nonlinearity): `FILE.npy`, `FILE.npz[:ARRAY]` or `FILE.safetensors:TENSOR`, like `fintan ntk --inputs`. With `--out
    /// FILE.npz`, write only that file.
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<String>,
    /// Write the kernels between the inputs of `--inputs` and these.
    #[arg(long, value_name = "FILE", requires = "inputs")]
    pub inputs2: Option<String>,
    /// Compare a kernel that `fintan ntk` wrote for this network with the limit.
    #[arg(long, value_name = "KERNEL.npz")]
    pub compare: Option<PathBuf>,
    /// Write kernels between all pairs of pixels of an image, borders included (16 bytes a pair).
    #[arg(long)]
    pub positions: bool,
    /// Compare finite networks of these hidden widths with the limit, such as `32,64,128,256`.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub widths: Vec<u64>,
    /// Networks of each width.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..=10000))]
    pub seeds: u64,
    /// The folder; it must not exist. By default the configuration's name with `.theory`.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
