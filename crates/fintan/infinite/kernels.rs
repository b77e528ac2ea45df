//! NNGP and NTK of the limit at given inputs.

use std::path::Path;

use fintan_artifact::{Array, write_npz};
use fintan_config::{Architecture, Shape};
use fintan_theory::{NetworkLimit, PositionKernel as PairKernel, Request};

use crate::error::Error;
use crate::inputs::read_samples;

/// Computes Σ and Θ between inputs: `[N, N2]` for one output position. For images the shape is `[N, N2, P]` (each position with
/// itself) or `[N, N2, P, P]` (all pairs).
pub(super) fn between(
    limit: &NetworkLimit,
    first: &[&[f64]],
    second: Option<&[&[f64]]>,
    all_positions: bool,
) -> Result<[Array<'static>; 2], Error> {
    let request = Request { all_positions, ..Request::default() };
    let of = |PairKernel { positions, covariance, ntk, .. }| (positions, covariance, ntk);
    let found = limit.gram_map(first, second, &request, of)?;
    let positions = found.first().map_or(1, |(positions, ..)| *positions);
    let mut sizes = vec![first.len(), second.map_or(first.len(), <[_]>::len)];
    if positions > 1 {
        sizes.extend(vec![positions; if all_positions { 2 } else { 1 }]);
    }
    let (mut nngp, mut ntk) = (Vec::new(), Vec::new());
    for (_, covariance, tangent) in found {
        nngp.extend(covariance);
        ntk.extend(tangent);
    }
    Ok([Array::f64(&sizes, nngp), Array::f64(&sizes, ntk)])
}

/// Writes NNGP and NTK at the inputs of files, before an output nonlinearity.
pub(super) fn write(
    architecture: &Architecture,
    inputs: &str,
    inputs2: Option<&str>,
    all_positions: bool,
    path: &Path,
) -> Result<(), Error> {
    let shape = architecture.input;
    let first = read_samples(inputs, shape)?;
    let second = inputs2.map(|file| read_samples(file, shape)).transpose()?;
    let x: Vec<&[f64]> = first.chunks(shape.len()).collect();
    let y: Option<Vec<&[f64]>> = second.as_ref().map(|y| y.chunks(shape.len()).collect());
    let [nngp, ntk] = between(&NetworkLimit::new(architecture)?, &x, y.as_deref(), all_positions)?;
    let samples = |values: &[f64]| {
        let Shape { channels, height, width } = shape;
        let n = values.len() / shape.len();
        let sizes = if shape.is_vector() { vec![n, channels] } else { vec![n, channels, height, width] };
        Array::f64(&sizes, values.to_vec())
    };
    let mut arrays = vec![("nngp", nngp), ("ntk", ntk), ("inputs", samples(&first))];
    if let Some(second) = &second {
        arrays.push(("inputs2", samples(second)));
    }
    if architecture.before_output() != *architecture {
        arrays.push(("before_output", Array::integers([1])));
    }
    Ok(write_npz(path, &arrays)?)
}
