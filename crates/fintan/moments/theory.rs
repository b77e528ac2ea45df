//! Predictions of theory for the measured networks.

use fintan_config::{Init, Layer, NetworkExperiment, PadMode, Parametrization, Standard, Unit};
use fintan_moments::summary::Row;
use fintan_moments::{Batch, Pool};
use fintan_theory::{
    Dual, SignalNoise, gaussian_increment, noise_diffusion, residual_exponent, signal_diffusion, signal_noise,
};

use super::pool::needs_pool;
use crate::csv;

/// Number of inputs for the curves of infinite width.
const INPUTS: usize = 64;
/// Largest number of integrals (pairs times layers), for nonlinearities without a closed form.
const INTEGRALS: usize = 1000;

/// Predictions of theory for networks whose moments are measured. A field is empty if theory has no prediction.
///
/// ```
/// let theory = fintan::MomentsTheory::default();
/// assert_eq!((theory.constant("gamma"), theory.infinite.len()), (None, 0));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MomentsTheory {
    /// The constants of the preset by name, as in `fit.json`; `None` if the law does not hold for this network.
    pub constants: Vec<(&'static str, Option<f64>)>,
    /// Signal and noise at infinite width for each layer, for networks on vectors without norms.
    pub infinite: Vec<SignalNoise>,
    /// Mean and variance of the change of log ν₂ (signal) in a layer.
    pub signal: Option<(f64, f64)>,
    /// Mean and variance of the change of log μ₂ (noise) in a layer, given the measured participation ratio.
    pub noise: Option<(f64, f64)>,
    /// The increment of the normalized sensitivity in a layer, for Gaussian pre-activations.
    pub increment: Option<f64>,
    /// 5 L / N, the variance of log ν₂ after the last layer of a ReLU network.
    pub fluctuation: Option<f64>,
    /// Why the curves of infinite width could not be computed.
    pub missing: Option<String>,
}

impl MomentsTheory {
    pub(super) fn of(experiment: &NetworkExperiment, pool: Option<&Pool>, rows: &[Row]) -> Self {
        let Some((unit, deep)) = experiment.settings.network.deep_preset() else { return Self::default() };
        let width = deep.width as f64;
        let parametrization = experiment.settings.network.parametrization;
        let increment = gaussian_increment(&deep.activation);
        let mut theory = Self { increment: Some(increment), ..Self::default() };
        theory.constants = match unit {
            Unit::Vanilla => {
                // These laws hold for ReLUs that preserve second moments: He weights and no biases.
                let he = matches!(parametrization, Parametrization::Standard(Standard { init, bias_std })
                    if bias_std == 0.0 && init.variance() == Some(2.0))
                    // Zero padding around a map reduces the signal.
                    && (deep.kernel == 1 || deep.padding == PadMode::Periodic)
                    && deep.activation == fintan_config::Activation::raw(fintan_config::Function::Relu);
                // The growth of the second half of the depth is fitted.
                let halfway = |row: &&Row| row.quantity == "pr_noise" && 2 * row.depth >= deep.depth;
                let found: Vec<f64> = rows.iter().filter(halfway).map(|row| 1.0 / row.statistics.mean).collect();
                let last = (!found.is_empty()).then(|| found.len() as f64 / found.iter().sum::<f64>());
                // The largest possible increment; the bound holds for these networks only.
                theory.increment = he.then_some(increment);
                if he {
                    theory.signal = Some(signal_diffusion(width));
                    theory.noise = last.map(|participation| noise_diffusion(width, participation));
                    theory.fluctuation = Some(5.0 * deep.depth as f64 / width);
                }
                vec![
                    ("log_nu2_mean", theory.signal.map(|s| s.0)),
                    ("log_nu2_variance", theory.signal.map(|s| s.1)),
                    ("log_mu2_noise_mean", theory.noise.map(|s| s.0)),
                    ("log_mu2_noise_growth_variance", theory.noise.map(|s| s.1)),
                    ("largest_increment", he.then_some(increment)),
                ]
            }
            Unit::BnFf => vec![("gaussian_increment", Some(increment)), ("gamma", Some(increment.ln()))],
            Unit::BnRes => {
                let tau = residual_exponent(increment, deep.res_depth(unit));
                vec![("gaussian_increment", Some(increment)), ("tau", Some(tau))]
            }
        };
        if unit == Unit::Vanilla && experiment.network.input.is_vector() {
            // This curve is shown beside the measurement. The results are valid without it.
            match infinite(experiment, pool) {
                Ok(found) => theory.infinite = found,
                Err(reason) => theory.missing = Some(reason),
            }
        }
        theory
    }

