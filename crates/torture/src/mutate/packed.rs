//! Mutants of archives. Most of them have a valid outer structure.

use std::io::{Read as _, Write as _};

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use zip::CompressionMethod;

use super::arrays::{unzip, zipped};
use super::{Mutant, bytes, pictures};

/// Names that an archive should not contain.
const NAMES: [&str; 12] = [
    "../../x.png",
    "/etc/x.png",
    "",
    "a/../b/x.png",
    "__MACOSX/a/._1.png",
    ".hidden/1.png",
    "a\\b\\1.png",
    "\u{1b}]0;title\u{7}.png",
    "a/\u{202e}gnp.png",
    "a//1.png",
    "a/1.webp",
    "a/1.PNG",
];

fn of_member(name: &str, whole: &[u8], rng: &mut ChaCha8Rng) -> Mutant {
    let damaged = if rng.random_bool(0.6) { pictures::png(whole, rng) } else { None };
    let damaged = damaged.unwrap_or_else(|| bytes::mutate(whole, rng));
    Mutant::new(damaged.bytes, format!("`{name}`: {}", damaged.what))
}

/// Changes the members of an archive and returns a description of the change.
fn change(members: &mut Vec<(String, Vec<u8>)>, rng: &mut ChaCha8Rng) -> Option<String> {
    if members.is_empty() {
        return None;
    }
    let at = rng.random_range(0..members.len());
    let name = members[at].0.clone();
    Some(match rng.random_range(0..6) {
        0 => {
            members.remove(at);
            format!("without `{name}`")
        }
        1 | 2 => {
            members[at].0 = NAMES.choose(rng)?.to_string();
            format!("`{name}` called {:?}", members[at].0)
        }
        3 => {
            let new = (NAMES.choose(rng)?.to_string(), members[at].1.clone());
            let what = format!("with {:?}", new.0);
            members.push(new);
            what
        }
        _ => {
            let damaged = of_member(&name, &members[at].1, rng);
            members[at].1 = damaged.bytes;
            damaged.what
        }
    })
}

/// Damages a zip archive.
pub(super) fn zip(whole: &[u8], rng: &mut ChaCha8Rng) -> Option<Mutant> {
    let mut members = unzip(whole)?;
    let what = change(&mut members, rng)?;
    let method = if rng.random_bool(0.5) { CompressionMethod::Stored } else { CompressionMethod::Deflated };
    Some(Mutant::new(zipped(&members, method)?, what))
}

/// Damages a tar archive and writes correct checksums of the headers.
pub(super) fn tar(whole: &[u8], rng: &mut ChaCha8Rng) -> Option<Mutant> {
    let mut members = Vec::new();
    for entry in tar::Archive::new(whole).entries().ok()? {
        let mut entry = entry.ok()?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.by_ref().take(16 << 20).read_to_end(&mut bytes).ok()?;
        members.push((name, bytes));
    }
    let what = change(&mut members, rng)?;
    let mut all = Vec::new();
    let odd = rng.random_range(0..members.len().max(1));
    let kind = rng.random_range(0..8);
    let mut said = String::new();
    for (i, (name, bytes)) in members.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        // Names that the library refuses are written directly into the header.
        let length = name.len().min(99);
        header.as_old_mut().name[..length].copy_from_slice(&name.as_bytes()[..length]);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        if i == odd {
            match kind {
                0 => {
                    let size = [0, 1 << 20, 1 << 33, (1 << 62) + 1][rng.random_range(0..4)];
                    header.set_size(size);
                    said = format!("; `{name}` called {size} bytes long");
                }
                1 => {
                    let kinds = [
                        tar::EntryType::Symlink,
                        tar::EntryType::Link,
                        tar::EntryType::Fifo,
                        tar::EntryType::Char,
                        tar::EntryType::Directory,
                        tar::EntryType::GNULongName,
                        tar::EntryType::XHeader,
                        tar::EntryType::GNUSparse,
                    ];
                    let kind = *kinds.choose(rng)?;
                    header.set_entry_type(kind);
                    said = format!("; `{name}` called {kind:?}");
                }
                _ => {}
            }
        }
        header.set_cksum();
        all.extend_from_slice(header.as_bytes());
        all.extend_from_slice(bytes);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    Some(Mutant::new(all, what + &said))
}

/// Damages the contents of a gzip file, or its compression.
pub(super) fn gz(
    whole: &[u8],
    rng: &mut ChaCha8Rng,
    inner: impl Fn(&[u8], &mut ChaCha8Rng) -> Option<Mutant>,
) -> Option<Mutant> {
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(whole).take(64 << 20).read_to_end(&mut bytes).ok()?;
    let pack = |bytes: &[u8]| -> Option<Vec<u8>> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).ok()?;
        encoder.finish().ok()
    };
    match rng.random_range(0..8) {
        0 => {
            // The contents are much larger than the header says.
            bytes.resize(bytes.len() + (48 << 20), 0);
            Some(Mutant::new(pack(&bytes)?, "48 MB of zeros behind it, packed"))
        }
        1 => {
            let mut twice = pack(&bytes)?;
            twice.extend(pack(&bytes)?);
            Some(Mutant::new(twice, "two members"))
        }
        2 => Some(Mutant::new(pack(&pack(&bytes)?)?, "packed twice")),
        _ => {
            let damaged = inner(&bytes, rng)?;
            Some(Mutant::new(pack(&damaged.bytes)?, format!("inside: {}", damaged.what)))
        }
    }
}
