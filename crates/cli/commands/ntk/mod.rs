//! `fintan ntk`

mod drift;
mod spectrum;
mod tiles;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::{DType, Tensor, TensorData};
use fintan_artifact::{Array, RunDir, read_arrays, write_npz, write_whole};
use fintan_config::{Architecture, NetworkExperiment, Settings, Shape, Subject};
use fintan_data::{Images, Order, TaskData};
use fintan_net::weights::read_safetensors;
use fintan_net::{Mode, Network, Placement, channels_last};
use fintan_ntk::{Bytes, Entries, Kernel, Method, Plan, Problem, Values};
use fintan_report::{heat_map_png, spectrum_svg};
use fintan_train::{Purpose, latents, read_discriminator, read_network, read_sampler, stream};
use indicatif::{ProgressBar, ProgressStyle};
use rand_distr::{Distribution as _, StandardNormal};
use serde_json::json;

use super::train::task_of;
use crate::args::{BatchNormMode, EntriesChoice, KernelCommand, Merge, MethodChoice, Ntk, NtkCommand, Voice, Which};
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, tell};

/// Computes a kernel, or puts one together.
pub(super) fn command(args: &NtkCommand) -> Result<(), Failure> {
    match &args.command {
        Some(KernelCommand::Merge(args)) => merge(args),
        None => ntk(&args.compute),
    }
}

/// Computes a kernel and writes it.
fn ntk(args: &Ntk) -> Result<(), Failure> {
    let mut opened = device::open(args.on.device)?;
    if args.f64 {
        if opened.name.starts_with("wgpu") {
            return Err(Failure::input("wgpu computes in f32; use --device flex or ndarray with --f64"));
        }
        opened.placement.dtype = DType::F64;
    }
    if args.steps.is_some() {
        return drift::drift(args, &opened);
    }
    let subject = Found::open(args, args.step, &opened.placement)?;
    let path = args.out.clone().unwrap_or_else(|| beside(&subject.place, args));
    let seed = subject.seed;
    let problem = problem(args, subject, &opened.placement)?;
    if let Some(count) = args.top {
        return spectrum::largest(&problem, count as usize, seed, &path, &args.voice);
    }
    let plan = plan(args, &problem, tiles::size_beside(&path))?;
    if args.plan {
        tell_plan(&plan, &args.voice);
        return Ok(());
    }
    let start = Instant::now();
    let Some((mut kernel, tiles)) = compute(args, &problem, &plan, &path, &opened.name)? else { return Ok(()) };
    let seconds = start.elapsed().as_secs_f64();
    if args.mean {
        kernel.divide(kernel.outputs as f64);
    }
    let mut summary = finish(&path, &kernel, problem.outputs(), problem.is_symmetric())?;
    // Not before the kernel is on the disk: it may be full, and tiles are hours of work.
    if let Some(tiles) = tiles {
        tiles.remove()?;
    }
    if args.voice.json {
        summary["method"] = plan.method.name().into();
        summary["coupled"] = problem.is_coupled().into();
        summary["seconds"] = seconds.into();
        summary["device"] = opened.name.into();
        summary["precision"] = if args.f64 { "f64" } else { "f32" }.into();
        answer!("{summary}");
        return Ok(());
    }
    answer!("{}", path.display());
    if !args.voice.quiet {
        let [n1, n2] = kernel.samples;
        let (outputs, entries) = (kernel.outputs, word(kernel.entries));
        tell!("{entries} kernel of {n1} x {n2} samples, {outputs} outputs, by {}", plan.method.name());
        for (key, what) in [("condition_number", "condition number"), ("effective_rank", "effective rank")] {
            if let Some(number) = summary[key].as_f64() {
                tell!("{what} {number:.4}");
            }
        }
        tell!("{seconds:.3} s on {}", opened.name);
    }
    Ok(())
}

