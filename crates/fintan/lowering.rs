//! How convolutions are computed on a GPU: by Burn's kernels or by matrix products, whichever is faster for a network's layers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use fintan_artifact::write_whole;
use fintan_config::{Architecture, Node, Subject, Transform};
use fintan_net::{LargestTensor, Lowering, Mode, PlacedNetwork, Placement};
use fintan_train::{Purpose, stream};

use crate::device::{Device, DeviceClass};

/// The methods that a GPU may use; the loops of [`Lowering::Host`] need tensors in host memory.
const CANDIDATES: [Lowering; 2] = [Lowering::Native, Lowering::Views];

/// Time after which no further layer is measured.
const BUDGET: Duration = Duration::from_millis(700);

/// Runs of a layer that are timed; the least counts.
const REPETITIONS: usize = 3;

/// The key in `env.json`.
pub(crate) const KEY: &str = "lowering";

/// The name of a method in `env.json` and in the cache.
///
/// ```text
/// native: Burn's kernels; views, host: matrix products
/// ```
pub(crate) fn name_of(lowering: Lowering) -> &'static str {
    match lowering {
        Lowering::Native => "native",
        Lowering::Views => "views",
        Lowering::Host => "host",
    }
}

fn by_name(name: &str) -> Option<Lowering> {
    CANDIDATES.into_iter().find(|&lowering| name_of(lowering) == name)
}

/// The networks of a subject, each with the number of samples in a batch of its training.
pub(crate) fn networks_of(subject: &Subject) -> Vec<(&Architecture, usize)> {
    match subject {
        Subject::Gan(gan) => {
            let batch = gan.settings.train.batch;
            vec![(&gan.generator, batch), (&gan.discriminator, batch)]
        }
        Subject::Network(alone) => {
            alone.supervised().map(|experiment| (&alone.network, experiment.task.batch())).into_iter().collect()
        }
    }
}

impl Device {
    /// The device with the faster method for the convolutions of these networks, each with its number of samples.
    ///
    /// Nothing changes on CPUs, whose method is fixed, or if the calling program opened the device. Software adapters take
    /// Burn's kernels, which compile faster. On a GPU the layers are measured, the largest first, for at most about a second.
    /// The choice is kept in the user's cache for the same layers, device and driver, so that two runs make the same one.
    pub(crate) fn for_networks(&self, networks: &[(&Architecture, usize)]) -> Self {
        match &self.kind {
            DeviceClass::Adapter { software: false, identity } => {
                let (lowering, note) = chosen(identity, self, networks, cache_file().as_ref());
                Self { note, ..self.with_lowering(lowering) }
            }
            DeviceClass::Adapter { software: true, .. } | DeviceClass::Cpu | DeviceClass::Foreign => self.clone(),
        }
    }

    /// The device with the method that a run recorded in its `env.json`, whose numbers may depend on it. `None` if it recorded
    /// none, as on a CPU.
    pub(crate) fn as_recorded(&self, machine: &serde_json::Map<String, serde_json::Value>) -> Option<Self> {
        let DeviceClass::Adapter { .. } = self.kind else { return None };
        machine.get(KEY)?.as_str().and_then(by_name).map(|lowering| self.with_lowering(lowering))
    }

    fn with_lowering(&self, lowering: Lowering) -> Self {
        Self { placement: Placement { lowering, ..self.placement.clone() }, ..self.clone() }
    }
}

/// The file of earlier choices.
fn cache_file() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = named("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| named("LOCALAPPDATA"))
        .or_else(|| named("HOME").map(|home| home.join(".cache")))?;
    Some(folder.join("fintan").join("lowering.json"))
}

/// The choice for the convolutions of these networks: from the cache, or measured and then cached. A cache that cannot be read
/// or written only costs the measurement, and gives a remark.
fn chosen(
    identity: &str,
    device: &Device,
    networks: &[(&Architecture, usize)],
    cache: Option<&PathBuf>,
) -> (Lowering, Option<String>) {
    let layers = distinct(networks, device);
    if layers.is_empty() {
        return (Lowering::Native, None);
    }
    let compiler = if cfg!(feature = "gpu") { "gpu" } else { "wgpu" };
    let key = format!("{identity}, {compiler} {}, {}", env!("CARGO_PKG_VERSION"), fingerprint(&layers));
    let (known, mut note) = cache.map_or_else(|| (Choices::new(), None), |file| read(file));
    if let Some(lowering) = known.get(&key).and_then(|name| by_name(name)) {
        return (lowering, note);
    }
    let fastest = measured(&layers, device);
    if let Some(file) = cache {
        // Read again, because another process may have added to it.
        let mut choices = read(file).0;
        choices.insert(key, name_of(fastest).into());
        note = note.or(write(file, &choices));
    }
    (fastest, note)
}

