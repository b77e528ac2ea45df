//! The files from which a run can be resumed exactly.
//!
//! ```text
//! state.json                     version, step, images seen, fingerprint of the data
//! {part}.safetensors             parameters and running statistics, PyTorch layouts
//! {part}_optimizer.safetensors   moments
//! discriminator_spectral_norm.safetensors   its weights before division by σ, and their singular vectors
//! ```
//!
//! Parts are `generator`, `discriminator` and, if weights are averaged, `average`, which has no optimiser; or only
//! `network`.

use std::path::{Path, PathBuf};

use fintan_config::{Architecture, Experiment, SupervisedExperiment};
use fintan_data::{Images, Order, TaskData};
use fintan_net::weights::{Tensors, WeightsError, read_safetensors, write_safetensors};
use fintan_net::{PlacedNetwork, Placement};
use serde::{Deserialize, Serialize};

use crate::gan::Gan;
use crate::optimizer::Optimizer;
use crate::supervised::Supervised;
use crate::training::{TrainedPart, Trainee};
use fintan_data::{Purpose, stream};

/// Version of the files above.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    step: u64,
    images_seen: u64,
    /// `None` in checkpoints of programs that did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<DataFingerprint>,
}

/// Larger numbers of steps or images are refused as damage, so that counts computed from them do not overflow.
const MOST: u64 = 1 << 50;

/// Identifies the data of a training.
///
/// ```
/// use fintan_config::{DataSource, Image, Shapes};
/// use fintan_train::DataFingerprint;
///
/// let wanted = Image { size: 8, channels: 1, ..Image::default() };
/// let of = |seed| -> Result<DataFingerprint, fintan_data::DataError> {
///     let source = DataSource::Shapes(Shapes { count: 4, seed });
///     Ok(DataFingerprint::of_images(&fintan_data::Images::load(&source, &wanted, None)?))
/// };
/// assert_eq!((of(0)?.count, of(0)?.fingerprint.len()), (4, 16));
/// assert_ne!(of(0)?, of(1)?);
/// # Ok::<(), fintan_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFingerprint {
    /// Number of images, or of training and test samples.
    pub count: u64,
    /// Hash of pixels and labels, or of inputs and targets, as used in training: 16 hexadecimal digits.
    pub fingerprint: String,
}

impl DataFingerprint {
    /// The fingerprint of all images of a data set.
    #[must_use]
    pub fn of_images(images: &Images) -> Self {
        Self { count: images.len() as u64, fingerprint: format!("{:016x}", images.fingerprint()) }
    }

    /// The fingerprint of the samples of a task.
    #[must_use]
    pub fn of_task(data: &TaskData) -> Self {
        let count = data.train.len() as u64 + data.test.len() as u64;
        Self { count, fingerprint: format!("{:016x}", data.fingerprint()) }
    }
}

/// Reads the fingerprint of the training data from a checkpoint; `None` in older checkpoints.
///
/// # Errors
/// A state file that is missing, damaged, or newer than this program.
pub fn read_data(folder: &Path) -> Result<Option<DataFingerprint>, CheckpointError> {
    Ok(read_state(folder)?.data)
}

/// The error for a checkpoint that cannot be read.
///
/// ```
/// use fintan_train::{CheckpointError, read_data};
///
/// let folder = tempfile::tempdir()?;
/// let error = read_data(folder.path()).unwrap_err(); // an empty folder
/// assert!(matches!(error, CheckpointError::Io(_)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file is missing or unreadable.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file is damaged or belongs to another network.
    #[error("checkpoint file `{}`: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The checkpoint was written by a newer program.
    #[error("checkpoint `{}` has version {found}; this program reads up to {VERSION}", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// The files of a checkpoint.
///
/// # Panics
/// Never, because the state can always be written as JSON.
#[must_use]
pub fn checkpoint_files(trainee: &impl Trainee) -> Vec<(String, Vec<u8>)> {
    let state =
        State { version: VERSION, step: trainee.step(), images_seen: trainee.seen(), data: trainee.data().cloned() };
    let mut files = vec![("state.json".to_owned(), serde_json::to_vec_pretty(&state).expect("plain JSON"))];
    for TrainedPart { name, network, optimizer, further } in trainee.parts() {
        files.push((format!("{name}.safetensors"), write_safetensors(&network.to_tensors())));
        if let Some(optimizer) = optimizer {
            files.push((format!("{name}_optimizer.safetensors"), write_safetensors(&optimizer.to_tensors())));
        }
        if let Some((what, tensors)) = further {
            files.push((format!("{name}_{what}.safetensors"), write_safetensors(&tensors)));
        }
    }
    files
}