/// The kernel's place, with the task's samples in its name where they are not the training samples on both sides.
fn beside(place: &Path, args: &Ntk) -> PathBuf {
    let sides: Vec<&str> = args.inputs.iter().chain(&args.inputs2).map(String::as_str).collect();
    if sides.is_empty() || sides == ["train"] || sides.iter().any(|side| Side::named(side).is_none()) {
        return place.into();
    }
    let stem = place.file_stem().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!("{stem}_{}.npz", sides.join("_")))
}

/// The kernel that was asked for, of the network that was found.
fn problem(args: &Ntk, subject: Found, placement: &Placement) -> Result<Problem, Failure> {
    let (input, output) = (subject.network.architecture().input, subject.network.architecture().output());
    let given = |name: &String| match (&subject.drawn, Side::named(name)) {
        (Drawn::Task(task), Some(side)) => task_inputs(task, side, args.n, placement),
        (_, Some(_)) => Err(Failure::input(format!("`{name}` are samples of a task; this network has none"))),
        (_, None) => read_inputs(name, input, placement),
    };
    let x1 = args.inputs.as_ref().map_or_else(|| subject.draw(args.n, placement), given)?;
    let x2 = args.inputs2.as_ref().map(given).transpose()?;
    let entries = match args.entries {
        _ if args.top.is_some() => Entries::Full,
        EntriesChoice::Full => Entries::Full,
        EntriesChoice::Traced => Entries::Traced,
        EntriesChoice::Diagonal => Entries::Diagonal,
    };
    if args.mean && entries != Entries::Traced {
        return Err(Failure::input("--mean belongs to --entries traced"));
    }
    let mode = match args.bn {
        BatchNormMode::Batch => Mode::Train,
        BatchNormMode::Running => Mode::Eval,
    };
    let problem = Problem::new(subject.network, x1, x2, mode, entries, outputs(args, output)?)?;
    Ok(if args.no_parts { problem.summed() } else { problem })
}

/// `begun`: the tile size of a run that was stopped; free memory, and so the default size, may be another now.
fn plan(args: &Ntk, problem: &Problem, begun: Option<usize>) -> Result<Plan, Failure> {
    let method = match args.method {
        MethodChoice::Auto => None,
        MethodChoice::Structured => Some(Method::Structured),
        MethodChoice::NtkVectorProducts => Some(Method::NtkVectorProducts),
        MethodChoice::JacobianContraction => Some(Method::JacobianContraction),
    };
    Ok(Plan::new(problem, method, args.memory.unwrap_or_else(half_of_free), args.tile_outputs.or(begun))?)
}

/// Tile by tile, with the folder of tiles if there are several; none where only some tiles were asked for.
fn compute(
    args: &Ntk,
    problem: &Problem,
    plan: &Plan,
    path: &Path,
    device: &str,
) -> Result<Option<(Kernel, Option<tiles::Folder>)>, Failure> {
    let card = tiles::Card::new(problem, plan, device, args.mean);
    if let Some(text) = &args.tiles {
        let range = tiles::range(text, plan.tiles.len())?;
        let folder = tiles::Folder::make(tiles::Folder::beside(path), card)?;
        let progress = Tally::new(range.len(), &args.voice);
        for i in range {
            if !folder.has(i) {
                folder.write(i, &plan.method.block(problem, &plan.tiles[i]))?;
            }
            progress.tick();
        }
        answer!("{}", tiles::Folder::beside(path).display());
        return Ok(None);
    }
    if let [tile] = &plan.tiles[..] {
        let mut kernel = Kernel::of(problem);
        kernel.insert(tile, &plan.method.block(problem, tile), problem.is_symmetric());
        return Ok(Some((kernel, None)));
    }
    let folder = tiles::Folder::make(tiles::Folder::beside(path), card)?;
    let progress = Tally::new(plan.tiles.len(), &args.voice);
    let mut kernel = Kernel::of(problem);
    for (i, tile) in plan.tiles.iter().enumerate() {
        let block = if folder.has(i) {
            folder.read(i)?
        } else {
            let block = plan.method.block(problem, tile);
            folder.write(i, &block)?;
            block
        };
        kernel.insert(tile, &block, problem.is_symmetric());
        progress.tick();
    }
    Ok(Some((kernel, Some(folder))))
}

