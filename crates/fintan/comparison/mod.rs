//! Comparisons of GANs: their runs, the folder, the order of the work, and the table of results.

mod contenders;
mod error;
mod progress;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fintan_artifact::{Lock, RunDir, differing_keys, is_free, settings_of};
use fintan_config::Experiment;
use fintan_data::Images;

use self::contenders::{read, slug};
use crate::device::DeviceChoice;
use crate::error::Error;
use crate::training::is_of_data;

pub use self::contenders::{Contender, ContenderRow};
pub use self::error::ComparisonError;
pub use self::progress::{ComparedImages, ComparisonProgress};

/// A difference between rows that should agree, which makes them harder to compare.
///
/// ```
/// let unlike = fintan::Unlike::Steps { run: "a".into(), step: 5, planned: 9 };
/// assert_eq!(unlike, fintan::Unlike::Steps { run: "a".into(), step: 5, planned: 9 });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unlike {
    /// Rows have different seeds, so that their latents and the order of their data differ.
    Seeds {
        /// The names of the first row and of the first row with other seeds.
        names: [String; 2],
        /// The seeds of both.
        seeds: [Vec<u64>; 2],
    },
    /// A run stopped before its last step, and is measured at its newest checkpoint.
    Steps {
        /// The run.
        run: PathBuf,
        /// The step of its newest checkpoint.
        step: u64,
        /// Its last step.
        planned: u64,
    },
}

/// Options of a comparison; [`compare`] makes them.
///
/// ```
/// let error = fintan::compare(["a.toml"]).seeds([1, 1]).plan().unwrap_err();
/// assert_eq!(error.to_string(), "the seeds have 1 twice");
/// ```
#[derive(Debug, Clone)]
pub struct ComparisonBuilder {
    paths: Vec<PathBuf>,
    seeds: Vec<u64>,
    overrides: Vec<String>,
    out: Option<PathBuf>,
    device: DeviceChoice,
}

/// Compares trainings: configurations of GANs, files with `[compare]`, and run directories, in any mixture.
///
/// All configurations are trained with the same seeds in one folder, and all runs are measured with the same metrics. A
/// comparison that was stopped continues from the files in its folder. The caller decides how runs are trained and measured:
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("tiny.toml");
/// # fs_err::write(&config, "
/// #     image = { size = 16, channels = 1 }
/// #     data.shapes.count = 32
/// #     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 1, batch = 4, grid = [2, 2] }
/// # ")?;
/// use fintan::{Device, Error, Metric};
/// use fintan_artifact::RunDir;
/// use fintan_data::Images;
///
/// let plan = fintan::compare([&config]).seeds([0, 1]).out(folder.path().join("out")).plan()?;
/// let data = plan.load(|experiment| {
///     let settings = &experiment.settings;
///     Ok::<_, Error>(Images::load(&settings.data, &settings.image, None)?)
/// })?;
/// let mut progress = plan.begin()?;
/// for contender in plan.in_order() {
///     progress.complete(contender, |config, _found| {
///         let seed = format!("seed={}", contender.seed());
///         let training = fintan::train(config).set(&seed).out(contender.root()).device(Device::cpu());
///         Ok::<_, Error>(RunDir::open(training.run()?.root())?)
///     })?;
///     let images = data.of(contender);
///     let evaluation = contender.evaluate().metrics([Metric::Std]).device(Device::cpu()).prepare()?;
///     progress.add(contender, images, evaluation.measure(images)?);
/// }
/// let comparison = progress.write()?;
/// assert_eq!((comparison.metrics.as_slice(), comparison.rows[0].runs.len()), (["std".to_owned()].as_slice(), 2));
/// assert!(folder.path().join("out/compare.csv").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn compare(paths: impl IntoIterator<Item: AsRef<Path>>) -> ComparisonBuilder {
    ComparisonBuilder {
        paths: paths.into_iter().map(|path| path.as_ref().into()).collect(),
        seeds: Vec::new(),
        overrides: Vec::new(),
        out: None,
        device: DeviceChoice::Auto,
    }
}

