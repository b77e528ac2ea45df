//! The command line. Doc comments are the help.

mod ntk;
mod read;
mod seeds;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use self::ntk::{EntriesChoice, KernelCommand, Merge, MethodChoice, Ntk, NtkCommand};
pub(crate) use self::read::read;
pub(crate) use self::seeds::SeedRange;
use crate::device::Choice;

/// Order and chaos in neural networks: train GANs without BatchNorm, and know beforehand whether they will collapse.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what a configuration will do: regime of each layer, learning rates, cost, and untrained samples. Needs no data.
    Check(Check),
    /// Train a GAN, or a network with a task, into a new run directory.
    Train(Train),
    /// Go on with a run exactly where it stopped.
    Resume(Resume),
    /// Draw images from a checkpoint: grids, single files, arrays, interpolations. Needs neither data nor configuration.
    Sample(Sample),
    /// Measure the samples of a checkpoint beside the data's own images.
    Eval(Eval),
    /// Hold configurations and runs side by side: trains what is missing with the same seeds, measures all alike.
    Compare(Compare),
    /// Put runs on one page of HTML that needs no server, no network and no other file.
    Report(Report),
    /// Write the generator of a checkpoint for other programs: weights, architecture, and a loader for Python.
    Export(Export),
    /// Compute the empirical neural tangent kernel of a network: as drawn, with weights from a file, or of a checkpoint.
    Ntk(Box<NtkCommand>),
    /// Compute what a network does at infinite width: regime, depth, pixels, and how far a finite kernel is from it.
    Theory(Theory),
    /// Measure signal and noise through the depth of random networks: sensitivity, effective ranks, fits.
    Moments(Box<MomentsCommand>),
    /// Predict the losses of supervised runs from kernels, beside those they had.
    Flow(Flow),
    /// Solve for one knob that moves a network to a goal, such as `regime=chaos`, and write the tuned configuration.
    Tune(Tune),
    /// Print BibTeX for what a configuration or a run uses.
    Cite(Cite),
    /// Look at a data set.
    Data {
        /// What to do.
        #[command(subcommand)]
        command: DataCommand,
    },
    /// List the devices of this machine and say which one `auto` picks.
    Devices(Devices),
}

/// How a command speaks.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Voice {
    /// Print results as JSON on stdout.
    #[arg(long)]
    pub json: bool,
    /// Say nothing on stderr but errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Which configuration, and what to change in it.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Config {
    /// The configuration, a TOML file; where nothing is trained, a run directory stands for its own.
    #[arg(value_name = "CONFIG")]
    pub path: PathBuf,
    /// Change a setting, such as `train.steps=200` or `data.idx.images=train-images.gz`. Can be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of weights, latents and data order; the same as `--set seed=N`.
    #[arg(long)]
    pub seed: Option<u64>,
}

impl Config {
    /// All changes in the order they apply.
    pub(crate) fn overrides(&self) -> Vec<String> {
        self.set.iter().cloned().chain(self.seed.map(|seed| format!("seed={seed}"))).collect()
    }
}

/// Where to compute.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct On {
    /// auto (a GPU if there is one, else flex), flex, ndarray, wgpu, or wgpu:N with N from `fintan devices`.
    #[arg(long, default_value = "auto")]
    pub device: Choice,
}

/// `fintan check`
#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// Untrained networks to measure.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Samples of each.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(2..=65536))]
    pub samples: u64,
}

