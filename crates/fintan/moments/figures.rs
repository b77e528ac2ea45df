//! Draws the figures: distributions, increments, sensitivity, ranks, tails, correlations, kernels. Theory is dashed.

use fintan_artifact::RunDir;
use fintan_config::{Activation, Function, NetworkExperiment, Unit};
use fintan_moments::summary::{Row, leaves};
use fintan_moments::{MomentsPlan, Realisation, Record};
use fintan_report::{Axes, Curve, Mark, curves_svg};

use super::theory::MomentsTheory;
use super::{KernelStatistics, MeasuredMoments};
use crate::error::Error;

/// Largest number of bins of a distribution.
const BINS: usize = 50;
/// Number of depths whose distributions are drawn.
const DISTRIBUTIONS: usize = 4;

struct Figures<'a> {
    run: &'a RunDir,
    rows: &'a [Row],
    written: Vec<(&'static str, &'static str)>,
}

/// Draws the figures for which there are data. Returns files and captions.
pub(super) fn draw(
    run: &RunDir,
    plan: &MomentsPlan,
    experiment: &NetworkExperiment,
    measured: &MeasuredMoments,
) -> Result<Vec<(&'static str, &'static str)>, Error> {
    let MeasuredMoments { realisations: done, rows, fits, theory, kernels, .. } = measured;
    let preset = experiment.settings.network.deep_preset();
    let mut figures = Figures { run, rows, written: Vec::new() };
    let ranked = rows.iter().find(|row| row.quantity == "reff_signal" && row.depth > 0).map_or("", |row| &row.loc);
    let depths: Vec<f64> = {
        let mut all: Vec<usize> = rows.iter().map(|row| row.depth).filter(|&l| l > 0).collect();
        all.dedup();
        all.into_iter().map(|l| l as f64).collect()
    };
    let (Some(&first), Some(&last)) = (depths.first(), depths.last()) else { return Ok(figures.written) };
    let level = |name: &str, value: f64| Curve {
        name: name.into(),
        points: vec![(first, value), (last, value)],
        mark: Mark::Dashed,
    };
    if let Some((unit, deep)) = preset {
        let end = leaves(unit);
        if unit == Unit::Vanilla {
            let living: Vec<&Realisation> = done.iter().filter(|r| r.dead.is_none()).collect();
            let logs = |l: usize, of: fn(&Record) -> f64| -> Vec<f64> {
                let at = |r: &&Realisation, l: usize, loc: &str| {
                    r.records.iter().find(|record| record.depth == l && record.loc == loc).map(of)
                };
                living.iter().filter_map(|r| Some(at(r, l, end)? - at(r, 0, "embedding")?)).collect()
            };
            let of: fn(&Record) -> f64 = |record| record.all.log_nu2;
            figures.distributions(
                "log_signal.svg",
                "log ν₂(x) against the embedding's",
                &depths,
                |l| logs(l, of),
                theory.signal,
            )?;
            let of: fn(&Record) -> f64 = |record| record.all.log_mu2_noise;
            figures.distributions(
                "log_noise.svg",
                "log μ₂(dx) against the embedding's",
                &depths,
                |l| logs(l, of),
                theory.noise,
            )?;
        }
        let mut curves = figures.band("δχ", "", "delta");
        curves.extend(figures.band("δ_BN χ", "", "delta_bn"));
        curves.extend(figures.band("δ_φ χ", "", "delta_phi"));
        if let Some(increment) = theory.increment {
            let name = if unit == Unit::Vanilla { "largest there is" } else { "δ_φ of Gaussian values" };
            curves.push(level(name, increment));
        }
        // For ReLUs after batch norm, whatever the distribution: δ_φ² ≈ 1 / (1 - ν₁(|z|)²/2).
        let normed = figures.normed(unit);
        if deep.activation == Activation::raw(Function::Relu) && !normed.is_empty() {
            let rows = rows.iter().filter(|row| row.loc == normed && row.quantity == "nu1_abs");
            let points = rows.map(|row| (row.depth as f64, (1.0 - 0.5 * row.statistics.mean.powi(2)).sqrt().recip()));
            curves.push(Curve { name: "δ_φ from ν₁(|z|)".into(), points: points.collect(), mark: Mark::Dashed });
        }
        curves.extend(increments_at_infinite_width(theory));
        figures.plot("increments.svg", "Increments of the normalized sensitivity", "increment", false, &curves)?;

        let mut curves = figures.band("χ", end, "sensitivity");
        if !theory.infinite.is_empty() {
            let points = theory.infinite.iter().map(|at| (at.depth as f64, at.log_sensitivity.exp())).collect();
            curves.push(Curve { name: "infinite width".into(), points, mark: Mark::Dashed });
        }
        if let (Unit::BnFf, Some(increment)) = (unit, theory.increment) {
            let points = depths.iter().map(|l| (*l, (increment.ln() * l).exp())).collect();
            curves.push(Curve { name: "exp(γ l), Gaussian values".into(), points, mark: Mark::Dashed });
        }
        if let Some(fits) = fits.as_ref().filter(|_| unit == Unit::BnRes) {
            if let (Some(c), Some(tau)) = (fits.amplitude, fits.tau) {
                let points = depths.iter().map(|l| (*l, c.value * l.powf(tau.value))).collect();
                curves.push(Curve { name: "C l^τ, from increments".into(), points, mark: Mark::Dashed });
            }
            if let (Some(slope), Some((l, chi))) =
                (fits.tau_log_log, curves.first().and_then(|chi| chi.points.last().copied()))
            {
                let points = depths.iter().map(|at| (*at, chi * (at / l).powf(slope.value))).collect();
                curves.push(Curve { name: "slope of the logarithms".into(), points, mark: Mark::Dashed });
            }
        }
        let log = unit != Unit::BnRes;
        figures.plot("sensitivity.svg", "Normalized sensitivity", "χ", log, &curves)?;
    } else {
        let mut locs: Vec<&str> = rows.iter().filter(|row| row.depth > 0).map(|row| row.loc.as_str()).collect();
        locs.sort_unstable();
        locs.dedup();
        let curves: Vec<Curve> = locs.iter().flat_map(|loc| figures.band(loc, loc, "sensitivity")).collect();
        figures.plot("sensitivity.svg", "Normalized sensitivity", "χ", true, &curves)?;
    }
    let mut curves = figures.band("r_eff(x)", ranked, "reff_signal");
    curves.extend(figures.band("r_eff(dx)", ranked, "reff_noise"));
    if !curves.is_empty() {
        if let Some((_, deep)) = preset {
            // The rank is at most N (channels) and the number of rows less 1, since the mean is subtracted.
            let rows = plan.settings().batch * plan.positions_at_the_end();
            curves.push(level("largest possible", deep.width.min(rows - 1) as f64));
            curves.push(level("one-dimensional", 1.0));
        }
        figures.plot("ranks.svg", "Effective ranks behind the nonlinearity", "r_eff", true, &curves)?;
    }
    let normed = preset.map_or("", |(unit, _)| figures.normed(unit));
    if !normed.is_empty() {
        let mut curves = figures.band("μ₄(z)", normed, "mu4");
        curves.extend(figures.band("ν₁(|z|)", normed, "nu1_abs"));
        curves.push(level("Gaussian: 3", 3.0));
        curves.push(level("Gaussian: 0.798", std::f64::consts::FRAC_2_PI.sqrt()));
        figures.plot("tails.svg", "Batch-normalized values: kurtosis and mean size", "moment", true, &curves)?;
    }
    let mut curves = figures.band("measured", ranked, "cosine");
    if !curves.is_empty() {
        if !theory.infinite.is_empty() {
            let points = theory.infinite.iter().map(|at| (at.depth as f64, at.cosine)).collect();
            curves.push(Curve { name: "infinite width".into(), points, mark: Mark::Dashed });
        }
        figures.plot("cosines.svg", "Mean cosine between inputs behind the nonlinearity", "cosine", false, &curves)?;
    }
    if let Some(kernels) = kernels.as_ref().filter(|kernels| !kernels.is_empty()) {
        let of = |get: &dyn Fn(&KernelStatistics) -> Option<f64>| -> Vec<(f64, f64)> {
            kernels.iter().filter_map(|at| Some((at.depth as f64, get(at)?))).collect()
        };
        let curve = |name: &str, mark, points| Curve { name: name.into(), points, mark };
        let curves = [
            curve("scaled kernel", Mark::Line, of(&|at| Some(at.scaled.mean))),
            curve("relative spread of the diagonal", Mark::Line, of(&|at| Some(at.diagonal.std / at.diagonal.mean))),
            curve("log10 of the condition number", Mark::Line, of(&|at| Some(at.log10_condition.mean))),
            curve("scaled kernel, infinite width", Mark::Dashed, of(&|at| at.limit.map(|limit| limit[1]))),
            curve("log10 condition, infinite width", Mark::Dashed, of(&|at| at.limit.map(|limit| limit[2]))),
        ];
        figures.plot("ntk.svg", "Tangent kernels of the same networks", "", false, &curves)?;
    }
    Ok(figures.written)
}

