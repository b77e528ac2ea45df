//! What an image-making network does to its pixels: checkerboards, borders, layer-dependent rates.

use std::path::Path;

use fintan_artifact::{Array, write_npz};
use fintan_config::{Architecture, Exponents, LayerRates, Shape};
use fintan_report::heat_map_png;
use fintan_theory::{Limit, LimitError, Request, Ultrametric, border_ratio};
use serde_json::json;

use super::write_table;
use crate::failure::Failure;
use crate::voice::answer;

/// Eigenspaces of the position kernel of one input with |x|² = its length, in closed form.
pub(super) fn blocks(
    architecture: &Architecture,
    own: &LayerRates,
    folder: &Path,
    quiet: bool,
) -> Result<serde_json::Value, Failure> {
    let kernel = match Ultrametric::of(architecture, [1.0; 3]) {
        Ok(kernel) => kernel,
        Err(LimitError::Layer { layer, reason }) => {
            if !quiet {
                answer!("checkerboards in closed form: none, for `{layer}`: {reason}");
            }
            return Ok(serde_json::Value::Null);
        }
        Err(e) => return Err(e.into()),
    };
    let scaled = kernel.scaled();
    let spectrum = kernel.spectrum();
    let shares = kernel.trace_shares();
    let least = spectrum[spectrum.len() - 1].0;
    let side = |k: usize| kernel.sizes[0] / kernel.sizes[k];
    let pattern = |k: usize| match k {
        0 => "constant image".to_owned(),
        k if k + 1 == spectrum.len() => "everything else".to_owned(),
        k => format!("period {}", (side(k) as f64).sqrt().round()),
    };
    if !quiet {
        answer!("kernel between pixels of one input, away from borders");
        answer!(
            "  {:>16} {:>13} {:>10} {:>12} {:>12}",
            "eigenspace",
            "multiplicity",
            "scaled",
            "λ/λ_min",
            "of the trace"
        );
        for (k, &(value, count)) in spectrum.iter().enumerate() {
            let scaled = scaled[k];
            answer!("  {:>16} {count:>13} {scaled:>10.4} {:>12.4} {:>12.4}", pattern(k), value / least, shares[k]);
        }
    }
    let rows = spectrum.iter().enumerate().map(|(k, &(value, count))| {
        vec![k as f64, count as f64, kernel.ntk[k], scaled[k], value, value / least, shares[k]]
    });
    write_table(&folder.join("blocks.csv"), "block,multiplicity,ntk,scaled_ntk,eigenvalue,ratio,trace_share", rows)?;
    let parts = kernel.parts.iter().map(|(name, part)| {
        let top = kernel.part_spectrum(part)[0].0;
        (name.clone(), json!({ "diagonal": part[part.len() - 1], "largest_eigenvalue": top }))
    });
    let parts: serde_json::Map<_, _> = parts.collect();

    // λ_k / λ_min under the presets of layer-dependent rates, and the network's own.
    let exponents = |weights, biases| LayerRates::Exponents(Exponents { weights, biases });
    let mut rules = vec![
        ("off", LayerRates::Off),
        ("1/2", exponents(0.5, 0.5)),
        ("3/4", exponents(0.75, 0.75)),
        ("1", exponents(1.0, 1.0)),
    ];
    if *own != LayerRates::Off {
        rules.push(("configured", *own));
    }
    let mut rates = serde_json::Map::new();
    if !quiet {
        answer!("λ/λ_min under layer-dependent rates (|I_0|/|I_l|)^γ of gradient descent");
    }
    for (name, rule) in rules {
        let factors: Vec<(f64, f64)> = (architecture.flat().into_iter())
            .filter(|node| node.index.is_some())
            .map(|node| rule.factors(node))
            .collect();
        let spectrum = kernel.with_rates(&factors).spectrum();
        let least = spectrum[spectrum.len() - 1].0;
        let ratios: Vec<f64> = spectrum.iter().map(|(value, _)| value / least).collect();
        if !quiet {
            let text: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:>9.3}")).collect();
            answer!("  γ {name:>10} {}", text.join(" "));
        }
        rates.insert(name.into(), json!(ratios));
    }
    Ok(json!({
        "sizes": kernel.sizes, "ntk": kernel.ntk, "scaled_ntk": scaled,
        "eigenvalues": spectrum.iter().map(|s| s.0).collect::<Vec<_>>(),
        "multiplicities": spectrum.iter().map(|s| s.1).collect::<Vec<_>>(),
        "trace_shares": shares, "parts": parts, "rates": rates,
    }))
}

/// Variance and kernel of each pixel, and on request the kernel of all pairs.
pub(super) fn pixels(
    architecture: &Architecture,
    folder: &Path,
    all: bool,
    quiet: bool,
) -> Result<serde_json::Value, Failure> {
    let limit = match Limit::new(architecture) {
        Ok(limit) => limit,
        Err(LimitError::Layer { layer, reason }) if !all => {
            if !quiet {
                answer!("no limit for pixels: layer `{layer}`: {reason}");
            }
            return Ok(serde_json::Value::Null);
        }
        Err(e) => return Err(e.into()),
    };
    let input = vec![1.0; architecture.input.len()];
    let request = Request { all_positions: all, ..Request::default() };
    let kernel = limit.kernel(&input, &input, &request)?;
    let Shape { height, width, .. } = architecture.output();
    let step = if all { kernel.positions + 1 } else { 1 };
    let diagonal = |values: &[f64]| values.iter().copied().step_by(step).collect::<Vec<f64>>();
    let (variance, own) = (diagonal(&kernel.covariance), diagonal(&kernel.ntk));
    let [of_variance, of_kernel] = [&variance, &own].map(|values| border_ratio(architecture.output(), values));
    let mut arrays = vec![
        ("variance", Array::f64(&[height, width], variance.clone())),
        ("ntk_diagonal", Array::f64(&[height, width], own.clone())),
    ];
    if all {
        let shape = [kernel.positions, kernel.positions];
        arrays.push(("nngp", Array::f64(&shape, kernel.covariance.as_slice())));
        arrays.push(("ntk", Array::f64(&shape, kernel.ntk.as_slice())));
    }
    write_npz(&folder.join("pixels.npz"), &arrays)?;
    let picture = heat_map_png(height, width, &mut |i, row| row.copy_from_slice(&variance[i * width..][..width]))?;
    super::write(&folder.join("variance.png"), &picture)?;
    if all {
        let n = kernel.positions;
        let picture = heat_map_png(n, n, &mut |i, row| row.copy_from_slice(&kernel.ntk[i * n..][..n]))?;
        super::write(&folder.join("pixels.png"), &picture)?;
    }
    if let (false, Some(of_variance), Some(of_kernel)) = (quiet, of_variance, of_kernel) {
        answer!("border (the two outermost frames of pixels over all others)");
        answer!("  variance {of_variance:.4}, NTK {of_kernel:.4}   1: no border artefact");
    }
    Ok(json!({ "border_variance": of_variance, "border_ntk": of_kernel }))
}