/// `fintan train`
#[derive(Debug, ClapArgs)]
pub(crate) struct Train {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// The run directory; it must not exist. By default `runs/` and the configuration's name, numbered where that exists.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// `fintan resume`
#[derive(Debug, ClapArgs)]
pub(crate) struct Resume {
    /// The run directory.
    pub run: PathBuf,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// Train to this step, or `+N` for N more than the run was meant to have.
    #[arg(long, value_name = "N or +N")]
    pub steps: Option<String>,
    /// Go back to the checkpoint of this step. What came after it is removed.
    #[arg(long, value_name = "STEP")]
    pub from: Option<u64>,
    /// Change a setting of the run from here on: rates, schedules, steps, how often something is logged, drawn or kept, where
    /// the data lie. Such as `generator.optimizer.adam.rate=1e-4`. Can be given many times, and is noted in `env.json`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Go on although the data are not those that the run was trained on. It is noted in `env.json`.
    #[arg(long)]
    pub data_changed: bool,
}

/// Statistics of a batch-normalized generator when it draws samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BatchNormMode {
    /// Running averages of training: a sample depends on its latent only.
    Running,
    /// Those of the batch at hand, as in training.
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
    // Below, nearly every draw is thrown away.
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
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
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
    /// Draw latent values beyond +-PSI again until they are within: less variety, more typical images.
    #[arg(long, value_name = "PSI", value_parser = truncation, allow_negative_numbers = true)]
    pub truncation: Option<f64>,
    /// Also write each image as a PNG of its own, in a folder named after the grid.
    #[arg(long)]
    pub png_each: bool,
    /// Also write images [n, channels, rows, columns] in [-1, 1] and latents [n, latent] as an .npz file.
    #[arg(long)]
    pub npz: bool,
    /// Walk between pairs of latents: one walk a row, of which the picture shows as many images as it has columns.
    #[arg(long, value_enum)]
    pub interpolate: Option<Interpolation>,
    /// Latents along a walk, its ends included.
    #[arg(long, default_value_t = 60, requires = "interpolate", value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pub frames: u64,
    /// Also write all walks as an animated GIF, forth and back.
    #[arg(long, requires = "interpolate")]
    pub gif: bool,
    /// The PNG file, after which the others are named; by default in the run's `samples/`.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A metric of samples, or a few that come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum MetricChoice {
    /// All of them.
    All,
    /// Mean correlation of two samples' pixels: 1 where every latent gives one image.
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

/// `fintan eval`
#[derive(Debug, ClapArgs)]
pub(crate) struct Eval {
    /// The run directory of a GAN.
    pub run: PathBuf,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// Images of each set: samples, reference half and held-out half of the data. Fewer where half the data are fewer.
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
    /// What to measure, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    pub metrics: Vec<MetricChoice>,
    /// Features from this network rather than from a classifier trained on the data: a safetensors file with its
    /// architecture as JSON beside it, as `fintan export` writes them. It takes images in [-1, 1] and ends with a vector.
    #[arg(long, value_name = "FILE.safetensors")]
    pub features: Option<PathBuf>,
    /// Change where the data are, such as `data.idx.labels=train-labels-idx1-ubyte.gz`. Can be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Steps of the classifier's training.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub classifier_steps: u64,
}

/// `fintan compare`
#[derive(Debug, ClapArgs)]
pub(crate) struct Compare {
    /// Configurations (.toml) of GANs, comparisons (.toml with `[compare]`), and run directories, in any mixture.
    #[arg(required = true, value_name = "CONFIG or RUN")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// Seeds of weights, latents and data order to train each configuration with: `0,1,2`, `0..3` (3 left out), or a mixture;
    /// by default the one that the configurations have.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub seeds: Vec<SeedRange>,
    /// Change a setting of all configurations; of runs, where the data are (`data.`). Can be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The folder for runs, table and report. What is there already is not done again. By default in `runs/`.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Images of each set, as in `eval`.
    #[arg(long, short, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(4..=100_000))]
    pub n: u64,
    /// What to measure, separated by commas, as in `eval`; by default what needs no classifier.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "correlation,ms_ssim,std,swd,patch_swd,nyquist")]
    pub metrics: Vec<MetricChoice>,
    /// Statistics of batch norms.
    #[arg(long, value_enum, default_value_t = BatchNormMode::Running)]
    pub bn: BatchNormMode,
    /// Steps of the classifier's training, for metrics that need one.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub classifier_steps: u64,
}

/// `fintan report`
#[derive(Debug, ClapArgs)]
pub(crate) struct Report {
    /// Run directories of any kind (GANs, networks with a task, moments), or the folder of one comparison.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    #[command(flatten)]
    pub voice: Voice,
    /// The page; by default `report.html` in the run, or in this folder for several.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// `fintan export`
#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    /// The run directory of a GAN.
    pub run: PathBuf,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// The folder; it must not exist.
    #[arg(long)]
    pub out: PathBuf,
    /// The checkpoint of this step; by default the newest.
    #[arg(long)]
    pub step: Option<u64>,
}

/// What `fintan tune` turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KnobChoice {
    /// What partial scaling subtracts from the hidden nonlinearities, from 0 to E[f(Z)].
    Mu,
    /// Their inner gain, from 1/16 to 16; under raw scaling it changes variances too.
    Gain,
    /// The slope below 0 of leaky ReLUs (and ReLUs, which become leaky), from -1 to 1.
    Leak,
    /// The bias share β of the ntk and graph parametrizations.
    Beta,
    /// The function itself, standardized or normalized: the nearest of all that reach the goal.
    Nonlinearity,
}

