//! Expectations over a pair of correlated normals.
//!
//! With u = √q1 ũ, v = √q2 ṽ and corr(ũ, ṽ) = c, the half sum a and the half difference b of ũ and ṽ are independent, with
//! variances (1 + c)/2 and (1 - c)/2. Integrating in a and b keeps terms in u - v exact as c tends to 1. The kinks of a
//! nonlinearity at 0 become the points ±b of the inner integral, which is cut there.

use fintan_config::gauss_legendre;

use crate::dual::GaussianPair;

/// The normal density is neglected beyond this number of standard deviations (a mass of 2e-19).
const REACH: f64 = 9.0;

/// Largest accepted error, relative to the largest of the integrals.
const TOLERANCE: f64 = 1e-12;

/// Integrals of several functions, and their estimated error relative to the largest.
pub(crate) struct Integrals<const K: usize> {
    pub(crate) values: [f64; K],
    pub(crate) error: f64,
}

/// `E[f(u, v)]` of `K` functions at once. `kinked`: the functions are smooth except at u = 0 and v = 0.
///
/// For smooth functions, the trapezoidal rule is used in both directions: its error is squared when the step is halved
/// (Trefethen and Weideman, SIAM Review 56, 2014). For functions with kinks, Gauss-Legendre rules of two orders are compared
/// between the kinks. Rules are refined until the error is below [`TOLERANCE`] or no finer rule is left; the remaining error
/// is part of the result.
pub(crate) fn bivariate<const K: usize>(
    pair: GaussianPair,
    kinked: bool,
    f: impl Fn(f64, f64) -> [f64; K],
) -> Integrals<K> {
    let at = Coordinates::of(pair);
    let mut last: Option<[f64; K]> = None;
    let mut found = Integrals { values: [0.0; K], error: f64::INFINITY };
    for level in 0..5 {
        let values = if kinked { between_kinks(&at, 12 + 8 * level, &f) } else { trapezoid(&at, 2 << level, &f) };
        if let Some(last) = last {
            let size = values.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
            let change = values.iter().zip(last).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / size;
            let error = if kinked { change } else { change * change };
            found = Integrals { values, error: error.max(f64::EPSILON) };
            if found.error < TOLERANCE {
                break;
            }
        }
        last = Some(values);
    }
    found
}

/// The two independent variables; the outer integral is over the one with smaller deviation.
struct Coordinates {
    roots: [f64; 2],
    /// Standard deviations of the outer and the inner variable.
    std: [f64; 2],
    /// Whether the outer variable is the half sum.
    sum_outside: bool,
}

impl Coordinates {
    fn of(pair: GaussianPair) -> Self {
        let half = 0.5 * pair.one_minus_correlation();
        let (sum, difference) = ((1.0 - half).max(0.0).sqrt(), half.sqrt());
        let sum_outside = sum < difference;
        let std = if sum_outside { [sum, difference] } else { [difference, sum] };
        Self { roots: [pair.q1.sqrt(), pair.q2.sqrt()], std, sum_outside }
    }

    /// u and v as functions of the outer and inner variable.
    fn point(&self, outer: f64, inner: f64) -> (f64, f64) {
        let (sum, difference) = if self.sum_outside { (outer, inner) } else { (inner, outer) };
        (self.roots[0] * (sum + difference), self.roots[1] * (sum - difference))
    }
}

fn trapezoid<const K: usize>(at: &Coordinates, per_unit: usize, f: &impl Fn(f64, f64) -> [f64; K]) -> [f64; K] {
    let count = (REACH * per_unit as f64) as i64;
    let nodes: Vec<(f64, f64)> = (-count..=count)
        .map(|i| {
            let z = i as f64 / per_unit as f64;
            (z, normal(z) / per_unit as f64)
        })
        .collect();
    let centre = [(0.0, 1.0)];
    let outer = if at.std[0] == 0.0 { &centre[..] } else { &nodes };
    let mut total = [0.0; K];
    for &(z, weight) in outer {
        let mut row = [0.0; K];
        for &(y, inner) in &nodes {
            let (u, v) = at.point(at.std[0] * z, at.std[1] * y);
            add(&mut row, inner, f(u, v));
        }
        add(&mut total, weight, row);
    }
    total
}

fn between_kinks<const K: usize>(at: &Coordinates, points: usize, f: &impl Fn(f64, f64) -> [f64; K]) -> [f64; K] {
    let rule = gauss_legendre(points);
    let inside = |outer: f64| {
        let kink = outer.abs() / at.std[1];
        let mut total = [0.0; K];
        integrate(&rule, &cuts(-REACH, &[-kink, kink]), |y, weight| {
            let (u, v) = at.point(outer, at.std[1] * y);
            add(&mut total, weight, f(u, v));
        });
        total
    };
    if at.std[0] == 0.0 {
        return inside(0.0);
    }
    let mut total = [0.0; K];
    integrate(&rule, &cuts(-REACH, &[0.0]), |z, weight| add(&mut total, weight, inside(at.std[0] * z)));
    total
}

/// Cuts the interval from `from` to `-from` into pieces of length 1.5, and at the kinks.
fn cuts(from: f64, kinks: &[f64]) -> Vec<f64> {
    let mut cuts: Vec<f64> = (0..=12).map(|i| from + 1.5 * f64::from(i)).collect();
    cuts.extend(kinks.iter().filter(|k| k.abs() < REACH));
    cuts.sort_by(f64::total_cmp);
    cuts
}

/// Visits nodes and weights for a standard normal density, piece by piece.
fn integrate(rule: &[(f64, f64)], cuts: &[f64], mut each: impl FnMut(f64, f64)) {
    for ends in cuts.windows(2) {
        let (centre, half) = (0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0]));
        if half == 0.0 {
            continue;
        }
        for &(node, weight) in rule {
            let z = centre + half * node;
            each(z, half * weight * normal(z));
        }
    }
}

fn add<const K: usize>(total: &mut [f64; K], weight: f64, values: [f64; K]) {
    for (t, v) in total.iter_mut().zip(values) {
        *t += weight * v;
    }
}

fn normal(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}
