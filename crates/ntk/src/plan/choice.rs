//! The choice of a method, of the size of tiles, and of the convolutions on cones.

use super::cost::Cost;
use super::counter::{Counter, Extent};
use super::{MOST_TILES, TileSize, most};
use crate::method::Method;
use crate::pixels::have_cones;
use crate::problem::KernelRequest;

/// Time to start a tile and to write it to the disk.
const TILE: f64 = 1e8;

/// The problem with one sample, to find the convolutions that can use cones. Shapes do not depend on the samples.
pub(super) fn one_sample(problem: &KernelRequest) -> Option<KernelRequest> {
    have_cones(problem).then(|| problem.restricted_to(&[0..1, 0..1]))
}

/// Largest size in bytes of whole maps that may replace cones. Larger maps are limited by memory bandwidth and slower than
/// counted.
const MAPS: f64 = 256e6;

/// The best number of last convolutions on cones. It is all of them, unless cones grow until they cover their maps; then
/// they are many small products, and whole maps are a few large ones.
pub(crate) fn convolutions_on_cones(problem: &KernelRequest) -> usize {
    let Some(one) = one_sample(problem) else { return 0 };
    let tail = |most: usize| one.network().conv_tail(one.tape(0), most);
    let all = tail(usize::MAX).map_or(0, |tail| tail.layers.len());
    let samples = problem.samples();
    let size = TileSize { samples: samples[0].max(samples[1]), outputs: problem.outputs().len() };
    let cost = |layers: usize| Counter::with(problem, tail(layers)).structured(Extent::largest(size, problem));
    // If several are equally fast, the largest number is taken, because cones need less memory.
    let costs = (0..=all).rev().map(|layers| (layers, cost(layers)));
    let costs = costs.filter(|(layers, cost)| *layers == all || cost.bytes <= MAPS);
    costs.min_by(|a, b| a.1.time.total_cmp(&b.1.time)).map_or(0, |(layers, _)| layers)
}

impl Counter<'_> {
    pub(super) fn cheapest(&self) -> Method {
        let (problem, samples) = (self.problem, self.problem.samples());
        let whole = TileSize { samples: samples[0].max(samples[1]), outputs: problem.outputs().len() };
        let time = |method: Method| self.tile(method, Extent::largest(whole, problem)).time;
        [Method::Structured, Method::NtkVectorProducts, Method::JacobianContraction]
            .into_iter()
            .min_by(|&a, &b| time(a).total_cmp(&time(b)))
            .expect("three methods")
    }

    /// Numbers of samples per tile that are tried: all samples in 1, 2, 3, 4, 6, 8, 12, 16, .. pieces.
    fn sizes(&self, wanted: TileSize) -> Vec<usize> {
        let samples = self.problem.samples().into_iter().max().unwrap_or(1);
        let pieces = std::iter::successors(Some(1), |&n: &usize| Some(n + ((1 << n.ilog2()) / 2).max(1)));
        let sizes = pieces.take_while(|&n| n < 2 * samples).map(|n| wanted.samples.unwrap_or(samples.div_ceil(n)));
        let mut sizes: Vec<usize> = sizes.collect();
        sizes.dedup();
        sizes
    }

    /// The smallest number of bytes for which a plan exists.
    pub(super) fn least(&self, method: Method, wanted: TileSize) -> f64 {
        let all = self.problem.outputs().len();
        let needs = self.sizes(wanted).into_iter().filter_map(|samples| {
            let size = |outputs: usize| TileSize { samples, outputs };
            let halves = (0..=all.ilog2()).map(|p| all >> p);
            let few = halves.filter(|&outputs| self.problem.shape().count(size(outputs)) <= MOST_TILES);
            let outputs = if wanted.outputs.is_some() { wanted.outputs } else { few.min() };
            outputs.map(|outputs| self.needs(method, size(outputs)))
        });
        needs.fold(f64::INFINITY, f64::min)
    }

    /// The size of the fastest tiles that fit, and the cost of all tiles.
    pub(super) fn fastest(&self, method: Method, memory: f64, wanted: TileSize) -> Option<(TileSize<usize>, Cost)> {
        let all = self.problem.outputs().len();
        let mut best: Option<(TileSize<usize>, Cost)> = None;
        for samples in self.sizes(wanted) {
            let few = |outputs: usize| self.problem.shape().count(TileSize { samples, outputs }) <= MOST_TILES;
            let fits = |outputs: usize| {
                let size = TileSize { samples, outputs };
                self.needs(method, size) <= memory && self.on_device(method, size)
            };
            let fitting = wanted.outputs.map_or_else(|| most(all, fits), |n| fits(n).then_some(n)).filter(|&n| few(n));
            let Some(size) = fitting.map(|outputs| TileSize { samples, outputs }) else { continue };
            let cost = self.all(method, size);
            if best.is_none_or(|(_, fastest)| cost.time < fastest.time) {
                best = Some((size, cost));
            }
            if size.outputs == wanted.outputs.unwrap_or(all) {
                // Fewer samples would only repeat more work.
                break;
            }
        }
        best
    }

    /// Cost of all tiles of a size, including forward passes.
    fn all(&self, method: Method, size: TileSize<usize>) -> Cost {
        let mut known: Vec<(Extent, Cost)> = Vec::new();
        let mut sum = Cost::default();
        let mut passed = if self.problem.is_coupled() { self.batch() } else { 0 };
        let mut before = None;
        for tile in self.problem.shape().tiles(size) {
            let extent = Extent::of(&tile, self.problem);
            if before.as_ref() != Some(&tile.samples) {
                passed += self.passed(extent);
            }
            let seen = known.iter().find(|(of, _)| *of == extent).map(|(_, cost)| *cost);
            let cost = seen.unwrap_or_else(|| {
                let cost = self.tile(method, extent);
                known.push((extent, cost));
                cost
            });
            sum.operations += cost.operations;
            sum.time += TILE + cost.time;
            before = Some(tile.samples);
        }
        sum.multiply(passed as f64 * self.forward());
        sum.write(self.tapes(passed) / self.number);
        sum
    }
}
