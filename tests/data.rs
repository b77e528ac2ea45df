//! Data sets: every format is read, and what is wrong with one is said.

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
