//! The training and test samples of a supervised task on the host: inputs with targets.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_config::{DataSource, InputScale, Reader, Shape, SupervisedExperiment, TaskGoal};
use rand::seq::SliceRandom as _;

use crate::error::DataError;
use crate::images::{Images, fingerprint};
use crate::seeds::{Purpose, stream};
use crate::teacher;

/// Inputs with targets.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::Shape;
/// use fintan_data::Examples;
///
/// let inputs = vec![1.0, 2.0, 3.0, 4.0];
/// let examples = Examples { inputs, targets: vec![-1.0, 1.0], input: Shape::vector(2), outputs: 1 };
/// assert_eq!(examples.len(), 2);
/// let batch = examples.batch(1..2, &Device::flex(), DType::F32);
/// assert_eq!(batch.to_data().try_to_vec::<f32>()?, [3.0, 4.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    /// `[count, values of an input]`, row-major. Images are in channel, row, column order.
    pub inputs: Vec<f32>,
    /// `[count, outputs]`, row-major.
    pub targets: Vec<f32>,
    /// Shape of one input.
    pub input: Shape,
    /// Number of values of one target.
    pub outputs: usize,
}

/// Training and test samples of a task.
///
/// ```
/// use fintan_config::Subject;
/// use fintan_data::TaskData;
///
/// let text = "
///     network = { input = 4, outputs = 1, fc.widths = [8] }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// ";
/// let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// let data = TaskData::load(&network.supervised().expect("a task"), None)?;
/// assert_eq!((data.train.len(), data.test.len()), (8, 16));
/// // Inputs are on the sphere |x|² = 4.
/// assert!((data.train.inputs[..4].iter().map(|x| x * x).sum::<f32>() - 4.0).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TaskData {
    /// The training samples.
    pub train: Examples,
    /// The test samples; none of them is a training sample.
    pub test: Examples,
    /// A description of the source.
    pub source: String,
    /// Notes for the user about the files; see [`Images::remarks`].
    pub remarks: Vec<String>,
    /// The label of each class, in the order of the outputs; empty for regression.
    pub classes: Vec<u8>,
}

impl Examples {
    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inputs.len() / self.input.len()
    }

    /// Whether there is no sample. [`TaskData::load`] never returns an empty set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The inputs of a range of samples, in the form that networks take.
    ///
    /// # Shapes
    /// - returns `[rows, height, width, channels]`
    ///
    /// # Panics
    /// Panics if there are fewer samples.
    #[must_use]
    pub fn batch(&self, rows: Range<usize>, device: &Device, dtype: DType) -> Tensor<4> {
        let (n, Shape { channels, height, width }) = (rows.len(), self.input);
        let values = self.inputs[rows.start * self.input.len()..rows.end * self.input.len()].to_vec();
        let data = TensorData::new(values, [n, channels, height, width]).convert_dtype(dtype);
        Tensor::<4>::from_data(data, (device, dtype)).permute([0, 2, 3, 1])
    }

    /// All targets, in the form of a network's outputs.
    ///
    /// # Shapes
    /// - returns `[count, 1, 1, outputs]`
    #[must_use]
    pub fn targets(&self, device: &Device, dtype: DType) -> Tensor<4> {
        let data = TensorData::new(self.targets.clone(), [self.len(), 1, 1, self.outputs]);
        Tensor::from_data(data.convert_dtype(dtype), (device, dtype))
    }
}