impl ComparisonBuilder {
    /// Trains every configuration with these seeds. By default the seeds come from the comparison file, or else from each
    /// configuration.
    #[must_use]
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = u64>) -> Self {
        self.seeds = seeds.into_iter().collect();
        self
    }

    /// Changes a setting of all configurations: `key=value`. For run directories only the place of the data (`data.`) can
    /// change.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Self {
        self.overrides.push(key_and_value.into());
        self
    }

    /// Writes runs and table to this folder. By default it is a folder in `runs/`, named after what is compared.
    #[must_use]
    pub fn out(mut self, folder: impl AsRef<Path>) -> Self {
        self.out = Some(folder.as_ref().into());
        self
    }

    /// Sets the device whose memory bounds the size of networks.
    #[must_use]
    pub fn device(mut self, device: DeviceChoice) -> Self {
        self.device = device;
        self
    }

    /// Reads all configurations and runs, and chooses the folder. Nothing is written.
    ///
    /// # Errors
    /// Fails if a configuration is wrong or describes no GAN, a folder is no run, or seeds are repeated or differ. Also if
    /// there is only one training, or if the folder holds something else.
    pub fn plan(self) -> Result<ComparisonPlan, Error> {
        let mut rows = read(&self)?;
        let trains_nothing = rows.iter().flat_map(|row| &row.runs).all(|run| run.config.is_none());
        if let (Some(set), true) = (self.overrides.iter().find(|set| !is_of_data(set)), trains_nothing) {
            return Err(ComparisonError::Override(set.clone()).into());
        }
        let out = match self.out {
            Some(out) => {
                settle(&mut rows, &out);
                fits(&out, &rows)?;
                out
            }
            None => free_folder(&self.paths, &mut rows),
        };
        Ok(ComparisonPlan { rows, out })
    }
}

/// The default folder: a new one, or one whose runs are of these configurations.
fn free_folder(paths: &[PathBuf], rows: &mut [ContenderRow]) -> PathBuf {
    let name = if let [one] = paths {
        slug(&one.file_stem().unwrap_or_default().to_string_lossy())
    } else {
        let names: Vec<String> = rows.iter().take(4).map(|row| slug(&row.name)).collect();
        format!("compare_{}", names.join("_"))
    };
    let mut number = 1_u32;
    loop {
        let numbered = if number == 1 { name.clone() } else { format!("{name}-{number}") };
        let out = Path::new("runs").join(numbered);
        settle(rows, &out);
        if fits(&out, rows).is_ok() {
            return out;
        }
        number += 1;
    }
}

/// Sets the directories of the runs to be trained.
fn settle(rows: &mut [ContenderRow], out: &Path) {
    for ContenderRow { name, runs, .. } in rows {
        for run in runs.iter_mut().filter(|run| run.config.is_some()) {
            run.root = out.join(format!("{}_seed_{}", slug(name), run.seed()));
        }
    }
}

/// Checks that a folder is free, or holds this comparison or a part of it.
fn fits(out: &Path, rows: &[ContenderRow]) -> Result<(), Error> {
    if is_free(out)? {
        return Ok(());
    }
    let mut known = out.join("compare.json").is_file();
    for row in rows {
        for run in row.runs.iter().filter(|run| run.config.is_some()) {
            if is_free(&run.root)? {
                continue;
            }
            let found = RunDir::open(&run.root)?;
            known = true;
            let wanted = settings_of(&run.experiment.settings.to_toml()).map_err(ComparisonError::Settings)?;
            let found = found.settings()?;
            if let Some(key) = differing_keys(&[&found, &wanted]).first() {
                let [found, wanted] = [found, wanted].map(|s| s.get(key).cloned().unwrap_or_else(|| "nothing".into()));
                let (root, name, key) = (run.root.clone(), row.name.clone(), key.clone());
                return Err(ComparisonError::OtherRun { root, name, key, found, wanted }.into());
            }
        }
    }
    if known { Ok(()) } else { Err(ComparisonError::NoComparison(out.into()).into()) }
}

