//! An empirical kernel beside its limit.

use std::path::Path;

use fintan_artifact::{Array, read_arrays, write_npz};
use fintan_config::Architecture;
use fintan_theory::{Limit, LimitKernel, Request};
use serde_json::json;

use crate::failure::Failure;
use crate::voice::answer;

/// The file's kernel against the limit at the file's inputs; the angles and scaled kernels of its pairs.
pub(super) fn compare(
    path: &Path,
    architecture: &Architecture,
    folder: &Path,
    quiet: bool,
) -> Result<(serde_json::Value, Vec<(f64, f64)>), Failure> {
    let wrong = |message: &str| Failure::input(format!("`{}`: {message}", path.display()));
    let arrays = read_arrays(path).map_err(Failure::input)?;
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
    let request = Request { all_positions: ntk.shape.len() == 4, ..Request::default() };
    let before = find("before_output").is_some_and(|array| array.to_f64() == [1.0]);
    let limit = if before { Limit::new(architecture) } else { Limit::of_outputs(architecture) }?;
    let first: Vec<&[f64]> = sides[0].chunks(len).collect();
    let second: Option<Vec<&[f64]>> = sides.get(1).map(|x| x.chunks(len).collect());
    let rank = ntk.shape.len();
    let of = |kernel: LimitKernel| {
        [&kernel.ntk, &kernel.covariance].map(|values| entries_of(values, &kernel, rank, &outputs, divided))
    };
    let (mut predicted, mut covariance) = (Vec::new(), Vec::new());
    for [tangent, between] in limit.gram_map(&first, second.as_deref(), &request, of)? {
        predicted.extend(tangent);
        covariance.extend(between);
    }
    let empirical = ntk.to_f64();
    if predicted.len() != empirical.len() {
        return Err(wrong(&format!("its kernel {:?} does not fit its inputs and outputs", ntk.shape)));
    }
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let off = norm(&mut predicted.iter().zip(&empirical).map(|(a, b)| a - b)) / norm(&mut predicted.iter().copied());
    let largest = predicted.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let worst = predicted.iter().zip(&empirical).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / largest;
    write_npz(
        &folder.join("compare.npz"),
        &[
            ("nngp", Array::f64(&ntk.shape, covariance)),
            ("ntk", Array::f64(&ntk.shape, predicted.as_slice())),
            ("empirical_ntk", Array::f64(&ntk.shape, empirical.as_slice())),
        ],
    )?;
    if !quiet {
        answer!("against `{}`", path.display());
        if !before && architecture.before_output() != *architecture {
            answer!(
                "  with the output nonlinearity, whose slopes stay random at any width: `fintan ntk --before-output`"
            );
        }
        answer!("  relative difference {off:.5} (Frobenius), largest {worst:.5} of the largest entry");
    }
    let symmetric = second.is_none() && ntk.shape.len() == 2;
    let dots = if symmetric { scaled_pairs(&first, &empirical) } else { Vec::new() };
    Ok((json!({ "kernel": path.display().to_string(), "relative_difference": off, "largest_difference": worst }), dots))
}

/// What `fintan ntk` holds of one pair of inputs, at infinite width: traced, diagonal or full by the kernel's rank.
pub(super) fn entries(kernel: &LimitKernel, rank: usize, outputs: &[usize], divided: bool) -> Vec<f64> {
    entries_of(&kernel.ntk, kernel, rank, outputs, divided)
}

/// The entries of one of its two kernels.
fn entries_of(values: &[f64], kernel: &LimitKernel, rank: usize, outputs: &[usize], divided: bool) -> Vec<f64> {
    // A flattened image is a vector to the network and has its positions here.
    let positions = kernel.positions;
    let at = |o: usize, other: usize| {
        let (p, q) = (o % positions, other % positions);
        if o / positions != other / positions {
            0.0
        } else if kernel.all_positions {
            values[p * kernel.positions + q]
        } else {
            values[p]
        }
    };
    match rank {
        2 => {
            let sum: f64 = outputs.iter().map(|&o| at(o, o)).sum();
            vec![if divided { sum / outputs.len() as f64 } else { sum }]
        }
        3 => outputs.iter().map(|&o| at(o, o)).collect(),
        _ => {
            outputs.iter().flat_map(|&o| outputs.iter().map(move |&other| (o, other))).map(|(o, r)| at(o, r)).collect()
        }
    }
}

/// (angle between inputs, Θ over the root of the diagonal) of every pair.
fn scaled_pairs(inputs: &[&[f64]], kernel: &[f64]) -> Vec<(f64, f64)> {
    let n = inputs.len();
    let product = |i: usize, j: usize| inputs[i].iter().zip(inputs[j]).map(|(a, b)| a * b).sum::<f64>();
    (0..n)
        .flat_map(|i| (i..n).map(move |j| (i, j)))
        .map(|(i, j)| {
            let cosine = product(i, j) / (product(i, i).sqrt() * product(j, j).sqrt());
            let scaled = kernel[i * n + j] / (kernel[i * n + i].sqrt() * kernel[j * n + j].sqrt());
            (cosine.clamp(-1.0, 1.0).acos(), scaled)
        })
        .collect()
}
