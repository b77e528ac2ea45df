//! Writing to stdout and stderr without dying when nobody reads: `println!` panics on a closed pipe, and a training run
//! must not end because `head` had enough.

/// A line of results, to stdout.
macro_rules! answer {
    () => { answer!("") };
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// A line for people, to stderr.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

pub(crate) use {answer, tell};
