//! Writes a kernel file with its pictures.

use std::path::{Path, PathBuf};

use fintan_artifact::{Array, write_npz, write_whole};
use fintan_ntk::{Checkerboard, Entries, KernelParts};
use fintan_report::{heat_map_png, spectrum_png, spectrum_svg};
use serde::{Serialize, Serializer};

use super::stored::{KernelMetadata, entries_name, kernel_arrays, pixel_checkerboard};
use crate::error::Error;

/// Largest number of rows for which all eigenvalues are computed with the kernel; it takes a few seconds.
const SPECTRUM_ROWS: usize = 2048;

/// What is written first. A kill or a full disk may happen between the kernel and its pictures.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let net = fintan::Network::parse("[network]\ninput = 2\nlayers = [{ dense = { out = 1 } }]")?;
/// let kernel = fintan::Kernel::of(&net).inputs(vec![vec![1.0, 0.0]]).compute()?;
/// // Θ = |x|² for the weights and 1 for the bias.
/// let summary = kernel.write_within(folder.path().join("k.npz"), f64::INFINITY, fintan::WriteOrder::KernelLast)?;
/// assert_eq!(summary.trace, 2.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOrder {
    /// The kernel is first: it may have taken hours, and pictures can be made again.
    KernelFirst,
    /// The pictures are first: if the kernel file exists, all files exist. Otherwise the kernel is computed again.
    KernelLast,
}

/// A written kernel: its files, and numbers that summarise it.
///
/// Serialised as JSON it is the output of `fintan ntk --json`.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let net = fintan::Network::parse("
///     [network]
///     input = 4
///     parametrization = { ntk = { beta = 0.0 } }
///     layers = [{ dense = { out = 3 } }]
/// ")?;
/// // The traced kernel of a linear network is 3 (x · y) / 4.
/// let x = vec![vec![2.0, 0.0, 0.0, 0.0], vec![0.0, 4.0, 0.0, 0.0]];
/// let kernel = fintan::Kernel::of(&net).inputs(x).compute()?;
/// let summary = kernel.write(folder.path().join("k.npz"))?;
/// assert_eq!(summary.trace, 15.0);
/// assert_eq!(summary.eigenvalues.expect("a traced kernel").condition_number, Some(4.0));
/// assert!(summary.heat_map.expect("a picture").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelSummary {
    /// The kernel file.
    #[serde(serialize_with = "path_text")]
    pub kernel: PathBuf,
    /// The entries: `full`, `traced` or `diagonal`.
    pub entries: &'static str,
    /// The shape of the kernel.
    pub shape: Vec<usize>,
    /// Σ Θ[(n, o), (n, o)] over samples and outputs.
    pub trace: f64,
    /// Each parameter's share of the trace, with the parameter's name.
    #[serde(serialize_with = "as_map")]
    pub parts: Vec<(String, f64)>,
    /// A picture of the kernel; `None` for a diagonal kernel.
    #[serde(serialize_with = "path_text_of", skip_serializing_if = "Option::is_none")]
    pub heat_map: Option<PathBuf>,
    /// The bytes that the eigenvalues would need, if they were left out for lack of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eigenvalues_need_bytes: Option<f64>,
    /// A summary of the eigenvalues; `None` for a diagonal or large kernel, and for a kernel between two sets.
    #[serde(flatten)]
    pub eigenvalues: Option<EigenvalueSummary>,
    /// Checkerboards of a full kernel over all pixels of its channels.
    #[serde(serialize_with = "checkerboard", skip_serializing_if = "Option::is_none")]
    pub checkerboard: Option<Checkerboard>,
}

/// A summary of a kernel's eigenvalues, and their plots.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let net = fintan::Network::parse("[network]\ninput = 2\nlayers = [{ dense = { out = 1 } }]")?;
/// // Two inputs that are equal: a matrix of rank 1.
/// let kernel = fintan::Kernel::of(&net).inputs(vec![vec![1.0, 0.0], vec![1.0, 0.0]]).compute()?;
/// let found = kernel.write(folder.path().join("k.npz"))?.eigenvalues.expect("a traced kernel");
/// assert_eq!(found.condition_number, None);
/// assert!((found.effective_rank - 1.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EigenvalueSummary {
    /// λ_max
    pub largest_eigenvalue: f64,
    /// λ_max / λ_min; `None` for a singular kernel.
    pub condition_number: Option<f64>,
    /// Effective rank, as defined at [`Spectrum::effective_rank`](crate::Spectrum::effective_rank).
    pub effective_rank: f64,
    /// A plot of the eigenvalues (SVG).
    #[serde(serialize_with = "path_text")]
    pub spectrum: PathBuf,
    /// The plot as PNG.
    #[serde(serialize_with = "path_text")]
    pub spectrum_png: PathBuf,
}

