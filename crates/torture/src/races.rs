//! Two processes that work on one folder at once. Each of them succeeds or is refused with a message. Afterwards the work can
//! be finished, with the result that there would be without the second process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::cases::{Failure, Harness, begin};
use crate::configs;
use crate::interrupted::succeed;
use crate::program::{Ending, words};
use crate::tree::{self, Tree};

/// Two commands that run at once.
#[derive(Debug)]
pub(crate) struct Race {
    /// The row of the table.
    pub name: &'static str,
    before: &'static [&'static str],
    first: &'static str,
    second: &'static str,
    /// A file that must exist before the second command starts.
    when: Option<&'static str>,
    /// The results that are allowed for the second command beside success.
    second_may: May,
    /// Commands that finish the work. The reference is the first command followed by these.
    then: &'static [&'static str],
    /// Files of the second command, which are not compared.
    aside: &'static [&'static str],
}

/// The results that are allowed beside success for a command that was not alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Exit code 1: refused because of the other process.
    BeRefused,
    /// Exit codes 1 and 2: refused because of the other process, or because of the files that it has written.
    FindItThere,
    /// No other result.
    Nothing,
}

const D: &str = "--device flex --quiet";

const ALL: &[Race] = &[
    Race {
        name: "train and resume",
        before: &[],
        first: "train gan.toml --out r --device flex --quiet --set train.steps=40",
        second: "resume r --device flex --quiet",
        when: Some("r/config.resolved.toml"),
        second_may: May::FindItThere,
        then: &["resume r"],
        aside: &[],
    },
    Race {
        name: "resume and resume",
        before: &["train gan.toml --out r --device flex --quiet"],
        first: "resume r --steps 40 --device flex --quiet",
        second: "resume r --steps 40 --device flex --quiet",
        when: None,
        second_may: May::BeRefused,
        then: &["resume r"],
        aside: &[],
    },
    Race {
        name: "resume --from and resume",
        before: &["train task.toml --out r --device flex --quiet --set task.supervised.steps=20"],
        first: "resume r --from 2 --device flex --quiet",
        second: "resume r --device flex --quiet",
        when: None,
        second_may: May::BeRefused,
        then: &["resume r"],
        aside: &[],
    },
    Race {
        name: "train and train",
        before: &[],
        first: "train gan.toml --out r --device flex --quiet --set train.steps=20",
        second: "train gan.toml --out r --device flex --quiet --set train.steps=20",
        when: None,
        second_may: May::FindItThere,
        then: &["resume r"],
        aside: &[],
    },
    Race {
        name: "moments and moments --resume",
        before: &[],
        first: "moments moments.toml --out m --device flex --quiet --set moments.realisations=60",
        second: "moments moments.toml --out m --device flex --quiet --set moments.realisations=60 --resume",
        when: Some("m/config.resolved.toml"),
        second_may: May::FindItThere,
        then: &["moments moments.toml --out m --set moments.realisations=60 --resume"],
        aside: &[],
    },
    Race {
        name: "moments --resume twice",
        before: &["moments moments.toml --out m --device flex --quiet --set moments.realisations=40 --range 0..5"],
        first: "moments moments.toml --out m --device flex --quiet --set moments.realisations=40 --resume",
        second: "moments moments.toml --out m --device flex --quiet --set moments.realisations=40 --resume",
        when: None,
        second_may: May::BeRefused,
        then: &["moments moments.toml --out m --set moments.realisations=40 --resume"],
        aside: &[],
    },
    Race {
        name: "two shares of tiles",
        before: &[],
        first: "ntk net.toml -n 12 --tile-samples 2 --tiles 0..10 --out k.npz --device flex --quiet",
        second: "ntk net.toml -n 12 --tile-samples 2 --tiles 10..21 --out k.npz --device flex --quiet",
        when: None,
        second_may: May::Nothing,
        then: &["ntk net.toml -n 12 --tile-samples 2 --tiles 10..21 --out k.npz", "ntk merge k.npz.tiles --out k.npz"],
        aside: &[],
    },
    Race {
        name: "one kernel in tiles, twice",
        before: &[],
        first: "ntk net.toml -n 12 --tile-samples 2 --out k.npz --device flex --quiet",
        second: "ntk net.toml -n 12 --tile-samples 2 --out k.npz --device flex --quiet",
        when: None,
        second_may: May::BeRefused,
        then: &["ntk net.toml -n 12 --tile-samples 2 --out k.npz"],
        aside: &[],
    },
    Race {
        name: "compare and compare",
        before: &[],
        first: "compare gan.toml other.toml --out c -n 8 --metrics std --device flex --quiet",
        second: "compare gan.toml other.toml --out c -n 8 --metrics std --device flex --quiet",
        when: None,
        second_may: May::FindItThere,
        then: &["compare gan.toml other.toml --out c -n 8 --metrics std"],
        aside: &[],
    },
    Race {
        name: "compare and resume of its run",
        before: &[],
        first: "compare gan.toml other.toml --out c -n 8 --metrics std --device flex --quiet --set train.steps=20",
        second: "resume c/gan_seed_0 --device flex --quiet",
        when: Some("c/gan_seed_0/config.resolved.toml"),
        second_may: May::FindItThere,
        then: &["compare gan.toml other.toml --out c -n 8 --metrics std --set train.steps=20"],
        aside: &[],
    },
    Race {
        name: "eval and eval",
        before: &["train gan.toml --out r --device flex --quiet"],
        first: "eval r -n 8 --metrics std --step 5 --device flex --quiet",
        second: "eval r -n 8 --metrics std --step 6 --device flex --quiet",
        when: None,
        second_may: May::BeRefused,
        then: &["eval r -n 8 --metrics std --step 5", "eval r -n 8 --metrics std --step 6"],
        aside: &[],
    },
    Race {
        name: "export and export",
        before: &["train gan.toml --out r --device flex --quiet"],
        first: "export r --out e --device flex --quiet",
        second: "export r --out e --device flex --quiet",
        when: None,
        second_may: May::FindItThere,
        then: &[],
        aside: &[],
    },
    Race {
        name: "theory and theory",
        before: &[],
        first: "theory net.toml --widths 8,16 --seeds 2 --out t --device flex --quiet",
        second: "theory net.toml --widths 8,16 --seeds 2 --out t --device flex --quiet",
        when: None,
        second_may: May::FindItThere,
        then: &[],
        aside: &[],
    },
    Race {
        name: "train and report",
        before: &[],
        first: "train gan.toml --out r --device flex --quiet --set train.steps=40",
        second: "report r --out page.html --quiet",
        when: Some("r/log.jsonl"),
        second_may: May::FindItThere,
        then: &["resume r"],
        aside: &["page.html"],
    },
    Race {
        name: "train and sample",
        before: &[],
        first: "train gan.toml --out r --device flex --quiet --set train.steps=40 --set train.keep=4",
        second: "sample r -n 4 --out grid.png --device flex --quiet",
        when: Some("r/checkpoints/latest"),
        second_may: May::FindItThere,
        then: &["resume r"],
        aside: &["grid.png"],
    },
    Race {
        name: "train and ntk",
        before: &[],
        first: "train gan.toml --out r --device flex --quiet --set train.steps=40 --set train.keep=4",
        second: "ntk r -n 2 --out k.npz --device flex --quiet",
        when: Some("r/checkpoints/latest"),
        second_may: May::FindItThere,
        then: &["resume r"],
        aside: &["k.npz", "k.png", "k.spectrum.png", "k.spectrum.svg"],
    },
];

