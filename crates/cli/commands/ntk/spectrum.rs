//! The largest eigenpairs of kernels too large to form.

use std::path::Path;

use fintan_artifact::{Array, write_npz, write_whole};
use fintan_config::Bytes;
use fintan_ntk::{Operator, Problem, Spectrum, SpectrumError, Trace, largest_eigenpairs};
use fintan_report::grid_png;
use serde_json::json;

use crate::args::Voice;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// Residual that the pairs must reach, of the largest eigenvalue.
const TOLERANCE: f64 = 1e-4;
/// Products with the kernel after which it is given up.
const PRODUCTS: usize = 2000;
/// Rows (samples times outputs) up to which the trace is exact: each is a row of cotangents, about as much work as a product
/// with the kernel for every sample.
const EXACT_ROWS: usize = 16_384;
/// Random vectors behind an estimate of the trace.
const DRAWS: usize = 16;

/// Writes eigenvalues, eigenvectors and residuals, and eigenimages where outputs are images.
pub(super) fn largest(
    problem: &Problem,
    count: usize,
    memory: f64,
    seed: u64,
    path: &Path,
    voice: &Voice,
) -> Result<(), Failure> {
    let operator = Operator::within(problem, count, memory)?;
    let spectrum = largest_eigenpairs(&operator, count, TOLERANCE, PRODUCTS, seed).map_err(|e| {
        let short = matches!(e, SpectrumError::NotConverged { products, .. } | SpectrumError::NotConfirmed { products }
            if products < PRODUCTS && products == operator.vectors());
        if short {
            return Failure::input(format!("{e}; more vectors do not fit into {}", Bytes(memory)));
        }
        if matches!(e, SpectrumError::NotFinite) { super::overflow(problem, None) } else { e.into() }
    })?;
    let trace = trace(problem, &operator, &spectrum, memory, seed);
    let shares: Vec<[f64; 2]> = spectrum.values.iter().map(|&value| trace.share(value)).collect();
    let ([n, _], outputs) = (problem.samples(), problem.outputs());
    let found = spectrum.values.len();
    let arrays = [
        ("eigenvalues", Array::f64(&[found], spectrum.values.clone())),
        ("eigenvectors", Array::f64(&[found, n, outputs.len()], spectrum.vectors.concat())),
        ("residuals", Array::f64(&[found], spectrum.residuals.clone())),
        ("trace", Array::f64(&[2], vec![trace.value, trace.standard_error])),
        ("shares", Array::f64(&[found, 2], shares.concat())),
        ("outputs", Array::integers(outputs.iter().copied())),
    ];
    let shape = problem.network().architecture().output();
    let whole = outputs.len() == shape.len() && shape.height == shape.width && !shape.is_vector();
    let picture = if whole && [1, 3].contains(&shape.channels) {
        // Each eigenvector on its own scale, zero in the middle: its sign and length mean nothing.
        let mut values = Vec::with_capacity(found * n * shape.len());
        for vector in &spectrum.vectors {
            let largest = vector.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
            for image in vector.chunks_exact(shape.len()) {
                let at = |p: usize| (0..shape.channels).map(move |c| c * shape.positions() + p);
                values.extend((0..shape.positions()).flat_map(at).map(|i| (image[i] / largest) as f32));
            }
        }
        Some(grid_png(&values, shape.height, shape.channels, n)?)
    } else {
        None
    };
    write_npz(path, &arrays)?;
    let picture = picture.map(|png| write_whole(&path.with_extension("png"), &png)).transpose()?;
    let picture = picture.map(|()| path.with_extension("png").display().to_string());
    let worst = spectrum.residuals.iter().copied().fold(0.0, f64::max);
    if voice.json {
        answer_json(&json!({
            "kernel": path.display().to_string(), "eigenvalues": spectrum.values, "largest_residual": worst,
            "trace": trace.value, "trace_standard_error": trace.standard_error,
            "trace_is_exact": trace.standard_error == 0.0,
            "shares": shares.iter().map(|[share, _]| share).collect::<Vec<_>>(),
            "share_standard_errors": shares.iter().map(|[_, error]| error).collect::<Vec<_>>(),
            "eigenimages": picture,
        }));
        return Ok(());
    }
    answer!("{}", path.display());
    if !voice.quiet {
        let Trace { value: whole, standard_error: error } = trace;
        if error == 0.0 {
            tell!("trace {whole:.4}; largest residual {worst:.1e} of the largest eigenvalue");
        } else {
            tell!(
                "trace {whole:.4} ± {error:.2e}, estimated from {DRAWS} random vectors, since the kernel has more than \
                   {EXACT_ROWS} rows or little memory is left; largest residual {worst:.1e} of the largest eigenvalue"
            );
        }
        for (i, (value, [share, error])) in spectrum.values.iter().zip(&shares).enumerate() {
            let bar = if *error == 0.0 { String::new() } else { format!(" ± {:.2}", 100.0 * error) };
            tell!("  {:>3}  {value:>12.4}  {:>6.2}{bar} % of the trace", i + 1, 100.0 * share);
        }
    }
    Ok(())
}

/// The trace: exact where all eigenvalues are known or the kernel has few rows, and their cotangents fit into memory.
fn trace(problem: &Problem, operator: &Operator, found: &Spectrum, memory: f64, seed: u64) -> Trace {
    let exact = operator.rows() <= EXACT_ROWS || found.values.len() == operator.rows();
    // Beside the eigenvectors and what is written of them.
    let left = memory - 4.0 * 8.0 * (found.values.len() * operator.rows()) as f64;
    let exact = exact.then(|| Trace::exact(problem, found, left).ok()).flatten();
    exact.unwrap_or_else(|| Trace::estimate(operator, found, DRAWS, seed))
}
