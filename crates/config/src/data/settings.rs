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
    /// Seed of the drawings, independent of the experiment's seed.
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
    /// The label file, such as `train-labels-idx1-ubyte.gz`. GAN training does not need it.
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
    /// Number of labels at the start of a record: 1 in CIFAR-10, 2 in CIFAR-100.
    #[serde(default = "one_usize")]
    pub labels: usize,
}

/// Image files. If they are in at least two folders, the folder of a file is its class.
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

/// An image array `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` of bytes or floats, with C = 1 or 3.
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
    /// An `.npy` file with an integer for each image. GAN training does not need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// For floats, the values of black and white, such as `[0, 1]` or `[-1, 1]`. Bytes have no range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// Images in one of the arrays of an `.npz` file. Shapes and types are those of [`Npy`].
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
    /// The name of the image array. It can be left out if there is no other array but the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the array of labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// The range of floats, as in [`Npy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// A random function of inputs x that are uniform on the sphere `|x| = √n_0`: a sum of polynomials of degree 1 to D,
///
/// `y_o = D^-1/2 Σ_d h_d(u_od · x)`, d = 1..D,
///
/// where h_d are the Hermite polynomials of unit variance, and u_od are random unit directions, one for each output and degree.
/// The outputs have mean 0. Their variance is near 1, and below 1 if n_0 is small.
///
/// ```
/// let teacher: fintan_config::Teacher = toml::from_str("degree = 3\nnoise = 0.1")?;
/// assert_eq!((teacher.degree, teacher.noise), (3, 0.1));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Teacher {
    /// The largest degree D, from 1 (linear) to 8.
    pub degree: u32,
    /// Standard deviation of normal noise on training targets, added before the sign is taken. Test targets have no noise.
    pub noise: f64,
    /// Seed of the function. Inputs are drawn from the experiment's seed.
    pub seed: u64,
}

impl Default for Teacher {
    fn default() -> Self {
        Self { degree: 3, noise: 0.0, seed: 0 }
    }
}

/// Gaussian inputs with a power-law spectrum.
///
/// For vectors, the covariance has eigenvalues `k^-exponent`, k = 1..512, in a random basis. Images are random fields with
/// power `max(|f|, 1)^-exponent` at frequency f. Their channels have 0.8 of their variance in common.
///
/// ```
/// let spectrum: fintan_config::PowerSpectrum = toml::from_str("exponent = 1.3")?;
/// assert_eq!(spectrum.exponent, 1.3);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerSpectrum {
    /// The exponent of the power law.
    pub exponent: f64,
}

fn one_usize() -> usize {
    1
}
