//! Tortures the built program: kills it, makes its system calls fail, gives it damaged files, and runs it twice at once.
//!
//! ```text
//! torture --kills 200 --errors 200 --mutants 2000 --races 40
//! torture --minutes 30
//! torture --seed 7 --only kill --case 133      (one case again)
//! ```
//!
//! A case is a function of the seed, its group and its number. Each case works in its own folder; folders of failed cases are
//! kept. The program is started as a user starts it, so no library of the workspace is used here.

mod cases;
mod configs;
mod corpus;
mod interrupted;
mod mutants;
mod mutate;
mod program;
mod races;
mod scenarios;
mod strace;
mod subjects;
mod tally;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::cases::{Group, Harness, run_all};
use crate::program::Program;
use crate::tally::Tally;

/// Kills, injected errors, damaged files and races against the built program.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The program; by default what the variable FINTAN names, else `target/release/fintan`.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Seed of all cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs that are killed and go on.
    #[arg(long, default_value_t = 0)]
    kills: u64,
    /// Runs one of whose system calls fails; they need `strace`.
    #[arg(long, default_value_t = 0)]
    errors: u64,
    /// Damaged files.
    #[arg(long, default_value_t = 0)]
    mutants: u64,
    /// Pairs of processes at once.
    #[arg(long, default_value_t = 0)]
    races: u64,
    /// Instead of counts: cases of all groups until this many minutes have passed.
    #[arg(long, conflicts_with_all = ["kills", "errors", "mutants", "races"])]
    minutes: Option<u64>,
    /// Only this group.
    #[arg(long)]
    only: Option<Group>,
    /// Only this case of the group.
    #[arg(long, requires = "only")]
    case: Option<u64>,
    /// Only cases whose row of the table contains this text.
    #[arg(long)]
    row: Option<String>,
    /// Cases at a time; by default one a processor.
    #[arg(long)]
    jobs: Option<usize>,
    /// Kill at random times only, though `strace` is there.
    #[arg(long)]
    no_strace: bool,
    /// Seconds after which a command is taken to hang.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Megabytes of address space a command may take.
    #[arg(long, default_value_t = 6000)]
    memory: u64,
    /// Where cases work; by default a new folder below the system's temporary one.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Keep the folders of cases that went well too.
    #[arg(long)]
    keep: bool,
}

/// Numbers of cases in one round of `--minutes`. Cheaper groups have more cases.
const ROUND: [(Group, u64); 4] = [(Group::Kill, 100), (Group::Error, 60), (Group::Mutant, 1000), (Group::Race, 30)];

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    let args = Args::parse();
    let harness = match harness(&args) {
        Ok(harness) => harness,
        Err(message) => {
            eprintln!("torture: {message}");
            return ExitCode::from(2);
        }
    };
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)).max(1);
    let tally = Tally::new(&harness.root, args.seed, args.keep);
    let started = Instant::now();
    let wanted = |group: Group| args.only.is_none_or(|only| only == group);
    let mut from = [0_u64; ROUND.len()];
    if let (Some(group), Some(case)) = (args.only, args.case) {
        run_all(&harness, &[(group, case)], jobs, &tally, args.row.as_deref(), None);
    } else if let Some(minutes) = args.minutes {
        let until = started + Duration::from_secs(60 * minutes);
        while Instant::now() < until {
            let mut round = Vec::new();
            for ((group, count), from) in ROUND.into_iter().zip(&mut from).filter(|((group, _), _)| wanted(*group)) {
                round.extend((*from..*from + count).map(|case| (group, case)));
                *from += count;
            }
            run_all(&harness, &round, jobs, &tally, args.row.as_deref(), Some(until));
        }
    } else {
        let counts = [
            (Group::Kill, args.kills),
            (Group::Error, args.errors),
            (Group::Mutant, args.mutants),
            (Group::Race, args.races),
        ];
        let all: Vec<(Group, u64)> = counts
            .into_iter()
            .filter(|(group, _)| wanted(*group))
            .flat_map(|(group, count)| (0..count).map(move |case| (group, case)))
            .collect();
        run_all(&harness, &all, jobs, &tally, args.row.as_deref(), None);
    }
    let failures = tally.failures();
    print!("{}", tally.table());
    println!("seed {}, {} s", args.seed, started.elapsed().as_secs());
    if failures > 0 {
        println!("folders of failed cases: {}", harness.root.display());
        return ExitCode::from(1);
    }
    if args.folder.is_none() && !args.keep {
        let _ = fs_err::remove_dir_all(&harness.root);
    }
    ExitCode::SUCCESS
}

fn harness(args: &Args) -> Result<Harness, String> {
    let named = args.program.clone().or_else(|| std::env::var_os("FINTAN").map(PathBuf::from));
    let named = named.unwrap_or_else(|| "target/release/fintan".into());
    let path = named
        .canonicalize()
        .map_err(|e| format!("no program at `{}` ({e}); build it, or name it with --program", named.display()))?;
    let root = match &args.folder {
        Some(folder) => {
            fs_err::create_dir_all(folder).map_err(|e| e.to_string())?;
            folder.clone()
        }
        None => tempfile::Builder::new().prefix("torture").tempdir().map_err(|e| e.to_string())?.keep(),
    };
    let root = root.canonicalize().map_err(|e| e.to_string())?;
    let program = Program { path, memory: args.memory, patience: Duration::from_secs(args.patience) };
    let tracing = !args.no_strace && strace::available();
    if !tracing && (args.errors > 0 || args.only == Some(Group::Error)) {
        return Err("--errors needs `strace`, which is not there or may not trace".into());
    }
    Ok(Harness::new(root, program, args.seed, tracing))
}
