//! Mutants of PNG pictures with right checksums.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use super::{Mutant, bytes};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Damages a chunk.
pub(super) fn png(whole: &[u8], rng: &mut ChaCha8Rng) -> Option<Mutant> {
    let mut rest = whole.strip_prefix(SIGNATURE)?;
    let mut chunks: Vec<([u8; 4], Vec<u8>)> = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let data = tail.get(..length)?;
        chunks.push(([head[4], head[5], head[6], head[7]], data.to_vec()));
        rest = tail.get(length + 4..)?;
    }
    if chunks.is_empty() {
        return None;
    }
    let at = rng.random_range(0..chunks.len());
    let name = |chunk: &([u8; 4], Vec<u8>)| String::from_utf8_lossy(&chunk.0).into_owned();
    let what = match rng.random_range(0..8) {
        0..=2 => {
            let header = &mut chunks.iter_mut().find(|chunk| chunk.0 == *b"IHDR")?.1;
            if header.len() < 13 {
                return None;
            }
            let side: u32 = [0, 1, 7, 9, 65_535, 1 << 20, 0x7fff_ffff, 0xffff_ffff][rng.random_range(0..8)];
            match rng.random_range(0..6) {
                0 => header[0..4].copy_from_slice(&side.to_be_bytes()),
                1 => header[4..8].copy_from_slice(&side.to_be_bytes()),
                2 => {
                    header[0..4].copy_from_slice(&side.to_be_bytes());
                    header[4..8].copy_from_slice(&side.to_be_bytes());
                }
                3 => header[8] = [1, 2, 4, 16, 3, 255][rng.random_range(0..6)],
                4 => header[9] = [0, 2, 3, 4, 6, 1][rng.random_range(0..6)],
                _ => header[12] ^= 1,
            }
            format!("IHDR {header:?}")
        }
        3 => format!("without {}", name(&chunks.remove(at))),
        4 => {
            let again = chunks[at].clone();
            chunks.insert(at, again);
            format!("{} twice", name(&chunks[at]))
        }
        5 => {
            let kind = *[b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"zTXt", b"eXIf", b"acTL"].choose(rng)?;
            let data: Vec<u8> = (0..rng.random_range(0..40)).map(|_| rng.random()).collect();
            chunks.insert(at, (*kind, data));
            format!("with {}", name(&chunks[at]))
        }
        _ => {
            let damaged = bytes::mutate(&chunks[at].1, rng);
            chunks[at].1 = damaged.bytes;
            format!("{}: {}", name(&chunks[at]), damaged.what)
        }
    };
    let mut all = SIGNATURE.to_vec();
    for (kind, data) in chunks {
        all.extend((data.len() as u32).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&kind);
        crc.update(&data);
        all.extend(kind);
        all.extend(data);
        all.extend(crc.sum().to_be_bytes());
    }
    Some(Mutant::new(all, what))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn mutants_are_pictures_on_the_outside() {
        let mut whole = std::io::Cursor::new(Vec::new());
        let picture = image::GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * y) as u8]));
        picture.write_to(&mut whole, image::ImageFormat::Png).expect("written");
        let whole = whole.into_inner();
        let all: Vec<Mutant> = (0..50).filter_map(|seed| png(&whole, &mut ChaCha8Rng::seed_from_u64(seed))).collect();
        assert_eq!(all.len(), 50);
        assert!(all.iter().all(|mutant| mutant.bytes.starts_with(SIGNATURE)));
        // All have right checksums. Some can be decoded, others cannot.
        let decoded = all.iter().filter(|mutant| image::load_from_memory(&mutant.bytes).is_ok()).count();
        assert!((1..50).contains(&decoded), "{decoded}");
    }
}
