//! Kernels between samples: summed over the outputs, or for each output separately.

use rayon::prelude::*;

use super::band::{Band, band, rectangle, shifts};
use super::chain::Chain;
use super::gemm::{Matrix, axpy, product_transposed};
use super::plan::{ConePlan, Piece};
use super::pull::{Windows, pull};
use super::real::Real;
use super::weights::PullWeights;

/// Parts of a kernel between samples: each is `[N1, N2]` if traced, `[N1, N2, O]` if diagonal.
#[derive(Debug, Clone, PartialEq)]
pub struct ConeSums {
    /// Part of the weights of each layer.
    pub weights: Vec<Vec<f64>>,
    /// Part of the biases of each layer.
    pub bias: Vec<Vec<f64>>,
    /// `sum_q <delta_r[q], delta_r'[q]>` at the input of the chain: the kernel of the layers below, without their own
    /// factors.
    pub input: Vec<f64>,
}

impl ConeSums {
    fn zeros(layers: usize, len: usize) -> Self {
        Self { weights: vec![vec![0.0; len]; layers], bias: vec![vec![0.0; len]; layers], input: vec![0.0; len] }
    }

    /// The sum of the parts of all weights and biases of the chain (without `input`).
    pub fn total(&self) -> Vec<f64> {
        let mut total = vec![0.0; self.input.len()];
        for part in self.weights.iter().chain(&self.bias) {
            for (total, value) in total.iter_mut().zip(part) {
                *total += value;
            }
        }
        total
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Vec<f64>> {
        self.weights.iter_mut().chain(&mut self.bias).chain([&mut self.input])
    }
}

/// `Theta[n, n'] = sum_o Theta[(n, o), (n', o)]` over the outputs of a plan, for one batch or between two batches with the
/// same weights.
pub fn traced<T: Real>(plan: &ConePlan, first: &Chain<'_, T>, second: Option<&Chain<'_, T>>) -> ConeSums {
    let job = Job::new(plan, first, second, false);
    let pairs = job.pairs();
    let mut sums = ConeSums::zeros(plan.layers().len(), pairs);
    // Summed in the order of the pieces, so that the result does not depend on the threads.
    for mut piece in job.pieces().into_iter().map(|(_, sums)| sums) {
        for (sum, part) in sums.parts_mut().zip(piece.parts_mut()) {
            for (sum, &part) in sum.iter_mut().zip(part.iter()) {
                *sum += part;
            }
        }
    }
    sums
}

/// `Theta[n, n', o] = Theta[(n, o), (n', o)]` for each output of a plan, in the order of the selection.
pub fn diagonal<T: Real>(plan: &ConePlan, first: &Chain<'_, T>, second: Option<&Chain<'_, T>>) -> ConeSums {
    let job = Job::new(plan, first, second, true);
    let pairs = job.pairs();
    let mut sums = ConeSums::zeros(plan.layers().len(), pairs * plan.len());
    for (piece, mut blocks) in job.pieces() {
        for (sum, part) in sums.parts_mut().zip(blocks.parts_mut()) {
            for (&rank, block) in piece.ranks.iter().zip(part.chunks(pairs)) {
                for (pair, &value) in block.iter().enumerate() {
                    sum[pair * plan.len() + plan.order()[rank]] = value;
                }
            }
        }
    }
    sums
}

/// Data shared by the pieces.
struct Job<'a, T: Clone> {
    plan: &'a ConePlan,
    chains: [&'a Chain<'a, T>; 2],
    symmetric: bool,
    /// Whether outputs are kept separate.
    apart: bool,
    weights: Vec<PullWeights<'a, T>>,
    /// Bands of each layer.
    bands: Vec<Vec<Band<T>>>,
}

impl<'a, T: Real> Job<'a, T> {
    fn new(plan: &'a ConePlan, first: &'a Chain<'a, T>, second: Option<&'a Chain<'a, T>>, apart: bool) -> Self {
        let chains = [first, second.unwrap_or(first)];
        let symmetric = second.is_none();
        let samples = chains.map(Chain::samples);
        let bands = (1..=plan.layers().len()).map(|level| {
            let (layers, rectangle) = (chains.map(|chain| &chain.layers()[level - 1]), rectangle(plan, level));
            let shifts = shifts(plan, level, symmetric);
            shifts.into_iter().map(|shift| band(layers, samples, &rectangle, shift)).collect()
        });
        let bands = bands.collect();
        let weights = first.layers().iter().map(PullWeights::new).collect();
        Self { plan, chains, symmetric, apart, weights, bands }
    }

    fn pairs(&self) -> usize {
        self.chains[0].samples() * self.chains[1].samples()
    }

    fn pieces(&self) -> Vec<(Piece<'_>, ConeSums)> {
        let samples = self.chains[0].samples().max(self.chains[1].samples());
        let pieces = self.plan.pieces(samples).into_par_iter();
        pieces.map(|piece| (piece, self.piece(piece))).collect()
    }

    fn piece(&self, piece: Piece<'_>) -> ConeSums {
        let first = pull(self.chains[0], &self.weights, piece, 0);
        let second = (!self.symmetric).then(|| pull(self.chains[1], &self.weights, piece, 0));
        let windows = [&first, second.as_ref().unwrap_or(&first)];
        let layers = self.plan.layers().len();
        let blocks = if self.apart { piece.ranks.len() } else { 1 };
        let mut sums = ConeSums::zeros(layers, blocks * self.pairs());
        self.unit(piece, &mut sums);
        for level in 1..layers {
            self.hidden_weights(piece, level, windows, &mut sums.weights[level - 1]);
            self.hidden_bias(piece, level, windows, &mut sums.bias[level - 1]);
        }
        self.input(piece, windows, &mut sums.input);
        sums
    }

