//! Means, spreads, increments and fits over realisations.

use fintan_config::Unit;
use serde::Serialize;

use crate::record::{Realisation, Record};

/// Statistics of a quantity at one depth, over realisations.
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
/// use fintan_moments::{MomentsPlan, summary::rows};
///
/// let plan = MomentsPlan::new(&experiment).expect("[moments] is there");
/// let rows = rows(&[plan.realise(0, None, &cpu)?, plan.realise(1, None, &cpu)?], None);
/// assert!(rows.iter().all(|row| row.statistics.n == 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Layer l.
    pub depth: usize,
    /// The point; empty if the quantity belongs to the whole layer.
    pub loc: String,
    /// Name of the quantity.
    pub quantity: &'static str,
    /// Statistics over realisations.
    #[serde(flatten)]
    pub statistics: Statistics,
}

/// Statistics of a sample.
///
/// ```
/// let statistics = fintan_moments::summary::Statistics::of(&[1.0, 2.0, 3.0]).expect("values");
/// assert_eq!((statistics.mean, statistics.std, statistics.p50), (2.0, 1.0, 2.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistics {
    /// Number of values.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Standard deviation (divisor n - 1); NaN for a single value.
    pub std: f64,
    /// 16th percentile.
    pub p16: f64,
    /// Median.
    pub p50: f64,
    /// 84th percentile.
    pub p84: f64,
    /// Standard error of the mean.
    pub standard_error: f64,
}

impl Statistics {
    /// Computes the statistics of some values; `None` without values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = mean(values);
        let std = if n > 1 {
            (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt()
        } else {
            f64::NAN
        };
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let at = q * (n - 1) as f64;
            let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
            low + (high - low) * at.fract()
        };
        let [p16, p50, p84] = [0.16, 0.5, 0.84].map(quantile);
        Some(Self { n, mean, std, p16, p50, p84, standard_error: std / (n as f64).sqrt() })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A number with its standard error.
///
/// ```
/// let estimate = fintan_moments::summary::Estimate { value: 0.5, standard_error: 0.25, std: None };
/// assert_eq!(serde_json::to_string(&estimate)?, r#"{"value":0.5,"standard_error":0.25}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Standard error, by the jackknife over realisations.
    pub standard_error: f64,
    /// Standard deviation of the values of single realisations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
}

/// Laws fitted to the dependence on depth.
///
/// ```
/// # let text = "
/// #     network = { input = 4, vanilla = { depth = 4, width = 32 } }
/// #     moments = { inputs.spectrum.exponent = 1.0, batch = 8, realisations = 2 }
/// # ";
/// # let fintan_config::Subject::Network(experiment) = fintan_config::Subject::parse("toy.toml", text, &[])? else {
/// #     panic!("a network")
/// # };
/// # use burn::tensor::{DType, Device};
/// # use fintan_net::{Lowering, Placement};
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// use fintan_config::Unit;
/// use fintan_moments::{MomentsPlan, summary::fits};
///
/// let plan = MomentsPlan::new(&experiment).expect("[moments] is there");
/// let realisations = [plan.realise(0, None, &cpu)?, plan.realise(1, None, &cpu)?];
/// let fits = fits(&realisations, Unit::Vanilla, 1);
/// assert_eq!(fits.between.expect("depths").1, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Fits {
    /// The depths (h, L) between which the slopes below are measured.
    pub between: Option<(usize, usize)>,
    /// Mean per layer of log ν₂(x).
    pub log_nu2_mean: Option<Estimate>,
    /// Variance per layer of log ν₂(x).
    pub log_nu2_variance: Option<Estimate>,
    /// Mean per layer of log μ₂(dx).
    pub log_mu2_noise_mean: Option<Estimate>,
    /// Variance per layer of log μ₂(dx).
    pub log_mu2_noise_variance: Option<Estimate>,
    /// Variance per layer of the growth of log μ₂(dx).
    pub log_mu2_noise_growth_variance: Option<Estimate>,
    /// γ of χ ~ exp(γ l).
    pub gamma: Option<Estimate>,
    /// τ = (δ^2H - 1) / 2. δ is the ratio of mean sensitivities after and before the first layer of a unit, averaged over
    /// depths.
    pub tau: Option<Estimate>,
    /// C of χ ~ C l^τ with this τ, by least squares of χ.
    pub amplitude: Option<Estimate>,
    /// Slope of log χ (of the mean χ) over log l, starting from a tenth of the depth.
    pub tau_log_log: Option<Estimate>,
    /// Largest |C l^τ / χ - 1|, starting from a tenth of the depth.
    pub largest_misfit: Option<f64>,
}

