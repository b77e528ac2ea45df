//! Both kernels of the limit at given inputs.

use std::path::Path;

use fintan_artifact::{Array, write_npz};
use fintan_config::{Architecture, Shape};
use fintan_theory::{Limit, LimitKernel, Request};
use serde_json::json;

use crate::args::Theory;
use crate::failure::Failure;
use crate::voice::{answer, answer_json};

/// Writes them as a file of their own, which must not exist.
pub(super) fn alone(args: &Theory, architecture: &Architecture, path: &Path) -> Result<(), Failure> {
    for (flag, given) in [("--compare", args.compare.is_some()), ("--widths", !args.widths.is_empty())] {
        if given {
            return Err(Failure::input(format!("{flag} needs a folder; --out names the file `{}`", path.display())));
        }
    }
    if path.exists() {
        return Err(Failure::input(format!("`{}` exists already; name another with --out", path.display())));
    }
    write(args, architecture, path)?;
    if args.voice.json {
        answer_json(&json!({ "kernels": path.display().to_string() }));
    } else {
        answer!("{}", path.display());
    }
    Ok(())
}

/// NNGP and NTK of the given inputs, before an output nonlinearity.
///
/// Of one output position `[N, N2]`; of images each position with itself, `[N, N2, P]`, or all pairs, `[N, N2, P, P]`.
pub(super) fn write(args: &Theory, architecture: &Architecture, path: &Path) -> Result<(), Failure> {
    let shape = architecture.input;
    let read = |file: &String| fintan::read_samples(file, shape);
    let first = args.inputs.as_ref().map(read).transpose()?.unwrap_or_default();
    let second = args.inputs2.as_ref().map(read).transpose()?;
    let limit = Limit::new(architecture)?;
    let x: Vec<&[f64]> = first.chunks(shape.len()).collect();
    let y: Option<Vec<&[f64]>> = second.as_ref().map(|y| y.chunks(shape.len()).collect());
    let request = Request { all_positions: args.positions, ..Request::default() };
    let of = |kernel: LimitKernel| (kernel.positions, kernel.covariance, kernel.ntk);
    let found = limit.gram_map(&x, y.as_deref(), &request, of)?;
    let positions = found.first().map_or(1, |(positions, ..)| *positions);
    let mut sizes = vec![x.len(), y.as_ref().map_or(x.len(), Vec::len)];
    if positions > 1 {
        sizes.extend(vec![positions; if args.positions { 2 } else { 1 }]);
    }
    let (mut nngp, mut ntk) = (Vec::new(), Vec::new());
    for (_, covariance, tangent) in found {
        nngp.extend(covariance);
        ntk.extend(tangent);
    }
    let samples = |values: &[f64]| {
        let Shape { channels, height, width } = shape;
        let n = values.len() / shape.len();
        let sizes = if shape.is_vector() { vec![n, channels] } else { vec![n, channels, height, width] };
        Array::f64(&sizes, values.to_vec())
    };
    let mut arrays =
        vec![("nngp", Array::f64(&sizes, nngp)), ("ntk", Array::f64(&sizes, ntk)), ("inputs", samples(&first))];
    if let Some(second) = &second {
        arrays.push(("inputs2", samples(second)));
    }
    if architecture.before_output() != *architecture {
        arrays.push(("before_output", Array::integers([1])));
    }
    Ok(write_npz(path, &arrays)?)
}
