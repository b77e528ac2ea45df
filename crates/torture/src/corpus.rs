//! Files that the program reads. The program or a few lines of code make them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use zip::CompressionMethod;

use crate::cases::{Failure, Harness, begin};
use crate::configs;
use crate::interrupted::succeed;
use crate::mutate::{Npy, zipped};

/// All files. They are made when a case first needs them.
pub(crate) struct Corpus {
    made: OnceLock<Result<PathBuf, String>>,
}

impl Corpus {
    /// A corpus whose files are not made yet.
    pub(crate) fn new() -> Self {
        Self { made: OnceLock::new() }
    }

    /// The folder with all files.
    pub(crate) fn folder(&self, harness: &Harness) -> Result<&Path, Failure> {
        let made = self.made.get_or_init(|| make(harness));
        made.as_ref().map(PathBuf::as_path).map_err(|why| Failure::Unprepared(format!("the corpus: {why}")))
    }
}

/// A network that reads pictures, with labels from a file.
const LABELLED: &str = r#"
[network]
input = [1, 8, 8]
fc = { widths = [4], activation = { function = "relu" } }
outputs = 12
[task.supervised]
goal = "classification"
train = 8
test = 4
optimizer.sgd.rate = 0.1
steps = 1
"#;

/// A network with running statistics.
const CNN: &str = r#"
[network]
input = [1, 8, 8]
[[network.layers]]
conv = { out = 3, kernel = 3, padding = 1 }
[[network.layers]]
batch_norm = {}
[[network.layers]]
activation = { function = "relu" }
[[network.layers]]
conv = { out = 2, kernel = 4, stride = 4 }
[[network.layers]]
flatten = {}
[[network.layers]]
dense = { out = 12 }
[data.shapes]
count = 120
[task.supervised]
goal = "classification"
train = 80
test = 30
optimizer.sgd.rate = 0.1
steps = 2
batch = 10
"#;

/// Moments of inputs from a file.
const BATCH: &str = r#"
[network]
input = 4
vanilla = { depth = 3, width = 6 }
[moments]
inputs.npy.path = "batch.npy"
batch = 4
realisations = 2
"#;

