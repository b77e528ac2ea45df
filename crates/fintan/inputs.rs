//! Inputs of a network: read from arrays, files and tasks, or drawn at random.

use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use fintan_artifact::{Array, ArrayError, ArrayFile};
use fintan_config::{Bytes, NetworkExperiment, Settings, Shape, Subject};
use fintan_data::{Examples, Images, Order, TaskData};
use fintan_net::weights::read_tensor;
use fintan_net::{Placement, channels_last};
use fintan_train::{Purpose, latents, stream};
use rand_distr::{Distribution as _, StandardNormal};

use crate::error::Error;
use crate::memory::free_memory;
use crate::network::{Network, Role};

/// Number of inputs by default, if neither a file nor a task fixes it.
const DRAWN: usize = 16;

/// Which samples of a task.
///
/// ```
/// assert_eq!(fintan::TaskSamples::named("test"), Some(fintan::TaskSamples::Test));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskSamples {
    /// The training samples.
    Train,
    /// The test samples.
    Test,
}

impl TaskSamples {
    /// The samples with this name, `train` or `test`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "train" => Some(Self::Train),
            "test" => Some(Self::Test),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// Where the inputs of a network come from.
///
/// ```
/// let net = fintan::Network::parse("[network]\ninput = 9\nlayers = [{ dense = { out = 1 } }]")?;
/// // Inputs of a network by itself are drawn on the sphere |x|² = features.
/// let x = fintan::Inputs::drawn(5).of(&net)?;
/// assert_eq!(x.shape, [5, 9]);
/// assert!((x.to_f64()[..9].iter().map(|v| v * v).sum::<f64>() - 9.0).abs() < 1e-5);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// This number of inputs, of the kind that the network takes: latents of a generator, images of the data set for a
    /// discriminator, draws on the sphere |x|² = features for a network without a task, or the first training samples of a
    /// network with a task. Without a number: 16, or all training samples of the task.
    Drawn(Option<usize>),
    /// The first samples of the network's task; all of them if no number is given.
    Task(TaskSamples, Option<usize>),
    /// A file: `x.npy`, `x.npz` with one array, `x.npz:NAME` or `x.safetensors:NAME`.
    File(String),
    /// An array, `[N, features]` or `[N, channels, rows, columns]`.
    Array(Array<'static>),
}

impl Inputs {
    /// This number of inputs, drawn with the seed of the network.
    #[must_use]
    pub fn drawn(n: usize) -> Self {
        Self::Drawn(Some(n))
    }

    /// All training samples of the network's task.
    #[must_use]
    pub fn train() -> Self {
        Self::Task(TaskSamples::Train, None)
    }

    /// All test samples of the network's task.
    #[must_use]
    pub fn test() -> Self {
        Self::Task(TaskSamples::Test, None)
    }

    /// The inputs for a network as an array, `[N, features]` or `[N, channels, rows, columns]`.
    ///
    /// # Errors
    /// Fails if files or data cannot be read, or do not fit the network.
    pub fn of(&self, network: &Network) -> Result<Array<'static>, Error> {
        let x = self.placed(network, &network.device().placement)?;
        Ok(array_of(&x, network.architecture().input))
    }

    /// The inputs as a channels-last tensor.
    ///
    /// # Errors
    /// The errors of [`Self::of`].
    pub fn placed(&self, network: &Network, placement: &Placement) -> Result<Tensor<4>, Error> {
        let shape = network.architecture().input;
        match (self, task(network)) {
            (Self::Drawn(n), Some(task)) => {
                check_memory(n.unwrap_or(DRAWN), shape)?;
                task_inputs(task, TaskSamples::Train, *n, placement)
            }
            (Self::Drawn(n), None) => draw(network, n.unwrap_or(DRAWN), placement),
            (Self::Task(which, n), Some(task)) => task_inputs(task, *which, *n, placement),
            (Self::Task(which, _), None) => Err(Error::NoTask { name: which.name() }),
            (Self::File(file), _) => place_values(file, read_samples(file, shape)?, shape, placement),
            (Self::Array(array), _) => {
                let values = array.to_f64();
                check_shape(&array.shape, &values, shape)?;
                place_values("array", values, shape, placement)
            }
        }
    }
}

impl From<Array<'static>> for Inputs {
    fn from(array: Array<'static>) -> Self {
        Self::Array(array)
    }
}

