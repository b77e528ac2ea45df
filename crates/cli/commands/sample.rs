//! `fintan sample`

use std::path::{Path, PathBuf};

use fintan::parts::is_export;
use fintan::{BatchNormStatistics, Device, DrawnSamples, TrainedGenerator};
use fintan_artifact::RunDir;

use super::settings_of_run::say_edits;
use crate::args::{BatchNormMode, Interpolation, Sample};
use crate::failure::Failure;
use crate::progress::Works;
use crate::voice::{answer, answer_json, tell};

impl BatchNormMode {
    /// The statistics that the argument stands for.
    pub(super) fn statistics(self) -> BatchNormStatistics {
        match self {
            Self::Running => BatchNormStatistics::Running,
            Self::Batch => BatchNormStatistics::Batch,
        }
    }
}

/// The generator of a run or of an exported folder.
fn open(args: &Sample) -> Result<(TrainedGenerator, String), Failure> {
    let opened = Device::open(args.on.device)?;
    if !is_export(&args.run) {
        say_edits(&RunDir::open(&args.run)?)?;
    }
    Ok((TrainedGenerator::open(&args.run, args.step, &opened)?, opened.name))
}

/// Draws images from a checkpoint.
pub(super) fn sample(args: &Sample) -> Result<(), Failure> {
    if let Some(out) = args.out.as_ref().filter(|out| out.extension().is_none_or(|e| e != "png")) {
        return Err(Failure::input(format!("--out is the picture and must end with .png, got `{}`", out.display())));
    }
    let (generator, device) = open(args)?;
    let step = generator.step();
    let seed = args.seed.unwrap_or(generator.seed());
    let walks = args.interpolate.is_some();
    let (n, columns) = match args.grid {
        Some(grid) => ((grid.rows * if walks { 1 } else { grid.columns }) as usize, grid.columns as usize),
        None => (args.n.unwrap_or(if walks { 8 } else { 64 }) as usize, args.columns.unwrap_or(8) as usize),
    };
    let mut wanted = generator.samples(n).seed(seed).batch_norm(args.bn.statistics());
    if let Some(psi) = args.truncation {
        wanted = wanted.truncation(psi);
    }
    if let Some(Interpolation::Slerp) = args.interpolate {
        wanted = wanted.walk(args.frames as usize);
    }
    let mut works = Works::new(&args.voice);
    works.show("images", 0, if walks { n * args.frames as usize } else { n });
    let drawn = wanted.on_images(move |done, all| works.show("images", done, all)).draw()?;
    let norm = generator.batch_norm(args.bn.statistics());
    let path = args.out.clone().unwrap_or_else(|| {
        let step = step.map_or_else(|| "exported".to_owned(), |step| format!("step_{step:06}"));
        let kind = if walks { "_slerp" } else { "" };
        let norm = if norm == "none" { String::new() } else { format!("_bn-{norm}") };
        let truncation = args.truncation.map_or_else(String::new, |psi| format!("_truncation-{psi}"));
        args.run.join("samples").join(format!("{step}_seed_{seed}{kind}{norm}{truncation}.png"))
    });
    drawn.write_png(&path, columns)?;
    let written = write(args, &path, &drawn)?;
    let count = drawn.len();
    if args.voice.json {
        let mut answer = serde_json::json!({
            "picture": path.display().to_string(), "images": count, "step": step, "seed": seed, "batch_norm": norm,
            "truncation": args.truncation, "device": device, "measures": drawn.measures(),
        });
        for (kind, path) in &written {
            answer[*kind] = path.display().to_string().into();
        }
        answer_json(&answer);
    } else {
        answer!("{}", path.display());
        for (_, path) in &written {
            answer!("{}", path.display());
        }
        if !args.voice.quiet {
            let step = step.map_or_else(String::new, |step| format!(" of step {step}"));
            tell!("{count} images{step}, seed {seed}, batch norm statistics: {norm}");
        }
    }
    Ok(())
}

/// Writes the other requested files. Returns the kind and the path of each.
fn write(args: &Sample, picture: &Path, drawn: &DrawnSamples) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    let mut written = Vec::new();
    if args.gif {
        written.push(("gif", picture.with_extension("gif")));
        drawn.write_gif(&picture.with_extension("gif"))?;
    }
    if args.npz {
        written.push(("npz", picture.with_extension("npz")));
        drawn.write_npz(&picture.with_extension("npz"))?;
    }
    if args.png_each {
        written.push(("folder", picture.with_extension("")));
        drawn.write_each(&picture.with_extension(""))?;
    }
    Ok(written)
}
