//! The program under test, started as a user starts it.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program, with limits for its commands.
#[derive(Debug)]
pub(crate) struct Program {
    /// The path of the program.
    pub path: PathBuf,
    /// The limit on address space in megabytes.
    pub memory: u64,
    /// The time after which a command counts as hanging.
    pub patience: Duration,
}

/// The result of a command.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// The command line, in a form that can be typed again.
    pub line: String,
    /// The exit code, unless a signal ended the command.
    pub code: Option<i32>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// Whether the command was killed because it took too long.
    pub hung: bool,
    /// The bytes on stdout.
    pub stdout: Vec<u8>,
    /// The bytes on stderr.
    pub stderr: Vec<u8>,
    /// The duration of the command.
    pub took: Duration,
}

impl Ending {
    /// A short description of the result.
    pub(crate) fn word(&self) -> String {
        match (self.hung, self.code, self.signal) {
            (true, ..) => "hangs".into(),
            (_, Some(101), _) => "exit code 101 (panic)".into(),
            (_, Some(code), _) => format!("exit code {code}"),
            (_, None, Some(signal)) => format!("signal {signal}"),
            (_, None, None) => "no exit code".into(),
        }
    }

    /// Describes a result that is never allowed, whatever the input: a panic, a signal, a hang, or another exit code than 0, 1
    /// and 2.
    pub(crate) fn crash(&self) -> Option<String> {
        match (self.hung, self.code) {
            (false, Some(0..=2)) => None,
            _ => Some(format!("`{}`: {}", self.line, self.word())),
        }
    }

    /// Whether the command succeeded.
    pub(crate) fn is_well(&self) -> bool {
        !self.hung && self.code == Some(0)
    }

    /// Why the command did not succeed.
    pub(crate) fn ill(&self) -> Option<String> {
        if self.is_well() { None } else { Some(format!("`{}`: {}", self.line, self.word())) }
    }

    /// The text of stderr on one line, without the frames around errors.
    pub(crate) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        text.split_whitespace()
            .filter(|word| !matches!(*word, "│" | "×" | "╭─[" | "╰────"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Whether stderr contains a text. Line breaks and frames inside the text are ignored.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace() && *c != '│').collect::<String>();
        bare(&String::from_utf8_lossy(&self.stderr)).contains(&bare(text))
    }

    /// A control character for the terminal in the output, if there is one.
    pub(crate) fn unprintable(&self) -> Option<String> {
        let bidirectional = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        [&self.stdout, &self.stderr].into_iter().find_map(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            let found = text.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || bidirectional(*c))?;
            Some(format!("`{}`: {found:?} reaches the terminal", self.line))
        })
    }
}

/// A command that is running.
pub(crate) struct Running {
    child: Child,
    line: String,
    records: PathBuf,
    started: Instant,
    patience: Duration,
}

impl Program {
    /// Runs a command in `case/work` and waits for its end.
    pub(crate) fn run(&self, case: &Path, args: &[String]) -> Result<Ending, String> {
        self.start(case, &[], args)?.wait()
    }

    /// Starts a command in `case/work`. `before` comes before it on the command line (a tracer and its arguments).
    pub(crate) fn start(&self, case: &Path, before: &[String], args: &[String]) -> Result<Running, String> {
        let number = record(case)?;
        let records = case.join(format!("{number:02}"));
        let file = |name: &str| -> Result<Stdio, String> {
            let path = records.with_extension(name);
            Ok(fs_err::File::create(path).map_err(|e| e.to_string())?.into_file().into())
        };
        // The shell sets the limit, then it is replaced by the program.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &(self.memory * 1000).to_string()]);
        command.args(before).arg(&self.path).args(args);
        command.current_dir(case.join("work")).process_group(0);
        command.stdin(Stdio::null()).stdout(file("out")?).stderr(file("err")?);
        command.env("RAYON_NUM_THREADS", "1").env("NO_COLOR", "1").env("RUST_BACKTRACE", "0").env_remove("RUST_LOG");
        let mut line: Vec<String> = before.iter().map(|word| quoted(word)).collect();
        line.push("fintan".into());
        line.extend(args.iter().map(|word| quoted(word)));
        let line = line.join(" ");
        fs_err::write(records.with_extension("command"), format!("{line}\n")).map_err(|e| e.to_string())?;
        let child = command.spawn().map_err(|e| format!("cannot start `{line}`: {e}"))?;
        Ok(Running { child, line, records, started: Instant::now(), patience: self.patience })
    }
}

/// The number of the next command of a case.
fn record(case: &Path) -> Result<usize, String> {
    let names = fs_err::read_dir(case).map_err(|e| e.to_string())?;
    Ok(names.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "command")).count() + 1)
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

impl Running {
    /// Whether the command has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills the command with SIGKILL, as the system does when memory is short. The command may have ended before.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits until the command has ended.
    pub(crate) fn wait(mut self) -> Result<Ending, String> {
        let mut pause = Duration::from_micros(500);
        let mut hung = false;
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                break status;
            }
            if self.started.elapsed() > self.patience {
                hung = true;
                // Killing only a tracer would leave the program running, so the process group is killed.
                let group = format!("-{}", self.child.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
                break self.child.wait().map_err(|e| e.to_string())?;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(4));
        };
        let read = |name: &str| fs_err::read(self.records.with_extension(name)).map_err(|e| e.to_string());
        let ending = Ending {
            line: self.line,
            code: status.code(),
            signal: status.signal(),
            hung,
            stdout: read("out")?,
            stderr: read("err")?,
            took: self.started.elapsed(),
        };
        fs_err::write(self.records.with_extension("end"), format!("{}\n", ending.word())).map_err(|e| e.to_string())?;
        Ok(ending)
    }
}

/// Splits a command line without quotes into words.
pub(crate) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(stderr: &str) -> Ending {
        let took = Duration::ZERO;
        let (line, stdout, stderr) = ("fintan".into(), Vec::new(), stderr.as_bytes().to_vec());
        Ending { line, code: Some(2), signal: None, hung: false, stdout, stderr, took }
    }

    #[test]
    fn names_are_found_across_the_lines_of_a_message() {
        let said =
            ending("  × failed to rename file from `r/checkpoints/.latest` to `r/\n  │ checkpoints/latest`: no\n");
        assert!(said.mentions("r/checkpoints/latest") && !said.mentions("r/latest"));
        assert_eq!(said.unprintable(), None);
        assert!(ending("\u{1b}[31m").unprintable().is_some() && ending("\u{202e}").unprintable().is_some());
    }

    #[test]
    fn only_three_exit_codes_are_no_crash() {
        assert!(ending("").crash().is_none());
        for code in [101, 134, 127] {
            assert!(Ending { code: Some(code), ..ending("") }.crash().is_some());
        }
        assert!(Ending { code: None, signal: Some(6), ..ending("") }.crash().is_some());
        assert!(Ending { hung: true, ..ending("") }.crash().is_some());
    }

    #[test]
    fn lines_can_be_typed_again() {
        assert_eq!(quoted("train.steps=3"), "train.steps=3");
        assert_eq!(quoted("a b's"), "'a b'\\''s'");
    }
}
