//! Networks from configuration files and run directories.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::DType;
use fintan_artifact::RunDir;
use fintan_config::{Architecture, Held, MemoryBound, Subject};
use fintan_net::weights::{Tensors, WeightsError, read_safetensors};
use fintan_net::{Mode, Placement};
use fintan_train::{Purpose, read_discriminator, read_network, read_sampler, stream};

use crate::device::Device;
use crate::error::Error;
use crate::memory::free_memory;
use crate::training::subject_of_run;

/// The role of a network in its configuration.
///
/// ```
/// assert_eq!(fintan::Role::Generator.name(), "generator");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The network of a configuration with `[network]`, which is not part of a GAN.
    Network,
    /// The generator of a GAN, or the average of its weights if the configuration averages them.
    Generator,
    /// The discriminator of a GAN.
    Discriminator,
}

impl Role {
    /// The name of the role in file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Generator => "generator",
            Self::Discriminator => "discriminator",
        }
    }
}

/// A network on a device. Its weights are drawn as its configuration says, or come from a checkpoint or a file.
///
/// Weights are drawn or read when a result needs them, so that a `Network` is cheap to make and to clone.
///
/// ```
/// let file = "[network]\ninput = 4\nlayers = [{ dense = { out = 3 } }]";
/// let net = fintan::Network::parse(file)?;
/// assert_eq!(net.architecture().parameter_count(), 4 * 3 + 3);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    subject: Subject,
    role: Role,
    checkpoint: Option<Checkpoint>,
    weights: Option<Weights>,
    before_output: Option<Architecture>,
    device: Device,
}

/// Where trained weights come from.
#[derive(Debug, Clone)]
struct Checkpoint {
    run: PathBuf,
    folder: PathBuf,
    step: u64,
}

/// Weights from a file.
#[derive(Debug, Clone)]
struct Weights {
    path: PathBuf,
    tensors: Arc<Tensors>,
}

/// Options for loading a network; [`Network::open`] makes them.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("fc.toml");
/// fs_err::write(&path, "[network]\ninput = 4\nlayers = [{ dense = { out = 3 } }]")?;
/// let net = fintan::Network::open(&path).set("network.input=5").seed(7).load()?;
/// assert_eq!((net.architecture().input.len(), net.seed()), (5, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct NetworkLoader {
    path: PathBuf,
    overrides: Vec<String>,
    step: Option<u64>,
    bound: MemoryBound,
}

impl NetworkLoader {
    /// Changes a setting of the configuration: `key=value`, such as `network.fc.widths=[512,512]`.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Self {
        self.overrides.push(key_and_value.into());
        self
    }

    /// Uses this seed for weights and inputs.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(&format!("seed={seed}"))
    }

    /// Uses the checkpoint of this step of a run; by default the newest one.
    #[must_use]
    pub fn step(mut self, step: u64) -> Self {
        self.step = Some(step);
        self
    }

    /// Refuses networks that do not fit this bound; by default, parameters must fit into free memory.
    #[must_use]
    pub fn bound(mut self, bound: MemoryBound) -> Self {
        self.bound = bound;
        self
    }

    /// Reads the configuration file, or the configuration of the run and the place of its checkpoint.
    ///
    /// # Errors
    /// Fails if the configuration is wrong, the folder is no run, or the run has no such checkpoint.
    pub fn load(self) -> Result<Network, Error> {
        let Self { path, overrides, step, bound } = self;
        if !path.is_dir() {
            return Ok(Network::of(Subject::load_within(&path, &overrides, bound)?, None));
        }
        let run = RunDir::open(&path)?;
        // Not the file: somebody may have edited it, and checkpoints are of networks as they were trained.
        let subject = subject_of_run(&run, &overrides, bound)?;
        let step = run.find_checkpoint(step)?;
        Ok(Network::of(subject, Some(Checkpoint { folder: run.checkpoint(step), run: path, step })))
    }
}

