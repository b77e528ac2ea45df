//! Measures the tangent kernel during training, on a fixed probe set.
//!
//! The results equal those of `fintan ntk` for the same network and inputs; `ntk/probe.npz` holds the inputs.

use std::time::Instant;

use burn::tensor::Tensor;
use fintan_artifact::{Array, Event, EventKind, RunDir, RunError, number, read_arrays, write_npz};
use fintan_config::ObserveNtk;
use fintan_net::{DeviceLimits, Mode, PlacedNetwork};
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest, RequestError};
use fintan_predict::{KernelDrift, KernelReference};
use fintan_train::{Observer, ObserverError, TrainError, Trainee};
use serde::{Deserialize, Serialize};

use super::events::{TrainingCallbacks, TrainingError, TrainingEvent};
use crate::error::Error;
use crate::kernel::half_of_free_memory;
use crate::kernel::stored::{KernelMetadata, input_arrays, pixel_checkerboard};
use crate::kernel::written::{WriteOrder, checkerboard_json, write_kernel};

/// Largest number of multiply-adds for which the kernel over pixels is measured too; it takes a few seconds.
const AFFORDABLE: f64 = 2e10;

/// The observer that measures the kernel.
pub(super) struct KernelObserver<'s, 'c, T> {
    run: &'s RunDir,
    wanted: ObserveNtk,
    probe: Tensor<4>,
    limits: DeviceLimits,
    /// Selects the network to measure. In a GAN it is the generator that draws samples, as in `fintan ntk`.
    network: fn(&T) -> &PlacedNetwork,
    callbacks: &'s TrainingCallbacks<'c>,
    /// The first kernel, with its step.
    first: Option<(u64, KernelReference)>,
    /// The last step that has a line already.
    last: Option<u64>,
}

/// The tangent kernel of a network at a step of its training: a line of `ntk/observed.jsonl`.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("line.toml");
/// fs_err::write(&config, "
///     network = { input = 4, outputs = 1, fc = { widths = [8] } }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 4, optimizer.sgd.rate = 0.1 }
///     observe.ntk = { every = 2, samples = 3 }
/// ")?;
/// let run = fintan::train(&config).out(folder.path().join("run")).run()?;
/// let kernels = run.observed_kernels()?;
/// assert_eq!(kernels.iter().map(|kernel| kernel.step).collect::<Vec<_>>(), [0, 2, 4]);
/// assert!(kernels[0].drift == 0.0 && kernels[2].drift > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedKernel {
    /// Number of steps done.
    pub step: u64,
    /// The step of the first kernel Θ₀, from which the drift is measured.
    pub since: u64,
    /// Σ Θ[n, n] over samples, summed over outputs.
    #[serde(deserialize_with = "number")]
    pub trace: f64,
    /// ‖Θ - Θ₀‖ / ‖Θ₀‖, Frobenius norms.
    #[serde(deserialize_with = "number")]
    pub drift: f64,
    /// ❘⟨v, v₀⟩❘ of the leading eigenvectors of Θ and Θ₀.
    #[serde(deserialize_with = "number")]
    pub alignment: f64,
    /// The largest eigenvalue.
    #[serde(deserialize_with = "number")]
    pub largest_eigenvalue: f64,
    /// The largest eigenvalue over the smallest; `None` for a singular kernel.
    pub condition_number: Option<f64>,
    /// Effective rank: exp of the entropy of the eigenvalues as shares of the trace.
    #[serde(deserialize_with = "number")]
    pub effective_rank: f64,
    /// Checkerboards of the kernel over the pixels of the first probe image: shares of the trace in the constant image, in
    /// checkerboards of growing period and in the rest, their mean eigenvalues over that of the rest, and the ratio of border
    /// to interior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<serde_json::Value>,
    /// Seconds of the measurement.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
}

fn file(run: &RunDir) -> std::path::PathBuf {
    run.root().join("ntk").join("probe.npz")
}

/// The probe as an array in the form that `fintan ntk` reads.
fn inputs_of(probe: &Tensor<4>) -> Array<'static> {
    let [n, height, width, channels] = probe.dims();
    let values: Vec<f64> = probe.clone().permute([0, 3, 1, 2]).into_data().iter::<f64>().collect();
    let dims = if height * width == 1 { vec![n, channels] } else { vec![n, channels, height, width] };
    Array::f64(&dims, values)
}

/// The kernels that a run has measured before.
pub(super) struct Kept {
    /// The last step with a line.
    last: Option<u64>,
    /// The first kernel, with its step.
    first: Option<(u64, KernelReference)>,
}

/// Reads the earlier kernels of a run. Before a run is changed, this call also detects damaged files.
pub(super) fn kept(run: &RunDir, wanted: ObserveNtk, probe: &Tensor<4>) -> Result<Kept, Error> {
    let lines: Vec<ObservedKernel> = run.read_kernels()?;
    let last = lines.iter().map(|line| line.step).max();
    let there = last.is_some() && file(run).is_file();
    Ok(Kept { last, first: if there { Some(read_first(run, wanted, probe)?) } else { None } })
}

