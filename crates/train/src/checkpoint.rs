//! Everything a run needs to go on exactly, as files.
//!
//! ```text
//! state.json                 version, step, images seen, seed
//! generator.safetensors      parameters and running statistics, PyTorch layouts
//! discriminator.safetensors
//! average.safetensors        where weights are averaged
//! generator_optimizer.safetensors, discriminator_optimizer.safetensors
//! ```

use std::path::{Path, PathBuf};

use fintan_config::Experiment;
use fintan_data::Order;
use fintan_net::weights::{Tensors, WeightsError, read_safetensors, write_safetensors};
use fintan_net::{Network, Placement};
use serde::{Deserialize, Serialize};

use crate::gan::Gan;
use crate::seeds::{Purpose, stream};

/// Version of the files above.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    step: u64,
    images_seen: u64,
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

impl Gan {
    /// The files of a checkpoint.
    ///
    /// # Panics
    /// Never: the state is plain JSON.
    #[must_use]
    pub fn checkpoint_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let state = State { version: VERSION, step: self.step, images_seen: self.order.seen() };
        let mut files = vec![
            ("state.json", serde_json::to_vec_pretty(&state).expect("plain JSON")),
            ("generator.safetensors", write_safetensors(&self.generator.to_tensors())),
            ("discriminator.safetensors", write_safetensors(&self.discriminator.to_tensors())),
            ("generator_optimizer.safetensors", write_safetensors(&self.generator_optimizer.to_tensors())),
            ("discriminator_optimizer.safetensors", write_safetensors(&self.discriminator_optimizer.to_tensors())),
        ];
        if let Some(average) = &self.average {
            files.push(("average.safetensors", write_safetensors(&average.to_tensors())));
        }
        files
    }

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
        gan.generator = network(folder, "generator.safetensors", &gan.generator)?;
        gan.discriminator = network(folder, "discriminator.safetensors", &gan.discriminator)?;
        if let Some(average) = &gan.average {
            gan.average = Some(network(folder, "average.safetensors", average)?);
        }
        let (tensors, damaged) = tensors(folder, "generator_optimizer.safetensors")?;
        gan.generator_optimizer =
            gan.generator_optimizer.with_tensors(&tensors, &gan.generator.parameters()).map_err(damaged)?;
        let (tensors, damaged) = self::tensors(folder, "discriminator_optimizer.safetensors")?;
        gan.discriminator_optimizer =
            gan.discriminator_optimizer.with_tensors(&tensors, &gan.discriminator.parameters()).map_err(damaged)?;
        gan.order = Order::new(experiment.settings.seed, images, state.images_seen);
        gan.step = state.step;
        Ok(gan)
    }
}

/// The network that samples are drawn from, out of a checkpoint alone: neither data nor discriminator are needed.
///
/// # Errors
/// As [`Gan::from_checkpoint`].
pub fn read_sampler(folder: &Path, experiment: &Experiment, placement: &Placement) -> Result<Network, CheckpointError> {
    read_state(folder)?;
    let name = if experiment.settings.train.ema.is_some() { "average.safetensors" } else { "generator.safetensors" };
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
    network(folder, "discriminator.safetensors", &Network::init(&experiment.discriminator, &mut rng, placement))
}

fn read_state(folder: &Path) -> Result<State, CheckpointError> {
    let path = folder.join("state.json");
    let text = fs_err::read(&path)?;
    let state: State = serde_json::from_slice(&text)
        .map_err(|e| CheckpointError::Damaged { path: path.clone(), message: e.to_string() })?;
    if state.version > VERSION {
        return Err(CheckpointError::Newer { path: folder.into(), found: state.version });
    }
    Ok(state)
}

fn network(folder: &Path, name: &str, like: &Network) -> Result<Network, CheckpointError> {
    let (tensors, damaged) = tensors(folder, name)?;
    like.with_tensors(&tensors).map_err(damaged)
}

/// The tensors of a file, and what to call an error in them.
fn tensors(folder: &Path, name: &str) -> Result<(Tensors, impl Fn(WeightsError) -> CheckpointError), CheckpointError> {
    let path = folder.join(name);
    let bytes = fs_err::read(&path)?;
    let damaged = move |e: WeightsError| CheckpointError::Damaged { path: path.clone(), message: e.to_string() };
    match read_safetensors(&bytes) {
        Ok(tensors) => Ok((tensors, damaged)),
        Err(e) => Err(damaged(e)),
    }
}
