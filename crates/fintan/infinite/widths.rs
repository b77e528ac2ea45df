//! Compares finite networks of growing width with their limit.

use std::path::Path;

use fintan_artifact::write_whole;
use fintan_config::{Architecture, Held, MemoryBound};
use fintan_predict::{WidthError, WidthPoint, WidthStudy, with_hidden_width};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_train::{Purpose, stream};

use super::{LimitFinding, LimitStudyError};
use crate::csv;
use crate::device::Device;
use crate::error::Error;
use crate::memory::free_memory;

/// Checks before any computation that widths can be compared and that their networks fit into memory.
pub(super) fn check(architecture: &Architecture, widths: &[usize]) -> Result<(), LimitStudyError> {
    let Some(first) = widths.first() else { return Ok(()) };
    if widths.iter().all(|width| width == first) {
        return Err(LimitStudyError::OneWidth);
    }
    let memory = MemoryBound { held: Held::Parameters, free: free_memory() };
    for &width in widths {
        let wider = with_hidden_width(&architecture.before_output(), width).map_err(refused)?;
        memory.admit(&wider).map_err(|e| LimitStudyError::WidthMemory { width, message: e.message })?;
    }
    Ok(())
}

fn refused(error: WidthError) -> LimitStudyError {
    match error {
        WidthError::Residual => LimitStudyError::Residual,
        WidthError::Architecture(error) => error.into(),
    }
}

/// The hidden widths, the number of networks of each width, and their seed.
pub(super) struct Asked<'a> {
    pub(super) widths: &'a [usize],
    pub(super) networks: u64,
    pub(super) seed: u64,
}

/// Computes the errors of networks whose hidden layers all have the given widths, and their exponent. Writes a table and a
/// plot.
pub(super) fn widths(
    architecture: &Architecture,
    &Asked { widths, networks, seed }: &Asked,
    device: &Device,
    folder: &Path,
    on_finding: &mut dyn FnMut(&LimitFinding),
) -> Result<(Vec<WidthPoint>, f64), Error> {
    let mut study = WidthStudy::new(architecture, &mut stream(seed, Purpose::Samples, 0));
    for &width in widths {
        let network = study.network(width).map_err(refused)?;
        let drawn = (0..networks).map(|k| {
            let mut stream = stream(seed + k, Purpose::Generator, width as u64);
            fintan_net::PlacedNetwork::init(&network, &mut stream, &device.placement)
        });
        on_finding(&LimitFinding::Width(study.add(width, &network, drawn)?));
    }
    let points = study.points();
    let rows = points.iter().map(|point| vec![point.width as f64, point.relative_error, point.standard_error]);
    let table = csv::numbers("width,relative_error,standard_error", rows);
    write_whole(&folder.join("widths.csv"), table.as_bytes())?;
    let (slope, factor) = study.power_law();
    let measured: Vec<(f64, f64)> = points.iter().map(|point| (point.width as f64, point.relative_error)).collect();
    let fit = measured.iter().map(|&(width, _)| (width, factor * width.powf(slope))).collect();
    let axes = Axes {
        title: format!("Empirical NTK against its limit, {networks} seeds"),
        x: "width".into(),
        y: "relative error".into(),
        log_x: true,
        log_y: true,
        ..Axes::default()
    };
    let curves = [
        Curve { name: format!("slope {slope:.3}"), points: fit, mark: Mark::Line },
        Curve { name: "measured".into(), points: measured, mark: Mark::Dots },
    ];
    write_whole(&folder.join("widths.svg"), curves_svg(&axes, &curves)?.as_bytes())?;
    Ok((points.to_vec(), slope))
}