impl Gan {
    /// Restores a GAN from a checkpoint.
    ///
    /// # Errors
    /// Files that are missing, truncated, from another network, or newer than this program.
    pub fn from_checkpoint(
        folder: &Path,
        experiment: &Experiment,
        images: usize,
        placement: &Placement,
    ) -> Result<Self, CheckpointError> {
        let state = read_state(folder)?;
        let mut gan = Self::new(experiment, images, placement);
        gan.generator = network(folder, "generator", &gan.generator)?;
        gan.discriminator = network(folder, "discriminator", &gan.discriminator)?;
        if let Some(norm) = gan.spectral_norm {
            let (tensors, damaged) = tensors(folder, "discriminator_spectral_norm.safetensors")?;
            gan.spectral_norm = Some(norm.with_tensors(&tensors, &gan.discriminator).map_err(damaged)?);
        }
        if let Some(average) = &gan.average {
            gan.average = Some(network(folder, "average", average)?);
        }
        gan.generator_optimizer = optimizer(folder, "generator", gan.generator_optimizer, &gan.generator, state.step)?;
        gan.discriminator_optimizer =
            optimizer(folder, "discriminator", gan.discriminator_optimizer, &gan.discriminator, state.step)?;
        gan.order = Order::new(experiment.settings.seed, images, state.images_seen);
        gan.step = state.step;
        gan.data = state.data;
        Ok(gan)
    }
}

impl Supervised {
    /// Restores a network with its task from a checkpoint.
    ///
    /// # Errors
    /// The errors of [`Gan::from_checkpoint`].
    pub fn from_checkpoint(
        folder: &Path,
        experiment: &SupervisedExperiment,
        placement: &Placement,
    ) -> Result<Self, CheckpointError> {
        let state = read_state(folder)?;
        let mut trainee = Self::new(experiment, placement);
        trainee.network = network(folder, "network", &trainee.network)?;
        trainee.optimizer = optimizer(folder, "network", trainee.optimizer, &trainee.network, state.step)?;
        trainee.order = Order::new(experiment.seed, experiment.task.train, state.images_seen);
        trainee.step = state.step;
        trainee.data = state.data;
        trainee.begun = true;
        Ok(trainee)
    }
}

/// Reads the network from a checkpoint of supervised training.
///
/// # Errors
/// The errors of [`Gan::from_checkpoint`].
pub fn read_network(
    folder: &Path,
    architecture: &Architecture,
    placement: &Placement,
) -> Result<PlacedNetwork, CheckpointError> {
    read_state(folder)?;
    network(folder, "network", &PlacedNetwork::init(architecture, &mut stream(0, Purpose::Generator, 0), placement))
}

/// Reads the network that generates samples from a checkpoint; it needs neither data nor discriminator.
///
/// # Errors
/// The errors of [`Gan::from_checkpoint`].
pub fn read_sampler(
    folder: &Path,
    experiment: &Experiment,
    placement: &Placement,
) -> Result<PlacedNetwork, CheckpointError> {
    read_state(folder)?;
    let name = if experiment.settings.train.ema.is_some() { "average" } else { "generator" };
    let drawn = PlacedNetwork::init(
        &experiment.generator,
        &mut stream(experiment.settings.seed, Purpose::Generator, 0),
        placement,
    );
    network(folder, name, &drawn)
}

/// Reads the discriminator from a checkpoint.
///
/// # Errors
/// The errors of [`Gan::from_checkpoint`].
pub fn read_discriminator(
    folder: &Path,
    experiment: &Experiment,
    placement: &Placement,
) -> Result<PlacedNetwork, CheckpointError> {
    read_state(folder)?;
    let mut rng = stream(experiment.settings.seed, Purpose::Discriminator, 0);
    network(folder, "discriminator", &PlacedNetwork::init(&experiment.discriminator, &mut rng, placement))
}

fn read_state(folder: &Path) -> Result<State, CheckpointError> {
    let path = folder.join("state.json");
    let text = fs_err::read(&path)?;
    let state: State = serde_json::from_slice(&text)
        .map_err(|e| CheckpointError::Damaged { path: path.clone(), message: e.to_string() })?;
    if state.version > VERSION {
        return Err(CheckpointError::Newer { path: folder.into(), found: state.version });
    }
    if state.step > MOST || state.images_seen > MOST {
        let (step, seen) = (state.step, state.images_seen);
        let message = format!("it says step {step} after {seen} images, and both must be at most {MOST}");
        return Err(CheckpointError::Damaged { path, message });
    }
    Ok(state)
}

fn network(folder: &Path, name: &str, like: &PlacedNetwork) -> Result<PlacedNetwork, CheckpointError> {
    let (tensors, damaged) = tensors(folder, &format!("{name}.safetensors"))?;
    like.with_tensors(&tensors).map_err(damaged)
}

fn optimizer(
    folder: &Path,
    name: &str,
    new: Optimizer,
    of: &PlacedNetwork,
    steps: u64,
) -> Result<Optimizer, CheckpointError> {
    let (tensors, damaged) = tensors(folder, &format!("{name}_optimizer.safetensors"))?;
    new.with_tensors(&tensors, &of.parameters(), steps).map_err(damaged)
}

/// The tensors of a file, and a function that reports an error in this file.
fn tensors(
    folder: &Path,
    name: &str,
) -> Result<(Tensors, impl Fn(WeightsError) -> CheckpointError + use<>), CheckpointError> {
    let path = folder.join(name);
    let bytes = fs_err::read(&path)?;
    let damaged = move |e: WeightsError| CheckpointError::Damaged { path: path.clone(), message: e.to_string() };
    match read_safetensors(&bytes) {
        Ok(tensors) => Ok((tensors, damaged)),
        Err(e) => Err(damaged(e)),
    }
}
