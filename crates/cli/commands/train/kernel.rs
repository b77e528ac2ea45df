//! The tangent kernel beside training, on a fixed probe set.
//!
//! The numbers are those that `fintan ntk` gives for the same network and inputs: `ntk/probe.npz` holds the inputs.

use std::rc::Rc;
use std::time::Instant;

use burn::tensor::Tensor;
use fintan::KernelMetadata;
use fintan::parts::{WriteOrder, checkerboard_json, half_of_free_memory, input_arrays, write_kernel};
use fintan_artifact::{Array, Event, EventKind, RunDir, number, read_arrays, write_npz};
use fintan_config::ObserveNtk;
use fintan_net::{Mode, Network};
use fintan_ntk::{Entries, Kernel, Plan, Problem, ProblemError};
use fintan_predict::{KernelDrift, KernelReference};
use fintan_train::{Observer, ObserverError, Trainee};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::progress::Progress;

/// Multiply-adds up to which the kernel over pixels is measured along: a few seconds.
const AFFORDABLE: f64 = 2e10;

/// The observer that measures.
pub(super) struct Kernels<'a, T> {
    run: &'a RunDir,
    wanted: ObserveNtk,
    probe: Tensor<4>,
    /// The network to measure: of a GAN the one that samples are drawn from, as in `fintan ntk`.
    network: fn(&T) -> &Network,
    progress: Rc<Progress>,
    /// The first kernel and its step.
    first: Option<(u64, KernelReference)>,
    /// Lines that are there go up to this step.
    last: Option<u64>,
}

/// A line of `ntk/observed.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    step: u64,
    /// Step of the kernel that the drift is from.
    since: u64,
    #[serde(deserialize_with = "number")]
    trace: f64,
    #[serde(deserialize_with = "number")]
    drift: f64,
    #[serde(deserialize_with = "number")]
    alignment: f64,
    #[serde(deserialize_with = "number")]
    largest_eigenvalue: f64,
    /// None of a singular kernel.
    condition_number: Option<f64>,
    #[serde(deserialize_with = "number")]
    effective_rank: f64,
    /// Of the kernel over the pixels of the first probe: shares of the trace in the constant image, in checkerboards of
    /// growing period and elsewhere, their mean eigenvalues over the last, border over interior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pixels: Option<serde_json::Value>,
    #[serde(deserialize_with = "number")]
    seconds: f64,
}

fn file(run: &RunDir) -> std::path::PathBuf {
    run.root().join("ntk").join("probe.npz")
}

/// The probe as `fintan ntk` reads inputs.
fn inputs_of(probe: &Tensor<4>) -> Array<'static> {
    let [n, height, width, channels] = probe.dims();
    let values: Vec<f64> = probe.clone().permute([0, 3, 1, 2]).into_data().iter::<f64>().collect();
    let dims = if height * width == 1 { vec![n, channels] } else { vec![n, channels, height, width] };
    Array::f64(&dims, values)
}

/// What a run keeps of kernels that it measured before.
pub(super) struct Kept {
    /// The last step with a line.
    last: Option<u64>,
    /// The first kernel and its step.
    first: Option<(u64, KernelReference)>,
}

/// Reads what a run keeps; also before the run is changed, so that damage is refused then.
pub(super) fn kept(run: &RunDir, wanted: ObserveNtk, probe: &Tensor<4>) -> Result<Kept, Failure> {
    let lines: Vec<Line> = run.read_kernels()?;
    let last = lines.iter().map(|line| line.step).max();
    let there = last.is_some() && file(run).is_file();
    Ok(Kept { last, first: if there { Some(read_first(run, wanted, probe)?) } else { None } })
}

/// The first kernel, if it was measured on this probe.
fn read_first(run: &RunDir, wanted: ObserveNtk, probe: &Tensor<4>) -> Result<(u64, KernelReference), Failure> {
    let file = file(run);
    let wrong = |what: &str| Failure::input(format!("`{}`: {what}", file.display()));
    let arrays = read_arrays(&file).map_err(Failure::input)?;
    let find = |name: &str| {
        let found = arrays.iter().find(|(found, _)| found == name);
        found.map(|(_, array)| array).ok_or_else(|| wrong(&format!("it has no array `{name}`")))
    };
    let n = wanted.samples;
    let numbers = |name: &str, shape: &[usize]| {
        let array = find(name)?;
        let values = array.to_f64();
        if array.shape != shape {
            return Err(wrong(&format!("array `{name}` must have shape {shape:?}, got {:?}", array.shape)));
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(wrong(&format!("array `{name}` holds a value that is not finite")));
        }
        Ok(values)
    };
    if find("inputs")?.to_f64() != inputs_of(probe).to_f64() {
        return Err(wrong(
            "it holds other inputs than `observe.ntk` says, and kernels on different inputs cannot be compared; take \
             the folder `ntk` away to begin anew",
        ));
    }
    let step = numbers("step", &[1])?[0] as u64;
    Ok((step, KernelReference::from_parts(numbers("ntk", &[n, n])?, numbers("leading_eigenvector", &[n])?)))
}

