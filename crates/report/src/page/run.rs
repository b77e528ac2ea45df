//! Reads a run directory for the page.

use std::path::{Path, PathBuf};

use fintan_artifact::{Evaluation, Event, FlatSettings, LogLine, RunDir, RunError, SupervisedLine};
use maud::{Markup, html};
use serde_json::Value;

use super::LayerRegime;
use super::markup::{Picture, text};

/// Largest picture that is shown, in bytes: enough for thousands of samples.
const LARGEST: u64 = 64 << 20;

/// The kind of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gan,
    Supervised,
    Moments,
}

/// A run directory, read into memory.
pub(super) struct Run<'a> {
    pub(super) dir: RunDir,
    /// Its name on the page, and the common name of runs that differ only in the seed.
    pub(super) name: String,
    pub(super) group: String,
    pub(super) kind: Kind,
    pub(super) settings: FlatSettings,
    pub(super) lines: Vec<LogLine>,
    pub(super) losses: Vec<SupervisedLine>,
    pub(super) kernels: Vec<Value>,
    pub(super) events: Vec<Event>,
    /// The newest evaluation.
    pub(super) evaluation: Option<Evaluation>,
    /// The measures from the end of training.
    pub(super) metrics: Value,
    pub(super) environment: Value,
    pub(super) layers: &'a [LayerRegime],
}

impl<'a> Run<'a> {
    pub(super) fn read(root: &Path, layers: &'a [LayerRegime]) -> Result<Self, RunError> {
        let dir = RunDir::open(root)?;
        let settings = dir.settings()?;
        let has = |table: &str| settings.keys().any(|key| key.starts_with(table));
        let kind = match (has("generator."), has("task.")) {
            (true, _) => Kind::Gan,
            // Lines of moments have another format.
            (_, true) => Kind::Supervised,
            (false, false) => Kind::Moments,
        };
        let named = fs_err::canonicalize(root)?;
        let name = named.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let seed = settings.get("seed").cloned().unwrap_or_default();
        let group = name.strip_suffix(&format!("_seed_{seed}")).unwrap_or(&name).to_owned();
        Ok(Self {
            name,
            group,
            kind,
            lines: if kind == Kind::Gan { dir.read_log()? } else { Vec::new() },
            losses: if kind == Kind::Supervised { dir.read_log()? } else { Vec::new() },
            events: if kind == Kind::Moments { Vec::new() } else { dir.read_events()? },
            kernels: dir.read_kernels()?,
            evaluation: dir.evaluations()?.into_values().next_back(),
            metrics: json(&dir.metrics())?,
            environment: machine(json(&root.join("env.json"))?),
            settings,
            dir,
            layers,
        })
    }

    /// The files in a folder of the run with one of these endings, sorted by name.
    pub(super) fn files(&self, folder: &str, endings: &[&str]) -> Result<Vec<PathBuf>, RunError> {
        let folder = self.dir.root().join(folder);
        let mut found = Vec::new();
        if folder.is_dir() {
            for entry in fs_err::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|found| endings.iter().any(|ending| found == *ending))
                    && self.has(&path)
                {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Whether a path is a file of the run. A pipe is not: reading it may never end. A link out of the run is not: its file
    /// may belong to someone else, and the page may be published.
    fn has(&self, path: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        path.is_file() && real(path).zip(real(self.dir.root())).is_some_and(|(path, root)| path.starts_with(root))
    }

    /// The text of a file of the run; `None` if there is no such file.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, RunError> {
        let path = self.dir.root().join(name);
        Ok(if self.has(&path) { Some(fs_err::read_to_string(path)?) } else { None })
    }
}

/// The picture in a file, or a message why it is not shown.
pub(super) fn picture(path: &Path) -> Result<Result<Picture, Markup>, RunError> {
    let not_shown = |why: &str| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Err(html! { p.faint { (text(name)) " " (why) " and is not shown." } })
    };
    if fs_err::metadata(path)?.len() > LARGEST {
        return Ok(not_shown("has more than 64 MiB"));
    }
    Ok(Picture::of(fs_err::read(path)?).map_or_else(|| not_shown("is neither a PNG nor an SVG file"), Ok))
}

/// The content of `env.json` without the settings, which the page shows in another section.
fn machine(mut environment: Value) -> Value {
    if let Some(fields) = environment.as_object_mut() {
        fields.retain(|key, _| !["config", "settings"].contains(&key.as_str()));
    }
    environment
}

fn json(path: &Path) -> Result<Value, RunError> {
    if !path.is_file() {
        return Ok(Value::Null);
    }
    let bytes = fs_err::read(path)?;
    serde_json::from_slice(&bytes).map_err(|e| RunError::Damaged { path: path.into(), message: e.to_string() })
}

/// Makes the names of runs unique, and puts the runs of a group next to each other.
pub(super) fn tell_apart(runs: &mut [Run]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (i, run) in runs.iter_mut().enumerate() {
        let same = |name: &&String| **name == names[i];
        if names.iter().filter(same).count() > 1 {
            let place = run.dir.root().display().to_string();
            run.name.clone_from(&place);
            run.group = place;
        }
    }
    let mut groups: Vec<String> = Vec::new();
    for run in runs.iter() {
        if !groups.contains(&run.group) {
            groups.push(run.group.clone());
        }
    }
    runs.sort_by_key(|run| groups.iter().position(|group| *group == run.group));
}
