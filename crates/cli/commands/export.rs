//! `fintan export`

use fintan::Device;
use fintan::parts::is_export;
use fintan_artifact::RunDir;

use super::settings_of_run::say_edits;
use crate::args::Export;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// Writes a folder with the generator of a checkpoint.
pub(super) fn export(args: &Export) -> Result<(), Failure> {
    let opened = Device::open(args.on.device)?;
    if !is_export(&args.run)
        && !args.out.exists()
        && let Ok(run) = RunDir::open(&args.run)
    {
        say_edits(&run)?;
    }
    let generator = fintan::export(&args.run, args.step, &opened, &args.out)?;
    if args.voice.json {
        let architecture = generator.architecture();
        let image = architecture.output();
        let answer = serde_json::json!({
            "folder": args.out.display().to_string(), "step": generator.step(),
            "parameters": architecture.parameter_count(), "latent": architecture.input.len(),
            "image": [image.channels, image.height, image.width],
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
