//! Tunes a network to a goal by one knob, and changes its configuration file accordingly.

mod edit;

use std::path::{Path, PathBuf};

use fintan_config::{Activation, Architecture, Layer, Parametrization, Settings, Sources, Subject};
use fintan_theory::{Knob, Setting, Standing, TuneGoal, Tuned};

use self::edit::{Edit, Place};
use crate::error::Error;
use crate::network::Role;

/// Moves a knob of a network until the network reaches a goal at infinite width.
///
/// ```
/// let net = fintan::Network::parse(r#"
///     [network]
///     input = 2
///     parametrization = { ntk = { beta = 0.0 } }
///     outputs = 1
///     fc = { widths = [64, 64], activation = { function = "relu", scaling = "standardized" } }
/// "#)?;
/// // Of a standardized ReLU r = 1 - β².
/// let tuned = fintan::tune(net.architecture(), &fintan::TuneGoal::R(0.75), fintan::Knob::Beta)?;
/// let beta = tuned.setting.and_then(|setting| setting.number()).expect("a number");
/// assert!((beta - 0.5).abs() < 1e-5);
/// # Ok::<(), fintan::Error>(())
/// ```
///
/// # Errors
/// Fails if the network has no limit or lacks the knob, or if the knob does not reach the goal.
pub fn tune(architecture: &Architecture, goal: &TuneGoal, knob: Knob) -> Result<Tuned, Error> {
    Ok(fintan_theory::tune(architecture, goal, knob)?)
}

/// Why a configuration file cannot be tuned although its network can.
///
/// ```
/// let error = fintan::TuningError::NotReadBack;
/// assert!(error.to_string().contains("reads back"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuningError {
    /// The file has a later version of TOML than can be edited.
    #[error("only TOML 1.0 can be edited: {0}")]
    Toml(String),
    /// The layers of the network are not where they are expected in the file.
    #[error("`{network}` could not be found in `{}`", path.display())]
    Place {
        /// The key of the network.
        network: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The edited file would not describe the tuned network.
    #[error("the edited configuration reads back as another network than the tuned one; nothing was written")]
    NotReadBack,
}

/// A configuration file whose network is to be tuned.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("fc.toml");
/// fs_err::write(&path, r#"[network]
/// input = 4 # features
/// parametrization = { ntk = {} }
/// outputs = 1
/// fc = { widths = [64, 64], activation = { function = "relu", scaling = "standardized" } }
/// "#)?;
/// let file = fintan::TunableFile::load(&path, &[])?;
/// let tuned: fintan::TunedFile = file.tune(&fintan::TuneGoal::R(0.75), fintan::Knob::Beta, 64)?;
/// // Of a standardized ReLU r = 1 - β².
/// assert!((tuned.after.knob.number().expect("a number") - 0.5).abs() < 1e-5);
/// assert!((tuned.after.standing.r.expect("two layers") - 0.75).abs() < 1e-5);
/// // Comments and order stay.
/// assert!(tuned.text.contains("input = 4 # features"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TunableFile {
    path: PathBuf,
    sources: Sources,
    overrides: Vec<String>,
    subject: Subject,
    role: Role,
}

/// A tuned configuration; [`TunableFile::tune`] makes it.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("fc.toml");
/// let text = "network = { input = 4, outputs = 1, fc = { widths = [8] } } # mine\n";
/// fs_err::write(&path, text)?;
/// let file = fintan::TunableFile::load(&path, &[])?;
/// let r = fintan::Limit::of(file.architecture())?.r().expect("two layers");
/// // The network is where it shall go already.
/// let tuned: fintan::TunedFile = file.tune(&fintan::TuneGoal::R(r), fintan::Knob::Gain, 2)?;
/// assert!(tuned.tuned.setting.is_none() && tuned.text == text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TunedFile {
    /// The text of the configuration: comments and order of the file, with overrides and included files merged in.
    pub text: String,
    /// The tuned network and the value of its knob.
    pub tuned: Tuned,
    /// The network before tuning.
    pub before: KnobState,
    /// The network after tuning.
    pub after: KnobState,
}

/// The value of a knob, and the properties of the network at that value.
///
/// ```
/// let net = fintan::Network::parse("network = { input = 4, outputs = 1, fc = { widths = [8, 8] } }")?;
/// let state = fintan::KnobState::of(net.architecture(), fintan::Knob::Gain, 8)?;
/// assert_eq!((state.knob.number(), state.standing.inputs), (Some(1.0), 8));
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KnobState {
    /// The knob.
    pub knob: Setting,
    /// The properties of the network at infinite width.
    pub standing: Standing,
}

impl KnobState {
    /// Computes the state of a network. `inputs` is the number of orthogonal inputs for the condition number.
    ///
    /// # Errors
    /// Fails if the network has no limit or lacks the knob.
    pub fn of(architecture: &Architecture, knob: Knob, inputs: usize) -> Result<Self, Error> {
        Ok(Self { knob: knob.of(architecture)?, standing: Standing::of(architecture, inputs)? })
    }
}

impl TunableFile {
    /// Reads a configuration file with its included files, and applies overrides (`key=value`). For a GAN the generator is
    /// tuned.
    ///
    /// # Errors
    /// Fails if the configuration is wrong.
    pub fn load(path: impl AsRef<Path>, overrides: &[String]) -> Result<Self, Error> {
        let sources = Sources::read(path.as_ref())?;
        let subject = Subject::of(&sources, overrides)?;
        let role = match subject {
            Subject::Network(_) => Role::Network,
            Subject::Gan(_) => Role::Generator,
        };
        Ok(Self { path: path.as_ref().into(), sources, overrides: overrides.to_vec(), subject, role })
    }

