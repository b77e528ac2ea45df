//! The contenders of a comparison: configurations with their seeds, and existing runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fintan_artifact::{FlatSettings, RunDir, settings_of};
use fintan_config::{ComparisonSettings, Experiment, Held, Subject};

use super::error::LARGEST_SEED;
use super::{ComparisonBuilder, ComparisonError};
use crate::error::Error;
use crate::evaluation::{EvaluationBuilder, evaluate};
use crate::training::{is_of_data, make_absolute, subject_of_run};

/// A row of the table: one configuration with all its runs.
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
/// let row = &plan.rows()[0];
/// assert_eq!((row.name(), row.runs().len()), ("tiny", 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ContenderRow {
    pub(super) name: String,
    /// The settings, without the seed.
    pub(super) settings: FlatSettings,
    pub(super) runs: Vec<Contender>,
}

impl ContenderRow {
    /// The unique name of the row.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The runs, in the order in which the seeds were given.
    #[must_use]
    pub fn runs(&self) -> &[Contender] {
        &self.runs
    }

    /// The seeds of its runs, in ascending order.
    #[must_use]
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.runs.iter().map(Contender::seed).collect();
        seeds.sort_unstable();
        seeds
    }
}

/// One training of a comparison.
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
/// let last = plan.contenders().last().expect("two runs");
/// assert_eq!((last.seed(), last.config()), (1, Some(config.as_path())));
/// assert_eq!(last.root(), folder.path().join("out/tiny_seed_1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Contender {
    pub(super) name: String,
    pub(super) experiment: Experiment,
    /// The configuration file, for a run to be trained in the folder of the comparison; `None` for an existing run that the
    /// user named.
    pub(super) config: Option<PathBuf>,
    pub(super) root: PathBuf,
    pub(super) row: usize,
    pub(super) run: usize,
    /// Overrides for the place of the data, for an existing run.
    overrides: Vec<String>,
}

impl Contender {
    /// A training that is not in a row yet.
    fn new(experiment: Experiment, config: Option<PathBuf>, root: PathBuf, overrides: Vec<String>) -> Self {
        Self { name: String::new(), experiment, config, root, row: 0, run: 0, overrides }
    }

    /// The name of its row.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seed of weights, latents and data order.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.experiment.settings.seed
    }

    /// The experiment of the configuration with this seed.
    #[must_use]
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The configuration file that the run is trained from, or `None` for an existing run, which is measured as it is.
    #[must_use]
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The run directory, which may not exist yet.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins the evaluation of the run, with the data at the place that the comparison gives.
    #[must_use]
    pub fn evaluate<'a>(&self) -> EvaluationBuilder<'a> {
        self.overrides.iter().fold(evaluate(&self.root), |evaluation, set| evaluation.set(set))
    }

    /// The name of the training in messages.
    fn said(&self) -> String {
        match &self.config {
            Some(config) => format!("`{}` with seed {}", config.display(), self.seed()),
            None => format!("`{}`", self.root.display()),
        }
    }
}

/// The letters and digits of a name, for file names.
pub(super) fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_alphanumeric() || c == '-' || c == '.' {
            slug.push(c);
        } else if !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.trim_matches(['_', '.']).to_owned()
}