    /// The constant with this name, or `None` if it is not known or not finite.
    #[must_use]
    pub fn constant(&self, name: &str) -> Option<f64> {
        let found = self.constants.iter().find(|(found, _)| *found == name);
        found.and_then(|(_, value)| *value).filter(|value| value.is_finite())
    }

    /// The constants by name, as JSON.
    #[must_use]
    pub fn constants_json(&self) -> serde_json::Value {
        self.constants.iter().map(|&(name, value)| (name, serde_json::json!(value))).collect()
    }

    /// The contents of `theory.csv`, or `None` if there are no curves.
    pub(super) fn table(&self) -> Option<String> {
        let rows = self.infinite.iter().map(|at| vec![at.depth as f64, at.nu2, at.log_sensitivity, at.cosine]);
        (!self.infinite.is_empty()).then(|| csv::numbers("depth,nu2,log_sensitivity,cosine", rows))
    }
}

/// Computes signal and noise at infinite width over the inputs of the first realisation.
fn infinite(experiment: &NetworkExperiment, pool: Option<&Pool>) -> Result<Vec<SignalNoise>, String> {
    let Some((_, deep)) = experiment.settings.network.deep_preset() else { return Ok(Vec::new()) };
    let settings = experiment.settings.moments.as_ref().expect("checked");
    if pool.is_none() && needs_pool(settings) {
        return Err("the data set is not at hand".into());
    }
    let batch = Batch::draw(settings, experiment.network.input, experiment.settings.seed, 0, pool)
        .map_err(|e| e.to_string())?;
    let dual = Dual::new(deep.activation);
    let affordable = |n: &usize| n * (n - 1) / 2 * deep.depth <= INTEGRALS;
    let most = if dual.is_quadrature() { (2..=INPUTS).rev().find(affordable).unwrap_or(2) } else { INPUTS };
    let (n, len) = (batch.count.min(most), experiment.network.input.len());
    let row = |i: usize| &batch.signal[i * len..(i + 1) * len];
    let dot = |i: usize, j: usize| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f64>() / len as f64;
    let gram: Vec<f64> = (0..n * n).map(|at| dot(at / n, at % n)).collect();
    let linear = |node: &&fintan_config::Node| matches!(node.layer, Layer::Dense(_));
    let embedding = experiment.network.nodes.iter().find(linear).expect("it begins with weights");
    let (weights, biases, embedded) = match experiment.network.parametrization {
        Parametrization::Standard(Standard { init, bias_std }) => {
            let variance = |init: Init| init.variance().unwrap_or_else(|| init.std(1.0).powi(2) * deep.width as f64);
            (variance(init), bias_std * bias_std, embedding.init(init).variance().unwrap_or(1.0))
        }
        Parametrization::Ntk(b) | Parametrization::Graph(b) => {
            (1.0 - b.beta.powi(2), b.beta.powi(2), 1.0 - b.beta.powi(2))
        }
    };
    let gram: Vec<f64> = gram.iter().map(|g| biases + embedded * g).collect();
    let scale = embedded;
    let found =
        signal_noise(&dual, weights, biases, &gram, batch.mu2, batch.count, deep.depth).map_err(|e| e.to_string())?;
    // The embedding multiplies the noise too.
    Ok(found
        .into_iter()
        .map(|at| SignalNoise { log_sensitivity: at.log_sensitivity + 0.5 * scale.ln(), ..at })
        .collect())
}
