//! Data sets: every format is read, and what is wrong with one is said.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use image::{DynamicImage, GrayImage, Luma, Rgba, RgbaImage};

use crate::support::{TINY, config, folder, run, succeed};

fn idx(axes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, axes.len() as u8];
    file.extend(axes.iter().flat_map(|n| n.to_be_bytes()));
    file.extend(bytes);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(&path, bytes).expect("written");
    name.into()
}

fn refused(folder: &Path, path: &str) -> String {
    let (code, stdout, stderr) = run(folder, &["data", "info", path]);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    // miette folds long lines; the words are what matters.
    stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ")
}

#[test]
fn idx_files_are_read_plain_and_packed_and_refused_when_cut() {
    let folder = folder();
    let pixels: Vec<u8> = (0..3 * 4 * 5).collect();
    let good = idx(&[3, 4, 5], &pixels);
    for (name, bytes) in [("a-idx3-ubyte", good.clone()), ("a-idx3-ubyte.gz", gzip(&good))] {
        write(folder.path(), name, &bytes);
        let told = succeed(folder.path(), &["data", "info", name, "--channels", "1"]);
        assert!(told.contains("images    3, brought to 32x32, 1 channel(s)"), "{told}");
    }
    let cut = write(folder.path(), "cut", &good[..good.len() - 7]);
    assert!(
        refused(folder.path(), &cut).contains("is truncated or too long: 69 bytes where its header [3, 4, 5] needs 76")
    );
    let packed = gzip(&good);
    let cut = write(folder.path(), "cut.gz", &packed[..packed.len() - 9]);
    assert!(refused(folder.path(), &cut).contains("is a broken or truncated gzip file"));
    let labels = write(folder.path(), "labels", &idx(&[3], &[0, 1, 2]));
    assert!(refused(folder.path(), &labels).contains("type 0x08 with 1 axes; images have type 0x08 and 3 axes"));
    let other = write(folder.path(), "other", b"GIF89a");
    assert!(refused(folder.path(), &other).contains("is no IDX file"));
    let huge = write(folder.path(), "huge", &idx(&[u32::MAX, u32::MAX, u32::MAX], &[]));
    assert!(refused(folder.path(), &huge).contains("needs"), "sizes that overflow are no panic");
    assert!(refused(folder.path(), "nowhere").contains("`nowhere` does not exist"));
}

#[test]
fn labels_must_match_the_images() {
    let folder = folder();
    write(folder.path(), "images", &idx(&[2, 3, 3], &[0; 18]));
    write(folder.path(), "labels", &idx(&[3], &[0, 1, 2]));
    config(
        folder.path(),
        &TINY.replace("data.shapes.count = 256", "data.idx = { images = \"images\", labels = \"labels\" }"),
    );
    let (code, _, stderr) = run(folder.path(), &["train", "tiny.toml"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("labels` holds 3 labels for 2 images"), "{stderr}");
}

#[test]
fn cifar_batches_are_planes_in_rgb_order() {
    let folder = folder();
    let mut record = vec![7_u8];
    for value in [255, 128, 0] {
        record.extend([value; 1024]);
    }
    let file = write(folder.path(), "c/data_batch_1.bin", &record.repeat(2));
    for path in [file.as_str(), "c"] {
        let told = succeed(folder.path(), &["data", "preview", path, "-n", "1", "--out", "p.png"]);
        assert!(told.contains("images    2") && told.contains("7: 2"), "{told}");
        let picture = image::open(folder.path().join("p.png")).expect("a PNG").into_rgb8();
        assert_eq!(picture.get_pixel(20, 20).0, [255, 128, 0]);
    }
    let cut = write(folder.path(), "cut.bin", &record[..3000]);
    assert!(refused(folder.path(), &cut).contains("3000 bytes are not a multiple of 3073"));
}

#[test]
fn folders_and_archives_of_pictures_are_read_and_unreadable_files_listed() {
    let folder = folder();
    let root = folder.path().join("pictures");
    std::fs::create_dir_all(root.join("deep/er")).expect("made");
    DynamicImage::ImageLuma8(GrayImage::from_pixel(9, 5, Luma([200]))).save(root.join("a.png")).expect("saved");
    let clear = RgbaImage::from_pixel(40, 40, Rgba([10, 20, 30, 0]));
    DynamicImage::ImageRgba8(clear).save(root.join("deep/er/b.png")).expect("saved");
    DynamicImage::ImageLuma8(GrayImage::new(16, 16)).save(root.join("deep/c.JPG")).expect("saved");
    let whole = std::fs::read(root.join("a.png")).expect("read");
    std::fs::write(root.join("cut.png"), &whole[..whole.len() / 2]).expect("written");
    std::fs::write(root.join("notes.txt"), "no picture").expect("written");
    let told = succeed(folder.path(), &["data", "info", "pictures"]);
    assert!(told.contains("images    3") && told.contains("unread    pictures/cut.png"), "{told}");

    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("inside", &root).expect("packed");
    let bytes = archive.into_inner().expect("packed");
    write(folder.path(), "pictures.tar", &bytes);
    let told = succeed(folder.path(), &["data", "info", "pictures.tar"]);
    assert!(told.contains("images    3") && told.contains("unread    inside/cut.png"), "{told}");
    let cut = write(folder.path(), "cut.tar", &bytes[..bytes.len() / 2]);
    let (code, stdout, stderr) = run(folder.path(), &["data", "info", &cut]);
    assert!(code == 2 || stdout.contains("unread") || stdout.contains("images"), "{stderr}");

    std::fs::create_dir(folder.path().join("empty")).expect("made");
    assert!(refused(folder.path(), "empty").contains("`empty` holds no readable PNG or JPEG image"));
}

/// A zip archive of pictures in folders.
fn zipped(members: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, options).expect("in memory");
        archive.write_all(bytes).expect("in memory");
    }
    archive.finish().expect("in memory").into_inner()
}

