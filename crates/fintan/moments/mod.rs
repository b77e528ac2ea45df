//! Moments of signal and noise through the depth of random networks.

mod error;
mod figures;
mod kernels;
mod measured;
mod pool;
mod runs;
mod tables;
mod theory;

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fintan_artifact::RunDir;
use fintan_config::{Function, Held, MemoryBound, NetworkExperiment, Precision, Subject, Unit};
use fintan_moments::{MomentsPlan, Pool, Realisation};
use serde_json::json;

pub use self::error::MomentsError;
pub use self::kernels::KernelStatistics;
pub use self::measured::MeasuredMoments;
use self::pool::{fingerprint, read_pool};
use self::runs::{Merged, with_moments};
pub use self::theory::MomentsTheory;
use crate::device::{Device, threads};
use crate::error::Error;
use crate::memory::free_memory;
use crate::training::make_absolute;

/// A measurement of the moments of random networks, as the `[moments]` of a configuration describe it.
///
/// [`Self::measure`] returns numbers without writing files. [`Self::run`] also writes the run directory of `fintan moments`,
/// [`Self::resume`] continues one, and [`merge_moments`] merges several.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("moments.toml");
/// fs_err::write(&config, "
///     network = { input = 16, vanilla = { depth = 3, width = 8 } }
///     moments = { batch = 8, inputs.iid = {} }
/// ")?;
/// let measured = fintan::Moments::of(&config)?.realisations(4).measure()?;
/// let row = measured.row(3, "loc3", "log_sensitivity").expect("measured");
/// assert_eq!(row.statistics.n, 4);
/// // A vanilla network amplifies noise more than signal: its normalized sensitivity is above 1.
/// assert!(row.statistics.mean > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Moments<'a> {
    path: PathBuf,
    overrides: Vec<String>,
    count: u64,
    range: Option<Range<u64>>,
    device: Device,
    on_event: Box<dyn FnMut(&MomentsEvent) + 'a>,
}

/// Progress of a measurement, and notes about unexpected results.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("moments.toml");
/// fs_err::write(&config, "
///     network = { input = 4, vanilla = { depth = 1, width = 4 } }
///     moments = { batch = 4, inputs.iid = {} }
/// ")?;
/// let mut seen = Vec::new();
/// let moments = fintan::Moments::of(&config)?.realisations(1);
/// moments.on_event(|event| seen.push(event.clone())).measure()?;
/// assert_eq!(seen[1], fintan::MomentsEvent::Realisations { done: 0, all: 1 });
/// assert_eq!(seen[2], fintan::MomentsEvent::Realisations { done: 1, all: 1 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MomentsEvent {
    /// Layers whose units are all zero may occur: the expected number in a realisation.
    DeadLayers(f64),
    /// Another process may write into the run directory too: the reason.
    Unlocked(String),
    /// Progress of the realisations. The first event has `done` 0.
    Realisations {
        /// The number of finished realisations.
        done: usize,
        /// The number of realisations to be measured.
        all: usize,
    },
    /// The curves of infinite width cannot be computed: the reason.
    NoCurves(String),
    /// Progress of the kernels. The first event has `done` 0.
    Kernels {
        /// The number of finished kernels.
        done: usize,
        /// The number of kernels to be computed.
        all: usize,
    },
    /// Kernels are left out because their inputs are not available.
    NoDataForKernels,
    /// Kernels are left out because the signal or noise vanished in every network.
    NoLivingNetwork,
}

/// The configuration, the data and the device of a measurement.
struct Measurement<'a> {
    experiment: &'a NetworkExperiment,
    plan: MomentsPlan<'a>,
    pool: Option<&'a Pool>,
    device: &'a Device,
}

impl<'a> Moments<'a> {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// Fails if the configuration is wrong or has no `[moments]`.
    pub fn of(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::within(path, &[], Device::cpu().bound(Held::Layer))
    }

    /// Reads a configuration file with overrides. Its networks must fit into this bound on memory.
    ///
    /// # Errors
    /// The errors of [`Self::of`]; also a path of data that is not Unicode.
    pub fn within(path: impl AsRef<Path>, overrides: &[String], bound: MemoryBound) -> Result<Self, Error> {
        let mut moments = Self {
            path: path.as_ref().into(),
            overrides: overrides.to_vec(),
            count: 0,
            range: None,
            device: Device::cpu(),
            on_event: Box::new(|_| ()),
        };
        let experiment = moments.experiment(bound)?;
        moments.count = experiment.settings.moments.as_ref().map_or(0, |moments| moments.realisations as u64);
        Ok(moments)
    }