/// Methods by device and layers.
type Choices = BTreeMap<String, String>;

/// The earlier choices, and a remark if there is a file that cannot be read.
fn read(file: &Path) -> (Choices, Option<String>) {
    let ignored = |reason: &dyn std::fmt::Display| {
        let note = format!("`{}` is ignored, and convolutions are measured again: {reason}", file.display());
        (Choices::new(), Some(note))
    };
    match fs_err::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_or_else(|error| ignored(&error), |choices| (choices, None)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Choices::new(), None),
        Err(error) => ignored(&error),
    }
}

/// Writes the choices; returns a remark if this fails.
fn write(file: &Path, choices: &Choices) -> Option<String> {
    let text = serde_json::to_vec_pretty(choices).unwrap_or_default();
    let folder = file.parent().unwrap_or(Path::new("."));
    let written = fs_err::create_dir_all(folder).map_err(|error| error.to_string());
    let written = written.and_then(|()| write_whole(file, &text).map_err(|error| error.to_string()));
    let note = |error| format!("the measured choice for convolutions cannot be kept in `{}`: {error}", file.display());
    written.err().map(note)
}

/// A convolution to measure.
struct Measured<'a> {
    node: &'a Node,
    network: &'a Architecture,
    batch: usize,
    operations: f64,
}

/// The different convolutions of the networks, those with the most operations first.
fn distinct<'a>(networks: &[(&'a Architecture, usize)], device: &Device) -> Vec<Measured<'a>> {
    let mut layers: Vec<Measured> = Vec::new();
    for &(network, batch) in networks {
        for node in network.flat() {
            let (Transform::Conv(_) | Transform::Deconv(_)) = node.transform() else { continue };
            let seen = |other: &Measured| {
                (&other.node.layer, other.node.input, other.batch) == (&node.layer, node.input, batch)
            };
            if layers.iter().any(seen) {
                continue;
            }
            let each = (node.weight_count() * node.weight_sites()) as f64;
            // Both methods must be able to compute it.
            let largest = |lowering| 4.0 * LargestTensor::of_layer(node, lowering).values(batch as f64);
            if CANDIDATES.into_iter().all(|lowering| device.limits.holds(largest(lowering))) {
                layers.push(Measured { node, network, batch, operations: each * batch as f64 });
            }
        }
    }
    layers.sort_by(|a, b| b.operations.total_cmp(&a.operations));
    layers
}

/// A text that is equal for equal layers.
fn fingerprint(layers: &[Measured]) -> String {
    let each = |layer: &Measured| {
        let settings = serde_json::to_string(&layer.node.layer).unwrap_or_default();
        format!("{} x {}: {settings}", layer.batch, layer.node.input)
    };
    layers.iter().map(each).collect::<Vec<_>>().join("; ")
}

/// The method with the least time over the layers that are measured within the budget.
fn measured(layers: &[Measured], device: &Device) -> Lowering {
    let (start, mut sums) = (Instant::now(), [0.0; 2]);
    for layer in layers {
        for (sum, lowering) in sums.iter_mut().zip(CANDIDATES) {
            *sum += seconds(layer, &Placement { lowering, ..device.placement.clone() });
        }
        if start.elapsed() >= BUDGET {
            break;
        }
    }
    CANDIDATES[usize::from(sums[1] < sums[0])]
}

