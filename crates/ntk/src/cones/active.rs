//! Active channels: channels in which the cotangents of a sample are not zero for all outputs.

use std::ops::Range;

use super::chain::Chain;
use super::real::Real;

/// For each position of a level, the channels whose derivative is not zero. After a rectifier these are about half of the
/// channels, the same for every output, so products of cotangents are half as long.
pub(super) struct Active {
    /// The channels of each position, one position after the other; `None` if all channels of all positions are active.
    channels: Option<Vec<u32>>,
    /// Start of the channels of each position, and the end of the last.
    starts: Vec<usize>,
    width: usize,
}

impl Active {
    /// Active channels of one sample.
    pub(super) fn new<T: Real>(chain: &Chain<'_, T>, level: usize, sample: usize) -> Self {
        Self::where_all(chain, level, &[chain.derivative_of(level, sample)])
    }

    /// Channels that are active in both of two samples.
    pub(super) fn both<T: Real>(chains: [&Chain<'_, T>; 2], level: usize, samples: [usize; 2]) -> Self {
        let derivatives = [0, 1].map(|side| chains[side].derivative_of(level, samples[side]));
        Self::where_all(chains[0], level, &derivatives)
    }

    /// Channels in which no derivative is zero.
    fn where_all<T: Real>(chain: &Chain<'_, T>, level: usize, derivatives: &[Option<&[T]>]) -> Self {
        let [h, w, c] = chain.map(level);
        let derivatives: Vec<&[T]> = derivatives.iter().copied().flatten().collect();
        let mut channels = Vec::new();
        let mut starts = Vec::with_capacity(h * w + 1);
        for position in 0..h * w {
            starts.push(channels.len());
            let here = position * c..(position + 1) * c;
            let alive = |at: &usize| derivatives.iter().all(|derivative| derivative[*at] != T::default());
            channels.extend(here.clone().filter(alive).map(|at| (at - here.start) as u32));
        }
        starts.push(channels.len());
        // Selecting channels costs more than it saves if only a few can be left out.
        if channels.len() * 8 > h * w * c * 7 {
            return Self { channels: None, starts: (0..=h * w).map(|position| position * c).collect(), width: w };
        }
        Self { channels: Some(channels), starts, width: w }
    }

    /// Start of the channels of a position among the active channels of its row of the map.
    pub(super) fn start(&self, y: usize, x: usize) -> usize {
        self.starts[y * self.width + x] - self.starts[y * self.width]
    }

    /// Number of active channels in a range of columns of row `y`.
    pub(super) fn count(&self, y: usize, columns: &Range<usize>) -> usize {
        self.starts[y * self.width + columns.end] - self.starts[y * self.width + columns.start]
    }

    /// The active channels of a position; `None` stands for all channels.
    pub(super) fn at(&self, y: usize, x: usize) -> Option<&[u32]> {
        let at = y * self.width + x;
        self.channels.as_ref().map(|channels| &channels[self.starts[at]..self.starts[at + 1]])
    }
}