    /// Changes a setting of the configuration: `key=value`, such as `moments.batch=64`.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Self {
        self.overrides.push(key_and_value.into());
        self
    }

    /// Measures this number of random networks.
    #[must_use]
    pub fn realisations(self, count: usize) -> Self {
        self.set(&format!("moments.realisations={count}"))
    }

    /// Measures only the realisations with these numbers. The number of a realisation determines its random draws.
    #[must_use]
    pub fn range(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Measures on this device; by default on the CPU.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Calls `on_event(event)` with each event of the measurement.
    #[must_use]
    pub fn on_event(mut self, on_event: impl FnMut(&MomentsEvent) + 'a) -> Self {
        self.on_event = Box::new(on_event);
        self
    }

    /// The number of realisations in the configuration file.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    fn experiment(&self, bound: MemoryBound) -> Result<NetworkExperiment, Error> {
        let mut subject = Subject::load_within(&self.path, &self.overrides, bound)?;
        make_absolute(&mut subject)?;
        Ok(with_moments(subject, &self.path)?)
    }

    /// Draws the networks and measures them. Nothing is written.
    ///
    /// # Errors
    /// Fails if the device lacks a requested double precision, if inputs cannot be read or drawn, or if memory does not
    /// suffice.
    pub fn measure(self) -> Result<MeasuredMoments, Error> {
        self.carry_out(|_, _, _| Ok((None, Vec::new())))
    }

    /// Measures into a new run directory: `out`, or by default a numbered directory in `runs`, named after the configuration.
    ///
    /// # Errors
    /// The errors of [`Self::measure`]; also a directory that exists.
    pub fn run(self, out: Option<&Path>) -> Result<MeasuredMoments, Error> {
        let path = self.path.clone();
        self.carry_out(|measurement, first, data| {
            // A configuration that cannot be drawn leaves no directory behind.
            measurement.plan.check_inputs(first, measurement.pool).map_err(MomentsError::Draw)?;
            Ok((Some(runs::begin(&path, out, measurement.experiment, data)?), Vec::new()))
        })
    }

    /// Continues in a run directory. Existing realisations are not measured again.
    ///
    /// # Errors
    /// The errors of [`Self::measure`]; also a run of another configuration or of other data.
    pub fn resume(self, out: &Path) -> Result<MeasuredMoments, Error> {
        self.carry_out(|measurement, _, data| {
            let (run, done) = runs::resume(out, measurement.experiment, data)?;
            Ok((Some(run), done))
        })
    }

    /// `begin(measurement, first realisation, fingerprint of the data)` returns the run directory and the existing
    /// realisations.
    fn carry_out(
        mut self,
        begin: impl FnOnce(&Measurement, u64, Option<&str>) -> Result<(Option<RunDir>, Vec<Realisation>), Error>,
    ) -> Result<MeasuredMoments, Error> {
        let experiment = self.experiment(self.device.bound(Held::Layer))?;
        let plan = MomentsPlan::new(&experiment).ok_or_else(|| MomentsError::NoMoments(self.path.clone()))?;
        let all = plan.settings().realisations as u64;
        let range = self.range.unwrap_or(0..all);
        if range.is_empty() || range.end > all {
            return Err(MomentsError::Range { from: range.start, to: range.end, all }.into());
        }
        let device = prepared(self.device, &experiment)?;
        let pool = read_pool(&experiment)?;
        if let Some(pool) = &pool {
            pool.check(plan.settings().batch).map_err(MomentsError::Draw)?;
        }
        if let Some(expected) = expected_dead_layers(&experiment) {
            (self.on_event)(&MomentsEvent::DeadLayers(expected));
        }
        let at_a_time = realisations_at_a_time(&plan, &device)?;
        let measurement = Measurement { experiment: &experiment, plan, pool: pool.as_ref(), device: &device };
        let (run, mut done) = begin(&measurement, range.start, pool.as_ref().map(fingerprint).as_deref())?;
        if let Some(warning) = run.as_ref().and_then(RunDir::lock_warning) {
            (self.on_event)(&MomentsEvent::Unlocked(warning.to_string()));
        }
        let there: HashSet<u64> = done.iter().map(|realisation| realisation.number).collect();
        let missing: Vec<u64> = range.filter(|number| !there.contains(number)).collect();
        let begun = Instant::now();
        let (mut count, all) = (0, missing.len());
        (self.on_event)(&MomentsEvent::Realisations { done: count, all });
        for some in missing.chunks(at_a_time) {
            for realisation in measurement
                .plan
                .realise_side_by_side(some, pool.as_ref(), &device.placement)
                .map_err(MomentsError::Draw)?
            {
                if let Some(run) = &run {
                    run.append_log(&realisation)?;
                }
                done.push(realisation);
                count += 1;
                (self.on_event)(&MomentsEvent::Realisations { done: count, all });
            }
        }
        let taken = (begun.elapsed().as_secs_f64(), all);
        measurement.finish(done, run.as_ref(), taken, &mut *self.on_event)
    }
}

