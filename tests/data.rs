//! Data sets: every format is read, and what is wrong with one is said.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::archives::zipped;
use crate::support::{TINY, config, folder, run, succeed};

pub(crate) fn idx(axes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, axes.len() as u8];
    file.extend(axes.iter().flat_map(|n| n.to_be_bytes()));
    file.extend(bytes);
    file
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(&path, bytes).expect("written");
    name.into()
}

pub(crate) fn refused(folder: &Path, path: &str) -> String {
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
    assert!(refused(folder.path(), &cut).contains("is truncated: 69 bytes where its header [3, 4, 5] needs 76"));
    let packed = gzip(&good);
    let cut = write(folder.path(), "cut.gz", &packed[..packed.len() - 9]);
    assert!(refused(folder.path(), &cut).contains("is a broken or truncated gzip file"));
    let long = [&good[..], &[0]].concat();
    for (name, bytes) in [("long", long.clone()), ("long.gz", gzip(&long))] {
        write(folder.path(), name, &bytes);
        assert!(
            refused(folder.path(), name)
                .contains("is too long: more than the 76 bytes that its header [3, 4, 5] needs")
        );
    }
    let labels = write(folder.path(), "labels", &idx(&[3], &[0, 1, 2]));
    assert!(refused(folder.path(), &labels).contains("type 0x08 with 1 axes; images have type 0x08 and 3 axes"));
    let other = write(folder.path(), "other", b"GIF89a");
    assert!(refused(folder.path(), &other).contains("is no IDX file"));
    let huge = write(folder.path(), "huge", &idx(&[u32::MAX, u32::MAX, u32::MAX], &[]));
    assert!(refused(folder.path(), &huge).contains("needs"), "sizes that overflow are no panic");
    assert!(refused(folder.path(), "nowhere").contains("`nowhere` does not exist"));
}

#[test]
fn padding_behind_gzip_is_fine_and_garbage_is_said() {
    let folder = folder();
    let packed = gzip(&idx(&[3, 4, 5], &(0..60).collect::<Vec<u8>>()));
    write(folder.path(), "padded.gz", &[&packed[..], &[0; 512]].concat());
    let told = succeed(folder.path(), &["data", "info", "padded.gz"]);
    assert!(told.contains("images    3") && !told.contains("note"), "{told}");
    write(folder.path(), "garbage.gz", &[&packed[..], b"garbage"].concat());
    let told = succeed(folder.path(), &["data", "info", "garbage.gz"]);
    let note = "note      bytes behind the gzip data of `garbage.gz` are ignored";
    assert!(told.contains("images    3") && told.contains(note), "{told}");
}

/// A few megabytes that stand for gigabytes: nothing of it is unpacked beyond what its header says.
#[test]
fn what_unpacks_without_end_is_refused_by_its_header() {
    let folder = folder();
    let zeros = vec![0; 64 << 20];
    write(folder.path(), "bomb.gz", &gzip(&[&idx(&[10, 2, 2], &[0; 40]), &zeros[..]].concat()));
    assert!(refused(folder.path(), "bomb.gz").contains("is too long: more than the 56 bytes that its header"));
    let options = zip::write::SimpleFileOptions::default();
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("x.png", options).expect("in memory");
    for _ in 0..5 {
        archive.write_all(&zeros).expect("in memory");
    }
    write(folder.path(), "bomb.zip", &archive.finish().expect("in memory").into_inner());
    let told = refused(folder.path(), "bomb.zip");
    assert!(told.contains("`x.png`: has 335544320 bytes, more than the 268435456 that a picture may have"), "{told}");
    let side: u32 = 20_000;
    let mut header = b"\0\0\0\x0dIHDR".to_vec();
    header.extend([side.to_be_bytes(), side.to_be_bytes()].concat());
    header.extend([8, 0, 0, 0, 0]);
    let mut checksum = flate2::Crc::new();
    checksum.update(&header[4..]);
    header.extend(checksum.sum().to_be_bytes());
    write(folder.path(), "pictures/b.png", &[b"\x89PNG\r\n\x1a\n", &header[..], b"\0\0\0\x09IDAT"].concat());
    assert!(refused(folder.path(), "pictures").contains("more than the 67108864 (8192x8192) that are read"));
}

