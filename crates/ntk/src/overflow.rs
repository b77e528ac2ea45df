//! Finds out why a kernel with finite inputs and weights is not finite.

use std::ops::Range;

use crate::kernel::KernelParts;
use crate::problem::KernelRequest;

/// The place at which the values of a kernel overflow. Layers are counted from 0.
///
/// ```
/// let overflow = fintan_ntk::Overflow::Output { index: 2, layer: "dense", precision: "f32" };
/// assert_eq!(overflow.to_string(), "the kernel is not finite: the output of layer 2 (`dense`) overflows f32");
/// assert!(!overflow.is_double_precision());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Overflow {
    /// In the forward pass.
    #[error("the kernel is not finite: the output of layer {index} (`{layer}`) overflows {precision}")]
    Output {
        /// Index in the list of layers.
        index: usize,
        /// Name of the layer.
        layer: &'static str,
        /// `f32` or `f64`.
        precision: &'static str,
    },
    /// In the pullback.
    #[error(
        "the kernel is not finite: derivatives of the outputs in the input of layer {index} (`{layer}`) overflow {precision}"
    )]
    Cotangent {
        /// Index in the list of layers.
        index: usize,
        /// Name of the layer.
        layer: &'static str,
        /// `f32` or `f64`.
        precision: &'static str,
    },
    /// In the products of derivatives; the derivatives themselves are finite.
    #[error("the kernel is not finite: sums of products of derivatives overflow {precision}{}", .of.as_deref().unwrap_or(""))]
    Products {
        /// A text that names the part of the kernel, for the message.
        of: Option<String>,
        /// `f32` or `f64`.
        precision: &'static str,
    },
}

/// Number of rows of cotangents that are checked at a time.
const ROWS: usize = 16;

impl Overflow {
    /// Whether the kernel was computed in f64.
    #[must_use]
    pub fn is_double_precision(&self) -> bool {
        let (Self::Output { precision, .. } | Self::Cotangent { precision, .. } | Self::Products { precision, .. }) =
            self;
        *precision == "f64"
    }

    /// Finds the place by repeating the passes, sample by sample unless samples are coupled.
    #[must_use]
    pub fn of(problem: &KernelRequest, kernel: Option<&KernelParts>) -> Self {
        let precision = if problem.is_double_precision() { "f64" } else { "f32" };
        let name = |index: usize| problem.network().architecture().nodes[index].layer.name();
        let sides = problem.sides.len();
        for side in 0..sides {
            for one in pieces(problem, side) {
                let side = side.min(one.sides.len() - 1);
                if let Some(index) = one.network.first_infinite_output(one.side(side).x.clone(), one.mode) {
                    return Self::Output { index, layer: name(index), precision };
                }
                for start in (0..one.outputs.len()).step_by(ROWS) {
                    let seeds = one.seeds(side, &(start..one.outputs.len().min(start + ROWS)));
                    if let Some(index) = one.network.first_infinite_cotangent(one.tape(side), seeds) {
                        return Self::Cotangent { index, layer: name(index), precision };
                    }
                }
            }
        }
        let part = kernel.and_then(|kernel| kernel.parts.iter().find(|part| !part.values.is_finite()));
        let of = part.filter(|part| part.name != "ntk").map(|part| format!(" in the part of `{}`", part.name));
        Self::Products { of, precision }
    }
}

/// The problem divided into single samples of one side, or undivided.
fn pieces(problem: &KernelRequest, side: usize) -> Vec<KernelRequest> {
    if problem.is_coupled() {
        return vec![problem.clone()];
    }
    let one = |i: usize| -> Range<usize> { i..i + 1 };
    let n = problem.samples();
    (0..n[side])
        .map(|i| {
            let others = |other: usize| if other == side || problem.is_symmetric() { one(i) } else { one(0) };
            problem.restricted_to(&[others(0), others(1)])
        })
        .collect()
}