/// Points of a unit: input, after the batch norm, after the nonlinearity or its weights, output.
struct Locs {
    enters: &'static str,
    normed: Option<&'static str>,
    /// The point at which an increment ends.
    first: &'static str,
    leaves: &'static str,
}

impl Locs {
    fn of(unit: Unit) -> Self {
        match unit {
            Unit::Vanilla => Self { enters: "loc1", normed: None, first: "loc3", leaves: "loc3" },
            Unit::BnFf => Self { enters: "loc1", normed: Some("loc3"), first: "loc4", leaves: "loc4" },
            Unit::BnRes => Self { enters: "loc1", normed: Some("loc2"), first: "loc4", leaves: "loc5" },
        }
    }
}

/// Name of the last point of a unit.
#[must_use]
pub fn leaves(unit: Unit) -> &'static str {
    Locs::of(unit).leaves
}

fn find<'a>(of: &'a Realisation, depth: usize, loc: &str) -> Option<&'a Record> {
    of.records.iter().find(|record| record.depth == depth && record.loc == loc)
}

fn log_chi(of: &Realisation, depth: usize, loc: &str) -> Option<f64> {
    Some(find(of, depth, loc)?.all.log_sensitivity)
}

/// The quantities in a record, with their names.
#[must_use]
pub fn quantities(record: &Record) -> Vec<(&'static str, f64)> {
    let all = &record.all;
    let scale = 2.0_f64.powi(all.bits);
    let always = [
        ("nu1", scale * all.nu1),
        ("nu1_abs", scale * all.nu1_abs),
        ("nu2", scale.powi(2) * all.nu2),
        ("mu2", scale.powi(2) * all.mu2),
        ("mu4", scale.powi(4) * all.mu4),
        ("log_nu2", all.log_nu2),
        ("log_mu2", all.log_mu2),
        ("log_mu2_noise", all.log_mu2_noise),
        ("log_sensitivity", all.log_sensitivity),
        ("sensitivity", all.log_sensitivity.exp()),
    ];
    let ranks = [
        ("reff_signal", record.reff_signal),
        ("reff_noise", record.reff_noise),
        ("pr_signal", record.pr_signal),
        ("pr_noise", record.pr_noise),
        ("cosine", record.cosine),
    ];
    always.into_iter().chain(ranks.into_iter().filter_map(|(name, value)| Some((name, value?)))).collect()
}

