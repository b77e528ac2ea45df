//! Mutants of configurations, JSON and logs.

use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};

use super::{Mutant, number};

/// Values of other types, in the syntax of TOML and JSON.
const VALUES: [&str; 12] = [
    "\"x\"",
    "\"\"",
    "[]",
    "{}",
    "[[]]",
    "[1, 2]",
    "true",
    "null",
    "\"../../../etc/passwd\"",
    "\"\\u001b[31m\\u0007\"",
    "\"\\u0000\"",
    "\"\\u202e\"",
];

/// Damages a configuration.
pub(super) fn toml(whole: &[u8], rng: &mut ChaCha8Rng) -> Mutant {
    let text = String::from_utf8_lossy(whole).into_owned();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    if lines.is_empty() {
        return Mutant::new(b"[".to_vec(), "an open bracket in its place");
    }
    let at = rng.random_range(0..lines.len());
    let what = match rng.random_range(0..16) {
        0..=4 => {
            let numbers: Vec<(usize, usize, usize)> = lines
                .iter()
                .enumerate()
                .flat_map(|(i, line)| numbers(line).into_iter().map(move |(start, end)| (i, start, end)))
                .collect();
            match numbers.choose(rng) {
                Some(&(i, start, end)) => {
                    let new = number(rng);
                    lines[i].replace_range(start..end, new);
                    format!("line {}: `{}`", i + 1, lines[i])
                }
                None => "nothing".into(),
            }
        }
        5 | 6 => {
            let keyed: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].contains('=')).collect();
            let i = keyed.choose(rng).copied().unwrap_or(at);
            let key = lines[i].split('=').next().unwrap_or("a").to_owned();
            let value = VALUES.choose(rng).copied().unwrap_or("[]");
            lines[i] = format!("{key}= {value}");
            format!("line {}: `{}`", i + 1, lines[i])
        }
        7 => format!("line {} left out: `{}`", at + 1, lines.remove(at)),
        8 => {
            lines.insert(at, lines[at].clone());
            format!("line {} twice", at + 1)
        }
        9 => {
            lines.shuffle(rng);
            "lines in another order".into()
        }
        10 => {
            let deep = [50, 1000, 100_000][rng.random_range(0..3)];
            let line = match rng.random_range(0..3) {
                0 => format!("deep = {}1{}", "[".repeat(deep), "]".repeat(deep)),
                1 => format!("deep = {}", "{ a = ".repeat(deep)),
                _ => format!("[{}]", vec!["a"; deep].join(".")),
            };
            lines.insert(at, line);
            format!("{deep} levels in line {}", at + 1)
        }
        11 => {
            let odd = ["\u{feff}", "\u{1b}[2J", "\0", "\r", "\u{202e}", "\u{85}", "\"\"\"", "é", "="];
            let odd = odd.choose(rng).copied().unwrap_or("\0");
            let inside: Vec<usize> = lines[at].char_indices().map(|(i, _)| i).collect();
            let i = inside.choose(rng).copied().unwrap_or(0);
            lines[at].insert_str(i, odd);
            format!("{odd:?} in line {}", at + 1)
        }
        12 => {
            let tables: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].starts_with('[')).collect();
            let Some(&i) = tables.choose(rng) else { return Mutant::new(whole.to_vec(), "nothing") };
            let end = (i + 1..lines.len()).find(|&j| lines[j].starts_with('[')).unwrap_or(lines.len());
            let table: Vec<String> = lines.drain(i..end).collect();
            format!("table `{}` left out", table.first().map_or("", String::as_str))
        }
        13 => {
            lines.push(lines[at].clone());
            format!("line {} again at the end", at + 1)
        }
        14 => {
            let long = "a".repeat(100_000);
            lines.insert(at, format!("{long} = \"{long}\""));
            format!("a long line {}", at + 1)
        }
        _ => {
            let words: Vec<&str> = lines[at].split_inclusive(|c: char| !c.is_alphanumeric()).collect();
            if words.is_empty() {
                "nothing".into()
            } else {
                let word = words[rng.random_range(0..words.len())].to_owned();
                lines[at] = lines[at].replacen(&word, "", 1);
                format!("`{word}` left out of line {}", at + 1)
            }
        }
    };
    let mut bytes = (lines.join("\n") + "\n").into_bytes();
    if rng.random_bool(0.02) {
        bytes.insert(0, 0xff);
    }
    Mutant::new(bytes, what)
}

