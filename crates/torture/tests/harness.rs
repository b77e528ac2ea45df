//! The harness sees what is wrong with a program that is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Tortures a shell script in the program's place; gives the exit code and the table.
fn tortured(script: &str, args: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    fs_err::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let work = folder.path().join("work");
    let output = Command::new(env!("CARGO_BIN_EXE_torture"))
        .args(["--no-strace", "--patience", "20", "--program"])
        .arg(&program)
        .arg("--folder")
        .arg(&work)
        .args(args)
        .output()
        .expect("starts");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes two files. The shell writes them itself: another process, such as `mv`, would outlive a shell that is killed.
const CAREFUL: &str = "echo done > file && sleep 0.02 && echo done > other";

#[test]
fn a_program_that_writes_the_same_again_passes() {
    let (code, table) = tortured(CAREFUL, &["--kills", "30"]);
    assert_eq!(code, 0, "{table}");
    assert!(table.contains("| **kill, all** | 30 | 0 |"), "{table}");
}

#[test]
fn files_that_an_interruption_changes_are_found() {
    // Each start leaves a line, so that a start too many shows.
    let (code, table) = tortured("echo started >> log.txt; sleep 0.02; echo done > file", &["--kills", "30"]);
    assert_eq!(code, 1, "{table}");
    assert!(
        table.contains("`log.txt` differs") && table.contains("again: torture --seed 1 --only kill --case"),
        "{table}"
    );
}

#[test]
fn panics_and_work_that_cannot_go_on_are_found() {
    let (code, table) = tortured("echo broken >&2; exit 101", &["--kills", "4", "--mutants", "4", "--races", "4"]);
    assert_eq!(code, 1, "{table}");
    assert!(table.contains("exit code 101 (panic)") && table.contains("| **mutant, all** | 4 | 4 |"), "{table}");
    // Goes on once only: what was there already stops it.
    let (code, table) = tortured("test -e begun && exit 1; echo > begun; sleep 0.02; echo > end", &["--kills", "30"]);
    assert_eq!(code, 1, "{table}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let gone = Path::new("/nowhere/fintan");
    let output = Command::new(env!("CARGO_BIN_EXE_torture")).arg("--program").arg(gone).output().expect("starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/fintan"));
}
