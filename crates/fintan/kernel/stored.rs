//! The contents of a kernel file.

use std::collections::BTreeMap;
use std::path::Path;

use fintan_artifact::{Array, ArrayValues, read_arrays};
use fintan_config::{Layer, Shape};
use fintan_ntk::{Checkerboard, Entries, KernelPart, KernelParts, KernelRequest, KernelValues};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::inputs::array_of;

/// The name of a choice of entries in files.
#[must_use]
pub(crate) fn entries_name(entries: Entries) -> &'static str {
    match entries {
        Entries::Full => "full",
        Entries::Traced => "traced",
        Entries::Diagonal => "diagonal",
    }
}

/// The conventions that a kernel follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Convention {
    /// Whether a traced kernel is divided by the number of outputs.
    pub mean: bool,
    /// Whether the output nonlinearity is left off.
    pub before_output: bool,
}

/// Metadata of a kernel, stored beside its entries.
///
/// ```
/// let net = fintan::Network::parse("[network]\ninput = 2\nlayers = [{ dense = { out = 3 } }]")?;
/// let kernel = fintan::Kernel::of(&net).outputs([2, 0]).compute()?;
/// assert_eq!(kernel.metadata().outputs, [2, 0]);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelMetadata {
    /// The outputs, counted in channel, row, column order.
    pub outputs: Vec<usize>,
    /// Whether both sides are the same samples.
    pub symmetric: bool,
    /// Whether a traced kernel was divided by the number of outputs.
    pub mean: bool,
    /// Whether the output nonlinearity was left off.
    pub before_output: bool,
    /// The shape of the images, the up-sampling stride and the number of up-samplings, if the network makes images.
    image: Option<(Shape, usize, u32)>,
}

impl KernelMetadata {
    /// The metadata of the kernel of `problem` in a convention.
    #[must_use]
    pub(crate) fn of(problem: &KernelRequest, Convention { mean, before_output }: Convention) -> Self {
        Self { mean, before_output, ..Self::plain(problem) }
    }

    /// The metadata of a kernel of a whole network that is not divided by the number of outputs.
    #[must_use]
    pub(crate) fn plain(problem: &KernelRequest) -> Self {
        let architecture = problem.network().architecture();
        let strides: Vec<usize> = (architecture.nodes.iter())
            .filter_map(|node| {
                let Layer::Deconv(c) = &node.layer else { return None };
                let square = node.input.positions() > 1 && c.stride.0[0] == c.stride.0[1];
                Some(c.stride.0[0]).filter(|&stride| square && stride > 1)
            })
            .collect();
        let alike = strides.first().filter(|first| strides.iter().all(|stride| stride == *first));
        Self {
            outputs: problem.outputs().to_vec(),
            symmetric: problem.is_symmetric(),
            mean: false,
            before_output: false,
            image: alike.map(|&stride| (architecture.output(), stride, strides.len() as u32)),
        }
    }
}

/// The inputs of each side, `[N, features]` or `[N, channels, rows, columns]`.
#[must_use]
pub(crate) fn input_arrays(problem: &KernelRequest) -> Vec<Array<'static>> {
    let shape = problem.network().architecture().input;
    problem.inputs().map(|x| array_of(x, shape)).collect()
}

/// Checkerboards of a full kernel over all pixels of its channels, averaged over samples and channels.
#[must_use]
pub(crate) fn pixel_checkerboard(
    kernel: &KernelParts,
    total: &KernelValues,
    metadata: &KernelMetadata,
) -> Option<Checkerboard> {
    let (shape, stride, levels) = metadata.image?;
    let pixels = shape.positions();
    let whole = metadata.outputs.chunks(pixels).all(|chunk| {
        chunk.len() == pixels && chunk[0] % pixels == 0 && chunk.windows(2).all(|pair| pair[1] == pair[0] + 1)
    });
    if kernel.entries != Entries::Full || !metadata.symmetric || !whole {
        return None;
    }
    let (n, outputs) = (kernel.samples[0], kernel.outputs);
    let blocks = (0..n).flat_map(|i| (0..outputs / pixels).map(move |channel| (i, channel * pixels)));
    let found: Option<Vec<Checkerboard>> = blocks
        .map(|(i, first)| {
            Checkerboard::of([shape.height, shape.width], stride, levels, |p| {
                let start = ((i * n + i) * outputs + first + p) * outputs + first;
                (start..start + pixels).map(|at| total.at(at)).collect()
            })
        })
        .collect();
    let found = found?;
    let mean = |of: &dyn Fn(&Checkerboard) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
    let over = |of: &dyn Fn(&Checkerboard) -> &Vec<f64>| -> Vec<f64> {
        (0..of(&found[0]).len()).map(|k| mean(&|one| of(one)[k])).collect()
    };
    Some(Checkerboard {
        trace_shares: over(&|one| &one.trace_shares),
        eigenvalue_ratios: over(&|one| &one.eigenvalue_ratios),
        border_ratio: mean(&|one| one.border_ratio),
    })
}

/// The arrays of a kernel file: `ntk`, `parts/NAME`, `outputs`, `mean`, `before_output`, `inputs` and `inputs2`. A traced
/// kernel of samples with themselves also has `scaled`.
///
/// `total` is the sum of the kernel's parts.
#[must_use]
pub(crate) fn kernel_arrays<'a>(
    kernel: &'a KernelParts,
    total: &'a KernelValues,
    metadata: &KernelMetadata,
    inputs: &[Array<'static>],
) -> Vec<(String, Array<'a>)> {
    let shape = kernel.shape();
    let mut arrays = vec![("ntk".to_owned(), values_array(total, &shape))];
    if kernel.parts.len() > 1 {
        let parts =
            kernel.parts.iter().map(|part| (format!("parts/{}", part.name), values_array(&part.values, &shape)));
        arrays.extend(parts);
    }
    arrays.push(("outputs".into(), Array::integers(metadata.outputs.iter().copied())));
    arrays.push(("mean".into(), Array::integers([usize::from(metadata.mean)])));
    arrays.push(("before_output".into(), Array::integers([usize::from(metadata.before_output)])));
    arrays.extend(["inputs", "inputs2"].map(str::to_owned).into_iter().zip(inputs.iter().cloned()));
    if let Some(scaled) = scaled(kernel, total, metadata) {
        arrays.push(("scaled".into(), scaled));
    }
    arrays
}

