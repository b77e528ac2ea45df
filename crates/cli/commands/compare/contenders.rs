//! What is compared: configurations with their seeds, and runs that are there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fintan_artifact::{RunDir, Settings, settings_of};
use fintan_config::{ComparisonSettings, Experiment, Held, Subject};

use crate::args::Compare;
use crate::commands::settings_of_run::subject_of_run;
use crate::failure::Failure;
use crate::given::make_absolute;

/// A configuration with all its runs.
pub(super) struct Row {
    pub(super) name: String,
    /// Its settings but for the seed.
    pub(super) settings: Settings,
    pub(super) runs: Vec<Contender>,
}

/// One training.
pub(super) struct Contender {
    pub(super) experiment: Experiment,
    pub(super) place: Place,
}

/// Where a training is, or is to be.
pub(super) enum Place {
    /// To be trained in the folder of the comparison, from this file.
    Planned { written: PathBuf },
    /// A run of the user's.
    Run(PathBuf),
}

impl Contender {
    pub(super) fn seed(&self) -> u64 {
        self.experiment.settings.seed
    }

    /// What to call it in messages.
    fn said(&self) -> String {
        match &self.place {
            Place::Planned { written } => format!("`{}` with seed {}", written.display(), self.seed()),
            Place::Run(path) => format!("`{}`", path.display()),
        }
    }
}

/// Letters and digits of a name, for files.
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

/// Everything that is to be compared, the same settings in one row.
pub(super) fn read(args: &Compare) -> Result<Vec<Row>, Failure> {
    let wanted: Vec<u64> = args.seeds.iter().flat_map(|range| range.seeds()).collect();
    let mut seen = BTreeSet::new();
    if let Some(seed) = wanted.iter().find(|seed| !seen.insert(**seed)) {
        return Err(Failure::input(format!("--seeds has {seed} twice")));
    }
    if let Some(seed) = wanted.iter().find(|&&seed| seed > i64::MAX.unsigned_abs()) {
        let most = i64::MAX;
        return Err(Failure::input(format!("--seeds must be at most {most}, the largest number of TOML, got {seed}")));
    }
    let mut rows = Vec::new();
    // Configurations without seeds of their own, and the one each has.
    let mut unsaid: Vec<(String, u64)> = Vec::new();
    for path in &args.paths {
        if path.is_dir() {
            read_run(path, args, &mut rows)?;
            continue;
        }
        let comparison = ComparisonSettings::load(path)?;
        let planned: Vec<(String, PathBuf, Subject)> = match &comparison {
            None => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                vec![(name, path.clone(), Subject::load_within(path, &args.set, args.on.device.bound(Held::Training))?)]
            }
            Some(settings) => {
                let variants = settings.variants.iter().enumerate();
                let read = variants.map(|(i, variant)| {
                    let (base, subject) = settings.subject(i, &args.set, args.on.device.bound(Held::Training))?;
                    Ok((variant.name.clone(), base.to_path_buf(), subject))
                });
                read.collect::<Result<_, Failure>>()?
            }
        };
        let own = comparison.map(|settings| settings.seeds).unwrap_or_default();
        for (name, written, mut subject) in planned {
            make_absolute(&mut subject)?;
            let Subject::Gan(experiment) = subject else { return Err(no_gan(&written)) };
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
                add(&mut rows, &name, Contender { experiment, place: Place::Planned { written: written.clone() } })?;
            }
        }
    }
    if let [(first, seed), rest @ ..] = &unsaid[..]
        && let Some((other, different)) = rest.iter().find(|(_, found)| found != seed)
    {
        return Err(Failure::Input(miette::miette!(
            help = "name the seeds of all: --seeds 0,1,2",
            "`{first}` has seed {seed} and `{other}` has seed {different}; what is compared starts from the same seeds"
        )));
    }
    if rows.iter().map(|row| row.runs.len()).sum::<usize>() < 2 {
        return Err(Failure::input("there is one run to compare; name another configuration, run, or seed"));
    }
    Ok(rows)
}

fn no_gan(path: &Path) -> Failure {
    Failure::Input(miette::miette!(
        help = "`fintan flow RUN...` and `fintan report RUN...` put runs of networks side by side",
        "`{}` describes a network; `compare` measures samples of GANs",
        path.display()
    ))
}

fn read_run(path: &Path, args: &Compare, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let run = RunDir::open(path)?;
    let set: Vec<String> = args.set.iter().filter(|set| set.trim_start().starts_with("data.")).cloned().collect();
    let Subject::Gan(experiment) = subject_of_run(&run, &set, args.on.device.bound(Held::Training))? else {
        return Err(no_gan(path));
    };
    run.find_checkpoint(None)?;
    let root = fs_err::canonicalize(path).map_err(Failure::input)?;
    let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.strip_suffix(&format!("_seed_{}", experiment.settings.seed)).unwrap_or(&name).to_owned();
    add(rows, &name, Contender { experiment: *experiment, place: Place::Run(path.to_path_buf()) })
}

/// Puts a training into the row of its settings.
fn add(rows: &mut Vec<Row>, name: &str, contender: Contender) -> Result<(), Failure> {
    let mut settings = settings_of(&contender.experiment.settings.to_toml()).map_err(Failure::input)?;
    settings.remove("seed");
    if let Some(row) = rows.iter_mut().find(|row| row.settings == settings) {
        if let Some(twin) = row.runs.iter().find(|run| run.seed() == contender.seed()) {
            let (a, b, seed) = (twin.said(), contender.said(), contender.seed());
            return Err(Failure::input(format!("{a} and {b} are the same training: same settings and seed {seed}")));
        }
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
    rows.push(Row { name: numbered, settings, runs: vec![contender] });
    Ok(())
}
