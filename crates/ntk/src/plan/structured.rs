//! The cost of structured derivatives: cones, pullbacks through whole maps, and a sum for each layer.

use fintan_config::{Layer, Node, Parameters};
use fintan_net::{ConvTail, TailInput};

use super::cost::Cost;
use super::counter::{Counter, Extent, SCATTERED};
use super::{LayerPlan, TileSize};
use crate::cones;
use crate::contraction::Sizes;
use crate::kernel::Entries;
use crate::method::Method;
use crate::pixels::plan_of;

/// Time of a multiply-add on cones.
const ON_CONES: f64 = 2.0;

/// Time to call a product of a few values.
const CALL: f64 = 2500.0;

impl Counter<'_> {
    /// Cost of a tile by structured derivatives.
    pub(super) fn structured(&self, extent: Extent) -> Cost {
        let mut cost = Cost::default();
        let Some(tail) = &self.tail else {
            self.add_maps(&mut cost, &self.nodes, extent);
            return cost;
        };
        self.add_cones(&mut cost, tail, extent);
        if matches!(tail.below, TailInput::Layers) {
            let first = tail.layers[0].parameter / 2;
            let at = self.nodes.iter().position(|node| node.index == Some(first)).unwrap_or(0);
            self.add_maps(&mut cost, &self.nodes[..at], extent);
        }
        cost
    }

    /// Adds the cost of the convolutions on cones.
    fn add_cones(&self, cost: &mut Cost, tail: &ConvTail, extent: Extent) {
        let (problem, size) = (self.problem, self.number as usize);
        let Extent { samples: [n1, n2], outputs, apart, distinct } = extent;
        // Outputs from the middle, because the cones of corner pixels are cut off at the border.
        let start = (problem.outputs().len() - outputs) / 2;
        let plan = plan_of(problem, tail, &(start..start + outputs));
        let carried = !matches!(tail.below, TailInput::Nothing);
        let cones = match problem.entries() {
            Entries::Full => cones::full_cost(&plan, distinct.then_some(&plan), [n1, n2], size, carried),
            Entries::Traced | Entries::Diagonal => cones::sums_cost(&plan, [n1, n2], !distinct, size),
        };
        // The host's loops read copies of the parameters and tapes.
        let copies = self.number * self.parameters() + self.tapes(if apart { n1 + n2 } else { n1 });
        cost.bytes += cones.bytes + copies;
        cost.operations += cones.total();
        cost.time += ON_CONES * cones.total() + CALL * cones.calls;
        cost.write(copies / self.number);
    }

    /// Adds the cost of pullbacks through the whole maps of `nodes` and of the sums of their layers.
    fn add_maps(&self, cost: &mut Cost, nodes: &[&Node], extent: Extent) {
        let problem = self.problem;
        let Extent { samples: [n1, n2], outputs, distinct, .. } = extent;
        let rows = [(0, n1), (1, n2)].map(|(side, n)| {
            let spans = if problem.is_coupled() { problem.side(side).x.dims()[0] } else { 1 };
            (outputs * n * spans) as f64
        });
        let (most, walked) = if distinct { (rows[0].max(rows[1]), rows[0] + rows[1]) } else { (rows[0], rows[0]) };
        let (mut widest, mut kept) = (0.0_f64, 0.0);
        for (i, node) in nodes.iter().enumerate() {
            let mut here = most * of_row(node);
            cost.write(walked * of_row(node));
            if node.index.is_some() {
                let sizes = self.sizes_of(node, extent);
                let order = sizes.order();
                cost.multiply(sizes.operations(order));
                here += sizes.held(order, self.number as usize);
                kept += sizes.cotangents(0);
                if matches!(node.layer, Layer::Conv(_)) {
                    let [one, other] = sizes.sides.map(|[_, groups, _, sites, _]| (groups * sites * sizes.k) as f64);
                    // Patches of the inputs.
                    here += one.max(other);
                    kept += one;
                }
                if i > 0 && node.fan_in().is_some() {
                    cost.multiply(walked * (node.weight_count() * node.weight_sites()) as f64);
                }
            }
            // The forward pass of these samples needs patches too.
            widest = widest.max(here).max(self.passed(extent) as f64 * patches(node));
        }
        // The first side is kept until the second has been computed.
        cost.bytes += SCATTERED * self.number * (widest + if distinct { kept } else { 0.0 });
        if !nodes.is_empty() {
            // For a layer: its products, their reordered copy, and the products of its biases.
            let entries = 3.0 * self.entries(extent);
            cost.bytes += 8.0 * entries;
            cost.write(entries * nodes.iter().filter(|node| node.index.is_some()).count() as f64);
        }
    }

    /// The shapes of the sum of a layer's weights.
    pub(super) fn sizes_of(&self, node: &Node, extent: Extent) -> Sizes {
        let sides = [0, 1].map(|side| self.dims(node, extent, side));
        Sizes { sides, k: inputs(node), distinct: extent.distinct }
    }

    /// `[b, groups, i, sites, C]` of a layer's weights on one side.
    fn dims(&self, node: &Node, extent: Extent, side: usize) -> [usize; 5] {
        let (n, t, batch) = (extent.samples[side], extent.outputs, self.problem.side(side).x.dims()[0]);
        // C: the outputs, or, for a transposed convolution, patches of the outputs.
        let (sites, c) = match node.parameters {
            Parameters::Linear { weights, sites, .. } => (sites, weights / inputs(node)),
            Parameters::Affine { count } => (1, count),
            Parameters::None => (1, 0),
        };
        let full = self.problem.entries() == Entries::Full;
        match (full, self.problem.is_coupled()) {
            (true, false) => [1, n, t, sites, c],
            (false, false) => [t, n, 1, sites, c],
            (true, true) => [1, 1, t * n, batch * sites, c],
            (false, true) => [t, 1, n, batch * sites, c],
        }
    }

    /// How the part of each layer with parameters is computed.
    pub(super) fn layers(&self, method: Method, tile: TileSize<usize>) -> Vec<LayerPlan> {
        let on_cones: Vec<usize> = match (&self.tail, method) {
            (Some(tail), Method::Structured) => tail.layers.iter().map(|layer| layer.parameter / 2).collect(),
            _ => Vec::new(),
        };
        let extent = Extent::largest(tile, self.problem);
        let with_parameters = self.nodes.iter().filter_map(|node| node.index.map(|index| (index, node)));
        with_parameters
            .map(|(index, node)| {
                let order = match method {
                    Method::Structured if on_cones.contains(&index) => "cones",
                    Method::Structured => self.sizes_of(node, extent).order().name(),
                    Method::NtkVectorProducts | Method::JacobianContraction => method.name(),
                };
                LayerPlan { index, layer: node.layer.name(), order }
            })
            .collect()
    }
}

/// Number of values that a pullback through a layer holds at a time, for each row and sample.
pub(super) fn of_row(node: &Node) -> f64 {
    let (input, output) = (node.input.len() as f64, node.output.len() as f64);
    if node.layer.properties().is_norm {
        // Cotangents, their products with the scale and with x̂, and the steps that subtract means.
        return 6.0 * output;
    }
    // Patches of cotangents, before they are summed or after they are extracted.
    input + 2.0 * output + patches(node)
}

/// K of a layer's weights.
fn inputs(node: &Node) -> usize {
    match (node.parameters, &node.layer) {
        (Parameters::Linear { weights, biases, .. }, Layer::Conv(_)) => weights / biases,
        (Parameters::Linear { .. }, _) => node.input.channels,
        (Parameters::None | Parameters::Affine { .. }, _) => 1,
    }
}

/// Number of values in the patches of the larger map of a convolution.
fn patches(node: &Node) -> f64 {
    let small = if let Layer::Conv(conv) = &node.layer {
        conv.out
    } else if let Layer::Deconv(_) = &node.layer {
        node.input.channels
    } else {
        return 0.0;
    };
    (node.weight_sites() * node.weight_count() / small) as f64
}