/// The positions of numbers in a line.
fn numbers(line: &str) -> Vec<(usize, usize)> {
    let bytes = line.as_bytes();
    let part = |c: u8| c.is_ascii_digit() || b".eE+-_".contains(&c);
    let mut found = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let begins =
            bytes[i].is_ascii_digit() && (i == 0 || !(bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_'));
        if begins {
            let end = (i..bytes.len()).find(|&j| !part(bytes[j])).unwrap_or(bytes.len());
            found.push((i, end));
            i = end;
        } else {
            i += 1;
        }
    }
    found
}

/// Damages a JSON value, or its text.
pub(super) fn json(whole: &[u8], rng: &mut ChaCha8Rng) -> Option<Mutant> {
    if rng.random_bool(0.3) {
        return Some(Mutant::new(json_text(whole, rng), "a number or a value of its text is another"));
    }
    let mut value: Value = serde_json::from_slice(whole).ok()?;
    let what = damage(&mut value, whole.len() < 20_000, rng);
    Some(Mutant::new(serde_json::to_vec(&value).ok()?, what))
}

/// Replaces a number or a quoted value in a text. The result need not be JSON.
fn json_text(whole: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let text = String::from_utf8_lossy(whole).into_owned();
    let spans = numbers(&text);
    match spans.choose(rng) {
        Some(&(start, end)) => {
            let new = if rng.random_bool(0.7) { number(rng) } else { VALUES.choose(rng).copied().unwrap_or("[]") };
            let mut text = text;
            text.replace_range(start..end, new);
            text.into_bytes()
        }
        None => format!("{}{text}", "[".repeat(100_000)).into_bytes(),
    }
}

/// Changes one place in a value. Only a small value is made a thousand times as long.
fn damage(root: &mut Value, small: bool, rng: &mut ChaCha8Rng) -> String {
    let mut places = Vec::new();
    pointers(root, String::new(), &mut places);
    let place = places.choose(rng).cloned().unwrap_or_default();
    let Some(value) = root.pointer_mut(&place) else { return "nothing".into() };
    let what = match (rng.random_range(0..8), &mut *value) {
        (0, Value::Object(fields)) if !fields.is_empty() => {
            let key = fields.keys().nth(rng.random_range(0..fields.len())).cloned().unwrap_or_default();
            fields.remove(&key);
            format!("without `{key}`")
        }
        (1, Value::Object(fields)) => {
            fields.insert("unknown".into(), Value::from(1));
            "with an unknown field".into()
        }
        (0, Value::Array(values)) if !values.is_empty() => {
            values.remove(rng.random_range(0..values.len()));
            "one value less".into()
        }
        (1, Value::Array(values)) if !values.is_empty() => {
            let again = values[rng.random_range(0..values.len())].clone();
            values.push(again);
            "a value twice".into()
        }
        (2, Value::Array(values)) => {
            values.reverse();
            "values the other way round".into()
        }
        (3, Value::Array(values)) if small => {
            let once = values.clone();
            for _ in 0..1000 {
                values.extend(once.iter().cloned());
            }
            "a thousand times as long".into()
        }
        (4..=6, Value::Number(number)) => {
            let now = number.as_f64().unwrap_or(0.0);
            let new: Value = match rng.random_range(0..9) {
                0 => Value::from(0),
                1 => Value::from(-1),
                2 => Value::from(1e308),
                3 => Value::from(u64::MAX),
                4 => Value::from(1_u64 << 31),
                5 => Value::from(1_u64 << 62),
                6 => Value::from(now as i64 + 1),
                7 => Value::from(0.5),
                _ => Value::Null,
            };
            let what = format!("{new}");
            *value = new;
            what
        }
        (_, value) => {
            let new = match rng.random_range(0..8) {
                0 => Value::Null,
                1 => Value::from(-1),
                2 => Value::from("x"),
                3 => Value::Array(Vec::new()),
                4 => Value::Object(Map::new()),
                5 => Value::from("\u{1b}[31m</script>\u{202e}"),
                6 => Value::Bool(true),
                _ => Value::from(1e308),
            };
            let what = format!("{new}");
            *value = new;
            what
        }
    };
    format!("at `{place}`: {what}")
}

fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                pointers(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(values) => {
            for (i, value) in values.iter().enumerate() {
                pointers(value, format!("{at}/{i}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found.push(at);
}

/// Damages a file that has one JSON value a line.
pub(super) fn json_lines(whole: &[u8], rng: &mut ChaCha8Rng) -> Option<Mutant> {
    let text = String::from_utf8_lossy(whole).into_owned();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    if lines.is_empty() {
        return None;
    }
    let at = rng.random_range(0..lines.len());
    let what = match rng.random_range(0..10) {
        0 => {
            lines.reverse();
            "lines the other way round".into()
        }
        1 => {
            lines.shuffle(rng);
            "lines in another order".into()
        }
        2 => {
            lines.remove(at);
            format!("without line {}", at + 1)
        }
        3 => {
            let to = rng.random_range(0..=lines.len());
            lines.insert(to, lines[at].clone());
            format!("line {} twice", at + 1)
        }
        4 => {
            let odd = ["", "null", "[]", "{}", "{\"step\":1}", "nonsense", "\u{feff}"];
            lines.insert(at, odd.choose(rng).copied().unwrap_or("").into());
            format!("an odd line {}", at + 1)
        }
        _ => {
            let damaged = json(lines[at].as_bytes(), rng)?;
            lines[at] = String::from_utf8_lossy(&damaged.bytes).into_owned();
            format!("line {}: {}", at + 1, damaged.what)
        }
    };
    Some(Mutant::new((lines.join("\n") + "\n").into_bytes(), what))
}