fn path_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

#[expect(clippy::ref_option, reason = "serde hands out references")]
fn path_text_of<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path_text(path.as_deref().unwrap_or(Path::new("")), serializer)
}

fn as_map<S: Serializer>(pairs: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

#[expect(clippy::ref_option, reason = "serde hands out references")]
fn checkerboard<S: Serializer>(found: &Option<Checkerboard>, serializer: S) -> Result<S::Ok, S::Error> {
    found.as_ref().map(checkerboard_json).serialize(serializer)
}

/// Checkerboards in the form of summaries and logs.
pub(crate) fn checkerboard_json(found: &Checkerboard) -> serde_json::Value {
    let Checkerboard { trace_shares, eigenvalue_ratios, border_ratio } = found;
    serde_json::json!({
        "trace_shares": trace_shares, "eigenvalue_ratios": eigenvalue_ratios, "border_ratio": border_ratio,
    })
}

/// Writes a kernel, its spectrum and its pictures, and returns a summary. `spare` is a bound on the bytes for eigenvalues. If
/// they need more they are left out, and the summary says so.
///
/// # Errors
/// Fails if the sum of the finite parts is not finite, or with errors of the file system.
pub(crate) fn write_kernel(
    path: &Path,
    kernel: &KernelParts,
    metadata: &KernelMetadata,
    inputs: &[Array<'static>],
    spare: f64,
    order: WriteOrder,
) -> Result<KernelSummary, Error> {
    let total = kernel.total();
    if !total.is_finite() {
        return Err(Error::SumOverflow);
    }
    let mut arrays = kernel_arrays(kernel, &total, metadata, inputs);
    let trace: f64 = kernel.parts.iter().map(|part| kernel.trace(&part.values)).sum();
    let parts = kernel.parts.iter().map(|part| (part.name.clone(), kernel.trace(&part.values) / trace));
    let mut summary = KernelSummary {
        kernel: path.into(),
        entries: entries_name(kernel.entries),
        shape: kernel.shape(),
        trace,
        parts: parts.collect(),
        heat_map: None,
        eigenvalues_need_bytes: None,
        eigenvalues: None,
        checkerboard: None,
    };
    let mut pictures = Vec::new();
    if kernel.entries != Entries::Diagonal {
        let [rows, columns] = kernel.matrix_shape()?;
        let picture = path.with_extension("png");
        pictures.push((picture.clone(), heat_map_png(rows, columns, &mut |i, to| kernel.row(&total, i, to))?));
        summary.heat_map = Some(picture);
        let needed = KernelParts::eigenvalue_bytes(rows);
        if metadata.symmetric && rows <= SPECTRUM_ROWS && needed > spare {
            summary.eigenvalues_need_bytes = Some(needed);
        } else if metadata.symmetric && rows <= SPECTRUM_ROWS {
            let spectrum = kernel.eigenvalues(&total)?;
            arrays.push(("eigenvalues".into(), Array::f64(&[rows], spectrum.values.clone())));
            let (plot, picture) = (path.with_extension("spectrum.svg"), path.with_extension("spectrum.png"));
            pictures.push((plot.clone(), spectrum_svg(&spectrum.values)?.into_bytes()));
            pictures.push((picture.clone(), spectrum_png(&spectrum.values)?));
            summary.eigenvalues = Some(EigenvalueSummary {
                largest_eigenvalue: spectrum.values[0],
                condition_number: spectrum.condition_number(),
                effective_rank: spectrum.effective_rank(),
                spectrum: plot,
                spectrum_png: picture,
            });
        }
    }
    summary.checkerboard = pixel_checkerboard(kernel, &total, metadata);
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
