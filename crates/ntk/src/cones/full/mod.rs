//! The kernel of all pairs of sample and output.

mod choice;
mod hidden;
mod input;
mod lanes;
mod mirror;
mod pairs;
mod pushed;
mod rows;
mod tiled;
mod totals;
mod unit;

use super::cotangents::Cotangents;
use super::plan::Plan;
use super::real::Real;
pub(super) use choice::contraction;
use mirror::{mirror, transpose};
use rows::Block;
pub use rows::Layout;

/// What lies below the chain, if it acts on every position of the chain's input alike (a dense layer that is
/// reshaped): its kernel is `(factor[n, n'] + bias) sum_q <delta_r[q], delta_r'[q]>`.
#[derive(Debug, Clone, Copy)]
pub struct InputTerm<'f> {
    /// `[N1, N2]`: Gram matrix of that layer's inputs, with its scale squared.
    pub factor: &'f [f64],
    /// Its `beta^2`.
    pub bias: f64,
}

/// Kernels of single layers, each `[N1 O1, N2 O2]` like [`Target::Sum`].
#[derive(Debug)]
pub struct PartBuffers<'k, T> {
    /// By the weights and by the bias of each layer.
    pub layers: Vec<[&'k mut [T]; 2]>,
    /// By the weights and by the bias of what lies below; used if there is an [`InputTerm`].
    pub input: Option<[&'k mut [T]; 2]>,
}

/// Where a kernel is added.
#[derive(Debug)]
pub enum Target<'k, T> {
    /// Everything into one matrix.
    Sum(&'k mut [T]),
    /// Each part into its own.
    Parts(PartBuffers<'k, T>),
}

/// Adds the kernel `Theta[(n, o), (n', o')]` to row-major matrices `[N1 O1, N2 O2]`, rows sample by sample and in the
/// order of the selection.
///
/// The two sides share weights; samples and outputs may differ, so that a kernel can be made in blocks. Without a
/// second side it is that of the first with itself: half of it is computed and then mirrored, so the matrices must be
/// symmetric before.
///
/// # Panics
///
/// If a matrix is too small, or there are not as many as layers.
pub fn full<T: Real>(
    first: &Cotangents<'_, T>,
    second: Option<&Cotangents<'_, T>>,
    input: Option<InputTerm<'_>>,
    target: Target<'_, T>,
) {
    let plans = [first, second.unwrap_or(first)].map(Cotangents::plan);
    let layout = Layout::matrix(plans.map(Plan::len), second.unwrap_or(first).chain().samples());
    full_at(layout, first, second, input, target);
}

/// The full kernel, written into slices where it begins at another place.
///
/// # Panics
///
/// If a slice ends before its kernel, or there are not as many as layers.
pub fn full_at<T: Real>(
    layout: Layout,
    first: &Cotangents<'_, T>,
    second: Option<&Cotangents<'_, T>>,
    input: Option<InputTerm<'_>>,
    target: Target<'_, T>,
) {
    // From a thread of the pool: another one would go to sleep and be woken for each of many small pieces of work.
    rayon::scope(|_| add(&Block::new(first, second, layout), input, target));
}

fn add<T: Real>(block: &Block<'_, '_, T>, input: Option<InputTerm<'_>>, target: Target<'_, T>) {
    let layers = block.sides[0].chain().layers().len();
    match target {
        Target::Sum(kernel) => {
            block.check(kernel);
            for layer in 0..layers {
                block.add_layer(layer, [true, true], kernel);
            }
            if let Some(term) = input {
                block.add_input(term.factor, term.bias, kernel);
            }
            block.finish(kernel);
        }
        Target::Parts(parts) => {
            assert_eq!(parts.layers.len(), layers, "a pair of matrices a layer");
            for (layer, kernels) in parts.layers.into_iter().enumerate() {
                for (part, kernel) in kernels.into_iter().enumerate() {
                    block.check(kernel);
                    block.add_layer(layer, [part == 0, part == 1], kernel);
                    block.finish(kernel);
                }
            }
            if let (Some(term), Some([weights, bias])) = (input, parts.input) {
                let biases = vec![term.bias; term.factor.len()];
                for (kernel, factor) in [(weights, term.factor), (bias, &biases)] {
                    block.check(kernel);
                    block.add_input(factor, 0.0, kernel);
                    block.finish(kernel);
                }
            }
        }
    }
}

impl<T: Real> Block<'_, '_, T> {
    /// Adds the kernel by the weights and (or) the bias of one layer.
    fn add_layer(&self, layer: usize, [weights, bias]: [bool; 2], kernel: &mut [T]) {
        let level = layer + 1;
        let last = level == self.sides[0].plan().layers().len();
        match (last, weights) {
            (true, _) => {
                if weights {
                    self.add_unit_weights(kernel);
                }
                if bias {
                    self.add_unit_bias(kernel);
                }
            }
            (false, true) => self.add_hidden(level, bias, kernel),
            (false, false) => self.add_hidden_bias(level, kernel),
        }
    }

    fn check(&self, kernel: &[T]) {
        assert!(self.end().is_none_or(|end| end <= kernel.len()), "a kernel of all rows and columns");
    }

    /// Fills in the other half of a symmetric kernel.
    fn finish(&self, kernel: &mut [T]) {
        if !self.symmetric {
            return;
        }
        let (samples, order) = (self.sides[0].chain().samples(), self.sides[0].plan().order());
        // By rank: before the diagonal in this order nothing is known.
        for n in 0..samples {
            mirror(&mut self.rows_of(kernel, n, n), order);
            for m in n + 1..samples {
                let [upper, mut lower] = self.rows_of_both(kernel, n, m);
                transpose(&upper, &mut lower, order, order);
            }
        }
    }
}
