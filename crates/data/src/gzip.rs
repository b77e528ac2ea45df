//! Unpacks gzip as `gzip -d` does: members one after the other; padding and garbage after them are ignored.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::bounds::{GZIP_FREE, GZIP_RATIO};

/// The first two bytes of every member.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A reader that unpacks gzip data.
pub(crate) struct Gunzip<R> {
    member: Option<GzDecoder<Counted<R>>>,
    given: u64,
    garbage: bool,
}

/// A reader that counts bytes and accepts unread bytes back.
struct Counted<R> {
    back: Vec<u8>,
    inner: R,
    taken: u64,
}

impl<R: BufRead> Gunzip<R> {
    pub(crate) fn new(inner: R) -> Self {
        let counted = Counted { back: Vec::new(), inner, taken: 0 };
        Self { member: Some(GzDecoder::new(counted)), given: 0, garbage: false }
    }

    /// Whether data other than gzip and zeros follow the last member; valid after the end has been read.
    pub(crate) fn has_garbage(&self) -> bool {
        self.garbage
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n = member.read(buffer)?;
            self.given += n as u64;
            let bound = GZIP_FREE.saturating_add(GZIP_RATIO.saturating_mul(member.get_ref().taken));
            if self.given > bound {
                let message = format!(
                    "it unpacks to more than {GZIP_RATIO} times its size and {GZIP_FREE} bytes, which is not read"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let mut rest = self.member.take().expect("matched").into_inner();
            let mut start = Vec::new();
            rest.by_ref().take(2).read_to_end(&mut start)?;
            if start == MAGIC {
                rest.back = start;
                self.member = Some(GzDecoder::new(rest));
            } else {
                self.garbage = start.iter().any(|&byte| byte != 0) || !only_zeros(&mut rest)?;
            }
        }
        Ok(0)
    }
}

fn only_zeros(rest: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = rest.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        let len = bytes.len();
        rest.consume(len);
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.fill_buf()?;
        let n = bytes.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.back.is_empty() { self.inner.fill_buf() } else { Ok(&self.back) }
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount as u64;
        if self.back.is_empty() {
            self.inner.consume(amount);
        } else {
            self.back.drain(..amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    /// Unpacks `bytes`, with buffers of one byte and of many. Also returns whether garbage follows.
    fn unpacked(bytes: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let read = |capacity| {
            let mut gunzip = Gunzip::new(io::BufReader::with_capacity(capacity, bytes));
            let mut all = Vec::new();
            gunzip.read_to_end(&mut all).map(|_| (all, gunzip.has_garbage()))
        };
        let (one, many) = (read(1), read(1 << 16));
        assert_eq!(one.as_ref().ok(), many.as_ref().ok());
        many
    }

    #[test]
    fn members_padding_and_garbage_are_told_apart() {
        let (a, b) = (packed(b"abc"), packed(b"defg"));
        let all = |parts: &[&[u8]]| unpacked(&parts.concat()).expect("sound");
        assert_eq!(all(&[&a, &b]), (b"abcdefg".to_vec(), false));
        assert_eq!(all(&[&a, &[0; 512]]), (b"abc".to_vec(), false));
        assert_eq!(all(&[&a, &[0]]), (b"abc".to_vec(), false));
        assert_eq!(all(&[&a, b"garbage"]), (b"abc".to_vec(), true));
        assert_eq!(all(&[&a, &[0; 9], b"x"]), (b"abc".to_vec(), true));
        assert_eq!(all(&[&a, &MAGIC[..1]]), (b"abc".to_vec(), true));
        assert!(unpacked(&a[..a.len() - 3]).is_err() && unpacked(b"no gzip").is_err());
    }

    #[test]
    fn what_unpacks_without_end_is_stopped() {
        // Members of zeros, one after the other, compressed 1000 to 1.
        let member = packed(&vec![0; 1 << 24]);
        let error = io::copy(&mut Gunzip::new(&member.repeat(24)[..]), &mut io::sink()).expect_err("stopped");
        assert!(error.to_string().contains("more than 200 times its size"), "{error}");
        assert_eq!(io::copy(&mut Gunzip::new(&member.repeat(2)[..]), &mut io::sink()).expect("sound"), 2 << 24);
    }
}
