//! How fast finite networks come to their limit.

use std::path::Path;

use burn::tensor::TensorData;
use fintan_config::{Architecture, Held, Layer, MemoryBound, Shape};
use fintan_net::{Mode, Network, channels_last};
use fintan_ntk::{Entries, Kernel, Plan, Problem};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_theory::{Limit, Request};
use fintan_train::{Purpose, stream};
use rand_distr::{Distribution as _, StandardNormal};
use serde_json::json;

use super::compare::entries;
use super::{write, write_table};
use crate::args::Theory;
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, tell};

/// Inputs the kernels are compared at, and positions of an image.
const INPUTS: usize = 4;
const POSITIONS: usize = 16;

/// Refuses widths that cannot be compared, or whose networks do not fit into memory, before anything is computed.
pub(super) fn check(architecture: &Architecture, args: &Theory) -> Result<(), Failure> {
    if args.widths.is_empty() {
        return Ok(());
    }
    if args.widths.iter().all(|width| *width == args.widths[0]) {
        return Err(Failure::input("--widths needs at least two widths, such as 32,64,128"));
    }
    let memory = MemoryBound { held: Held::Parameters, free: crate::memory::free() };
    for &width in &args.widths {
        let refused = memory.admit(&of_width(&architecture.before_output(), width as usize)?);
        refused.map_err(|e| Failure::input(format!("--widths {width}: {}", e.message)))?;
    }
    Ok(())
}

/// The error `√(mean over seeds of ‖Θ - Θ∞‖² / ‖Θ∞‖²)` of networks whose hidden layers all have the given widths, and the
/// slope of its logarithm: -1/2 where errors fall as 1/√width.
pub(super) fn widths(
    architecture: &Architecture,
    args: &Theory,
    seed: u64,
    folder: &Path,
) -> Result<serde_json::Value, Failure> {
    // An output nonlinearity keeps the kernel random at any width.
    let architecture = &architecture.before_output();
    let opened = device::open(args.on.device)?;
    let placement = &opened.placement;
    let Shape { channels, height, width } = architecture.input;
    let len = architecture.input.len();
    // On the sphere |x|² = length.
    let mut rng = stream(seed, Purpose::Samples, 0);
    let mut x: Vec<f64> = (0..INPUTS * len).map(|_| StandardNormal.sample(&mut rng)).collect();
    for x in x.chunks_mut(len) {
        let size = (x.iter().map(|v| v * v).sum::<f64>() / len as f64).sqrt();
        for v in x {
            *v /= size;
        }
    }
    // The first output of a vector; of an image, positions of its first channel all over it.
    let positions = architecture.output().positions();
    let count = positions.min(POSITIONS);
    let outputs: Vec<usize> = (0..count).map(|i| i * positions / count).collect();
    let request = Request { all_positions: count > 1, ..Request::default() };
    let inputs: Vec<&[f64]> = x.chunks(len).collect();
    let (mut points, mut rows) = (Vec::new(), Vec::new());
    for hidden in args.widths.iter().map(|&width| width as usize) {
        let network = of_width(architecture, hidden)?;
        let of = |kernel| entries(&kernel, 4, &outputs, false);
        let limit = Limit::new(&network)?.gram_map(&inputs, None, &request, of)?.concat();
        let size: f64 = limit.iter().map(|v| v * v).sum();
        let mut errors = Vec::new();
        for k in 0..args.seeds {
            let drawn = Network::init(&network, &mut stream(seed + k, Purpose::Generator, hidden as u64), placement);
            let data = TensorData::new(x.clone(), [INPUTS, channels, height, width]).convert_dtype(placement.dtype);
            let data = burn::tensor::Tensor::from_data(data, (&placement.device, placement.dtype));
            let data = channels_last(data);
            let problem = Problem::new(drawn, data, None, Mode::Train, Entries::Full, outputs.clone())?.summed();
            let kernel = Kernel::compute(&problem, &Plan::new(&problem, None, 8e9)?);
            let off: f64 = kernel.total().iter().zip(&limit).map(|(a, b)| (a - b).powi(2)).sum();
            errors.push(off / size);
        }
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let spread = errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (errors.len() as f64 - 1.0).max(1.0);
        // Of the root of a mean, to first order.
        let uncertainty = (spread / errors.len() as f64).sqrt() / (2.0 * mean.sqrt());
        if !args.voice.quiet && !args.voice.json {
            tell!("width {hidden:>6}  relative error {:.5} ± {uncertainty:.5}", mean.sqrt());
        }
        points.push((hidden as f64, mean.sqrt()));
        rows.push(vec![hidden as f64, mean.sqrt(), uncertainty]);
    }
    write_table(&folder.join("widths.csv"), "width,relative_error,standard_error", rows.into_iter())?;
    let (slope, at_one) = line(&points);
    let fit = points.iter().map(|&(w, _)| (w, (at_one + slope * w.ln()).exp())).collect();
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
        Curve { name: "measured".into(), points: points.clone(), mark: Mark::Dots },
    ];
    write(&folder.join("widths.svg"), curves_svg(&axes, &curves)?.as_bytes())?;
    if !args.voice.json {
        answer!("relative error of the empirical NTK falls as width^{slope:.3}");
    }
    Ok(json!({ "widths": args.widths, "errors": points.iter().map(|p| p.1).collect::<Vec<_>>(), "slope": slope }))
}

