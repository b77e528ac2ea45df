//! Tiles: groups of neighbouring outputs with a joined window, so that a matrix product has more than a few rows.

use std::ops::Range;

use super::axis::Interval;
use super::panel::GROUP;
use super::plan::ConePlan;

/// Side lengths of tiles that are tried.
const SIDES: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// Outputs whose windows at a level are joined to one rectangle of the map.
#[derive(Debug, Clone)]
pub(super) struct Tile {
    pub(super) ranks: Vec<usize>,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Tile {
    /// Number of positions of the joined window.
    pub(super) fn area(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// Tiles in one row of tiles.
#[derive(Debug, Clone)]
pub(super) struct TileRow {
    pub(super) rows: Range<usize>,
    pub(super) tiles: Vec<Tile>,
}

/// The tiles of a level, from the top row of the map.
///
/// Every tile size and offset is tried, outputs with equal windows are merged, and the cheapest tiling is kept. `cost(n)` is
/// the cost of one position with n outputs.
pub(super) fn tile_rows(plan: &ConePlan, level: usize, cost: impl Fn(usize) -> f64) -> Vec<TileRow> {
    let [vertical, horizontal] = [candidates(plan, level, 0), candidates(plan, level, 1)];
    let channels = plan.map(plan.layers().len())[2];
    let pairs = vertical.iter().flat_map(|v| horizontal.iter().map(move |h| (v, h)));
    let total = |(v, h): &(&Groups, &Groups)| -> f64 {
        let tiles = v.joined.iter().flat_map(|v| h.joined.iter().map(move |h| (v, h)));
        let area = |v: &Joined, h: &Joined| (v.count * v.width * h.count * h.width) as f64;
        tiles.map(|(v, h)| area(v, h) * cost(v.members * h.members * channels)).sum()
    };
    let cheapest = pairs.min_by(|a, b| total(a).total_cmp(&total(b)));
    let Some((vertical, horizontal)) = cheapest else { return Vec::new() };
    let columns = horizontal.count();
    let mut tiles: Vec<Option<Tile>> = vec![None; vertical.count() * columns];
    for (rank, output) in plan.outputs().iter().enumerate() {
        let [rows, cols] = plan.clipped(level, rank);
        if rows.is_empty() || cols.is_empty() {
            continue;
        }
        let slot = &mut tiles[vertical.group[output.y] * columns + horizontal.group[output.x]];
        let tile = slot.get_or_insert_with(|| Tile { ranks: Vec::new(), rows: rows.clone(), columns: cols.clone() });
        tile.ranks.push(rank);
        tile.rows = tile.rows.start.min(rows.start)..tile.rows.end.max(rows.end);
        tile.columns = tile.columns.start.min(cols.start)..tile.columns.end.max(cols.end);
    }
    tiles.chunks_mut(columns).filter_map(|row| tile_row(row.iter_mut().filter_map(Option::take).collect())).collect()
}

fn tile_row(tiles: Vec<Tile>) -> Option<TileRow> {
    let start = tiles.iter().map(|tile| tile.rows.start).min()?;
    let end = tiles.iter().map(|tile| tile.rows.end).max()?;
    Some(TileRow { rows: start..end, tiles })
}

/// Time of a product with `rows` rows in a tile, per entry of the other side, in multiply-adds. Rows are processed in
/// groups; the constant is for reading and summing.
pub(super) fn product_cost(rows: usize) -> f64 {
    2.0 + (rows.div_ceil(GROUP) * GROUP) as f64
}

/// One way to group the positions of the last map along an axis.
struct Groups {
    /// Group of each position.
    group: Vec<usize>,
    /// All groups, equal ones counted together.
    joined: Vec<Joined>,
}

/// Groups with the same size; there are few kinds even if there are many groups.
struct Joined {
    /// Number of such groups.
    count: usize,
    /// Number of selected positions in a group.
    members: usize,
    /// Width of the joined window.
    width: usize,
}

impl Groups {
    fn count(&self) -> usize {
        self.group.last().map_or(0, |last| last + 1)
    }
}

fn candidates(plan: &ConePlan, level: usize, axis: usize) -> Vec<Groups> {
    let positions = plan.map(plan.layers().len())[axis];
    let size = plan.map(level)[axis];
    let mut selected = vec![None; positions];
    for (rank, output) in plan.outputs().iter().enumerate() {
        selected[[output.y, output.x][axis]] = Some(plan.window(level, rank)[axis]);
    }
    let sides = SIDES.iter().flat_map(|&side| (0..side).map(move |phase| (side, phase)));
    let sides = sides.map(|(side, phase)| (0..positions).map(|at| (at + phase) / side).collect());
    sides.chain([equal(&selected, size)]).map(|group| joined(&selected, size, group)).collect()
}

/// Groups neighbours whose windows contain the same positions of the map. A position that is not selected joins the group
/// before it.
fn equal(selected: &[Option<Interval>], size: usize) -> Vec<usize> {
    let (mut groups, mut group, mut last) = (Vec::with_capacity(selected.len()), 0, None);
    for window in selected {
        if let Some(window) = window.map(|window| window.clip(size)) {
            group += usize::from(last.as_ref().is_some_and(|last| *last != window));
            last = Some(window);
        }
        groups.push(group);
    }
    groups
}

fn joined(selected: &[Option<Interval>], size: usize, group: Vec<usize>) -> Groups {
    let count = group.last().map_or(0, |last| last + 1);
    let mut joined = vec![(usize::MAX, 0_usize, 0); count];
    for (at, window) in selected.iter().enumerate() {
        let Some(window) = window.map(|window| window.clip(size)) else { continue };
        let (start, end, members) = &mut joined[group[at]];
        *members += 1;
        if !window.is_empty() {
            (*start, *end) = ((*start).min(window.start), (*end).max(window.end));
        }
    }
    let mut kinds: Vec<Joined> = Vec::new();
    for (start, end, members) in joined {
        let width = end.saturating_sub(start);
        match kinds.iter_mut().find(|kind| (kind.members, kind.width) == (members, width)) {
            Some(kind) => kind.count += 1,
            None => kinds.push(Joined { count: 1, members, width }),
        }
    }
    Groups { group, joined: kinds }
}