/// `fintan tune`
#[derive(Debug, ClapArgs)]
pub(crate) struct Tune {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub voice: Voice,
    /// What to reach at infinite width: `r=1.2` (geometric mean over the depth), `regime=chaos`, `order` or `edge`, `scaled=0.1`
    /// (kernel between two inputs over their own), `checkerboard=0.1` (at most this share of the trace), `condition=2`
    /// (condition number of the kernel of orthogonal inputs).
    #[arg(long)]
    pub goal: String,
    /// What to turn.
    #[arg(long, value_enum)]
    pub knob: KnobChoice,
    /// Which network of a GAN.
    #[arg(long, value_enum, default_value_t = Which::Generator)]
    pub network: Which,
    /// Correlation of the two inputs of `scaled`; 0 by default.
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    pub between: Option<f64>,
    /// Of `regime=chaos` and `order`: how near to 0 or 1 the scaled kernel of orthogonal inputs must be; 0.02 by default.
    #[arg(long, allow_negative_numbers = true)]
    pub margin: Option<f64>,
    /// Inputs of the condition number.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(2..=1_000_000_000))]
    pub inputs: u64,
    /// The tuned configuration; it must not exist. By default `NAME.tuned.toml` in this folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Which network of a GAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// The generator (its average, where weights are averaged).
    Generator,
    /// The discriminator.
    Discriminator,
}

/// `fintan moments`
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct MomentsCommand {
    /// What else can be done.
    #[command(subcommand)]
    pub command: Option<MomentsSubcommand>,
    #[command(flatten)]
    pub measure: Moments,
}

/// What else can be done with moments.
#[derive(Debug, Subcommand)]
pub(crate) enum MomentsSubcommand {
    /// Put runs of different realisations of one configuration together.
    Merge(MergeMoments),
}

/// `fintan moments merge`
#[derive(Debug, ClapArgs)]
pub(crate) struct MergeMoments {
    /// Run directories of `fintan moments`, of one configuration.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// The run directory to make; it must not exist.
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
}

/// `fintan moments CONFIG`
#[derive(Debug, ClapArgs)]
pub(crate) struct Moments {
    /// A configuration with `[network]` and `[moments]`.
    #[arg(value_name = "CONFIG", required = true)]
    pub path: Option<PathBuf>,
    /// Change a setting, such as `moments.realisations=20`. Can be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of everything that is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// The run directory; it must not exist. By default `runs/` and the configuration's name, numbered where that exists.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on in the directory of --out: realisations that are there are not done again.
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Realisations A to B (B left out) instead of all; the parts are put together by `fintan moments merge`.
    #[arg(long, value_name = "A..B")]
    pub range: Option<String>,
}

/// `fintan cite`
#[derive(Debug, ClapArgs)]
pub(crate) struct Cite {
    /// A configuration (.toml) or a run directory.
    #[arg(value_name = "CONFIG or RUN")]
    pub path: PathBuf,
}

/// `fintan flow`
#[derive(Debug, ClapArgs)]
pub(crate) struct Flow {
    /// Run directories of supervised training by gradient descent on the squared loss.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// The plot; by default `flow/losses.svg` in the run, or `flow.svg` for several.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// `fintan theory`
#[derive(Debug, ClapArgs)]
pub(crate) struct Theory {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// Which network of a GAN.
    #[arg(long, value_enum, default_value_t = Which::Generator)]
    pub network: Which,
    /// Number of orthogonal inputs of expected condition numbers.
    #[arg(long, short, default_value_t = 64, value_parser = clap::value_parser!(u64).range(2..=1_000_000_000))]
    pub n: u64,
    /// Write both kernels of the limit at these inputs, arrays `nngp` and `ntk` of `kernels.npz` (before an output
    /// nonlinearity): `FILE.npy`, `FILE.npz[:ARRAY]` or `FILE.safetensors:TENSOR`, as `fintan ntk --inputs`. With `--out FILE.npz`
    /// that file alone.
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<String>,
    /// Between `--inputs` and these.
    #[arg(long, value_name = "FILE", requires = "inputs")]
    pub inputs2: Option<String>,
    /// A kernel that `fintan ntk` wrote for this network: say how far it is from its limit.
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

/// `fintan data`
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Count, size, channels, classes and what could not be read.
    Info(DataArgs),
    /// What `info` says, and a PNG of some images as training sees them.
    Preview(Preview),
}

/// Which data.
#[derive(Debug, ClapArgs)]
pub(crate) struct DataArgs {
    /// A folder of images, a .tar or .zip of images, an .npy or .npz array, an IDX file, CIFAR .bin batches (file or folder),
    /// or a configuration (.toml) or run directory for the data that it names.
    pub path: PathBuf,
    #[command(flatten)]
    pub voice: Voice,
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

/// `fintan devices`
#[derive(Debug, ClapArgs)]
pub(crate) struct Devices {
    #[command(flatten)]
    pub voice: Voice,
}
