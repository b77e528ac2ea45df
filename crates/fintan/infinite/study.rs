//! A study of a network at infinite width, as numbers and as a folder of files.

use std::path::{Path, PathBuf};

use fintan_artifact::Draft;
use fintan_config::{Architecture, ArchitectureError, LayerRates, Subject};
use fintan_predict::{KernelComparison, WidthPoint};
use fintan_theory::{PieceRegime, Wide, regimes};
use serde_json::{Value, json};

use super::curves::{self, LimitCurves};
use super::positions::{self, PixelLimit, PositionSpectrum};
use super::{compare, kernels, widths};
use crate::device::Device;
use crate::error::Error;
use crate::network::{Network, Role};

/// A study of a network at infinite width: its regimes, its kernel against the angle between inputs and against depth, the
/// phase diagram, checkerboards and borders of images. If requested, finite networks are compared with their limit.
///
/// [`Self::write`] computes it and writes the folder of `fintan theory`: curves as `.svg` and `.csv`, arrays as `.npz`, and the
/// numbers in `theory.json`.
///
/// ```
/// let net = fintan::Network::parse("network = { input = 4, outputs = 1, fc = { widths = [8, 8] } }")?;
/// let folder = tempfile::tempdir()?;
/// let place = folder.path().join("theory");
/// let study = fintan::LimitStudy::of(&net).orthogonal_inputs(10).write(&place)?;
/// assert_eq!(study.json()["limit"]["layers"], 3);
/// assert!(place.join("circle.svg").is_file() && place.join("theory.json").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LimitStudy<'a> {
    pub(super) architecture: Architecture,
    pub(super) rates: LayerRates,
    seed: u64,
    pub(super) orthogonal: usize,
    all_positions: bool,
    kernel_inputs: Option<(String, Option<String>)>,
    finite_kernel: Option<PathBuf>,
    widths: Vec<usize>,
    networks: u64,
    device: Device,
    on_finding: Box<dyn FnMut(&LimitFinding) + 'a>,
}

/// A result of a [`LimitStudy`].
///
/// ```
/// let net = fintan::Network::parse("network = { input = 4, layers = [{ dense = { out = 1 } }] }")?;
/// let folder = tempfile::tempdir()?;
/// let mut count = 0;
/// let study = fintan::LimitStudy::of(&net).on_finding(|_| count += 1).write(&folder.path().join("theory"))?;
/// assert_eq!((count, study.findings().len()), (2, 2));
/// assert!(matches!(study.findings()[0], fintan::LimitFinding::Layers(ref layers) if layers.len() == 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LimitFinding {
    /// The regime of each linear layer and residual block.
    Layers(Vec<PieceRegime>),
    /// A finite kernel compared with the limit.
    Compared {
        /// The file of the kernel.
        kernel: PathBuf,
        /// The differences.
        comparison: KernelComparison,
        /// Whether the kernel has the slopes of an output nonlinearity, which stay random at any width.
        with_output_slopes: bool,
    },
    /// NNGP and NTK of the limit at given inputs were written to this file.
    Kernels(PathBuf),
    /// The network has no limit, for this reason. There are no curves.
    NoLimit(String),
    /// Inputs are single numbers, which are all parallel. There are no curves.
    ParallelInputs,
    /// The kernel of orthogonal inputs, and curves over angles and depth.
    Curves(Box<LimitCurves>),
    /// Eigenspaces of the kernel between pixels. The inner error is the layer without a closed form, and why.
    Blocks(Result<PositionSpectrum, (&'static str, &'static str)>),
    /// Variance and kernel of each pixel. The inner error is the layer without a limit, and why.
    Pixels(Result<PixelLimit, (&'static str, &'static str)>),
    /// The error of finite networks of one width.
    Width(WidthPoint),
    /// The errors of all widths, and the exponent in `error ~ width^exponent`.
    Widths {
        /// The widths in the requested order.
        points: Vec<WidthPoint>,
        /// Fitted by least squares of logarithms. The expected value is -1/2.
        exponent: f64,
    },
}

