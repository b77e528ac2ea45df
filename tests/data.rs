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

    // Cut between two members, which no size contradicts.
    let things: Vec<_> = things().into_iter().filter(|(_, thing)| matches!(thing, Thing::File(_))).collect();
    let whole = tarred(&things);
    let unmarked = whole[..whole.len() - 1024].to_vec();
    let says = "the archive ends without the blocks of zeros that mark its end; members may be missing";
    for (name, bytes, missing) in [
        ("whole.tar", whole.clone(), false),
        ("whole.tgz", gzip(&whole), false),
        ("unmarked.tar", unmarked.clone(), true),
        ("unmarked.tgz", gzip(&unmarked), true),
    ] {
        write(folder.path(), name, &bytes);
        let told = succeed(folder.path(), &["data", "info", name]);
        assert_eq!(told.contains(says), missing, "{name}: {told}");
    }

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

/// What a folder may hold beside its pictures, as the name, and the bytes or the link there.
enum Thing {
    File(Vec<u8>),
    Link(&'static str),
}

/// Two classes of pictures among what systems, notebooks and tools leave in folders.
fn things() -> Vec<(&'static str, Thing)> {
    let grey = |level: u8| Thing::File(png([level, level, level, 255]));
    vec![
        (".DS_Store", Thing::File(b"\0\0\0\x01Bud1".to_vec())),
        (".thumbnails/a.png", grey(1)),
        ("__MACOSX/cats/._0.png", Thing::File(b"\0\x05\x16\x07".to_vec())),
        ("blobs/7f3a", grey(70)),
        ("cats/.ipynb_checkpoints/0-checkpoint.png", grey(2)),
        ("cats/0.png", grey(10)),
        ("cats/1.png", grey(11)),
        ("cats/Thumbs.db", Thing::File(vec![0xd0])),
        ("cats/desktop.ini", Thing::File(vec![0xff])),
        ("cats/self", Thing::Link(".")),
        ("cats/up", Thing::Link("..")),
        ("dogs/0.png", grey(20)),
        ("dogs/again.png", Thing::Link("../cats/0.png")),
        ("dogs/blob.png", Thing::Link("../blobs/7f3a")),
        ("dogs/broken.png", Thing::File(png([9; 4])[..40].to_vec())),
        ("dogs/nothing.png", Thing::Link("nowhere.png")),
        ("dogs/round.png", Thing::Link("round.png")),
        ("dogs/2.webp", Thing::File(b"RIFF\x04\0\0\0WEBP".to_vec())),
        ("dogs/3.bmp", Thing::File(b"BM".to_vec())),
        ("labels.csv", Thing::File(b"0,cat".to_vec())),
        ("loose.png", grey(30)),
    ]
}

fn tarred(things: &[(&str, Thing)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, thing) in things {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match thing {
            Thing::File(bytes) => {
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, name, &bytes[..]).expect("in memory");
            }
            Thing::Link(to) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, name, to).expect("in memory");
            }
        }
    }
    archive.into_inner().expect("in memory")
}

fn zipped_things(things: &[(&str, Thing)], separator: &str) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default();
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, thing) in things {
        let name = name.replace('/', separator);
        match thing {
            Thing::File(bytes) => {
                archive.start_file(name, options).expect("in memory");
                archive.write_all(bytes).expect("in memory");
            }
            Thing::Link(to) => archive.add_symlink(name, *to, options).expect("in memory"),
        }
    }
    archive.finish().expect("in memory").into_inner()
}

