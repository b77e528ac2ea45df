//! `fintan sample` beyond the grid.

use std::path::Path;

use fintan_artifact::{Array, read_arrays};
use fintan_net::{Lowering, Mode, Placement};

use crate::support::{TINY, config, files, folder, run, succeed};

fn trained(folder: &Path) {
    config(folder, &TINY.replace("steps = 100", "steps = 10").replace("ema = 0.9\n", ""));
    succeed(folder, &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
}

fn sample(folder: &Path, flags: &[&str]) -> Vec<String> {
    let told = succeed(folder, &[&["sample", "a", "--device", "flex", "--quiet"], flags].concat());
    told.lines().map(String::from).collect()
}

fn arrays(path: &Path) -> [Array<'static>; 2] {
    let [(images, a), (latents, b)] = read_arrays(path).expect("arrays").try_into().expect("two");
    assert_eq!((images.as_str(), latents.as_str()), ("images", "latents"));
    [a, b]
}

#[test]
fn images_come_one_by_one_and_as_arrays() {
    let folder = folder();
    trained(folder.path());
    let told = sample(folder.path(), &["--grid", "2x3", "--seed", "4", "--npz", "--png-each"]);
    let name = "a/samples/step_000010_seed_4_bn-running";
    assert_eq!(told, [format!("{name}.png"), format!("{name}.npz"), name.to_owned()]);
    let [images, latents] = arrays(&folder.path().join(format!("{name}.npz")));
    assert_eq!((images.shape.as_slice(), latents.shape.as_slice()), (&[6, 1, 8, 8][..], &[6, 6][..]));
    let each = files(&folder.path().join(name));
    assert_eq!(each.len(), 6);
    for (i, (_, png)) in each.iter().enumerate() {
        let picture = image::load_from_memory(png).expect("a PNG").into_luma8();
        for (shade, value) in picture.as_raw().iter().zip(&images.to_f64()[64 * i..]) {
            assert!((f64::from(*shade) - 127.5 * (value + 1.0)).abs() <= 0.5 + 1e-4);
        }
    }
    // The images are those of the latents.
    let checkpoint = folder.path().join("a/checkpoints/step_000010");
    let fintan_config::Subject::Gan(experiment) =
        fintan_config::Subject::load(&folder.path().join("a/config.resolved.toml"), &[]).expect("a GAN")
    else {
        panic!("a GAN");
    };
    let device = burn::tensor::Device::flex();
    let placement = Placement { device: device.clone(), dtype: burn::tensor::DType::F32, lowering: Lowering::Host };
    let generator = fintan_train::read_sampler(&checkpoint, &experiment, &placement).expect("read");
    let latents: Vec<f32> = latents.to_f64().iter().map(|&v| v as f32).collect();
    let again = fintan_train::generate(&generator, &latents, Mode::Eval, &device, &|_| ());
    assert_eq!(again.values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), images.to_f64());
}

#[test]
fn interpolations_walk_on_spheres_between_samples() {
    let folder = folder();
    trained(folder.path());
    let walks = ["--interpolate", "slerp", "-n", "2", "--columns", "5"];
    let told = sample(folder.path(), &[&walks[..], &["--frames", "9", "--gif", "--npz"]].concat());
    let name = "a/samples/step_000010_seed_0_slerp_bn-running";
    assert_eq!(told, ["png", "gif", "npz"].map(|kind| format!("{name}.{kind}")));
    let at = |kind: &str| folder.path().join(format!("{name}.{kind}"));
    let [images, latents] = arrays(&at("npz"));
    assert_eq!((images.shape.as_slice(), latents.shape.as_slice()), (&[2, 9, 1, 8, 8][..], &[2, 9, 6][..]));
    // Each walk begins and ends with latents of the seed, and turns by one angle at every step.
    sample(folder.path(), &["-n", "4", "--npz", "--out", "ends.png"]);
    let [_, ends] = arrays(&folder.path().join("ends.npz"));
    let (walked, ends) = (latents.to_f64(), ends.to_f64());
    let angle = |a: &[f64], b: &[f64]| {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(p, q)| p * q).sum::<f64>();
        (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).acos()
    };
    for walk in 0..2 {
        let latent = |i: usize| &walked[(walk * 9 + i) * 6..][..6];
        let end = |i: usize| &ends[(2 * walk + i) * 6..][..6];
        for (found, wanted) in latent(0).iter().zip(end(0)).chain(latent(8).iter().zip(end(1))) {
            assert!((found - wanted).abs() < 1e-5);
        }
        let parts: f64 = (0..8).map(|i| angle(latent(i), latent(i + 1))).sum();
        assert!((parts - angle(end(0), end(1))).abs() < 1e-3, "walks take no detour");
    }
    // Five of nine images a row, 8x8 enlarged four times and a pixel apart.
    let strip = image::open(at("png")).expect("a PNG").into_luma8();
    assert_eq!(strip.dimensions(), (5 * 33 + 1, 2 * 33 + 1));
    let shade = |row: u32, column: u32| f64::from(strip.get_pixel(33 * column + 1, 33 * row + 1).0[0]);
    for (row, column, frame) in [(0, 0, 0), (1, 0, 0), (0, 2, 4), (1, 4, 8)] {
        let value = images.to_f64()[(row as usize * 9 + frame) * 64];
        assert!((shade(row, column) - 127.5 * (value + 1.0)).abs() <= 0.5 + 1e-4);
    }
    assert!(std::fs::read(at("gif")).expect("a GIF").starts_with(b"GIF89a"));
}

#[test]
fn truncation_bounds_latents_and_is_named() {
    let folder = folder();
    trained(folder.path());
    let told = sample(folder.path(), &["-n", "50", "--truncation", "0.5", "--npz"]);
    assert!(told[0].ends_with("_truncation-0.5.png") && told[1].ends_with("_truncation-0.5.npz"), "{told:?}");
    let [_, latents] = arrays(&folder.path().join(&told[1]));
    assert!(latents.to_f64().iter().all(|v| v.abs() <= 0.5));
}

#[test]
fn wrong_wishes_are_refused_before_anything_is_written() {
    let folder = folder();
    trained(folder.path());
    for (flags, said) in [
        (&["--truncation", "0"][..], "it must be at least 0.001"),
        (&["--grid", "4"], "rows and columns in 1 to 1000"),
        (&["--grid", "2x2", "-n", "4"], "cannot be used with"),
        (&["--gif"], "--interpolate"),
        (&["--interpolate", "slerp", "--frames", "1"], "1 is not in 2..=10000"),
        (&["--out", "picture.gif"], "must end with .png, got `picture.gif`"),
    ] {
        let (code, _, stderr) = run(folder.path(), &[&["sample", "a"], flags].concat());
        assert!(code == 2 && stderr.contains(said), "{flags:?}: {stderr}");
    }
    assert!(!folder.path().join("a/samples").exists() && !folder.path().join("picture.gif").exists());
}