/// Reads the first kernel, and checks that it was measured on this probe.
fn read_first(run: &RunDir, wanted: ObserveNtk, probe: &Tensor<4>) -> Result<(u64, KernelReference), Error> {
    let file = file(run);
    let wrong = |what: &str| Error::from(TrainingError::Probe { file: file.clone(), message: what.into() });
    let arrays = read_arrays(&file).map_err(|e| if let RunError::Io(e) = e { e.into() } else { Error::from(e) })?;
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

impl<'s, 'c, T: Trainee> KernelObserver<'s, 'c, T> {
    /// Continues after the lines that exist, or starts with the first measurement.
    pub(super) fn new(
        run: &'s RunDir,
        (wanted, probe): (ObserveNtk, Tensor<4>),
        network: fn(&T) -> &PlacedNetwork,
        trainee: &T,
        limits: DeviceLimits,
        callbacks: &'s TrainingCallbacks<'c>,
    ) -> Result<Self, Error> {
        let Kept { last, first } = kept(run, wanted, &probe)?;
        let mut kernels = Self { run, wanted, probe, limits, network, callbacks, first, last };
        if trainee.step() == 0 {
            kernels.measure(trainee).map_err(TrainError::Observer)?;
        }
        Ok(kernels)
    }

    /// Measures the kernel and writes a line for this step, unless the line exists.
    fn measure(&mut self, trainee: &T) -> Result<(), ObserverError> {
        let step = trainee.step();
        if self.last.is_some_and(|last| step <= last) {
            return Ok(());
        }
        let start = Instant::now();
        let network = (self.network)(trainee);
        let problem = problem(network, &self.probe, self.limits)?;
        let kernel = KernelParts::compute(&problem, &KernelPlan::new(&problem, None, half_of_free_memory())?);
        let total = kernel.total();
        let trace = kernel.trace(&total);
        if !trace.is_finite() {
            // The training loop detects this by itself and reports the place.
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
        let pixels = if self.wanted.pixels { over_pixels(network, &self.probe, self.limits)? } else { None };
        let line = ObservedKernel {
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
        self.callbacks.tell(TrainingEvent::Kernel(&line, &event));
        self.last = Some(step);
        Ok(())
    }
}

impl<T: Trainee> Observer<T> for KernelObserver<'_, '_, T> {
    fn stepped(&mut self, trainee: &T) -> Result<(), ObserverError> {
        if trainee.step().is_multiple_of(self.wanted.every) { self.measure(trainee) } else { Ok(()) }
    }
}

impl ObservedKernel {
    /// The line of the log about this kernel.
    fn event(&self) -> Event {
        let Self { step, trace, drift, condition_number, seconds, .. } = self;
        let pixels = self.pixels.as_ref().map_or_else(String::new, |found| {
            let shares: Vec<f64> =
                found["trace_shares"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
            // Without the first entry (the constant image) and the last one (the rest).
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

/// Checks that the kernel of a network on a probe can be computed.
pub(super) fn check_probe(network: &PlacedNetwork, probe: &Tensor<4>, limits: DeviceLimits) -> Result<(), Error> {
    KernelPlan::new(&problem(network, probe, limits)?, None, half_of_free_memory())?;
    Ok(())
}

fn problem(network: &PlacedNetwork, probe: &Tensor<4>, limits: DeviceLimits) -> Result<KernelRequest, RequestError> {
    let problem = KernelRequest::new(network.clone(), probe.clone(), None, Mode::Train, Entries::Traced, Vec::new())?;
    Ok(problem.with_limits(limits))
}

/// Checkerboards and borders of a generator's kernel over the pixels of its first channel. The result is `None` if batch norm
/// couples samples, or if the computation would take longer than a few seconds.
fn over_pixels(
    network: &PlacedNetwork,
    probe: &Tensor<4>,
    limits: DeviceLimits,
) -> Result<Option<serde_json::Value>, ObserverError> {
    let shape = network.architecture().output();
    if shape.is_vector() || network.architecture().is_batch_coupled() {
        return Ok(None);
    }
    let (first, outputs) = (probe.clone().narrow(0, 0, 1), (0..shape.positions()).collect());
    let problem = KernelRequest::new(network.clone(), first, None, Mode::Train, Entries::Full, outputs)?
        .without_parts()
        .with_limits(limits);
    let Ok(plan) = KernelPlan::new(&problem, None, half_of_free_memory()) else { return Ok(None) };
    if plan.operations > AFFORDABLE {
        return Ok(None);
    }
    let kernel = KernelParts::compute(&problem, &plan);
    Ok(pixel_checkerboard(&kernel, &kernel.total(), &KernelMetadata::plain(&problem)).as_ref().map(checkerboard_json))
}
