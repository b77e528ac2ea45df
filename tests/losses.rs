//! Losses of GANs, spectral normalization, schedules: they train, and a run goes on exactly.

use std::path::Path;

use fintan_artifact::RunDir;
use fintan_net::weights::{Tensors, read_safetensors};

use crate::supervised::TASK;
use crate::support::{TINY, config, files, folder, log, run, succeed};

fn tensors(path: &Path) -> Tensors {
    read_safetensors(&std::fs::read(path).expect("a file")).expect("safetensors")
}

/// Trains in one go, and in halves.
fn both(folder: &Path, text: &str, steps: u32) {
    config(folder, text);
    for (out, end) in [("whole", steps), ("halves", steps / 2)] {
        let end = format!("train.steps={end}");
        succeed(folder, &["train", "tiny.toml", "--out", out, "--device", "flex", "--quiet", "--set", &end]);
    }
    let more = format!("+{}", steps / 2);
    succeed(folder, &["resume", "halves", "--steps", &more, "--device", "flex", "--quiet"]);
}

#[test]
fn every_loss_trains_and_goes_on_exactly() {
    let bce = |more: &str| format!("{TINY}\n[loss]\n{more}\n");
    let other = |function: &str| bce(&format!("function = {function}")).replace("label_smoothing = 0.1", "");
    let standard = "[discriminator]\nparametrization.standard.init = \"he\"\nspectral_norm.iterations = 2";
    let falling = "latent = 6\nschedule = { warmup = 4, decay = { cosine = { to = 0.1, over = 10 } } }";
    let cases = [
        ("bce with r1", bce("r1 = { gamma = 2.0, every = 3 }")),
        ("hinge", other("\"hinge\"")),
        ("lsgan", bce("function = \"lsgan\"")),
        ("wgan_gp", other("{ wgan_gp = {} }")),
        ("wgan_clip", other("{ wgan_clip = { clip = 0.05 } }")),
        ("relativistic", other("\"relativistic\"")),
        ("relativistic with r1", other("\"relativistic\"\nr1 = { gamma = 2.0, every = 3 }")),
        // Real and generated images are normalized apart, in the generator's step too.
        (
            "relativistic with batch norm",
            other("\"relativistic\"").replace("norm = { layer = {} }", "norm = { batch = {} }"),
        ),
        ("spectral", other("\"hinge\"\nr1.gamma = 0.1").replace("[discriminator]", standard)),
        (
            "schedules",
            TINY.replace("latent = 6", falling)
                .replace("[discriminator]", "[discriminator]\nschedule.decay.linear = { to = 0.0, over = 15 }"),
        ),
    ];
    for (name, text) in cases {
        let folder = folder();
        both(folder.path(), &text, 20);
        let [whole, halves] = ["whole", "halves"].map(|out| folder.path().join(out));
        assert_eq!(log(&whole), log(&halves), "{name}");
        let at = "checkpoints/step_000020";
        assert!(files(&whole.join(at)) == files(&halves.join(at)), "{name}: checkpoints differ");
        let lines = log(&whole);
        assert!(lines.iter().all(|line| line.d_loss.is_finite() && line.g_loss.is_finite()), "{name}");
        // n_critic is 2: discriminator steps 9, 19, 29, 39 are the last of a logged step, and 9 and 39 have a lazy penalty.
        let penalties: Vec<bool> = lines.iter().map(|line| line.d_penalty.is_some()).collect();
        let want = match name {
            "bce with r1" | "relativistic with r1" => [true, false, false, true],
            "wgan_gp" | "spectral" => [true; 4],
            _ => [false; 4],
        };
        assert_eq!(penalties, want, "{name}");
        assert_eq!(lines[0].slope_ratio.is_some(), name.starts_with("wgan"), "{name}");
        let discriminator = tensors(&whole.join(at).join("discriminator.safetensors"));
        let within = |bound: f32| discriminator.values().all(|t| t.iter::<f32>().all(|v| v.abs() <= bound));
        assert_eq!(within(0.05), name == "wgan_clip", "{name}");
        assert_eq!(whole.join(at).join("discriminator_spectral_norm.safetensors").is_file(), name == "spectral");
    }
}