/// The race of a case.
pub(crate) fn of(case: u64) -> &'static Race {
    &ALL[case as usize % ALL.len()]
}

/// All races. A race is prepared when a case first needs it.
pub(crate) struct Races {
    prepared: Vec<OnceLock<Result<Prepared, String>>>,
}

struct Prepared {
    before: PathBuf,
    right: Tree,
    took: Duration,
}

impl Races {
    /// Races without preparations.
    pub(crate) fn new() -> Self {
        Self { prepared: ALL.iter().map(|_| OnceLock::new()).collect() }
    }

    fn prepared(&self, harness: &Harness, case: u64) -> Result<&Prepared, Failure> {
        let i = case as usize % ALL.len();
        let made = self.prepared[i].get_or_init(|| prepare(harness, &ALL[i], i));
        made.as_ref().map_err(|why| Failure::Unprepared(format!("one after the other: {why}")))
    }
}

/// A finishing command with the flags that all commands have.
fn whole(line: &str) -> String {
    if line.starts_with("ntk merge") { format!("{line} --quiet") } else { format!("{line} {D}") }
}

/// Whether a merge reports that its kernel exists.
fn merged(line: &str, ending: &Ending) -> bool {
    line.starts_with("ntk merge") && ending.code == Some(2) && ending.mentions("exists")
}

