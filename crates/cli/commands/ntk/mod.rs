//! `fintan ntk`

mod drift;
mod found;
mod spectrum;
mod tally;
mod tiles;

use std::path::{Path, PathBuf};
use std::time::Instant;

use fintan::parts::{Convention, WriteOrder, entries_name, half_of_free_memory, input_arrays, write_kernel};
use fintan::{Device, Kernel as Request, KernelMetadata, TaskSamples};
use fintan_config::Bytes;
use fintan_net::Placement;
use fintan_ntk::{Block, Entries, Kernel, Method, Overflow, Plan, Problem, TileSize, Tiles};
use serde_json::json;

use self::found::{Found, inputs_of, outputs};
use self::tally::Tally;
use crate::args::{BatchNormMode, EntriesChoice, KernelCommand, Merge, MethodChoice, Ntk, NtkCommand, Voice};
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

impl From<&Ntk> for Convention {
    fn from(args: &Ntk) -> Self {
        Self { mean: args.mean, before_output: args.before_output }
    }
}

/// Computes a kernel, or puts one together.
pub(super) fn command(args: &NtkCommand) -> Result<(), Failure> {
    match &args.command {
        Some(KernelCommand::Merge(args)) => merge(args),
        None => ntk(&args.compute),
    }
}

/// Computes a kernel and writes it.
fn ntk(args: &Ntk) -> Result<(), Failure> {
    let mut opened = device::open(args.on.device)?;
    if args.f64 {
        opened = opened
            .double_precision()
            .map_err(|_| Failure::input("wgpu computes in f32; use --device flex or ndarray with --f64"))?;
    }
    if args.steps.is_some() {
        return drift::drift(args, &opened);
    }
    let subject = Found::open(args, args.step, &opened.placement)?;
    let path = args.out.clone().unwrap_or_else(|| beside(&subject.place, args));
    let seed = subject.seed;
    let problem = problem(args, subject, &opened.placement)?;
    if let Some(count) = args.top {
        let memory = args.memory.unwrap_or_else(half_of_free_memory);
        return spectrum::largest(&problem, count as usize, memory, seed, &path, &args.voice);
    }
    let plan = plan(args, &problem, tiles::size_beside(&path))?;
    if args.plan {
        tell_plan(&plan, &args.voice);
        return Ok(());
    }
    let start = Instant::now();
    let Some((mut kernel, tiles)) = compute(args, &problem, &plan, &path, &opened.name)? else { return Ok(()) };
    let seconds = start.elapsed().as_secs_f64();
    if args.mean {
        kernel.divide(kernel.outputs as f64);
    }
    let spare = args.memory.map_or(f64::INFINITY, |memory| memory - plan.held);
    let mut summary = write_kernel(
        &path,
        &kernel,
        &KernelMetadata::of(&problem, args),
        &input_arrays(&problem),
        spare,
        WriteOrder::KernelFirst,
    )?;
    // Not before the kernel is on the disk: it may be full, and tiles are hours of work.
    if let Some(tiles) = tiles {
        tiles.remove(&args.voice)?;
    }
    if args.voice.json {
        summary["method"] = plan.method.name().into();
        summary["coupled"] = problem.is_coupled().into();
        summary["seconds"] = seconds.into();
        summary["device"] = opened.name.into();
        summary["precision"] = if args.f64 { "f64" } else { "f32" }.into();
        answer_json(&summary);
        return Ok(());
    }
    answer!("{}", path.display());
    if !args.voice.quiet {
        let [n1, n2] = kernel.samples;
        let (outputs, entries) = (kernel.outputs, entries_name(kernel.entries));
        tell!("{entries} kernel of {n1} x {n2} samples, {outputs} outputs, by {}", plan.method.name());
        if let Some(bytes) = summary["eigenvalues_need_bytes"].as_f64() {
            tell!("eigenvalues left out: they need {} beside the kernel, more than --memory leaves", Bytes(bytes));
        }
        for (key, what) in [("condition_number", "condition number"), ("effective_rank", "effective rank")] {
            if let Some(number) = summary[key].as_f64() {
                tell!("{what} {number:.4}");
            }
        }
        if let Some(found) = summary.get("checkerboard") {
            let list = |key: &str| -> String {
                let numbers = found[key].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64);
                numbers.map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ")
            };
            tell!(
                "trace in the constant image, in checkerboards of growing period, elsewhere: {}",
                list("trace_shares")
            );
            tell!("their mean eigenvalues, over the last: {}", list("eigenvalue_ratios"));
            tell!("border over interior {:.4}", found["border_ratio"].as_f64().unwrap_or(f64::NAN));
        }
        tell!("{seconds:.3} s on {}", opened.name);
    }
    Ok(())
}