#[cfg(unix)]
#[test]
fn one_rule_holds_for_folders_zip_and_tar() {
    let folder = folder();
    let things = things();
    for (name, thing) in &things {
        let path = folder.path().join("set").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        match thing {
            Thing::File(bytes) => std::fs::write(path, bytes).expect("written"),
            Thing::Link(to) => std::os::unix::fs::symlink(to, path).expect("linked"),
        }
    }
    let tar = tarred(&things);
    write(folder.path(), "set.tar", &tar);
    write(folder.path(), "set.tar.gz", &gzip(&tar));
    write(folder.path(), "set.tgz", &[gzip(&tar), vec![0; 100]].concat());
    write(folder.path(), "misnamed", &gzip(&tar));
    write(folder.path(), "set.zip", &zipped_things(&things, "/"));
    write(folder.path(), "windows.zip", &zipped_things(&things, "\\"));
    for path in ["set", "set.tar", "set.tar.gz", "set.tgz", "misnamed", "set.zip", "windows.zip"] {
        let told = succeed(folder.path(), &["data", "info", path, "--size", "8"]);
        let at = if path == "set" { "set/" } else { "" };
        for said in [
            "images    4, brought to 8x8".to_owned(),
            "classes   cats: 2, dogs: 2\n".to_owned(),
            format!("unread    {at}dogs/broken.png: "),
            format!("left out  1 beside the folders that are classes: `{at}loose.png`"),
            format!(
                "left out  2 in a picture format that is not read (PNG and JPEG are): `{at}dogs/2.webp`, `{at}dogs/3.bmp`"
            ),
            format!("there already under another path: `{at}cats/self`, `{at}dogs/again.png`"),
            format!("left out  1 linked to a folder that holds the data set: `{at}cats/up`"),
            format!("left out  2 linked to nothing: `{at}dogs/nothing.png`, `{at}dogs/round.png`"),
            format!("left out  2 no PNG or JPEG by name: `{at}blobs/7f3a`, `{at}labels.csv`"),
            format!(
                "left out  6 hidden, or left behind by a system: `{at}.DS_Store`, `{at}.thumbnails`, `{at}__MACOSX`, .."
            ),
        ] {
            assert!(told.contains(&said), "{path}: {said}\n{told}");
        }
        // Equal data, however they are packed.
        let out = format!("{path}.png");
        succeed(folder.path(), &["data", "preview", path, "--size", "8", "-n", "4", "--out", &out]);
        let first = std::fs::read(folder.path().join("set.png")).expect("drawn");
        assert!(std::fs::read(folder.path().join(out)).expect("drawn") == first, "{path}");
    }
    config(folder.path(), &TINY.replace("data.shapes.count = 256", "data.folder.path = \"set\""));
    let (code, _, told) =
        run(folder.path(), &["train", "tiny.toml", "--set", "train.batch=4", "--set", "train.steps=1"]);
    assert!(
        code == 0
            && told.contains("left out 1 beside the folders that are classes: `")
            && told.contains("set/loose.png`"),
        "{told}"
    );
}

/// A folder with pipes is read and none of them is opened, links outside are followed once, and loops never.
#[cfg(unix)]
#[test]
fn links_that_leave_or_loop_and_pipes_neither_wait_nor_multiply() {
    let folder = folder();
    let root = folder.path().join("set");
    write(folder.path(), "set/a.png", &png([1, 2, 3, 255]));
    write(folder.path(), "elsewhere/b.png", &png([4, 5, 6, 255]));
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join(at)).expect("linked");
    for (to, at) in
        [(".", "loop"), (".", "loop2"), ("../elsewhere", "out"), ("../elsewhere/b.png", "b.png"), ("/", "all")]
    {
        link(to, at);
    }
    std::os::unix::fs::symlink("../set", folder.path().join("elsewhere/back")).expect("linked");
    let made = std::process::Command::new("mkfifo").arg(root.join("p.png")).status().expect("mkfifo runs");
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(root.join("s.png")).expect("a socket");
    link("/dev/zero", "zero.png");
    let told = succeed(folder.path(), &["data", "info", "set"]);
    assert!(
        told.contains("images    2,") && told.contains("left out  3 pipe, device or socket: `set/p.png`"),
        "{told}"
    );
    assert!(
        told.contains("4 linked to a folder that holds the data set: `set/all`, `set/loop`, `set/loop2`, .."),
        "{told}"
    );
}

#[test]
fn hard_links_and_repeated_paths_in_tar_are_what_they_unpack_to() {
    let folder = folder();
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, level: u8| {
        let (bytes, mut header) = (png([level, level, level, 255]), tar::Header::new_gnu());
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, &bytes[..]).expect("in memory");
    };
    add("a/1.png", 10);
    add("./a/1.png", 20);
    add("b/2.png", 30);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    archive.append_link(&mut header, "b/hard.png", "a/1.png").expect("in memory");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Fifo);
    header.set_size(0);
    archive.append_data(&mut header, "b/pipe.png", std::io::empty()).expect("in memory");
    write(folder.path(), "a.tar", &archive.into_inner().expect("in memory"));
    let told = succeed(folder.path(), &["data", "preview", "a.tar", "--size", "8", "-n", "3", "--out", "p.png"]);
    assert!(told.contains("images    3,") && told.contains("classes   a: 1, b: 2"), "{told}");
    assert!(told.contains("left out  1 there already under another path: `a/1.png`"), "{told}");
    assert!(told.contains("left out  1 pipe, device or socket: `b/pipe.png`"), "{told}");
    let picture = image::open(folder.path().join("p.png")).expect("a PNG").into_rgb8();
    assert!(!picture.pixels().any(|p| p.0 == [10; 3]) && picture.pixels().any(|p| p.0 == [20; 3]));
}

#[test]
fn archives_of_other_packers_are_named() {
    let folder = folder();
    write(folder.path(), "a.tar.xz", b"\xfd7zXZ\0\0\x04");
    assert!(refused(folder.path(), "a.tar.xz").contains("it is packed with xz, and only gzip is unpacked here"));
    write(folder.path(), "webp/a.webp", b"RIFF");
    let told = refused(folder.path(), "webp");
    assert!(
        told.contains("left out are 1 in a picture format that is not read (PNG and JPEG are): `webp/a.webp`"),
        "{told}"
    );
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
