//! Channels in which a sample's cotangents are not zero for all outputs.

use std::ops::Range;

use super::chain::Chain;
use super::real::Real;

/// By position of a level the channels that are worth a product: those whose derivative is not zero. Behind a rectifier
/// about half of them, the same for every output, so that products of cotangents are half as long.
pub(super) struct Active {
    /// Channels, position by position; none if all channels of all positions are.
    channels: Option<Vec<u32>>,
    /// Where the channels of each position begin, and of one more.
    starts: Vec<usize>,
    width: usize,
}

impl Active {
    /// Channels of one sample.
    pub(super) fn new<T: Real>(chain: &Chain<'_, T>, level: usize, sample: usize) -> Self {
        Self::where_all(chain, level, &[chain.derivative_of(level, sample)])
    }

    /// Channels in which the products of two samples are not zero.
    pub(super) fn both<T: Real>(chains: [&Chain<'_, T>; 2], level: usize, samples: [usize; 2]) -> Self {
        let derivatives = [0, 1].map(|side| chains[side].derivative_of(level, samples[side]));
        Self::where_all(chains[0], level, &derivatives)
    }

    /// Those in which none of the derivatives is zero.
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
        // Picking out a few less costs more than their products.
        if channels.len() * 8 > h * w * c * 7 {
            return Self { channels: None, starts: (0..=h * w).map(|position| position * c).collect(), width: w };
        }
        Self { channels: Some(channels), starts, width: w }
    }

    /// Where the channels of a position begin among those of its row of the map.
    pub(super) fn start(&self, y: usize, x: usize) -> usize {
        self.starts[y * self.width + x] - self.starts[y * self.width]
    }

    /// Number of channels of neighbouring positions in a row of the map.
    pub(super) fn count(&self, y: usize, columns: &Range<usize>) -> usize {
        self.starts[y * self.width + columns.end] - self.starts[y * self.width + columns.start]
    }

    /// The channels of a position; none stands for all.
    pub(super) fn at(&self, y: usize, x: usize) -> Option<&[u32]> {
        let at = y * self.width + x;
        self.channels.as_ref().map(|channels| &channels[self.starts[at]..self.starts[at + 1]])
    }
}
