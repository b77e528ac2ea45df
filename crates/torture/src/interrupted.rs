//! Commands that are killed, or whose system calls fail, and are then finished as a user would do it. Afterwards all files must
//! equal those of an uninterrupted run.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::cases::{Failure, Harness, begin};
use crate::configs;
use crate::program::{Ending, Program, words};
use crate::scenarios::{ALL, Scenario, Then};
use crate::strace::{self, Call};
use crate::tree::{self, Tree};

/// All scenarios. A scenario is prepared when a case first needs it.
pub(crate) struct Interrupted {
    prepared: Vec<OnceLock<Result<Prepared, String>>>,
    /// Scenarios in the order of cases.
    order: Vec<usize>,
}

/// The uninterrupted run of a scenario.
struct Prepared {
    /// The folder before the command.
    before: PathBuf,
    /// The folder after it.
    right: Tree,
    /// The duration of the command.
    took: Duration,
    /// The system calls of the command, if they can be traced.
    calls: Vec<Call>,
}

impl Interrupted {
    /// Scenarios without preparations.
    pub(crate) fn new() -> Self {
        let heaviest = ALL.iter().map(|scenario| scenario.weight).max().unwrap_or(1);
        // With this order every scenario comes once before one is repeated.
        let order = (0..heaviest).flat_map(|k| (0..ALL.len()).filter(move |&i| ALL[i].weight > k));
        Self { prepared: ALL.iter().map(|_| OnceLock::new()).collect(), order: order.collect() }
    }

    fn index(&self, case: u64) -> usize {
        self.order[case as usize % self.order.len()]
    }

    /// The scenario of a case.
    pub(crate) fn scenario(&self, case: u64) -> &'static Scenario {
        &ALL[self.index(case)]
    }

    fn prepared(&self, harness: &Harness, case: u64) -> Result<&Prepared, Failure> {
        let i = self.index(case);
        let made = self.prepared[i].get_or_init(|| prepare(harness, &ALL[i], i));
        made.as_ref().map_err(|why| Failure::Unprepared(format!("the uninterrupted run: {why}")))
    }
}

/// Runs a command that must succeed.
pub(crate) fn succeed(program: &Program, case: &Path, line: &str) -> Result<Ending, String> {
    let ending = program.run(case, &words(line))?;
    match ending.ill() {
        Some(why) => Err(format!("{why}: {}", ending.complaint())),
        None => Ok(ending),
    }
}

fn prepare(harness: &Harness, scenario: &Scenario, i: usize) -> Result<Prepared, String> {
    let folder = |name: &str| harness.root.join(format!("right-{i}-{name}"));
    let [first, second, traced] = ["first", "second", "traced"].map(folder);
    let io = |e: std::io::Error| e.to_string();
    begin(&first)?;
    configs::write(&first.join("work"))?;
    for line in scenario.before {
        succeed(&harness.program, &first, line)?;
    }
    for other in [&second, &traced] {
        begin(other)?;
        tree::copy(&first.join("work"), &other.join("work")).map_err(io)?;
    }
    let took = succeed(&harness.program, &second, scenario.command)?.took;
    let right = tree::read(&second.join("work")).map_err(io)?;
    if let Some(name) = tree::leftover(&right) {
        return Err(format!("`{name}` is left behind"));
    }
    let mut calls = Vec::new();
    // A second run checks that the first one is reproducible.
    let ending = if harness.tracing {
        let record = traced.join("calls");
        let ending = harness.program.start(&traced, &strace::recorder(&record), &words(scenario.command))?.wait()?;
        let text = fs_err::read(&record).map_err(io)?;
        calls = strace::calls(&String::from_utf8_lossy(&text), &traced.join("work"));
        if calls.is_empty() {
            return Err("no system call of it was traced".into());
        }
        ending
    } else {
        harness.program.run(&traced, &words(scenario.command))?
    };
    if let Some(why) = ending.ill() {
        return Err(format!("{why}: {}", ending.complaint()));
    }
    if let Some(difference) = tree::difference(&right, &tree::read(&traced.join("work")).map_err(io)?) {
        return Err(format!("two runs differ: {difference}"));
    }
    Ok(Prepared { before: first.join("work"), right, took, calls })
}

/// Draws a call. Each name of a call has equal probability, so that rare calls are as frequent as common ones.
fn draw<'a>(calls: &'a [Call], rng: &mut ChaCha8Rng, fits: impl Fn(&Call) -> bool) -> Option<&'a Call> {
    let fitting: Vec<&Call> = calls.iter().filter(|call| fits(call)).collect();
    let mut names: Vec<&str> = fitting.iter().map(|call| call.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let name = names.choose(rng)?;
    let of_name: Vec<&&Call> = fitting.iter().filter(|call| call.name == *name).collect();
    of_name.choose(rng).map(|call| **call)
}

