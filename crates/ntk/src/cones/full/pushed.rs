//! Pushes the cotangents of a panel of outputs through the patch Gram matrix to single positions of the map.

use pulp::Simd;

use super::super::active::Active;
use super::super::cotangents::ConeCotangents;
use super::super::gemm::{Loop, simd};
use super::super::panel::VECTORS;
use super::super::patches::Positions;
use super::super::real::Real;

/// One position in the window of each output of a panel; all of these positions belong to one residue class.
struct Slot<T, const P: usize> {
    /// For each output, the index of the position in its class; `None` if the window does not contain such a position.
    places: [Option<usize>; P],
    /// `[c]`
    cotangents: Vec<[T; P]>,
}

/// Outputs of consecutive ranks, interleaved, for one sample. Unused lanes contain zeros.
pub(super) struct Panel<T, const P: usize> {
    /// For each residue class.
    slots: Vec<Vec<Slot<T, P>>>,
    /// `beta^2 sum_u delta_r[u]`: `[c]`.
    bias: Vec<[T; P]>,
}

/// The patch Gram matrix between two samples, one from each side.
pub(super) struct Gram<'g, T> {
    /// For each residue class.
    pub(super) values: &'g [Vec<T>],
    /// Positions of the side that is pushed, and of the other side.
    pub(super) positions: [&'g Positions; 2],
}

impl<T: Real, const P: usize> Panel<T, P> {
    /// Collects at most `P` outputs, starting with rank `first`. `bias` is ordered by rank; it is empty if there is no bias.
    pub(super) fn new(
        side: &ConeCotangents<'_, T>,
        positions: &Positions,
        (level, sample): (usize, usize),
        first: usize,
        bias: &[T],
    ) -> Self {
        let (plan, modulus) = (side.plan(), positions.modulus());
        let c = plan.map(level)[2];
        let ranks = first..plan.len().min(first + P);
        let mut slots: Vec<Vec<Option<Slot<T, P>>>> = Vec::new();
        slots.resize_with(positions.classes().len(), Vec::new);
        let mut totals = vec![[T::default(); P]; c];
        // The largest number of positions of one residue class in a row of a window.
        let width = ranks.clone().map(|rank| plan.window(level, rank)[1].len.div_ceil(modulus[1])).max().unwrap_or(0);
        for (lane, rank) in ranks.enumerate() {
            let top = plan.clipped(level, rank)[0].start;
            side.for_each_row(level, rank, sample, |y, left, values| {
                for (x, values) in (left..).zip(values.chunks(c)) {
                    let at = (y - top) / modulus[0] * width + (x - left) / modulus[1];
                    let slots = &mut slots[positions.class([y, x])];
                    if slots.len() <= at {
                        slots.resize_with(at + 1, || None);
                    }
                    let empty = || Slot { places: [None; P], cotangents: vec![[T::default(); P]; c] };
                    let slot = slots[at].get_or_insert_with(empty);
                    slot.places[lane] = Some(positions.index([y, x]));
                    for (to, &value) in slot.cotangents.iter_mut().zip(values) {
                        to[lane] = value;
                    }
                }
            });
            for (to, &value) in totals.iter_mut().zip(bias.get(rank * c..).unwrap_or_default()) {
                to[lane] = value;
            }
        }
        Self { slots: slots.into_iter().map(|class| class.into_iter().flatten().collect()).collect(), bias: totals }
    }

    /// `Z_r[u'] = sum_{u in W(r)} (Gamma[u, u'] + beta^2) delta_r[u]` for all positions `u'` in row `y` of the map, in the
    /// active channels of each position.
    pub(super) fn push(&self, gram: &Gram<'_, T>, columns: usize, (y, active): (usize, &Active)) -> Vec<[T; P]> {
        let mut pushed = vec![[T::default(); P]; active.count(y, &(0..columns))];
        let mut terms = Vec::new();
        for x in 0..columns {
            // At positions that no target window contains, the result is not used.
            if !gram.positions[1].is_held([y, x]) {
                continue;
            }
            let (class, place) = (gram.positions[1].class([y, x]), gram.positions[1].index([y, x]));
            let width = gram.positions[1].classes()[class].len();
            let entry = |at: Option<usize>| at.map_or(T::default(), |at| gram.values[class][at * width + place]);
            terms.clear();
            terms.extend(self.slots[class].iter().map(|slot| (slot.places.map(entry), &slot.cotangents[..])));
            let start = active.start(y, x);
            let to = &mut pushed[start..start + active.count(y, &(x..x + 1))];
            simd(Combine { to, bias: &self.bias, terms: &terms, channels: active.at(y, x) });
        }
        pushed
    }
}

/// The loop `to = bias + sum_i gamma_i delta_i`, in some or all channels.
struct Combine<'v, T, const P: usize> {
    to: &'v mut [[T; P]],
    bias: &'v [[T; P]],
    terms: &'v [([T; P], &'v [[T; P]])],
    channels: Option<&'v [u32]>,
}

impl<T: Real, const P: usize> Loop for Combine<'_, T, P> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for i in 0..self.to.len() {
            let c = match self.channels {
                Some(channels) => channels[i] as usize,
                None => i,
            };
            let (bias, to) = (T::vectors::<S>(&self.bias[c]), T::vectors_mut::<S>(&mut self.to[i]));
            for start in (0..to.len()).step_by(VECTORS) {
                let mut sums = [T::splat(simd, T::default()); VECTORS];
                sums.copy_from_slice(&bias[start..start + VECTORS]);
                for term in 0..self.terms.len() {
                    let gamma = &T::vectors::<S>(&self.terms[term].0)[start..start + VECTORS];
                    let delta = &T::vectors::<S>(&self.terms[term].1[c])[start..start + VECTORS];
                    for j in 0..VECTORS {
                        sums[j] = T::fused(simd, gamma[j], delta[j], sums[j]);
                    }
                }
                to[start..start + VECTORS].copy_from_slice(&sums);
            }
        }
    }
}
