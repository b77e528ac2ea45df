//! Arguments of `fintan tune`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::{Config, OutputArgs, Which};

/// The knobs of `fintan tune`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KnobChoice {
    /// The value that partial scaling subtracts from the hidden nonlinearities, from 0 to E[f(Z)].
    Mu,
    /// The inner gain of the hidden nonlinearities, from 1/16 to 16. Under raw scaling it changes variances too.
    Gain,
    /// The slope below 0 of leaky ReLUs (and ReLUs, which become leaky), from -1 to 1.
    Leak,
    /// The bias share β of the ntk and graph parametrizations.
    Beta,
    /// The hidden nonlinearity itself, standardized or normalized: the nearest to the goal among all that reach it.
    Nonlinearity,
}

/// `fintan tune`
#[derive(Debug, ClapArgs)]
pub(crate) struct Tune {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// The goal at infinite width: `r=1.2` (geometric mean over the depth), `regime=chaos`, `order` or `edge`, `scaled=0.1`
    /// (scaled kernel between two inputs), `checkerboard=0.1` (at most this share of the trace), or `condition=2` (condition
    /// number of the kernel of orthogonal inputs).
    #[arg(long)]
    pub goal: String,
    /// The knob to change.
    #[arg(long, value_enum)]
    pub knob: KnobChoice,
    /// Which network of a GAN.
    #[arg(long, value_enum, default_value_t = Which::Generator)]
    pub network: Which,
    /// Correlation of the two inputs of `scaled`; 0 by default.
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    pub between: Option<f64>,
    /// For `regime=chaos` and `order`: how near to 0 or 1 the scaled kernel of orthogonal inputs must be. The default is 0.02.
    #[arg(long, allow_negative_numbers = true)]
    pub margin: Option<f64>,
    /// Number of orthogonal inputs for the condition number.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(2..=1_000_000_000))]
    pub inputs: u64,
    /// The tuned configuration; it must not exist. By default `NAME.tuned.toml` in this folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