/// The increments δχ at infinite width for each layer.
fn increments_at_infinite_width(theory: &MomentsTheory) -> Option<Curve> {
    let points: Vec<(f64, f64)> = theory
        .infinite
        .windows(2)
        .map(|two| (two[1].depth as f64, (two[1].log_sensitivity - two[0].log_sensitivity).exp()))
        .collect();
    (!points.is_empty()).then(|| Curve { name: "infinite width".into(), points, mark: Mark::Dashed })
}

impl Figures<'_> {
    /// The measured point after the first batch norm of a unit; empty if there is none, or if it is not measured.
    fn normed(&self, unit: Unit) -> &'static str {
        let loc = match unit {
            Unit::Vanilla => "",
            Unit::BnFf => "loc3",
            Unit::BnRes => "loc2",
        };
        if self.rows.iter().any(|row| row.loc == loc && row.quantity == "nu1_abs") { loc } else { "" }
    }

    fn plot(
        &mut self,
        file: &'static str,
        title: &'static str,
        y: &str,
        log_y: bool,
        curves: &[Curve],
    ) -> Result<(), Error> {
        let axes = Axes { title: title.into(), x: "layer".into(), y: y.into(), log_y, ..Axes::default() };
        self.run.write(file, curves_svg(&axes, curves)?.as_bytes())?;
        self.written.push((file, title));
        Ok(())
    }

    /// The mean with the 16th and 84th percentiles.
    fn band(&self, name: &str, loc: &str, quantity: &str) -> Vec<Curve> {
        let rows: Vec<&Row> =
            self.rows.iter().filter(|row| row.depth > 0 && row.loc == loc && row.quantity == quantity).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let curve = |mark, of: fn(&Row) -> f64| Curve {
            name: name.into(),
            points: rows.iter().map(|row| (row.depth as f64, of(row))).collect(),
            mark,
        };
        vec![
            curve(Mark::Line, |row| row.statistics.mean),
            curve(Mark::Faint, |row| row.statistics.p16),
            curve(Mark::Faint, |row| row.statistics.p84),
        ]
    }

    /// Densities at some depths. Dashed curves are Gaussians with the predicted mean and variance.
    fn distributions(
        &mut self,
        file: &'static str,
        title: &'static str,
        depths: &[f64],
        values: impl Fn(usize) -> Vec<f64>,
        law: Option<(f64, f64)>,
    ) -> Result<(), Error> {
        let mut curves = Vec::new();
        for k in 1..=DISTRIBUTIONS.min(depths.len()) {
            let l = depths[k * depths.len() / DISTRIBUTIONS.min(depths.len()) - 1];
            let values = values(l as usize);
            let (low, high) =
                values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
            if values.len() < 2 || low == high {
                continue;
            }
            let bins = BINS.min(values.len().isqrt()).max(5);
            let width = (high - low) / bins as f64;
            let mut counts = vec![0.0; bins];
            for v in &values {
                counts[(((v - low) / width) as usize).min(bins - 1)] += 1.0;
            }
            let at = |i: usize| low + (i as f64 + 0.5) * width;
            let points = counts.iter().enumerate().map(|(i, n)| (at(i), n / (values.len() as f64 * width))).collect();
            curves.push(Curve { name: format!("l = {l}"), points, mark: Mark::Line });
            if let Some((mean, variance)) = law {
                let (mean, variance) = (mean * l, variance * l);
                let density =
                    |x: f64| (-0.5 * (x - mean).powi(2) / variance).exp() / (std::f64::consts::TAU * variance).sqrt();
                let points = (0..=100).map(|i| low + f64::from(i) / 100.0 * (high - low)).map(|x| (x, density(x)));
                curves.push(Curve { name: format!("l = {l}"), points: points.collect(), mark: Mark::Dashed });
            }
        }
        if curves.is_empty() {
            return Ok(());
        }
        let axes = Axes { title: title.into(), x: "logarithm".into(), y: "density".into(), ..Axes::default() };
        self.run.write(file, curves_svg(&axes, &curves)?.as_bytes())?;
        self.written.push((file, title));
        Ok(())
    }
}
