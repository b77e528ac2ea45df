//! What is written of a kernel.

use std::path::Path;

use fintan_artifact::{Array, write_npz, write_whole};
use fintan_config::{Layer, Shape};
use fintan_ntk::{Checkerboard, Entries, Kernel, Problem, Values};
use fintan_report::{heat_map_png, spectrum_png, spectrum_svg};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::Ntk;
use crate::failure::Failure;

/// The name of a kind of kernel.
pub(super) fn word(entries: Entries) -> &'static str {
    match entries {
        Entries::Full => "full",
        Entries::Traced => "traced",
        Entries::Diagonal => "diagonal",
    }
}

/// Rows up to which all eigenvalues are computed along with the kernel: a few seconds.
const SPECTRUM_ROWS: usize = 2048;

/// What is written beside a kernel's entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::commands) struct About {
    pub(super) outputs: Vec<usize>,
    pub(super) symmetric: bool,
    /// Whether a traced kernel was divided by the number of outputs.
    pub(super) mean: bool,
    /// Whether the output nonlinearity was left off.
    pub(super) before_output: bool,
    /// Of a network that makes images: their shape, the up-sampling stride and how often it is applied.
    image: Option<(Shape, usize, u32)>,
}

impl About {
    pub(super) fn of(problem: &Problem, args: &Ntk) -> Self {
        Self { mean: args.mean, before_output: args.before_output, ..Self::plain(problem) }
    }

    /// Of the kernel of a whole network, not divided.
    pub(in crate::commands) fn plain(problem: &Problem) -> Self {
        let architecture = problem.network().architecture();
        let strides: Vec<usize> = (architecture.nodes.iter())
            .filter_map(|node| {
                let Layer::Deconv(c) = &node.layer else { return None };
                let square = node.input.positions() > 1 && c.stride.0[0] == c.stride.0[1];
                Some(c.stride.0[0]).filter(|&stride| square && stride > 1)
            })
            .collect();
        let alike = strides.first().filter(|first| strides.iter().all(|stride| stride == *first));
        Self {
            outputs: problem.outputs().to_vec(),
            symmetric: problem.is_symmetric(),
            mean: false,
            before_output: false,
            image: alike.map(|&stride| (architecture.output(), stride, strides.len() as u32)),
        }
    }
}

/// Inputs of either side, [N, features] or [N, channels, rows, columns].
pub(in crate::commands) fn inputs(problem: &Problem) -> Vec<Array<'static>> {
    let shape = problem.network().architecture().input;
    let inputs = problem.inputs().map(|x| {
        let [n, height, width, channels] = x.dims();
        let values: Vec<f64> = x.clone().permute([0, 3, 1, 2]).into_data().iter::<f64>().collect();
        let dims = if shape.is_vector() { vec![n, channels] } else { vec![n, channels, height, width] };
        Array::f64(&dims, values)
    });
    inputs.collect()
}

/// Checkerboards of a full kernel over every pixel of its channels: means over samples and channels.
pub(in crate::commands) fn checkerboard(kernel: &Kernel, total: &Values, about: &About) -> Option<serde_json::Value> {
    let (shape, stride, levels) = about.image?;
    let pixels = shape.positions();
    let whole = about.outputs.chunks(pixels).all(|chunk| {
        chunk.len() == pixels && chunk[0] % pixels == 0 && chunk.windows(2).all(|pair| pair[1] == pair[0] + 1)
    });
    if kernel.entries != Entries::Full || !about.symmetric || !whole {
        return None;
    }
    let (n, outputs) = (kernel.samples[0], kernel.outputs);
    let blocks = (0..n).flat_map(|i| (0..outputs / pixels).map(move |channel| (i, channel * pixels)));
    let found: Option<Vec<Checkerboard>> = blocks
        .map(|(i, first)| {
            Checkerboard::of([shape.height, shape.width], stride, levels, |p| {
                let start = ((i * n + i) * outputs + first + p) * outputs + first;
                (start..start + pixels).map(|at| total.at(at)).collect()
            })
        })
        .collect();
    let found = found?;
    let mean = |of: &dyn Fn(&Checkerboard) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
    let over = |of: &dyn Fn(&Checkerboard) -> &Vec<f64>| -> Vec<f64> {
        (0..of(&found[0]).len()).map(|k| mean(&|one| of(one)[k])).collect()
    };
    Some(json!({
        "trace_shares": over(&|one| &one.trace_shares), "eigenvalue_ratios": over(&|one| &one.eigenvalue_ratios),
        "border_ratio": mean(&|one| one.border_ratio),
    }))
}

