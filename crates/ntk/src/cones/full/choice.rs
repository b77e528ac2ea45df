//! Chooses the fastest of three methods for the kernel of a layer, and counts its cost.

use super::super::geometry::{Geometry, LayerKind};
use super::super::patches::{Positions, patch_len};
use super::super::plan::ConePlan;
use super::super::tiles::{TileRow, product_cost, tile_rows};
use super::input::panel_cost;
use super::pairs;
use super::tiled::OUTPUTS;

/// Time per entry of the patch Gram matrix and pair of outputs, in units of one multiply-add; measured.
const PAIR: f64 = 100.0;

/// Time to push one number of a cotangent to one position, in the same unit.
const PUSH: f64 = 10.0;

/// Method for the kernel of a hidden layer.
pub(super) enum Method {
    /// Position by position, for a layer that reads a single position, so that no two of its outputs share a weight.
    Positions,
    /// Each pair of positions of two windows separately; best for windows that are hardly larger than the stride.
    Pairs,
    /// Cotangents of one side are pushed through the patch Gram matrix and multiplied with tiles of the other side.
    Tiles(Vec<TileRow>),
}

impl Method {
    /// The fastest method for the layer whose output is `level`.
    pub(super) fn new(plans: [&ConePlan; 2], level: usize) -> Self {
        let Geometry { kind, input: [height, width, _], .. } = plans[0].layers()[level - 1];
        if kind == LayerKind::Deconv && [height, width] == [1, 1] {
            return Self::Positions;
        }
        let ([h, w, c], outputs) = (plans[1].map(level), plans[0].len() as f64);
        let rows = tile_rows(plans[1], level, product_cost);
        let tiles = rows.iter().flat_map(|row| &row.tiles);
        let tiles = tiles.map(|tile| tile.area() as f64 * product_cost(tile.ranks.len()));
        let tiles = (tiles.sum::<f64>() + PUSH * (h * w) as f64) * outputs * c as f64;
        if pairs::count(plans, level) * (c as f64 + PAIR) < tiles { Self::Pairs } else { Self::Tiles(rows) }
    }
}

/// Multiply-adds between all outputs of one pair of samples, and the number of values held meanwhile. `below` says whether
/// there is a term at the input of the chain.
pub(in super::super) fn contraction(plans: [&ConePlan; 2], below: bool) -> (f64, f64) {
    let levels = plans[0].layers().len();
    let (mut cost, mut held) = if below { (positions(plans, 0), lanes(plans, 0)) } else { (0.0, 0.0) };
    for level in 1..=levels {
        let (gram, patches) = gram(plans, level);
        let c = plans[0].map(level)[2] as f64;
        cost += gram;
        if level == levels {
            held = held.max(patches);
            continue;
        }
        let [h, w, _] = plans[1].map(level);
        let outputs = plans[0].len() as f64;
        match Method::new(plans, level) {
            Method::Positions => {
                cost += positions(plans, level) + (plans[0].len() * plans[1].len()) as f64 * c;
                held = held.max(lanes(plans, level));
            }
            Method::Pairs => {
                cost += pairs::count(plans, level) * c;
                held = held.max(patches + windows(plans[0], level) + windows(plans[1], level));
            }
            Method::Tiles(rows) => {
                let tiles = rows.iter().flat_map(|row| &row.tiles);
                let products: usize = tiles.map(|tile| tile.area() * tile.ranks.len()).sum();
                let [sy, sx] = plans[0].layers()[level - 1].modulus();
                cost += products as f64 * outputs * c + windows(plans[0], level) * (h * w) as f64 / (sy * sx) as f64;
                // Memory of each thread: its panels, and their values pushed onto a row of tiles.
                let strips = rows.iter().map(|row| row.rows.len()).max().unwrap_or(0);
                let panels = OUTPUTS.min(plans[0].len()) as f64;
                let own = panels * ((strips * w) as f64 * c + windows(plans[0], level) / outputs);
                held = held.max(patches + products as f64 * c + own * rayon::current_num_threads() as f64);
            }
        }
    }
    (cost, held)
}

/// Multiply-adds of the patch Gram matrix of a level, and the number of values in its patches and entries.
fn gram(plans: [&ConePlan; 2], level: usize) -> (f64, f64) {
    let layer = &plans[0].layers()[level - 1];
    let positions = plans.map(|plan| Positions::new(plan, level));
    let (mut cost, mut held) = (0.0, 0.0);
    for class in 0..positions[0].classes().len() {
        let [a, b] = [0, 1].map(|side| positions[side].classes()[class].len() as f64);
        let len = patch_len(layer, positions[0].modulus(), class) as f64;
        cost += a * b * len;
        held += a * b + (a + b) * len;
    }
    (cost, held)
}

/// Multiply-adds of a level with the method `Positions`.
fn positions(plans: [&ConePlan; 2], level: usize) -> f64 {
    let [h, w, c] = plans[0].map(level);
    let holders = plans.map(|plan| {
        let mut holders = vec![0.0; h * w];
        for rank in 0..plan.len() {
            let [rows, columns] = plan.clipped(level, rank);
            for y in rows {
                holders[y * w..][columns.clone()].iter_mut().for_each(|count| *count += 1.0);
            }
        }
        holders
    });
    holders[0].iter().zip(&holders[1]).map(|(a, b)| a * b).sum::<f64>() * c as f64
}

/// Number of values held for a level with the method `Positions`: tiles of one side, and for each thread some panels of the
/// other side.
fn lanes(plans: [&ConePlan; 2], level: usize) -> f64 {
    let tiles = |plan, cost: &dyn Fn(usize) -> f64| {
        let tiles = tile_rows(plan, level, cost).into_iter().flat_map(|row| row.tiles);
        tiles.map(|tile| (tile.area() as f64, tile.ranks.len())).collect::<Vec<_>>()
    };
    let joined: f64 = tiles(plans[1], &product_cost).iter().map(|(area, ranks)| area * product_cost(*ranks)).sum();
    let largest = tiles(plans[0], &panel_cost).iter().fold(0.0_f64, |most, (area, _)| most.max(*area));
    let own = largest * OUTPUTS as f64 * rayon::current_num_threads() as f64;
    (joined + own) * plans[0].map(level)[2] as f64
}

/// Number of values in the windows of all outputs at a level.
fn windows(plan: &ConePlan, level: usize) -> f64 {
    let area = |rank: usize| plan.window(level, rank).iter().map(|window| window.len as f64).product::<f64>();
    (0..plan.len()).map(area).sum::<f64>() * plan.map(level)[2] as f64
}
