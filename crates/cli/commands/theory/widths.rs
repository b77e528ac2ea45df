//! How fast finite networks come to their limit.

use std::path::Path;

use fintan_config::{Architecture, Held, MemoryBound};
use fintan_net::Network;
use fintan_predict::{WidthError, WidthStudy, with_hidden_width};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_train::{Purpose, stream};
use serde_json::json;

use super::{write, write_table};
use crate::args::Theory;
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, tell};

/// Refuses widths that cannot be compared, or whose networks do not fit into memory, before anything is computed.
pub(super) fn check(architecture: &Architecture, args: &Theory) -> Result<(), Failure> {
    if args.widths.is_empty() {
        return Ok(());
    }
    if args.widths.iter().all(|width| *width == args.widths[0]) {
        return Err(Failure::input("--widths needs at least two widths, such as 32,64,128"));
    }
    let memory = MemoryBound { held: Held::Parameters, free: fintan::free_memory() };
    for &width in &args.widths {
        let wider = with_hidden_width(&architecture.before_output(), width as usize).map_err(refused)?;
        let admitted = memory.admit(&wider);
        admitted.map_err(|e| Failure::input(format!("--widths {width}: {}", e.message)))?;
    }
    Ok(())
}

fn refused(error: WidthError) -> Failure {
    match error {
        WidthError::Residual => Failure::input("--widths cannot widen residual blocks"),
        WidthError::Architecture(error) => Failure::input(error),
    }
}

/// The errors of networks whose hidden layers all have the given widths, as a table and a plot.
pub(super) fn widths(
    architecture: &Architecture,
    args: &Theory,
    seed: u64,
    folder: &Path,
) -> Result<serde_json::Value, Failure> {
    let opened = device::open(args.on.device)?;
    let mut study = WidthStudy::new(architecture, &mut stream(seed, Purpose::Samples, 0));
    for width in args.widths.iter().map(|&width| width as usize) {
        let network = study.network(width).map_err(refused)?;
        let drawn = (0..args.seeds).map(|k| {
            Network::init(&network, &mut stream(seed + k, Purpose::Generator, width as u64), &opened.placement)
        });
        let point = study.add(width, &network, drawn)?;
        if !args.voice.quiet && !args.voice.json {
            tell!("width {width:>6}  relative error {:.5} ± {:.5}", point.relative_error, point.standard_error);
        }
    }
    let points = study.points();
    let rows = points.iter().map(|point| vec![point.width as f64, point.relative_error, point.standard_error]);
    write_table(&folder.join("widths.csv"), "width,relative_error,standard_error", rows)?;
    let (slope, factor) = study.power_law();
    let measured: Vec<(f64, f64)> = points.iter().map(|point| (point.width as f64, point.relative_error)).collect();
    let fit = measured.iter().map(|&(width, _)| (width, factor * width.powf(slope))).collect();
    let axes = Axes {
        title: format!("Empirical NTK against its limit, {} seeds", args.seeds),
        x: "width".into(),
        y: "relative error".into(),
        log_x: true,
        log_y: true,
        ..Axes::default()
    };
    let curves = [
        Curve { name: format!("slope {slope:.3}"), points: fit, mark: Mark::Line },
        Curve { name: "measured".into(), points: measured.clone(), mark: Mark::Dots },
    ];
    write(&folder.join("widths.svg"), curves_svg(&axes, &curves)?.as_bytes())?;
    if !args.voice.json {
        answer!("relative error of the empirical NTK falls as width^{slope:.3}");
    }
    Ok(json!({ "widths": args.widths, "errors": measured.iter().map(|p| p.1).collect::<Vec<_>>(), "slope": slope }))
}