/// Θ[n, n'] / (Θ[n, n] Θ[n', n'])^½ for a traced kernel whose two sides are the same samples.
pub(crate) fn scaled(kernel: &KernelParts, total: &KernelValues, metadata: &KernelMetadata) -> Option<Array<'static>> {
    if kernel.entries != Entries::Traced || !metadata.symmetric {
        return None;
    }
    let n = kernel.samples[0];
    let root = |i: usize| total.at(i * n + i).sqrt();
    let scaled: Vec<f64> = (0..n * n).map(|i| total.at(i) / (root(i / n) * root(i % n))).collect();
    Some(Array::f64(&[n, n], scaled))
}

/// The values of a kernel as an array, without a copy.
#[must_use]
pub(crate) fn values_array<'a>(values: &'a KernelValues, shape: &[usize]) -> Array<'a> {
    match values {
        KernelValues::F32(values) => Array::f32(shape, values.as_slice()),
        KernelValues::F64(values) => Array::f64(shape, values.as_slice()),
    }
}

/// Reads a kernel file: the kernel, its metadata and its inputs.
pub(crate) fn read(path: &Path) -> Result<(KernelParts, KernelMetadata, Vec<Array<'static>>), Error> {
    let wrong = |message: String| Error::KernelFile { path: path.into(), message };
    let stored = read_arrays(path)?;
    let names: Vec<String> = stored.iter().map(|(name, _)| name.clone()).collect();
    let parts = stored.iter().filter_map(|(name, _)| name.strip_prefix("parts/").map(str::to_owned));
    let parts: Vec<String> = parts.collect();
    let mut arrays: BTreeMap<String, Array<'static>> = stored.into_iter().collect();
    let mut take = |name: &str| {
        let missing = || wrong(format!("there is no array `{name}`, only {}", names.join(", ")));
        arrays.remove(name).ok_or_else(missing)
    };
    let whole = take("ntk")?;
    let number = |v: f64| (v >= 0.0 && v.fract() == 0.0 && v < f64::from(u32::MAX)).then_some(v as usize);
    let outputs: Option<Vec<usize>> = take("outputs")?.to_f64().into_iter().map(number).collect();
    let outputs = outputs.ok_or_else(|| wrong("array `outputs` must hold numbers of outputs".into()))?;
    let (entries, samples) = match whole.shape[..] {
        [n1, n2] => (Entries::Traced, [n1, n2]),
        [n1, n2, o] if o == outputs.len() => (Entries::Diagonal, [n1, n2]),
        [n1, n2, o, p] if o == outputs.len() && o == p => (Entries::Full, [n1, n2]),
        _ => {
            let (o, found) = (outputs.len(), &whole.shape);
            return Err(wrong(format!(
                "array `ntk` must have shape [N, N2], [N, N2, {o}] or [N, N2, {o}, {o}], got {found:?}"
            )));
        }
    };
    let shape = whole.shape.clone();
    let values = |name: &str, array: Array<'static>| {
        if array.shape != shape {
            return Err(wrong(format!("array `{name}` must have shape {shape:?}, got {:?}", array.shape)));
        }
        Ok(match array.values {
            ArrayValues::F32(values) => KernelValues::F32(values.into_owned()),
            ArrayValues::F64(_) | ArrayValues::I64(_) => KernelValues::F64(array.to_f64()),
        })
    };
    let parts = if parts.is_empty() {
        vec![KernelPart { name: "ntk".into(), values: values("ntk", whole)? }]
    } else {
        let mut read = Vec::new();
        for name in parts {
            let stored = format!("parts/{name}");
            read.push(KernelPart { values: values(&stored, take(&stored)?)?, name });
        }
        read
    };
    let mut flag = |name: &str| take(name).map(|array| array.to_f64().first().is_some_and(|&v| v != 0.0));
    let (mean, before_output) = (flag("mean")?, flag("before_output")?);
    let mut inputs = vec![take("inputs")?];
    inputs.extend(take("inputs2").ok());
    for ((name, array), n) in ["inputs", "inputs2"].into_iter().zip(&inputs).zip(samples) {
        if array.shape.first() != Some(&n) {
            return Err(wrong(format!("array `{name}` must hold {n} samples, got shape {:?}", array.shape)));
        }
    }
    let finite = |name: &str, whole: bool| {
        if whole { Ok(()) } else { Err(wrong(format!("array `{name}` holds a value that is not finite"))) }
    };
    for (name, array) in ["inputs", "inputs2"].into_iter().zip(&inputs) {
        finite(name, array.to_f64().iter().all(|value| value.is_finite()))?;
    }
    for part in &parts {
        finite(&part.name, part.values.is_finite())?;
    }
    let metadata = KernelMetadata { outputs, symmetric: inputs.len() == 1, mean, before_output, image: None };
    if metadata.symmetric && samples[0] != samples[1] {
        return Err(wrong(format!("a kernel without `inputs2` has as many rows as columns, got {samples:?} samples")));
    }
    Ok((KernelParts { entries, samples, outputs: metadata.outputs.len(), parts }, metadata, inputs))
}