/// Rows of features. Rows of different lengths fit no network.
impl From<Vec<Vec<f64>>> for Inputs {
    fn from(rows: Vec<Vec<f64>>) -> Self {
        Self::Array(array_of_rows(&rows))
    }
}

/// Rows as an array. If their lengths differ, the array gets a shape that fits no network.
pub(crate) fn array_of_rows(rows: &[Vec<f64>]) -> Array<'static> {
    let features = rows.first().map_or(0, Vec::len);
    let even = rows.iter().all(|row| row.len() == features);
    let shape = if even { vec![rows.len(), features] } else { rows.iter().map(Vec::len).collect() };
    Array { shape, values: fintan_artifact::ArrayValues::F64(rows.concat().into()) }
}

/// Refuses an array that does not hold samples of this shape.
pub(crate) fn check_shape(found: &[usize], values: &[f64], shape: Shape) -> Result<(), Error> {
    check(found, values, shape).map_err(|message| wrong("array", message))
}

/// Reads a file of arrays.
impl From<&str> for Inputs {
    fn from(file: &str) -> Self {
        Self::File(file.into())
    }
}

/// The network with its task, if it has one.
pub(crate) fn task(network: &Network) -> Option<&NetworkExperiment> {
    match network.subject() {
        Subject::Network(alone) => alone.supervised().is_some().then_some(alone),
        Subject::Gan(_) => None,
    }
}

/// The first n inputs of a task's samples, or all inputs.
fn task_inputs(
    network: &NetworkExperiment,
    which: TaskSamples,
    n: Option<usize>,
    placement: &Placement,
) -> Result<Tensor<4>, Error> {
    let examples = task_examples(network, which)?;
    let wanted = n.unwrap_or(examples.len());
    if wanted > examples.len() {
        let found = format!("{} such samples", examples.len());
        return Err(Error::TooFewSamples { of: "the task", found, wanted });
    }
    Ok(examples.batch(0..wanted, &placement.device, placement.dtype))
}

/// A task's samples.
pub(crate) fn task_examples(network: &NetworkExperiment, which: TaskSamples) -> Result<Examples, Error> {
    let task = network.supervised().ok_or(Error::NoTask { name: which.name() })?;
    let data = TaskData::load(&task, free_memory())?;
    Ok(match which {
        TaskSamples::Train => data.train,
        TaskSamples::Test => data.test,
    })
}

/// Refuses inputs that do not fit into memory, before they are made.
fn check_memory(wanted: usize, shape: Shape) -> Result<(), Error> {
    let needed = wanted as f64 * shape.len() as f64 * size_of::<f32>() as f64;
    match free_memory().filter(|&free| needed > free) {
        Some(free) => Err(Error::InputMemory { wanted, needed: Bytes(needed), free: Bytes(free) }),
        None => Ok(()),
    }
}

/// Draws n inputs: latents of a generator, images for a discriminator, or points of the sphere for another network.
fn draw(network: &Network, n: usize, placement: &Placement) -> Result<Tensor<4>, Error> {
    let (shape, seed) = (network.architecture().input, network.seed());
    check_memory(n, shape)?;
    match (network.subject(), network.role()) {
        (Subject::Gan(gan), Role::Discriminator) => images(&gan.settings, seed, n, placement),
        (Subject::Gan(_), Role::Generator | Role::Network) => {
            let mut rng = stream(seed, Purpose::Samples, 0);
            Ok(latents(&mut rng, n, shape.channels, &placement.device).cast(placement.dtype))
        }
        (Subject::Network(_), _) => {
            let (mut rng, len) = (stream(seed, Purpose::Samples, 0), shape.len());
            let mut values: Vec<f64> = (0..n * len).map(|_| StandardNormal.sample(&mut rng)).collect();
            for x in values.chunks_mut(len) {
                let norm = (x.iter().map(|v| v * v).sum::<f64>() / len as f64).sqrt();
                for v in x {
                    *v /= norm;
                }
            }
            Ok(samples(values, shape, placement))
        }
    }
}

fn images(settings: &Settings, seed: u64, n: usize, placement: &Placement) -> Result<Tensor<4>, Error> {
    let images = Images::load(&settings.data, &settings.image, free_memory())?;
    if images.len() < n {
        let found = format!("{} images", images.len());
        return Err(Error::TooFewSamples { of: "the data set", found, wanted: n });
    }
    let indices = Order::new(seed, images.len(), 0).take(n);
    Ok(images.batch(&indices, &vec![false; n], &placement.device).cast(placement.dtype))
}