/// Every quantity at every point, and the increments of each layer, over the realisations that are not dead.
///
/// Increments are means of ratios: `delta` over the first layer of a unit, and its two factors `delta_bn` and `delta_phi`
/// (`bn_ff`: weights with batch norm, then nonlinearity; `bn_res`: batch norm, then nonlinearity with weights).
/// `log_nu2_gain` and `log_mu2_noise_gain` are relative to the embedding.
#[must_use]
pub fn rows(realisations: &[Realisation], unit: Option<Unit>) -> Vec<Row> {
    let living: Vec<&Realisation> = realisations.iter().filter(|r| r.dead.is_none()).collect();
    let Some(first) = living.first() else { return Vec::new() };
    let mut rows = Vec::new();
    let mut add = |depth: usize, loc: &str, quantity: &'static str, values: &[f64]| {
        // A quantity that leaves the range of f64 has no mean; its logarithm is a separate quantity.
        if values.iter().any(|v| !v.is_finite()) {
            return;
        }
        if let Some(statistics) = Statistics::of(values) {
            rows.push(Row { depth, loc: loc.to_owned(), quantity, statistics });
        }
    };
    let mut done = Vec::new();
    for (i, record) in first.records.iter().enumerate() {
        let of: Vec<Vec<(&'static str, f64)>> = living.iter().map(|r| quantities(&r.records[i])).collect();
        // Some realisations may lack a rank or a cosine.
        let mut names: Vec<&'static str> = Vec::new();
        for (name, _) in of.iter().flatten() {
            if !names.contains(name) {
                names.push(name);
            }
        }
        for name in names {
            let value = |found: &Vec<(&'static str, f64)>| found.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            add(record.depth, &record.loc, name, &of.iter().filter_map(value).collect::<Vec<_>>());
        }
        let Some(locs) = unit.map(Locs::of).filter(|_| record.depth > 0 && !done.contains(&record.depth)) else {
            continue;
        };
        done.push(record.depth);
        let l = record.depth;
        let ratio = |from: &str, to: &str| -> Vec<f64> {
            let of = |r: &&Realisation| Some((log_chi(r, l, to)? - log_chi(r, l, from)?).exp());
            living.iter().filter_map(of).collect()
        };
        add(l, "", "delta", &ratio(locs.enters, locs.first));
        if let Some(normed) = locs.normed {
            add(l, "", "delta_bn", &ratio(locs.enters, normed));
            add(l, "", "delta_phi", &ratio(normed, locs.first));
        }
        let gain = |of: fn(&Record) -> f64| -> Vec<f64> {
            living.iter().filter_map(|r| Some(of(find(r, l, locs.leaves)?) - of(find(r, 0, "embedding")?))).collect()
        };
        add(l, "", "log_nu2_gain", &gain(|r| r.all.log_nu2));
        add(l, "", "log_mu2_noise_gain", &gain(|r| r.all.log_mu2_noise));
    }
    rows
}

/// Largest number of groups for the jackknife.
const GROUPS: usize = 50;

/// A statistic with its jackknife standard error: each group of realisations is left out in turn.
fn jackknife<T: Copy>(all: &[T], statistic: impl Fn(&[T]) -> Option<f64>) -> Option<Estimate> {
    let value = statistic(all)?;
    let groups = all.len().min(GROUPS);
    if groups < 2 {
        return Some(Estimate { value, standard_error: f64::INFINITY, std: None });
    }
    let without = |g: usize| -> Option<f64> {
        let rest: Vec<T> =
            all.iter().enumerate().filter(|(i, _)| i * groups / all.len() != g).map(|(_, &one)| one).collect();
        statistic(&rest)
    };
    let left: Vec<f64> = (0..groups).map(without).collect::<Option<_>>()?;
    let centre = mean(&left);
    let sum: f64 = left.iter().map(|v| (v - centre).powi(2)).sum();
    let standard_error = ((groups - 1) as f64 / groups as f64 * sum).sqrt();
    Some(Estimate { value, standard_error, std: None })
}

fn variance(values: &[f64]) -> Option<f64> {
    let centre = mean(values);
    (values.len() > 1).then(|| values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (values.len() - 1) as f64)
}

/// Least-squares slope of y over x.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let (xy, xx) = points.iter().fold((0.0, 0.0), |(a, b), p| (a + (p.0 - mx) * (p.1 - my), b + (p.0 - mx).powi(2)));
    (points.len() > 1 && xx > 0.0).then(|| xy / xx)
}

