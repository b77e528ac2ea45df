//! Compares an empirical kernel with its limit.

use std::path::Path;

use fintan_artifact::{Array, read_arrays, write_npz};
use fintan_config::Architecture;
use fintan_predict::{FiniteKernel, KernelComparison, PredictError};

use super::LimitStudyError;
use crate::error::Error;

/// Compares the kernel of a file with the limit at the inputs of the file. The second result tells whether the kernel contains
/// the slopes of an output nonlinearity.
pub(super) fn compare(
    path: &Path,
    architecture: &Architecture,
    folder: &Path,
) -> Result<(KernelComparison, bool), Error> {
    let wrong =
        |message: &str| Error::from(LimitStudyError::FiniteKernel { path: path.into(), message: message.into() });
    let arrays = read_arrays(path).map_err(Error::FiniteNetwork)?;
    let find = |name: &str| arrays.iter().find(|(found, _)| found == name).map(|(_, array)| array);
    let need =
        |name: &str| find(name).ok_or_else(|| wrong(&format!("it has no array `{name}`; `fintan ntk` writes it")));
    let (ntk, inputs) = (need("ntk")?, need("inputs")?);
    let listed = need("outputs")?.to_f64();
    let outputs: Vec<usize> = listed.iter().map(|&o| o as usize).collect();
    let divided = find("mean").is_some_and(|array| array.to_f64() == [1.0]);
    let len = architecture.input.len();
    let sides: Vec<Vec<f64>> = std::iter::once(inputs).chain(find("inputs2")).map(Array::to_f64).collect();
    let count = architecture.output().len();
    let numbered = listed.iter().zip(&outputs).all(|(&given, &o)| given == o as f64 && o < count);
    if sides.iter().any(|x| x.is_empty() || x.len() % len != 0) || outputs.is_empty() || !numbered {
        let message = format!("it was made for another network: this one takes {len} values and gives {count}");
        return Err(wrong(&message));
    }
    let (n1, n2, o) = (sides[0].len() / len, sides.last().map_or(0, Vec::len) / len, outputs.len());
    let shapes = [vec![n1, n2], vec![n1, n2, o], vec![n1, n2, o, o]];
    if !shapes.contains(&ntk.shape) {
        return Err(wrong(&format!("its kernel {:?} does not fit its {n1} x {n2} inputs and {o} outputs", ntk.shape)));
    }
    let given = [("ntk", ntk), ("inputs", inputs)].into_iter().chain(find("inputs2").map(|x| ("inputs2", x)));
    for (name, array) in given {
        if !array.to_f64().iter().all(|value| value.is_finite()) {
            return Err(wrong(&format!("array `{name}` holds a value that is not finite")));
        }
    }
    let before = find("before_output").is_some_and(|array| array.to_f64() == [1.0]);
    let empirical = ntk.to_f64();
    let kernel = FiniteKernel {
        shape: &ntk.shape,
        values: &empirical,
        inputs: &sides[0],
        inputs2: sides.get(1).map(Vec::as_slice),
        outputs: &outputs,
        is_mean: divided,
        before_output: before,
    };
    let found = KernelComparison::new(architecture, &kernel).map_err(|e| match e {
        PredictError::Shape(message) => wrong(&message),
        PredictError::Limit(_)
        | PredictError::Request(_)
        | PredictError::Plan(_)
        | PredictError::Spectrum(_)
        | PredictError::Flow(_) => e.into(),
    })?;
    write_npz(
        &folder.join("compare.npz"),
        &[
            ("nngp", Array::f64(&ntk.shape, found.nngp.as_slice())),
            ("ntk", Array::f64(&ntk.shape, found.ntk.as_slice())),
            ("empirical_ntk", Array::f64(&ntk.shape, empirical.as_slice())),
        ],
    )?;
    let with_output_slopes = !before && architecture.before_output() != *architecture;
    Ok((found, with_output_slopes))
}
