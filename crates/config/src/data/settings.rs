//! The settings of each source of data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The built-in set of drawn shapes.
///
/// ```
/// let shapes = fintan_config::Shapes { count: 24, ..Default::default() };
/// assert_eq!((shapes.count, shapes.seed), (24, 0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shapes {
    /// Number of images.
    pub count: usize,
    /// Seed of the drawings, apart from the experiment's seed.
    pub seed: u64,
}

impl Default for Shapes {
    fn default() -> Self {
        Self { count: 8192, seed: 0 }
    }
}

/// An IDX data set.
///
/// ```
/// let idx: fintan_config::Idx = toml::from_str("images = 'train-images-idx3-ubyte.gz'")?;
/// assert_eq!(idx.labels, None);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idx {
    /// The image file, such as `train-images-idx3-ubyte.gz`.
    pub images: PathBuf,
    /// The label file, such as `train-labels-idx1-ubyte.gz`; GAN training does without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
}

/// CIFAR binary batches.
///
/// ```
/// let cifar: fintan_config::Cifar = toml::from_str("files = ['data_batch_1.bin', 'data_batch_2.bin']")?;
/// assert_eq!((cifar.files.len(), cifar.labels), (2, 1)); // CIFAR-10
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cifar {
    /// The batch files, or one folder that holds them.
    pub files: Vec<PathBuf>,
    /// Labels a record starts with: 1 in CIFAR-10, 2 in CIFAR-100.
    #[serde(default = "one_usize")]
    pub labels: usize,
}

/// Image files. The folder that a file lies in is its class, where there are at least two such folders.
///
/// ```
/// let files: fintan_config::Files = toml::from_str("path = 'pictures'")?;
/// assert_eq!(files.path.to_str(), Some("pictures"));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The folder or archive.
    pub path: PathBuf,
}

/// Images as an array `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]`, C = 1 or 3, of bytes or floats.
///
/// ```
/// let npy: fintan_config::Npy = toml::from_str("path = 'images.npy'\nrange = [0, 1]")?;
/// assert_eq!((npy.range, npy.labels), (Some([0.0, 1.0]), None));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Npy {
    /// The `.npy` file.
    pub path: PathBuf,
    /// An `.npy` file of integers, one an image; GAN training does without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The floats that are black and white, such as `[0, 1]` or `[-1, 1]`; bytes have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// Images as one of the arrays of an `.npz` file; shapes and types are those of [`Npy`].
///
/// ```
/// let npz: fintan_config::Npz = toml::from_str("path = 'data.npz'\nname = 'images'")?;
/// assert_eq!(npz.name.as_deref(), Some("images"));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Npz {
    /// The `.npz` file.
    pub path: PathBuf,
    /// The array of images; may be left out where there is no other but the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The array of labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// As in [`Npy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// A drawn function of inputs x, uniform on the sphere `|x| = √n_0`: a sum of polynomials of growing degree,
///
/// `y_o = D^-1/2 Σ_d h_d(u_od · x)`, d = 1..D,
///
/// with h_d the Hermite polynomials of unit variance and u_od random unit directions, one for each output and degree.
/// The outputs have mean 0 and a variance near 1, below it where n_0 is small.
///
/// ```
/// let teacher: fintan_config::Teacher = toml::from_str("degree = 3\nnoise = 0.1")?;
/// assert_eq!((teacher.degree, teacher.noise), (3, 0.1));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Teacher {
    /// D, from 1 (linear) to 8.
    pub degree: u32,
    /// Standard deviation of normal noise on training targets, added before the sign is taken; test targets have none.
    pub noise: f64,
    /// Seed of the function, apart from the experiment's seed, which draws inputs.
    pub seed: u64,
}

impl Default for Teacher {
    fn default() -> Self {
        Self { degree: 3, noise: 0.0, seed: 0 }
    }
}

/// A Gaussian with a power-law spectrum.
///
/// Of vectors: covariance eigenvalues `k^-exponent`, k = 1..512, in a random basis. Of images: random fields of power
/// `max(|f|, 1)^-exponent` at frequency f, channels with 0.8 of their variance in common.
///
/// ```
/// let spectrum: fintan_config::PowerSpectrum = toml::from_str("exponent = 1.3")?;
/// assert_eq!(spectrum.exponent, 1.3);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerSpectrum {
    /// Exponent of the power law.
    pub exponent: f64,
}

fn one_usize() -> usize {
    1
}
