//! `fintan ntk`

mod drift;
mod found;

use std::path::{Path, PathBuf};
use std::time::Instant;

use fintan::{Device, Kernel, KernelBuilder, KernelSummary, LargestEigenpairs, TaskSamples, TileStore, WriteOrder};
use fintan_config::Bytes;
use fintan_ntk::{Entries, KernelPlan, Method, TileSize};
use serde_json::json;

use self::found::{KernelSubject, inputs_of, outputs, tile_range};
use crate::args::{BatchNormMode, EntriesChoice, KernelCommand, Merge, MethodChoice, Ntk, NtkCommand, OutputArgs};
use crate::failure::Failure;
use crate::progress::Work;
use crate::voice::{answer, answer_json, tell};
use crate::words::percent;

/// Computes a kernel or merges tiles.
pub(super) fn command(args: &NtkCommand) -> Result<(), Failure> {
    match &args.command {
        Some(KernelCommand::Merge(args)) => merge(args),
        None => ntk(&args.compute),
    }
}

/// Computes a kernel and writes it.
fn ntk(args: &Ntk) -> Result<(), Failure> {
    let device = Device::open(args.on.device)?;
    if args.f64 && !device.supports_f64() {
        return Err(Failure::input("wgpu computes in f32; use --device flex or ndarray with --f64"));
    }
    if args.steps.is_some() {
        return drift::drift(args, &device);
    }
    let found = KernelSubject::open(args, args.step, &device)?;
    let path = args.out.clone().unwrap_or_else(|| beside(&found.place, args));
    let prepared = request(args, &found)?.prepare()?;
    if let Some(file) = args.weights.as_ref().filter(|_| !prepared.unused_weights().is_empty() && !args.voice.quiet) {
        let (file, unused) = (file.display(), prepared.unused_weights().join(", "));
        tell!("`{file}`: not read, since the network has no such tensors: {unused}");
    }
    if let Some(note) = prepared.device_note().filter(|_| !args.voice.quiet) {
        tell!("{note}");
    }
    if let Some(count) = args.top {
        return tell_largest(&prepared.largest(count as usize)?, &path, &args.voice);
    }
    let folder = TileStore::beside(&path);
    let plan = prepared.plan_beside(&folder)?;
    if args.plan {
        tell_plan(&plan, &args.voice);
        return Ok(());
    }
    let start = Instant::now();
    let (kernel, store) = if let Some(text) = &args.tiles {
        let range = tile_range(text, plan.tiles.len())?;
        let work = Work::new(&args.voice, "tiles", range.len());
        let store = prepared.tiles(&plan, &folder)?;
        store.compute(range, |tile| if tile.computed { work.tick(1) } else { work.found() })?;
        answer!("{}", folder.display());
        return Ok(());
    } else if plan.tiles.len() == 1 {
        (prepared.compute(&plan, |_| ())?, None)
    } else {
        let store = prepared.tiles(&plan, &folder)?;
        let work = Work::new(&args.voice, "tiles", plan.tiles.len());
        (store.kernel(|tile| if tile.computed { work.tick(1) } else { work.found() })?, Some(store))
    };
    let seconds = start.elapsed().as_secs_f64();
    let summary = kernel.write_within(&path, plan.spare(args.memory), WriteOrder::KernelFirst)?;
    // Tiles are removed only after the kernel is on disk. The disk may be full, and tiles may have taken hours.
    if let Some(store) = store
        && !store.remove()?
        && !args.voice.quiet
    {
        tell!("`{}` stays: another process may still write there", folder.display());
    }
    if args.voice.json {
        let mut summary = json!(summary);
        summary["method"] = plan.method.name().into();
        summary["coupled"] = prepared.is_coupled().into();
        summary["seconds"] = seconds.into();
        summary["device"] = device.name.into();
        summary["precision"] = if args.f64 { "f64" } else { "f32" }.into();
        answer_json(&summary);
        return Ok(());
    }
    answer!("{}", path.display());
    if !args.voice.quiet {
        let [n1, n2] = prepared.samples();
        let (outputs, entries) = (kernel.metadata().outputs.len(), summary.entries);
        tell!("{entries} kernel of {n1} x {n2} samples, {outputs} outputs, by {}", plan.method.name());
        tell_summary(&summary);
        tell!("{seconds:.3} s on {}", device.name);
    }
    Ok(())
}

fn tell_summary(summary: &KernelSummary) {
    if let Some(bytes) = summary.eigenvalues_need_bytes {
        tell!("eigenvalues left out: they need {} beside the kernel, more than --memory leaves", Bytes(bytes));
    }
    if let Some(found) = &summary.eigenvalues {
        if let Some(number) = found.condition_number {
            tell!("condition number {number:.4}");
        }
        tell!("effective rank {:.4}", found.effective_rank);
    }
    if let Some(found) = &summary.checkerboard {
        let list = |numbers: &[f64]| numbers.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ");
        tell!(
            "trace in the constant image, in checkerboards of growing period, elsewhere: {}",
            list(&found.trace_shares)
        );
        tell!("their mean eigenvalues, over the last: {}", list(&found.eigenvalue_ratios));
        tell!("border over interior {:.4}", found.border_ratio);
    }
}