/// Why a [`LimitStudy`] cannot be made.
///
/// ```
/// let net = fintan::Network::parse("network = { input = 4, layers = [{ dense = { out = 1 } }] }")?;
/// let study = fintan::LimitStudy::of(&net).widths(&[8], 2, fintan::Device::cpu());
/// let error = study.write(std::path::Path::new("nowhere")).unwrap_err();
/// assert!(matches!(error, fintan::Error::LimitStudy(fintan::LimitStudyError::OneWidth)), "{error}");
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitStudyError {
    /// The file of a finite kernel does not belong to the network.
    #[error("`{}`: {message}", path.display())]
    FiniteKernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// There is a single width, which shows no law.
    #[error("a study of widths needs at least two, such as 32, 64 and 128")]
    OneWidth,
    /// The network has residual blocks, whose ends must have the same width.
    #[error("residual blocks cannot be widened")]
    Residual,
    /// The wider layers do not fit each other.
    #[error(transparent)]
    Wider(#[from] ArchitectureError),
    /// Networks of a width do not fit into memory.
    #[error("the width {width}: {message}")]
    WidthMemory {
        /// The width.
        width: usize,
        /// The memory that they need.
        message: String,
    },
}

impl<'a> LimitStudy<'a> {
    /// Studies a network as it is initialised, with the layer-dependent rates of its configuration.
    #[must_use]
    pub fn of(network: &Network) -> Self {
        let rates = match (network.subject(), network.role()) {
            (Subject::Network(_), _) => LayerRates::Off,
            (Subject::Gan(gan), Role::Discriminator) => gan.settings.discriminator.layer_rates,
            (Subject::Gan(gan), Role::Generator | Role::Network) => gan.settings.generator.layer_rates,
        };
        Self {
            architecture: network.architecture().clone(),
            rates,
            seed: network.seed(),
            orthogonal: 64,
            all_positions: false,
            kernel_inputs: None,
            finite_kernel: None,
            widths: Vec::new(),
            networks: 0,
            device: Device::cpu(),
            on_finding: Box::new(|_| ()),
        }
    }

    /// Computes condition numbers for this number of orthogonal inputs, at least 2. The default is 64.
    #[must_use]
    pub fn orthogonal_inputs(mut self, count: usize) -> Self {
        self.orthogonal = count;
        self
    }

    /// Writes kernels between all pairs of pixels of an image. A pair takes 16 bytes.
    #[must_use]
    pub fn all_positions(mut self, all: bool) -> Self {
        self.all_positions = all;
        self
    }

    /// Writes NNGP and NTK of the limit at the inputs of a file, or between them and the inputs of a second file. The formats
    /// are those of [`crate::read_samples`].
    #[must_use]
    pub fn kernels_at(mut self, inputs: &str, inputs2: Option<&str>) -> Self {
        self.kernel_inputs = Some((inputs.into(), inputs2.map(str::to_owned)));
        self
    }

    /// Compares a kernel that `fintan ntk` wrote with the limit.
    #[must_use]
    pub fn compare(mut self, kernel: &Path) -> Self {
        self.finite_kernel = Some(kernel.into());
        self
    }

    /// Compares finite networks of these hidden widths with the limit. `networks` is the number of random networks of each
    /// width; they are computed on `device`.
    #[must_use]
    pub fn widths(mut self, widths: &[usize], networks: u64, device: Device) -> Self {
        (self.widths, self.networks, self.device) = (widths.into(), networks, device);
        self
    }

    /// Calls `on_finding(finding)` with each finding.
    #[must_use]
    pub fn on_finding(mut self, on_finding: impl FnMut(&LimitFinding) + 'a) -> Self {
        self.on_finding = Box::new(on_finding);
        self
    }

    /// Computes the study and writes it into a folder, which must not exist.
    ///
    /// # Errors
    /// Fails if the folder exists, if files do not fit the network, if widths cannot be compared, or if a quadrature does not
    /// converge.
    pub fn write(mut self, folder: &Path) -> Result<WrittenLimitStudy, Error> {
        widths::check(&self.architecture, &self.widths)?;
        // The folder appears complete or not at all.
        let draft = Draft::at(folder)?;
        let mut written = WrittenLimitStudy {
            folder: folder.into(),
            parameters: self.architecture.parameter_count(),
            is_dense: self.architecture.flat().iter().all(|node| node.output.is_vector()),
            findings: Vec::new(),
        };
        self.fill(draft.path(), &mut written)?;
        let numbers = written.json();
        draft.write("theory.json", format!("{numbers:#}\n").as_bytes())?;
        draft.publish()?;
        Ok(written)
    }

    /// Writes NNGP and NTK of the limit at the inputs of [`Self::kernels_at`] into an `.npz` file, and no other file. The
    /// arrays `nngp` and `ntk` have shape `[N, N2]` for one output position, and `[N, N2, P]` or `[N, N2, P, P]` for images.
    ///
    /// # Errors
    /// Fails if inputs cannot be read or do not fit, or if the network has no limit.
    pub fn write_kernels(&self, file: &Path) -> Result<(), Error> {
        let Some((inputs, inputs2)) = &self.kernel_inputs else { return Ok(()) };
        kernels::write(&self.architecture, inputs, inputs2.as_deref(), self.all_positions, file)
    }

    fn fill(&mut self, folder: &Path, written: &mut WrittenLimitStudy) -> Result<(), Error> {
        let place = written.folder.clone();
        self.add(written, LimitFinding::Layers(regimes(&self.architecture)));
        let mut dots = Vec::new();
        if let Some(kernel) = self.finite_kernel.clone() {
            let (comparison, with_output_slopes) = compare::compare(&kernel, &self.architecture, folder)?;
            dots.clone_from(&comparison.scaled_by_angle);
            self.add(written, LimitFinding::Compared { kernel, comparison, with_output_slopes });
        }
        if self.kernel_inputs.is_some() {
            self.write_kernels(&folder.join("kernels.npz"))?;
            self.add(written, LimitFinding::Kernels(place.join("kernels.npz")));
        }
        let curves = curves::limit(&self.architecture, self.orthogonal, folder, dots)?;
        self.add(written, curves);
        let (input, output) = (self.architecture.input, self.architecture.output());
        if input.is_vector() && input.channels > 1 {
            curves::circle_inputs(folder, input.channels)?;
        }
        if !output.is_vector() {
            let blocks = positions::blocks(&self.architecture, &self.rates, folder)?;
            self.add(written, LimitFinding::Blocks(blocks));
            let pixels = positions::pixels(&self.architecture, folder, self.all_positions)?;
            self.add(written, LimitFinding::Pixels(pixels));
        }
        if !self.widths.is_empty() {
            let asked = widths::Asked { widths: &self.widths, networks: self.networks, seed: self.seed };
            let (points, exponent) =
                widths::widths(&self.architecture, &asked, &self.device, folder, &mut *self.on_finding)?;
            self.add(written, LimitFinding::Widths { points, exponent });
        }
        Ok(())
    }

    fn add(&mut self, written: &mut WrittenLimitStudy, finding: LimitFinding) {
        (self.on_finding)(&finding);
        written.findings.push(finding);
    }
}

/// The results of a [`LimitStudy`], written into a folder.
///
/// ```
/// let net = fintan::Network::parse("network = { input = 4, layers = [{ dense = { out = 1 } }] }")?;
/// let folder = tempfile::tempdir()?;
/// let study: fintan::WrittenLimitStudy = fintan::LimitStudy::of(&net).write(&folder.path().join("theory"))?;
/// assert_eq!(study.json()["parameters"], 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct WrittenLimitStudy {
    folder: PathBuf,
    parameters: usize,
    is_dense: bool,
    findings: Vec<LimitFinding>,
}

