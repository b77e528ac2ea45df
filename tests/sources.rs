//! Every source of data in every place that reads one: taken, or refused by its name.

use std::io::Write as _;
use std::path::Path;

use fintan_config::SourceKind;
use image::GrayImage;

use crate::kernels::said;
use crate::support::{TINY, folder, run};

/// Images of 8 x 8, the first half of class 0.
const COUNT: usize = 16;

fn pixels(i: usize) -> Vec<u8> {
    (0..64).map(|p| ((37 * i + 11 * p + i * p) % 251) as u8).collect()
}

fn class(i: usize) -> u8 {
    u8::from(i >= COUNT / 2)
}

fn png(i: usize) -> Vec<u8> {
    let image = GrayImage::from_raw(8, 8, pixels(i)).expect("8 x 8");
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).expect("in memory");
    bytes.into_inner()
}

fn npy(shape: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), bytes].concat()
}

fn idx(axes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, axes.len() as u8];
    file.extend(axes.iter().flat_map(|n| n.to_be_bytes()));
    file.extend(bytes);
    file
}

/// The images in every format that is read from a disk.
fn write_all(at: &Path) {
    let put = |name: &str, bytes: &[u8]| std::fs::write(at.join(name), bytes).expect("written");
    let (all, labels): (Vec<u8>, Vec<u8>) = ((0..COUNT).flat_map(pixels).collect(), (0..COUNT).map(class).collect());
    put("images.idx", &idx(&[COUNT as u32, 8, 8], &all));
    put("labels.idx", &idx(&[COUNT as u32], &labels));
    let record = |i: usize| [&[class(i)][..], &pixels(i).repeat(48)].concat();
    put("batch.bin", &(0..COUNT).flat_map(record).collect::<Vec<u8>>());
    let (x, y) = (npy(&format!("({COUNT}, 1, 8, 8)"), &all), npy(&format!("({COUNT},)"), &labels));
    put("x.npy", &x);
    put("y.npy", &y);
    let zipped = |members: &[(String, Vec<u8>)]| {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in members {
            archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("in memory");
            archive.write_all(bytes).expect("in memory");
        }
        archive.finish().expect("in memory").into_inner()
    };
    put("xy.npz", &zipped(&[("x.npy".into(), x), ("y.npy".into(), y)]));
    let members: Vec<(String, Vec<u8>)> = (0..COUNT).map(|i| (format!("{}/{i}.png", class(i)), png(i))).collect();
    put("p.zip", &zipped(&members));
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in &members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &bytes[..]).expect("in memory");
        let file = at.join("p").join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, bytes).expect("written");
    }
    put("p.tar", &tar.into_inner().expect("in memory"));
}

/// The source as a key and value of TOML; with labels and with what else a task needs, or the values alone.
fn written(kind: SourceKind, labelled: bool) -> String {
    let (alone, labels) = match kind {
        SourceKind::Shapes => ("count = 400", ""),
        SourceKind::Idx => ("images = 'images.idx'", ", labels = 'labels.idx'"),
        SourceKind::Cifar => ("files = ['batch.bin']", ""),
        SourceKind::Folder => ("path = 'p'", ""),
        SourceKind::Tar => ("path = 'p.tar'", ""),
        SourceKind::Zip => ("path = 'p.zip'", ""),
        SourceKind::Npy => ("path = 'x.npy'", ", labels = 'y.npy'"),
        SourceKind::Npz => ("path = 'xy.npz', name = 'x'", ", labels = 'y'"),
        SourceKind::Teacher => ("degree = 2", ""),
        SourceKind::Iid => ("", ""),
        SourceKind::Spectrum => ("exponent = 1.0", ""),
    };
    format!("{} = {{ {alone}{} }}", kind.name(), if labelled { labels } else { "" })
}

/// Whether images, a task and moments take it: written down apart from the program.
fn taken(kind: SourceKind) -> [bool; 3] {
    match kind {
        SourceKind::Shapes
        | SourceKind::Idx
        | SourceKind::Cifar
        | SourceKind::Folder
        | SourceKind::Tar
        | SourceKind::Zip
        | SourceKind::Npy
        | SourceKind::Npz => [true, true, true],
        SourceKind::Teacher => [false, true, false],
        SourceKind::Iid | SourceKind::Spectrum => [false, false, true],
    }
}

