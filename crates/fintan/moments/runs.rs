//! Run directories of moments: new ones, resumed ones, and merges.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use fintan_artifact::{Draft, RunDir, RunError};
use fintan_config::{ConfigError, NetworkExperiment, Subject};
use fintan_moments::{MomentsPlan, Realisation};

use super::MomentsError;
use crate::error::Error;

/// The file with the fingerprint of the data set.
const FINGERPRINT: &str = "inputs.fingerprint";

/// The network of a configuration with `[moments]`.
pub(super) fn with_moments(subject: Subject, path: &Path) -> Result<NetworkExperiment, MomentsError> {
    match subject {
        Subject::Network(network) if network.settings.moments.is_some() => Ok(network),
        Subject::Network(_) => Err(MomentsError::NoMoments(path.into())),
        Subject::Gan(_) => Err(MomentsError::Gan(path.into())),
    }
}

/// Makes a run directory: `out`, or by default a numbered one in `runs`, named after the configuration.
pub(super) fn begin(
    config: &Path,
    out: Option<&Path>,
    experiment: &NetworkExperiment,
    fingerprint: Option<&str>,
) -> Result<RunDir, Error> {
    let draft = match out {
        Some(out) => Draft::at(out)?,
        None => Draft::numbered(Path::new("runs"), &config.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    let written =
        fs_err::read(config).map_err(|source| ConfigError::Read { path: config.display().to_string(), source })?;
    fill(&draft, &written, experiment, fingerprint)?;
    Ok(draft.publish_run()?)
}

/// Writes the files that every run has from the start.
fn fill(draft: &Draft, written: &[u8], experiment: &NetworkExperiment, fingerprint: Option<&str>) -> Result<(), Error> {
    draft.write("config.toml", written)?;
    draft.write("config.resolved.toml", experiment.settings.to_toml().as_bytes())?;
    Ok(fingerprint.map_or(Ok(()), |fingerprint| draft.write(FINGERPRINT, fingerprint.as_bytes()))?)
}

/// A run of moments as it was read from disk.
struct Part {
    run: RunDir,
    done: Vec<Realisation>,
    experiment: NetworkExperiment,
    fingerprint: Option<String>,
}

impl Part {
    fn read(run: RunDir) -> Result<Self, Error> {
        let config = run.resolved_config();
        let experiment = with_moments(Subject::load(&config, &[])?, &config)?;
        let done: Vec<Realisation> = run.read_log()?;
        let plan = MomentsPlan::new(&experiment).ok_or(MomentsError::NoMoments(config))?;
        let points: Vec<_> = plan.points().collect();
        let mut numbers = HashSet::new();
        for realisation in &done {
            let number = realisation.number;
            let message = if !numbers.insert(number) {
                format!("realisation {number} stands there twice")
            } else if realisation.dead.is_none() && realisation.records.len() != points.len() {
                format!("realisation {number} has {} of {} records", realisation.records.len(), points.len())
            } else {
                // The order is checked because records are identified by it.
                let mut places = realisation.records.iter().zip(&points);
                match places.find(|(record, point)| (record.depth, &record.loc) != (point.depth, &point.loc)) {
                    None => continue,
                    Some((_, point)) => format!(
                        "realisation {number} has another record where `{}` of depth {} belongs",
                        point.loc, point.depth
                    ),
                }
            };
            return Err(RunError::Damaged { path: run.log(), message }.into());
        }
        let fingerprint = fs_err::read_to_string(run.root().join(FINGERPRINT)).ok();
        Ok(Self { run, done, experiment, fingerprint })
    }

    /// Fails if the run is of another measurement.
    fn agrees(&self, other: &NetworkExperiment, fingerprint: Option<&str>, name: &str) -> Result<(), MomentsError> {
        let (run, other_name) = (self.run.root().to_path_buf(), name.to_owned());
        if alike(&self.experiment) != alike(other) {
            return Err(MomentsError::Configurations { run, other: other_name });
        }
        match (&self.fingerprint, fingerprint) {
            (Some(a), Some(b)) if a != b => Err(MomentsError::Data {
                run,
                other: other_name,
                found: a.trim().to_owned(),
                others: b.trim().to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Opens a run with some realisations of this configuration to continue it.
pub(super) fn resume(
    out: &Path,
    experiment: &NetworkExperiment,
    fingerprint: Option<&str>,
) -> Result<(RunDir, Vec<Realisation>), Error> {
    let part = Part::read(RunDir::open_locked(out)?)?;
    part.agrees(experiment, fingerprint, "this")?;
    let wanted = experiment.settings.moments.as_ref().map_or(0, |moments| moments.realisations) as u64;
    if let Some(beyond) = part.done.iter().find(|realisation| realisation.number >= wanted) {
        return Err(MomentsError::Beyond { run: out.into(), number: beyond.number, wanted }.into());
    }
    // This drops a last line that was cut short.
    write_log(&part.run, &part.done)?;
    part.run.write("config.resolved.toml", experiment.settings.to_toml().as_bytes())?;
    Ok((part.run, part.done))
}

/// Writes the complete log.
fn write_log(run: &RunDir, done: &[Realisation]) -> Result<(), Error> {
    let mut text = String::new();
    for realisation in done {
        text += &serde_json::to_string(realisation).map_err(std::io::Error::from)?;
        text.push('\n');
    }
    Ok(run.write("log.jsonl", text.as_bytes())?)
}

/// The settings that parts of one measurement must have in common, as text.
fn alike(experiment: &NetworkExperiment) -> String {
    let mut settings = experiment.settings.clone();
    if let Some(moments) = &mut settings.moments {
        moments.realisations = 0;
        moments.ntk = None;
        for path in moments.inputs.paths_mut() {
            *path = PathBuf::new();
        }
    }
    settings.to_toml()
}

/// The realisations of several runs of one measurement.
pub(super) struct Merged {
    pub(super) experiment: NetworkExperiment,
    pub(super) done: Vec<Realisation>,
    pub(super) fingerprint: Option<String>,
}

impl Merged {
    /// Reads the runs and checks that they agree.
    pub(super) fn read(runs: &[PathBuf]) -> Result<Self, Error> {
        let parts: Vec<Part> = runs.iter().map(|path| Part::read(RunDir::open(path)?)).collect::<Result<_, _>>()?;
        let first = parts.first().ok_or_else(|| MomentsError::NoMoments(PathBuf::new()))?;
        let (mut experiment, mut done) = (first.experiment.clone(), Vec::new());
        let mut there = HashSet::new();
        for part in &parts {
            let root = part.run.root();
            first.agrees(&part.experiment, part.fingerprint.as_deref(), &format!("`{}`", root.display()))?;
            for realisation in &part.done {
                let number = realisation.number;
                if !there.insert(number) {
                    return Err(MomentsError::Twice { number, run: root.into() }.into());
                }
            }
            done.extend(part.done.iter().cloned());
            if let (Some(moments), Some(other)) = (&mut experiment.settings.moments, &part.experiment.settings.moments)
            {
                moments.realisations = moments.realisations.max(other.realisations);
                if moments.ntk.is_some() && other.ntk.is_some() && moments.ntk != other.ntk {
                    return Err(MomentsError::Kernels(root.into()).into());
                }
                moments.ntk = moments.ntk.take().or_else(|| other.ntk.clone());
            }
        }
        done.sort_by_key(|realisation| realisation.number);
        Ok(Self { experiment, done, fingerprint: first.fingerprint.clone() })
    }

    /// Writes the merged realisations to a draft of a run directory. A merge that is stopped leaves no directory, and its parts
    /// are unchanged.
    pub(super) fn begin(&self, out: &Path) -> Result<Draft, Error> {
        let draft = Draft::at(out)?;
        let resolved = self.experiment.settings.to_toml();
        fill(&draft, resolved.as_bytes(), &self.experiment, self.fingerprint.as_deref())?;
        write_log(&draft.as_run(), &self.done)?;
        Ok(draft)
    }
}
