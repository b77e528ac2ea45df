//! Commands that can be interrupted, and how a user finishes the work.

/// A command that is interrupted, and how its work is finished.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The row of the table.
    pub name: &'static str,
    /// Commands that run before.
    pub before: &'static [&'static str],
    /// The command that is interrupted.
    pub command: &'static str,
    /// How the user finishes the work.
    pub then: Then,
    /// The number of cases of this scenario in a round.
    pub weight: usize,
}

/// How a user finishes interrupted work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    /// Run the command again. It continues or starts from the beginning.
    Again,
    /// Run the command again. If it says that something exists, run this command.
    Or(&'static str),
    /// Run the command again, or run this command; the case decides.
    Either(&'static str),
    /// Run the command again. If it says that something exists, the work must be complete.
    Done,
}

/// All scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "train",
        before: &[],
        command: "train gan.toml --out r --device flex --quiet",
        then: Then::Or("resume r --device flex --quiet"),
        weight: 4,
    },
    Scenario {
        name: "train, with everything",
        before: &[],
        command: "train rich.toml --out r --device flex --quiet",
        then: Then::Or("resume r --device flex --quiet"),
        weight: 3,
    },
    Scenario {
        name: "train, supervised",
        before: &[],
        command: "train task.toml --out r --device flex --quiet",
        then: Then::Or("resume r --device flex --quiet"),
        weight: 3,
    },
    Scenario {
        name: "resume",
        before: &["train gan.toml --out r --device flex --quiet --set train.steps=3"],
        command: "resume r --steps 6 --device flex --quiet",
        then: Then::Again,
        weight: 3,
    },
    Scenario {
        name: "resume, supervised",
        before: &["train task.toml --out r --device flex --quiet --set task.supervised.steps=4"],
        command: "resume r --steps 8 --device flex --quiet",
        then: Then::Again,
        weight: 2,
    },
    Scenario {
        name: "resume --from",
        before: &["train gan.toml --out r --device flex --quiet --set train.keep=10"],
        command: "resume r --from 2 --device flex --quiet",
        then: Then::Either("resume r --device flex --quiet"),
        weight: 4,
    },
    Scenario {
        name: "resume --from, with everything",
        before: &["train rich.toml --out r --device flex --quiet --set train.keep=10"],
        command: "resume r --from 2 --device flex --quiet",
        then: Then::Either("resume r --device flex --quiet"),
        weight: 3,
    },
    Scenario {
        name: "ntk in tiles",
        before: &[],
        command: "ntk net.toml -n 6 --tile-samples 2 --out k.npz --device flex --quiet",
        then: Then::Again,
        weight: 3,
    },
    Scenario {
        name: "ntk, a share of tiles",
        before: &["ntk net.toml -n 6 --tile-samples 2 --tiles 3..6 --out k.npz --device flex --quiet"],
        command: "ntk net.toml -n 6 --tile-samples 2 --tiles 0..3 --out k.npz --device flex --quiet",
        then: Then::Again,
        weight: 2,
    },
    Scenario {
        name: "ntk merge",
        before: &["ntk net.toml -n 6 --tile-samples 2 --tiles 0..6 --out k.npz --device flex --quiet"],
        command: "ntk merge k.npz.tiles --out k.npz --quiet",
        then: Then::Done,
        weight: 1,
    },
    Scenario {
        name: "ntk of all checkpoints",
        before: &["train gan.toml --out r --device flex --quiet"],
        command: "ntk r -n 2 --steps all --device flex --quiet",
        then: Then::Again,
        weight: 1,
    },
    Scenario {
        name: "moments",
        before: &[],
        command: "moments moments.toml --out m --device flex --quiet",
        then: Then::Or("moments moments.toml --out m --resume --device flex --quiet"),
        weight: 3,
    },
    Scenario {
        name: "moments --resume",
        before: &["moments deep.toml --out m --range 1..2 --device flex --quiet"],
        command: "moments deep.toml --out m --resume --device flex --quiet",
        then: Then::Again,
        weight: 2,
    },
    Scenario {
        name: "moments merge",
        before: &[
            "moments moments.toml --out a --range 0..3 --device flex --quiet",
            "moments moments.toml --out b --range 3..6 --device flex --quiet",
        ],
        command: "moments merge a b --out m --device flex --quiet",
        then: Then::Done,
        weight: 1,
    },
    Scenario {
        name: "compare",
        before: &[],
        command: "compare gan.toml other.toml --out c -n 8 --metrics std,correlation --device flex --quiet",
        then: Then::Again,
        weight: 3,
    },
    Scenario {
        name: "compare, with a run",
        before: &["train gan.toml --out r --device flex --quiet --set generator.optimizer.adam.rate=1e-3"],
        command: "compare two.toml r --out c -n 8 --metrics std --device flex --quiet",
        then: Then::Again,
        weight: 1,
    },
    Scenario {
        name: "eval",
        before: &["train gan.toml --out r --device flex --quiet"],
        command: "eval r -n 8 --metrics std,swd --device flex --quiet",
        then: Then::Again,
        weight: 1,
    },
    Scenario {
        name: "export",
        before: &["train gan.toml --out r --device flex --quiet"],
        command: "export r --out e --device flex --quiet",
        then: Then::Done,
        weight: 1,
    },
    Scenario {
        name: "theory",
        before: &[],
        command: "theory net.toml --widths 8,16 --seeds 2 --out t --device flex --quiet",
        then: Then::Done,
        weight: 1,
    },
    Scenario {
        name: "sample",
        before: &["train gan.toml --out r --device flex --quiet"],
        command: "sample r -n 4 --npz --png-each --device flex --quiet",
        then: Then::Again,
        weight: 1,
    },
    Scenario {
        name: "report",
        before: &["train gan.toml --out r --device flex --quiet"],
        command: "report r --quiet",
        then: Then::Again,
        weight: 1,
    },
];
