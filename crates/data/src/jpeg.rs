//! Checks that a JPEG file contains all pixels.
//!
//! Decoders fill missing pixels with grey and report no error. This check follows the codes of every scan to the last block,
//! without computing pixels (ITU-T T.81, annexes F and G).

/// Follows the codes of a JPEG and finds data that end too early. Kinds of JPEG that are not followed (arithmetic coding,
/// lossless) and bytes after the end are left to the decoder.
///
/// # Errors
/// A description of what is missing.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut walk = Walk { bytes, at: 2, ..Walk::default() };
    match walk.run() {
        Ok(()) => Ok(()),
        Err(Fault::Ended) => Err("is cut short: its last pixels are missing".into()),
        Err(Fault::Code) => Err("is damaged: it holds a code that stands for nothing".into()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The data end before the picture is complete.
    Ended,
    /// The bits form no code of the table.
    Code,
}

/// The codes of a Huffman table.
#[derive(Clone)]
struct Table {
    /// For each byte: length and symbol of the code at its start; length 0 if the code is longer than a byte.
    short: [(u8, u8); 256],
    /// For each length: one more than the last code, and the offset from a code to the index of its symbol.
    long: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Table {
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let (mut short, mut long) = ([(0, 0); 256], [(0, 0); 17]);
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &count) in (1_usize..).zip(counts) {
            long[length].1 = place as i32 - code as i32;
            for _ in 0..count {
                if length <= 8 {
                    let first = (code as usize) << (8 - length);
                    for entry in short.iter_mut().skip(first).take(1 << (8 - length)) {
                        *entry = (length as u8, symbols.get(place).copied().unwrap_or(0));
                    }
                }
                code += 1;
                place += 1;
            }
            long[length].0 = code;
            code <<= 1;
        }
        Self { short, long, symbols: symbols.to_vec() }
    }
}

/// The bits of a scan.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, starting with the most significant one.
    ahead: u64,
    count: u32,
}

impl Bits<'_> {
    /// Reads bytes up to the next marker.
    fn fill(&mut self) {
        while self.count <= 56 {
            let (byte, len) = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xff), Some(0)) => (0xff, 2),
                (Some(0xff) | None, _) => return,
                (Some(&byte), _) => (byte, 1),
            };
            self.ahead |= u64::from(byte) << (56 - self.count);
            self.count += 8;
            self.at += len;
        }
    }

    fn bits(&mut self, n: u32) -> Result<u32, Fault> {
        if n == 0 {
            return Ok(0);
        }
        if self.count < n {
            self.fill();
            if self.count < n {
                return Err(Fault::Ended);
            }
        }
        let value = (self.ahead >> (64 - n)) as u32;
        self.ahead <<= n;
        self.count -= n;
        Ok(value)
    }

    fn symbol(&mut self, table: &Table) -> Result<u8, Fault> {
        if self.count < 16 {
            self.fill();
        }
        let (length, symbol) = table.short[(self.ahead >> 56) as usize];
        if length > 0 {
            self.bits(length.into())?;
            return Ok(symbol);
        }
        for length in 9..=16 {
            let code = (self.ahead >> (64 - length)) as u32;
            let (behind, offset) = table.long[length as usize];
            if code < behind {
                self.bits(length)?;
                let place = usize::try_from(code as i32 + offset).map_err(|_| Fault::Code)?;
                return table.symbols.get(place).copied().ok_or(Fault::Code);
            }
        }
        // Zeros follow the last bit here, and they would have completed a code.
        Err(if self.count < 16 { Fault::Ended } else { Fault::Code })
    }

    /// Moves to the position after the next restart marker.
    fn restart(&mut self) -> Result<(), Fault> {
        (self.ahead, self.count) = (0, 0);
        let at = marker(self.bytes, self.at).ok_or(Fault::Ended)?;
        if !(0xd0..=0xd7).contains(&self.bytes[at + 1]) {
            return Err(Fault::Ended);
        }
        self.at = at + 2;
        Ok(())
    }
}

/// The position of the next marker among the codes: 0xff followed by neither 0 nor another 0xff.
fn marker(bytes: &[u8], from: usize) -> Option<usize> {
    let pairs = bytes.get(from..)?.windows(2);
    pairs.into_iter().position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff)).map(|at| from + at)
}

struct Component {
    id: u8,
    /// Number of blocks in an interleaved unit, across and down.
    sampling: [usize; 2],
    /// Number of blocks across and down in a scan of this component alone.
    blocks: [usize; 2],
    /// For progressive pictures: the coefficients of each block that are nonzero so far.
    known: Vec<u64>,
    /// Whether a scan with its first coefficients has been read.
    seen: bool,
}

struct Frame {
    progressive: bool,
    components: Vec<Component>,
    /// Number of interleaved units, across and down.
    units: [usize; 2],
}

#[derive(Default)]
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    direct: [Option<Table>; 4],
    alternating: [Option<Table>; 4],
    restart: usize,
    frame: Option<Frame>,
    /// Whether some part of the picture cannot be followed.
    unknown: bool,
}