impl WrittenLimitStudy {
    /// The path of the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The findings, in the order in which they were computed.
    #[must_use]
    pub fn findings(&self) -> &[LimitFinding] {
        &self.findings
    }

    /// The contents of `theory.json`.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut numbers = json!({ "folder": self.folder.display().to_string(), "parameters": self.parameters });
        for finding in &self.findings {
            let (key, value) = match finding {
                LimitFinding::Layers(layers) => ("layers", layers.iter().map(layer_json).collect()),
                LimitFinding::Compared { kernel, comparison, .. } => (
                    "compare",
                    json!({
                        "kernel": kernel.display().to_string(), "relative_difference": comparison.relative_difference,
                        "largest_difference": comparison.largest_difference,
                    }),
                ),
                LimitFinding::Kernels(file) => ("kernels", json!(file.display().to_string())),
                LimitFinding::NoLimit(reason) => ("limit", json!({ "no_limit": reason })),
                LimitFinding::ParallelInputs => ("limit", json!({})),
                LimitFinding::Curves(curves) => ("limit", curves.json()),
                LimitFinding::Blocks(blocks) => ("blocks", blocks.as_ref().map_or(Value::Null, PositionSpectrum::json)),
                LimitFinding::Pixels(pixels) => ("border", pixels.as_ref().map_or(Value::Null, PixelLimit::json)),
                LimitFinding::Width(_) => continue,
                LimitFinding::Widths { points, exponent } => {
                    let widths: Vec<usize> = points.iter().map(|point| point.width).collect();
                    let errors: Vec<f64> = points.iter().map(|point| point.relative_error).collect();
                    ("widths", json!({ "widths": widths, "errors": errors, "slope": exponent }))
                }
            };
            if key == "limit" && self.is_dense {
                // The earlier key of these numbers for dense networks, kept for programs that read it.
                numbers["dense"] = value.clone();
            }
            numbers[key] = value;
        }
        numbers
    }
}

/// The regime of a layer or block as JSON.
fn layer_json(piece: &PieceRegime) -> Value {
    let in_range = piece.variance.filter(|q| q.is_in_range()).map(Wide::value);
    let mut row = json!({
        "index": piece.indices.start, "variance": in_range, "r": piece.r, "residual_block": piece.is_block,
    });
    if piece.is_block {
        row["indices"] = json!([piece.indices.start, piece.indices.end]);
    }
    if let (None, Some(beyond)) = (in_range, piece.variance) {
        row["log10_variance"] = json!(beyond.log10());
    }
    row
}
