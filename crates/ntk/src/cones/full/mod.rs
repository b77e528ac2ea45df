//! The kernel of all pairs (sample, output).

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

use super::cotangents::ConeCotangents;
use super::plan::ConePlan;
use super::real::Real;
pub(super) use choice::contraction;
use mirror::{mirror, transpose};
use rows::Block;
pub use rows::Layout;

/// A layer below the chain that acts in the same way on every position of the chain's input (a dense layer with a reshape).
/// Its kernel is `(factor[n, n'] + bias) sum_q <delta_r[q], delta_r'[q]>`.
#[derive(Debug, Clone, Copy)]
pub struct InputTerm<'f> {
    /// `[N1, N2]`: Gram matrix of the inputs of that layer, times the square of its scale.
    pub factor: &'f [f64],
    /// `beta^2` of that layer.
    pub bias: f64,
}

/// Kernels of single layers, each `[N1 O1, N2 O2]` like [`Target::Sum`].
#[derive(Debug)]
pub struct PartBuffers<'k, T> {
    /// Parts of the weights and of the bias of each layer.
    pub layers: Vec<[&'k mut [T]; 2]>,
    /// Parts of the weights and of the bias of the layer below; used if there is an [`InputTerm`].
    pub input: Option<[&'k mut [T]; 2]>,
}

/// The memory to which a kernel is added.
#[derive(Debug)]
pub enum Target<'k, T> {
    /// One matrix for the sum of all parts.
    Sum(&'k mut [T]),
    /// A separate matrix for each part.
    Parts(PartBuffers<'k, T>),
}

/// Adds the kernel `Theta[(n, o), (n', o')]` to row-major matrices `[N1 O1, N2 O2]`. Rows are ordered by sample, then in the
/// order of the selection.
///
/// The two sides must share weights; samples and outputs may differ, so that a kernel can be computed in blocks. Without a
/// second side, the kernel is that of the first side with itself. Half of it is computed and then mirrored, so the matrices
/// must be symmetric before the call.
///
/// # Panics
///
/// If a matrix is too small, or if the number of matrices and the number of layers differ.
pub fn full<T: Real>(
    first: &ConeCotangents<'_, T>,
    second: Option<&ConeCotangents<'_, T>>,
    input: Option<InputTerm<'_>>,
    target: Target<'_, T>,
) {
    let plans = [first, second.unwrap_or(first)].map(ConeCotangents::plan);
    let layout = Layout::matrix(plans.map(ConePlan::len), second.unwrap_or(first).chain().samples());
    full_at(layout, first, second, input, target);
}

/// Adds the full kernel to slices in which it has the position given by `layout`.
///
/// # Panics
///
/// If a slice is too short for its kernel, or if the number of slices and the number of layers differ.
pub fn full_at<T: Real>(
    layout: Layout,
    first: &ConeCotangents<'_, T>,
    second: Option<&ConeCotangents<'_, T>>,
    input: Option<InputTerm<'_>>,
    target: Target<'_, T>,
) {
    // Called within the thread pool: a thread outside the pool would sleep and be woken for each of many small tasks.
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
    /// Adds the parts of the weights, of the bias, or of both, of one layer.
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

    /// Fills the other half of a symmetric kernel.
    fn finish(&self, kernel: &mut [T]) {
        if !self.symmetric {
            return;
        }
        let (samples, order) = (self.sides[0].chain().samples(), self.sides[0].plan().order());
        // Outputs are in the order of ranks: in this order the entries before the diagonal have not been computed.
        for n in 0..samples {
            mirror(&mut self.rows_of(kernel, n, n), order);
            for m in n + 1..samples {
                let [upper, mut lower] = self.rows_of_both(kernel, n, m);
                transpose(&upper, &mut lower, order, order);
            }
        }
    }
}
