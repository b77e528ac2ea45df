//! The network and the inputs of a kernel.

use std::ops::Range;
use std::path::PathBuf;

use fintan::{Device, Inputs, Network, Shape, TaskSamples};
use fintan_artifact::RunDir;
use fintan_config::Held;

use crate::args::{Ntk, Which};
use crate::commands::settings_of_run::say_edits;
use crate::failure::Failure;

/// The requested network, and the path for its kernel.
pub(super) struct KernelSubject {
    pub(super) network: Network,
    /// The path of the kernel file.
    pub(super) place: PathBuf,
}

impl KernelSubject {
    pub(super) fn open(args: &Ntk, step: Option<u64>, device: &Device) -> Result<Self, Failure> {
        let path = args.path.as_deref().expect("clap asks for it");
        let loader = Network::open(path).bound(args.on.device.bound(Held::Parameters));
        let loader = args.set.iter().fold(loader, |loader, set| loader.set(set));
        let loader = args.seed.into_iter().fold(loader, fintan::NetworkLoader::seed);
        let loader = step.into_iter().fold(loader, fintan::NetworkLoader::step);
        if path.is_dir() {
            say_edits(&RunDir::open(path)?)?;
        }
        let mut network = loader.load()?.on(device.clone());
        if args.network == Which::Discriminator && network.is_of_gan() {
            network = network.discriminator()?;
        }
        if let Some(path) = &args.weights {
            network = network.weights(path)?;
        }
        if args.before_output {
            network = network.before_output();
        }
        let word = network.role().name();
        let place = match (network.run(), network.step()) {
            (Some(run), Some(step)) => run.join("ntk").join(format!("step_{step:06}_{word}.npz")),
            _ => PathBuf::from(format!("{}.ntk.npz", path.file_stem().unwrap_or_default().to_string_lossy())),
        };
        Ok(Self { network, place })
    }
}

/// The inputs in the arguments: the name `train` or `test`, a file, or drawn inputs if no name is given.
pub(super) fn inputs_of(named: Option<&String>, n: Option<u64>) -> Inputs {
    let n = n.map(|n| n as usize);
    let Some(name) = named else { return Inputs::Drawn(n) };
    TaskSamples::named(name).map_or_else(|| Inputs::File(name.clone()), |which| Inputs::Task(which, n))
}

/// The requested outputs; an empty list means all outputs.
pub(super) fn outputs(args: &Ntk, shape: Shape) -> Result<Vec<usize>, Failure> {
    let Shape { channels, height, width } = shape;
    if let Some(list) = &args.outputs {
        let wrong = || Failure::input(format!("--outputs must be numbers and ranges such as 0,5,8..16, got `{list}`"));
        let mut all = Vec::new();
        for piece in list.split(',') {
            let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
            match piece.split_once("..") {
                Some((from, to)) => {
                    let (from, to) = (number(from)?, number(to)?);
                    if from >= to || to > shape.len() {
                        return Err(Failure::input(format!(
                            "--outputs {piece}: the network has outputs 0..{}",
                            shape.len()
                        )));
                    }
                    all.extend(from..to);
                }
                None => all.push(number(piece)?),
            }
        }
        return Ok(all);
    }
    if args.channel.is_none() && args.grid.is_none() {
        return Ok(Vec::new());
    }
    if let Some(channel) = args.channel.filter(|&c| c >= channels) {
        return Err(Failure::input(format!("--channel must be below {channels}, got {channel}")));
    }
    let every = args.grid.unwrap_or(1) as usize;
    let chosen = args.channel.map_or(0..channels, |c| c..c + 1);
    let positions = || (0..height).step_by(every).flat_map(|y| (0..width).step_by(every).map(move |x| y * width + x));
    Ok(chosen.flat_map(|c| positions().map(move |p| c * height * width + p)).collect())
}

/// The range `a..b` of tiles of a plan.
pub(super) fn tile_range(text: &str, count: usize) -> Result<Range<usize>, Failure> {
    let parsed = text.split_once("..").and_then(|(a, b)| Some(a.trim().parse().ok()?..b.trim().parse().ok()?));
    parsed.filter(|range: &Range<usize>| range.start < range.end && range.end <= count).ok_or_else(|| {
        Failure::input(format!("--tiles must be A..B within 0..{count}, the tiles of this plan, got `{text}`"))
    })
}