impl TaskData {
    /// A fingerprint of inputs and targets as training uses them; see [`fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let sets = [&self.train, &self.test];
        let parts: Vec<Vec<u8>> = sets.iter().flat_map(|set| [bytes(&set.inputs), bytes(&set.targets)]).collect();
        fingerprint(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Reads or draws the samples of a task. They are a subset that depends on the seed: training samples come from the start
    /// of a shuffled order, test samples from its end. Thus neither set depends on the size of the other.
    ///
    /// # Errors
    /// The errors of [`Images::load`]. Also fails if labels are missing or do not fit the outputs, or if there are fewer
    /// samples than requested.
    ///
    /// # Panics
    /// Never panics for an experiment that was checked.
    pub fn load(experiment: &SupervisedExperiment, free: Option<f64>) -> Result<Self, DataError> {
        let input = experiment.network.input;
        let data = experiment.data;
        match data {
            DataSource::Teacher(settings) => Ok(teacher::draw(settings, experiment)),
            DataSource::Shapes(_)
            | DataSource::Idx(_)
            | DataSource::Cifar(_)
            | DataSource::Folder(_)
            | DataSource::Tar(_)
            | DataSource::Zip(_)
            | DataSource::Npy(_)
            | DataSource::Npz(_) => {
                let wanted = data.image(input).expect("checked to be square images");
                labelled(&Images::load(data, &wanted, free)?, data.how_to_label(), experiment)
            }
            DataSource::Iid(_) | DataSource::Spectrum(_) => Err(DataError::Refused(Reader::Task.refusal(data.kind()))),
        }
    }
}

/// The subset of labelled images for a task.
fn labelled(images: &Images, how: &str, experiment: &SupervisedExperiment) -> Result<TaskData, DataError> {
    let SupervisedExperiment { seed, network, task, .. } = *experiment;
    let outputs = network.output().len();
    let wrong = |message: String| DataError::Labels { origin: images.source.clone(), message };
    let Some(labels) = &images.labels else {
        let why = images.notes.first().map_or(String::new(), |note| format!("; {note}"));
        return Err(wrong(format!("has no labels, which classification needs; {how}{why}")));
    };
    let mut counts = [0_usize; 256];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    let count = |class: u8| counts[usize::from(class)];
    let present: Vec<u8> = (0..=u8::MAX).filter(|&class| count(class) > 0).collect();
    let classes = task.classes.as_ref().unwrap_or(&present).clone();
    let present = present.iter().map(|&class| format!("{class} ({})", count(class))).collect::<Vec<_>>().join(", ");
    if let Some(class) = classes.iter().find(|&&class| count(class) == 0) {
        return Err(wrong(format!("has no sample of class {class}; its labels are {present}")));
    }
    if outputs != classes.len() && !(outputs == 1 && classes.len() == 2) {
        let n = classes.len();
        return Err(wrong(format!(
            "has {n} classes for {outputs} network output(s); choose some with `task.supervised.classes`. Its labels \
             are {present}"
        )));
    }
    let mut chosen: Vec<(usize, usize)> = labels
        .iter()
        .enumerate()
        .filter_map(|(i, label)| classes.iter().position(|class| class == label).map(|class| (i, class)))
        .collect();
    let needed = task.train + task.test;
    if chosen.len() < needed {
        let found = chosen.len();
        return Err(wrong(format!(
            "has {found} samples of these classes; `train` and `test` ask for {} and {}",
            task.train, task.test
        )));
    }
    chosen.shuffle(&mut stream(seed, Purpose::TaskSubset, 0));
    let (train, test) = (&chosen[..task.train], &chosen[chosen.len() - task.test..]);
    for (k, class) in classes.iter().enumerate() {
        if !train.iter().any(|&(_, c)| c == k) {
            return Err(wrong(format!("gives no sample of class {class} among {} training samples", task.train)));
        }
    }
    let take = |samples: &[(usize, usize)]| Examples {
        inputs: samples.iter().flat_map(|&(i, _)| input(images, i, task.centre, task.inputs)).collect(),
        targets: samples.iter().flat_map(|&(_, class)| class_target(class, outputs)).collect(),
        input: network.input,
        outputs,
    };
    debug_assert_eq!(task.goal, TaskGoal::Classification, "checked");
    Ok(TaskData {
        train: take(train),
        test: take(test),
        source: images.source.clone(),
        remarks: images.remarks(),
        classes,
    })
}

/// Image `i` as an input, in channel, row, column order.
fn input(images: &Images, i: usize, centre: bool, scale: InputScale) -> Vec<f32> {
    let (bytes, channels) = (images.bytes(i), images.channels);
    let plane = |c: usize| bytes.iter().skip(c).step_by(channels).map(|&byte| f64::from(byte) / 127.5 - 1.0);
    let mut x: Vec<f64> = (0..channels).flat_map(plane).collect();
    if centre {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        for v in &mut x {
            *v -= mean;
        }
    }
    if scale == InputScale::Sphere {
        onto_sphere(&mut x);
    }
    x.into_iter().map(|v| v as f32).collect()
}

/// Scales x to `|x| = √n_0`. A constant image is zero after centring and stays zero.
pub(crate) fn onto_sphere(x: &mut [f64]) {
    let norm = (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64).sqrt();
    if norm > 1e-12 {
        for v in x {
            *v /= norm;
        }
    }
}

/// The targets of a class. For one output: -1 for the first class, 1 for the second. For k outputs: one-hot less 1/k.
pub(crate) fn class_target(class: usize, outputs: usize) -> Vec<f32> {
    if outputs == 1 {
        return vec![if class == 0 { -1.0 } else { 1.0 }];
    }
    let share = 1.0 / outputs as f64;
    (0..outputs).map(|o| (if o == class { 1.0 - share } else { -share }) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::{NetworkExperiment, Subject};

    fn experiment(text: &str) -> NetworkExperiment {
        match Subject::parse("test", text, &[]).expect("sound") {
            Subject::Network(network) => network,
            Subject::Gan(_) => panic!("a network"),
        }
    }

    fn shapes(input: &str, classes: &str, outputs: usize, counts: [usize; 2], more: &str) -> NetworkExperiment {
        experiment(&format!(
            "network = {{ input = {input}, layers = [{{ flatten = {{}} }}, {{ dense = {{ out = {outputs} }} }}] }}\n\
             data.shapes.count = 600\n[task.supervised]\ngoal = \"classification\"\n{classes}\n{more}\n\
             train = {}\ntest = {}\noptimizer.sgd.rate = 1.0",
            counts[0], counts[1]
        ))
    }

    fn load(experiment: &NetworkExperiment) -> Result<TaskData, DataError> {
        TaskData::load(&experiment.supervised().expect("a task"), None)
    }

    #[test]
    fn inputs_lie_on_the_sphere_and_targets_are_centred() {
        for (input, n) in [("[1, 8, 8]", 64), ("[3, 8, 8]", 192)] {
            for more in ["", "centre = true"] {
                let data = load(&shapes(input, "classes = [2, 0, 11]", 3, [40, 20], more)).expect("loads");
                assert_eq!((data.train.len(), data.test.len(), data.train.targets.len()), (40, 20, 120));
                for x in data.train.inputs.chunks(n) {
                    let norm: f32 = x.iter().map(|v| v * v).sum();
                    assert!((norm - n as f32).abs() < 1e-3 * n as f32, "{norm}");
                    assert!(more.is_empty() || x.iter().sum::<f32>().abs() < 1e-3);
                }
                for t in data.test.targets.chunks(3) {
                    assert!(t.iter().sum::<f32>().abs() < 1e-6 && t.iter().filter(|v| **v > 0.6).count() == 1);
                }
            }
        }
        let raw = load(&shapes("[1, 8, 8]", "classes = [2, 0]", 1, [40, 20], "inputs = \"raw\"")).expect("loads");
        assert!(raw.train.inputs.iter().all(|v| v.abs() <= 1.0) && raw.train.targets.iter().all(|t| t.abs() == 1.0));
    }

    #[test]
    fn neither_set_moves_when_the_other_grows_and_no_sample_is_in_both() {
        let get = |train, test| load(&shapes("[1, 8, 8]", "classes = [0, 1]", 2, [train, test], "")).expect("loads");
        let (small, large) = (get(20, 10), get(40, 30));
        assert_eq!(small.train.inputs[..], large.train.inputs[..20 * 64]);
        assert_eq!(small.test.inputs[..], large.test.inputs[20 * 64..]);
        let images = |e: &Examples| e.inputs.chunks(64).map(<[f32]>::to_vec).collect::<Vec<_>>();
        assert!(images(&large.train).iter().all(|x| !images(&large.test).contains(x)));
    }

    #[test]
    fn colour_planes_come_one_after_the_other() {
        let data = load(&shapes("[3, 4, 4]", "classes = [0, 1]", 2, [10, 10], "inputs = \"raw\"")).expect("loads");
        let flat = load(&shapes("48", "classes = [0, 1]", 2, [10, 10], "inputs = \"raw\"")).expect("loads");
        assert_eq!(data.train.inputs, flat.train.inputs);
        // Neighbouring values are similar inside a channel, and not between channels.
        let wanted = fintan_config::Image { size: 4, channels: 3, ..fintan_config::Image::default() };
        let images = Images::load(&DataSource::Shapes(fintan_config::Shapes { count: 1, seed: 0 }), &wanted, None);
        let images = images.expect("drawn");
        let x = input(&images, 0, false, InputScale::Raw);
        let byte = |c: usize, p: usize| f32::from(images.bytes(0)[3 * p + c]) / 127.5 - 1.0;
        for (i, v) in x.iter().enumerate() {
            assert!((v - byte(i / 16, i % 16)).abs() < 1e-6);
        }
    }

    #[test]
    fn wrong_labels_and_counts_are_said() {
        let error = |e: &NetworkExperiment| load(e).expect_err("refused").to_string();
        let missing = error(&shapes("64", "classes = [0, 40]", 2, [10, 10], ""));
        assert!(missing.contains("has no sample of class 40; its labels are 0 ("), "{missing}");
        let few = error(&shapes("64", "classes = [0, 1]", 2, [500, 10], ""));
        assert!(few.contains("samples of these classes; `train` and `test` ask for 500 and 10"), "{few}");
        let outputs = error(&shapes("64", "", 3, [10, 10], ""));
        assert!(outputs.contains("has 12 classes for 3 network output(s)"), "{outputs}");
        let none = error(&shapes("64", "", 12, [2, 10], ""));
        assert!(none.contains("among 2 training samples"), "{none}");
    }
}
