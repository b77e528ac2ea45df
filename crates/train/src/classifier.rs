//! A small classifier trained on the data set itself. It provides features and classes of samples if no other network is
//! given.

use burn::tensor::{DType, Tensor, TensorData};
use fintan_config::{
    Activation, Adam, Architecture, Convolution, Empty, Function, Init, Layer, LayerRates, LossFunction,
    OptimizerSettings, Parametrization, Shape, Standard,
};
use fintan_data::{DataError, Images, Order};
use fintan_metrics::{Features, Samples, Tick};
use fintan_net::weights::{Tensors, WeightsError, fitting};
use fintan_net::{Mode, PlacedNetwork, Placement};

use crate::gan::real_samples;
use crate::optimizer::{Optimizer, rates};
use crate::task_loss::cotangent;
use fintan_data::{Purpose, stream};

/// Number of images in one forward pass when the network is only evaluated.
const CHUNK: usize = 256;

/// Largest number of held-out images used for an accuracy.
const TESTED: usize = 4096;

/// A data set divided into halves by a fixed shuffle. Samples are compared with the reference half; the held-out half gives
/// the same metrics for the data themselves.
///
/// ```
/// let halves = fintan_train::Halves::of(5);
/// assert_eq!((halves.reference.len(), halves.held_out.len()), (2, 2));
/// assert!(halves.reference.iter().all(|image| !halves.held_out.contains(image)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halves {
    /// Images with which samples are compared and on which classifiers are trained.
    pub reference: Vec<usize>,
    /// The other images.
    pub held_out: Vec<usize>,
}

impl Halves {
    /// The halves of `count` images; if the number is odd, one image is left out.
    #[must_use]
    pub fn of(count: usize) -> Self {
        let mut reference = if count == 0 { Vec::new() } else { Order::new(0, count, 0).take(count / 2 * 2) };
        let held_out = reference.split_off(count / 2);
        Self { reference, held_out }
    }
}

/// Settings of the training of a classifier: Adam on cross-entropy.
///
/// ```
/// use fintan_train::ClassifierSettings;
///
/// let quick = ClassifierSettings { steps: 50, ..ClassifierSettings::default() };
/// assert!(quick.steps < ClassifierSettings::default().steps);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassifierSettings {
    /// Seed of weights and order of the data.
    pub seed: u64,
    /// Number of steps.
    pub steps: u64,
    /// Images in a step.
    pub batch: usize,
    /// Learning rate.
    pub rate: f64,
    /// Number of features of an image.
    pub features: usize,
}

impl Default for ClassifierSettings {
    fn default() -> Self {
        Self { seed: 0, steps: 500, batch: 128, rate: 1e-3, features: 64 }
    }
}

/// A trained classifier.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::Experiment;
/// use fintan_data::Images;
/// use fintan_net::{Lowering, Placement};
/// use fintan_train::{Classifier, ClassifierSettings, Halves, real_samples};
///
/// let text = "
///     image = { size = 8, channels = 1 }
///     data.shapes.count = 16
///     generator = { latent = 4, fc.widths = [8], optimizer.adam.rate = 1e-3 }
///     discriminator = { fc.widths = [8], optimizer.adam.rate = 1e-3 }
///     train = { steps = 2, batch = 4 }
/// ";
/// let experiment = Experiment::parse("toy.toml", text, &[])?;
/// let images = Images::load(&experiment.settings.data, &experiment.settings.image, None)?;
/// let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// let settings = ClassifierSettings { steps: 1, batch: 4, features: 6, ..ClassifierSettings::default() };
/// let classifier = Classifier::train(&images, &Halves::of(images.len()), &settings, &cpu, &|_| {})?;
/// assert_eq!(classifier.trained, 8);
/// let (features, classes) = classifier.look(&real_samples(&images, &[0, 1, 2]), &|_| {});
/// assert_eq!((features.width, classes.len()), (6, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Classifier {
    network: PlacedNetwork,
    /// The network below its last layer.
    trunk: PlacedNetwork,
    placement: Placement,
    /// Labels, in the order of the outputs.
    pub labels: Vec<u8>,
    /// Fraction of each class in the whole data set.
    pub shares: Vec<f64>,
    /// Fraction of held-out images that are classified correctly.
    pub accuracy: f64,
    /// Number of held-out images in the accuracy.
    pub tested: usize,
    /// Number of images on which it was trained.
    pub trained: usize,
}

