//! The drift of the kernel during training.

use std::fmt::Write as _;

use fintan::{Device, WriteOrder};
use fintan_artifact::{RunDir, write_whole};
use fintan_predict::KernelDrift;
use serde_json::json;

use super::{KernelSubject, beside, request};
use crate::args::{EntriesChoice, Ntk};
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// Writes the kernel of every checkpoint, and prints a table.
///
/// | column | is |
/// | --- | --- |
/// | `drift` | ‖Θ - Θ₀‖ / ‖Θ₀‖ in Frobenius norms; Θ₀ is the kernel of the first checkpoint |
/// | `alignment` | ❘⟨v, v₀⟩❘ of the leading eigenvectors |
pub(super) fn drift(args: &Ntk, device: &Device) -> Result<(), Failure> {
    let path = args.path.as_deref().expect("clap asks for it");
    let run = RunDir::open(path)?;
    let steps = run.checkpoints()?;
    if steps.is_empty() {
        run.find_checkpoint(None)?;
    }
    let (mut network, mut first) = ("network", None);
    let (mut table, mut rows) = (String::from("step,trace,drift,alignment\n"), Vec::new());
    for step in steps {
        let found = KernelSubject::open(args, Some(step), device)?;
        let place = beside(&found.place, args);
        network = found.network.role().name();
        let prepared = request(args, &found)?.prepare()?;
        if args.entries == EntriesChoice::Diagonal || !prepared.is_symmetric() {
            return Err(fintan::Error::from(fintan_ntk::SpectrumError::NotSymmetric).into());
        }
        let kernel = prepared.compute(&prepared.plan()?, |_| ())?;
        let KernelDrift { relative: moved, alignment } = kernel.drift(&mut first)?;
        let trace = kernel.trace();
        kernel.write_within(&place, f64::INFINITY, WriteOrder::KernelFirst)?;
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