/// Merges runs with different realisations of one configuration into a new run directory at `out`.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("moments.toml");
/// fs_err::write(&config, "
///     network = { input = 4, vanilla = { depth = 1, width = 4 } }
///     moments = { batch = 4, realisations = 3, inputs.iid = {} }
/// ")?;
/// let parts = [folder.path().join("a"), folder.path().join("b")];
/// fintan::Moments::of(&config)?.range(0..1).run(Some(&parts[0]))?;
/// fintan::Moments::of(&config)?.range(1..3).run(Some(&parts[1]))?;
/// let all = fintan::merge_moments(&parts, &folder.path().join("all"), fintan::Device::cpu(), |_| ())?;
/// assert_eq!(all.realisations().len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the runs have different configurations or data, if a realisation is in two runs, or if the directory exists.
pub fn merge_moments(
    parts: &[PathBuf],
    out: &Path,
    device: Device,
    mut on_event: impl FnMut(&MomentsEvent),
) -> Result<MeasuredMoments, Error> {
    let merged = Merged::read(parts)?;
    let device = prepared(device, &merged.experiment)?;
    // The realisations are measured already. The data are needed only for theory and kernels.
    let pool = read_pool(&merged.experiment).ok().flatten();
    let pool = pool.filter(|pool| merged.fingerprint.as_ref().is_none_or(|known| *known == fingerprint(pool)));
    let draft = merged.begin(out)?;
    let experiment = &merged.experiment;
    let plan = MomentsPlan::new(experiment).ok_or_else(|| MomentsError::NoMoments(out.into()))?;
    let measurement = Measurement { experiment, plan, pool: pool.as_ref(), device: &device };
    let measured = measurement.finish(merged.done.clone(), Some(&draft.as_run()), (0.0, 0), &mut on_event)?;
    Ok(MeasuredMoments { root: Some(draft.publish()?), ..measured })
}

/// The device with the precision of the configuration.
fn prepared(device: Device, experiment: &NetworkExperiment) -> Result<Device, MomentsError> {
    let settings = experiment.settings.moments.as_ref();
    if settings.is_some_and(|settings| settings.ntk.is_some()) && !device.supports_f64() {
        return Err(MomentsError::KernelPrecision);
    }
    match settings.map(|settings| settings.dtype) {
        Some(Precision::F64) => device.double_precision().map_err(|_| MomentsError::Precision),
        Some(Precision::F32) | None => Ok(device),
    }
}

/// Once the signal is one-dimensional, all N units of a ReLU layer are zero with probability 2^-N.
fn expected_dead_layers(experiment: &NetworkExperiment) -> Option<f64> {
    let Some((Unit::Vanilla, deep)) = experiment.settings.network.deep_preset() else { return None };
    let expected = deep.depth as f64 * 2.0_f64.powi(-(deep.width.min(1000) as i32));
    (deep.activation.function == Function::Relu && expected > 0.01).then_some(expected)
}

impl Measurement<'_> {
    /// Computes the results of the realisations, and writes them into the run if there is one.
    fn finish(
        &self,
        mut done: Vec<Realisation>,
        run: Option<&RunDir>,
        (seconds, count): (f64, usize),
        on_event: &mut dyn FnMut(&MomentsEvent),
    ) -> Result<MeasuredMoments, Error> {
        let Self { experiment, plan, pool, device } = self;
        done.sort_by_key(|realisation| realisation.number);
        let mut measured = MeasuredMoments::of(done, Some(experiment));
        if let Some(run) = run {
            measured.root = Some(run.root().into());
            tables::moments_csv(run, &measured.realisations)?;
            tables::summary_csv(run, &measured.rows)?;
            tables::npz(run, plan, &measured.realisations, experiment.settings.network.deep_preset())?;
        }
        measured.theory = MomentsTheory::of(experiment, *pool, &measured.rows);
        if let Some(reason) = &measured.theory.missing {
            on_event(&MomentsEvent::NoCurves(reason.clone()));
        }
        if let (Some(run), Some(table)) = (run, measured.theory.table()) {
            run.write("theory.csv", table.as_bytes())?;
        }
        measured.kernels = kernels::measure(plan, experiment, &measured.realisations, *pool, device, on_event)?;
        let Some(run) = run else { return Ok(measured) };
        if let Some(kernels) = &measured.kernels {
            run.write("ntk.csv", kernels::table(kernels).as_bytes())?;
        }
        let fit = json!({ "measured": measured.fits, "theory": measured.theory.constants_json() });
        run.write("fit.json", format!("{fit:#}\n").as_bytes())?;
        let figures = figures::draw(run, plan, experiment, &measured)?;
        tables::report(run, experiment, &measured, &figures)?;
        let env = json!({
            "version": env!("CARGO_PKG_VERSION"), "device": device.name, "threads": threads(), "seconds": seconds,
            "realisations": count,
        });
        run.write("env.json", format!("{env:#}\n").as_bytes())?;
        Ok(measured)
    }
}

/// The number of realisations that run in parallel: on a CPU one a thread within the bound on memory, on a GPU one.
fn realisations_at_a_time(plan: &MomentsPlan, device: &Device) -> Result<usize, MomentsError> {
    if device.is_gpu() {
        return Ok(1);
    }
    let Some(free) = free_memory() else { return Ok(threads()) };
    let most = (free / plan.bytes()) as usize;
    if most == 0 {
        return Err(MomentsError::Memory { needed: plan.bytes() / 1e9, free: free / 1e9 });
    }
    Ok(most.min(threads()))
}
