//! Writes the files of numbers and the report.

use std::fmt::Write as _;

use fintan_artifact::{Array, RunDir, write_npz};
use fintan_config::{Deep, NetworkExperiment, Unit};
use fintan_moments::summary::{Estimate, Row, Statistics, leaves, quantities};
use fintan_moments::{MomentsPlan, PointMoments, Realisation};

use super::MeasuredMoments;
use crate::error::Error;

/// Writes one line for each realisation and point, and for each channel if channels are requested.
pub(super) fn moments_csv(run: &RunDir, done: &[Realisation]) -> Result<(), Error> {
    let mut text = String::from(
        "realisation,depth,loc,channel,nu1,nu1_abs,nu2,mu2,mu4,log_nu2,log_mu2,log_mu2_noise,log_sensitivity,\
         reff_signal,reff_noise,pr_signal,pr_noise,cosine\n",
    );
    for realisation in done {
        for record in &realisation.records {
            let head = format!("{},{},{}", realisation.number, record.depth, record.loc);
            let ranks = [record.reff_signal, record.reff_noise, record.pr_signal, record.pr_noise, record.cosine]
                .map(|rank| rank.map_or_else(String::new, |rank| rank.to_string()))
                .join(",");
            let _ = writeln!(text, "{head},all,{},{ranks}", numbers(&record.all));
            for (c, values) in record.channels.iter().enumerate() {
                let _ = writeln!(text, "{head},{c},{},,,,,", numbers(values));
            }
        }
    }
    Ok(run.write("moments.csv", text.as_bytes())?)
}

/// A number as text; empty if it is not finite.
fn cell(v: f64) -> String {
    if v.is_finite() { v.to_string() } else { String::new() }
}

fn numbers(v: &PointMoments) -> String {
    let scale = 2.0_f64.powi(v.bits);
    [
        scale * v.nu1,
        scale * v.nu1_abs,
        scale.powi(2) * v.nu2,
        scale.powi(2) * v.mu2,
        scale.powi(4) * v.mu4,
        v.log_nu2,
        v.log_mu2,
        v.log_mu2_noise,
        v.log_sensitivity,
    ]
    .map(cell)
    .join(",")
}

/// Writes one line for each depth, point and quantity.
pub(super) fn summary_csv(run: &RunDir, rows: &[Row]) -> Result<(), Error> {
    let mut text = String::from("depth,loc,quantity,n,mean,std,p16,p50,p84,standard_error\n");
    for Row { depth, loc, quantity, statistics: s } in rows {
        let _ = writeln!(
            text,
            "{depth},{loc},{quantity},{},{},{},{},{},{},{}",
            s.n,
            s.mean,
            cell(s.std),
            s.p16,
            s.p50,
            s.p84,
            cell(s.standard_error)
        );
    }
    Ok(run.write("summary.csv", text.as_bytes())?)
}

/// Writes arrays `[realisations, depths]` with the names of Labatie's code (`nu2_signal_loc3`, ..), so that its plots can read
/// them. Logarithms are added; realisations whose signal or noise vanished are left out.
pub(super) fn npz(
    run: &RunDir,
    plan: &MomentsPlan,
    done: &[Realisation],
    preset: Option<(Unit, &Deep)>,
) -> Result<(), Error> {
    let living: Vec<&Realisation> = done.iter().filter(|r| r.dead.is_none()).collect();
    let mut depths: Vec<usize> = plan.points().filter(|p| p.depth > 0).map(|p| p.depth).collect();
    depths.sort_unstable();
    depths.dedup();
    let mut locs: Vec<&str> = Vec::new();
    for point in plan.points().filter(|point| point.depth > 0) {
        if !locs.contains(&point.loc.as_str()) {
            locs.push(&point.loc);
        }
    }
    let mut arrays: Vec<(String, Array)> = vec![
        ("depth".into(), Array::integers(depths.iter().copied())),
        ("realisation".into(), Array::integers(living.iter().map(|r| r.number as usize))),
    ];
    if let Some((unit, deep)) = preset {
        arrays.push(("res_depth".into(), Array { shape: Vec::new(), ..Array::integers([deep.res_depth(unit)]) }));
    }
    let names = [
        ("nu1_abs", "nu1_abs_signal"),
        ("nu2", "nu2_signal"),
        ("mu2", "mu2_signal"),
        ("mu4", "mu4_signal"),
        ("mu2_noise", "mu2_noise"),
        ("reff_signal", "reff_signal"),
        ("reff_noise", "reff_noise"),
        ("sensitivity", "chi"),
        ("log_nu2", "log_nu2_signal"),
        ("log_mu2", "log_mu2_signal"),
        ("log_mu2_noise", "log_mu2_noise"),
        ("log_sensitivity", "log_chi"),
    ];
    for loc in locs {
        // In a network without a preset, a point may not exist in all layers, so its depths are stored too.
        let own: Vec<usize> = plan.points().filter(|p| p.depth > 0 && p.loc == loc).map(|p| p.depth).collect();
        if own.len() < depths.len() {
            arrays.push((format!("depth_{loc}"), Array::integers(own.iter().copied())));
        }
        for (quantity, name) in names {
            let value = |r: &Realisation, l: usize| -> Option<f64> {
                let record = r.records.iter().find(|record| record.depth == l && record.loc == loc)?;
                if quantity == "mu2_noise" {
                    return Some(record.all.log_mu2_noise.exp());
                }
                quantities(record).into_iter().find(|(found, _)| *found == quantity).map(|(_, value)| value)
            };
            // Like Labatie's code, -1 stands for a rank that was not computed.
            let values: Vec<f64> =
                living.iter().flat_map(|r| own.iter().map(|&l| value(r, l).unwrap_or(-1.0))).collect();
            arrays.push((format!("{name}_{loc}"), Array::f64(&[living.len(), own.len()], values)));
        }
    }
    let arrays: Vec<(&str, Array)> = arrays.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
    Ok(write_npz(&run.root().join("moments.npz"), &arrays)?)
}