fn wrong(name: &str, message: String) -> Error {
    Error::Inputs { name: name.into(), message }
}

/// Places values on the device as channels-last samples. Fails if a value is too large for single precision.
fn place_values(name: &str, values: Vec<f64>, shape: Shape, placement: &Placement) -> Result<Tensor<4>, Error> {
    let single = placement.dtype == DType::F32;
    if let Some(at) = values.iter().position(|&v| single && !(v as f32).is_finite()) {
        return Err(Error::TooLarge { name: name.into(), sample: at / shape.len(), value: values[at] });
    }
    Ok(samples(values, shape, placement))
}

/// Values of the samples of a file, each in channel, row, column order.
///
/// `file` is `x.npy`, `x.npz` with one array, `x.npz:NAME` or `x.safetensors:NAME`, of `[N, features]` or
/// `[N, channels, rows, columns]`.
///
/// ```
/// let missing = fintan::read_samples("nowhere.npy", fintan::Shape::vector(3));
/// assert!(matches!(missing, Err(fintan::Error::Io(_))));
/// ```
///
/// # Errors
/// Fails if the file cannot be read, has another shape, has no samples, or has values that are not finite.
pub fn read_samples(file: &str, shape: Shape) -> Result<Vec<f64>, Error> {
    let wrong = |message: String| wrong(file, message);
    let (found, values) = if let Some((path, name)) = file.rsplit_once(".safetensors:") {
        let path = format!("{path}.safetensors");
        let bytes = fs_err::read(&path)?;
        let data = read_tensor(&bytes, name).map_err(|e| wrong(e.to_string()))?;
        (data.shape().to_vec(), data.iter::<f64>().collect::<Vec<f64>>())
    } else if file.ends_with(".safetensors") {
        return Err(wrong("name the tensor, such as FILE.safetensors:x".into()));
    } else {
        let named = file.rsplit_once(".npz:").map(|(path, name)| (format!("{path}.npz"), name));
        let path = named.as_ref().map_or(file, |(path, _)| path);
        let mut arrays = ArrayFile::open(Path::new(path)).map_err(of_arrays)?;
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
            of_arrays(e)
        })?;
        let values = array.to_f64();
        (array.shape, values)
    };
    check(&found, &values, shape).map_err(wrong)?;
    Ok(values)
}

fn of_arrays(e: ArrayError) -> Error {
    if let ArrayError::Io(e) = e { Error::Io(e) } else { Error::Arrays(e) }
}

/// Whether an array holds samples of this shape.
fn check(found: &[usize], values: &[f64], shape: Shape) -> Result<(), String> {
    let Shape { channels, height, width } = shape;
    let image = [channels, height, width];
    let fits = match *found {
        [_, features] => shape.is_vector() && features == channels,
        [_, c, h, w] => [c, h, w] == image,
        _ => false,
    };
    if !fits {
        let wanted =
            if shape.is_vector() { format!("[N, {channels}]") } else { format!("[N, {channels}, {height}, {width}]") };
        return Err(format!("the network takes {wanted}, the array is {found:?}"));
    }
    if found[0] == 0 {
        return Err("it holds no sample".into());
    }
    if values.len() != found.iter().product::<usize>() {
        return Err(format!("the array has shape {found:?}, but {} values", values.len()));
    }
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(format!("sample {} holds a value that is not finite", at / shape.len()));
    }
    Ok(())
}

fn samples(values: Vec<f64>, shape: Shape, placement: &Placement) -> Tensor<4> {
    let n = values.len() / shape.len();
    let data = TensorData::new(values, [n * shape.len()]).convert_dtype(placement.dtype);
    let flat: Tensor<1> = Tensor::from_data(data, (&placement.device, placement.dtype));
    channels_last(flat.reshape([n, shape.channels, shape.height, shape.width]))
}

/// Channels-last samples as an array, `[N, features]` or `[N, channels, rows, columns]`.
pub(crate) fn array_of(x: &Tensor<4>, shape: Shape) -> Array<'static> {
    let [n, height, width, channels] = x.dims();
    let values: Vec<f64> = x.clone().permute([0, 3, 1, 2]).into_data().iter::<f64>().collect();
    let dims = if shape.is_vector() { vec![n, channels] } else { vec![n, channels, height, width] };
    Array::f64(&dims, values)
}