fn finish(harness: &Harness, race: &Race, folder: &Path) -> Result<Tree, String> {
    for line in race.then {
        let line = whole(line);
        let ending = harness.program.run(folder, &words(&line))?;
        if let Some(why) = ending.ill()
            && !merged(&line, &ending)
        {
            return Err(format!("cannot be finished: {why}: {}", ending.complaint()));
        }
    }
    let mut found = tree::read(&folder.join("work")).map_err(|e| e.to_string())?;
    found.retain(|name, _| !race.aside.contains(&name.as_str()));
    Ok(found)
}

fn prepare(harness: &Harness, race: &Race, i: usize) -> Result<Prepared, String> {
    let [first, second] = ["before", "after"].map(|name| harness.root.join(format!("race-{i}-{name}")));
    begin(&first)?;
    configs::write(&first.join("work"))?;
    for line in race.before {
        succeed(&harness.program, &first, line)?;
    }
    begin(&second)?;
    tree::copy(&first.join("work"), &second.join("work")).map_err(|e| e.to_string())?;
    let took = succeed(&harness.program, &second, race.first)?.took;
    let right = finish(harness, race, &second)?;
    Ok(Prepared { before: first.join("work"), right, took })
}

/// Runs two commands at once, finishes their work, and compares.
pub(crate) fn race(harness: &Harness, case: u64, mut rng: ChaCha8Rng, folder: &Path) -> Result<(), Failure> {
    let race = of(case);
    let prepared = harness.races.prepared(harness, case)?;
    tree::copy(&prepared.before, &folder.join("work")).map_err(|e| e.to_string())?;
    let mut first = harness.program.start(folder, &[], &words(race.first))?;
    if let Some(path) = race.when {
        let path = folder.join("work").join(path);
        let patience = Instant::now() + harness.program.patience;
        while !path.exists() && !first.has_ended() && Instant::now() < patience {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    // Half of the pairs start at nearly the same time.
    if rng.random_bool(0.5) {
        std::thread::sleep(prepared.took.mul_f64(rng.random_range(0.0..0.8)));
    }
    let second = harness.program.start(folder, &[], &words(race.second))?.wait()?;
    let first = first.wait()?;
    for (ending, may) in [(&first, May::FindItThere), (&second, race.second_may)] {
        judge(ending, if race.second_may == May::Nothing { May::Nothing } else { may })?;
    }
    if !first.is_well() && !second.is_well() {
        return Err(format!("both failed: {}; {}", first.complaint(), second.complaint()).into());
    }
    let found = finish(harness, race, folder)?;
    Ok(tree::difference(&prepared.right, &found).map_or(Ok(()), Err)?)
}

fn judge(ending: &Ending, may: May) -> Result<(), String> {
    if let Some(crash) = ending.crash() {
        return Err(format!("{crash}: {}", ending.complaint()));
    }
    let allowed = match may {
        May::Nothing => ending.is_well(),
        May::BeRefused => matches!(ending.code, Some(0 | 1)),
        May::FindItThere => matches!(ending.code, Some(0..=2)),
    };
    if !allowed {
        return Err(format!("`{}`: {}: {}", ending.line, ending.word(), ending.complaint()));
    }
    // A refusal must name the other process or its files. An error of the file system does not count as one.
    if !ending.is_well() && (ending.complaint().is_empty() || ending.mentions("os error")) {
        return Err(format!("`{}`: no refusal: {}", ending.line, ending.complaint()));
    }
    Ok(())
}
