//! What is written of a kernel: its file, its spectrum, its pictures.

use std::path::Path;

use fintan_artifact::{Array, write_npz, write_whole};
use fintan_ntk::{Checkerboard, Entries, Kernel, Values};
use fintan_report::{heat_map_png, spectrum_png, spectrum_svg};
use serde_json::json;

use crate::error::Error;
use crate::stored::{KernelMetadata, entries_name, kernel_arrays, pixel_checkerboard};

/// Rows up to which all eigenvalues are computed along with the kernel: a few seconds.
const SPECTRUM_ROWS: usize = 2048;

/// Checkerboards of a full kernel over every pixel of its channels, as the summary of a kernel has them.
#[must_use]
pub fn checkerboard_json(kernel: &Kernel, total: &Values, about: &KernelMetadata) -> Option<serde_json::Value> {
    let Checkerboard { trace_shares, eigenvalue_ratios, border_ratio } = pixel_checkerboard(kernel, total, about)?;
    Some(json!({
        "trace_shares": trace_shares, "eigenvalue_ratios": eigenvalue_ratios, "border_ratio": border_ratio,
    }))
}

/// What is written first. A kill or a full disk may come between a kernel and its pictures.
///
/// ```
/// assert_ne!(fintan::parts::WriteOrder::KernelFirst, fintan::parts::WriteOrder::KernelLast);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOrder {
    /// The kernel: it may be hours of work, and pictures can be made again.
    KernelFirst,
    /// The pictures: the kernel can be made again as long as it is not there, and says that everything is.
    KernelLast,
}

/// Writes the kernel (`.npz`), its spectrum and its pictures beside it, and sums it up. `spare`: bytes that eigenvalues may
/// take; where they would take more they are left out, and the summary says so as `eigenvalues_need_bytes`.
///
/// # Errors
/// [`Error::SumOverflow`], a kernel without a matrix or a spectrum, and those of the file system.
pub fn write_kernel(
    path: &Path,
    kernel: &Kernel,
    about: &KernelMetadata,
    inputs: &[Array<'static>],
    spare: f64,
    order: WriteOrder,
) -> Result<serde_json::Value, Error> {
    let symmetric = about.symmetric;
    let shape = kernel.shape();
    let total = kernel.total();
    if !total.is_finite() {
        return Err(Error::SumOverflow);
    }
    let mut arrays = kernel_arrays(kernel, &total, about, inputs);
    let trace: f64 = kernel.parts.iter().map(|part| kernel.trace(&part.values)).sum();
    let shares = kernel.parts.iter().map(|part| (part.name.clone(), json!(kernel.trace(&part.values) / trace)));
    let mut summary = json!({
        "kernel": path.display().to_string(), "entries": entries_name(kernel.entries), "shape": shape,
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
            arrays.push(("eigenvalues".into(), Array::f64(&[rows], spectrum.values.clone())));
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
    if let Some(found) = checkerboard_json(kernel, &total, about) {
        summary["checkerboard"] = found;
    }
    let arrays: Vec<(&str, Array)> = arrays.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
    let draw = || pictures.iter().try_for_each(|(path, bytes)| write_whole(path, bytes));
    match order {
        WriteOrder::KernelFirst => {
            write_npz(path, &arrays)?;
            draw()?;
        }
        WriteOrder::KernelLast => {
            draw()?;
            write_npz(path, &arrays)?;
        }
    }
    Ok(summary)
}
