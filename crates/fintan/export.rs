//! Exports a generator for other programs, and reads networks that come from other programs.

use std::path::Path;

use fintan_artifact::{Draft, write_npz};
use fintan_config::{Description, Held, MemoryBound};
use fintan_net::PlacedNetwork;
use fintan_net::weights::{read_safetensors, write_safetensors};
use fintan_train::{Purpose, stream};

use crate::device::Device;
use crate::error::Error;
use crate::memory::free_memory;
use crate::samples::{GeneratorError, TrainedGenerator};

/// The file that rebuilds the generator elsewhere.
const LOADER: &str = include_str!("generator.py");

/// Number of samples in `samples.npz`, to check a loader.
const CHECKED: usize = 16;

/// Writes a folder with the generator of a checkpoint (by default the newest one) for other programs.
///
/// The folder holds `generator.safetensors` (parameters in PyTorch's layouts), `generator.json` (the layers with every
/// constant), `generator.py` (a loader for NumPy and PyTorch) and `samples.npz` (16 latents with their images, to check a
/// loader). The folder appears complete or not at all.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("tiny.toml");
/// # fs_err::write(&config, "
/// #     image = { size = 16, channels = 1 }
/// #     data.shapes.count = 16
/// #     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 1, batch = 4, grid = [2, 2] }
/// # ")?;
/// use fintan::{Device, TrainedGenerator};
///
/// let run = fintan::train(&config).out(folder.path().join("run")).device(Device::cpu()).run()?;
/// let out = folder.path().join("generator");
/// fintan::export(run.root(), None, &Device::cpu(), &out)?;
/// let again = TrainedGenerator::open(&out, None, &Device::cpu())?;
/// assert_eq!(again.step(), None);
/// assert_eq!(again.samples(4).seed(0).draw()?.images(), run.samples(4)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the folder exists, with the errors of [`TrainedGenerator::open`], or with errors of the file system.
pub fn export(
    run: impl AsRef<Path>,
    step: Option<u64>,
    device: &Device,
    out: impl AsRef<Path>,
) -> Result<TrainedGenerator, Error> {
    let (run, out) = (run.as_ref(), out.as_ref());
    if is_export(run) {
        return Err(GeneratorError::AlreadyExported(run.into()).into());
    }
    if out.exists() {
        return Err(GeneratorError::Exists(out.into()).into());
    }
    let generator = TrainedGenerator::open(run, step, device)?;
    let drawn = generator.samples(CHECKED).draw()?;
    let described = Description::of(generator.architecture());
    let described = serde_json::to_string_pretty(&described).map_err(std::io::Error::other)?;
    let draft = Draft::at(out)?;
    draft.write("generator.safetensors", &write_safetensors(&generator.network.to_tensors()))?;
    draft.write("generator.json", format!("{described}\n").as_bytes())?;
    draft.write("generator.py", LOADER.as_bytes())?;
    write_npz(&draft.path().join("samples.npz"), &[("latents", drawn.latents()), ("images", drawn.images())])?;
    draft.publish()?;
    Ok(generator)
}

/// Whether a folder was written by [`export`](crate::export()).
///
/// ```
/// assert!(!fintan::parts::is_export("runs".as_ref()));
/// ```
#[must_use]
pub fn is_export(path: &Path) -> bool {
    path.join("generator.json").is_file() && path.join("generator.safetensors").is_file()
}

/// Reads a network from a safetensors file with its description as JSON beside it.
pub(crate) fn read_exported(weights: &Path, device: &Device) -> Result<PlacedNetwork, Error> {
    let beside = weights.with_extension("json");
    let bytes = fs_err::read(weights)?;
    let wrong =
        |path: &Path, e: &dyn std::fmt::Display| GeneratorError::File { path: path.into(), message: e.to_string() };
    let tensors = read_safetensors(&bytes).map_err(|e| wrong(weights, &e))?;
    if !beside.is_file() {
        return Err(GeneratorError::NoDescription(beside).into());
    }
    let text = fs_err::read(&beside)?;
    let described: Description = serde_json::from_slice(&text).map_err(|e| wrong(&beside, &e))?;
    let architecture = described.architecture().map_err(|e| wrong(&beside, &e))?;
    let memory = MemoryBound { held: Held::Parameters, free: free_memory() };
    memory.admit(&architecture).map_err(|e| wrong(&beside, &format!("`{}`: {}", e.key, e.message)))?;
    let drawn = PlacedNetwork::init(&architecture, &mut stream(0, Purpose::Generator, 0), &device.placement);
    Ok(drawn.with_tensors(&tensors).map_err(|e| wrong(weights, &e))?)
}