/// A comparison that has been read and checked; [`ComparisonBuilder::plan`] makes it.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("tiny.toml");
/// # fs_err::write(&config, "
/// #     image = { size = 16, channels = 1 }
/// #     data.shapes.count = 32
/// #     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 1, batch = 4 }
/// # ")?;
/// let same = fintan::compare([&config]).seeds([0, 1]).set("train.steps=2").out(folder.path().join("out"));
/// let plan = same.plan()?;
/// assert_eq!(plan.contenders().map(|run| run.seed()).collect::<Vec<_>>(), [0, 1]);
/// assert_eq!(plan.unlike(), []);
/// // Nothing is written yet.
/// assert!(!plan.out().exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonPlan {
    rows: Vec<ContenderRow>,
    out: PathBuf,
}

impl ComparisonPlan {
    /// The rows of the table.
    #[must_use]
    pub fn rows(&self) -> &[ContenderRow] {
        &self.rows
    }

    /// The folder of runs, table and report.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// All trainings, row by row.
    pub fn contenders(&self) -> impl Iterator<Item = &Contender> {
        self.rows.iter().flat_map(|row| &row.runs)
    }

    /// All trainings in the order in which they should be done: one seed of every row before the next seed. Thus an unfinished
    /// comparison is as informative as possible.
    pub fn in_order(&self) -> impl Iterator<Item = &Contender> {
        let longest = self.rows.iter().map(|row| row.runs.len()).max().unwrap_or(0);
        (0..longest).flat_map(|run| self.rows.iter().filter_map(move |row| row.runs.get(run)))
    }

    /// The differences between rows that should agree.
    #[must_use]
    pub fn unlike(&self) -> Vec<Unlike> {
        let mut found = Vec::new();
        let seeds: Vec<Vec<u64>> = self.rows.iter().map(ContenderRow::seeds).collect();
        if let Some(i) = seeds.iter().position(|of_row| *of_row != seeds[0]) {
            let names = [0, i].map(|i| self.rows[i].name.clone());
            found.push(Unlike::Seeds { names, seeds: [0, i].map(|i| seeds[i].clone()) });
        }
        for run in self.contenders().filter(|run| run.config.is_none()) {
            let reached = RunDir::open(&run.root).and_then(|run| run.find_checkpoint(None));
            let planned = run.experiment.settings.train.steps;
            if let Some(step) = reached.ok().filter(|step| *step < planned) {
                found.push(Unlike::Steps { run: run.root.clone(), step, planned });
            }
        }
        found
    }

    /// Loads each distinct data set once, with `load`.
    ///
    /// # Errors
    /// The errors of `load`.
    pub fn load<E>(&self, mut load: impl FnMut(&Experiment) -> Result<Images, E>) -> Result<ComparedImages, E> {
        let mut loaded = ComparedImages { all: Vec::new() };
        for run in self.contenders() {
            if loaded.find(run).is_none() {
                let settings = &run.experiment.settings;
                let images = load(&run.experiment)?;
                loaded.all.push(((settings.data.clone(), settings.image.clone()), images));
            }
        }
        Ok(loaded)
    }

    /// Locks the folder and its runs for this process.
    ///
    /// # Errors
    /// Fails if another process holds the lock of the folder or of a run, if the folder now holds something else, or with
    /// errors of the file system.
    pub fn begin(&self) -> Result<ComparisonProgress<'_>, Error> {
        let lock = Lock::exclusive(&self.out)?;
        fits(&self.out, &self.rows)?;
        let mut runs = BTreeMap::new();
        for run in self.contenders().filter(|run| run.config.is_some()) {
            if !is_free(&run.root)? {
                runs.insert((run.row, run.run), RunDir::open_locked(&run.root)?);
            }
        }
        Ok(ComparisonProgress { plan: self, lock, runs, measured: Vec::new() })
    }
}