/// The settings of a scan.
struct Scan {
    /// For each component: its index, and the indices of its DC and AC tables.
    parts: Vec<(usize, usize, usize)>,
    first: usize,
    last: usize,
    refines: bool,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        loop {
            // Bytes that are not a marker are skipped, as decoders do.
            let Some(at) = marker(self.bytes, self.at) else {
                return self.without_end();
            };
            self.at = at + 2;
            match self.bytes[at + 1] {
                0xd9 => return self.end(),
                0x01 | 0xd0..=0xd8 => {}
                kind => {
                    let len = self.bytes.get(self.at..self.at + 2).ok_or(Fault::Ended)?;
                    let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
                    let body = self.bytes.get(self.at + 2..self.at + len.max(2)).ok_or(Fault::Ended)?;
                    self.at += len.max(2);
                    match kind {
                        0xc4 => self.tables(body),
                        0xc0..=0xc2 => self.frame(body, kind == 0xc2),
                        0xc3 | 0xc5..=0xcf => self.unknown = true,
                        0xdd => self.restart = body.first_chunk().map_or(0, |n| u16::from_be_bytes(*n).into()),
                        0xda => self.scan(body)?,
                        _ => {}
                    }
                }
            }
        }
    }

    /// At the end marker: every component must have been read.
    fn end(&self) -> Result<(), Fault> {
        let missing = self.frame.as_ref().is_some_and(|frame| frame.components.iter().any(|c| !c.seen));
        if missing && !self.unknown { Err(Fault::Ended) } else { Ok(()) }
    }

    /// At the end of the file without an end marker: valid only if all codes have been followed and no byte is left.
    fn without_end(&self) -> Result<(), Fault> {
        let sequential = self.frame.as_ref().is_some_and(|frame| !frame.progressive);
        let left = self.bytes.len().saturating_sub(self.at);
        if self.unknown || !sequential || left > 2 { Err(Fault::Ended) } else { self.end() }
    }

    fn tables(&mut self, mut body: &[u8]) {
        while let Some((&[kind], rest)) = body.split_first_chunk() {
            let Some((counts, rest)) = rest.split_first_chunk::<16>() else { return };
            let len: usize = counts.iter().map(|&n| usize::from(n)).sum();
            let Some((symbols, rest)) = rest.split_at_checked(len) else { return };
            let tables = if kind >> 4 == 0 { &mut self.direct } else { &mut self.alternating };
            if let Some(table) = tables.get_mut(usize::from(kind & 15)) {
                *table = Some(Table::new(counts, symbols));
            }
            body = rest;
        }
    }

    fn frame(&mut self, body: &[u8], progressive: bool) {
        let &[_, h1, h0, w1, w0, count, ref parts @ ..] = body else {
            self.unknown = true;
            return;
        };
        let (height, width) = (usize::from(u16::from_be_bytes([h1, h0])), usize::from(u16::from_be_bytes([w1, w0])));
        let (parts, _) = parts.as_chunks::<3>();
        let sampling: Vec<[usize; 2]> =
            parts.iter().map(|part| [usize::from(part[1] >> 4), usize::from(part[1] & 15)]).collect();
        let sound = sampling.iter().flatten().all(|n| (1..=4).contains(n));
        if height * width == 0 || parts.is_empty() || parts.len() != usize::from(count) || !sound {
            self.unknown = true;
            return;
        }
        let largest = [0, 1].map(|axis| sampling.iter().map(|s| s[axis]).max().unwrap_or(1));
        let sizes = [width, height];
        let components = parts.iter().zip(&sampling).map(|(part, &sampling)| {
            let blocks = [0, 1].map(|axis| (sizes[axis] * sampling[axis]).div_ceil(8 * largest[axis]));
            let known = if progressive { vec![0; blocks[0] * blocks[1]] } else { Vec::new() };
            Component { id: part[0], sampling, blocks, known, seen: false }
        });
        let units = [0, 1].map(|axis| sizes[axis].div_ceil(8 * largest[axis]));
        self.frame = Some(Frame { progressive, components: components.collect(), units });
    }

    /// Follows a scan, or skips it.
    fn scan(&mut self, body: &[u8]) -> Result<(), Fault> {
        if self.unknown {
            return Ok(());
        }
        let Some(scan) = self.settings(body) else {
            self.unknown = true;
            return Ok(());
        };
        self.follow(&scan)
    }

    /// The settings of a scan; `None` if the scan cannot be followed.
    fn settings(&self, body: &[u8]) -> Option<Scan> {
        let frame = self.frame.as_ref()?;
        let (&count, rest) = body.split_first()?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[first, last, steps, ..] = rest else { return None };
        let (parts, _) = parts.as_chunks::<2>();
        let parts: Vec<(usize, usize, usize)> = parts
            .iter()
            .map(|[id, tables]| {
                let place = frame.components.iter().position(|c| c.id == *id)?;
                Some((place, usize::from(tables >> 4), usize::from(tables & 15)))
            })
            .collect::<Option<_>>()?;
        let scan = Scan { parts, first: first.into(), last: last.into(), refines: steps >> 4 != 0 };
        let has = |tables: &[Option<Table>; 4], at: usize| tables.get(at).is_some_and(Option::is_some);
        let sound = scan.parts.iter().all(|&(_, direct, alternating)| {
            let (first, later) = (has(&self.direct, direct), has(&self.alternating, alternating));
            match (frame.progressive, scan.first) {
                (false, _) => first && later,
                (true, 0) => scan.last == 0 && (first || scan.refines),
                (true, _) => later && scan.last <= 63 && scan.parts.len() == 1,
            }
        });
        (sound && !scan.parts.is_empty()).then_some(scan)
    }

    fn follow(&mut self, scan: &Scan) -> Result<(), Fault> {
        let Self { bytes, at, direct, alternating, restart, frame, .. } = self;
        let frame = frame.as_mut().expect("the scan was checked against it");
        let mut bits = Bits { bytes, at: *at, ahead: 0, count: 0 };
        let alone = scan.parts.len() == 1;
        let [across, down] = if alone { frame.components[scan.parts[0].0].blocks } else { frame.units };
        let mut end_of_bands = 0;
        for unit in 0..across * down {
            if *restart > 0 && unit > 0 && unit % *restart == 0 {
                bits.restart()?;
                end_of_bands = 0;
            }
            for &(place, d, a) in &scan.parts {
                let component = &mut frame.components[place];
                let blocks = if alone { 1 } else { component.sampling[0] * component.sampling[1] };
                let (d, a) = (direct.get(d).and_then(Option::as_ref), alternating.get(a).and_then(Option::as_ref));
                for _ in 0..blocks {
                    match (frame.progressive, scan.first, d, a) {
                        (false, _, Some(d), Some(a)) => sequential(&mut bits, d, a)?,
                        (true, 0, _, _) if scan.refines => {
                            bits.bits(1)?;
                        }
                        (true, 0, Some(d), _) => {
                            let size = bits.symbol(d)?;
                            bits.bits(u32::from(size).min(16))?;
                        }
                        (true, 1.., _, Some(a)) => {
                            let known = &mut component.known[unit];
                            if scan.refines {
                                refined(&mut bits, a, scan, known, &mut end_of_bands)?;
                            } else {
                                first(&mut bits, a, scan, known, &mut end_of_bands)?;
                            }
                        }
                        (false | true, ..) => unreachable!("the scan was checked to have its tables"),
                    }
                }
            }
        }
        for &(place, ..) in &scan.parts {
            frame.components[place].seen |= scan.first == 0;
        }
        // Whole bytes that were read ahead but not used are returned.
        *at = bits.at - (bits.count / 8) as usize;
        Ok(())
    }
}