/// The path of the kernel file. If the inputs are not the training samples on both sides, the names of the samples are added.
fn beside(place: &Path, args: &Ntk) -> PathBuf {
    let sides: Vec<&str> = args.inputs.iter().chain(&args.inputs2).map(String::as_str).collect();
    if sides.is_empty() || sides == ["train"] || sides.iter().any(|side| TaskSamples::named(side).is_none()) {
        return place.into();
    }
    let stem = place.file_stem().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!("{stem}_{}.npz", sides.join("_")))
}

/// The request for the kernel of a network, with the options of the arguments.
fn request<'a>(args: &Ntk, found: &'a KernelSubject) -> Result<KernelBuilder<'a>, Failure> {
    let entries = match args.entries {
        _ if args.top.is_some() => Entries::Full,
        EntriesChoice::Full => Entries::Full,
        EntriesChoice::Traced => Entries::Traced,
        EntriesChoice::Diagonal => Entries::Diagonal,
    };
    if args.mean && entries != Entries::Traced {
        return Err(Failure::input("--mean belongs to --entries traced"));
    }
    let mut request = Kernel::of(&found.network)
        .inputs(inputs_of(args.inputs.as_ref(), args.n))
        .entries(entries)
        .outputs(outputs(args, found.network.architecture().output())?);
    if args.inputs2.is_some() {
        request = request.inputs2(inputs_of(args.inputs2.as_ref(), args.n));
    }
    if args.bn == BatchNormMode::Running {
        request = request.running_statistics();
    }
    if !args.no_parts {
        request = request.by_parameter();
    }
    if args.mean {
        request = request.mean();
    }
    if args.f64 {
        request = request.double_precision();
    }
    request = match args.method {
        MethodChoice::Auto => request,
        MethodChoice::Structured => request.method(Method::Structured),
        MethodChoice::NtkVectorProducts => request.method(Method::NtkVectorProducts),
        MethodChoice::JacobianContraction => request.method(Method::JacobianContraction),
    };
    request = args.memory.into_iter().fold(request, KernelBuilder::memory_bytes);
    request = args.tile_samples.into_iter().fold(request, KernelBuilder::tile_samples);
    Ok(args.tile_outputs.into_iter().fold(request, KernelBuilder::tile_outputs))
}

/// Writes the largest eigenpairs and prints a summary.
fn tell_largest(found: &LargestEigenpairs, path: &Path, voice: &OutputArgs) -> Result<(), Failure> {
    let picture = found.write(path)?;
    let (shares, worst, trace) = (found.shares(), found.largest_residual(), found.trace);
    let (whole, error) = (trace.value, trace.standard_error);
    if voice.json {
        answer_json(&json!({
            "kernel": path.display().to_string(), "eigenvalues": found.spectrum.values, "largest_residual": worst,
            "trace": whole, "trace_standard_error": error, "trace_is_exact": error == 0.0,
            "shares": shares.iter().map(|[share, _]| share).collect::<Vec<_>>(),
            "share_standard_errors": shares.iter().map(|[_, error]| error).collect::<Vec<_>>(),
            "eigenimages": picture.map(|picture| picture.display().to_string()),
        }));
        return Ok(());
    }
    answer!("{}", path.display());
    if voice.quiet {
        return Ok(());
    }
    if error == 0.0 {
        tell!("trace {whole:.4}; largest residual {worst:.1e} of the largest eigenvalue");
    } else {
        let (draws, rows) = (LargestEigenpairs::TRACE_DRAWS, LargestEigenpairs::EXACT_TRACE_ROWS);
        tell!(
            "trace {whole:.4} ± {error:.2e}, estimated from {draws} random vectors, since the kernel has more than \
               {rows} rows or little memory is left; largest residual {worst:.1e} of the largest eigenvalue"
        );
    }
    for (i, (value, &[share, error])) in (1..).zip(found.spectrum.values.iter().zip(&shares)) {
        let bar = if error == 0.0 { String::new() } else { format!(" ± {:.2}", percent(error)) };
        tell!("  {i:>3}  {value:>12.4}  {:>6.2}{bar} % of the trace", percent(share));
    }
    Ok(())
}

/// Merges tiles that several processes computed.
fn merge(args: &Merge) -> Result<(), Failure> {
    if args.out.exists() {
        return Err(Failure::input(format!("`{}` exists already", args.out.display())));
    }
    let kernel = Kernel::merge(&args.folders)?;
    let summary = kernel.write_within(&args.out, f64::INFINITY, WriteOrder::KernelLast)?;
    if args.voice.json {
        answer_json(&json!(summary));
    } else {
        answer!("{}", args.out.display());
    }
    Ok(())
}

fn tell_plan(plan: &KernelPlan, voice: &OutputArgs) {
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
