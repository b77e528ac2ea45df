//! The kinds of files that the program reads, and the commands that read them.

use std::path::{Path, PathBuf};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::mutate::Format;
use crate::tree;

/// One kind of file, and the commands that read it.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The row of the table.
    pub kind: &'static str,
    /// The format of the files.
    pub format: Format,
    /// The files, one of which is damaged. A name that ends in `/` stands for all files below it whose names end in `suffix`.
    files: &'static [&'static str],
    suffix: &'static str,
    /// Other files that the readers need.
    needs: &'static [&'static str],
    /// Commands that read the file; `{}` stands for its path.
    pub readers: &'static [&'static str],
    /// Names that an error message may contain instead of the name of the file.
    pub or: &'static [&'static str],
    /// The kernel that a reader writes.
    pub kernel: Option<&'static str>,
    /// Whether a reader that succeeds must write the right kernel, even if arrays have another shape.
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

impl Subject {
    /// Chooses one of the files.
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

    /// Copies the file and the other files that its readers need.
    pub(crate) fn copy(&self, corpus: &Path, file: &Path, to: &Path) -> Result<(), String> {
        let file = file.to_string_lossy();
        let mut names = self.needs.to_vec();
        if !names.iter().any(|name| Path::new(&*file).starts_with(name)) {
            names.push(&file);
        }
        tree::copy_some(corpus, to, &names).map_err(|e| e.to_string())
    }
}
