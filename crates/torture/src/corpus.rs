//! Files that the program reads, made by the program itself or by a few lines of code, and the commands that read them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use zip::CompressionMethod;

use crate::cases::{Failure, Harness, begin};
use crate::configs;
use crate::interrupted::succeed;
use crate::mutate::{Format, Npy, zipped};
use crate::tree;

/// Files of one kind and their readers.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its row in the table.
    pub kind: &'static str,
    /// How the files are built.
    pub format: Format,
    /// The files, one of which is damaged; a name that ends in `/` stands for all below it whose names end in `suffix`.
    files: &'static [&'static str],
    suffix: &'static str,
    /// What its readers need beside it.
    needs: &'static [&'static str],
    /// Commands that read it; `{}` is the file.
    pub readers: &'static [&'static str],
    /// What a refusal may name in place of the file.
    pub or: &'static [&'static str],
    /// The kernel that a reader writes.
    pub kernel: Option<&'static str>,
    /// Whether a reader that ends well must have written the right kernel, though arrays have another shape.
    pub strict: bool,
}

const PLAIN: Subject = Subject {
    kind: "",
    format: Format::Plain,
    files: &[],
    suffix: "",
    needs: &[],
    readers: &[],
    or: &[],
    kernel: None,
    strict: false,
};

const ALL: &[Subject] = &[
    Subject {
        kind: "inputs, .npy",
        format: Format::Npy,
        files: &["x.npy", "x_f4.npy"],
        needs: &["net.toml"],
        readers: &["ntk net.toml --inputs {} --out k.npz --memory 300MB --device flex --quiet"],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "inputs, .npz",
        format: Format::Npz,
        files: &["x.npz"],
        needs: &["net.toml"],
        readers: &[
            "ntk net.toml --inputs x.npz:x --out k.npz --memory 300MB --device flex --quiet",
            "ntk net.toml --inputs x.npz:x --inputs2 x.npz:y --out k.npz --memory 300MB --f64 --device flex --quiet",
        ],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "inputs, .safetensors",
        format: Format::Safetensors,
        files: &["x.safetensors"],
        needs: &["net.toml"],
        readers: &["ntk net.toml --inputs x.safetensors:x --out k.npz --memory 300MB --device flex --quiet"],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "weights, .safetensors",
        format: Format::Safetensors,
        files: &["w.safetensors"],
        needs: &["cnn.toml"],
        readers: &[
            "ntk cnn.toml --weights w.safetensors -n 2 --bn running --out k.npz --memory 300MB --device flex --quiet",
            "ntk cnn.toml --weights w.safetensors -n 3 --out k.npz --memory 300MB --device flex --quiet",
        ],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "inputs of moments, .npy",
        format: Format::Npy,
        files: &["batch.npy"],
        needs: &["batch.toml"],
        readers: &["moments batch.toml --out m --device flex --quiet"],
        or: &["`moments.batch`", "input channel"],
        ..PLAIN
    },
    Subject {
        kind: "images, .npy",
        format: Format::Npy,
        files: &["images.npy"],
        needs: &[],
        readers: &["data info {} --size 8 --channels 1", "data info {} --size 4 --channels 3"],
        ..PLAIN
    },
    Subject {
        kind: "images, .npz",
        format: Format::Npz,
        files: &["images.npz"],
        needs: &["npz.toml"],
        readers: &["data info {} --size 8 --channels 1", "data info npz.toml"],
        ..PLAIN
    },
    Subject {
        kind: "IDX",
        format: Format::Plain,
        files: &["images-idx3-ubyte", "labels-idx1-ubyte"],
        needs: &["idx.toml", "images-idx3-ubyte", "labels-idx1-ubyte"],
        readers: &["data info images-idx3-ubyte --size 8 --channels 1", "data info idx.toml"],
        ..PLAIN
    },
    Subject {
        kind: "IDX in gzip",
        format: Format::Gz,
        files: &["images-idx3-ubyte.gz"],
        readers: &["data info {} --size 8 --channels 1", "data preview {} --size 8 --channels 1 -n 4 --out p.png"],
        ..PLAIN
    },
    Subject {
        kind: "CIFAR",
        format: Format::Plain,
        files: &["cifar/data_batch_1.bin"],
        needs: &["cifar"],
        readers: &["data info {} --size 16", "data info cifar --size 8"],
        or: &["cifar"],
        ..PLAIN
    },
    Subject {
        kind: "PNG",
        format: Format::Png,
        files: &["pictures/a/1.png", "pictures/a/2.png"],
        needs: &["pictures"],
        readers: &["data info pictures --size 8", "data preview pictures --size 8 --channels 1 -n 4 --out p.png"],
        or: &["pictures"],
        ..PLAIN
    },
    Subject {
        kind: "JPEG",
        format: Format::Plain,
        files: &["pictures/b/3.jpg"],
        needs: &["pictures"],
        readers: &["data info pictures --size 8", "data info pictures/b --size 8"],
        or: &["pictures/b"],
        ..PLAIN
    },
    Subject {
        kind: "zip of pictures",
        format: Format::Zip,
        files: &["pictures.zip"],
        readers: &["data info {} --size 8"],
        ..PLAIN
    },
    Subject {
        kind: "tar of pictures",
        format: Format::Tar,
        files: &["pictures.tar"],
        readers: &["data info {} --size 8"],
        ..PLAIN
    },
    Subject {
        kind: "tar.gz of pictures",
        format: Format::TarGz,
        files: &["pictures.tar.gz"],
        readers: &["data info {} --size 8"],
        ..PLAIN
    },
    Subject {
        kind: "configuration of a GAN",
        format: Format::Toml,
        files: &["gan.toml", "rich.toml", "other.toml"],
        needs: &["gan.toml"],
        readers: &[
            "check {} --samples 2 --seeds 1 --device flex",
            "ntk {} -n 2 --plan --memory 300MB --device flex",
            "ntk {} -n 2 --memory 300MB --network discriminator --out k.npz --device flex --quiet",
            "theory {} --out t --device flex",
            "cite {}",
            "tune {} --goal regime=chaos --knob mu --out tuned.toml",
            "train {} --out r --set train.steps=1 --set train.batch=2 --set train.grid=[1,1] --set data.shapes.count=8 --device flex --quiet",
        ],
        or: &["cannot be reached with the knob"],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "configuration of a network",
        format: Format::Toml,
        files: &["net.toml", "conv.toml", "cnn.toml", "task.toml"],
        needs: &[],
        readers: &[
            "check {} --samples 2 --seeds 1 --device flex",
            "ntk {} -n 2 --plan --memory 300MB --device flex",
            "ntk {} -n 3 --memory 300MB --out k.npz --device flex --quiet",
            "theory {} --out t --device flex",
            "cite {}",
            "tune {} --goal r=1.1 --knob gain --out tuned.toml",
        ],
        or: &["cannot be reached with the knob"],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "configuration of moments",
        format: Format::Toml,
        files: &["moments.toml", "deep.toml"],
        readers: &["moments {} --out m --set moments.realisations=2 --set moments.batch=3 --device flex --quiet"],
        ..PLAIN
    },
    Subject {
        kind: "configuration of a comparison",
        format: Format::Toml,
        files: &["two.toml"],
        needs: &["gan.toml"],
        readers: &["compare {} --out c -n 4 --metrics std --set train.steps=1 --device flex --quiet"],
        or: &["gan.toml", "cannot read the configuration"],
        ..PLAIN
    },
    Subject {
        kind: "config.resolved.toml of a GAN",
        format: Format::Toml,
        files: &["r/config.resolved.toml"],
        needs: &["r"],
        readers: &[
            "resume r --steps 4 --device flex --quiet",
            "sample r --grid 1x2 --out g.png --device flex --quiet",
            "report r --quiet",
            "cite r",
            "ntk r -n 2 --memory 300MB --out k.npz --device flex --quiet",
            "export r --out e2 --device flex --quiet",
        ],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "config.resolved.toml, supervised",
        format: Format::Toml,
        files: &["s/config.resolved.toml"],
        needs: &["s"],
        readers: &[
            "resume s --steps 4 --device flex --quiet",
            "report s --quiet",
            "ntk s -n 2 --memory 300MB --out k.npz --device flex --quiet",
            "flow s --device flex --quiet",
        ],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "state.json",
        format: Format::Json,
        files: &["r/checkpoints/step_000003/state.json"],
        needs: &["r"],
        readers: &[
            "resume r --steps 4 --device flex --quiet",
            "sample r --grid 1x2 --out g.png --device flex --quiet",
            "ntk r -n 2 --memory 300MB --out k.npz --device flex --quiet",
        ],
        or: &["r/checkpoints/step_000003"],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "checkpoints, .safetensors",
        format: Format::Safetensors,
        files: &["r/checkpoints/step_000003/"],
        suffix: ".safetensors",
        needs: &["r"],
        readers: &[
            "resume r --steps 4 --device flex --quiet",
            "sample r --grid 1x2 --out g.png --device flex --quiet",
            "ntk r -n 2 --memory 300MB --out k.npz --device flex --quiet",
            "export r --out e2 --device flex --quiet",
            "eval r -n 4 --metrics std --device flex --quiet",
        ],
        or: &["generator", "discriminator", "average"],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "checkpoints, supervised",
        format: Format::Safetensors,
        files: &["s/checkpoints/step_000004/"],
        suffix: ".safetensors",
        needs: &["s"],
        readers: &[
            "resume s --steps 5 --device flex --quiet",
            "ntk s -n 2 --memory 300MB --out k.npz --device flex --quiet",
        ],
        or: &["network"],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "log.jsonl of a GAN",
        format: Format::JsonLines,
        files: &["r/log.jsonl", "r/ntk/observed.jsonl"],
        needs: &["r"],
        readers: &[
            "resume r --steps 4 --device flex --quiet",
            "report r --quiet",
            "resume r --from 2 --device flex --quiet",
        ],
        ..PLAIN
    },
    Subject {
        kind: "log.jsonl, supervised",
        format: Format::JsonLines,
        files: &["s/log.jsonl", "s/ntk/observed.jsonl"],
        needs: &["s"],
        readers: &[
            "resume s --steps 5 --device flex --quiet",
            "report s --quiet",
            "flow s --device flex --quiet",
            "resume s --from 2 --device flex --quiet",
        ],
        ..PLAIN
    },
    Subject {
        kind: "log.jsonl of moments",
        format: Format::JsonLines,
        files: &["m/log.jsonl"],
        needs: &["m", "moments.toml"],
        readers: &[
            "moments moments.toml --out m --resume --device flex --quiet",
            "report m --quiet",
            "moments merge m --out m2 --device flex --quiet",
        ],
        ..PLAIN
    },
    Subject {
        kind: "metrics.json",
        format: Format::Json,
        files: &["r/metrics.json"],
        needs: &["r"],
        readers: &[
            "report r --quiet",
            "eval r -n 4 --metrics std,nyquist --device flex --quiet",
            "resume r --from 2 --device flex --quiet",
        ],
        ..PLAIN
    },
    Subject {
        kind: "env.json",
        format: Format::Json,
        files: &["r/env.json"],
        needs: &["r"],
        readers: &["report r --quiet", "resume r --steps 4 --device flex --quiet"],
        ..PLAIN
    },
    Subject {
        kind: "data.npz, kernels of a run",
        format: Format::Npz,
        files: &["s/data.npz", "s/ntk/"],
        suffix: ".npz",
        needs: &["s"],
        readers: &[
            "flow s --device flex --quiet",
            "report s --quiet",
            "resume s --steps 5 --device flex --quiet",
            "ntk s -n 3 --steps all --device flex --quiet",
        ],
        ..PLAIN
    },
    Subject {
        kind: "tiles, .npz",
        format: Format::Npz,
        files: &["k.npz.tiles/"],
        suffix: ".npz",
        needs: &["k.npz.tiles", "net.toml"],
        readers: &[
            "ntk merge k.npz.tiles --out k.npz --quiet",
            "ntk net.toml -n 6 --tile-samples 2 --out k.npz --device flex --quiet",
        ],
        kernel: Some("k.npz"),
        strict: true,
        ..PLAIN
    },
    Subject {
        kind: "plan.json of tiles",
        format: Format::Json,
        files: &["k.npz.tiles/plan.json"],
        needs: &["k.npz.tiles", "net.toml"],
        readers: &[
            "ntk merge k.npz.tiles --out k.npz --quiet",
            "ntk net.toml -n 6 --tile-samples 2 --out k.npz --device flex --quiet",
        ],
        or: &["k.npz.tiles"],
        kernel: Some("k.npz"),
        ..PLAIN
    },
    Subject {
        kind: "kernels, .npz",
        format: Format::Npz,
        files: &["right.npz"],
        needs: &["net.toml"],
        readers: &["theory net.toml --compare right.npz --out t --device flex"],
        ..PLAIN
    },
    Subject {
        kind: "export, .json",
        format: Format::Json,
        files: &["e/generator.json"],
        needs: &["e"],
        readers: &["sample e --grid 1x2 --out g.png --device flex --quiet"],
        ..PLAIN
    },
    Subject {
        kind: "export, .safetensors",
        format: Format::Safetensors,
        files: &["e/generator.safetensors"],
        needs: &["e"],
        readers: &["sample e --grid 1x2 --out g.png --device flex --quiet"],
        ..PLAIN
    },
    Subject {
        kind: "compare.json",
        format: Format::Json,
        files: &["c/compare.json"],
        needs: &["c", "gan.toml", "other.toml"],
        readers: &["report c --quiet", "compare gan.toml other.toml --out c -n 8 --metrics std --device flex --quiet"],
        ..PLAIN
    },
];

