//! Infinite width in f64: dual activations, kernels, regimes of order and chaos.
//!
//! Reads an [`Architecture`](fintan_config::Architecture); knows no tensor, no device and no random number.

mod depth;
mod dual;
mod flow;
mod limit;
mod mean_field;
mod quadrature;
mod regime;
mod root;
mod series;
mod tune;
mod valuation;
mod variances;

pub use depth::{AtDepth, Law, depth_sweep};
pub use dual::{Dual, DualError, Duals, LARGEST_ERROR, Moments, Pair};
pub use flow::{Flow, FlowError, Time};
pub use limit::{Limit, LimitError, LimitKernel, Request};
pub use mean_field::{MeanField, critical_weights};
pub use regime::{LayerRegime, Regime, regimes};
pub use tune::{Block, Goal, Knob, NONLINEARITIES, Setting, Standing, TuneError, Tuned, tune};
pub use valuation::Ultrametric;
