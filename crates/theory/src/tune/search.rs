//! Numeric search: the nearest solution of an equation, or the smallest change that satisfies a bound.

use super::TuneError;
use crate::root::root;

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Found {
    /// A solution.
    At(f64),
    /// There is no solution; the distance is smallest here.
    Nearest(f64),
}

/// A function whose value is NaN if it cannot be computed.
pub(super) type Miss<'a> = &'a dyn Fn(f64) -> Result<f64, TuneError>;

/// An ascending grid with the function's values.
pub(super) struct Grid {
    at: Vec<f64>,
    miss: Vec<f64>,
    present: f64,
    /// Whether distances are measured as ratios.
    ratios: bool,
}

impl Grid {
    pub(super) fn new(mut at: Vec<f64>, present: f64, ratios: bool, miss: Miss) -> Result<Self, TuneError> {
        let present = present.clamp(at[0], at[at.len() - 1]);
        if let Err(place) = at.binary_search_by(|x| x.total_cmp(&present)) {
            at.insert(place, present);
        }
        let miss = at.iter().map(|&x| miss(x)).collect::<Result<_, _>>()?;
        Ok(Self { at, miss, present, ratios })
    }

    fn distance(&self, x: f64) -> f64 {
        if self.ratios { (x / self.present).ln().abs() } else { (x - self.present).abs() }
    }

    /// Whether the function is constant.
    pub(super) fn is_flat(&self) -> bool {
        let (low, high) = self.miss.iter().fold((f64::MAX, f64::MIN), |(low, high), &m| (low.min(m), high.max(m)));
        high - low < 1e-12
    }

    /// The root nearest to the present setting.
    pub(super) fn equal(&self, miss: Miss) -> Result<Found, TuneError> {
        let mut best: Option<f64> = None;
        for (x, m) in self.at.windows(2).zip(self.miss.windows(2)) {
            let found = if m[0] == 0.0 {
                Some(x[0])
            } else if m[0] * m[1] <= 0.0 {
                root(miss, [x[0], x[1]], 1e-15)?
            } else {
                None
            };
            best = [best, found].into_iter().flatten().min_by(|a, b| self.distance(*a).total_cmp(&self.distance(*b)));
        }
        match best {
            Some(x) => Ok(Found::At(x)),
            None => self.smallest(&|x| Ok(miss(x)?.abs())).map(Found::Nearest),
        }
    }

    /// The point nearest to the present setting at which the function is at most 0, rounded to few digits.
    pub(super) fn at_most(&self, miss: Miss) -> Result<Found, TuneError> {
        let here = self.at.iter().position(|&x| x == self.present).unwrap_or(0);
        let kept = |&i: &usize| self.miss[i] <= 0.0;
        let up = (here..self.at.len()).find(kept).map(|i| (i.max(1) - 1, i));
        let down = (0..=here).rev().find(kept).map(|i| (i + 1, i));
        let mut best: Option<f64> = None;
        for (before, i) in [up, down].into_iter().flatten() {
            let found = if i == here { self.at[i] } else { boundary(miss, self.at[before], self.at[i])? };
            best = [best, Some(found)]
                .into_iter()
                .flatten()
                .min_by(|a, b| self.distance(*a).total_cmp(&self.distance(*b)));
        }
        if let Some(x) = best {
            return Ok(Found::At(x));
        }
        let x = self.smallest(miss)?;
        Ok(if miss(x)? <= 0.0 { Found::At(x) } else { Found::Nearest(x) })
    }

    /// The minimum of `height`, by golden section search around the minimum on the grid.
    fn smallest(&self, height: Miss) -> Result<f64, TuneError> {
        let heights = self.at.iter().map(|&x| height(x)).collect::<Result<Vec<_>, _>>()?;
        let number = |i: &usize| !heights[*i].is_nan();
        let Some(i) = (0..heights.len()).filter(number).min_by(|&a, &b| heights[a].total_cmp(&heights[b])) else {
            return Ok(self.present);
        };
        let (mut low, mut high) = (self.at[i.max(1) - 1], self.at[(i + 1).min(self.at.len() - 1)]);
        let (mut best, mut least) = (self.at[i], heights[i]);
        let section = 0.5 * (5.0_f64.sqrt() - 1.0);
        for _ in 0..40 {
            let (a, b) = (high - section * (high - low), low + section * (high - low));
            let (at_a, at_b) = (height(a)?, height(b)?);
            for (x, value) in [(a, at_a), (b, at_b)] {
                if value < least {
                    (best, least) = (x, value);
                }
            }
            if at_a <= at_b {
                high = b;
            } else {
                low = a;
            }
        }
        Ok(best)
    }
}

/// The point between `above` and `below` where the function reaches 0, moved slightly further to have few digits.
fn boundary(miss: Miss, above: f64, below: f64) -> Result<f64, TuneError> {
    let ends = [above.min(below), above.max(below)];
    let Some(edge) = root(miss, ends, 1e-10)? else { return Ok(below) };
    for digits in 4..=12 {
        let x = rounded(edge, digits, below > above);
        if (ends[0]..=ends[1]).contains(&x) && miss(x)? <= 0.0 {
            return Ok(x);
        }
    }
    Ok(below)
}

/// Rounds to a number of digits, up or down.
fn rounded(x: f64, digits: i32, up: bool) -> f64 {
    if x == 0.0 {
        return x;
    }
    let unit = 10.0_f64.powi(x.abs().log10().floor() as i32 + 1 - digits);
    let whole = if up { (x / unit).ceil() } else { (x / unit).floor() };
    // Through decimal text, so that 0.2317 is printed as such.
    format!("{:.*e}", digits as usize, whole * unit).parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(present: f64, f: Miss) -> Grid {
        Grid::new((0..=10).map(f64::from).collect(), present, false, f).expect("a number")
    }

    #[test]
    fn the_nearest_of_several_solutions() {
        let f = |x: f64| Ok((x - 1.5) * (x - 7.25));
        for (present, want) in [(0.0, 1.5), (4.0, 1.5), (5.0, 7.25), (10.0, 7.25)] {
            let Found::At(x) = grid(present, &f).equal(&f).expect("a number") else { panic!("solvable") };
            assert!((x - want).abs() < 1e-12, "{present}: {x}");
        }
        let bound = |x: f64| Ok(-(x - 1.5) * (x - 7.123_456));
        assert_eq!(grid(4.0, &bound).at_most(&bound).expect("a number"), Found::At(1.5));
        assert_eq!(grid(6.0, &bound).at_most(&bound).expect("a number"), Found::At(7.124));
        assert_eq!(grid(9.0, &bound).at_most(&bound).expect("a number"), Found::At(9.0));
    }

    #[test]
    fn without_a_solution_the_nearest_place() {
        let f = |x: f64| Ok(1.0 + (x - 3.3).powi(2));
        for found in [grid(0.0, &f).equal(&f), grid(0.0, &f).at_most(&f)] {
            let Found::Nearest(x) = found.expect("a number") else { panic!("unsolvable") };
            assert!((x - 3.3).abs() < 1e-6, "{x}");
        }
        let cut = |x: f64| Ok(if x < 5.0 { f64::NAN } else { x });
        assert_eq!(grid(0.0, &cut).equal(&cut).expect("a number"), Found::Nearest(5.0));
        assert!(!grid(0.0, &cut).is_flat() && grid(0.0, &|_| Ok(2.0)).is_flat());
    }
}
