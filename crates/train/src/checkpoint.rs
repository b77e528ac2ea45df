//! Everything a run needs to go on exactly, as files.
//!
//! ```text
//! state.json                     version, step, images seen, fingerprint of the data
//! {part}.safetensors             parameters and running statistics, PyTorch layouts
//! {part}_optimizer.safetensors   moments
//! discriminator_spectral_norm.safetensors   its weights before they are divided, and their singular vectors
//! ```
//!
//! Parts are `generator`, `discriminator` and, where weights are averaged, `average`, which has no optimiser; or `network`.

use std::path::{Path, PathBuf};

use fintan_config::{Architecture, Experiment, SupervisedExperiment};
use fintan_data::{Images, Order, TaskData};
use fintan_net::weights::{Tensors, WeightsError, read_safetensors, write_safetensors};
use fintan_net::{Network, Placement};
use serde::{Deserialize, Serialize};

use crate::gan::Gan;
use crate::optimizer::Optimizer;
use crate::supervised::Supervised;
use crate::training::{Part, Trainee};
use fintan_data::{Purpose, stream};

/// Version of the files above.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    step: u64,
    images_seen: u64,
    /// None in checkpoints of programs that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<DataFingerprint>,
}

/// Steps and images beyond which a state is not one of a training: counts derived from these do not overflow.
const MOST: u64 = 1 << 50;

/// What tells the data of a training from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFingerprint {
    /// Images, or training and test samples.
    pub count: u64,
    /// Of pixels and labels, or inputs and targets, as they enter training: 16 hexadecimal digits.
    pub fingerprint: String,
}

impl DataFingerprint {
    /// Of all images of a data set.
    #[must_use]
    pub fn of_images(images: &Images) -> Self {
        Self { count: images.len() as u64, fingerprint: format!("{:016x}", images.fingerprint()) }
    }

    /// Of the samples of a task.
    #[must_use]
    pub fn of_task(data: &TaskData) -> Self {
        let count = data.train.len() as u64 + data.test.len() as u64;
        Self { count, fingerprint: format!("{:016x}", data.fingerprint()) }
    }
}

/// What a checkpoint says of the data that it was trained on; none in older checkpoints.
///
/// # Errors
/// A state that is missing, damaged or newer than this program.
pub fn read_data(folder: &Path) -> Result<Option<DataFingerprint>, CheckpointError> {
    Ok(read_state(folder)?.data)
}

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file is missing or unreadable.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file is damaged or of another network.
    #[error("checkpoint file `{}`: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Written by a newer program.
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
/// Never: the state is plain JSON.
#[must_use]
pub fn checkpoint_files(trainee: &impl Trainee) -> Vec<(String, Vec<u8>)> {
    let state =
        State { version: VERSION, step: trainee.step(), images_seen: trainee.seen(), data: trainee.data().cloned() };
    let mut files = vec![("state.json".to_owned(), serde_json::to_vec_pretty(&state).expect("plain JSON"))];
    for Part { name, network, optimizer, further } in trainee.parts() {
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
    /// A GAN as a checkpoint left it.
    ///
    /// # Errors
    /// Files that are missing, cut short, of another network, or newer than this program.
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
    /// A network in training as a checkpoint left it.
    ///
    /// # Errors
    /// As [`Gan::from_checkpoint`].
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

/// The network of a checkpoint of supervised training.
///
/// # Errors
/// As [`Gan::from_checkpoint`].
pub fn read_network(
    folder: &Path,
    architecture: &Architecture,
    placement: &Placement,
) -> Result<Network, CheckpointError> {
    read_state(folder)?;
    network(folder, "network", &Network::init(architecture, &mut stream(0, Purpose::Generator, 0), placement))
}

/// The network that samples are drawn from, out of a checkpoint alone: neither data nor discriminator are needed.
///
/// # Errors
/// As [`Gan::from_checkpoint`].
pub fn read_sampler(folder: &Path, experiment: &Experiment, placement: &Placement) -> Result<Network, CheckpointError> {
    read_state(folder)?;
    let name = if experiment.settings.train.ema.is_some() { "average" } else { "generator" };
    let drawn =
        Network::init(&experiment.generator, &mut stream(experiment.settings.seed, Purpose::Generator, 0), placement);
    network(folder, name, &drawn)
}

/// The discriminator of a checkpoint.
///
/// # Errors
/// As [`Gan::from_checkpoint`].
pub fn read_discriminator(
    folder: &Path,
    experiment: &Experiment,
    placement: &Placement,
) -> Result<Network, CheckpointError> {
    read_state(folder)?;
    let mut rng = stream(experiment.settings.seed, Purpose::Discriminator, 0);
    network(folder, "discriminator", &Network::init(&experiment.discriminator, &mut rng, placement))
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

fn network(folder: &Path, name: &str, like: &Network) -> Result<Network, CheckpointError> {
    let (tensors, damaged) = tensors(folder, &format!("{name}.safetensors"))?;
    like.with_tensors(&tensors).map_err(damaged)
}

fn optimizer(
    folder: &Path,
    name: &str,
    new: Optimizer,
    of: &Network,
    steps: u64,
) -> Result<Optimizer, CheckpointError> {
    let (tensors, damaged) = tensors(folder, &format!("{name}_optimizer.safetensors"))?;
    new.with_tensors(&tensors, &of.parameters(), steps).map_err(damaged)
}

/// The tensors of a file, and what to call an error in them.
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
