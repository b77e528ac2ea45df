//! The command line. Doc comments are the help.

mod check;
mod cite;
mod compare;
mod data;
mod devices;
mod eval;
mod export;
mod flow;
mod moments;
mod ntk;
mod read;
mod report;
mod resume;
mod sample;
mod seeds;
mod theory;
mod train;
mod tune;

use fintan::DeviceChoice;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

pub(crate) use self::check::Check;
pub(crate) use self::cite::Cite;
pub(crate) use self::compare::Compare;
pub(crate) use self::data::{DataArgs, DataCommand};
pub(crate) use self::devices::Devices;
pub(crate) use self::eval::{Eval, MetricChoice};
pub(crate) use self::export::Export;
pub(crate) use self::flow::Flow;
pub(crate) use self::moments::{MergeMoments, Moments, MomentsCommand, MomentsSubcommand};
pub(crate) use self::ntk::{EntriesChoice, KernelCommand, Merge, MethodChoice, Ntk, NtkCommand};
pub(crate) use self::read::read;
pub(crate) use self::report::Report;
pub(crate) use self::resume::Resume;
pub(crate) use self::sample::{BatchNormMode, Interpolation, Sample};
pub(crate) use self::seeds::SeedRange;
pub(crate) use self::theory::{Theory, Which};
pub(crate) use self::train::Train;
pub(crate) use self::tune::{KnobChoice, Tune};

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
    /// Show what a configuration will do: regime of each layer, learning rates, cost, and untrained samples. Needs no data.
    Check(Check),
    /// Train a GAN, or a network with a task, into a new run directory.
    Train(Train),
    /// Continue a run exactly where it stopped.
    Resume(Resume),
    /// Draw images from a checkpoint: grids, single files, arrays, interpolations. Needs neither data nor configuration.
    Sample(Sample),
    /// Measure the samples of a checkpoint and compare them with images of the data.
    Eval(Eval),
    /// Compare configurations and runs: train what is missing with the same seeds, and measure all with the same metrics.
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
    /// Predict the losses of supervised runs from kernels, and compare them with the actual losses.
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

/// The form of a command's output.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct OutputArgs {
    /// Print results as JSON on stdout.
    #[arg(long)]
    pub json: bool,
    /// Print nothing on stderr but errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// The configuration of a command, and overrides of its settings.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Config {
    /// The configuration, a TOML file. Commands that do not train also accept a run directory, for its configuration.
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
    /// All overrides, in the order in which they apply.
    pub(crate) fn overrides(&self) -> Vec<String> {
        self.set.iter().cloned().chain(self.seed.map(|seed| format!("seed={seed}"))).collect()
    }
}

/// The device of a command.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct DeviceArgs {
    /// auto (a GPU if there is one, else flex), flex, ndarray, wgpu, or wgpu:N with N from `fintan devices`.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}
