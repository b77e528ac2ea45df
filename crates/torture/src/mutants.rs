//! Damaged files and the commands that read them. A command must end in time with exit code 0, 1 or 2, and name the file or key
//! that is wrong.

use std::collections::BTreeSet;
use std::path::Path;

use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::cases::{Failure, Harness};
use crate::mutate::{Format, Mutant, Npy, mutate, unzip};
use crate::program::{Ending, words};
use crate::subjects::{self, Subject};
use crate::tree;

/// Damages a file and runs a command that reads it.
pub(crate) fn damage(harness: &Harness, case: u64, mut rng: ChaCha8Rng, folder: &Path) -> Result<(), Failure> {
    let subject = subjects::subject(case);
    let made = harness.corpus.folder(harness)?;
    let file = subject.file(made, &mut rng)?;
    let whole = fs_err::read(made.join(&file)).map_err(|e| e.to_string())?;
    let mutant = mutate(&whole, subject.format, &mut rng);
    let reader =
        subject.readers.choose(&mut rng).ok_or_else(|| "no reader".to_owned())?.replace("{}", &file.to_string_lossy());
    let work = folder.join("work");
    subject.copy(made, &file, &work)?;
    fs_err::write(work.join(&file), &mutant.bytes).map_err(|e| e.to_string())?;
    fs_err::write(folder.join("mutant.txt"), format!("{}: {}\n", file.display(), mutant.what))
        .map_err(|e| e.to_string())?;
    let before = tree::read(&work).map_err(|e| e.to_string())?;
    let ending = harness.program.run(folder, &words(&reader))?;
    let said = format!("{}: {}", file.display(), mutant.what);
    judge(subject, &file, &whole, &mutant, &ending).map_err(|why| format!("{said}: {why}"))?;
    if ending.code == Some(2) {
        let after = tree::read(&work).map_err(|e| e.to_string())?;
        if let Some(change) = tree::change(&before, &after) {
            return Err(format!("{said}: `{}` refuses and leaves something: {change}", ending.line).into());
        }
    }
    if let (Some(kernel), true) = (subject.kernel, ending.is_well()) {
        let path = work.join(kernel);
        if path.is_file() {
            kernel_is_sound(subject, &path, made, &mutant)
                .map_err(|why| format!("{said}: `{}`: {why}", ending.line))?;
        }
    }
    Ok(())
}

fn judge(subject: &Subject, file: &Path, whole: &[u8], mutant: &Mutant, ending: &Ending) -> Result<(), String> {
    if let Some(crash) = ending.crash() {
        return Err(format!("{crash}: {}", ending.complaint()));
    }
    if let Some(obeyed) = ending.unprintable() {
        return Err(obeyed);
    }
    if ending.is_well() {
        return Ok(());
    }
    // A network may overflow on large numbers; that is not the fault of the file.
    if subject.kernel.is_some() && (ending.mentions("overflow") || ending.mentions("not finite")) {
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if ending.mentions(&name) || subject.or.iter().any(|name| ending.mentions(name)) {
        return Ok(());
    }
    if matches!(subject.format, Format::Toml | Format::Json | Format::JsonLines)
        && keys(whole).union(&keys(&mutant.bytes)).any(|key| ending.mentions(key))
    {
        return Ok(());
    }
    Err(format!("`{}`: {} names neither the file nor a key: {}", ending.line, ending.word(), ending.complaint()))
}

/// The keys in a text: words before `=` or `:`.
fn keys(text: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(text);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let parts: Vec<&str> = text.split_inclusive(['=', ':', ']', '.']).collect();
    let before = |part: &&str| {
        part.trim_end_matches(['=', ':', ']', '.', ' ', '"']).rsplit(|c| !word(c)).next().map(String::from)
    };
    parts.iter().filter_map(before).filter(|key| key.len() > 2).collect()
}

/// Checks that no entry of a kernel is NaN. If tiles have other shapes, the kernel must be equal to the right one.
fn kernel_is_sound(subject: &Subject, path: &Path, corpus: &Path, mutant: &Mutant) -> Result<(), String> {
    let read = |path: &Path| -> Result<Vec<(String, Vec<f64>)>, String> {
        let bytes = fs_err::read(path).map_err(|e| e.to_string())?;
        let members = unzip(&bytes).ok_or("the kernel is no archive")?;
        let arrays = members.into_iter().filter_map(|(name, bytes)| Some((name, Npy::read(&bytes)?.floats()?)));
        Ok(arrays.collect())
    };
    let found = read(path)?;
    for (name, values) in &found {
        if let Some(at) = values.iter().position(|v| v.is_nan()) {
            return Err(format!("exit code 0, and `{name}` is NaN at {at}"));
        }
    }
    if subject.strict && mutant.shaped {
        let right = read(&corpus.join("right.npz"))?;
        for (name, values) in right.iter().filter(|(name, _)| !name.starts_with("inputs")) {
            let same = found.iter().find(|(other, _)| other == name).is_some_and(|(_, others)| {
                let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * (1.0 + a.abs());
                others.len() == values.len() && values.iter().zip(others).all(near)
            });
            if !same {
                return Err(format!("exit code 0, and `{name}` is wrong"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_stands_before_a_value() {
        let found = keys(b"[generator.dcgan]\nchannels = 4\noptimizer.adam.rate = 1\n{\"d_loss\":1}");
        for key in ["generator", "dcgan", "channels", "optimizer", "adam", "rate", "d_loss"] {
            assert!(found.contains(key), "{key}: {found:?}");
        }
    }
}