/// Puts tiles together that several processes computed.
fn merge(args: &Merge) -> Result<(), Failure> {
    if args.out.exists() {
        return Err(Failure::input(format!("`{}` exists already", args.out.display())));
    }
    let (mut kernel, card) = tiles::merge(&args.folders)?;
    if card.mean {
        kernel.divide(kernel.outputs as f64);
    }
    let summary = finish(&args.out, &kernel, &card.outputs, card.symmetric)?;
    if args.voice.json {
        answer!("{summary}");
    } else {
        answer!("{}", args.out.display());
    }
    Ok(())
}

/// Progress over tiles, with the time left.
struct Tally(Option<ProgressBar>);

impl Tally {
    fn new(count: usize, voice: &Voice) -> Self {
        let shown = std::io::stderr().is_terminal() && !voice.quiet && !voice.json;
        Self(shown.then(|| {
            let style =
                ProgressStyle::with_template("{bar:30} tile {pos}/{len}, {eta} left").expect("a sound template");
            ProgressBar::new(count as u64).with_style(style)
        }))
    }

    fn tick(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }
}

fn tell_plan(plan: &Plan, voice: &Voice) {
    if voice.json {
        let layers: Vec<_> = plan
            .layers
            .iter()
            .map(|layer| json!({ "index": layer.index, "layer": layer.layer, "order": layer.order }))
            .collect();
        answer!(
            "{}",
            json!({
                "method": plan.method.name(), "tiles": plan.tiles.len(), "tile_outputs": plan.tile_outputs,
                "bytes": plan.bytes, "operations": plan.operations, "layers": layers,
            })
        );
        return;
    }
    answer!("method      {}", plan.method.name());
    answer!("tiles       {} of {} outputs a side", plan.tiles.len(), plan.tile_outputs);
    answer!("memory      {}", Bytes(plan.bytes));
    answer!("operations  {:.3e} multiply-adds", plan.operations);
    for layer in &plan.layers {
        answer!("  {:>3}  {:12} {}", layer.index, layer.layer, layer.order);
    }
}

/// Half of the memory that is free, or 4 GB where the system does not say.
fn half_of_free() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kilobytes.map_or(4e9, |kb| kb * 1024.0 / 2.0)
}

/// The name of a kind of kernel.
fn word(entries: Entries) -> &'static str {
    match entries {
        Entries::Full => "full",
        Entries::Traced => "traced",
        Entries::Diagonal => "diagonal",
    }
}

/// Rows up to which all eigenvalues are computed along with the kernel: a few seconds.
const SPECTRUM_ROWS: usize = 2048;