/// Kills a command up to three times, finishes its work, and compares the files.
pub(crate) fn kill(harness: &Harness, case: u64, mut rng: ChaCha8Rng, folder: &Path) -> Result<(), Failure> {
    let scenario = harness.interrupted.scenario(case);
    let prepared = harness.interrupted.prepared(harness, case)?;
    tree::copy(&prepared.before, &folder.join("work")).map_err(|e| e.to_string())?;
    let mut command = scenario.command;
    let kills = [1, 1, 1, 2, 3][rng.random_range(0..5)];
    for kill in 0..kills {
        let call = draw(&prepared.calls, &mut rng, |call| !call.reads && !call.answers);
        let ending = if let Some(call) = call.filter(|_| kill == 0 && rng.random_bool(0.6)) {
            harness.program.start(folder, &strace::killer(call), &words(command))?.wait()?
        } else {
            let mut running = harness.program.start(folder, &[], &words(command))?;
            std::thread::sleep(prepared.took.mul_f64(rng.random_range(0.0..1.1)));
            running.kill();
            running.wait()?
        };
        if let (Some(code), None) = (ending.code, ending.signal) {
            if let Some(crash) = ending.crash() {
                return Err(format!("{crash}: {}", ending.complaint()).into());
            }
            let refused = code != 0 && !says_exists(&ending);
            if refused {
                return Err(format!("after {kill} kills, {}: {}", ending.word(), ending.complaint()).into());
            }
        }
        if let (Then::Or(other), Some(2)) = (scenario.then, ending.code) {
            command = other;
        }
    }
    Ok(finish(harness, scenario, prepared, &mut rng, folder)?)
}

/// Makes a system call fail, finishes the work of the command, and compares the files.
pub(crate) fn fail(harness: &Harness, case: u64, mut rng: ChaCha8Rng, folder: &Path) -> Result<(), Failure> {
    let scenario = harness.interrupted.scenario(case);
    let prepared = harness.interrupted.prepared(harness, case)?;
    tree::copy(&prepared.before, &folder.join("work")).map_err(|e| e.to_string())?;
    let call =
        draw(&prepared.calls, &mut rng, |_| true).ok_or_else(|| "no call can fail without a tracer".to_owned())?;
    let errors: &[&str] = match call.name.as_str() {
        "openat" if call.reads => &["EIO"],
        "unlink" | "unlinkat" | "rmdir" | "rename" | "renameat" | "renameat2" => &["EIO"],
        _ => &["ENOSPC", "EIO", "EDQUOT"],
    };
    let error = errors.choose(&mut rng).ok_or_else(|| "no error".to_owned())?;
    let ending = harness.program.start(folder, &strace::failer(call, error), &words(scenario.command))?.wait()?;
    let what = format!("{error} at {} number {} (`{}`)", call.name, call.nth, call.path);
    if let Some(crash) = ending.crash() {
        return Err(format!("{what}: {crash}: {}", ending.complaint()).into());
    }
    let left = tree::read(&folder.join("work")).map_err(|e| e.to_string())?;
    let removes = matches!(call.name.as_str(), "unlink" | "unlinkat" | "rmdir");
    if ending.is_well() {
        // Locks, reads and removals may fail without a message if all files are right afterwards.
        let beside = call.locks() || call.reads || removes;
        return match tree::difference(&prepared.right, &left).filter(|_| beside) {
            None if beside => Ok(()),
            None => Err(format!("{what}: exit code 0, not a word: {}", ending.complaint()).into()),
            Some(difference) => Err(format!("{what}: exit code 0, and {difference}").into()),
        };
    }
    let named = ["os error 5", "os error 28", "os error 122"];
    if !named.iter().any(|name| ending.mentions(name)) {
        return Err(format!("{what}: the message does not say so: {}", ending.complaint()).into());
    }
    if let Some(name) = tree::leftover(&left).filter(|_| !removes) {
        return Err(format!("{what}: `{name}` is left behind").into());
    }
    Ok(finish(harness, scenario, prepared, &mut rng, folder).map_err(|why| format!("{what}; {why}"))?)
}

fn says_exists(ending: &Ending) -> bool {
    ending.code == Some(2) && ending.mentions("exist")
}

fn finish(
    harness: &Harness,
    scenario: &Scenario,
    prepared: &Prepared,
    rng: &mut ChaCha8Rng,
    folder: &Path,
) -> Result<(), String> {
    let program = &harness.program;
    let line = match scenario.then {
        Then::Either(other) if rng.random_bool(0.5) => other,
        Then::Either(_) | Then::Again | Then::Or(_) | Then::Done => scenario.command,
    };
    let ending = program.run(folder, &words(line))?;
    match scenario.then {
        Then::Or(other) if says_exists(&ending) => {
            succeed(program, folder, other)?;
        }
        Then::Done if says_exists(&ending) => {}
        Then::Or(_) | Then::Done | Then::Again | Then::Either(_) => {
            if let Some(why) = ending.ill() {
                return Err(format!("cannot be finished: {why}: {}", ending.complaint()));
            }
        }
    }
    let found = tree::read(&folder.join("work")).map_err(|e| e.to_string())?;
    tree::difference(&prepared.right, &found).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_its_turn_before_one_comes_again() {
        let all = Interrupted::new();
        let first: Vec<usize> = (0..ALL.len() as u64).map(|case| all.index(case)).collect();
        assert_eq!(first, (0..ALL.len()).collect::<Vec<_>>());
        assert_eq!(all.order.len(), ALL.iter().map(|scenario| scenario.weight).sum::<usize>());
    }
}