fn make(harness: &Harness) -> Result<PathBuf, String> {
    let case = harness.root.join("corpus");
    begin(&case)?;
    let work = case.join("work");
    configs::write(&work)?;
    let put = |name: &str, bytes: &[u8]| -> Result<(), String> {
        let path = work.join(name);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent).map_err(|e| e.to_string())?;
        }
        fs_err::write(path, bytes).map_err(|e| e.to_string())
    };
    let io = |e: std::io::Error| e.to_string();

    // Arrays.
    let values: Vec<f64> = (0..24).map(|i| f64::from(i) * 0.37 % 2.0 - 1.0).collect();
    let f8 = |shape: &str, values: &[f64]| {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Npy { descr: "<f8".into(), fortran: false, shape: shape.into(), data }.write()
    };
    let f4 = |shape: &str, values: &[f64]| {
        let data = values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
        Npy { descr: "<f4".into(), fortran: false, shape: shape.into(), data }.write()
    };
    put("x.npy", &f8("3, 4", &values[..12]))?;
    put("x_f4.npy", &f4("3, 4", &values[..12]))?;
    put("batch.npy", &f4("6, 4", &values))?;
    let both = [("x.npy".to_owned(), f8("3, 4", &values[..12])), ("y.npy".to_owned(), f4("2, 4", &values[..8]))];
    put("x.npz", &zipped(&both, CompressionMethod::Stored).ok_or("no archive")?)?;
    let header = br#"{"x":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"y":{"dtype":"F32","shape":[2],"data_offsets":[48,56]}}"#;
    let mut tensors = (header.len() as u64).to_le_bytes().to_vec();
    tensors.extend_from_slice(header);
    tensors.extend(values[..14].iter().flat_map(|&v| (v as f32).to_le_bytes()));
    put("x.safetensors", &tensors)?;

    // Images.
    let image = |i: usize| (0..64_usize).map(move |p| (p * (3 + i) + 11 * i) as u8).collect::<Vec<u8>>();
    let pixels: Vec<u8> = (0..12).flat_map(image).collect();
    let labels: Vec<u8> = (0..12).collect();
    let u1 = |shape: &str, data: &[u8]| {
        Npy { descr: "|u1".into(), fortran: false, shape: shape.into(), data: data.to_vec() }.write()
    };
    put("images.npy", &u1("12, 8, 8", &pixels))?;
    let both = [("images.npy".to_owned(), u1("12, 8, 8", &pixels)), ("labels.npy".to_owned(), u1("12,", &labels))];
    put("images.npz", &zipped(&both, CompressionMethod::Stored).ok_or("no archive")?)?;
    put(
        "npz.toml",
        format!("{LABELLED}\n[data.npz]\npath = \"images.npz\"\nname = \"images\"\nlabels = \"labels\"\n").as_bytes(),
    )?;
    let idx = |axes: &[u32], data: &[u8]| {
        let mut bytes = vec![0, 0, 8, axes.len() as u8];
        bytes.extend(axes.iter().flat_map(|n| n.to_be_bytes()));
        bytes.extend_from_slice(data);
        bytes
    };
    put("images-idx3-ubyte", &idx(&[12, 8, 8], &pixels))?;
    put("labels-idx1-ubyte", &idx(&[12], &labels))?;
    let packed = |bytes: &[u8]| -> Result<Vec<u8>, String> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).map_err(io)?;
        encoder.finish().map_err(io)
    };
    put("images-idx3-ubyte.gz", &packed(&idx(&[12, 8, 8], &pixels))?)?;
    put(
        "idx.toml",
        format!("{LABELLED}\n[data.idx]\nimages = \"images-idx3-ubyte\"\nlabels = \"labels-idx1-ubyte\"\n").as_bytes(),
    )?;
    let cifar: Vec<u8> = (0..6_usize)
        .flat_map(|i| std::iter::once(i as u8).chain((0..3072_usize).map(move |p| (p * (i + 3)) as u8)))
        .collect();
    put("cifar/data_batch_1.bin", &cifar)?;
    put("cifar/batches.meta.txt", b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n")?;

    // Pictures.
    let mut members = Vec::new();
    for (i, name) in ["a/1.png", "a/2.png", "b/3.jpg", "b/4.png"].into_iter().enumerate() {
        let picture = image::RgbImage::from_fn(12, 10, |x, y| {
            image::Rgb([(x * 20) as u8, (y * 25) as u8, (x * y + 40 * i as u32) as u8])
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        let format = if name.ends_with("jpg") { image::ImageFormat::Jpeg } else { image::ImageFormat::Png };
        picture.write_to(&mut bytes, format).map_err(|e| e.to_string())?;
        put(&format!("pictures/{name}"), bytes.get_ref())?;
        members.push((name.to_owned(), bytes.into_inner()));
    }
    put("pictures.zip", &zipped(&members, CompressionMethod::Stored).ok_or("no archive")?)?;
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in &members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes.as_slice()).map_err(io)?;
    }
    let archive = archive.into_inner().map_err(io)?;
    put("pictures.tar", &archive)?;
    put("pictures.tar.gz", &packed(&archive)?)?;

    // Files that the program writes.
    put("cnn.toml", CNN.as_bytes())?;
    put("batch.toml", BATCH.as_bytes())?;
    for line in [
        "train rich.toml --out r --set train.steps=3 --set train.checkpoint_every=1 --set observe.ntk.every=1 --device flex --quiet",
        "eval r -n 4 --metrics std --device flex --quiet",
        "train task.toml --out s --set task.supervised.steps=4 --device flex --quiet",
        "ntk s --step 0 --device flex --quiet",
        "train cnn.toml --out n --device flex --quiet",
        "moments moments.toml --out m --device flex --quiet",
        "ntk net.toml -n 6 --tile-samples 2 --out right.npz --device flex --quiet",
        "ntk net.toml -n 6 --tile-samples 2 --tiles 0..6 --out k.npz --device flex --quiet",
        "export r --out e --device flex --quiet",
        "compare gan.toml other.toml --out c -n 8 --metrics std --set train.steps=2 --device flex --quiet",
    ] {
        succeed(&harness.program, &case, line)?;
    }
    fs_err::copy(work.join("n/checkpoints/step_000002/network.safetensors"), work.join("w.safetensors")).map_err(io)?;
    Ok(work)
}