/// Fits over the realisations that are not dead.
///
/// `res_depth`: number H of weight layers in a unit.
#[must_use]
pub fn fits(realisations: &[Realisation], unit: Unit, res_depth: usize) -> Fits {
    let living: Vec<&Realisation> = realisations.iter().filter(|r| r.dead.is_none()).collect();
    let locs = Locs::of(unit);
    let mut depths: Vec<usize> = living
        .first()
        .map(|r| r.records.iter().filter(|r| r.loc == locs.leaves).map(|r| r.depth).collect())
        .unwrap_or_default();
    depths.dedup();
    let Some(&last) = depths.last() else { return Fits::default() };
    // The depth closest to half of the last depth.
    let half = depths.iter().copied().filter(|&l| l < last).min_by_key(|&l| l.abs_diff(last / 2));
    let mut fits = Fits::default();
    if let Some(half) = half {
        let layers = (last - half) as f64;
        let at = |r: &Realisation, l: usize, of: fn(&Record) -> f64| find(r, l, locs.leaves).map(of);
        let growth = |of: fn(&Record) -> f64| -> Option<Vec<f64>> {
            living.iter().map(|r| Some((at(r, last, of)? - at(r, half, of)?) / layers)).collect()
        };
        let mean_growth = |of: fn(&Record) -> f64| -> Option<Estimate> {
            let s = Statistics::of(&growth(of)?)?;
            Some(Estimate { value: s.mean, standard_error: s.standard_error, std: Some(s.std) })
        };
        let variance_growth = |of: fn(&Record) -> f64| {
            jackknife(&living, |some| {
                let at = |l: usize| some.iter().map(|r| at(r, l, of)).collect::<Option<Vec<f64>>>();
                Some((variance(&at(last)?)? - variance(&at(half)?)?) / layers)
            })
        };
        fits = Fits {
            between: Some((half, last)),
            log_nu2_mean: mean_growth(|r| r.all.log_nu2),
            log_nu2_variance: variance_growth(|r| r.all.log_nu2),
            log_mu2_noise_mean: mean_growth(|r| r.all.log_mu2_noise),
            log_mu2_noise_variance: variance_growth(|r| r.all.log_mu2_noise),
            log_mu2_noise_growth_variance: growth(|r| r.all.log_mu2_noise)
                .and_then(|growth| jackknife(&growth, |some| Some(variance(some)? * layers))),
            gamma: mean_growth(|r| r.all.log_sensitivity),
            ..fits
        };
    }
    if unit == Unit::BnRes && depths.len() > 2 {
        let mean_chi = |some: &[&Realisation], l: usize, loc: &str| -> Option<f64> {
            let values: Option<Vec<f64>> = some.iter().map(|r| log_chi(r, l, loc).map(f64::exp)).collect();
            values.map(|values| mean(&values))
        };
        let tau = |some: &[&Realisation]| -> Option<f64> {
            let ratios: Option<Vec<f64>> = depths
                .iter()
                .map(|&l| Some(mean_chi(some, l, locs.first)? / mean_chi(some, l, locs.enters)?))
                .collect();
            Some((mean(&ratios?).powi(2 * res_depth as i32) - 1.0) / 2.0)
        };
        let amplitude = |some: &[&Realisation]| -> Option<f64> {
            let tau = tau(some)?;
            let (mut up, mut down) = (0.0, 0.0);
            for &l in &depths {
                let power = (l as f64).powf(tau);
                up += mean_chi(some, l, locs.leaves)? * power;
                down += power * power;
            }
            Some(up / down)
        };
        let deep: Vec<usize> = depths.iter().copied().filter(|&l| 10 * l >= last).collect();
        fits.tau = jackknife(&living, tau);
        fits.amplitude = jackknife(&living, amplitude);
        fits.tau_log_log = jackknife(&living, |some| {
            let points: Option<Vec<(f64, f64)>> =
                deep.iter().map(|&l| Some(((l as f64).ln(), mean_chi(some, l, locs.leaves)?.ln()))).collect();
            slope(&points?)
        })
        .map(|estimate| {
            let own = living.iter().filter_map(|r| {
                let points: Option<Vec<(f64, f64)>> =
                    deep.iter().map(|&l| Some(((l as f64).ln(), log_chi(r, l, locs.leaves)?))).collect();
                slope(&points?)
            });
            Estimate { std: Statistics::of(&own.collect::<Vec<_>>()).map(|s| s.std), ..estimate }
        });
        if let (Some(tau), Some(amplitude)) = (fits.tau, fits.amplitude) {
            let misfit = |&l: &usize| {
                Some((amplitude.value * (l as f64).powf(tau.value) / mean_chi(&living, l, locs.leaves)? - 1.0).abs())
            };
            fits.largest_misfit = deep.iter().filter_map(misfit).reduce(f64::max);
        }
    }
    fits
}