/// All coefficients of a block (sequential mode).
fn sequential(bits: &mut Bits, direct: &Table, alternating: &Table) -> Result<(), Fault> {
    let size = bits.symbol(direct)?;
    bits.bits(u32::from(size).min(16))?;
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(alternating)?;
        let (run, size) = (symbol >> 4, symbol & 15);
        if size == 0 && run < 15 {
            break;
        }
        bits.bits(size.into())?;
        k += u32::from(run) + 1;
    }
    Ok(())
}

/// A band of coefficients in its first scan (progressive mode).
fn first(bits: &mut Bits, table: &Table, scan: &Scan, known: &mut u64, bands: &mut u32) -> Result<(), Fault> {
    if *bands > 0 {
        *bands -= 1;
        return Ok(());
    }
    let mut k = scan.first;
    while k <= scan.last {
        let symbol = bits.symbol(table)?;
        let (run, size) = (symbol >> 4, symbol & 15);
        if size == 0 && run < 15 {
            *bands = (1 << run) - 1 + bits.bits(run.into())?;
            break;
        }
        k += usize::from(run);
        if size > 0 {
            bits.bits(size.into())?;
            *known |= 1_u64.checked_shl(k as u32).unwrap_or(0);
        }
        k += 1;
    }
    Ok(())
}

/// One more bit for the coefficients of a band (progressive mode).
fn refined(bits: &mut Bits, table: &Table, scan: &Scan, known: &mut u64, bands: &mut u32) -> Result<(), Fault> {
    let mut k = scan.first;
    if *bands == 0 {
        while k <= scan.last {
            let symbol = bits.symbol(table)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            if size == 0 && run < 15 {
                *bands = (1 << run) + bits.bits(run.into())?;
                break;
            }
            if size > 0 {
                bits.bits(1)?;
            }
            while k <= scan.last {
                if *known >> k & 1 == 1 {
                    bits.bits(1)?;
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                k += 1;
            }
            if size > 0 && k <= scan.last {
                *known |= 1 << k;
            }
            k += 1;
        }
    }
    if *bands > 0 {
        for _ in (k..=scan.last).filter(|&k| *known >> k & 1 == 1) {
            bits.bits(1)?;
        }
        *bands -= 1;
    }
    Ok(())
}