fn png(pixel: [u8; 4]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = DynamicImage::ImageRgba8(RgbaImage::from_pixel(8, 8, Rgba(pixel)));
    image.write_to(&mut bytes, image::ImageFormat::Png).expect("in memory");
    bytes.into_inner()
}

#[test]
fn zip_archives_are_read_and_their_folders_are_classes() {
    let folder = folder();
    let members = [
        ("set/train/red/1.png", png([255, 0, 0, 255])),
        ("set/train/blue/1.png", png([0, 0, 255, 255])),
        ("set/test/red/2.PNG", png([255, 0, 0, 255])),
        ("set/test/red/cut.png", png([255, 0, 0, 255])[..30].to_vec()),
        ("set/test/notes.txt", b"no picture".to_vec()),
    ];
    for packed in [false, true] {
        let bytes = zipped(&members, packed);
        write(folder.path(), "a.zip", &bytes);
        let told = succeed(folder.path(), &["data", "info", "a.zip", "--size", "8"]);
        assert!(told.contains("images    3, brought to 8x8"), "{told}");
        assert!(
            told.contains("classes   blue: 1, red: 2") && told.contains("unread    set/test/red/cut.png"),
            "{told}"
        );
        write(folder.path(), "cut.zip", &bytes[..bytes.len() / 2]);
        assert!(refused(folder.path(), "cut.zip").contains("`cut.zip` is no complete zip archive"));
    }
    for (name, bytes) in members {
        write(folder.path(), &format!("unpacked/{name}"), &bytes);
    }
    let pixels = |path: &str| {
        let out = format!("{path}.preview.png");
        succeed(folder.path(), &["data", "preview", path, "--size", "8", "-n", "3", "--out", &out]);
        image::open(folder.path().join(out)).expect("a PNG").into_rgb8().into_raw()
    };
    // The same pictures in the same order, packed or not.
    assert_eq!(pixels("a.zip"), pixels("unpacked"));
    let json = succeed(folder.path(), &["data", "info", "unpacked", "--json"]);
    assert!(json.contains("\"class_names\":[\"blue\",\"red\"]") && json.contains("\"class_counts\":[1,2]"), "{json}");
}

/// A file as NumPy writes it, version 1.0.
fn npy(kind: &str, shape: &[usize], bytes: &[u8], by_columns: bool) -> Vec<u8> {
    let axes = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ") + ",";
    let order = if by_columns { "True" } else { "False" };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({axes}), }}");
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes);
    file
}