/// The fitted laws beside those of theory.
pub(super) fn headline(measured: &MeasuredMoments) -> Vec<String> {
    let MeasuredMoments { rows, fits, theory, .. } = measured;
    let mut lines = Vec::new();
    let Some(fits) = fits else { return lines };
    let Some((from, to)) = fits.between else { return lines };
    let number = |name: &str| theory.constant(name);
    let mut say = |what: &str, found: Option<Estimate>, expected: Option<f64>| {
        if let Some(Estimate { value, standard_error, .. }) = found {
            let beside = expected.map_or(String::new(), |e| format!("   (theory {e:.5})"));
            let error = if standard_error.is_finite() { format!(" ± {standard_error:.5}") } else { String::new() };
            lines.push(format!("{what:<44} {value:>10.5}{error}{beside}"));
        }
    };
    let layers = format!("layers {from} to {to}");
    if fits.tau.is_some() {
        say("τ of χ ~ l^τ, from increments", fits.tau, number("tau"));
        say("τ, slope of log χ over log l", fits.tau_log_log, None);
        say("C of χ ~ C l^τ", fits.amplitude, None);
    } else if number("gamma").is_some() {
        say(&format!("γ of χ ~ exp(γ l), {layers}"), fits.gamma, number("gamma"));
    } else {
        say(&format!("log ν₂(x) a layer, {layers}"), fits.log_nu2_mean, number("log_nu2_mean"));
        say("  its variance a layer", fits.log_nu2_variance, number("log_nu2_variance"));
        say("log μ₂(dx) a layer", fits.log_mu2_noise_mean, number("log_mu2_noise_mean"));
        say(
            "  variance of its growth a layer",
            fits.log_mu2_noise_growth_variance,
            number("log_mu2_noise_growth_variance"),
        );
        say("log χ a layer", fits.gamma, None);
    }
    if let Some(last) = rows.iter().map(|row| row.depth).max() {
        let at: Vec<String> = ["delta", "delta_bn", "delta_phi"]
            .into_iter()
            .filter_map(|name| {
                let row = rows.iter().find(|row| row.depth == last && row.quantity == name)?;
                let error = row.statistics.standard_error;
                let error = if error.is_finite() { format!(" ± {error:.4}") } else { String::new() };
                Some(format!("{name} {:.4}{error}", row.statistics.mean))
            })
            .collect();
        if !at.is_empty() {
            lines.push(format!("increments of χ at layer {last}: {}", at.join(", ")));
        }
    }
    lines
}

