//! `fintan moments`

mod figures;
mod kernels;
mod overlays;
mod tables;

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use fintan::parts::{moments_pool, realisations_at_a_time};
use fintan_artifact::{Draft, RunDir, RunError};
use fintan_config::{ConfigError, DataSource, Held, NetworkExperiment, Precision, Subject};
use fintan_data::fingerprint_of_values;
use fintan_moments::summary::{fits, rows};
use fintan_moments::{Death, Plan, Pool, Realisation};
use serde_json::json;

use super::warn_of_lock;
use crate::args::{MergeMoments, Moments, MomentsCommand, MomentsSubcommand, Voice};
use crate::device::{self, Opened};
use crate::failure::Failure;
use crate::given::{make_absolute, no_run};
use crate::voice::{answer, answer_json, tell};

pub(super) fn command(args: &MomentsCommand) -> Result<(), Failure> {
    match &args.command {
        Some(MomentsSubcommand::Merge(args)) => merge(args),
        None => measure(&args.measure),
    }
}

/// Realisations to be done, and where they are kept.
fn measure(args: &Moments) -> Result<(), Failure> {
    let path = args.path.as_ref().expect("clap asks for it");
    no_run(path, |run, resolved| {
        format!(
            "`fintan moments {resolved} --resume --out {run}` goes on with one of moments, and `fintan report {run}` shows it"
        )
    })?;
    let mut overrides = args.set.clone();
    overrides.extend(args.seed.map(|seed| format!("seed={seed}")));
    let mut subject = Subject::load_within(path, &overrides, args.on.device.bound(Held::Layer))?;
    make_absolute(&mut subject)?;
    let experiment = with_moments(subject, path)?;
    let plan = Plan::new(&experiment).expect("just seen");
    let settings = plan.settings();
    let range = range(args.range.as_deref(), settings.realisations as u64)?;
    let opened = open(args.on.device, &experiment)?;
    let pool = moments_pool(&experiment)?;
    if let Some(pool) = &pool {
        pool.check(settings.batch)?;
    }
    warn_of_dead_layers(&experiment, args);
    let at_a_time = realisations_at_a_time(&plan, &opened)?;
    let fingerprint = pool.as_ref().map(fingerprint);
    let (run, mut done) = match (&args.out, args.resume) {
        (Some(out), true) => {
            let (run, done) = resumed(out, &experiment, fingerprint.as_deref())?;
            run.write("config.resolved.toml", experiment.settings.to_toml().as_bytes())?;
            (run, done)
        }
        (out, _) => {
            // What cannot be drawn leaves nothing behind.
            plan.check_inputs(range.start, pool.as_ref())?;
            let draft = match out {
                Some(out) => Draft::at(out)?,
                None => Draft::numbered(Path::new("runs"), &path.file_stem().unwrap_or_default().to_string_lossy())?,
            };
            let written =
                fs_err::read(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
            begin(&draft, &written, &experiment, fingerprint.as_deref())?;
            (draft.publish_run()?, Vec::new())
        }
    };
    warn_of_lock(run.lock_warning(), &args.voice);
    let there: HashSet<u64> = done.iter().map(|r: &Realisation| r.number).collect();
    let missing: Vec<u64> = range.filter(|number| !there.contains(number)).collect();
    let before = Instant::now();
    realise(&plan, (&missing, at_a_time), pool.as_ref(), &opened, &run, &mut done, args)?;
    let seconds = before.elapsed().as_secs_f64();
    let summary = finish(&run, &experiment, &done, pool.as_ref(), &opened, (seconds, missing.len()), &args.voice)?;
    summary.say(run.root(), &args.voice);
    Ok(())
}

/// What every run has from its beginning.
fn begin(
    draft: &Draft,
    written: &[u8],
    experiment: &NetworkExperiment,
    fingerprint: Option<&str>,
) -> Result<(), RunError> {
    draft.write("config.toml", written)?;
    draft.write("config.resolved.toml", experiment.settings.to_toml().as_bytes())?;
    fingerprint.map_or(Ok(()), |fingerprint| draft.write(FINGERPRINT, fingerprint.as_bytes()))
}

/// The part of a configuration that this command needs.
fn with_moments(subject: Subject, path: &Path) -> Result<NetworkExperiment, Failure> {
    match subject {
        Subject::Network(network) if network.settings.moments.is_some() => Ok(network),
        Subject::Network(_) => Err(Failure::input(format!(
            "`{}` has no [moments]: it says what is measured, and over what",
            path.display()
        ))),
        Subject::Gan(_) => Err(Failure::input(format!(
            "`{}` is a GAN; moments are measured of a [network] with [moments]",
            path.display()
        ))),
    }
}

fn open(choice: device::Choice, experiment: &NetworkExperiment) -> Result<Opened, Failure> {
    let mut opened = device::open(choice)?;
    if experiment.settings.moments.as_ref().is_some_and(|m| m.ntk.is_some()) && !opened.supports_f64() {
        return Err(Failure::input("`moments.ntk` is computed in f64: use --device flex or ndarray"));
    }
    if experiment.settings.moments.as_ref().is_some_and(|m| m.dtype == Precision::F64) {
        opened = opened
            .double_precision()
            .map_err(|_| Failure::input("`moments.dtype = \"f64\"` needs a CPU device: --device flex or ndarray"))?;
    }
    Ok(opened)
}

/// `A..B`, or all.
fn range(text: Option<&str>, all: u64) -> Result<Range<u64>, Failure> {
    let Some(text) = text else { return Ok(0..all) };
    let ends = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match ends {
        Some((a, b)) if a < b && b <= all => Ok(a..b),
        _ => Err(Failure::input(format!(
            "--range must be A..B with A < B <= {all} (`moments.realisations`), got `{text}`"
        ))),
    }
}

/// Once a signal has become one-dimensional, all N units of a ReLU layer are off with probability 2^-N.
fn warn_of_dead_layers(experiment: &NetworkExperiment, args: &Moments) {
    let Some((fintan_config::Unit::Vanilla, deep)) = experiment.settings.network.deep_preset() else { return };
    let relu = deep.activation.function == fintan_config::Function::Relu;
    let expected = deep.depth as f64 * 2.0_f64.powi(-(deep.width.min(1000) as i32));
    if relu && expected > 0.01 && !args.voice.quiet {
        tell!("expect about {expected:.2} dead layers a realisation: depth times 2^-width");
    }
}

/// File with the fingerprint of a data set.
const FINGERPRINT: &str = "inputs.fingerprint";

/// Whether inputs come from files or drawings that are held in memory.
fn needs_pool(settings: &fintan_config::Moments) -> bool {
    match settings.inputs {
        DataSource::Shapes(_)
        | DataSource::Idx(_)
        | DataSource::Cifar(_)
        | DataSource::Folder(_)
        | DataSource::Tar(_)
        | DataSource::Zip(_)
        | DataSource::Npy(_)
        | DataSource::Npz(_) => true,
        DataSource::Teacher(_) | DataSource::Iid(_) | DataSource::Spectrum(_) => false,
    }
}

/// Number of inputs and a fingerprint of their values: where the files lie does not matter, what they hold does.
fn fingerprint(pool: &Pool) -> String {
    format!("{} inputs, {:016x}\n", pool.count(), fingerprint_of_values(&pool.values))
}

/// A run of `fintan moments` as it lies there.
struct Part {
    run: RunDir,
    done: Vec<Realisation>,
    experiment: NetworkExperiment,
    fingerprint: Option<String>,
}

impl Part {
    fn read(run: RunDir) -> Result<Self, Failure> {
        let experiment = with_moments(Subject::load(&run.resolved_config(), &[])?, &run.resolved_config())?;
        let done: Vec<Realisation> = run.read_log()?;
        let plan = Plan::new(&experiment).expect("just seen");
        let points: Vec<_> = plan.points().collect();
        let mut numbers = HashSet::new();
        for realisation in &done {
            let number = realisation.number;
            let wrong = if !numbers.insert(number) {
                format!("realisation {number} stands there twice")
            } else if realisation.dead.is_none() && realisation.records.len() != points.len() {
                format!("realisation {number} has {} of {} records", realisation.records.len(), points.len())
            } else {
                // In any other order a record would be taken for one of another point.
                let mut places = realisation.records.iter().zip(&points);
                match places.find(|(record, point)| (record.depth, &record.loc) != (point.depth, &point.loc)) {
                    None => continue,
                    Some((_, point)) => format!(
                        "realisation {number} has another record where `{}` of depth {} belongs",
                        point.loc, point.depth
                    ),
                }
            };
            return Err(Failure::input(format!("`{}` is damaged: {wrong}", run.log().display())));
        }
        let fingerprint = fs_err::read_to_string(run.root().join(FINGERPRINT)).ok();
        Ok(Self { run, done, experiment, fingerprint })
    }

    /// Refuses another measurement than this one.
    fn agrees(&self, other: &NetworkExperiment, fingerprint: Option<&str>, name: &str) -> Result<(), Failure> {
        let here = self.run.root().display();
        if alike(&self.experiment) != alike(other) {
            return Err(Failure::input(format!(
                "`{here}` and {name} are of different configurations; only `moments.realisations`, `moments.ntk` and the place of \
                 files may differ"
            )));
        }
        match (&self.fingerprint, fingerprint) {
            (Some(a), Some(b)) if a != b => Err(Failure::input(format!(
                "`{here}` and {name} measure different data: {} and {}",
                a.trim(),
                b.trim()
            ))),
            _ => Ok(()),
        }
    }
}

/// A directory that holds some realisations of the same configuration.
fn resumed(
    out: &Path,
    experiment: &NetworkExperiment,
    fingerprint: Option<&str>,
) -> Result<(RunDir, Vec<Realisation>), Failure> {
    let part = Part::read(RunDir::open_locked(out)?)?;
    part.agrees(experiment, fingerprint, "this")?;
    let wanted = experiment.settings.moments.as_ref().map_or(0, |moments| moments.realisations) as u64;
    if let Some(beyond) = part.done.iter().find(|realisation| realisation.number >= wanted) {
        return Err(Failure::input(format!(
            "`{}` holds realisation {}, and `moments.realisations` is {wanted}",
            out.display(),
            beyond.number
        )));
    }
    // Without a last line that was cut short.
    write_log(&part.run, &part.done)?;
    Ok((part.run, part.done))
}

/// Writes a log whole.
fn write_log(run: &RunDir, done: &[Realisation]) -> Result<(), Failure> {
    let mut text = String::new();
    for realisation in done {
        text += &serde_json::to_string(realisation).map_err(Failure::input)?;
        text.push('\n');
    }
    Ok(run.write("log.jsonl", text.as_bytes())?)
}

/// What two parts of one measurement have in common.
fn alike(experiment: &NetworkExperiment) -> String {
    let mut settings = experiment.settings.clone();
    if let Some(moments) = &mut settings.moments {
        moments.realisations = 0;
        moments.ntk = None;
        for path in moments.inputs.paths_mut() {
            *path = std::path::PathBuf::new();
        }
    }
    settings.to_toml()
}

/// Does realisations side by side and writes them down in order.
fn realise(
    plan: &Plan,
    (missing, at_a_time): (&[u64], usize),
    pool: Option<&Pool>,
    opened: &Opened,
    run: &RunDir,
    done: &mut Vec<Realisation>,
    args: &Moments,
) -> Result<(), Failure> {
    let progress = crate::progress::Work::new(&args.voice, "realisations", missing.len());
    for some in missing.chunks(at_a_time) {
        for realisation in plan.realise_side_by_side(some, pool, &opened.placement)? {
            run.append_log(&realisation)?;
            done.push(realisation);
            progress.tick(1);
        }
    }
    Ok(())
}

/// Everything that follows from realisations.
fn finish(
    run: &RunDir,
    experiment: &NetworkExperiment,
    done: &[Realisation],
    pool: Option<&Pool>,
    opened: &Opened,
    (seconds, count): (f64, usize),
    voice: &Voice,
) -> Result<Summary, Failure> {
    let mut done = done.to_vec();
    done.sort_by_key(|realisation| realisation.number);
    let plan = Plan::new(experiment).expect("checked");
    let preset = experiment.settings.network.deep_preset();
    let unit = preset.map(|(unit, _)| unit);
    let rows = rows(&done, unit);
    let fits = preset.map(|(unit, deep)| fits(&done, unit, deep.res_depth(unit)));
    tables::moments_csv(run, &done)?;
    tables::summary_csv(run, &rows)?;
    tables::npz(run, &plan, &done, preset)?;
    let theory = overlays::Theory::of(experiment, pool, &rows);
    if let (Some(reason), false) = (&theory.missing, voice.quiet) {
        tell!("no curves of infinite width: {reason}");
    }
    theory.write(run)?;
    let kernels = kernels::measure(&plan, experiment, &done, pool, opened, voice)?;
    if let Some(kernels) = &kernels {
        kernels.write(run)?;
    }
    let fit = json!({ "measured": fits, "theory": theory.constants });
    run.write("fit.json", format!("{fit:#}\n").as_bytes())?;
    let figures = figures::draw(run, &plan, &rows, &done, &theory, kernels.as_ref(), preset, fits.as_ref())?;
    tables::report(run, experiment, &done, &rows, fits.as_ref(), &theory, kernels.as_ref(), &figures)?;
    let env = json!({
        "version": env!("CARGO_PKG_VERSION"), "device": opened.name, "threads": device::threads(),
        "seconds": seconds, "realisations": count,
    });
    run.write("env.json", format!("{env:#}\n").as_bytes())?;
    let dead: Vec<&Death> = done.iter().filter_map(|r| r.dead.as_ref()).collect();
    let mut lines = Vec::new();
    if let Some(Death { depth, reason }) = dead.iter().min_by_key(|dead| dead.depth) {
        let (count, all) = (dead.len(), done.len());
        lines.push(format!("{count} of {all} realisations died, the earliest at layer {depth}: {reason}"));
    }
    lines.extend(tables::headline(&rows, fits.as_ref(), &theory));
    let json = json!({ "realisations": done.len(), "dead": dead.len(), "fits": fits, "theory": theory.constants });
    Ok(Summary { json, lines })
}

/// What to say of a run that is finished.
struct Summary {
    json: serde_json::Value,
    lines: Vec<String>,
}

impl Summary {
    fn say(self, root: &Path, voice: &Voice) {
        if voice.json {
            let mut said = json!({ "run": root.display().to_string() });
            if let (Some(said), serde_json::Value::Object(json)) = (said.as_object_mut(), self.json) {
                said.extend(json);
            }
            answer_json(&said);
            return;
        }
        if !voice.quiet {
            for line in self.lines {
                tell!("{line}");
            }
        }
        answer!("{}", root.join("report.md").display());
    }
}

/// Puts parts together.
fn merge(args: &MergeMoments) -> Result<(), Failure> {
    let parts: Vec<Part> = args.runs.iter().map(|path| Part::read(RunDir::open(path)?)).collect::<Result<_, _>>()?;
    let first = &parts[0];
    let mut all: Vec<Realisation> = Vec::new();
    let mut there = HashSet::new();
    let mut experiment = first.experiment.clone();
    for part in &parts {
        let name = format!("`{}`", part.run.root().display());
        first.agrees(&part.experiment, part.fingerprint.as_deref(), &name)?;
        for realisation in &part.done {
            if !there.insert(realisation.number) {
                return Err(Failure::input(format!(
                    "realisation {} stands in two of the runs, the second time in {name}",
                    realisation.number
                )));
            }
        }
        all.extend(part.done.iter().cloned());
        if let (Some(moments), Some(other)) = (&mut experiment.settings.moments, &part.experiment.settings.moments) {
            moments.realisations = moments.realisations.max(other.realisations);
            if moments.ntk.is_some() && other.ntk.is_some() && moments.ntk != other.ntk {
                return Err(Failure::input(format!("{name} has another `moments.ntk` than the runs before it")));
            }
            moments.ntk = moments.ntk.take().or_else(|| other.ntk.clone());
        }
    }
    let opened = open(args.on.device, &experiment)?;
    // Realisations are measured already; data are for theory and kernels beside them.
    let pool = match moments_pool(&experiment) {
        Ok(pool) => pool.filter(|pool| first.fingerprint.as_ref().is_none_or(|known| *known == fingerprint(pool))),
        Err(_) => None,
    };
    // Nothing is left of a merge that is stopped: its parts are there.
    let draft = Draft::at(&args.out)?;
    begin(&draft, experiment.settings.to_toml().as_bytes(), &experiment, first.fingerprint.as_deref())?;
    let run = draft.as_run();
    all.sort_by_key(|realisation| realisation.number);
    write_log(&run, &all)?;
    let summary = finish(&run, &experiment, &all, pool.as_ref(), &opened, (0.0, 0), &args.voice)?;
    summary.say(&draft.publish()?, &args.voice);
    Ok(())
}
