//! `fintan ntk`

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::{DType, Tensor, TensorData};
use fintan_artifact::{Array, RunDir, npz_bytes, read_arrays, write_whole};
use fintan_config::{Architecture, Experiment, Settings, Shape, Subject};
use fintan_data::{Images, Order};
use fintan_net::weights::read_safetensors;
use fintan_net::{Mode, Network, Placement, channels_last};
use fintan_ntk::{Entries, Kernel, Method, Problem, Values};
use fintan_train::{Purpose, latents, read_discriminator, read_sampler, stream};
use rand_distr::{Distribution as _, StandardNormal};
use serde_json::json;

use crate::args::{BatchNormMode, EntriesChoice, MethodChoice, Ntk, Which};
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, tell};

/// Computes a kernel and writes it.
pub(super) fn ntk(args: &Ntk) -> Result<(), Failure> {
    let mut opened = device::open(args.on.device)?;
    if args.f64 {
        if matches!(args.on.device, device::Choice::Wgpu(_)) {
            return Err(Failure::input("wgpu computes in f32; use --device flex or ndarray with --f64"));
        }
        opened.placement.dtype = DType::F64;
    }
    let placement = &opened.placement;
    let subject = Found::open(args, placement)?;
    let architecture = subject.network.architecture().clone();
    let x1 = match &args.inputs {
        Some(file) => read_inputs(file, architecture.input, placement)?,
        None => subject.draw(args.n as usize, placement)?,
    };
    let x2 = args.inputs2.as_ref().map(|file| read_inputs(file, architecture.input, placement)).transpose()?;
    let entries = match args.entries {
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
    let outputs = outputs(args, architecture.output())?;
    let problem = Problem::new(subject.network, x1, x2, mode, entries, outputs)?;
    let method = match args.method {
        MethodChoice::Auto => Method::cheapest(&problem),
        MethodChoice::Structured => Method::Structured,
        MethodChoice::NtkVectorProducts => Method::NtkVectorProducts,
        MethodChoice::JacobianContraction => Method::JacobianContraction,
    };
    let start = Instant::now();
    let mut kernel = method.compute(&problem, &problem.whole());
    let seconds = start.elapsed().as_secs_f64();
    if args.mean {
        kernel.divide(kernel.outputs as f64);
    }
    let path = args.out.clone().unwrap_or_else(|| subject.place.clone());
    let total = kernel.total();
    write(&path, &kernel, &total, problem.outputs(), args.f64)?;

    let [n1, n2] = kernel.samples;
    let summary = json!({
        "kernel": path, "entries": format!("{entries:?}").to_lowercase(), "shape": kernel.shape(),
        "method": method.name(), "coupled": problem.is_coupled(), "seconds": seconds, "device": opened.name,
        "precision": if args.f64 { "f64" } else { "f32" }, "parts": parts(&kernel),
    });
    if args.voice.json {
        answer!("{summary}");
        return Ok(());
    }
    answer!("{}", path.display());
    if !args.voice.quiet {
        tell!(
            "{} kernel of {n1} x {n2} samples, {} outputs, by {}",
            kernel_word(entries),
            kernel.outputs,
            method.name()
        );
        tell!("{seconds:.3} s on {}", opened.name);
    }
    Ok(())
}

fn kernel_word(entries: Entries) -> &'static str {
    match entries {
        Entries::Full => "full",
        Entries::Traced => "traced",
        Entries::Diagonal => "diagonal",
    }
}