/// Writes `report.md`, with all results on one page.
pub(super) fn report(
    run: &RunDir,
    experiment: &NetworkExperiment,
    measured: &MeasuredMoments,
    figures: &[(&'static str, &'static str)],
) -> Result<(), Error> {
    let MeasuredMoments { realisations: done, rows, theory, kernels, .. } = measured;
    let mut text = String::from("# Signal and noise through depth\n\n");
    let dead = done.iter().filter(|r| r.dead.is_some()).count();
    let _ = writeln!(text, "{} realisations, {dead} of them dead.", done.len());
    if let Some(fluctuation) = theory.fluctuation {
        let _ = writeln!(
            text,
            "\n5 L / N = {fluctuation:.3}: the variance of log ν₂ at the end, and the size of the relative fluctuation of this \
             network's tangent kernel between draws."
        );
    }
    let lines = headline(measured);
    if !lines.is_empty() {
        let _ = writeln!(text, "\n```text\n{}\n```", lines.join("\n"));
    }
    let unit = experiment.settings.network.deep_preset().map(|(unit, _)| unit);
    let mut depths: Vec<usize> = rows.iter().map(|row| row.depth).filter(|&l| l > 0).collect();
    depths.dedup();
    // About ten depths.
    let shown: Vec<usize> = (0..depths.len())
        .filter(|i| depths.len() <= 12 || (i + 1) % depths.len().div_ceil(10) == 0 || *i == 0 || i + 1 == depths.len())
        .map(|i| depths[i])
        .collect();
    let ranked = rows.iter().find(|row| row.quantity == "reff_signal" && row.depth > 0).map(|row| row.loc.clone());
    let normed = match unit {
        Some(Unit::BnFf) => Some("loc3"),
        Some(Unit::BnRes) => Some("loc2"),
        _ => None,
    };
    let end = unit.map(leaves).or(ranked.as_deref());
    let columns: Vec<(&str, &str, Option<&str>)> = vec![
        ("χ", "sensitivity", end),
        ("log χ", "log_sensitivity", end),
        ("δχ", "delta", Some("")),
        ("δ_BN", "delta_bn", Some("")),
        ("δ_φ", "delta_phi", Some("")),
        ("r_eff(x)", "reff_signal", ranked.as_deref()),
        ("r_eff(dx)", "reff_noise", ranked.as_deref()),
        ("cosine", "cosine", ranked.as_deref()),
        ("μ₄(z)", "mu4", normed),
        ("ν₁(abs z)", "nu1_abs", normed),
        ("log ν₂(x)/ν₂(embedding)", "log_nu2_gain", Some("")),
        ("log μ₂(dx)/μ₂(dx embedding)", "log_mu2_noise_gain", Some("")),
    ];
    let value = |l: usize, quantity: &str, loc: Option<&str>| {
        let loc = loc?;
        rows.iter().find(|row| row.depth == l && row.loc == loc && row.quantity == quantity)
    };
    let present: Vec<&(&str, &str, Option<&str>)> =
        columns.iter().filter(|(_, quantity, loc)| shown.iter().any(|&l| value(l, quantity, *loc).is_some())).collect();
    if !present.is_empty() {
        let _ = writeln!(text, "\nMean and standard deviation over realisations.\n");
        let _ = writeln!(text, "| l | {} |", present.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" | "));
        let _ = writeln!(text, "| --- |{}", " --- |".repeat(present.len()));
        for &l in &shown {
            let cells: Vec<String> = present
                .iter()
                .map(|(_, quantity, loc)| {
                    value(l, quantity, *loc).map_or_else(String::new, |row| spread(&row.statistics))
                })
                .collect();
            let _ = writeln!(text, "| {l} | {} |", cells.join(" | "));
        }
    }
    if let Some(kernels) = kernels {
        let _ = writeln!(
            text,
            "\nTangent kernels of the same networks, with a readout of one output: mean of the diagonal (and its relative \
             spread between realisations), mean Θ(x,y)/√(Θ(x,x)Θ(y,y)), log10 of the condition number; in brackets at infinite \
             width.\n\n| l | diagonal | spread | scaled | log10 cond |\n| --- | --- | --- | --- | --- |"
        );
        for at in kernels {
            let limit = |k: usize| at.limit.map_or(String::new(), |limit| format!(" ({})", short(limit[k])));
            let _ = writeln!(
                text,
                "| {} | {}{} | {} | {}{} | {}{} |",
                at.depth,
                short(at.diagonal.mean),
                limit(0),
                short(at.diagonal.std / at.diagonal.mean),
                short(at.scaled.mean),
                limit(1),
                short(at.log10_condition.mean),
                limit(2)
            );
        }
    }
    for (file, caption) in figures {
        let _ = writeln!(text, "\n![{caption}]({file})");
    }
    Ok(run.write("report.md", text.as_bytes())?)
}

/// Mean and standard deviation as text.
fn spread(s: &Statistics) -> String {
    if s.std.is_finite() { format!("{}, {}", short(s.mean), short(s.std)) } else { short(s.mean) }
}

/// A number with four digits.
fn short(v: f64) -> String {
    if v == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&v.abs()) {
        let digits = (3 - v.abs().log10().floor() as i32).max(0) as usize;
        format!("{v:.digits$}")
    } else {
        format!("{v:.3e}")
    }
}