/// The kernel's place, with the task's samples in its name where they are not the training samples on both sides.
fn beside(place: &Path, args: &Ntk) -> PathBuf {
    let sides: Vec<&str> = args.inputs.iter().chain(&args.inputs2).map(String::as_str).collect();
    if sides.is_empty() || sides == ["train"] || sides.iter().any(|side| TaskSamples::named(side).is_none()) {
        return place.into();
    }
    let stem = place.file_stem().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!("{stem}_{}.npz", sides.join("_")))
}

/// The kernel that was asked for, of the network that was found.
fn problem(args: &Ntk, subject: Found, placement: &Placement) -> Result<Problem, Failure> {
    let network = subject.network.on(Device::from(placement.clone()));
    let entries = match args.entries {
        _ if args.top.is_some() => Entries::Full,
        EntriesChoice::Full => Entries::Full,
        EntriesChoice::Traced => Entries::Traced,
        EntriesChoice::Diagonal => Entries::Diagonal,
    };
    if args.mean && entries != Entries::Traced {
        return Err(Failure::input("--mean belongs to --entries traced"));
    }
    let mut request = Request::of(&network)
        .inputs(inputs_of(args.inputs.as_ref(), args.n))
        .entries(entries)
        .outputs(outputs(args, network.architecture().output())?);
    if args.inputs2.is_some() {
        request = request.inputs2(inputs_of(args.inputs2.as_ref(), args.n));
    }
    if args.bn == BatchNormMode::Running {
        request = request.running_statistics();
    }
    if !args.no_parts {
        request = request.by_parameter();
    }
    let (problem, unused) = request.request()?;
    if let Some(path) = args.weights.as_ref().filter(|_| !unused.is_empty() && !args.voice.quiet) {
        let (path, unused) = (path.display(), unused.join(", "));
        tell!("`{path}`: not read, since the network has no such tensors: {unused}");
    }
    Ok(problem)
}

/// `begun`: the tile size of a run that was stopped; free memory, and so the default size, may be another now.
fn plan(args: &Ntk, problem: &Problem, begun: TileSize) -> Result<Plan, Failure> {
    let method = match args.method {
        MethodChoice::Auto => None,
        MethodChoice::Structured => Some(Method::Structured),
        MethodChoice::NtkVectorProducts => Some(Method::NtkVectorProducts),
        MethodChoice::JacobianContraction => Some(Method::JacobianContraction),
    };
    // Tiles of another kernel may be larger than this one; that they are another's is said later.
    let (samples, outputs) = (problem.samples().into_iter().max(), problem.outputs().len());
    let tile = TileSize {
        samples: args.tile_samples.or(begun.samples.filter(|&n| Some(n) <= samples)),
        outputs: args.tile_outputs.or(begun.outputs.filter(|&n| n <= outputs)),
    };
    Ok(Plan::in_tiles(problem, method, args.memory.unwrap_or_else(half_of_free_memory), tile)?)
}

