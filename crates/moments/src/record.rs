//! The record of one realisation, in the form in which it is stored.

use serde::{Deserialize, Serialize};

/// Moments of one realisation at one point.
///
/// ```
/// # let text = "
/// #     network = { input = 4, vanilla = { depth = 2, width = 8 } }
/// #     moments = { inputs.spectrum.exponent = 1.0, batch = 8, realisations = 2 }
/// # ";
/// # let fintan_config::Subject::Network(experiment) = fintan_config::Subject::parse("toy.toml", text, &[])? else {
/// #     panic!("a network")
/// # };
/// # use burn::tensor::{DType, Device};
/// # use fintan_net::{Lowering, Placement};
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// let plan = fintan_moments::MomentsPlan::new(&experiment).expect("[moments] is there");
/// for (record, point) in plan.realise(0, None, &cpu)?.records.iter().zip(plan.points()) {
///     assert_eq!((record.depth, &record.loc), (point.depth, &point.loc));
///     assert!((record.all.nu2.ln() - record.all.log_nu2).abs() < 1e-6 || record.all.bits != 0);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The index l of the layer; 0 for the output of an embedding.
    pub depth: usize,
    /// The name of the point.
    pub loc: String,
    /// The moments over all channels.
    #[serde(flatten)]
    pub all: PointMoments,
    /// Effective rank of the signal, between 1 and min(inputs · positions - 1, channels).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reff_signal: Option<f64>,
    /// Effective rank of the noise, with the bounds of `reff_signal`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reff_noise: Option<f64>,
    /// Participation ratio of the signal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pr_signal: Option<f64>,
    /// Participation ratio of the noise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pr_noise: Option<f64>,
    /// Mean cosine between two inputs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cosine: Option<f64>,
    /// The moments of each channel, if requested.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub channels: Vec<PointMoments>,
}

/// `log 0` is stored as NaN and serialised as null.
mod missing {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// Moments of signal x and noise dx. The logarithm of 0 is NaN here, and null in files.
///
/// ```
/// # let text = "
/// #     network = { input = 4, vanilla = { depth = 2, width = 8 } }
/// #     moments = { inputs.spectrum.exponent = 1.0, batch = 8, realisations = 2 }
/// # ";
/// # let fintan_config::Subject::Network(experiment) = fintan_config::Subject::parse("toy.toml", text, &[])? else {
/// #     panic!("a network")
/// # };
/// # use burn::tensor::{DType, Device};
/// # use fintan_net::{Lowering, Placement};
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// let plan = fintan_moments::MomentsPlan::new(&experiment).expect("[moments] is there");
/// let point = plan.realise(0, None, &cpu)?.records[0].all;
/// // A mean square is at least as large as the variance.
/// assert!(point.nu2 >= point.mu2 && point.mu2 > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PointMoments {
    /// ν₁(x) = `nu1` · 2^bits.
    pub nu1: f64,
    /// ν₁(|x|) = `nu1_abs` · 2^bits.
    pub nu1_abs: f64,
    /// ν₂(x) = `nu2` · 4^bits.
    pub nu2: f64,
    /// μ₂(x) = `mu2` · 4^bits.
    pub mu2: f64,
    /// μ₄(x) = `mu4` · 16^bits.
    pub mu4: f64,
    /// The signal was scaled by 2^-bits, so that it stays in the range of floating-point numbers.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub bits: i32,
    /// log ν₂(x)
    #[serde(with = "missing")]
    pub log_nu2: f64,
    /// log μ₂(x)
    #[serde(with = "missing")]
    pub log_mu2: f64,
    /// log μ₂(dx), the mean square: noise has mean 0.
    #[serde(with = "missing")]
    pub log_mu2_noise: f64,
    /// log χ, the logarithm of the normalized sensitivity `χ² = (μ₂(dx) / μ₂(x)) / (μ₂(dx⁰) / μ₂(x⁰))`.
    #[serde(with = "missing")]
    pub log_sensitivity: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(bits: &i32) -> bool {
    *bits == 0
}

/// The layer after which a realisation stopped early, and why.
///
/// ```
/// let stop: fintan_moments::EarlyStop = serde_json::from_str(r#"{ "depth": 7, "reason": "the noise is 0" }"#)?;
/// assert_eq!(stop.depth, 7);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyStop {
    /// The index l of the layer.
    pub depth: usize,
    /// The reason.
    pub reason: String,
}

/// The measurement of one realisation.
///
/// ```
/// # let text = "
/// #     network = { input = 4, vanilla = { depth = 2, width = 8 } }
/// #     moments = { inputs.spectrum.exponent = 1.0, batch = 8, realisations = 2 }
/// # ";
/// # let fintan_config::Subject::Network(experiment) = fintan_config::Subject::parse("toy.toml", text, &[])? else {
/// #     panic!("a network")
/// # };
/// # use burn::tensor::{DType, Device};
/// # use fintan_net::{Lowering, Placement};
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// let plan = fintan_moments::MomentsPlan::new(&experiment).expect("[moments] is there");
/// let realisation = plan.realise(1, None, &cpu)?;
/// assert_eq!((realisation.number, realisation.dead.as_ref()), (1, None));
/// assert_eq!(realisation.records.last().expect("a point").depth, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Realisation {
    /// The number of the realisation. Together with the seed it determines all random draws.
    pub number: u64,
    /// Set if signal or noise became zero or not finite, or all inputs became equal. Records end before that layer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dead: Option<EarlyStop>,
    /// The records, in the order of [`MomentsPlan::points`](crate::MomentsPlan::points).
    pub records: Vec<Record>,
}
