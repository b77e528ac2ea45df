//! `fintan export`: a generator for other programs, and networks that come from them.

use std::path::Path;

use fintan::parts::channels_first;
use fintan_artifact::{Array, Draft, write_npz};
use fintan_config::{Description, Held, MemoryBound};
use fintan_net::weights::{read_safetensors, write_safetensors};
use fintan_net::{Mode, Network, Placement};
use fintan_train::{Purpose, draw_latents, generate, stream};
use miette::miette;

use super::sample::Source;
use crate::args::Export;
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// What rebuilds the generator elsewhere.
const LOADER: &str = include_str!("generator.py");

/// Samples to check a loader by.
const CHECKED: usize = 16;

/// Writes a folder with the generator of a checkpoint.
pub(super) fn export(args: &Export) -> Result<(), Failure> {
    if is_export(&args.run) {
        let name = args.run.display();
        return Err(Failure::input(format!("`{name}` is an exported folder already; copy it")));
    }
    if args.out.exists() {
        let name = args.out.display();
        return Err(Failure::input(format!("`{name}` exists already; an export never overwrites anything")));
    }
    let opened = device::open(args.on.device)?;
    let Source { generator, step, seed } = Source::open(&args.run, args.step, &opened)?;
    let architecture = generator.architecture();
    let latents = draw_latents(seed, CHECKED, architecture.input.len(), None);
    let images = generate(&generator, &latents, Mode::Eval, &opened.placement.device, &|_| ());
    let shape = architecture.output();
    let planes = channels_first(&images.values, shape.channels, shape.positions());

    // The folder appears whole or not at all.
    let draft = Draft::at(&args.out)?;
    draft.write("generator.safetensors", &write_safetensors(&generator.to_tensors()))?;
    let described = serde_json::to_string_pretty(&Description::of(architecture)).map_err(Failure::input)?;
    draft.write("generator.json", format!("{described}\n").as_bytes())?;
    draft.write("generator.py", LOADER.as_bytes())?;
    let arrays = [
        ("latents", Array::f32(&[CHECKED, architecture.input.len()], latents.as_slice())),
        ("images", Array::f32(&[CHECKED, shape.channels, shape.height, shape.width], planes)),
    ];
    write_npz(&draft.path().join("samples.npz"), &arrays)?;
    draft.publish()?;
    if args.voice.json {
        let answer = serde_json::json!({
            "folder": args.out.display().to_string(), "step": step, "parameters": architecture.parameter_count(),
            "latent": architecture.input.len(), "image": [shape.channels, shape.height, shape.width],
        });
        answer_json(&answer);
        return Ok(());
    }
    answer!("{}", args.out.display());
    if !args.voice.quiet {
        tell!("generator.safetensors, generator.json, generator.py (NumPy or PyTorch) and samples.npz to check it by:");
        tell!("  python3 {}", args.out.join("generator.py").display());
    }
    Ok(())
}

/// Whether a folder was written by `fintan export`.
pub(crate) fn is_export(path: &Path) -> bool {
    path.join("generator.json").is_file() && path.join("generator.safetensors").is_file()
}

/// A network from a safetensors file with its description as JSON beside it.
pub(super) fn read_export(weights: &Path, placement: &Placement) -> Result<Network, Failure> {
    let beside = weights.with_extension("json");
    let bytes = fs_err::read(weights).map_err(Failure::input)?;
    let wrong =
        |path: &Path, message: &dyn std::fmt::Display| Failure::Input(miette!("`{}`: {message}", path.display()));
    let tensors = read_safetensors(&bytes).map_err(|e| wrong(weights, &e))?;
    if !beside.is_file() {
        return Err(Failure::Input(miette!(
            help = "it describes the layers, as the generator.json of `fintan export` does. Networks with layers that this \
                    program has not (pooling by maxima, concatenated branches: torchvision's Inception v3 has both) cannot \
                    be described",
            "`{}` is missing: weights alone do not say what to do with them",
            beside.display()
        )));
    }
    let text = fs_err::read(&beside).map_err(Failure::input)?;
    let described: Description = serde_json::from_slice(&text).map_err(|e| wrong(&beside, &e))?;
    let architecture = described.architecture().map_err(|e| wrong(&beside, &e))?;
    let memory = MemoryBound { held: Held::Parameters, free: fintan::free_memory() };
    memory.admit(&architecture).map_err(|e| wrong(&beside, &format!("`{}`: {}", e.key, e.message)))?;
    let drawn = Network::init(&architecture, &mut stream(0, Purpose::Generator, 0), placement);
    drawn.with_tensors(&tensors).map_err(|e| wrong(weights, &e))
}