    /// The part of `sums` for one output of a piece.
    fn block<'s>(&self, sums: &'s mut [f64], local: usize) -> &'s mut [f64] {
        let at = if self.apart { local * self.pairs() } else { 0 };
        &mut sums[at..at + self.pairs()]
    }

    /// Adds the part of the last layer, where a cotangent is a single number.
    fn unit(&self, piece: Piece<'_>, sums: &mut ConeSums) {
        let last = self.plan.layers().len() - 1;
        let bias = self.chains[0].layers()[last].bias_square();
        // The window of the last level is a single position, so its only shift is zero.
        let [band] = &self.bands[last][..] else { unreachable!("a window of one position has one shift") };
        for (local, &rank) in piece.ranks.iter().enumerate() {
            let output = self.plan.outputs()[rank];
            let place = [output.y, output.x];
            let derivatives = self.chains.map(|chain| {
                let of = |n| chain.output_derivative(n, place, output.channel).double();
                (0..chain.samples()).map(of).collect::<Vec<_>>()
            });
            let gamma = band.at(place).chunks(derivatives[1].len());
            for (n, (&d1, gamma)) in derivatives[0].iter().zip(gamma).enumerate() {
                for (m, (&d2, gamma)) in derivatives[1].iter().zip(gamma).enumerate() {
                    let pair = n * derivatives[1].len() + m;
                    self.block(&mut sums.weights[last], local)[pair] += d1 * d2 * gamma.double();
                    self.block(&mut sums.bias[last], local)[pair] += d1 * d2 * bias;
                }
            }
        }
    }

    /// Adds `sum_{j, d} Gamma_d[u + j] <delta[j], delta'[j + d]>` over the window.
    fn hidden_weights(&self, piece: Piece<'_>, level: usize, windows: [&Windows<T>; 2], sums: &mut [f64]) {
        let ([h, w], c) = (piece.size(level), self.plan.map(level)[2]);
        let mut dots = vec![T::default(); self.pairs()];
        for band in &self.bands[level - 1] {
            let mirrored = self.symmetric && band.shift != [0, 0];
            for j in 0..h {
                let Some(j2) = j.checked_add_signed(band.shift[0]).filter(|&j2| j2 < h) else { continue };
                for i in 0..w {
                    let Some(i2) = i.checked_add_signed(band.shift[1]).filter(|&i2| i2 < w) else { continue };
                    for (local, &rank) in piece.ranks.iter().enumerate() {
                        let places = (piece.place(level, rank, j, i), piece.place(level, rank, j2, i2));
                        let (Some(place), Some(_)) = places else { continue };
                        let part = |side: usize, at: usize| {
                            let (n, stride) = (self.chains[side].samples(), h * w * c);
                            let data = &windows[side].levels[level][local * n * stride + at * c..];
                            Matrix { data, rows: n, columns: c, stride }
                        };
                        product_transposed(&mut dots, false, part(0, j * w + i), part(1, j2 * w + i2));
                        self.add(self.block(sums, local), band.at(place), &dots, mirrored);
                    }
                }
            }
        }
    }

    /// Adds `gamma dots`, and its transpose too if `mirrored` is true.
    fn add(&self, block: &mut [f64], gamma: &[T], dots: &[T], mirrored: bool) {
        let n2 = self.chains[1].samples();
        for (pair, (gamma, dot)) in gamma.iter().zip(dots).enumerate() {
            let value = gamma.double() * dot.double();
            block[pair] += value;
            if mirrored {
                block[pair % n2 * n2 + pair / n2] += value;
            }
        }
    }

    /// Adds `beta^2 <sum_j delta[j], sum_j delta'[j]>`.
    fn hidden_bias(&self, piece: Piece<'_>, level: usize, windows: [&Windows<T>; 2], sums: &mut [f64]) {
        let ([h, w], c) = (piece.size(level), self.plan.map(level)[2]);
        let square = self.chains[0].layers()[level - 1].bias_square();
        if square == 0.0 || h * w == 0 {
            return;
        }
        let mut dots = vec![T::default(); self.pairs()];
        let totals = [0, 1].map(|side| totals(&windows[side].levels[level], h * w, c));
        for local in 0..piece.ranks.len() {
            let [a, b] = [0, 1].map(|side| {
                let n = self.chains[side].samples();
                Matrix::new(&totals[side][local * n * c..][..n * c], n, c)
            });
            product_transposed(&mut dots, false, a, b);
            for (sum, dot) in self.block(sums, local).iter_mut().zip(&dots) {
                *sum += square * dot.double();
            }
        }
    }

    /// Adds `sum_q <delta[q], delta'[q]>` at the input of the chain.
    fn input(&self, piece: Piece<'_>, windows: [&Windows<T>; 2], sums: &mut [f64]) {
        let ([h, w], c) = (piece.size(0), self.plan.map(0)[2]);
        let len = h * w * c;
        let mut dots = vec![T::default(); self.pairs()];
        for local in 0..piece.ranks.len() {
            let part = |side: usize| {
                let n = self.chains[side].samples();
                Matrix::new(&windows[side].levels[0][local * n * len..][..n * len], n, len)
            };
            product_transposed(&mut dots, false, part(0), part(1));
            for (sum, dot) in self.block(sums, local).iter_mut().zip(&dots) {
                *sum += dot.double();
            }
        }
    }
}

/// Windows `[positions, c]` summed over their positions: `[windows, c]`.
fn totals<T: Real>(windows: &[T], positions: usize, channels: usize) -> Vec<T> {
    let mut totals = vec![T::default(); windows.len() / positions];
    for (total, window) in totals.chunks_mut(channels).zip(windows.chunks(positions * channels)) {
        window.chunks(channels).for_each(|values| axpy(total, T::of(1.0), values));
    }
    totals
}
