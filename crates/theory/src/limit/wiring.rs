//! The connections of a linear layer: which input reaches which output, and by which tap of the weights.

use fintan_config::{Convolution, Node, Pair, Transform};

/// The position graph of a dense, convolutional or transposed convolutional layer. Its edges lead from a parent q to a child
/// p; each edge has the tap whose weights it uses. Two edges share weights if and only if they have the same tap.
#[derive(Debug)]
pub(super) struct Wiring {
    /// For each output position: (tap, parent).
    pub(super) parents: Vec<Vec<(usize, usize)>>,
    /// For each tap: (child, parent).
    pub(super) edges: Vec<Vec<(usize, usize)>>,
}

impl Wiring {
    /// The graph of a linear layer whose input has `positions` positions (more than one before a dense layer: a flattened
    /// image).
    pub(super) fn of(node: &Node, positions: usize) -> Self {
        let mut wiring = match node.transform() {
            Transform::Conv(c) => Self::windows(node, &c, false),
            Transform::Deconv(c) => Self::windows(node, &c, true),
            // A dense layer has a tap for each position.
            Transform::Dense
            | Transform::Pointwise(_)
            | Transform::BatchNorm(_)
            | Transform::LayerNorm(_)
            | Transform::Reshape
            | Transform::Positions(_)
            | Transform::Residual { .. } => {
                Self { parents: vec![(0..positions).map(|q| (q, q)).collect()], edges: Vec::new() }
            }
        };
        let taps = wiring.parents.iter().flatten().map(|&(tap, _)| tap + 1).max().unwrap_or(0);
        wiring.edges = vec![Vec::new(); taps];
        for (p, parents) in wiring.parents.iter().enumerate() {
            for &(tap, q) in parents {
                wiring.edges[tap].push((p, q));
            }
        }
        wiring
    }

    fn windows(node: &Node, c: &Convolution, transposed: bool) -> Self {
        let (input, output) = (node.input, node.output);
        let (Pair(kernel), Pair(stride), Pair(padding)) = (c.kernel, c.stride, c.padding);
        // Along one axis, (tap, parent) of each output.
        let along = |axis: usize, len: usize, out: usize| -> Vec<Vec<(usize, usize)>> {
            let (k, s, pad) = (kernel[axis], stride[axis], padding[axis]);
            (0..out)
                .map(|p| {
                    (0..k)
                        .filter_map(|tap| {
                            let parent = if transposed {
                                let offset = (p + pad).checked_sub(tap)?;
                                (offset % s == 0).then_some(offset / s)?
                            } else {
                                (s * p + tap).checked_sub(pad)?
                            };
                            (parent < len).then_some((tap, parent))
                        })
                        .collect()
                })
                .collect()
        };
        let rows = along(0, input.height, output.height);
        let columns = along(1, input.width, output.width);
        let parents = rows
            .iter()
            .flat_map(|row| {
                columns.iter().map(move |column| {
                    let pairs = row.iter().flat_map(|&(ky, y)| {
                        column.iter().map(move |&(kx, x)| (ky * kernel[1] + kx, y * input.width + x))
                    });
                    pairs.collect()
                })
            })
            .collect();
        Self { parents, edges: Vec::new() }
    }
}
