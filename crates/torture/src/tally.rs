//! Counts of cases and failures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::cases::{Failure, Group};

/// For each row, the largest number of failures that are printed and whose folders are kept.
const KEPT: u64 = 10;

/// Counts of all rows, shared by all threads.
#[derive(Debug)]
pub(crate) struct Tally {
    root: PathBuf,
    seed: u64,
    keep: bool,
    rows: Mutex<BTreeMap<(Group, String), Row>>,
    /// The preparations that failed.
    unprepared: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Row {
    cases: u64,
    failures: u64,
}

impl Tally {
    /// A tally without cases.
    pub(crate) fn new(root: &Path, seed: u64, keep: bool) -> Self {
        Self { root: root.into(), seed, keep, rows: Mutex::default(), unprepared: Mutex::default() }
    }

    /// Counts a case and prints its failure. The folder is removed if the case went well or its failure is not printed.
    #[expect(clippy::print_stdout, reason = "a program for the terminal")]
    pub(crate) fn count(&self, group: Group, case: u64, row: &str, folder: &Path, failure: Option<Failure>) {
        let tell = {
            let mut rows = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let row = rows.entry((group, row.to_owned())).or_default();
            row.cases += 1;
            row.failures += u64::from(failure.is_some());
            row.failures <= KEPT
        };
        // A preparation fails in the same way for every case, so its failure is printed once.
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
            // Names and messages may contain control characters for the terminal.
            let shown =
                |c: char| if c.is_control() && c != '\n' { format!("{}", c.escape_default()) } else { c.to_string() };
            print!("{}", text.chars().map(shown).collect::<String>());
        } else if !self.keep {
            // If the folder cannot be removed, it only takes space.
            let _ = fs_err::remove_dir_all(folder);
        }
    }

    fn is_new(&self, why: &str) -> bool {
        self.unprepared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(why.into())
    }

    /// The number of failures in all rows.
    pub(crate) fn failures(&self) -> u64 {
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).values().map(|row| row.failures).sum()
    }

    /// The table of all rows, with a sum for each group.
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
