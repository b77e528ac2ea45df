//! What goes wrong is said in words, once, with what to try.

use std::path::Path;

use fintan_artifact::{Event, EventKind, RunDir};

use crate::support::{TINY, config, folder, log, run, succeed};

fn events(run: &Path) -> Vec<Event> {
    RunDir::open(run).expect("a run").read_events().expect("a log")
}

fn states(run: &Path) -> Vec<(u64, EventKind, Option<bool>)> {
    events(run).into_iter().map(|event| (event.step, event.event, event.begins)).collect()
}

/// A generator that does not see its latents: only biases are left of the NTK parametrization.
fn blind() -> String {
    TINY.replace("beta = 0.1", "beta = 1.0")
        .replace("norm = { batch = {} }", "norm = \"none\"")
        .replace("steps = 100", "steps = 300")
}

#[test]
fn a_collapse_is_said_once_and_does_not_stop_a_run_unless_it_should() {
    let folder = folder();
    config(folder.path(), &blind());
    let (code, stdout, stderr) = run(folder.path(), &["train", "tiny.toml", "--out", "warned", "--device", "flex"]);
    assert_eq!(code, 0, "{stderr}");
    let told = stderr.matches("samples have collapsed: their spread is 0.00 of the data's").count();
    assert_eq!(told, 1, "{stderr}\n{stdout}");
    assert!(stderr.contains("activation.scaling = \"normalized\""), "{stderr}");
    let warned = folder.path().join("warned");
    assert!(states(&warned).contains(&(205, EventKind::Collapse, Some(true))));
    assert!(log(&warned).len() == 60, "events do not get into the way of the log");

    // To be stopped: everything is saved, and the run can go on all the same.
    let stop = ["--out", "stopped", "--device", "flex", "--quiet", "--set", "train.on_collapse=stop"];
    let (code, _, stderr) = run(folder.path(), &[&["train", "tiny.toml"], &stop[..]].concat());
    assert!(code == 1 && stderr.contains("stopped after step 205: samples have collapsed"), "{stderr}");
    let stopped = folder.path().join("stopped");
    assert_eq!(RunDir::open(&stopped).expect("a run").checkpoints().expect("read").last(), Some(&205));
    succeed(folder.path(), &["resume", "stopped", "--device", "flex", "--quiet"]);
    assert_eq!(states(&stopped), states(&warned), "what was said is not said again");
    assert_eq!(log(&stopped), log(&warned));
    // From before the collapse it is said again, since the log was taken back.
    succeed(folder.path(), &["resume", "warned", "--from", "250", "--device", "flex", "--quiet"]);
    assert_eq!(states(&stopped), states(&warned));
}

#[test]
fn a_discriminator_that_has_won_is_named() {
    let folder = folder();
    let text = TINY
        .replace("optimizer.adam.rate = 2e-3", "optimizer.adam.rate = 1e-9")
        .replace("label_smoothing = 0.1", "")
        .replace("steps = 100", "steps = 400");
    for (out, loss) in [("bce", "bce"), ("hinge", "hinge"), ("lsgan", "lsgan")] {
        config(folder.path(), &format!("{text}\n[loss]\nfunction = \"{loss}\"\n"));
        let (code, stdout, stderr) =
            run(folder.path(), &["train", "tiny.toml", "--out", out, "--device", "flex", "--json"]);
        assert_eq!(code, 0, "{stderr}");
        let event = stdout.lines().find(|line| line.contains("\"event\":\"discriminator_won\""));
        let event: Event = serde_json::from_str(event.unwrap_or_else(|| panic!("{loss}: {stdout}"))).expect("an event");
        assert!(event.message.contains("the discriminator has won: its loss is 0.0"), "{}", event.message);
        assert!(event.message.contains("try a smaller discriminator.optimizer rate"), "{}", event.message);
    }
}

/// A critic whose weights are clipped to next to nothing in front of a saturated nonlinearity is flat where the generator is.
#[test]
fn a_wasserstein_critic_on_a_plateau_is_named() {
    let folder = folder();
    let text = TINY
        .replace("optimizer.adam.rate = 2e-3", "optimizer.adam.rate = 1e-9")
        .replace("label_smoothing = 0.1", "")
        .replace("sgd = { rate = 0.01, momentum = 0.5 }", "adam.rate = 0.02")
        .replace(
            "dcgan = { channels = 8, norm = { layer = {} } }",
            "layers = [{ flatten = {} }, { dense = { out = 8 } }, { activation = { function = \"tanh\", gain = 8 } }, { dense = { out = 1 } }]",
        )
        .replace("steps = 100", "steps = 500");
    config(folder.path(), &format!("{text}\n[loss]\nfunction = {{ wgan_clip = {{ clip = 1.0 }} }}\n"));
    succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    let events = events(&folder.path().join("a"));
    let won = events.iter().find(|event| event.event == EventKind::DiscriminatorWon).expect("it has won");
    assert!(won.message.contains("of the mean slope to real ones"), "{}", won.message);
}

/// Images of single pixels, each its own: white noise, which has far more energy at period 2 than drawings have.
#[test]
fn checkerboards_are_named() {
    let folder = folder();
    let text = TINY
        .replace("size = 8, flip = true", "size = 32")
        .replace("dcgan = { channels = 8, extra = 1, norm = { batch = {} } }", "fc = { widths = [32] }")
        .replace("optimizer.adam.rate = 2e-3", "optimizer.adam.rate = 1e-9")
        .replace("batch = 8\nn_critic = 2", "batch = 4\nn_critic = 1")
        .replace("steps = 100", "steps = 210");
    config(folder.path(), &text);
    succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    let events = events(&folder.path().join("a"));
    let named = events.iter().find(|event| event.event == EventKind::Checkerboard).expect("checkerboards");
    assert!(
        named.begins == Some(true) && named.message.contains("layer_rates = \"three_halves\""),
        "{}",
        named.message
    );
}

#[test]
fn a_number_that_is_not_finite_is_an_event_with_its_layer() {
    let folder = folder();
    let text = TINY.replace("norm = { layer = {} }", "norm = \"none\"").replace("rate = 0.01", "rate = 1e30");
    config(folder.path(), &text);
    let (code, _, stderr) = run(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    assert!(code == 1 && stderr.contains("try a smaller optimizer rate"), "{stderr}");
    let events = events(&folder.path().join("a"));
    let [event] = &events[..] else { panic!("{events:?}") };
    assert!(
        event.event == EventKind::NotFinite && event.message.contains("of the discriminator (a conv)"),
        "{event:?}"
    );
}
