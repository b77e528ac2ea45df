//! Features of samples and data, from a classifier that is trained on the data or from a network that the user provides. Both
//! are kept in a folder beside the run, so that the next evaluation on the same data is fast.

use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use fintan_artifact::{ClassifierRecord, write_whole};
use fintan_config::Shape;
use fintan_data::{DataError, Images, fingerprint};
use fintan_metrics::{Features, Samples};
use fintan_net::PlacedNetwork;
use fintan_net::weights::{Tensors, read_safetensors, write_safetensors};
use fintan_train::{Classifier, ClassifierSettings, Halves, features};

use super::{EvaluationError, EvaluationEvent, Listener};
use crate::device::Device;
use crate::error::Error;
use crate::export::read_exported;

/// Increased whenever classifiers are trained in another way.
const VERSION: u32 = 1;

/// The files that are kept between evaluations.
pub(super) struct Cache<'a> {
    folder: PathBuf,
    listener: Listener<'a>,
}

impl<'a> Cache<'a> {
    /// The cache in the folder beside a run.
    pub(super) fn beside(run: &Path, listener: Listener<'a>) -> Self {
        let run = fs_err::canonicalize(run).unwrap_or_else(|_| run.into());
        Self { folder: run.parent().unwrap_or(&run).join(".fintan-cache"), listener }
    }

    fn read(&self, name: &str) -> Option<Tensors> {
        // A file that is missing or damaged is computed again.
        fs_err::read(self.folder.join(name)).ok().and_then(|bytes| read_safetensors(&bytes).ok())
    }

    fn keep(&self, name: &str, tensors: &Tensors) {
        if let Err(reason) = write_whole(&self.folder.join(name), &write_safetensors(tensors)) {
            self.listener.tell(EvaluationEvent::NotKept { reason: &reason });
        }
    }
}

/// A classifier of the data, and its record.
pub(super) struct Trained {
    pub(super) classifier: Classifier,
    pub(super) record: ClassifierRecord,
    key: u64,
}

impl Trained {
    /// Reads the classifier of these data, or trains it.
    pub(super) fn of(
        images: &Images,
        halves: &Halves,
        steps: u64,
        device: &Device,
        cache: &Cache,
    ) -> Result<Self, DataError> {
        let settings = ClassifierSettings { steps, ..ClassifierSettings::default() };
        let said = format!("{VERSION} {settings:?} {}", device.name);
        let key = fingerprint(&[&images.fingerprint().to_le_bytes(), said.as_bytes()]);
        let name = format!("classifier-{key:016x}.safetensors");
        let kept = match cache.read(&name) {
            Some(tensors) => Classifier::from_tensors(images, halves, &settings, &device.placement, &tensors)?.ok(),
            None => None,
        };
        let classifier = if let Some(kept) = kept {
            kept
        } else {
            let tick = cache.listener.work("classifier", steps as usize);
            let trained = Classifier::train(images, halves, &settings, &device.placement, &tick)?;
            cache.keep(&name, &trained.to_tensors());
            trained
        };
        let record = ClassifierRecord {
            accuracy: classifier.accuracy,
            tested: classifier.tested,
            trained: classifier.trained,
            steps,
            features: settings.features,
            classes: classifier.labels.len(),
        };
        Ok(Self { classifier, record, key })
    }
}

/// A network of features that the user provides.
pub(super) struct Brought {
    network: PlacedNetwork,
    name: String,
    key: u64,
}

impl Brought {
    /// Reads the network and checks that it accepts images of this shape.
    pub(super) fn read(path: &Path, image: Shape, device: &Device) -> Result<Self, Error> {
        let network = read_exported(path, device)?;
        let (input, output) = (network.architecture().input, network.architecture().output());
        if input != image {
            return Err(EvaluationError::FeatureInput { path: path.into(), input, image }.into());
        }
        if !output.is_vector() {
            return Err(EvaluationError::FeatureOutput { path: path.into(), output }.into());
        }
        let [weights, described] = [path.to_path_buf(), path.with_extension("json")].map(fs_err::read);
        let key = fingerprint(&[&weights?, &described?]);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { network, name, key })
    }
}

/// The network that computes features.
pub(super) enum Extractor {
    Trained(Trained),
    Brought(Brought),
}

/// Features, and the classes if a classifier computes them.
pub(super) type Seen = (Features, Vec<usize>);

impl Extractor {
    /// A description of the source, shown beside each number.
    pub(super) fn name(&self, width: usize) -> String {
        match self {
            Self::Trained(Trained { record, .. }) => {
                let right = 100.0 * record.accuracy;
                format!("classifier of the data, {width} features, {right:.1} % right on {}", record.tested)
            }
            Self::Brought(Brought { name, key, .. }) => format!("{name} ({key:016x}), {width} features"),
        }
    }

    fn has_classes(&self) -> bool {
        matches!(self, Self::Trained(_))
    }

    pub(super) fn see(&self, samples: &Samples, device: &Device, listener: Listener) -> Seen {
        let tick = listener.work("features", samples.len());
        match self {
            Self::Trained(trained) => trained.classifier.look(samples, &tick),
            Self::Brought(brought) => (features(&brought.network, samples, &device.placement, &tick), Vec::new()),
        }
    }

    /// Features of the two halves of the data, which are cached.
    pub(super) fn see_data(
        &self,
        [reference, held_out]: [&Samples; 2],
        images: &Images,
        device: &Device,
        cache: &Cache,
    ) -> [Seen; 2] {
        let key = match self {
            Self::Trained(trained) => trained.key,
            Self::Brought(brought) => brought.key,
        };
        let said = format!("{VERSION} {} {}", reference.len(), device.name);
        let key = fingerprint(&[&key.to_le_bytes(), &images.fingerprint().to_le_bytes(), said.as_bytes()]);
        let name = format!("features-{key:016x}.safetensors");
        if let Some(kept) = cache.read(&name)
            && let (Some(a), Some(b)) = (
                unpack(&kept, "reference", reference.len(), self.has_classes()),
                unpack(&kept, "held_out", held_out.len(), self.has_classes()),
            )
            && a.0.width == b.0.width
        {
            return [a, b];
        }
        let seen = [reference, held_out].map(|samples| self.see(samples, device, cache.listener));
        let mut tensors = Tensors::new();
        for ((features, classes), name) in seen.iter().zip(["reference", "held_out"]) {
            let shape = [features.len(), features.width];
            tensors.insert(format!("{name}.features"), TensorData::new(features.values.clone(), shape));
            let classes: Vec<f64> = classes.iter().map(|&class| class as f64).collect();
            let count = classes.len();
            tensors.insert(format!("{name}.classes"), TensorData::new(classes, [count]));
        }
        cache.keep(&name, &tensors);
        seen
    }
}

/// The cached features of `count` images, or `None` if the file is damaged. Then they are computed again.
fn unpack(tensors: &Tensors, name: &str, count: usize, has_classes: bool) -> Option<Seen> {
    let features = tensors.get(&format!("{name}.features"))?;
    let [found, width] = features.shape().to_vec().try_into().ok()?;
    let values: Vec<f64> = features.iter::<f64>().collect();
    let classes: Vec<f64> = tensors.get(&format!("{name}.classes"))?.iter::<f64>().collect();
    let whole =
        classes.iter().all(|class| *class >= 0.0 && class.fract() == 0.0) && values.iter().all(|v| v.is_finite());
    let counted = found == count && width > 0 && classes.len() == if has_classes { count } else { 0 };
    let classes = classes.into_iter().map(|class| class as usize).collect();
    (whole && counted).then_some((Features { values, width }, classes))
}