/// The subject of a case.
pub(crate) fn subject(case: u64) -> &'static Subject {
    &ALL[case as usize % ALL.len()]
}

/// All files, made when a case asks for them.
pub(crate) struct Corpus {
    made: OnceLock<Result<PathBuf, String>>,
}

impl Corpus {
    /// Nothing is made yet.
    pub(crate) fn new() -> Self {
        Self { made: OnceLock::new() }
    }

    /// The folder with all files.
    pub(crate) fn folder(&self, harness: &Harness) -> Result<&Path, Failure> {
        let made = self.made.get_or_init(|| make(harness));
        made.as_ref().map(PathBuf::as_path).map_err(|why| Failure::Unprepared(format!("the corpus: {why}")))
    }
}

impl Subject {
    /// One of its files.
    pub(crate) fn file(&self, corpus: &Path, rng: &mut ChaCha8Rng) -> Result<PathBuf, String> {
        let mut all = Vec::new();
        for name in self.files {
            if name.ends_with('/') {
                let below = tree::files_below(corpus, name).map_err(|e| e.to_string())?;
                all.extend(below.into_iter().filter(|path| path.to_string_lossy().ends_with(self.suffix)));
            } else {
                all.push(PathBuf::from(name));
            }
        }
        let chosen = rng.random_range(0..all.len().max(1));
        all.into_iter().nth(chosen).ok_or_else(|| format!("no file of kind {}", self.kind))
    }

    /// Copies what its readers need, and the file.
    pub(crate) fn copy(&self, corpus: &Path, file: &Path, to: &Path) -> Result<(), String> {
        let file = file.to_string_lossy();
        let mut names = self.needs.to_vec();
        if !names.iter().any(|name| Path::new(&*file).starts_with(name)) {
            names.push(&file);
        }
        tree::copy_some(corpus, to, &names).map_err(|e| e.to_string())
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

    // What the program writes.
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