#[test]
fn every_source_is_taken_or_refused_by_name_everywhere() {
    let folder = folder();
    let at = folder.path();
    write_all(at);
    let device = ["--device", "flex", "--quiet"];
    for kind in SourceKind::ALL {
        let name = kind.name();
        let put = |file: &str, text: String| std::fs::write(at.join(file), text).expect("written");
        let gan = TINY.replace("data.shapes.count = 256", &format!("data.{}", written(kind, true)));
        assert_ne!(gan, TINY);
        put("gan.toml", gan);
        // The drawings have twelve classes.
        let classes = if kind == SourceKind::Shapes { "classes = [0, 1]" } else { "" };
        put(
            "task.toml",
            format!(
                "data.{}\n[network]\ninput = [1, 8, 8]\nlayers = [{{ flatten = {{}} }}, {{ dense = {{ out = 2 }} }}]\n\
                 [task.supervised]\ngoal = \"classification\"\ntrain = 10\ntest = 4\nsteps = 1\n\
                 optimizer.sgd.rate = 0.1\n{classes}\n",
                written(kind, true)
            ),
        );
        put(
            "moments.toml",
            format!(
                "[network]\ninput = [1, 8, 8]\nlayers = [{{ flatten = {{}} }}, {{ dense = {{ out = 6 }} }}, \
                 {{ activation = {{ function = \"tanh\" }} }}, {{ dense = {{ out = 6 }} }}]\n\
                 [moments]\ninputs.{}\nbatch = 6\nrealisations = 1\n",
                written(kind, false)
            ),
        );
        let [images, task, moments] = taken(kind);
        let ways: [(&[&str], bool); 7] = [
            (&["train", "gan.toml", "--out", "g", "--set", "train.steps=1"], images),
            (&["ntk", "gan.toml", "--network", "discriminator", "-n", "3", "--out", "d.npz"], images),
            (&["data", "info", "gan.toml"], images),
            (&["train", "task.toml", "--out", "t"], task),
            (&["ntk", "task.toml", "--inputs", "train", "-n", "3", "--out", "k.npz"], task),
            (&["data", "info", "task.toml"], images && task),
            (&["moments", "moments.toml", "--out", "m"], moments),
        ];
        for (args, fits) in ways {
            let more = if args[0] == "data" { &[][..] } else { &device };
            let (code, stdout, stderr) = run(at, &[args, more].concat());
            if fits {
                assert_eq!(code, 0, "{name}, {args:?}: {stderr}");
            } else {
                let key = if args[0] == "moments" { "moments.inputs" } else { "data" };
                assert!(code == 2 && stdout.is_empty(), "{name}, {args:?}: {stderr}");
                assert!(said(&stderr, &format!("`{key}.{name}` draws inputs")), "{name}, {args:?}: {stderr}");
                assert!(said(&stderr, "`shapes`") && said(&stderr, "`npz`"), "{name}, {args:?}: {stderr}");
            }
        }
        for out in ["g", "t", "m"] {
            let run = at.join(out);
            if run.exists() {
                std::fs::remove_dir_all(run).expect("removed");
            }
        }
    }
}

/// Moments take values as they stand in an array; settings of images have no meaning there.
#[test]
fn moments_refuse_settings_of_images_by_name() {
    let folder = folder();
    let at = folder.path();
    write_all(at);
    for (inputs, key) in [
        ("npy = { path = 'x.npy', labels = 'y.npy' }", "moments.inputs.npy.labels"),
        ("npy = { path = 'x.npy', range = [0, 255] }", "moments.inputs.npy.range"),
        ("npz = { path = 'xy.npz', name = 'x', labels = 'y' }", "moments.inputs.npz.labels"),
    ] {
        let text =
            format!("network = {{ input = 64, outputs = 2, fc = {{ widths = [4] }} }}\nmoments.inputs.{inputs}\n");
        std::fs::write(at.join("m.toml"), text).expect("written");
        let (code, _, stderr) = run(at, &["moments", "m.toml", "--device", "flex", "--out", "m"]);
        assert!(code == 2 && said(&stderr, &format!("`{key}` belongs to images")), "{stderr}");
    }
    // Of two arrays one is named, and the bytes of the same values are the same in either file.
    let measured = |inputs: &str, out: &str| {
        let text = format!(
            "[network]\ninput = [1, 8, 8]\nlayers = [{{ flatten = {{}} }}, {{ dense = {{ out = 6 }} }}]\n\
             [moments]\ninputs.{inputs}\nbatch = 6\nrealisations = 2\n"
        );
        std::fs::write(at.join("m.toml"), text).expect("written");
        run(at, &["moments", "m.toml", "--device", "flex", "--quiet", "--out", out])
    };
    let (code, _, stderr) = measured("npz.path = 'xy.npz'", "none");
    assert!(
        code == 2 && said(&stderr, "must hold one array, it holds 2; `moments.inputs.npz.name` chooses one"),
        "{stderr}"
    );
    for (inputs, out) in [("npz = { path = 'xy.npz', name = 'x' }", "a"), ("npy.path = 'x.npy'", "b")] {
        let (code, _, stderr) = measured(inputs, out);
        assert_eq!(code, 0, "{stderr}");
    }
    let read = |path: &str| std::fs::read(at.join(path)).expect("readable");
    assert_eq!(read("a/inputs.fingerprint"), read("b/inputs.fingerprint"));
    assert_eq!(read("a/log.jsonl"), read("b/log.jsonl"));
}
