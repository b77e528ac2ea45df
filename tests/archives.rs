//! Folders and archives of pictures: one walk, one rule.

use std::io::Write as _;

use image::{DynamicImage, GrayImage, Luma, Rgba, RgbaImage};

use crate::data::{gzip, refused, write};
use crate::support::{TINY, config, folder, run, succeed};

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
pub(crate) fn zipped(members: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
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