/// Convolutions of stride 2 until the map is at most 4x4, then a dense layer of features, then one of classes.
fn architecture(image: Shape, features: usize, classes: usize) -> [Architecture; 2] {
    let relu = || Layer::Activation(Activation::raw(Function::Relu));
    let mut layers = Vec::new();
    let mut size = image.height;
    let mut channels = 32;
    while size > 4 {
        let stride = Convolution {
            out: channels,
            kernel: 4.into(),
            stride: 2.into(),
            padding: 1.into(),
            output_padding: 0.into(),
            init: None,
        };
        layers.extend([Layer::Conv(stride), relu()]);
        size /= 2;
        channels = 64;
    }
    layers.extend([Layer::Flatten(Empty {}), Layer::Dense(features.into()), relu()]);
    let he = Parametrization::Standard(Standard { init: Init::He, bias_std: 0.0 });
    let build = |layers: &[Layer]| Architecture::new(image, layers, he).expect("halved while larger than 4");
    let trunk = build(&layers);
    layers.push(Layer::Dense(classes.into()));
    [build(&layers), trunk]
}

impl Classifier {
    /// Trains a classifier on the reference half, and tests it on the other half. A seed determines the classifier on each
    /// device.
    ///
    /// # Errors
    /// Data without labels, or with a single class.
    ///
    /// # Panics
    /// Never, because its layers fit images of any size.
    pub fn train(
        images: &Images,
        halves: &Halves,
        settings: &ClassifierSettings,
        placement: &Placement,
        tick: Tick,
    ) -> Result<Self, DataError> {
        let mut classifier = Self::untrained(images, halves, settings, placement)?;
        let adam = OptimizerSettings::Adam(Adam { rate: settings.rate, beta1: 0.9, beta2: 0.999, eps: 1e-8 });
        let network = &mut classifier.network;
        let mut optimizer = Optimizer::new(&adam, rates(network.architecture(), &adam, &LayerRates::Off));
        let mut order = Order::new(settings.seed, halves.reference.len(), 0);
        let targets = targets(images, &classifier.labels);
        let classes = classifier.labels.len();
        for _ in 0..settings.steps {
            let chosen: Vec<usize> = order
                .take(settings.batch.min(halves.reference.len()))
                .into_iter()
                .map(|i| halves.reference[i])
                .collect();
            let x = images.batch(&chosen, &[], &placement.device);
            // One-hot minus 1/k, the targets that the cotangent function expects.
            let one_hot = chosen.iter().flat_map(|&i| (0..classes).map(move |class| (i, class)));
            let y: Vec<f32> =
                one_hot.map(|(i, class)| f32::from(u8::from(targets[i] == class)) - 1.0 / classes as f32).collect();
            let y = Tensor::from_data(TensorData::new(y, [chosen.len(), 1, 1, classes]), &placement.device);
            let (outputs, tape) = network.forward(x, Mode::Train);
            let gradients = network.pullback_parameters(&tape, cotangent(outputs, y, LossFunction::CrossEntropy));
            *network = network.with_parameters(optimizer.step(network.parameters(), gradients, 1.0));
            tick(1);
        }
        let tested = &halves.held_out[..halves.held_out.len().min(TESTED)];
        classifier.share_trunk();
        let (_, found) = classifier.look(&real_samples(images, tested), &|_| ());
        let right = tested.iter().zip(found).filter(|(i, class)| targets[**i] == *class).count();
        classifier.accuracy = right as f64 / tested.len().max(1) as f64;
        classifier.tested = tested.len();
        Ok(classifier)
    }

