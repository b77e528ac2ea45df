//! Cases, run side by side.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::ValueEnum;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::corpus::Corpus;
use crate::interrupted::Interrupted;
use crate::program::Program;
use crate::races::Races;
use crate::tally::Tally;
use crate::{interrupted, mutants, races, subjects};

/// What is done to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Group {
    /// It is killed, and its work is finished.
    Kill,
    /// A system call fails, and its work is finished.
    Error,
    /// It reads a damaged file.
    Mutant,
    /// It runs twice at once.
    Race,
}

impl Group {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Kill, Self::Error, Self::Mutant, Self::Race];

    fn stream(self) -> u64 {
        match self {
            Self::Kill => 1,
            Self::Error => 2,
            Self::Mutant => 3,
            Self::Race => 4,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Error => "error",
            Self::Mutant => "mutant",
            Self::Race => "race",
        })
    }
}

/// Why a case did not go well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What cases of its kind start from could not be made: none of them can be run.
    Unprepared(String),
    /// The case itself.
    Case(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Case(why)
    }
}

/// Everything that cases share.
pub(crate) struct Harness {
    /// Where they work.
    pub root: PathBuf,
    /// What they torture.
    pub program: Program,
    seed: u64,
    /// Whether calls can be traced.
    pub tracing: bool,
    /// Work that can be interrupted.
    pub interrupted: Interrupted,
    /// Files that can be damaged.
    pub corpus: Corpus,
    /// Work that two do at once.
    pub races: Races,
}

impl Harness {
    /// Nothing is prepared before a case asks for it.
    pub(crate) fn new(root: PathBuf, program: Program, seed: u64, tracing: bool) -> Self {
        Self {
            root,
            program,
            seed,
            tracing,
            interrupted: Interrupted::new(),
            corpus: Corpus::new(),
            races: Races::new(),
        }
    }

    /// The random numbers of a case.
    pub(crate) fn rng(&self, group: Group, case: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(group.stream() << 48 | case);
        rng
    }

    /// The row of the table that a case counts for.
    fn row(&self, group: Group, case: u64) -> String {
        match group {
            Group::Kill | Group::Error => self.interrupted.scenario(case).name.into(),
            Group::Mutant => subjects::subject(case).kind.into(),
            Group::Race => races::of(case).name.into(),
        }
    }

    fn run(&self, group: Group, case: u64, folder: &Path) -> Result<(), Failure> {
        let rng = self.rng(group, case);
        match group {
            Group::Kill => interrupted::kill(self, case, rng, folder),
            Group::Error => interrupted::fail(self, case, rng, folder),
            Group::Mutant => mutants::damage(self, case, rng, folder),
            Group::Race => races::race(self, case, rng, folder),
        }
    }
}

/// Runs cases, so many at a time, as long as there is time.
pub(crate) fn run_all(
    harness: &Harness,
    cases: &[(Group, u64)],
    jobs: usize,
    tally: &Tally,
    only_row: Option<&str>,
    until: Option<Instant>,
) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&(group, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if until.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            let row = harness.row(group, case);
            if only_row.is_some_and(|only| !row.contains(only)) {
                continue;
            }
            let folder = harness.root.join(format!("{group}-{case}"));
            let begun = begin(&folder).map_err(Failure::from);
            let ended = begun.and_then(|()| harness.run(group, case, &folder));
            tally.count(group, case, &row, &folder, ended.err());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(work);
        }
    });
}

/// A new folder for a case; that of an earlier run of the same case goes away.
pub(crate) fn begin(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs_err::remove_dir_all(folder).map_err(|e| e.to_string())?;
    }
    fs_err::create_dir_all(folder).map_err(|e| e.to_string())
}
