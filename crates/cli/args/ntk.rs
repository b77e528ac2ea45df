//! Arguments of `fintan ntk`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use fintan::parse_memory;

use super::{BatchNormMode, DeviceArgs, OutputArgs, Which};

/// Which entries of the kernel Θ[(n, o), (n', o')].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EntriesChoice {
    /// All of them, [N1, N2, O, O].
    Full,
    /// Summed over o = o', [N1, N2].
    Traced,
    /// Those with o = o', [N1, N2, O].
    Diagonal,
}

/// How the kernel is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodChoice {
    /// The fastest by counted operations and copies.
    Auto,
    /// Each layer from its inputs and cotangents.
    Structured,
    /// Pullback, then pushforward, for every row.
    #[value(name = "ntk_vector_products")]
    NtkVectorProducts,
    /// Whole Jacobians by autodiff: the oracle, for small sizes.
    #[value(name = "jacobian_contraction")]
    JacobianContraction,
}

/// The checkpoints of a run to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Steps {
    /// All checkpoints in the run.
    All,
}

/// `fintan ntk` and other commands for kernels.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct NtkCommand {
    /// Other commands for kernels.
    #[command(subcommand)]
    pub command: Option<KernelCommand>,
    #[command(flatten)]
    pub compute: Ntk,
}

/// Other commands for kernels.
#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// Merge the tiles that several processes computed with `--tiles`.
    Merge(Merge),
}

/// `fintan ntk merge`
#[derive(Debug, ClapArgs)]
pub(crate) struct Merge {
    /// Folders of tiles (`KERNEL.npz.tiles`) of one kernel.
    #[arg(required = true)]
    pub folders: Vec<PathBuf>,
    /// The .npz file; it must not exist.
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub voice: OutputArgs,
}

/// `fintan ntk`
#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Ntk {
    /// A configuration (.toml) of a GAN or of a `[network]`, or a run directory.
    #[arg(value_name = "CONFIG or RUN", required = true)]
    pub path: Option<PathBuf>,
    /// Change a setting of the configuration, such as `network.fc.widths=[512,512]`. Can be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of drawn weights and inputs.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// Which network of a GAN.
    #[arg(long, value_enum, default_value_t = Which::Generator)]
    pub network: Which,
    /// The checkpoint of this step of a run; by default the newest.
    #[arg(long)]
    pub step: Option<u64>,
    /// Compute the kernel of every checkpoint of a run on the same inputs, and print a table of its drift: the relative change
    /// in the Frobenius norm, and the alignment of the leading eigenvector with that of the first checkpoint.
    #[arg(long, value_enum, conflicts_with_all = ["step", "weights", "out", "tiles", "top", "plan"])]
    pub steps: Option<Steps>,
    /// Weights from a safetensors file, in PyTorch's layouts, named `{i}.weight` and `{i}.bias`, i counting the layers that hold
    /// parameters. `--bn running` needs `{i}.running_mean` and `{i}.running_var` of batch norms, too.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Inputs from an .npy file, `FILE.npz:NAME` or `FILE.safetensors:NAME`, [N, features] or [N, channels, rows, columns];
    /// or `train` or `test`: the samples of the network's task.
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<String>,
    /// Inputs of the other side for a kernel between two sets, such as `--inputs test --inputs2 train`.
    #[arg(long, value_name = "FILE")]
    pub inputs2: Option<String>,
    /// Number of inputs if no file gives them, by default 16: latents of a generator, images of the data set for a
    /// discriminator, or draws on the sphere |x|² = features for a `[network]`. For a network with a task, the first N of its
    /// samples, by default all.
    #[arg(long, short, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub n: Option<u64>,
    /// The entries of the kernel to compute.
    #[arg(long, value_enum, default_value_t = EntriesChoice::Traced)]
    pub entries: EntriesChoice,
    /// Divide a traced kernel by the number of outputs.
    #[arg(long)]
    pub mean: bool,
    /// Outputs, counted in channel, row, column order: `0,5,8..16`. By default all.
    #[arg(long, value_name = "LIST")]
    pub outputs: Option<String>,
    /// Outputs of this channel of an image only.
    #[arg(long, conflicts_with = "outputs")]
    pub channel: Option<usize>,
    /// Every K-th row and column of an image only.
    #[arg(long, value_name = "K", conflicts_with = "outputs", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub grid: Option<u64>,
    /// Leave out the output nonlinearity. At infinite width its slopes stay random, and the kernel before it becomes constant.
    #[arg(long)]
    pub before_output: bool,
    /// The method of computation.
    #[arg(long, value_enum, default_value_t = MethodChoice::Auto)]
    pub method: MethodChoice,
    /// Compute in f64 rather than f32.
    #[arg(long)]
    pub f64: bool,
    /// Keep only the kernel, without the part of each parameter. This needs less memory.
    #[arg(long)]
    pub no_parts: bool,
    /// Memory that may be used, such as 4GB or 500MB; by default half of what is free.
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    pub memory: Option<f64>,
    /// Print method, tiles, memory and operations, without computing the kernel.
    #[arg(long)]
    pub plan: bool,
    /// Samples a side of a tile; by default chosen so that tiles fit and the least work is done twice.
    #[arg(long, value_name = "N")]
    pub tile_samples: Option<usize>,
    /// Outputs a side of a tile; by default as many as fit.
    #[arg(long, value_name = "N")]
    pub tile_outputs: Option<usize>,
    /// Compute only these tiles of the plan, and store them beside the path of the kernel for `fintan ntk merge`.
    #[arg(long, value_name = "A..B")]
    pub tiles: Option<String>,
    /// The K largest eigenpairs of the full kernel without forming it, by Lanczos; writes eigenimages of a generator.
    #[arg(long, value_name = "K", conflicts_with_all = ["entries", "tiles", "tile_samples", "tile_outputs", "plan", "method", "mean"], value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub top: Option<u64>,
    /// Statistics of batch norms. Statistics of the batch couple its samples; the kernel takes this into account.
    #[arg(long, value_enum, default_value_t = BatchNormMode::Batch)]
    pub bn: BatchNormMode,
    /// The .npz file; by default in the run's `ntk/`, or named after the configuration.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