/// Sizes that no machine holds: 200,000 images of 50 MB.
#[test]
fn images_that_memory_does_not_hold_are_counted_first() {
    let folder = folder();
    let tiny = write(folder.path(), "tiny-idx3-ubyte", &idx(&[200_000, 1, 1], &vec![7; 200_000]));
    let (code, _, stderr) = run(folder.path(), &["data", "info", &tiny, "--size", "4096"]);
    let told = stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ");
    let wanted =
        "`tiny-idx3-ubyte` holds 200000 images; as 4096x4096 of 3 channel(s) (`image.size`) they need 10066.3 GB";
    assert!(code == 2 && told.contains(wanted), "{told}");
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
fn a_cifar_folder_gives_its_training_images_and_the_names_of_its_classes() {
    let folder = folder();
    let record = |label: u8| [&[label][..], &[0; 3072]].concat();
    write(folder.path(), "c/data_batch_1.bin", &[record(0), record(2)].concat());
    write(folder.path(), "c/data_batch_2.bin", &record(1));
    write(folder.path(), "c/test_batch.bin", &record(1).repeat(5));
    write(folder.path(), "c/._data_batch_1.bin", b"left by macOS");
    write(folder.path(), "c/batches.meta.txt", b"airplane\nautomobile\nbird\n\n");
    let told = succeed(folder.path(), &["data", "info", "c"]);
    assert!(told.contains("images    3") && told.contains("airplane: 1, automobile: 1, bird: 1"), "{told}");
    assert!(told.contains("left out  1 for tests (name the file itself to read it): `c/test_batch.bin`"), "{told}");
    let told = succeed(folder.path(), &["data", "info", "c/test_batch.bin"]);
    assert!(told.contains("images    5") && told.contains("automobile: 5"), "{told}");
    std::fs::write(folder.path().join("c/batches.meta.txt"), "airplane\n").expect("written");
    let told = succeed(folder.path(), &["data", "info", "c"]);
    assert!(told.contains("note      `c/batches.meta.txt` has 1 names, too few for the label 2"), "{told}");
    write(folder.path(), "t/test_batch.bin", &record(1));
    assert!(refused(folder.path(), "t").contains("holds test batches alone; name the file itself"));
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
        ("half.npy", npy("<f2", &[1, 4, 5, 3], &last, false)),
        ("complex.npy", npy("<c8", &[1, 4, 5, 3], &last.repeat(4), false)),
        ("one.npy", npy("|u1", &[8, 5, 3], &last, false)),
        ("cut.npy", npy("|u1", &[2, 4, 5, 3], &last[..100], false)[..150].to_vec()),
        ("huge.npy", npy("|u1", &[1 << 40, 1 << 40, 3], &last, false)),
        ("nan.npy", npy("<f4", &[1, 1, 2], &[f32::NAN.to_le_bytes(), 0.5_f32.to_le_bytes()].concat(), false)),
        ("none.npy", npy("|u1", &[0, 4, 5], &[], false)),
        ("high.npy", npy("<u2", &[2], &[44, 1, 0, 0], false)),
        ("thirds.npy", npy("<f8", &[2], &[1.0_f64.to_le_bytes(), (1.0_f64 / 3.0).to_le_bytes()].concat(), false)),
        ("wider.npy", npy("<u2", &[1, 2, 2], &[0, 0, 255, 0, 0, 1, 1, 0], false)),
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

    // By columns: the first index runs fastest.
    let by_columns: Vec<u8> = (0..3)
        .flat_map(|c| {
            (0..5).flat_map(move |w| (0..4).flat_map(move |h| (0..2).map(move |n| (60 * n + 15 * h + 3 * w + c) as u8)))
        })
        .collect();
    let wide: Vec<u8> = last.iter().flat_map(|&b| i64::from(b).to_le_bytes()).collect();
    let halves = |b: u8| if b.is_multiple_of(2) { [0x00, 0x00] } else { [0x3c, 0x00] };
    // Channels first: the images have four rows, which could be channels too if those came last.
    let value = |n, h, w, c| if c < 3 { (60 * n + 15 * h + 3 * w + c) as u8 } else { 255 };
    let clear: Vec<u8> = (0..2)
        .flat_map(|n| (0..4).flat_map(move |c| (0..4).flat_map(move |h| (0..5).map(move |w| value(n, h, w, c)))))
        .collect();
    let shown = |name: &str, array: Vec<u8>, range: &str| {
        write(folder.path(), name, &array);
        pixels(&format!("data.npy = {{ path = \"{name}\"{range} }}")).1
    };
    assert_eq!(shown("columns.npy", npy("|u1", &[2, 4, 5, 3], &by_columns, true), ""), want);
    assert_eq!(shown("wide.npy", npy("<i8", &[2, 4, 5, 3], &wide, false), ""), want);
    assert_eq!(shown("clear.npy", npy("|u1", &[2, 4, 4, 5], &clear, false), ""), want);
    let bits: Vec<u8> = last.iter().map(|b| b % 2).collect();
    let extremes: Vec<u8> = bits.iter().map(|b| b * 255).collect();
    let want = shown("extremes.npy", npy("|u1", &[2, 4, 5, 3], &extremes, false), "");
    assert_eq!(shown("bits.npy", npy("|b1", &[2, 4, 5, 3], &bits, false), ""), want);
    let halves: Vec<u8> = last.iter().flat_map(|&b| halves(b)).collect();
    assert_eq!(shown("halves.npy", npy(">f2", &[2, 4, 5, 3], &halves, false), ", range = [0, 1]"), want);
    // Labels as whole floats, and as a column.
    let sevens = [7.0_f32.to_le_bytes(), 9.0_f32.to_le_bytes()].concat();
    for labels in [npy("<f4", &[2], &sevens, false), npy("|u1", &[2, 1], &[7, 9], false)] {
        write(folder.path(), "other.npy", &labels);
        let told = pixels("data.npy = { path = \"last.npy\", labels = \"other.npy\" }").0;
        assert!(told.contains("7: 1") && told.contains("9: 1"), "{told}");
    }

    let mut answers = String::new();
    for wrong in ["unclear", "four", "half", "complex", "one", "cut", "huge", "floats", "none", "no", "labels", "wider"]
    {
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
        "data.npy = { path = \"last.npy\", labels = \"thirds.npy\" }",
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
