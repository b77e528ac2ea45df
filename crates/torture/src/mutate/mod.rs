//! Mutants of files: damaged or false bytes, with a description of the change.

mod arrays;
mod bytes;
mod packed;
mod pictures;
mod text;

pub(crate) use self::arrays::{Npy, unzip, zipped};

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

/// The format of a file, so that a mutant can have a valid outer structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Bytes without structure: IDX, CIFAR, JPEG.
    Plain,
    /// A NumPy array.
    Npy,
    /// NumPy arrays in a zip archive.
    Npz,
    /// Named tensors after a header in JSON.
    Safetensors,
    /// A picture of chunks with checksums.
    Png,
    /// A zip archive of pictures.
    Zip,
    /// A tar archive of pictures.
    Tar,
    /// A tar archive compressed with gzip.
    TarGz,
    /// Bytes compressed with gzip.
    Gz,
    /// A TOML configuration.
    Toml,
    /// A JSON value.
    Json,
    /// One JSON value a line.
    JsonLines,
}

/// A damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutant {
    /// The complete bytes.
    pub bytes: Vec<u8>,
    /// A description of the change.
    pub what: String,
    /// Whether the change was a consistent one of values within the format. Then arrays could still be read as before.
    pub shaped: bool,
}

impl Mutant {
    fn new(bytes: Vec<u8>, what: impl Into<String>) -> Self {
        Self { bytes, what: what.into(), shaped: false }
    }
}

/// Damages a file once or several times.
pub(crate) fn mutate(whole: &[u8], format: Format, rng: &mut ChaCha8Rng) -> Mutant {
    let times = [1, 1, 1, 2, 4][rng.random_range(0..5)];
    let mut mutant = once(whole, format, rng);
    for _ in 1..times {
        let next = once(&mutant.bytes, format, rng);
        mutant = Mutant { bytes: next.bytes, what: format!("{}; {}", mutant.what, next.what), shaped: false };
    }
    mutant
}

fn once(whole: &[u8], format: Format, rng: &mut ChaCha8Rng) -> Mutant {
    let plain = rng.random_bool(0.3);
    let inside = match format {
        _ if plain => None,
        Format::Plain => None,
        Format::Npy => arrays::npy(whole, rng),
        Format::Npz => arrays::npz(whole, rng),
        Format::Safetensors => arrays::safetensors(whole, rng),
        Format::Png => pictures::png(whole, rng),
        Format::Zip => packed::zip(whole, rng),
        Format::Tar => packed::tar(whole, rng),
        Format::TarGz => packed::gz(whole, rng, packed::tar),
        Format::Gz => packed::gz(whole, rng, |bytes, rng| Some(bytes::mutate(bytes, rng))),
        Format::Toml => Some(text::toml(whole, rng)),
        Format::Json => text::json(whole, rng),
        Format::JsonLines => text::json_lines(whole, rng),
    };
    inside.unwrap_or_else(|| bytes::mutate(whole, rng))
}

/// Numbers that often cause errors, as a configuration or a header would contain them.
const NUMBERS: [&str; 26] = [
    "0",
    "-1",
    "1",
    "2",
    "-0.0",
    "0.5",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-320",
    "1e400",
    "255",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "99999999999999999999999999",
];

fn number(rng: &mut ChaCha8Rng) -> &'static str {
    NUMBERS.choose(rng).copied().unwrap_or("0")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_mutant_is_a_function_of_its_seed_and_differs_from_its_file() {
        let files: [(Format, Vec<u8>); 4] = [
            (Format::Plain, (0..300_u16).map(|i| (i * 7) as u8).collect()),
            (Format::Toml, b"[a]\nb = 3\nc = [1, 2]\n".to_vec()),
            (Format::Json, br#"{"a": [1, 2.5], "b": {"c": "d"}}"#.to_vec()),
            (Format::JsonLines, b"{\"a\":1}\n{\"a\":2}\n".to_vec()),
        ];
        for (format, whole) in files {
            let mut changed = 0;
            for seed in 0..200 {
                let of = || mutate(&whole, format, &mut ChaCha8Rng::seed_from_u64(seed));
                assert_eq!(of(), of());
                changed += u64::from(of().bytes != whole);
            }
            assert!(changed > 190, "{format:?}: {changed}");
        }
    }
}
