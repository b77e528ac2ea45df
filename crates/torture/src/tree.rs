//! Folders as maps from names to bytes: reading, copying, and comparing what must be equal.
//!
//! All files of a case are compared byte by byte with those of an uninterrupted run, except:
//!
//! | file | what is not compared |
//! | --- | --- |
//! | `*.jsonl` | `seconds`, `steps_per_second`, `data_wait`, and a duration in brackets at the end of a message |
//! | `*.json` | the same keys |
//! | `env.json` | everything: it says where and how a run was made, so it must only be JSON |
//! | `*.html` | everything: a report shows speeds, so it must only end |
//! | locks | they are left out on both sides: names that end in `lock` |

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Maps names relative to a root to bytes. The name of a folder ends in `/`, and it has no bytes.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

/// Reads all files below `root`.
pub(crate) fn read(root: &Path) -> io::Result<Tree> {
    let mut found = Tree::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = path.strip_prefix(root).map_err(io::Error::other)?.to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                found.insert(name + "/", Vec::new());
                folders.push(path);
            } else {
                found.insert(name, fs_err::read(path)?);
            }
        }
    }
    Ok(found)
}

/// Copies all files below `from` to the new folder `to`.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs_err::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Copies some files and folders below `from` to the same places below `to`.
pub(crate) fn copy_some(from: &Path, to: &Path, names: &[&str]) -> io::Result<()> {
    fs_err::create_dir_all(to)?;
    for name in names {
        let (source, target) = (from.join(name), to.join(name));
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent)?;
        }
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs_err::copy(source, target)?;
        }
    }
    Ok(())
}

/// The first difference between two folders in files that must be equal.
pub(crate) fn difference(right: &Tree, found: &Tree) -> Option<String> {
    compare(right, found, unlike)
}

/// The first change in a folder that must not change.
pub(crate) fn change(before: &Tree, after: &Tree) -> Option<String> {
    compare(before, after, |name, a, b| (a != b).then(|| format!("`{name}` is another")))
}

fn compare(right: &Tree, found: &Tree, unlike: impl Fn(&str, &[u8], &[u8]) -> Option<String>) -> Option<String> {
    let compared = |tree: &Tree| -> Vec<String> { tree.keys().filter(|name| !is_lock(name)).cloned().collect() };
    let (wanted, there) = (compared(right), compared(found));
    if let Some(missing) = wanted.iter().find(|name| !there.contains(name)) {
        return Some(format!("`{missing}` is missing"));
    }
    if let Some(beyond) = there.iter().find(|name| !wanted.contains(name)) {
        return Some(format!("`{beyond}` is there, and should not be"));
    }
    wanted.iter().find_map(|name| unlike(name, &right[name], &found[name]))
}

/// The last part of a path.
fn base(name: &str) -> &str {
    name.trim_end_matches('/').rsplit('/').next().unwrap_or(name)
}

fn is_lock(name: &str) -> bool {
    base(name).ends_with("lock")
}

/// A temporary file, which may exist only after a writer was stopped.
pub(crate) fn leftover(tree: &Tree) -> Option<&String> {
    tree.keys().find(|name| {
        let name = base(name);
        name.contains("unfinished") || name.contains(".part") || name.contains(".tmp")
    })
}

fn unlike(name: &str, right: &[u8], found: &[u8]) -> Option<String> {
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|e| e.to_string());
    match extension {
        _ if base(name) == "env.json" => json(found).err().map(|e| format!("`{name}` is no JSON: {e}")),
        "html" => (!found.trim_ascii_end().ends_with(b"</html>")).then(|| format!("`{name}` does not end")),
        "json" | "jsonl" => {
            let lines = |bytes: &[u8]| -> Result<Vec<Value>, String> {
                let values: Result<Vec<Value>, String> = if extension == "json" {
                    json(bytes).map(|value| vec![value])
                } else {
                    bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()).map(json).collect()
                };
                values.map(|values| values.into_iter().map(untimed).collect())
            };
            match (lines(right), lines(found)) {
                (Ok(right), Ok(found)) if right.len() != found.len() => {
                    Some(format!("`{name}` has {} lines, {} are right", found.len(), right.len()))
                }
                (Ok(right), Ok(found)) => {
                    let at = right.iter().zip(&found).position(|(a, b)| a != b)?;
                    Some(format!("`{name}`, line {}: {}, right is {}", at + 1, found[at], right[at]))
                }
                (_, Err(e)) | (Err(e), Ok(_)) => Some(format!("`{name}` is no JSON: {e}")),
            }
        }
        _ if right == found => None,
        _ => {
            let at = right.iter().zip(found).position(|(a, b)| a != b).unwrap_or(right.len().min(found.len()));
            Some(format!("`{name}` differs from byte {at} on ({} bytes, {} are right)", found.len(), right.len()))
        }
    }
}

/// A value without the fields that depend on the clock.
fn untimed(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let clocks = ["seconds", "steps_per_second", "data_wait"];
            let kept = fields.into_iter().filter(|(key, _)| !clocks.contains(&key.as_str()));
            Value::Object(kept.map(|(key, value)| (key, untimed(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(untimed).collect()),
        Value::String(text) if text.ends_with(" s)") => {
            Value::String(text.rfind(" (").map_or(text.clone(), |at| text[..at].to_owned()))
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// The files of a tree whose names end in one of these endings.
pub(crate) fn files_below(root: &Path, folder: &str) -> io::Result<Vec<PathBuf>> {
    let tree = read(&root.join(folder))?;
    Ok(tree.keys().filter(|name| !name.ends_with('/')).map(|name| Path::new(folder).join(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str, text: &str) -> Tree {
        Tree::from([(name.to_owned(), text.as_bytes().to_vec())])
    }

    #[test]
    fn clocks_are_not_compared_and_numbers_are() {
        let a = r#"{"step":1,"seconds":0.5,"message":"kernel: trace 7 (0.01 s)"}"#;
        let b = r#"{"step":1,"seconds":0.7,"message":"kernel: trace 7 (0.02 s)"}"#;
        assert_eq!(difference(&tree("log.jsonl", a), &tree("log.jsonl", b)), None);
        let other = difference(&tree("log.jsonl", a), &tree("log.jsonl", &a.replace("\"step\":1", "\"step\":2")));
        assert!(other.expect("differs").contains("line 1"));
        let twice = difference(&tree("log.jsonl", a), &tree("log.jsonl", &format!("{a}\n{a}\n")));
        assert!(twice.expect("differs").contains("has 2 lines, 1 are right"));
    }

    #[test]
    fn files_that_are_missing_or_too_many_are_named() {
        let (one, two) = (tree("a", "x"), tree("b", "x"));
        assert!(difference(&one, &two).expect("differs").contains("`a` is missing"));
        assert!(difference(&Tree::new(), &two).expect("differs").contains("`b` is there"));
        assert!(difference(&one, &tree("a", "y")).expect("differs").contains("from byte 0 on"));
        assert_eq!(difference(&Tree::new(), &tree("r/.lock", "12")), None);
        assert_eq!(leftover(&tree("r/.latest.unfinished", "")), Some(&"r/.latest.unfinished".to_owned()));
    }
}
