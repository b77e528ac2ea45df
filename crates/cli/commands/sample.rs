//! `fintan sample`

use fintan_artifact::{RunDir, write_whole};
use fintan_config::Subject;
use fintan_net::Mode;
use fintan_report::grid_png;
use fintan_train::{read_sampler, sample as draw};

use crate::args::{BatchNormMode, Sample};
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, tell};

/// Draws a grid from a checkpoint.
pub(super) fn sample(args: &Sample) -> Result<(), Failure> {
    let run = RunDir::open(&args.run)?;
    let Subject::Gan(experiment) = Subject::load(&run.resolved_config(), &[])? else {
        let name = args.run.display();
        return Err(Failure::input(format!("`{name}` is a run of a network with a task; only GANs draw samples")));
    };
    let step = run.find_checkpoint(args.step)?;
    let opened = device::open(args.on.device)?;
    let generator = read_sampler(&run.checkpoint(step), &experiment, &opened.placement)?;
    let mode = match args.bn {
        BatchNormMode::Running => Mode::Eval,
        BatchNormMode::Batch => Mode::Train,
    };
    let seed = args.seed.unwrap_or(experiment.settings.seed);
    let samples = draw(&generator, seed, args.n as usize, mode, &opened.placement.device);
    let png = grid_png(&samples.values, samples.size, samples.channels, args.columns.min(args.n) as usize)?;
    let coupled = generator.architecture().is_batch_coupled();
    let norm = match (coupled, args.bn) {
        (false, _) => "none",
        (true, BatchNormMode::Running) => "running",
        (true, BatchNormMode::Batch) => "batch",
    };
    let suffix = if coupled { format!("_bn-{norm}") } else { String::new() };
    let name = format!("step_{step:06}_seed_{seed}{suffix}.png");
    let path = args.out.clone().unwrap_or_else(|| run.root().join("samples").join(name));
    write_whole(&path, &png)?;
    if args.voice.json {
        let answer = serde_json::json!({
            "picture": path, "images": args.n, "step": step, "seed": seed, "batch_norm": norm, "device": opened.name,
            "measures": samples.measure(),
        });
        answer!("{answer}");
    } else {
        answer!("{}", path.display());
        if !args.voice.quiet {
            tell!("{} images of step {step}, seed {seed}, batch norm statistics: {norm}", args.n);
        }
    }
    Ok(())
}