/// Writes the kernel, its spectrum and its pictures, and sums it up.
fn finish(path: &Path, kernel: &Kernel, outputs: &[usize], symmetric: bool) -> Result<serde_json::Value, Failure> {
    let shape = kernel.shape();
    let total = kernel.total();
    let names: Vec<String> = kernel.parts.iter().map(|part| format!("parts/{}", part.name)).collect();
    let mut arrays = vec![("ntk", array(&total, &shape))];
    if kernel.parts.len() > 1 {
        arrays.extend(names.iter().zip(&kernel.parts).map(|(name, part)| (name.as_str(), array(&part.values, &shape))));
    }
    arrays.push(("outputs", Array::integers(outputs.iter().copied())));

    let trace: f64 = kernel.parts.iter().map(|part| kernel.trace(&part.values)).sum();
    let shares = kernel.parts.iter().map(|part| (part.name.clone(), json!(kernel.trace(&part.values) / trace)));
    let mut summary = json!({
        "kernel": path, "entries": word(kernel.entries), "shape": shape,
        "trace": trace, "parts": shares.collect::<serde_json::Map<_, _>>(),
    });
    let mut pictures = Vec::new();
    if kernel.entries != Entries::Diagonal {
        let ([rows, columns], [down, across]) = (kernel.matrix_shape()?, kernel.places()?);
        let picture = heat_map_png(rows, columns, |i, j| total.at(down[i] + across[j]))?;
        pictures.push((path.with_extension("png"), picture));
        summary["heat_map"] = json!(path.with_extension("png"));
        if symmetric && rows <= SPECTRUM_ROWS {
            let spectrum = kernel.spectrum(&total)?;
            arrays.push(("eigenvalues", Array::f64(&[rows], spectrum.values.clone())));
            summary["largest_eigenvalue"] = json!(spectrum.values[0]);
            summary["condition_number"] = json!(spectrum.condition_number());
            summary["effective_rank"] = json!(spectrum.effective_rank());
            let plot = spectrum_svg(&spectrum.values);
            pictures.push((path.with_extension("spectrum.svg"), plot.into_bytes()));
            summary["spectrum"] = json!(path.with_extension("spectrum.svg"));
        }
    }
    // The kernel first: pictures can be made again.
    write_npz(path, &arrays)?;
    for (path, bytes) in pictures {
        write_whole(&path, &bytes)?;
    }
    Ok(summary)
}

/// Values of a kernel as an array, not copied.
fn array<'a>(values: &'a Values, shape: &[usize]) -> Array<'a> {
    match values {
        Values::F32(values) => Array::f32(shape, values.as_slice()),
        Values::F64(values) => Array::f64(shape, values.as_slice()),
    }
}

/// The network that was asked for, and what belongs to it.
struct Found {
    network: Network,
    /// Where inputs come from.
    drawn: Drawn,
    seed: u64,
    /// Where the kernel goes.
    place: PathBuf,
    /// What the network is called in files.
    word: &'static str,
}

/// Where inputs come from that no file gives.
enum Drawn {
    Latents,
    Images(Box<Settings>),
    Sphere,
    /// Training inputs of its task.
    Task(Box<NetworkExperiment>),
}

/// Inputs where neither a file nor a task gives them.
const DRAWN: u64 = 16;

/// Samples of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Train,
    Test,
}

