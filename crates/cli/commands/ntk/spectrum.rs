//! The largest eigenpairs of kernels too large to form.

use std::path::Path;

use fintan_artifact::{Array, write_npz, write_whole};
use fintan_config::Bytes;
use fintan_ntk::{Operator, Problem, SpectrumError, largest_eigenpairs, stochastic_trace};
use fintan_report::grid_png;
use serde_json::json;

use crate::args::Voice;
use crate::failure::Failure;
use crate::voice::{answer, tell};

/// Residual that the pairs must reach, of the largest eigenvalue.
const TOLERANCE: f64 = 1e-4;
/// Products with the kernel after which it is given up.
const PRODUCTS: usize = 2000;
/// Random vectors behind the trace.
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
    let spectrum = largest_eigenpairs(&operator, count, TOLERANCE, PRODUCTS, seed).map_err(|e| match e {
        SpectrumError::NotConverged { products, .. } | SpectrumError::NotConfirmed { products }
            if products < PRODUCTS && products == operator.vectors() =>
        {
            Failure::input(format!("{e}; more vectors do not fit into {}", Bytes(memory)))
        }
        other => other.into(),
    })?;
    let [trace, error] = stochastic_trace(&operator, DRAWS, seed);
    let ([n, _], outputs) = (problem.samples(), problem.outputs());
    let found = spectrum.values.len();
    let arrays = [
        ("eigenvalues", Array::f64(&[found], spectrum.values.clone())),
        ("eigenvectors", Array::f64(&[found, n, outputs.len()], spectrum.vectors.concat())),
        ("residuals", Array::f64(&[found], spectrum.residuals.clone())),
        ("trace", Array::f64(&[2], vec![trace, error])),
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
    let picture = picture.map(|()| path.with_extension("png"));
    let worst = spectrum.residuals.iter().copied().fold(0.0, f64::max);
    if voice.json {
        answer!(
            "{}",
            json!({
                "kernel": path, "eigenvalues": spectrum.values, "largest_residual": worst, "trace": trace,
                "trace_standard_error": error, "eigenimages": picture,
            })
        );
        return Ok(());
    }
    answer!("{}", path.display());
    if !voice.quiet {
        tell!("trace {trace:.4} ± {error:.2e}; largest residual {worst:.1e} of the largest eigenvalue");
        for (i, value) in spectrum.values.iter().enumerate() {
            tell!("  {:>3}  {value:>12.4}  {:>6.2} % of the trace", i + 1, 100.0 * value / trace);
        }
    }
    Ok(())
}