    /// A classifier with random weights.
    fn untrained(
        images: &Images,
        halves: &Halves,
        settings: &ClassifierSettings,
        placement: &Placement,
    ) -> Result<Self, DataError> {
        let wrong = |message: &str| DataError::Labels { origin: images.source.clone(), message: message.into() };
        let Some(all) = &images.labels else { return Err(wrong("has no labels")) };
        let mut counts = [0_usize; 256];
        for &label in all {
            counts[usize::from(label)] += 1;
        }
        let labels: Vec<u8> = (0..=u8::MAX).filter(|&label| counts[usize::from(label)] > 0).collect();
        if labels.len() < 2 {
            return Err(wrong("has labels of one class only"));
        }
        let shares = labels.iter().map(|&label| counts[usize::from(label)] as f64 / all.len() as f64).collect();
        let image = Shape::image(images.channels, images.size, images.size);
        let [whole, trunk] = architecture(image, settings.features, labels.len());
        let draw = |architecture| {
            PlacedNetwork::init(architecture, &mut stream(settings.seed, Purpose::Classifier, 0), placement)
        };
        let (network, trunk) = (draw(&whole), draw(&trunk));
        let trained = halves.reference.len();
        let placement = placement.clone();
        Ok(Self { network, trunk, placement, labels, shares, accuracy: 0.0, tested: 0, trained })
    }

    fn share_trunk(&mut self) {
        let mut parameters = self.network.parameters();
        parameters.truncate(self.trunk.parameters().len());
        self.trunk = self.trunk.with_parameters(parameters);
    }

    /// Its weights and accuracy as tensors, for storage.
    #[must_use]
    pub fn to_tensors(&self) -> Tensors {
        let mut tensors = self.network.to_tensors();
        for (name, value) in [("accuracy", self.accuracy), ("tested", self.tested as f64)] {
            tensors.insert(name.into(), TensorData::new(vec![value], [1]));
        }
        tensors
    }

    /// Restores a stored classifier.
    ///
    /// # Errors
    /// Data without labels; as the inner error, tensors that belong to another classifier.
    pub fn from_tensors(
        images: &Images,
        halves: &Halves,
        settings: &ClassifierSettings,
        placement: &Placement,
        tensors: &Tensors,
    ) -> Result<Result<Self, WeightsError>, DataError> {
        let mut classifier = Self::untrained(images, halves, settings, placement)?;
        let number =
            |name: &str| Ok(fitting(tensors, name, &[1], DType::F64)?.iter::<f64>().next().unwrap_or(f64::NAN));
        let mut weights = tensors.clone();
        weights.retain(|name, _| !["accuracy", "tested"].contains(&name.as_str()));
        let fit = || -> Result<Self, WeightsError> {
            classifier.accuracy = number("accuracy")?;
            classifier.tested = number("tested")? as usize;
            classifier.network = classifier.network.with_tensors(&weights)?;
            classifier.share_trunk();
            Ok(classifier)
        };
        Ok(fit())
    }

    /// Features and classes of images. A class is an index into [`Classifier::labels`].
    #[must_use]
    pub fn look(&self, samples: &Samples, tick: Tick) -> (Features, Vec<usize>) {
        let features = features(&self.trunk, samples, &self.placement, tick);
        let last = self.network.parameters().split_off(self.trunk.parameters().len());
        let [weights, biases] = [0, 1].map(|i| last[i].to_data().iter::<f64>().collect::<Vec<_>>());
        let classes = self.labels.len();
        let class = |row: &[f64]| {
            let logit =
                |k: usize| biases[k] + row.iter().enumerate().map(|(i, f)| f * weights[i * classes + k]).sum::<f64>();
            let logits: Vec<f64> = (0..classes).map(logit).collect();
            (1..classes).fold(0, |best, k| if logits[k] > logits[best] { k } else { best })
        };
        let found = features.rows().map(class).collect();
        (features, found)
    }
}

