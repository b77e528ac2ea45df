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
/// [`Self::measure`] returns numbers alone; [`Self::run`] writes the run directory of `fintan moments` too, [`Self::resume`] goes on
/// with one, and [`merge_moments`] puts several together.
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

/// How a measurement goes on, and what may surprise about it.
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
    /// Layers whose units are all off may be drawn: how many are expected a realisation.
    DeadLayers(f64),
    /// The run directory may not be this process' alone: why.
    Unlocked(String),
    /// Realisations are measured; once with none done at the beginning.
    Realisations {
        /// Done so far.
        done: usize,
        /// To be done.
        all: usize,
    },
    /// There are no curves of infinite width: why.
    NoCurves(String),
    /// Kernels are computed; once with none done at the beginning.
    Kernels {
        /// Done so far.
        done: usize,
        /// To be done.
        all: usize,
    },
    /// There are no kernels, for their inputs are not at hand.
    NoDataForKernels,
    /// There are no kernels, for no network lived.
    NoLivingNetwork,
}

/// What is measured: a configuration, its data and the device.
struct Measurement<'a> {
    experiment: &'a NetworkExperiment,
    plan: MomentsPlan<'a>,
    pool: Option<&'a Pool>,
    device: &'a Device,
}

impl<'a> Moments<'a> {
    /// Of a configuration file.
    ///
    /// # Errors
    /// A configuration that is wrong, or has no `[moments]`.
    pub fn of(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::within(path, &[], Device::cpu().bound(Held::Layer))
    }

    /// Of a configuration file with these changes, whose networks must fit into this bound on memory.
    ///
    /// # Errors
    /// As [`Self::of`]; a path of data that is not Unicode.
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

    /// Measures these realisations alone; their numbers decide what is drawn.
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

    /// Calls `on_event(event)` as the measurement goes on.
    #[must_use]
    pub fn on_event(mut self, on_event: impl FnMut(&MomentsEvent) + 'a) -> Self {
        self.on_event = Box::new(on_event);
        self
    }

    /// How many realisations the configuration file asks for.
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
    /// A device without double precision where it is asked for; inputs that cannot be read or drawn; too little memory.
    pub fn measure(self) -> Result<MeasuredMoments, Error> {
        self.carry_out(|_, _, _| Ok((None, Vec::new())))
    }

    /// Measures into a new run directory, at `out` or numbered after the configuration in `runs`.
    ///
    /// # Errors
    /// As [`Self::measure`]; a folder that is there already.
    pub fn run(self, out: Option<&Path>) -> Result<MeasuredMoments, Error> {
        let path = self.path.clone();
        self.carry_out(|measurement, first, data| {
            // What cannot be drawn leaves nothing behind.
            measurement.plan.check_inputs(first, measurement.pool).map_err(MomentsError::Draw)?;
            Ok((Some(runs::begin(&path, out, measurement.experiment, data)?), Vec::new()))
        })
    }

    /// Goes on in a run directory: realisations that are there are not done again.
    ///
    /// # Errors
    /// As [`Self::measure`]; a run of another configuration or of other data.
    pub fn resume(self, out: &Path) -> Result<MeasuredMoments, Error> {
        self.carry_out(|measurement, _, data| {
            let (run, done) = runs::resume(out, measurement.experiment, data)?;
            Ok((Some(run), done))
        })
    }

    /// `begin(measurement, first realisation, fingerprint of the data)` gives the run directory and what is there.
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

/// Puts runs of different realisations of one configuration together, in a new run directory at `out`.
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
/// Runs of different configurations or data; a realisation that stands in two; a folder that is there already.
pub fn merge_moments(
    parts: &[PathBuf],
    out: &Path,
    device: Device,
    mut on_event: impl FnMut(&MomentsEvent),
) -> Result<MeasuredMoments, Error> {
    let merged = Merged::read(parts)?;
    let device = prepared(device, &merged.experiment)?;
    // Realisations are measured already; data are for theory and kernels beside them.
    let pool = read_pool(&merged.experiment).ok().flatten();
    let pool = pool.filter(|pool| merged.fingerprint.as_ref().is_none_or(|known| *known == fingerprint(pool)));
    let draft = merged.begin(out)?;
    let experiment = &merged.experiment;
    let plan = MomentsPlan::new(experiment).ok_or_else(|| MomentsError::NoMoments(out.into()))?;
    let measurement = Measurement { experiment, plan, pool: pool.as_ref(), device: &device };
    let measured = measurement.finish(merged.done.clone(), Some(&draft.as_run()), (0.0, 0), &mut on_event)?;
    Ok(MeasuredMoments { root: Some(draft.publish()?), ..measured })
}

/// The device in the precision of the configuration.
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

/// Once a signal has become one-dimensional, all N units of a ReLU layer are off with probability 2^-N.
fn expected_dead_layers(experiment: &NetworkExperiment) -> Option<f64> {
    let Some((Unit::Vanilla, deep)) = experiment.settings.network.deep_preset() else { return None };
    let expected = deep.depth as f64 * 2.0_f64.powi(-(deep.width.min(1000) as i32));
    (deep.activation.function == Function::Relu && expected > 0.01).then_some(expected)
}

impl Measurement<'_> {
    /// Everything that follows from realisations, written into the run where there is one.
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

/// Realisations side by side: one a thread as far as memory reaches, and one after another on a GPU.
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