    /// Tunes the discriminator of a GAN.
    ///
    /// # Errors
    /// [`Error::NotAGan`]
    pub fn discriminator(mut self) -> Result<Self, Error> {
        if !self.is_of_gan() {
            return Err(Error::NotAGan(Role::Discriminator.name()));
        }
        self.role = Role::Discriminator;
        Ok(self)
    }

    /// Whether the configuration describes a GAN.
    #[must_use]
    pub fn is_of_gan(&self) -> bool {
        matches!(self.subject, Subject::Gan(_))
    }

    /// The network that is tuned.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The network before tuning.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        Written::of(&self.subject, self.role).architecture
    }

    /// Whether the file includes others, which are merged into the tuned text.
    #[must_use]
    pub fn includes_others(&self) -> bool {
        self.sources.files().len() > 1
    }

    /// Moves a knob until the network reaches a goal, and changes the text accordingly. `inputs` is the number of orthogonal
    /// inputs for condition numbers.
    ///
    /// The changed text is read again and checked: it must describe the tuned network, and all other settings must be
    /// unchanged.
    ///
    /// # Errors
    /// Fails if the network has no limit or lacks the knob, if the knob does not reach the goal, or if the file cannot be
    /// edited.
    pub fn tune(&self, goal: &TuneGoal, knob: Knob, inputs: usize) -> Result<TunedFile, Error> {
        let network = Written::of(&self.subject, self.role);
        let tuned = tune(network.architecture, goal, knob)?;
        let before = KnobState::of(network.architecture, knob, inputs)?;
        let after = KnobState::of(&tuned.network, knob, inputs)?;
        let mut edit = Edit::new(self.sources.files().map(|(_, text)| text), &self.overrides)?;
        if let Some(setting) = &tuned.setting {
            let layers: Vec<Layer> = tuned.network.nodes.iter().map(|node| node.layer.clone()).collect();
            let place = match (network.preset, network.layers) {
                (Some((preset, activation)), _) => Place::Preset(preset, activation),
                (None, old) => Place::Layers(old.unwrap_or_default(), layers),
            };
            edit.set(self.role.name(), setting, network.architecture.parametrization, &place)
                .ok_or_else(|| TuningError::Place { network: self.role.name(), path: self.path.clone() })?;
        }
        let text = edit.finish();
        self.look_again(&text, &tuned, goal, knob)?;
        Ok(TunedFile { text, tuned, before, after })
    }

    /// Reads the edited text and checks that only the knob changed and that the network reaches the goal.
    fn look_again(&self, text: &str, tuned: &Tuned, goal: &TuneGoal, knob: Knob) -> Result<(), Error> {
        let again = Subject::parse("the tuned configuration", text, &[])?;
        let same = match (&again, &self.subject) {
            (Subject::Gan(again), Subject::Gan(before)) => {
                without_knob(&again.settings, self.role) == without_knob(&before.settings, self.role)
            }
            (Subject::Network(again), Subject::Network(before)) => again.settings.seed == before.settings.seed,
            _ => false,
        };
        let network = Written::of(&again, self.role).architecture;
        if same && *network == tuned.network && goal.is_reached(network, knob)? {
            return Ok(());
        }
        Err(TuningError::NotReadBack.into())
    }
}

/// The network to be tuned, and the settings that define it.
struct Written<'a> {
    architecture: &'a Architecture,
    preset: Option<(&'static str, Activation)>,
    layers: Option<&'a [Layer]>,
}

impl<'a> Written<'a> {
    fn of(subject: &'a Subject, role: Role) -> Self {
        match (subject, role) {
            (Subject::Network(alone), _) => {
                let table = &alone.settings.network;
                let preset = table.fc.as_ref().map(|fc| ("fc", fc.activation));
                Self { architecture: &alone.network, preset, layers: table.layers.as_deref() }
            }
            (Subject::Gan(gan), Role::Discriminator) => {
                let table = &gan.settings.discriminator;
                let dcgan = table.dcgan.as_ref().map(|dcgan| ("dcgan", dcgan.activation));
                let preset = dcgan.or(table.fc.as_ref().map(|fc| ("fc", fc.activation)));
                Self { architecture: &gan.discriminator, preset, layers: table.layers.as_deref() }
            }
            (Subject::Gan(gan), Role::Generator | Role::Network) => {
                let table = &gan.settings.generator;
                let dcgan = table.dcgan.as_ref().map(|dcgan| ("dcgan", dcgan.activation));
                let preset = dcgan.or(table.fc.as_ref().map(|fc| ("fc", fc.activation)));
                Self { architecture: &gan.generator, preset, layers: table.layers.as_deref() }
            }
        }
    }
}

/// The settings with one network's layers and parametrization left out.
fn without_knob(settings: &Settings, role: Role) -> Settings {
    let mut rest = settings.clone();
    if role == Role::Discriminator {
        let table = &mut rest.discriminator;
        (table.dcgan, table.fc, table.layers, table.parametrization) = (None, None, None, Parametrization::default());
    } else {
        let table = &mut rest.generator;
        (table.dcgan, table.fc, table.layers, table.parametrization) = (None, None, None, Parametrization::default());
    }
    rest
}
