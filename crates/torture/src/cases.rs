//! The cases, which run in parallel.

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

/// The groups of cases, by what happens to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Group {
    /// The program is killed, and the work is finished afterwards.
    Kill,
    /// A system call fails, and the work is finished afterwards.
    Error,
    /// The program reads a damaged file.
    Mutant,
    /// The program runs twice at once.
    Race,
}

impl Group {
    /// All groups, in the order of the table.
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

/// Why a case failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The preparation for all cases of this kind failed, so that none of them can run.
    Unprepared(String),
    /// The case itself failed.
    Case(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Case(why)
    }
}

/// The data that all cases share.
pub(crate) struct Harness {
    /// The folder for all cases.
    pub root: PathBuf,
    /// The program under test.
    pub program: Program,
    seed: u64,
    /// Whether system calls can be traced.
    pub tracing: bool,
    /// Commands that can be interrupted.
    pub interrupted: Interrupted,
    /// Files that can be damaged.
    pub corpus: Corpus,
    /// Pairs of commands that run at once.
    pub races: Races,
}

impl Harness {
    /// A harness without preparations; they are made when a case needs them.
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

    /// The row of the table that counts a case.
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

/// Runs cases in parallel, as long as there is time.
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

/// Makes a new folder for a case. The folder of an earlier run of this case is removed.
pub(crate) fn begin(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs_err::remove_dir_all(folder).map_err(|e| e.to_string())?;
    }
    fs_err::create_dir_all(folder).map_err(|e| e.to_string())
}
