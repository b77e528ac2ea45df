//! Infinite width in f64: dual activations, kernels, regimes of order and chaos.
//!
//! The crate reads an [`Architecture`](fintan_config::Architecture). It uses no tensors, no devices and no random numbers.
//!
//! # From a layer to a kernel
//!
//! A layer computes `h_p = √(w/n c_p) Σ_q,c W a_q,c + b B`, with all W and B from N(0, 1). Given the layer below, h is
//! Gaussian, and its channels are independent. As n grows, the sum over channels of `a_q(x) a_q'(y)` tends to n times its
//! mean. Hence:
//!
//! 1. The covariance of h is `Σ = b² + w/√(c_p c_p') Σ_taps E[a a']`: two positions share the terms that pass through the
//!    same tap.
//! 2. The mean of `a a' = σ(u) σ(v)` over Gaussian (u, v) with that covariance is the dual activation: [`Dual`].
//! 3. The derivative of h in W is a, and in B it is b. The derivative in parameters below follows from the chain rule, in which
//!    `σ'(u) σ'(v)` is averaged in the same way: `Θ = Σ + w/√(c_p c_p') Σ_taps E[σ'σ'] Θ`: [`NetworkLimit`].
//! 4. A transposed convolution shares a tap between p and p' only if its stride divides p' - p. In the interior the kernel is
//!    therefore ultrametric, and its eigenvectors are checkerboards: [`Ultrametric`].
//! 5. On the sphere everything depends on the correlation map c ↦ `(b² + w s(c))/q`, whose slope at 1 is r. [`MeanField`] has
//!    its fixed points and slopes; [`Family`], [`depth_sweep`] and [`Law`] describe how Θ follows from them.
//!
//! | formula | source | here |
//! | --- | --- | --- |
//! | Θ of dense networks, training in its flow | Jacot, Gabriel, Hongler, NeurIPS 2018 (arXiv 1806.07572) | [`NetworkLimit`], [`Flow`] |
//! | steps of gradient descent; outputs on other inputs | Lee et al., NeurIPS 2019 (arXiv 1902.06720) | [`Flow`] |
//! | Θ of convolutions, pooling | Arora et al., NeurIPS 2019 (arXiv 1904.11955) | [`NetworkLimit`] |
//! | transposed convolutions, graph-based fan-in, r, order and chaos, valuations, checkerboards | Jacot, Gabriel, Ged, Hongler (arXiv 1907.05715) | [`NetworkLimit`], [`Ultrametric`], [`regimes`] |
//! | relu, leaky relu, abs | Cho and Saul, NeurIPS 2009 | [`Dual`] |
//! | erf | Williams, Neural Computation 1998 | [`Dual`] |
//! | series in c | Mehler's formula; Daniely, Frostig, Singer, NeurIPS 2016 | [`NetworkLimit::gram`] |
//! | q*, χ₁, c*, depth scales, the critical line | Poole et al., NeurIPS 2016; Schoenholz et al., ICLR 2017 | [`MeanField`], [`critical_weights`] |
//! | the edge of chaos: ϑ → 1/4 (kinks), 1/3 (smooth) | Hayou, Doucet, Rousseau 2019 (arXiv 1905.13654) | [`Law`] |
//! | layer-dependent rates multiply parts of Θ | arXiv 1907.05715; exponents are a setting | [`Request::rates`], [`Ultrametric::with_rates`] |

mod bulk;
mod depth;
mod dual;
mod family;
mod flow;
mod limit;
mod mean_field;
mod quadrature;
mod regime;
mod root;
mod series;
mod signal_noise;
mod tune;
mod valuation;
mod variances;
mod wide;

pub use depth::{AtDepth, Law, condition_bound, depth_sweep};
pub use dual::{ActivatedMoments, Dual, DualError, Duals, GaussianPair, LARGEST_ERROR};
pub use family::{Family, Sweep, correlated_inputs};
pub use flow::{Flow, FlowError, Time};
pub use limit::{LimitError, NetworkLimit, PositionKernel, Relation, Request};
pub use mean_field::{Fate, MeanField, critical_line, critical_weights};
pub use regime::{PieceRegime, Regime, mean_r, regimes};
pub use signal_noise::{
    SignalNoise, gaussian_increment, noise_diffusion, residual_exponent, signal_diffusion, signal_noise,
};
pub use tune::{Knob, PatternSpace, Setting, Standing, TuneError, TuneGoal, Tuned, border_ratio, tune};
pub use valuation::Ultrametric;
pub use wide::Wide;
