//! Comparisons of GANs: their runs, the folder, the order of the work, and the table of results.

mod contenders;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fintan_artifact::{Comparison, Evaluation, Lock, LockWarning, RunDir, differing_keys, is_free, settings_of};
use fintan_config::{DataSource, Experiment, Image};
use fintan_data::Images;

use self::contenders::{read, slug};
use self::table::{Measured, table};
use crate::device::DeviceChoice;
use crate::error::Error;

pub use self::contenders::{Contender, ContenderRow};

/// The largest integer of TOML.
const LARGEST_SEED: i64 = i64::MAX;

/// Why trainings cannot be compared.
///
/// ```
/// let error = fintan::ComparisonError::RepeatedSeed(3);
/// assert_eq!(error.to_string(), "the seeds have 3 twice");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComparisonError {
    /// A seed is given twice.
    #[error("the seeds have {0} twice")]
    RepeatedSeed(u64),
    /// The seed is too large for a configuration.
    #[error("seeds must be at most {LARGEST_SEED}, the largest number of TOML, got {0}")]
    LargeSeed(u64),
    /// The setting cannot be changed for a run that exists.
    #[error("only settings of `data.` can be changed in existing runs, got `{0}`")]
    Override(String),
    /// Configurations have different seeds, and no list of seeds is given.
    #[error(
        "`{}` has seed {} and `{}` has seed {}; all configurations of a comparison must have the same seed", first.0, first.1, other.0, other.1
    )]
    OtherSeed {
        /// The first configuration and its seed.
        first: (String, u64),
        /// Another configuration and its seed.
        other: (String, u64),
    },
    /// There is only one run, so that nothing can be compared.
    #[error("there is one run to compare; name another configuration, run, or seed")]
    Alone,
    /// The path names a network with a task, or a run of one.
    #[error("`{}` describes a network; `compare` measures samples of GANs", .0.display())]
    NotAGan(PathBuf),
    /// One training is named twice.
    #[error("{} and {} are the same training: same settings and seed {seed}", names[0], names[1])]
    Twins {
        /// The two names.
        names: [String; 2],
        /// Their seed.
        seed: u64,
    },
    /// The settings cannot be read as keys and values.
    #[error("{0}")]
    Settings(String),
    /// A run in the folder of the comparison has other settings.
    #[error("`{}` was trained with {key} = {found}, and {name} is to have {wanted}", root.display())]
    OtherRun {
        /// The run.
        root: PathBuf,
        /// The row that the run would belong to.
        name: String,
        /// The first key whose values differ.
        key: String,
        /// The value in the run.
        found: String,
        /// The value in the configuration.
        wanted: String,
    },
    /// The folder exists and holds no comparison.
    #[error("`{}` exists already and holds no comparison; name another folder", .0.display())]
    NoComparison(PathBuf),
}

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
        if let (Some(set), true) =
            (self.overrides.iter().find(|set| !set.trim_start().starts_with("data.")), trains_nothing)
        {
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

/// The data sets of a comparison; [`ComparisonPlan::load`] loads them.
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
/// let plan = fintan::compare([&config]).seeds([0, 1]).out(folder.path().join("out")).plan()?;
/// let mut loaded = 0;
/// let data = plan.load(|experiment| {
///     loaded += 1;
///     fintan_data::Images::load(&experiment.settings.data, &experiment.settings.image, None)
/// })?;
/// assert!(plan.contenders().all(|contender| data.of(contender).len() == 32));
/// assert_eq!(loaded, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ComparedImages {
    all: Vec<((DataSource, Image), Images)>,
}

impl ComparedImages {
    fn find(&self, contender: &Contender) -> Option<&Images> {
        let settings = &contender.experiment.settings;
        let found = self.all.iter().find(|((data, image), _)| (data, image) == (&settings.data, &settings.image));
        found.map(|(_, images)| images)
    }

    /// The images of the data set of a training.
    ///
    /// # Panics
    /// Panics if the training belongs to another comparison.
    #[must_use]
    pub fn of(&self, contender: &Contender) -> &Images {
        self.find(contender).expect("every data set of the comparison was loaded")
    }
}

/// A comparison in progress, whose folder and runs are locked by this process; [`ComparisonPlan::begin`] makes it.
///
/// The example at [`compare`] shows a whole comparison. A comparison without results is empty:
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
/// let plan = fintan::compare([&config]).seeds([0, 1]).out(folder.path().join("out")).plan()?;
/// let progress = plan.begin()?;
/// assert_eq!(progress.comparison().rows[0].runs.len(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ComparisonProgress<'a> {
    plan: &'a ComparisonPlan,
    lock: Lock,
    /// The existing runs in the folder, by row and index in the row. They are locked by this process.
    runs: BTreeMap<(usize, usize), RunDir>,
    measured: Vec<Measured>,
}

impl ComparisonProgress<'_> {
    /// Warnings that the lock of the folder or of a run may not be reliable.
    pub fn lock_warnings(&self) -> impl Iterator<Item = &LockWarning> {
        self.lock.warning().into_iter().chain(self.runs.values().filter_map(RunDir::lock_warning))
    }

    /// Trains a contender to its last step with `train(config, found)`, which returns the run. Its arguments are the
    /// configuration file and the existing run, if there is one. A run that the user named is not changed.
    ///
    /// # Errors
    /// The errors of `train`.
    pub fn complete<E>(
        &mut self,
        contender: &Contender,
        train: impl FnOnce(&Path, Option<RunDir>) -> Result<RunDir, E>,
    ) -> Result<(), E> {
        if let Some(config) = &contender.config {
            let place = (contender.row, contender.run);
            let run = train(config, self.runs.remove(&place))?;
            self.runs.insert(place, run);
        }
        Ok(())
    }

    /// Adds the evaluation of a training, measured against these images.
    pub fn add(&mut self, contender: &Contender, images: &Images, evaluation: Evaluation) {
        let (row, run, data) = (contender.row, contender.run, images.fingerprint());
        self.measured.push(Measured { row, run, data, evaluation });
    }

    /// The table of all evaluations so far. Runs are in the order of their rows and seeds.
    #[must_use]
    pub fn comparison(&self) -> Comparison {
        table(&self.plan.rows, &self.measured, &self.plan.out)
    }

    /// Writes the table to the folder, as `compare.json` and `compare.csv`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self) -> Result<Comparison, Error> {
        let comparison = self.comparison();
        comparison.write(&self.plan.out)?;
        Ok(comparison)
    }
}
