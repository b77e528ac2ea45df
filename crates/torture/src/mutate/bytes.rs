//! Mutants of arbitrary bytes.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use super::{Mutant, number};

/// Special values for sizes and counts.
const SIZES: [u64; 12] =
    [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX];

/// A position. In half of the cases it is among the first bytes, where headers are.
fn place(len: usize, rng: &mut ChaCha8Rng) -> usize {
    let end = if rng.random_bool(0.5) { len.min(128) } else { len };
    if end == 0 { 0 } else { rng.random_range(0..end) }
}

fn span(len: usize, rng: &mut ChaCha8Rng) -> std::ops::Range<usize> {
    let start = place(len, rng);
    let longest = (len - start).min([4, 64, 4096][rng.random_range(0..3)]);
    start..start + if longest == 0 { 0 } else { rng.random_range(1..=longest) }
}

/// Damages bytes.
pub(super) fn mutate(whole: &[u8], rng: &mut ChaCha8Rng) -> Mutant {
    let mut bytes = whole.to_vec();
    let len = bytes.len();
    let what = match rng.random_range(0..13) {
        0 | 1 if len > 0 => {
            let flips = rng.random_range(1..=8);
            for _ in 0..flips {
                let at = place(len, rng);
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
            format!("{flips} bits flipped")
        }
        2 => {
            let at = if len == 0 { 0 } else { rng.random_range(0..len) };
            bytes.truncate(at);
            format!("cut to {at} of {len} bytes")
        }
        3 => {
            let at = place(len, rng);
            let n = [1, 7, 64, 5000][rng.random_range(0..4)];
            let fill: Vec<u8> = match rng.random_range(0..3) {
                0 => vec![0; n],
                1 => vec![0xff; n],
                _ => (0..n).map(|_| rng.random()).collect(),
            };
            bytes.splice(at..at, fill);
            format!("{n} bytes put in at {at}")
        }
        4 => {
            let span = span(len, rng);
            let again = bytes[span.clone()].to_vec();
            let times = [1, 2, 50][rng.random_range(0..3)];
            bytes.splice(span.end..span.end, again.repeat(times));
            format!("bytes {span:?} repeated {times} times")
        }
        5 => {
            let span = span(len, rng);
            bytes.drain(span.clone());
            format!("bytes {span:?} left out")
        }
        6 | 7 if len > 0 => {
            let size = SIZES[rng.random_range(0..SIZES.len())];
            let width = [1, 2, 4, 8][rng.random_range(0..4)];
            let at = place(len, rng);
            let big = rng.random_bool(0.5);
            let written =
                if big { size.to_be_bytes()[8 - width..].to_vec() } else { size.to_le_bytes()[..width].to_vec() };
            for (to, from) in bytes[at..].iter_mut().zip(written) {
                *to = from;
            }
            format!("{size:#x} in {width} bytes at {at}")
        }
        8 => {
            if let Some(span) = digits(&bytes, rng) {
                let new = number(rng);
                let old = String::from_utf8_lossy(&bytes[span.clone()]).into_owned();
                bytes.splice(span.clone(), new.bytes());
                format!("the number {old} at {} is {new}", span.start)
            } else {
                bytes.extend_from_slice(whole);
                "the file behind itself".into()
            }
        }
        9 => {
            let (a, b) = (span(len, rng), span(len, rng));
            let moved = bytes[a.clone()].to_vec();
            for (to, from) in bytes[b.clone()].iter_mut().zip(moved) {
                *to = from;
            }
            format!("bytes {a:?} over {b:?}")
        }
        10 => {
            let n = [1, 512, 100_000][rng.random_range(0..3)];
            let fill = if rng.random_bool(0.5) { 0 } else { rng.random() };
            bytes.resize(len + n, fill);
            format!("{n} bytes {fill} behind it")
        }
        11 => {
            bytes.clear();
            let other: [(&str, &[u8]); 5] = [
                ("nothing", b""),
                ("a page of HTML", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"),
                ("a pointer to a large file", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
                ("one zero", &[0]),
                ("an empty zip archive", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            ];
            let (what, text) = other.choose(rng).copied().unwrap_or(other[0]);
            bytes.extend_from_slice(text);
            format!("{what} in its place")
        }
        _ => {
            let span = span(len, rng);
            for byte in &mut bytes[span.clone()] {
                *byte = rng.random();
            }
            format!("bytes {span:?} drawn anew")
        }
    };
    Mutant::new(bytes, what)
}

/// A sequence of digits as text among the first bytes.
fn digits(bytes: &[u8], rng: &mut ChaCha8Rng) -> Option<std::ops::Range<usize>> {
    let head = &bytes[..bytes.len().min(4096)];
    let starts: Vec<usize> =
        (1..head.len()).filter(|&i| head[i].is_ascii_digit() && b" ,:[(\"=".contains(&head[i - 1])).collect();
    let &start = starts.choose(rng)?;
    let end = (start..head.len()).find(|&i| !head[i].is_ascii_digit()).unwrap_or(head.len());
    Some(start..end)
}