/// Reads everything to be compared, and puts equal settings into one row. Runs to be trained have no directory yet.
pub(super) fn read(asked: &ComparisonBuilder) -> Result<Vec<ContenderRow>, Error> {
    let wanted = &asked.seeds;
    let mut seen = BTreeSet::new();
    if let Some(&seed) = wanted.iter().find(|seed| !seen.insert(**seed)) {
        return Err(ComparisonError::RepeatedSeed(seed).into());
    }
    if let Some(&seed) = wanted.iter().find(|&&seed| seed > LARGEST_SEED.unsigned_abs()) {
        return Err(ComparisonError::LargeSeed(seed).into());
    }
    let bound = asked.device.bound(Held::Training);
    let mut rows = Vec::new();
    // Configurations that use their own seed because no list of seeds is given, with that seed.
    let mut unsaid: Vec<(String, u64)> = Vec::new();
    for path in &asked.paths {
        if path.is_dir() {
            read_run(path, asked, &mut rows)?;
            continue;
        }
        let comparison = ComparisonSettings::load(path)?;
        let planned: Vec<(String, PathBuf, Subject)> = match &comparison {
            None => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                vec![(name, path.clone(), Subject::load_within(path, &asked.overrides, bound)?)]
            }
            Some(settings) => {
                let variants = settings.variants.iter().enumerate();
                let read = variants.map(|(i, variant)| {
                    let (base, subject) = settings.subject(i, &asked.overrides, bound)?;
                    Ok((variant.name.clone(), base.to_path_buf(), subject))
                });
                read.collect::<Result<_, Error>>()?
            }
        };
        let own = comparison.map(|settings| settings.seeds).unwrap_or_default();
        for (name, config, mut subject) in planned {
            make_absolute(&mut subject)?;
            let Subject::Gan(experiment) = subject else { return Err(ComparisonError::NotAGan(config).into()) };
            let seeds = match (&wanted[..], &own[..]) {
                ([], []) => {
                    unsaid.push((name.clone(), experiment.settings.seed));
                    vec![experiment.settings.seed]
                }
                ([], own) => own.to_vec(),
                (said, _) => said.to_vec(),
            };
            for seed in seeds {
                let mut experiment = (*experiment).clone();
                experiment.settings.seed = seed;
                let contender = Contender::new(experiment, Some(config.clone()), PathBuf::new(), Vec::new());
                add(&mut rows, &name, contender)?;
            }
        }
    }
    if let [first, rest @ ..] = &unsaid[..]
        && let Some(other) = rest.iter().find(|(_, seed)| *seed != first.1)
    {
        return Err(ComparisonError::OtherSeed { first: first.clone(), other: other.clone() }.into());
    }
    if rows.iter().map(|row| row.runs.len()).sum::<usize>() < 2 {
        return Err(ComparisonError::Alone.into());
    }
    Ok(rows)
}

fn read_run(path: &Path, asked: &ComparisonBuilder, rows: &mut Vec<ContenderRow>) -> Result<(), Error> {
    let run = RunDir::open(path)?;
    let overrides: Vec<String> = asked.overrides.iter().filter(|set| is_of_data(set)).cloned().collect();
    let Subject::Gan(experiment) = subject_of_run(&run, &overrides, asked.device.bound(Held::Training))? else {
        return Err(ComparisonError::NotAGan(path.into()).into());
    };
    run.find_checkpoint(None)?;
    let root = fs_err::canonicalize(path)?;
    let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.strip_suffix(&format!("_seed_{}", experiment.settings.seed)).unwrap_or(&name);
    add(rows, name, Contender::new(*experiment, None, path.into(), overrides))
}

/// Puts a training into the row with its settings.
fn add(rows: &mut Vec<ContenderRow>, name: &str, mut contender: Contender) -> Result<(), Error> {
    let mut settings = settings_of(&contender.experiment.settings.to_toml()).map_err(ComparisonError::Settings)?;
    settings.remove("seed");
    if let Some((i, row)) = rows.iter_mut().enumerate().find(|(_, row)| row.settings == settings) {
        if let Some(twin) = row.runs.iter().find(|run| run.seed() == contender.seed()) {
            let (names, seed) = ([twin.said(), contender.said()], contender.seed());
            return Err(ComparisonError::Twins { names, seed }.into());
        }
        (contender.name, contender.row, contender.run) = (row.name.clone(), i, row.runs.len());
        row.runs.push(contender);
        return Ok(());
    }
    let taken = |name: &str| rows.iter().any(|row| slug(&row.name) == slug(name));
    let mut numbered = name.to_owned();
    let mut number = 2;
    while taken(&numbered) {
        numbered = format!("{name}-{number}");
        number += 1;
    }
    (contender.name, contender.row) = (numbered.clone(), rows.len());
    rows.push(ContenderRow { name: numbered, settings, runs: vec![contender] });
    Ok(())
}
