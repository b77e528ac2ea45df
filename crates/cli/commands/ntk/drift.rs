//! How far the kernel moves in training.

use std::fmt::Write as _;

use fintan::KernelMetadata;
use fintan::parts::{WriteOrder, input_arrays, write_kernel};
use fintan_artifact::{RunDir, write_whole};
use fintan_ntk::{Entries, Kernel, SpectrumError, TileSize};
use fintan_predict::{KernelDrift, KernelReference};
use serde_json::json;

use super::{Found, beside, overflow, plan, problem};
use crate::args::Ntk;
use crate::device::Opened;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// Writes the kernel of every checkpoint, and a table.
///
/// | column | is |
/// | --- | --- |
/// | `drift` | ‖Θ - Θ₀‖ / ‖Θ₀‖, Frobenius norms, Θ₀ of the first checkpoint |
/// | `alignment` | ❘⟨v, v₀⟩❘ of the leading eigenvectors |
pub(super) fn drift(args: &Ntk, opened: &Opened) -> Result<(), Failure> {
    let path = args.path.as_deref().expect("clap asks for it");
    let run = RunDir::open(path)?;
    let steps = run.checkpoints()?;
    if steps.is_empty() {
        run.find_checkpoint(None)?;
    }
    let mut network = "network";
    let mut first: Option<KernelReference> = None;
    let (mut table, mut rows) = (String::from("step,trace,drift,alignment\n"), Vec::new());
    for step in steps {
        let subject = Found::open(args, Some(step), &opened.placement)?;
        let place = beside(&subject.place, args);
        network = subject.word;
        let problem = problem(args, subject, &opened.placement)?;
        if problem.entries() == Entries::Diagonal || !problem.is_symmetric() {
            return Err(SpectrumError::NotSymmetric.into());
        }
        let plan = plan(args, &problem, TileSize::default())?;
        let mut kernel = Kernel::compute(&problem, &plan);
        if !kernel.is_finite() {
            return Err(overflow(&problem, Some(&kernel)));
        }
        if args.mean {
            kernel.divide(kernel.outputs as f64);
        }
        let total = kernel.total();
        let spectrum = kernel.spectrum(&total)?;
        let reference = first.get_or_insert_with(|| KernelReference::new(&total, &spectrum));
        let KernelDrift { relative: moved, alignment } = reference.drift(&total, &spectrum);
        let trace = kernel.trace(&total);
        write_kernel(
            &place,
            &kernel,
            &KernelMetadata::of(&problem, args),
            &input_arrays(&problem),
            f64::INFINITY,
            WriteOrder::KernelFirst,
        )?;
        let _ = writeln!(table, "{step},{trace:e},{moved:e},{alignment:.12}");
        if !args.voice.quiet && !args.voice.json {
            tell!("step {step:>7}  trace {trace:>12.4}  drift {moved:.4}  alignment {alignment:.4}");
        }
        rows.push(json!({ "step": step, "trace": trace, "drift": moved, "alignment": alignment }));
    }
    let place = beside(&run.root().join("ntk").join(format!("drift_{network}.npz")), args).with_extension("csv");
    write_whole(&place, table.as_bytes())?;
    if args.voice.json {
        answer_json(&json!({ "table": place.display().to_string(), "steps": rows }));
    } else {
        answer!("{}", place.display());
    }
    Ok(())
}
