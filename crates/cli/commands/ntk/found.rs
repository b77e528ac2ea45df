//! The network that is asked about and its inputs.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Tensor, TensorData};
use fintan_artifact::{ArrayError, ArrayFile, RunDir};
use fintan_config::{Architecture, Bytes, Held, NetworkExperiment, Settings, Shape, Subject};
use fintan_data::{Images, Order, TaskData};
use fintan_net::weights::{WeightsError, read_safetensors, read_tensor};
use fintan_net::{Mode, Network, Placement, channels_last};
use fintan_train::{Purpose, latents, read_discriminator, read_network, read_sampler, stream};
use rand_distr::{Distribution as _, StandardNormal};

use crate::args::{BatchNormMode, Ntk, Which};
use crate::commands::settings_of_run::subject_of_run;
use crate::commands::train::task_of;
use crate::failure::Failure;
use crate::voice::tell;

/// The network that was asked for, and what belongs to it.
pub(super) struct Found {
    pub(super) network: Network,
    /// Where inputs come from.
    drawn: Drawn,
    pub(super) seed: u64,
    /// Where the kernel goes.
    pub(super) place: PathBuf,
    /// What the network is called in files.
    pub(super) word: &'static str,
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
pub(super) enum Side {
    Train,
    Test,
}

impl Side {
    pub(super) fn named(name: &str) -> Option<Self> {
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
    let data = TaskData::load(&task_of(network, "it")?, crate::memory::free())?;
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
    pub(super) fn open(args: &Ntk, step: Option<u64>, placement: &Placement) -> Result<Self, Failure> {
        let overrides: Vec<String> =
            args.set.iter().cloned().chain(args.seed.map(|seed| format!("seed={seed}"))).collect();
        let path = args.path.as_deref().expect("clap asks for it");
        let mut found = if path.is_dir() {
            of_run(args, path, step, &overrides, placement)?
        } else {
            of_config(args, path, &overrides, placement)?
        };
        if let Some(path) = &args.weights {
            found.network = with_weights(&found.network, path, args)?;
        }
        if args.before_output {
            let (whole, before) = (&found.network, found.network.architecture().before_output());
            // Which weights are drawn here does not matter: the network's take their place.
            let network = Network::init(&before, &mut stream(0, Purpose::Generator, 0), placement);
            found.network =
                network.with_parameters(whole.parameters()).with_running_statistics(whole.running_statistics());
        }
        Ok(found)
    }

    /// Inputs of a task by their name (`train`, `test`), or of a file.
    pub(super) fn named(&self, name: &str, n: Option<u64>, placement: &Placement) -> Result<Tensor<4>, Failure> {
        match (&self.drawn, Side::named(name)) {
            (Drawn::Task(task), Some(side)) => task_inputs(task, side, n, placement),
            (_, Some(_)) => Err(Failure::input(format!("`{name}` are samples of a task; this network has none"))),
            (_, None) => read_inputs(name, self.network.architecture().input, placement),
        }
    }

    /// Inputs where none are named.
    pub(super) fn draw(&self, wanted: Option<u64>, placement: &Placement) -> Result<Tensor<4>, Failure> {
        let n = wanted.unwrap_or(DRAWN) as usize;
        let Shape { channels, height, width } = self.network.architecture().input;
        let needed = n as f64 * (channels * height * width) as f64 * size_of::<f32>() as f64;
        if let Some(free) = crate::memory::free().filter(|&free| needed > free) {
            let (needed, free) = (Bytes(needed), Bytes(free));
            return Err(Failure::input(format!(
                "{n} inputs (-n) need at least {needed} of memory, but {free} is free"
            )));
        }
        match &self.drawn {
            Drawn::Task(network) => task_inputs(network, Side::Train, wanted, placement),
            Drawn::Latents => {
                let mut rng = stream(self.seed, Purpose::Samples, 0);
                Ok(latents(&mut rng, n, channels, &placement.device).cast(placement.dtype))
            }
            Drawn::Images(settings) => {
                let images = Images::load(&settings.data, &settings.image, crate::memory::free())?;
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
    let subject = Subject::load_within(path, overrides, args.on.device.bound(Held::Parameters))?;
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
    let subject = subject_of_run(&run, overrides, args.on.device.bound(Held::Parameters))?;
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

/// The network with the weights of a file, and with its running statistics where the kernel is one of evaluation.
fn with_weights(network: &Network, path: &Path, args: &Ntk) -> Result<Network, Failure> {
    let name = path.display();
    let wrong = |e: WeightsError| {
        if !matches!(e, WeightsError::MissingStatistics { .. }) {
            return Failure::input(format!("`{name}`: {e}"));
        }
        Failure::Input(miette::miette!(
            help = "`--bn running` needs the mean and the variance of every batch norm; `--bn batch` takes those of the batch",
            "`{name}`: {e}"
        ))
    };
    let bytes = fs_err::read(path).map_err(Failure::input)?;
    let loaded = read_safetensors(&bytes).and_then(|tensors| network.load(&tensors)).map_err(wrong)?;
    if !loaded.unused().is_empty() && !args.voice.quiet {
        tell!("`{name}`: not read, since the network has no such tensors: {}", loaded.unused().join(", "));
    }
    loaded.in_mode(mode(args)).map_err(wrong)
}

/// Which statistics batch norms take.
pub(super) fn mode(args: &Ntk) -> Mode {
    match args.bn {
        BatchNormMode::Batch => Mode::Train,
        BatchNormMode::Running => Mode::Eval,
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
    let values = read_samples(file, shape)?;
    let single = placement.dtype == DType::F32;
    if let Some(at) = values.iter().position(|&v| single && !(v as f32).is_finite()) {
        let (sample, value) = (at / shape.len(), values[at]);
        return Err(Failure::input(format!(
            "inputs `{file}`: sample {sample} holds {value:e}, which is too large for f32; `--f64` takes it"
        )));
    }
    let n = values.len() / shape.len();
    Ok(samples(TensorData::new(values, [n * shape.len()]), n, shape, placement))
}

/// Values of the samples of a file, each in channel, row, column order.
pub(crate) fn read_samples(file: &str, shape: Shape) -> Result<Vec<f64>, Failure> {
    let wrong = |message: String| Failure::input(format!("inputs `{file}`: {message}"));
    let (found, values) = if let Some((path, name)) = file.rsplit_once(".safetensors:") {
        let path = format!("{path}.safetensors");
        let bytes = fs_err::read(&path).map_err(Failure::input)?;
        let data = read_tensor(&bytes, name).map_err(|e| wrong(e.to_string()))?;
        (data.shape().to_vec(), data.iter::<f64>().collect::<Vec<f64>>())
    } else if file.ends_with(".safetensors") {
        return Err(wrong("name the tensor, such as FILE.safetensors:x".into()));
    } else {
        let named = file.rsplit_once(".npz:").map(|(path, name)| (format!("{path}.npz"), name));
        let path = named.as_ref().map_or(file, |(path, _)| path);
        let mut arrays = ArrayFile::open(Path::new(path)).map_err(Failure::input)?;
        let name = match (named, arrays.names()) {
            (Some((_, name)), _) => name.to_owned(),
            (None, [only]) => only.clone(),
            (None, names) => {
                return Err(wrong(format!("it holds {} arrays; name one, such as FILE.npz:x", names.len())));
            }
        };
        let array = arrays.read(&name).map_err(|e| {
            if let ArrayError::Missing { name, names, .. } = e {
                return wrong(format!("there is no array `{name}`, only {}", names.join(", ")));
            }
            Failure::input(e)
        })?;
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
    Ok(values)
}

fn samples(data: TensorData, n: usize, shape: Shape, placement: &Placement) -> Tensor<4> {
    let data = data.convert_dtype(placement.dtype);
    let flat: Tensor<1> = Tensor::from_data(data, (&placement.device, placement.dtype));
    channels_last(flat.reshape([n, shape.channels, shape.height, shape.width]))
}

/// The outputs that were asked for; none stands for all.
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