/// What is written first. A kill or a full disk may come between a kernel and its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Order {
    /// The kernel: it may be hours of work, and pictures can be made again.
    KernelFirst,
    /// The pictures: the kernel can be made again as long as it is not there, and says that everything is.
    KernelLast,
}

/// Writes the kernel, its spectrum and its pictures, and sums it up. `spare`: bytes that eigenvalues may take; where they
/// would take more they are left out, and the summary says so.
pub(in crate::commands) fn finish(
    path: &Path,
    kernel: &Kernel,
    about: &About,
    inputs: &[Array<'static>],
    spare: f64,
    order: Order,
) -> Result<serde_json::Value, Failure> {
    let (outputs, symmetric) = (&about.outputs, about.symmetric);
    let shape = kernel.shape();
    let total = kernel.total();
    if !total.is_finite() {
        return Err(Failure::Failed(miette::miette!(
            help = "`--f64` keeps it in double precision",
            "the parts of the kernel are finite, but their sum overflows f32"
        )));
    }
    let names: Vec<String> = kernel.parts.iter().map(|part| format!("parts/{}", part.name)).collect();
    let mut arrays = vec![("ntk", array(&total, &shape))];
    if kernel.parts.len() > 1 {
        arrays.extend(names.iter().zip(&kernel.parts).map(|(name, part)| (name.as_str(), array(&part.values, &shape))));
    }
    arrays.push(("outputs", Array::integers(outputs.iter().copied())));
    arrays.push(("mean", Array::integers([usize::from(about.mean)])));
    arrays.push(("before_output", Array::integers([usize::from(about.before_output)])));
    arrays.extend(["inputs", "inputs2"].into_iter().zip(inputs.iter().cloned()));

    if kernel.entries == Entries::Traced && symmetric {
        let n = kernel.samples[0];
        let root = |i: usize| total.at(i * n + i).sqrt();
        let scaled: Vec<f64> = (0..n * n).map(|i| total.at(i) / (root(i / n) * root(i % n))).collect();
        arrays.push(("scaled", Array::f64(&[n, n], scaled)));
    }
    let trace: f64 = kernel.parts.iter().map(|part| kernel.trace(&part.values)).sum();
    let shares = kernel.parts.iter().map(|part| (part.name.clone(), json!(kernel.trace(&part.values) / trace)));
    let mut summary = json!({
        "kernel": path.display().to_string(), "entries": word(kernel.entries), "shape": shape,
        "trace": trace, "parts": shares.collect::<serde_json::Map<_, _>>(),
    });
    let mut pictures = Vec::new();
    if kernel.entries != Entries::Diagonal {
        let [rows, columns] = kernel.matrix_shape()?;
        let picture = heat_map_png(rows, columns, &mut |i, to| kernel.row(&total, i, to))?;
        pictures.push((path.with_extension("png"), picture));
        summary["heat_map"] = path.with_extension("png").display().to_string().into();
        let needed = Kernel::eigenvalue_bytes(rows);
        if symmetric && rows <= SPECTRUM_ROWS && needed > spare {
            summary["eigenvalues_need_bytes"] = json!(needed);
        } else if symmetric && rows <= SPECTRUM_ROWS {
            let spectrum = kernel.eigenvalues(&total)?;
            arrays.push(("eigenvalues", Array::f64(&[rows], spectrum.values.clone())));
            summary["largest_eigenvalue"] = json!(spectrum.values[0]);
            summary["condition_number"] = json!(spectrum.condition_number());
            summary["effective_rank"] = json!(spectrum.effective_rank());
            let (plot, picture) = (path.with_extension("spectrum.svg"), path.with_extension("spectrum.png"));
            summary["spectrum"] = plot.display().to_string().into();
            summary["spectrum_png"] = picture.display().to_string().into();
            pictures.push((plot, spectrum_svg(&spectrum.values)?.into_bytes()));
            pictures.push((picture, spectrum_png(&spectrum.values)?));
        }
    }
    if let Some(found) = checkerboard(kernel, &total, about) {
        summary["checkerboard"] = found;
    }
    let draw = || pictures.iter().try_for_each(|(path, bytes)| write_whole(path, bytes));
    match order {
        Order::KernelFirst => {
            write_npz(path, &arrays)?;
            draw()?;
        }
        Order::KernelLast => {
            draw()?;
            write_npz(path, &arrays)?;
        }
    }
    Ok(summary)
}

/// Values of a kernel as an array, not copied.
pub(super) fn array<'a>(values: &'a Values, shape: &[usize]) -> Array<'a> {
    match values {
        Values::F32(values) => Array::f32(shape, values.as_slice()),
        Values::F64(values) => Array::f64(shape, values.as_slice()),
    }
}