/// Least squares of ln y on ln x: slope and the value at x = 1.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let logs: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x.ln(), y.ln())).collect();
    let mean = logs.iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0 / n, sum.1 + at.1 / n));
    let (top, bottom) = logs
        .iter()
        .fold((0.0, 0.0), |sum, at| (sum.0 + (at.0 - mean.0) * (at.1 - mean.1), sum.1 + (at.0 - mean.0).powi(2)));
    let slope = top / bottom;
    (slope, mean.1 - slope * mean.0)
}

/// The same layers with that many hidden features or channels.
fn of_width(architecture: &Architecture, width: usize) -> Result<Architecture, Failure> {
    let nodes = &architecture.nodes;
    let last = nodes.iter().rposition(|node| node.layer.properties().is_linear);
    let mut layers = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        let hidden = last.is_some_and(|last| i < last);
        // What becomes of its output, pointwise layers left out.
        let of_each = |layer: &&Layer| layer.properties().is_pointwise || layer.properties().is_norm;
        let next = nodes[i + 1..].iter().map(|node| &node.layer).find(|layer| !of_each(layer));
        if node.layer.residual().is_some() {
            return Err(Failure::input("--widths cannot widen residual blocks"));
        }
        let mut layer = node.layer.clone();
        if hidden {
            match (&mut layer, next) {
                (Layer::Reshape(to), _) if i > 0 => *to = Shape { channels: width, ..*to },
                // A dense layer whose output becomes an image: as many channels.
                (Layer::Dense(dense), Some(Layer::Reshape(to))) => dense.out = width * to.positions(),
                (linear, _) => linear.set_outputs(width),
            }
        }
        layers.push(layer);
    }
    Architecture::new(architecture.input, &layers, architecture.parametrization).map_err(Failure::input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::{Dense, Init, Parametrization, Standard};

    #[test]
    fn wider_networks_keep_everything_but_their_widths() {
        let dense = |out| Layer::Dense(Dense { out, init: Some(Init::Variance(0.3)) });
        let parametrization = Parametrization::Standard(Standard { init: Init::He, bias_std: 0.1 });
        let of = |width: usize| {
            let layers =
                [dense(4 * width), Layer::Reshape(Shape::image(width, 2, 2)), Layer::Flatten(fintan_config::Empty {})];
            let layers = [&layers[..], &[dense(width), dense(3)]].concat();
            Architecture::new(Shape::vector(5), &layers, parametrization).expect("sound")
        };
        assert_eq!(of_width(&of(2), 7).expect("no residual blocks"), of(7));
    }
}