/// What reads a checkpoint finds weights of largest singular value 1 (or nearly: one power iteration a step).
#[test]
fn a_checkpoint_holds_the_weights_a_spectrally_normalized_discriminator_computes_with() {
    let folder = folder();
    let text =
        TINY.replace("[discriminator]", "[discriminator]\nparametrization.standard.init = \"he\"\nspectral_norm = {}");
    config(folder.path(), &text);
    succeed(
        folder.path(),
        &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet", "--set", "train.steps=30"],
    );
    let at = folder.path().join("a/checkpoints/step_000030");
    let (effective, raw) =
        (tensors(&at.join("discriminator.safetensors")), tensors(&at.join("discriminator_spectral_norm.safetensors")));
    let values = |t: &Tensors, name: &str| t[name].iter::<f64>().collect::<Vec<_>>();
    let (w, u, v) = (values(&raw, "0.weight"), values(&raw, "0.u"), values(&raw, "0.v"));
    // PyTorch's layout is [out, in, rows, columns]; u counts [rows, columns, in], v the outputs.
    let [out, channels, rows, columns] = raw["0.weight"].shape().to_vec()[..] else { panic!("four axes") };
    let mut sigma = 0.0;
    for (i, w) in w.iter().enumerate() {
        let (o, c, p) = (i / (channels * rows * columns), i / (rows * columns) % channels, i % (rows * columns));
        sigma += u[p * channels + c] * w * v[o];
    }
    assert_eq!((u.len(), v.len()), (rows * columns * channels, out));
    let worst = values(&effective, "0.weight").iter().zip(&w).fold(0.0_f64, |m, (e, w)| m.max((e - w / sigma).abs()));
    assert!(worst < 1e-6, "{worst}");
    // The kernel of the discriminator is that of the function, not of the parameters behind it.
    succeed(folder.path(), &["ntk", "a", "--network", "discriminator", "-n", "3", "--device", "flex", "--quiet"]);
    // A state that is damaged is named, and nothing of the run is changed.
    let file = at.join("discriminator_spectral_norm.safetensors");
    let whole = std::fs::read(&file).expect("read");
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("cut");
    let (code, _, stderr) = run(folder.path(), &["resume", "a", "--steps", "+5", "--device", "flex"]);
    assert!(code == 2 && stderr.contains("spectral_norm.safetensors"), "{stderr}");
}

/// The first step of a rise over two has half the rate, and a rate of zero leaves the weights alone.
#[test]
fn schedules_multiply_the_rate() {
    let folder = folder();
    let text = TASK.replace("optimizer.adam = { rate = 0.02, beta1 = 0.9 }", "optimizer.sgd.rate = 0.02");
    let train = |out: &str, flags: &[&str]| {
        config(folder.path(), &text);
        let all = [&["train", "tiny.toml", "--out", out, "--device", "flex", "--quiet"], flags].concat();
        succeed(folder.path(), &all);
        let run = RunDir::open(&folder.path().join(out)).expect("a run");
        move |step| std::fs::read(run.checkpoint(step).join("network.safetensors")).expect("a checkpoint")
    };
    let every = "task.supervised.checkpoint_every=1";
    let (one, short) = ("task.supervised.steps=1", "task.supervised.steps=8");
    let risen = train("risen", &["--set", one, "--set", "task.supervised.schedule.warmup=2"]);
    let half = train("half", &["--set", one, "--set", "task.supervised.optimizer.sgd.rate=0.01"]);
    let full = train("full", &["--set", one]);
    assert!(risen(1) == half(1) && risen(1) != full(1));
    let decay = "task.supervised.schedule.decay.linear={ to = 0.0, over = 5 }";
    let fallen = train("fallen", &["--set", short, "--set", every, "--set", decay]);
    assert!(fallen(1) == full(1) && fallen(4) != fallen(5), "the rate is still above zero");
    assert!(fallen(5) == fallen(8), "it is zero from the sixth step on");
    let resolved = std::fs::read_to_string(folder.path().join("fallen/config.resolved.toml")).expect("read");
    assert!(resolved.contains("over = 5"), "{resolved}");
    // Predictions are for a rate that does not change.
    let (code, _, stderr) = run(folder.path(), &["flow", "fallen", "--device", "flex"]);
    assert!(code == 2 && stderr.contains("leave `schedule`"), "{stderr}");
}

#[test]
fn losses_are_cited() {
    let folder = folder();
    for (name, key) in [
        ("loss_hinge", "lim2017geometric"),
        ("loss_lsgan", "mao2017lsgan"),
        ("loss_wgan_gp", "gulrajani2017wgangp"),
        ("loss_wgan_clip", "arjovsky2017wgan"),
        ("loss_relativistic", "jolicoeurmartineau2019relativistic"),
        ("loss_relativistic", "huang2024r3gan"),
        ("loss_r1", "mescheder2018r1"),
        ("spectral_norm", "miyato2018spectral"),
    ] {
        let cited = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("configs/{name}.toml"));
            succeed(folder.path(), &["cite", path.to_str().expect("UTF-8")])
        };
        assert!(cited(name).contains(&format!("{{{key},")), "{name}");
        assert!(!cited("quickstart").contains(key), "{key}");
    }
}