/// Tile by tile, with the folder of tiles if there are several; none where only some tiles were asked for.
fn compute(
    args: &Ntk,
    problem: &Problem,
    plan: &Plan,
    path: &Path,
    device: &str,
) -> Result<Option<(Kernel, Option<tiles::Folder>)>, Failure> {
    let card = tiles::Card::new(problem, plan, device, args);
    if let Some(text) = &args.tiles {
        let range = tiles::range(text, plan.tiles.len())?;
        let folder = tiles::Folder::make(tiles::Folder::beside(path), card, problem)?;
        let (mut progress, mut tiles) = (Tally::new(range.len(), &args.voice), Tiles::new(problem, plan));
        for i in range {
            let new = !folder.has(i);
            if new {
                folder.write(i, &finite(tiles.block(i), problem)?)?;
            }
            progress.tick(new);
        }
        answer!("{}", tiles::Folder::beside(path).display());
        return Ok(None);
    }
    if plan.tiles.len() == 1 {
        let kernel = Kernel::compute(problem, plan);
        return if kernel.is_finite() { Ok(Some((kernel, None))) } else { Err(overflow(problem, Some(&kernel))) };
    }
    let folder = tiles::Folder::make(tiles::Folder::beside(path), card, problem)?;
    let (mut progress, mut tiles) = (Tally::new(plan.tiles.len(), &args.voice), Tiles::new(problem, plan));
    let mut kernel = Kernel::of(problem);
    for (i, tile) in plan.tiles.iter().enumerate() {
        let new = !folder.has(i);
        let block = if new { finite(tiles.block(i), problem)? } else { folder.read(i)? };
        if new {
            folder.write(i, &block)?;
        }
        kernel.insert(tile, &block, problem.is_symmetric());
        progress.tick(new);
    }
    Ok(Some((kernel, Some(folder))))
}

/// A block, unless it overflowed: what is not finite is never kept.
fn finite(block: Block, problem: &Problem) -> Result<Block, Failure> {
    if block.is_finite() { Ok(block) } else { Err(overflow(problem, None)) }
}

/// Why a kernel is not finite, and what helps.
fn overflow(problem: &Problem, kernel: Option<&Kernel>) -> Failure {
    let found = Overflow::of(problem, kernel);
    let help = if problem.is_double_precision() {
        "take smaller inputs or weights, or fewer layers; `fintan check` says how signals grow with depth"
    } else {
        "`--f64` computes in double precision, which reaches 1.8e308 where single precision ends at 3.4e38"
    };
    Failure::Failed(miette::miette!(help = help, "{found}"))
}

/// Puts tiles together that several processes computed.
fn merge(args: &Merge) -> Result<(), Failure> {
    if args.out.exists() {
        return Err(Failure::input(format!("`{}` exists already", args.out.display())));
    }
    let (mut kernel, card, inputs) = tiles::merge(&args.folders)?;
    if card.about.mean {
        kernel.divide(kernel.outputs as f64);
    }
    let summary = write_kernel(&args.out, &kernel, &card.about, &inputs, f64::INFINITY, WriteOrder::KernelLast)?;
    if args.voice.json {
        answer_json(&summary);
    } else {
        answer!("{}", args.out.display());
    }
    Ok(())
}

fn tell_plan(plan: &Plan, voice: &Voice) {
    if voice.json {
        let layers: Vec<_> = plan
            .layers
            .iter()
            .map(|layer| json!({ "index": layer.index, "layer": layer.layer, "order": layer.order }))
            .collect();
        answer_json(&json!({
            "method": plan.method.name(), "tiles": plan.tiles.len(),
            "tile_samples": plan.tile.samples, "tile_outputs": plan.tile.outputs,
            "bytes": plan.bytes, "operations": plan.operations, "layers": layers,
        }));
        return;
    }
    answer!("method      {}", plan.method.name());
    let TileSize { samples, outputs } = plan.tile;
    answer!("tiles       {} of up to {samples} samples and {outputs} outputs a side", plan.tiles.len());
    answer!("memory      {}", Bytes(plan.bytes));
    answer!("operations  {:.3e} multiply-adds", plan.operations);
    for layer in &plan.layers {
        answer!("  {:>3}  {:12} {}", layer.index, layer.layer, layer.order);
    }
}