#[test]
fn arrays_are_read_in_every_layout_and_what_is_ambiguous_is_refused() {
    let folder = folder();
    // Two images of 4x5 in which every byte is another.
    let last: Vec<u8> = (0..120).collect();
    let first: Vec<u8> =
        (0..2).flat_map(|n| (0..3).flat_map(move |c| (0..20).map(move |p| (60 * n + 3 * p + c) as u8))).collect();
    let floats: Vec<u8> = last.iter().flat_map(|&b| (f32::from(b) / 255.0).to_le_bytes()).collect();
    let signed: Vec<u8> = last.iter().flat_map(|&b| (f64::from(b) / 127.5 - 1.0).to_le_bytes()).collect();
    let labels = npy("<i8", &[2], &[7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0], false);
    let arrays = [
        ("last.npy", npy("|u1", &[2, 4, 5, 3], &last, false)),
        ("first.npy", npy("|u1", &[2, 3, 4, 5], &first, false)),
        ("floats.npy", npy("<f4", &[2, 4, 5, 3], &floats, false)),
        ("signed.npy", npy("<f8", &[2, 4, 5, 3], &signed, false)),
        ("labels.npy", labels.clone()),
        ("grey.npy", npy("|u1", &[6, 4, 5], &last, false)),
        ("unclear.npy", npy("|u1", &[2, 1, 20, 3], &last, false)),
        ("four.npy", npy("|u1", &[2, 5, 6, 2], &last, false)),
        ("columns.npy", npy("|u1", &[2, 4, 5, 3], &last, true)),
        ("half.npy", npy("<f2", &[1, 4, 5, 3], &last, false)),
        ("cut.npy", npy("|u1", &[2, 4, 5, 3], &last[..100], false)[..150].to_vec()),
        ("huge.npy", npy("|u1", &[1 << 40, 1 << 40, 3], &last, false)),
        ("nan.npy", npy("<f4", &[1, 1, 2], &[f32::NAN.to_le_bytes(), 0.5_f32.to_le_bytes()].concat(), false)),
        ("none.npy", npy("|u1", &[0, 4, 5], &[], false)),
        ("high.npy", npy("<u2", &[2], &[44, 1, 0, 0], false)),
        ("no.npy", b"PK no array".to_vec()),
    ];
    for (name, bytes) in &arrays {
        write(folder.path(), name, bytes);
    }
    let named = |name: &str| arrays.iter().find(|(known, _)| *known == name).expect("made").1.clone();
    write(folder.path(), "all.npz", &zipped(&[("x.npy", named("last.npy")), ("y.npy", labels)], true));
    write(folder.path(), "one.npz", &zipped(&[("arr_0.npy", named("last.npy"))], false));

    let image = "image = { size = 8, channels = 3, fit = \"pad\" }";
    let pixels = |data: &str| {
        let text = TINY.replace("image = { size = 8, flip = true }", image).replace("data.shapes.count = 256", data);
        config(folder.path(), &text);
        let told = succeed(folder.path(), &["data", "preview", "tiny.toml", "-n", "2", "--out", "p.png"]);
        (told, image::open(folder.path().join("p.png")).expect("a PNG").into_rgb8().into_raw())
    };
    let (told, want) = pixels("data.npy.path = \"last.npy\"");
    assert!(told.contains("NumPy file `last.npy` (4x5 RGB, uint8)") && told.contains("images    2"), "{told}");
    // Every byte arrives: the pixels of both images, each once.
    for byte in 1..120 {
        assert!(want.contains(&byte), "{byte}");
    }
    for same in [
        "data.npy.path = \"first.npy\"",
        "data.npy = { path = \"floats.npy\", range = [0, 1] }",
        "data.npy = { path = \"signed.npy\", range = [-1, 1] }",
        "data.npz.path = \"one.npz\"",
        "data.npz = { path = \"all.npz\", name = \"x\" }",
    ] {
        assert_eq!(pixels(same).1, want, "{same}");
    }
    for labelled in [
        "data.npy = { path = \"last.npy\", labels = \"labels.npy\" }",
        "data.npz = { path = \"all.npz\", labels = \"y\" }",
    ] {
        let (told, same) = pixels(labelled);
        assert!(told.contains("7: 1") && told.contains("9: 1") && same == want, "{told}");
    }
    assert!(pixels("data.npy.path = \"grey.npy\"").0.contains("images    6"));

    let mut answers = String::new();
    for wrong in ["unclear", "four", "columns", "half", "cut", "huge", "floats", "none", "no", "labels"] {
        writeln!(answers, "{}", refused(folder.path(), &format!("{wrong}.npy"))).expect("a string");
    }
    writeln!(answers, "{}", refused(folder.path(), "all.npz")).expect("a string");
    for wrong in [
        "data.npy = { path = \"nan.npy\", range = [0, 1] }",
        "data.npy = { path = \"signed.npy\", range = [0, 1] }",
        "data.npy = { path = \"last.npy\", range = [0, 1] }",
        "data.npy = { path = \"last.npy\", labels = \"high.npy\" }",
        "data.npy = { path = \"grey.npy\", labels = \"high.npy\" }",
        "data.npy = { path = \"last.npy\", labels = \"floats.npy\" }",
        "data.npz = { path = \"all.npz\", name = \"z\" }",
        "data.npz = { path = \"last.npy\" }",
        "data.zip.path = \"last.npy\"",
    ] {
        config(folder.path(), &TINY.replace("data.shapes.count = 256", wrong));
        writeln!(answers, "{}", refused(folder.path(), "tiny.toml")).expect("a string");
    }
    insta::assert_snapshot!(answers);
}

#[test]
fn fewer_images_than_a_batch_are_refused_before_the_first_step() {
    let folder = folder();
    config(folder.path(), TINY);
    let (code, _, stderr) = run(folder.path(), &["train", "tiny.toml", "--set", "data.shapes.count=5"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("the data set holds 5 images, fewer than one batch of 8"), "{stderr}");
}

#[test]
fn the_built_in_set_has_its_classes() {
    let folder = folder();
    config(folder.path(), TINY);
    let told = succeed(folder.path(), &["data", "preview", "tiny.toml"]);
    for class in fintan_data::CLASSES {
        assert!(told.contains(class), "{told}");
    }
    assert!(folder.path().join("preview.png").is_file());
}