/// The class of each image, as an index into `labels`.
fn targets(images: &Images, labels: &[u8]) -> Vec<usize> {
    let all = images.labels.as_deref().unwrap_or_default();
    all.iter().map(|label| labels.binary_search(label).unwrap_or(0)).collect()
}

/// Outputs of a network on images, converted to f64, as features.
#[must_use]
pub fn features(network: &PlacedNetwork, samples: &Samples, placement: &Placement, tick: Tick) -> Features {
    let len = samples.size * samples.size * samples.channels;
    let mut values = Vec::new();
    for chunk in samples.values.chunks(CHUNK * len) {
        let n = chunk.len() / len;
        let shape = [n, samples.size, samples.size, samples.channels];
        let x = Tensor::<4>::from_data(TensorData::new(chunk.to_vec(), shape), &placement.device);
        values.extend(network.forward(x, Mode::Eval).0.into_data().iter::<f64>());
        tick(n);
    }
    Features { values, width: network.architecture().output().len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};
    use fintan_config::{DataSource, Fit, Image, Shapes};
    use fintan_net::Lowering;

    fn placement() -> Placement {
        Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host }
    }

    fn shapes(count: usize, size: usize) -> Images {
        let wanted = Image { size, channels: 1, fit: Fit::Resize, background: 0, flip: false };
        Images::load(&DataSource::Shapes(Shapes { count, seed: 0 }), &wanted, None).expect("drawn")
    }

    #[test]
    fn halves_share_no_image() {
        let Halves { reference, held_out } = Halves::of(11);
        assert_eq!((reference.len(), held_out.len()), (5, 5));
        let mut all = [reference, held_out].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10);
    }

    /// The accuracy is far above the share of the largest class, and a stored classifier gives the same features.
    #[test]
    fn a_classifier_learns_and_is_kept() {
        let (images, halves) = (shapes(1200, 16), Halves::of(1200));
        let settings = ClassifierSettings { steps: 150, batch: 32, features: 24, ..ClassifierSettings::default() };
        let train = || Classifier::train(&images, &halves, &settings, &placement(), &|_| ()).expect("labelled");
        let trained = train();
        assert_eq!((trained.labels.len(), trained.tested, trained.trained), (12, 600, 600));
        assert!(trained.accuracy > 0.4, "{}", trained.accuracy);
        assert!((trained.shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let held = real_samples(&images, &halves.held_out[..64]);
        let (features, classes) = trained.look(&held, &|_| ());
        assert_eq!((features.width, features.len(), classes.len()), (24, 64, 64));
        assert_eq!(train().look(&held, &|_| ()).0, features);
        // The classes are those of the whole network.
        let x = images.batch(&halves.held_out[..64], &[], &Device::flex());
        let logits: Vec<f32> = trained.network.forward(x, Mode::Eval).0.into_data().iter().collect();
        for (logits, &class) in logits.chunks_exact(12).zip(&classes) {
            assert!(logits.iter().all(|&l| l <= logits[class] + 1e-4));
        }
        let kept = trained.to_tensors();
        let again = Classifier::from_tensors(&images, &halves, &settings, &placement(), &kept);
        let again = again.expect("labelled").expect("fits");
        assert_eq!((again.look(&held, &|_| ()).0, again.accuracy), (features, trained.accuracy));
        let other = ClassifierSettings { features: 25, ..settings };
        assert!(Classifier::from_tensors(&images, &halves, &other, &placement(), &kept).expect("labelled").is_err());
    }

    #[test]
    fn data_without_classes_are_refused() {
        let mut images = shapes(40, 8);
        let said = |images: &Images| {
            let settings = ClassifierSettings { steps: 1, ..ClassifierSettings::default() };
            let trained = Classifier::train(images, &Halves::of(40), &settings, &placement(), &|_| ());
            trained.err().expect("refused").to_string()
        };
        images.labels = Some(vec![3; 40]);
        assert!(said(&images).ends_with("has labels of one class only"));
        images.labels = None;
        assert!(said(&images).ends_with("has no labels"));
    }
}