/// Seconds of a forward pass and a pullback of one layer; the first run, which compiles, is not timed.
fn seconds(layer: &Measured, placement: &Placement) -> f64 {
    let Measured { node, network, batch, .. } = *layer;
    let alone = Architecture::new(node.input, std::slice::from_ref(&node.layer), network.parametrization);
    let Ok(alone) = alone else { return 0.0 };
    let placed = PlacedNetwork::init(&alone, &mut stream(0, Purpose::Generator, 0), placement);
    let (shape, options) = (node.input, (&placement.device, placement.dtype));
    let x = Tensor::<4>::ones([batch, shape.height, shape.width, shape.channels], options);
    let pass = || {
        let start = Instant::now();
        let (y, tape) = placed.forward(x.clone(), Mode::Train);
        let (gradients, dx) = (placed.pullback_parameters(&tape, y.clone()), placed.pullback(&tape, y));
        // Reading the values of one sum of each waits for the device; `into_data` alone does not.
        let sums = gradients.into_iter().map(Tensor::sum).chain([dx.sum()]);
        let _ = Tensor::cat(sums.collect(), 0).sum().into_scalar::<f32>();
        start.elapsed().as_secs_f64()
    };
    pass();
    (0..REPETITIONS).map(|_| pass()).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use fintan_config::Subject;

    use super::*;

    const GAN: &str = "
        image = { size = 16, channels = 1 }
        data.shapes.count = 8
        generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
        discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
        train = { steps = 1, batch = 4 }
    ";

    fn gan() -> Subject {
        Subject::parse("gan.toml", GAN, &[]).expect("a valid configuration")
    }

    /// flex runs both candidates, so the choice can be tested without a GPU.
    fn flex() -> Device {
        Device::from(Placement { lowering: Lowering::Native, ..Device::cpu().placement })
    }

    #[test]
    fn layers_are_measured_once_each_and_the_largest_first() {
        let subject = gan();
        let mut networks = networks_of(&subject);
        networks.extend(networks_of(&subject));
        let layers = distinct(&networks, &flex());
        let convolutions = |network: &Architecture| {
            network.flat().iter().filter(|node| ["conv", "deconv"].contains(&node.layer.name())).count()
        };
        assert_eq!(layers.len(), convolutions(networks[0].0) + convolutions(networks[1].0));
        assert!(layers.is_sorted_by(|a, b| a.operations >= b.operations));
    }

    #[test]
    fn a_choice_is_measured_kept_and_read_again() {
        let (subject, folder) = (gan(), tempfile::tempdir().expect("a folder"));
        let (networks, file) = (networks_of(&subject), folder.path().join("deep").join("lowering.json"));
        let (first, note) = chosen("a GPU, driver 1", &flex(), &networks, Some(&file));
        assert_eq!(note, None);
        let choices = read(&file).0;
        assert_eq!(choices.values().map(String::as_str).collect::<Vec<_>>(), [name_of(first)]);
        // The file decides from now on, for this device and driver only.
        let other = CANDIDATES.into_iter().find(|&lowering| lowering != first).expect("two candidates");
        let changed: Choices = choices.into_keys().map(|key| (key, name_of(other).to_owned())).collect();
        assert_eq!(write(&file, &changed), None);
        assert_eq!(chosen("a GPU, driver 1", &flex(), &networks, Some(&file)), (other, None));
        chosen("a GPU, driver 2", &flex(), &networks, Some(&file));
        assert_eq!(read(&file).0.len(), 2);
    }

    /// The first adapter, even if it is software, which is not measured otherwise.
    #[cfg(feature = "wgpu")]
    #[test]
    fn adapters_are_measured_with_both_methods() {
        let Ok(device) = Device::gpu(0) else { return };
        let subject = gan();
        let layers = distinct(&networks_of(&subject), &device);
        assert!(!layers.is_empty());
        for lowering in CANDIDATES {
            let seconds = seconds(&layers[0], &Placement { lowering, ..device.placement.clone() });
            assert!(seconds.is_finite() && seconds > 0.0, "{lowering:?}: {seconds}");
        }
        let (lowering, note) = chosen("the first adapter", &device, &networks_of(&subject), None);
        assert!(CANDIDATES.contains(&lowering) && note.is_none());
    }

    #[test]
    fn a_cache_that_is_damaged_or_cannot_be_written_gives_a_note() {
        let (subject, folder) = (gan(), tempfile::tempdir().expect("a folder"));
        let (networks, damaged) = (networks_of(&subject), folder.path().join("lowering.json"));
        fs_err::write(&damaged, "{ no JSON").expect("written");
        let (_, note) = chosen("a GPU", &flex(), &networks, Some(&damaged));
        assert!(note.is_some_and(|note| note.contains("lowering.json` is ignored")));
        // It was replaced.
        assert_eq!(read(&damaged).0.len(), 1);
        let below_a_file = damaged.join("lowering.json");
        let (_, note) = chosen("a GPU", &flex(), &networks, Some(&below_a_file));
        assert!(note.is_some());
    }

    #[test]
    fn a_method_that_needs_too_large_a_tensor_is_no_candidate() {
        let subject = gan();
        let mut device = flex();
        device.limits.largest_tensor = Some(1.0);
        assert!(distinct(&networks_of(&subject), &device).is_empty());
        assert_eq!(chosen("a GPU", &device, &networks_of(&subject), None), (Lowering::Native, None));
    }

    #[test]
    fn a_recorded_choice_is_taken_on_gpus_only() {
        let machine = serde_json::json!({ "lowering": "views" }).as_object().cloned().expect("an object");
        let gpu = Device { kind: DeviceClass::Adapter { identity: "a GPU".into(), software: false }, ..flex() };
        assert_eq!(gpu.as_recorded(&machine).map(|device| device.placement.lowering), Some(Lowering::Views));
        assert!(gpu.as_recorded(&serde_json::Map::new()).is_none());
        assert!(Device::cpu().as_recorded(&machine).is_none());
    }
}
