//! Uses `strace` to list the system calls of a command, and to turn one of them into a kill or an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// System calls that change the disk, or guarantee that a change is permanent.
const CHANGING: &str = "write,pwrite64,openat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync,ftruncate,linkat,symlinkat,copy_file_range";

/// A system call of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The name of the call.
    pub name: String,
    /// The number of this call among the calls with this name in its thread, counted from 1.
    pub nth: usize,
    /// Whether the call opens a file for reading only.
    pub reads: bool,
    /// Whether the call writes results to stdout.
    pub answers: bool,
    /// The path of the file, relative to the folder of the case.
    pub path: String,
}

impl Call {
    /// Whether the call concerns a lock. With a single process, results do not depend on locks.
    pub(crate) fn locks(&self) -> bool {
        self.path.ends_with("lock")
    }
}

/// Whether `strace` exists and is allowed to trace.
pub(crate) fn available() -> bool {
    traces(&[])
}

/// Whether `strace` can leave calls that are not traced at full speed.
fn quick() -> bool {
    static QUICK: OnceLock<bool> = OnceLock::new();
    *QUICK.get_or_init(|| traces(&["--seccomp-bpf"]))
}

fn traces(more: &[&str]) -> bool {
    let mut command = Command::new("strace");
    command.arg("-f").args(more).args(["-o", "/dev/null", "-e", "trace=rename", "true"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn tracer(calls: &str, to: &str) -> Vec<String> {
    let mut words: Vec<String> = ["strace", "-f", "-qq"].map(String::from).to_vec();
    if quick() {
        words.push("--seccomp-bpf".into());
    }
    words.extend(["-o".into(), to.into(), "-e".into(), format!("trace={calls}")]);
    words
}

/// The arguments of `strace` that record all calls of the list in a file.
pub(crate) fn recorder(to: &Path) -> Vec<String> {
    let mut words = tracer(CHANGING, &to.to_string_lossy());
    words.extend(["-y", "-s", "1", "-e", "signal=none"].map(String::from));
    words
}

/// The arguments of `strace` that kill the program at the start of a call.
pub(crate) fn killer(call: &Call) -> Vec<String> {
    injector(call, "signal=SIGKILL")
}

/// The arguments of `strace` that make a call fail.
pub(crate) fn failer(call: &Call, error: &str) -> Vec<String> {
    injector(call, &format!("error={error}"))
}

fn injector(Call { name, nth, .. }: &Call, what: &str) -> Vec<String> {
    let mut words = tracer(name, "/dev/null");
    words.extend(["-e".into(), format!("inject={name}:{what}:when={nth}")]);
    words
}

/// Whether the argument of the call is a path. Other calls have a file descriptor.
fn path_is_told(name: &str) -> bool {
    !matches!(name, "write" | "pwrite64" | "fsync" | "fdatasync" | "ftruncate" | "copy_file_range")
}

/// Reads a recording: the calls for files below `root`, where the command ran, and its writes to stdout.
pub(crate) fn calls(record: &str, root: &Path) -> Vec<Call> {
    let root = root.to_string_lossy();
    let mut made: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut found = Vec::new();
    for line in record.lines() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            // This line is the second half of a call that was interrupted by another thread.
            continue;
        }
        let nth = made.entry((thread, name)).or_default();
        *nth += 1;
        let answers = name == "write" && rest.starts_with("1<");
        let fd = rest.split_once('<').and_then(|(_, path)| path.split_once('>')).map_or("", |(path, _)| path);
        let path = rest.split('"').nth(1).unwrap_or("");
        let ours = if path_is_told(name) {
            (!path.starts_with('/') && !path.is_empty()) || path.starts_with(&*root)
        } else {
            fd.starts_with(&*root)
        };
        if ours || answers {
            let reads = name == "openat" && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| rest.contains(flag));
            let path = if path_is_told(name) { path } else { fd };
            let path = path.strip_prefix(&*root).unwrap_or(path).trim_start_matches('/').to_owned();
            found.push(Call { name: name.into(), nth: *nth, reads, answers, path });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_thread_and_kept_where_they_concern_the_case() {
        let record = r#"10 openat(AT_FDCWD</c/here>, "/lib/x.so", O_RDONLY|O_CLOEXEC) = 3</lib/x.so>
10 openat(AT_FDCWD</c/here>, "a.toml", O_RDONLY|O_CLOEXEC) = 3</c/here/a.toml>
11 write(5</c/here/r/log.jsonl>, "{"..., 30 <unfinished ...>
10 write(2</c/01.err>, "x"..., 3) = 3
11 <... write resumed>) = 30
11 write(5</c/here/r/log.jsonl>, "{"..., 30) = 30
10 rename("r/.l", "r/l") = 0
10 write(1</c/01.out>, "r"..., 3) = 3
10 fsync(5</c/here/r/log.jsonl>) = 0
"#;
        let found = calls(record, Path::new("/c/here"));
        let short: Vec<(&str, usize, bool)> = found.iter().map(|c| (c.name.as_str(), c.nth, c.reads)).collect();
        assert_eq!(
            short,
            [
                ("openat", 2, true),
                ("write", 1, false),
                ("write", 2, false),
                ("rename", 1, false),
                ("write", 2, false),
                ("fsync", 1, false)
            ]
        );
        assert!(found[4].answers && !found[1].answers);
        assert_eq!([&found[0], &found[1], &found[3]].map(|c| c.path.as_str()), ["a.toml", "r/log.jsonl", "r/.l"]);
    }
}
