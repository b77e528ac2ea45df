//! What was done and what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::cases::{Failure, Group};

/// Folders of failed cases that are kept, and failures that are told, a row.
const KEPT: u64 = 10;

/// Counts of all rows; threads share it.
#[derive(Debug)]
pub(crate) struct Tally {
    root: PathBuf,
    seed: u64,
    keep: bool,
    rows: Mutex<BTreeMap<(Group, String), Row>>,
    /// Preparations that failed.
    unprepared: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Row {
    cases: u64,
    failures: u64,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new(root: &Path, seed: u64, keep: bool) -> Self {
        Self { root: root.into(), seed, keep, rows: Mutex::default(), unprepared: Mutex::default() }
    }

    /// Counts a case, tells of its failure, and removes its folder where nobody will look at it.
    #[expect(clippy::print_stdout, reason = "a program for the terminal")]
    pub(crate) fn count(&self, group: Group, case: u64, row: &str, folder: &Path, failure: Option<Failure>) {
        let tell = {
            let mut rows = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let row = rows.entry((group, row.to_owned())).or_default();
            row.cases += 1;
            row.failures += u64::from(failure.is_some());
            row.failures <= KEPT
        };
        // What cannot be prepared fails in the same way every time.
        let known = matches!(&failure, Some(Failure::Unprepared(why)) if !self.is_new(why));
        let failure = failure.map(|(Failure::Unprepared(why) | Failure::Case(why))| why);
        let shown = failure.filter(|_| tell && !known);
        if let Some(why) = shown {
            let place = folder.strip_prefix(&self.root).unwrap_or(folder).display();
            let mut text = format!("FAILED {group} {row}: {why}\n");
            let _ = writeln!(
                text,
                "       again: torture --seed {} --only {group} --case {case}; folder {place}",
                self.seed
            );
            // Names and messages may hold what a terminal would obey.
            let shown =
                |c: char| if c.is_control() && c != '\n' { format!("{}", c.escape_default()) } else { c.to_string() };
            print!("{}", text.chars().map(shown).collect::<String>());
        } else if !self.keep {
            // It costs space at most.
            let _ = fs_err::remove_dir_all(folder);
        }
    }

    fn is_new(&self, why: &str) -> bool {
        self.unprepared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(why.into())
    }

    /// Failures of all rows.
    pub(crate) fn failures(&self) -> u64 {
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).values().map(|row| row.failures).sum()
    }

    /// The rows, and their sums by group.
    pub(crate) fn table(&self) -> String {
        let rows = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = String::from("| kind | cases | failures |\n| --- | --- | --- |\n");
        let mut line = |name: &str, row: Row| {
            let _ = writeln!(text, "| {name} | {} | {} |", row.cases, row.failures);
        };
        for group in Group::ALL {
            let mut sum = Row::default();
            for ((_, name), row) in rows.iter().filter(|((of, _), _)| *of == group) {
                line(&format!("{group}: {name}"), *row);
                sum.cases += row.cases;
                sum.failures += row.failures;
            }
            if sum.cases > 0 {
                line(&format!("**{group}, all**"), sum);
            }
        }
        text
    }
}