impl Side {
    fn named(name: &str) -> Option<Self> {
        match name {
            "train" => Some(Self::Train),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

/// The first n inputs of a task's samples, or all.
fn task_inputs(
    network: &NetworkExperiment,
    side: Side,
    n: Option<u64>,
    placement: &Placement,
) -> Result<Tensor<4>, Failure> {
    let data = TaskData::load(&task_of(network, "it")?)?;
    let examples = match side {
        Side::Train => data.train,
        Side::Test => data.test,
    };
    let n = n.map_or(examples.len(), |n| n as usize);
    if n > examples.len() {
        return Err(Failure::input(format!("the task has {} such samples, -n asks for {n}", examples.len())));
    }
    Ok(examples.batch(0..n, &placement.device, placement.dtype))
}

impl Found {
    fn open(args: &Ntk, step: Option<u64>, placement: &Placement) -> Result<Self, Failure> {
        let overrides: Vec<String> =
            args.set.iter().cloned().chain(args.seed.map(|seed| format!("seed={seed}"))).collect();
        let path = args.path.as_deref().expect("clap asks for it");
        let mut found = if path.is_dir() {
            of_run(args, path, step, &overrides, placement)?
        } else {
            of_config(args, path, &overrides, placement)?
        };
        if let Some(path) = &args.weights {
            let bytes = fs_err::read(path).map_err(Failure::input)?;
            let tensors = read_safetensors(&bytes).map_err(|e| Failure::input(format!("`{}`: {e}", path.display())))?;
            found.network = found
                .network
                .with_tensors(&tensors)
                .map_err(|e| Failure::input(format!("`{}`: {e}", path.display())))?;
        }
        Ok(found)
    }

    fn draw(&self, wanted: Option<u64>, placement: &Placement) -> Result<Tensor<4>, Failure> {
        let n = wanted.unwrap_or(DRAWN) as usize;
        let Shape { channels, height, width } = self.network.architecture().input;
        match &self.drawn {
            Drawn::Task(network) => task_inputs(network, Side::Train, wanted, placement),
            Drawn::Latents => {
                let mut rng = stream(self.seed, Purpose::Samples, 0);
                Ok(latents(&mut rng, n, channels, &placement.device).cast(placement.dtype))
            }
            Drawn::Images(settings) => {
                let images = Images::load(&settings.data, &settings.image)?;
                if images.len() < n {
                    return Err(Failure::input(format!("the data set has {} images, -n asks for {n}", images.len())));
                }
                let indices = Order::new(self.seed, images.len(), 0).take(n);
                Ok(images.batch(&indices, &vec![false; n], &placement.device).cast(placement.dtype))
            }
            Drawn::Sphere => {
                let (mut rng, len) = (stream(self.seed, Purpose::Samples, 0), channels * height * width);
                let mut values: Vec<f64> = (0..n * len).map(|_| StandardNormal.sample(&mut rng)).collect();
                for x in values.chunks_mut(len) {
                    let norm = (x.iter().map(|v| v * v).sum::<f64>() / len as f64).sqrt();
                    for v in x {
                        *v /= norm;
                    }
                }
                Ok(samples(TensorData::new(values, [n * len]), n, self.network.architecture().input, placement))
            }
        }
    }
}

fn of_config(args: &Ntk, path: &Path, overrides: &[String], placement: &Placement) -> Result<Found, Failure> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let place = PathBuf::from(format!("{name}.ntk.npz"));
    let init = |architecture: &Architecture, seed, purpose| {
        Network::init(architecture, &mut stream(seed, purpose, 0), placement)
    };
    let subject = Subject::load(path, overrides)?;
    let word = word_of(args.network, &subject);
    Ok(match subject {
        Subject::Network(alone) => {
            let seed = alone.settings.seed;
            Found {
                network: init(&alone.network, seed, Purpose::Generator),
                drawn: Drawn::of(alone),
                seed,
                place,
                word,
            }
        }
        Subject::Gan(gan) => {
            let seed = gan.settings.seed;
            let network = match args.network {
                Which::Generator => init(&gan.generator, seed, Purpose::Generator),
                Which::Discriminator => init(&gan.discriminator, seed, Purpose::Discriminator),
            };
            Found { network, drawn: drawn(args.network, gan.settings), seed, place, word }
        }
    })
}

fn of_run(
    args: &Ntk,
    path: &Path,
    step: Option<u64>,
    overrides: &[String],
    placement: &Placement,
) -> Result<Found, Failure> {
    let run = RunDir::open(path)?;
    let subject = Subject::load(&run.resolved_config(), overrides)?;
    let step = run.find_checkpoint(step)?;
    let folder = run.checkpoint(step);
    let single = Placement { dtype: DType::F32, ..placement.clone() };
    let word = word_of(args.network, &subject);
    let place = run.root().join("ntk").join(format!("step_{step:06}_{word}.npz"));
    let (network, drawn, seed) = match subject {
        Subject::Gan(experiment) => {
            let network = match args.network {
                Which::Generator => read_sampler(&folder, &experiment, &single)?,
                Which::Discriminator => read_discriminator(&folder, &experiment, &single)?,
            };
            let seed = experiment.settings.seed;
            (network, drawn(args.network, experiment.settings), seed)
        }
        Subject::Network(alone) => {
            let seed = alone.settings.seed;
            (read_network(&folder, &alone.network, &single)?, Drawn::of(alone), seed)
        }
    };
    Ok(Found { network: network.moved(placement), drawn, seed, place, word })
}

impl Drawn {
    /// Inputs of a network by itself: those of its task, where it has one.
    fn of(network: NetworkExperiment) -> Self {
        if network.supervised().is_some() { Self::Task(Box::new(network)) } else { Self::Sphere }
    }
}

/// What a network is called in files.
fn word_of(which: Which, subject: &Subject) -> &'static str {
    match (subject, which) {
        (Subject::Network(_), _) => "network",
        (Subject::Gan(_), Which::Generator) => "generator",
        (Subject::Gan(_), Which::Discriminator) => "discriminator",
    }
}

fn drawn(which: Which, settings: Settings) -> Drawn {
    match which {
        Which::Generator => Drawn::Latents,
        Which::Discriminator => Drawn::Images(Box::new(settings)),
    }
}

/// Inputs of a file, as channels-last samples.
fn read_inputs(file: &str, shape: Shape, placement: &Placement) -> Result<Tensor<4>, Failure> {
    let wrong = |message: String| Failure::input(format!("inputs `{file}`: {message}"));
    let (found, values) = if let Some((path, name)) = file.rsplit_once(".safetensors:") {
        let path = format!("{path}.safetensors");
        let bytes = fs_err::read(&path).map_err(Failure::input)?;
        let mut tensors = read_safetensors(&bytes).map_err(|e| wrong(e.to_string()))?;
        let names = tensors.keys().cloned().collect::<Vec<_>>().join(", ");
        let data = tensors.remove(name).ok_or_else(|| wrong(format!("there is no tensor `{name}`, only {names}")))?;
        (data.shape().to_vec(), data.iter::<f64>().collect::<Vec<f64>>())
    } else if let Some((path, name)) = file.rsplit_once(".npz:") {
        let arrays = read_arrays(Path::new(&format!("{path}.npz"))).map_err(Failure::input)?;
        let names = arrays.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let found = arrays.iter().find(|(found, _)| found == name);
        let (_, array) = found.ok_or_else(|| wrong(format!("there is no array `{name}`, only {names}")))?;
        (array.shape.clone(), array.to_f64())
    } else if file.ends_with(".safetensors") {
        return Err(wrong("name the tensor, such as FILE.safetensors:x".into()));
    } else {
        let mut arrays = read_arrays(Path::new(file)).map_err(Failure::input)?;
        if arrays.len() != 1 {
            return Err(wrong(format!("it holds {} arrays; name one, such as FILE.npz:x", arrays.len())));
        }
        let (_, array) = arrays.remove(0);
        let values = array.to_f64();
        (array.shape, values)
    };
    let Shape { channels, height, width } = shape;
    let image = [channels, height, width];
    let fits = match found[..] {
        [_, features] => shape.is_vector() && features == channels,
        [_, c, h, w] => [c, h, w] == image,
        _ => false,
    };
    if !fits {
        let wanted =
            if shape.is_vector() { format!("[N, {channels}]") } else { format!("[N, {channels}, {height}, {width}]") };
        return Err(wrong(format!("the network takes {wanted}, the array is {found:?}")));
    }
    if found[0] == 0 {
        return Err(wrong("it holds no sample".into()));
    }
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(wrong(format!("sample {} holds a value that is not finite", at / shape.len())));
    }
    Ok(samples(TensorData::new(values, [found.iter().product::<usize>()]), found[0], shape, placement))
}

fn samples(data: TensorData, n: usize, shape: Shape, placement: &Placement) -> Tensor<4> {
    let data = data.convert_dtype(placement.dtype);
    let flat: Tensor<1> = Tensor::from_data(data, (&placement.device, placement.dtype));
    channels_last(flat.reshape([n, shape.channels, shape.height, shape.width]))
}

/// The outputs that were asked for; none stands for all.
fn outputs(args: &Ntk, shape: Shape) -> Result<Vec<usize>, Failure> {
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