/// Share of each parameter in the trace.
fn parts(kernel: &Kernel) -> serde_json::Value {
    let trace: f64 = kernel.parts.iter().map(|part| kernel.trace(&part.values)).sum();
    let share = |values: &Values| kernel.trace(values) / trace;
    kernel
        .parts
        .iter()
        .map(|part| (part.name.clone(), json!(share(&part.values))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// `ntk`, `parts/{i}.weight`, .., `outputs`.
fn write(path: &Path, kernel: &Kernel, total: &Values, outputs: &[usize], double: bool) -> Result<(), Failure> {
    let shape = kernel.shape();
    let array = |values: &Values| {
        let values: Vec<f64> = values.iter().collect();
        if double { Array::f64(&shape, values) } else { Array::f32(&shape, &values) }
    };
    let mut arrays = vec![("ntk".to_owned(), array(total))];
    arrays.extend(kernel.parts.iter().map(|part| (format!("parts/{}", part.name), array(&part.values))));
    arrays.push(("outputs".into(), Array::integers(outputs.iter().copied())));
    let bytes = npz_bytes(arrays.iter().map(|(name, array)| (name.as_str(), array)))
        .map_err(|e| Failure::Failed(miette::miette!("{e}")))?;
    Ok(write_whole(path, &bytes)?)
}

/// The network that was asked for, and what belongs to it.
struct Found {
    network: Network,
    /// Where inputs come from.
    drawn: Drawn,
    seed: u64,
    /// Where the kernel goes.
    place: PathBuf,
}

/// Where inputs come from that no file gives.
enum Drawn {
    Latents,
    Images(Box<Settings>),
    Sphere,
}

impl Found {
    fn open(args: &Ntk, placement: &Placement) -> Result<Self, Failure> {
        let overrides: Vec<String> =
            args.set.iter().cloned().chain(args.seed.map(|seed| format!("seed={seed}"))).collect();
        let mut found = if args.path.is_dir() {
            of_run(args, &overrides, placement)?
        } else {
            of_config(args, &overrides, placement)?
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

    fn draw(&self, n: usize, placement: &Placement) -> Result<Tensor<4>, Failure> {
        let Shape { channels, height, width } = self.network.architecture().input;
        match &self.drawn {
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
                    x.iter_mut().for_each(|v| *v /= norm);
                }
                Ok(samples(TensorData::new(values, [n * len]), n, self.network.architecture().input, placement))
            }
        }
    }
}

fn of_config(args: &Ntk, overrides: &[String], placement: &Placement) -> Result<Found, Failure> {
    let name = args.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let place = PathBuf::from(format!("{name}.ntk.npz"));
    let init = |architecture: &Architecture, seed, purpose| {
        Network::init(architecture, &mut stream(seed, purpose, 0), placement)
    };
    Ok(match Subject::load(&args.path, overrides)? {
        Subject::Network(alone) => {
            let seed = alone.settings.seed;
            Found { network: init(&alone.network, seed, Purpose::Generator), drawn: Drawn::Sphere, seed, place }
        }
        Subject::Gan(gan) => {
            let seed = gan.settings.seed;
            let network = match args.network {
                Which::Generator => init(&gan.generator, seed, Purpose::Generator),
                Which::Discriminator => init(&gan.discriminator, seed, Purpose::Discriminator),
            };
            Found { network, drawn: drawn(args.network, gan.settings), seed, place }
        }
    })
}

fn of_run(args: &Ntk, overrides: &[String], placement: &Placement) -> Result<Found, Failure> {
    let run = RunDir::open(&args.path)?;
    let experiment = Experiment::load(&run.resolved_config(), overrides)?;
    let step = run.find_checkpoint(args.step)?;
    let (folder, seed) = (run.checkpoint(step), experiment.settings.seed);
    let single = Placement { dtype: DType::F32, ..placement.clone() };
    let (network, word) = match args.network {
        Which::Generator => (read_sampler(&folder, &experiment, &single)?, "generator"),
        Which::Discriminator => (read_discriminator(&folder, &experiment, &single)?, "discriminator"),
    };
    let place = run.root().join("ntk").join(format!("step_{step:06}_{word}.npz"));
    Ok(Found { network: network.moved(placement), drawn: drawn(args.network, experiment.settings), seed, place })
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
    } else if file.ends_with(".safetensors") {
        return Err(wrong("name the tensor, such as FILE.safetensors:x".into()));
    } else {
        let mut arrays = read_arrays(Path::new(file)).map_err(Failure::input)?;
        if arrays.len() != 1 {
            return Err(wrong(format!("it holds {} arrays; give one array as .npy", arrays.len())));
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