impl Network {
    /// Loads a configuration file (`.toml`), or the newest checkpoint of a run directory. From a GAN it takes the generator.
    ///
    /// # Errors
    /// Fails if the configuration is wrong, the folder is no run, or the run has no checkpoint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open(path).load()
    }

    /// Begins to load a network with options, such as overrides of settings; see [`Self::load`].
    #[must_use]
    pub fn open(path: impl AsRef<Path>) -> NetworkLoader {
        NetworkLoader {
            path: path.as_ref().into(),
            overrides: Vec::new(),
            step: None,
            bound: MemoryBound { held: Held::Parameters, free: free_memory() },
        }
    }

    /// Reads a configuration from a string.
    ///
    /// # Errors
    /// Fails if the configuration is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bound = MemoryBound { held: Held::Parameters, free: free_memory() };
        Ok(Self::of(Subject::parse_within("configuration", text, &[], bound)?, None))
    }

    fn of(subject: Subject, checkpoint: Option<Checkpoint>) -> Self {
        let role = match subject {
            Subject::Network(_) => Role::Network,
            Subject::Gan(_) => Role::Generator,
        };
        Self { subject, role, checkpoint, weights: None, before_output: None, device: Device::cpu() }
    }

    /// Computes on this device; by default on the CPU.
    #[must_use]
    pub fn on(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// The generator of a GAN.
    ///
    /// # Errors
    /// [`Error::NotAGan`]
    pub fn generator(self) -> Result<Self, Error> {
        self.part(Role::Generator)
    }

    /// The discriminator of a GAN.
    ///
    /// ```
    /// let gan = fintan::Network::parse("
    ///     generator.latent = 8
    ///     generator.dcgan.channels = 4
    ///     generator.optimizer.adam.rate = 1e-3
    ///     discriminator.dcgan.channels = 4
    ///     discriminator.optimizer.adam.rate = 1e-3
    ///     image = { size = 16, channels = 1 }
    ///     data.shapes.count = 4
    ///     train = { steps = 1, batch = 4 }
    /// ")?;
    /// assert_eq!(gan.discriminator()?.architecture().output().len(), 1);
    /// # Ok::<(), fintan::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotAGan`]
    pub fn discriminator(self) -> Result<Self, Error> {
        self.part(Role::Discriminator)
    }

    fn part(mut self, role: Role) -> Result<Self, Error> {
        if matches!(self.subject, Subject::Network(_)) {
            return Err(Error::NotAGan(role.name()));
        }
        self.role = role;
        let cut = self.before_output.take().is_some();
        Ok(if cut { self.before_output() } else { self })
    }

    /// Whether the configuration describes a GAN.
    #[must_use]
    pub fn is_of_gan(&self) -> bool {
        matches!(self.subject, Subject::Gan(_))
    }

    /// The network without its output nonlinearity.
    #[must_use]
    pub fn before_output(mut self) -> Self {
        self.before_output = Some(self.whole().before_output());
        self
    }

    /// Loads the weights of a safetensors file in PyTorch's layouts, with the names `{i}.weight` and `{i}.bias`.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn weights(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let bytes = fs_err::read(&path)?;
        match read_safetensors(&bytes) {
            Ok(tensors) => self.weights = Some(Weights { path, tensors: Arc::new(tensors) }),
            Err(source) => return Err(Error::Weights { path, source }),
        }
        Ok(self)
    }

    /// Whether the output nonlinearity is left off.
    #[must_use]
    pub fn is_before_output(&self) -> bool {
        self.before_output.is_some()
    }

    fn whole(&self) -> &Architecture {
        match &self.subject {
            Subject::Network(alone) => &alone.network,
            Subject::Gan(gan) if self.role == Role::Discriminator => &gan.discriminator,
            Subject::Gan(gan) => &gan.generator,
        }
    }

    /// The layers with their shapes.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        self.before_output.as_ref().unwrap_or_else(|| self.whole())
    }

    /// The role of the network in its configuration.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The seed for weights and inputs.
    #[must_use]
    pub fn seed(&self) -> u64 {
        match &self.subject {
            Subject::Network(alone) => alone.settings.seed,
            Subject::Gan(gan) => gan.settings.seed,
        }
    }

    /// The step of the checkpoint, or `None` if the weights do not come from a checkpoint.
    #[must_use]
    pub fn step(&self) -> Option<u64> {
        self.checkpoint.as_ref().map(|checkpoint| checkpoint.step)
    }

    /// The run directory, or `None` for a configuration file.
    #[must_use]
    pub fn run(&self) -> Option<&Path> {
        self.checkpoint.as_ref().map(|checkpoint| checkpoint.run.as_path())
    }

    /// The configuration.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The network with its weights in place, for programs that use `fintan_net`, and the names of tensors in the file of
    /// weights that belong to no layer.
    ///
    /// In evaluation `mode` a batch norm uses running statistics, which the file of weights must then contain.
    ///
    /// # Errors
    /// Fails if the weights cannot be read, or belong to another network.
    pub fn placed(&self, placement: &Placement, mode: Mode) -> Result<(fintan_net::PlacedNetwork, Vec<String>), Error> {
        let mut network = match (&self.checkpoint, &self.subject) {
            (None, _) => {
                let purpose = match self.role {
                    Role::Network | Role::Generator => Purpose::Generator,
                    Role::Discriminator => Purpose::Discriminator,
                };
                fintan_net::PlacedNetwork::init(self.whole(), &mut stream(self.seed(), purpose, 0), placement)
            }
            (Some(Checkpoint { folder, .. }), subject) => {
                let single = Placement { dtype: DType::F32, ..placement.clone() };
                let trained = match (subject, self.role) {
                    (Subject::Network(alone), _) => read_network(folder, &alone.network, &single)?,
                    (Subject::Gan(gan), Role::Discriminator) => read_discriminator(folder, gan, &single)?,
                    (Subject::Gan(gan), Role::Generator | Role::Network) => read_sampler(folder, gan, &single)?,
                };
                trained.moved(placement)
            }
        };
        let mut unused = Vec::new();
        if let Some(Weights { path, tensors }) = &self.weights {
            let wrong = |source: WeightsError| Error::Weights { path: path.clone(), source };
            let loaded = network.load(tensors).map_err(wrong)?;
            unused.extend_from_slice(loaded.unused());
            network = loaded.in_mode(mode).map_err(wrong)?;
        }
        if let Some(before) = &self.before_output {
            // The values drawn here do not matter: the weights of the network replace them.
            let cut = fintan_net::PlacedNetwork::init(before, &mut stream(0, Purpose::Generator, 0), placement);
            network = cut.with_parameters(network.parameters()).with_running_statistics(network.running_statistics());
        }
        Ok((network, unused))
    }
}