impl<'a, T: Trainee> Kernels<'a, T> {
    /// Goes on from the lines that are there, or begins.
    pub(super) fn new(
        run: &'a RunDir,
        wanted: ObserveNtk,
        probe: Tensor<4>,
        network: fn(&T) -> &Network,
        trainee: &T,
        progress: Rc<Progress>,
    ) -> Result<Self, Failure> {
        let Kept { last, first } = kept(run, wanted, &probe)?;
        let mut kernels = Self { run, wanted, probe, network, progress, first, last };
        if trainee.step() == 0 {
            kernels.measure(trainee).map_err(|e| Failure::Failed(miette::miette!("{e}")))?;
        }
        Ok(kernels)
    }

    /// A line for this step, unless it is there already.
    fn measure(&mut self, trainee: &T) -> Result<(), ObserverError> {
        let step = trainee.step();
        if self.last.is_some_and(|last| step <= last) {
            return Ok(());
        }
        let start = Instant::now();
        let network = (self.network)(trainee);
        let problem = problem(network, &self.probe)?;
        let kernel = Kernel::compute(&problem, &Plan::new(&problem, None, half_of_free_memory())?);
        let total = kernel.total();
        let trace = kernel.trace(&total);
        if !trace.is_finite() {
            // The loop finds out by itself, and says where.
            return Ok(());
        }
        let spectrum = kernel.spectrum(&total)?;
        if self.first.is_none() {
            let first = KernelReference::new(&total, &spectrum);
            let n = self.wanted.samples;
            let arrays = [
                ("inputs", inputs_of(&self.probe)),
                ("step", Array::integers([step as usize])),
                ("ntk", Array::f64(&[n, n], first.values())),
                ("leading_eigenvector", Array::f64(&[n], first.leading())),
            ];
            write_npz(&file(self.run), &arrays)?;
            self.first = Some((step, first));
        }
        let (since, first) = self.first.as_ref().expect("just put there");
        let KernelDrift { relative: drift, alignment } = first.drift(&total, &spectrum);
        if self.wanted.keep {
            write_kernel(
                &self.run.kernel(step),
                &kernel,
                &KernelMetadata::plain(&problem),
                &input_arrays(&problem),
                f64::INFINITY,
                WriteOrder::KernelFirst,
            )?;
        }
        let pixels = if self.wanted.pixels { over_pixels(network, &self.probe)? } else { None };
        let line = Line {
            step,
            since: *since,
            trace,
            drift,
            alignment,
            largest_eigenvalue: spectrum.values[0],
            condition_number: spectrum.condition_number(),
            effective_rank: spectrum.effective_rank(),
            pixels,
            seconds: start.elapsed().as_secs_f64(),
        };
        self.run.append_kernel(&line)?;
        let event = line.event();
        self.run.append_log(&event)?;
        self.progress.event(&event);
        self.last = Some(step);
        Ok(())
    }
}

impl<T: Trainee> Observer<T> for Kernels<'_, T> {
    fn stepped(&mut self, trainee: &T) -> Result<(), ObserverError> {
        if trainee.step().is_multiple_of(self.wanted.every) { self.measure(trainee) } else { Ok(()) }
    }
}

impl Line {
    fn event(&self) -> Event {
        let Self { step, trace, drift, condition_number, seconds, .. } = self;
        let pixels = self.pixels.as_ref().map_or_else(String::new, |found| {
            let shares: Vec<f64> =
                found["trace_shares"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
            // Neither the constant image nor what is left.
            let boards: f64 = shares.iter().rev().skip(1).rev().skip(1).sum();
            let border = found["border_ratio"].as_f64().unwrap_or_default();
            format!(", {:.1} % in checkerboards, border {border:.2}", 100.0 * boards)
        });
        let condition_number = condition_number.map_or_else(
            || "infinite".into(),
            |number| if number < 1e4 { format!("{number:.2}") } else { format!("{number:.2e}") },
        );
        let message = format!(
            "kernel: trace {trace:.4e}, drift {drift:.3}, condition number {condition_number}{pixels} ({seconds:.2} s)"
        );
        Event { step: *step, event: EventKind::Ntk, begins: None, message, seconds: Some(*seconds) }
    }
}

/// Whether the kernel of a network on a probe can be had.
pub(super) fn check_probe(network: &Network, probe: &Tensor<4>) -> Result<(), Failure> {
    Plan::new(&problem(network, probe)?, None, half_of_free_memory())?;
    Ok(())
}

fn problem(network: &Network, probe: &Tensor<4>) -> Result<Problem, ProblemError> {
    Problem::new(network.clone(), probe.clone(), None, Mode::Train, Entries::Traced, Vec::new())
}

/// Checkerboards and borders of a generator's kernel over the pixels of its first channel, where they can be had: not where
/// batch norm mixes samples, and not where it takes longer than a few seconds.
fn over_pixels(network: &Network, probe: &Tensor<4>) -> Result<Option<serde_json::Value>, ObserverError> {
    let shape = network.architecture().output();
    if shape.is_vector() || network.architecture().is_batch_coupled() {
        return Ok(None);
    }
    let (first, outputs) = (probe.clone().narrow(0, 0, 1), (0..shape.positions()).collect());
    let problem = Problem::new(network.clone(), first, None, Mode::Train, Entries::Full, outputs)?.summed();
    let Ok(plan) = Plan::new(&problem, None, half_of_free_memory()) else { return Ok(None) };
    if plan.operations > AFFORDABLE {
        return Ok(None);
    }
    let kernel = Kernel::compute(&problem, &plan);
    Ok(checkerboard_json(&kernel, &kernel.total(), &KernelMetadata::plain(&problem)))
}
