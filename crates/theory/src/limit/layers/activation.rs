//! Nonlinearities applied to each value separately.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::dual::{Dual, Duals, GaussianPair, Line};
use crate::limit::signal::Signal;
use crate::limit::{LimitError, MANY, NOT_GAUSSIAN, refuse};
use crate::series::Known;
use crate::wide::Wide;

pub(super) fn activation(dual: &Dual, known: &Known, many: bool, mut signal: Signal) -> Result<Signal, LimitError> {
    if !signal.gaussian {
        return refuse("activation", NOT_GAUSSIAN);
    }
    let sizes = signal.variances();
    if let Some(line) = dual.line(sizes[0].log2(), sizes[1].log2()) {
        return Ok(broken_line(&line, signal));
    }
    if !sizes[1].is_in_range() {
        let name = dual.activation().function.name();
        return Err(LimitError::Range { name, log10: sizes[1].log10() });
    }
    signal.rescale([0, 0]);
    let variances = signal.second.clone();
    let pair = |p: usize, q: usize, gap: f64| GaussianPair { q1: variances[0][p], q2: variances[1][q], gap };
    let positions = signal.positions();
    let place = |i: usize, all: bool| if all { (i / positions, i % positions) } else { (i, i) };
    let all = signal.all();
    let duals: Vec<Duals> = if dual.is_quadrature() {
        // A network that shares its weights has few distinct pairs.
        let mut number = HashMap::new();
        let mut distinct = Vec::new();
        let which: Vec<usize> = (0..signal.gap.values.len())
            .map(|i| {
                let (p, q) = place(i, all);
                let pair = pair(p, q, signal.gap.values[i]);
                *number.entry([pair.q1, pair.q2, pair.gap].map(rounded)).or_insert_with(|| {
                    distinct.push(pair);
                    distinct.len() - 1
                })
            })
            .collect();
        let many = many || distinct.len() >= MANY;
        let of =
            |pair: GaussianPair| many.then(|| known.pair(dual, pair)).flatten().map_or_else(|| dual.pair(pair), Ok);
        let found = distinct.par_iter().map(|&pair| of(pair)).collect::<Result<Vec<_>, _>>()?;
        which.into_iter().map(|i| found[i]).collect()
    } else {
        let of = |i: usize| {
            let (p, q) = place(i, all);
            dual.pair(pair(p, q, signal.gap.values[i]))
        };
        (0..signal.gap.values.len()).into_par_iter().with_min_len(1024).map(of).collect::<Result<_, _>>()?
    };
    for (i, duals) in duals.iter().enumerate() {
        signal.covariance.values[i] = duals.value;
        signal.gap.values[i] = duals.gap;
    }
    for (_, part) in &mut signal.tangent {
        for (value, duals) in part.values.iter_mut().zip(&duals) {
            *value *= duals.slope;
        }
    }
    for side in [0, 1] {
        for (p, &q) in variances[side].iter().enumerate() {
            let moments = known.moments(dual, q);
            (signal.second[side][p], signal.mean[side][p]) = (moments.second, moments.mean);
        }
    }
    (signal.gaussian, signal.fresh) = (false, false);
    Ok(signal)
}

/// A nonlinearity that is a broken line and a constant, in the units of the signal.
fn broken_line(line: &Line, mut signal: Signal) -> Signal {
    let exponent = line.factor.outside();
    let factor = line.factor * Wide::scaled(1.0, -exponent);
    let (square, factor) = ((factor * factor).value(), factor.value());
    let variances = signal.second.clone();
    let (positions, all) = (signal.positions(), signal.all());
    let place = |i: usize| if all { (i / positions, i % positions) } else { (i, i) };
    let gaps = &signal.gap.values;
    let of = |i: usize| {
        let (p, q) = place(i);
        line.pair(GaussianPair { q1: variances[0][p], q2: variances[1][q], gap: gaps[i] })
    };
    let duals: Vec<Duals> = (0..gaps.len()).into_par_iter().with_min_len(1024).map(of).collect();
    for side in [0, 1] {
        for (p, &q) in variances[side].iter().enumerate() {
            let [mean, second] = line.own(q);
            (signal.mean[side][p], signal.second[side][p]) = (factor * mean, square * second);
        }
    }
    for (value, duals) in signal.gap.values.iter_mut().zip(&duals) {
        *value = square * duals.gap;
    }
    for (_, part) in &mut signal.tangent {
        for (value, duals) in part.values.iter_mut().zip(&duals) {
            *value *= square * duals.slope;
        }
    }
    signal.scale = signal.scale.map(|scale| scale + exponent);
    signal.tangent_scale += 2 * exponent;
    signal.add_constant(line.constant);
    // Computed from gaps: in this way a pair of equal values has exactly the second moment of each.
    let (second, gap) = (&signal.second, &signal.gap);
    signal.covariance.update(|p, q, _| f64::midpoint(second[0][p], second[1][q]) - gap.at(p, q));
    (signal.gaussian, signal.fresh) = (false, false);
    signal
}

/// Rounds to 46 bits, so that sums of the same numbers in another order count as equal.
fn rounded(x: f64) -> u64 {
    (x.to_bits() + 0x20) >> 6
}
