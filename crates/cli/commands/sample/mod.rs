//! `fintan sample`

mod source;

use std::path::PathBuf;

use fintan::parts::channels_first;
use fintan_artifact::{Array, write_npz, write_whole};
use fintan_metrics::Samples;
use fintan_net::Mode;
use fintan_report::{grid_gif, grid_png, image_png};
use fintan_train::{draw_latents, generate, slerp};

use crate::args::{BatchNormMode, Interpolation, Sample};
use crate::device;
use crate::failure::Failure;
use crate::progress::Work;
use crate::voice::{answer, answer_json, tell};

pub(super) use source::Source;

/// Hundredths of a second that a frame is shown.
const FRAME: u16 = 5;

impl BatchNormMode {
    /// The mode of a forward pass.
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::Running => Mode::Eval,
            Self::Batch => Mode::Train,
        }
    }
}

/// Draws images from a checkpoint.
pub(super) fn sample(args: &Sample) -> Result<(), Failure> {
    if let Some(out) = args.out.as_ref().filter(|out| out.extension().is_none_or(|e| e != "png")) {
        return Err(Failure::input(format!("--out is the picture and must end with .png, got `{}`", out.display())));
    }
    let opened = device::open(args.on.device)?;
    let source = Source::open(&args.run, args.step, &opened)?;
    let seed = args.seed.unwrap_or(source.seed);
    let walks = args.interpolate.is_some();
    let (n, columns) = match args.grid {
        Some(grid) => ((grid.rows * if walks { 1 } else { grid.columns }) as usize, grid.columns as usize),
        None => (args.n.unwrap_or(if walks { 8 } else { 64 }) as usize, args.columns.unwrap_or(8) as usize),
    };
    let latent = source.generator.architecture().input.len();
    let (latents, frames) = match args.interpolate {
        None => (draw_latents(seed, n, latent, args.truncation), 1),
        Some(Interpolation::Slerp) => {
            let ends = draw_latents(seed, 2 * n, latent, args.truncation);
            (walk(&ends, latent, args.frames as usize), args.frames as usize)
        }
    };
    let count = n * frames;
    let images = {
        let work = Work::new(&args.voice, "images", count);
        generate(&source.generator, &latents, args.bn.mode(), &opened.placement.device, &|more| work.tick(more))
    };
    let norm = source.batch_norm(args.bn);
    let path = args.out.clone().unwrap_or_else(|| {
        let step = source.step.map_or_else(|| "exported".to_owned(), |step| format!("step_{step:06}"));
        let kind = if walks { "_slerp" } else { "" };
        let norm = if norm == "none" { String::new() } else { format!("_bn-{norm}") };
        let truncation = args.truncation.map_or_else(String::new, |psi| format!("_truncation-{psi}"));
        args.run.join("samples").join(format!("{step}_seed_{seed}{kind}{norm}{truncation}.png"))
    });
    let written = write(args, &path, &images, &latents, [n, frames, columns])?;
    if args.voice.json {
        let mut answer = serde_json::json!({
            "picture": path.display().to_string(), "images": count, "step": source.step, "seed": seed, "batch_norm": norm,
            "truncation": args.truncation, "device": opened.name, "measures": images.measure(),
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
            let step = source.step.map_or_else(String::new, |step| format!(" of step {step}"));
            tell!("{count} images{step}, seed {seed}, batch norm statistics: {norm}");
        }
    }
    Ok(())
}

/// `frames` latents from each even one to the one after it.
fn walk(ends: &[f32], latent: usize, frames: usize) -> Vec<f32> {
    let pairs = ends.chunks_exact(2 * latent).map(|pair| pair.split_at(latent));
    pairs.flat_map(|(a, b)| (0..frames).flat_map(|i| slerp(a, b, i as f64 / (frames - 1) as f64))).collect()
}

/// Writes the picture, and whatever else was asked for: what it is and where it lies.
fn write(
    args: &Sample,
    path: &std::path::Path,
    images: &Samples,
    latents: &[f32],
    [n, frames, columns]: [usize; 3],
) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    let (size, channels) = (images.size, images.channels);
    let len = size * size * channels;
    let mut written = Vec::new();
    let shown = columns.min(if frames > 1 { frames } else { n });
    let png = if frames == 1 {
        grid_png(&images.values, size, channels, shown)?
    } else {
        // As many images of each walk as there are columns, its ends among them.
        let place = |column: usize| (column * (frames - 1) + (shown - 1) / 2) / (shown - 1).max(1);
        let strip: Vec<f32> = (0..n)
            .flat_map(|row| (0..shown).map(move |column| row * frames + place(column)))
            .flat_map(|i| &images.values[i * len..(i + 1) * len])
            .copied()
            .collect();
        grid_png(&strip, size, channels, shown)?
    };
    write_whole(path, &png)?;
    if args.gif {
        let frame = |i: usize| -> Vec<f32> {
            (0..n)
                .flat_map(|row| &images.values[(row * frames + i) * len..(row * frames + i + 1) * len])
                .copied()
                .collect()
        };
        let all: Vec<Vec<f32>> = (0..frames).map(frame).collect();
        let side = (n as f64).sqrt().ceil() as usize;
        written.push(("gif", path.with_extension("gif")));
        write_whole(&path.with_extension("gif"), &grid_gif(&all, size, channels, side, FRAME)?)?;
    }
    if args.npz {
        let planes = channels_first(&images.values, channels, size * size);
        let walked = if frames > 1 { vec![n, frames] } else { vec![n] };
        let shape = [&walked[..], &[channels, size, size]].concat();
        let latent = [&walked[..], &[latents.len() / (n * frames)]].concat();
        let arrays = [("images", Array::f32(&shape, planes)), ("latents", Array::f32(&latent, latents))];
        written.push(("npz", path.with_extension("npz")));
        write_npz(&path.with_extension("npz"), &arrays)?;
    }
    if args.png_each {
        let folder = path.with_extension("");
        for (i, image) in images.values.chunks_exact(len).enumerate() {
            let name =
                if frames > 1 { format!("{:06}_{:04}.png", i / frames, i % frames) } else { format!("{i:06}.png") };
            write_whole(&folder.join(name), &image_png(image, size, channels)?)?;
        }
        written.push(("folder", folder));
    }
    Ok(written)
}
