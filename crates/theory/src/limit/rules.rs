//! What each layer does to a pair of inputs.

use std::collections::HashMap;

use fintan_config::{NormAxes, Window};
use rayon::prelude::*;

use super::signal::{Field, Owner, Signal, common};
use super::{DEPENDENT, LimitError, Linear, MANY, NOT_GAUSSIAN, Step, Walk, averages, refuse};
use crate::dual::{Dual, Duals, Line, Pair};
use crate::series::Known;
use crate::wide::{Wide, outside, power_of_two, scaled_by};

impl Walk<'_> {
    /// `all`: whether the pairs of different positions are needed behind the step.
    pub(super) fn step(&mut self, step: &Step, signal: Signal, all: bool) -> Result<Signal, LimitError> {
        match step {
            Step::Linear(linear) => Ok(self.linear(linear, &signal, all)),
            Step::Activation(dual, known) => activation(dual, known, self.many, signal),
            Step::LayerNorm { over, eps, affine } => self.layer_norm(*over, *eps, *affine, signal),
            Step::Spread { positions } => Ok(spread(&signal, *positions, all)),
            Step::Positions(windows) => Ok(self.positions(&signal, windows, all)),
            Step::Residual { branch, shortcut, scale } => {
                let mut signal = signal;
                signal.fresh = false;
                let (own, other) = (signal.clone(), signal);
                let parts = own.tangent.len();
                let mut through = self.through(branch, own, all)?;
                let mut around = self.through(shortcut, other, all)?;
                // One side may hold all pairs because they entered it, the other only those that are needed.
                if !all {
                    (through, around) = (through.diagonal(), around.diagonal());
                }
                sum(through, around, *scale, parts, self.request.parts)
            }
        }
    }

    fn rates(&self, index: usize) -> (f64, f64) {
        self.request.rates.as_ref().map_or((1.0, 1.0), |rates| rates.get(index).copied().unwrap_or((1.0, 1.0)))
    }

    fn linear(&self, linear: &Linear, signal: &Signal, all: bool) -> Signal {
        let Linear { index, wiring, factors, exponent, bias, own, bias_own } = linear;
        let positions = wiring.parents.len();
        let second = [0, 1].map(|side| {
            let values: &[f64] = &signal.second[side];
            let of =
                |p: usize| factors[p] * factors[p] * wiring.parents[p].iter().map(|&(_, q)| values[q]).sum::<f64>();
            (0..positions).map(of).collect::<Vec<f64>>()
        });
        let covariance = gather(linear, &signal.covariance, all);
        // Where both positions have the same taps the difference has no share of either alone.
        let mut gap = gather(linear, &signal.gap, all);
        let alike = |p: usize, q: usize| p == q || (factors[p] == factors[q] && same_taps(linear, p, q));
        gap.update(
            |p, q, gap| {
                if alike(p, q) { gap } else { f64::midpoint(second[0][p], second[1][q]) - covariance.at(p, q) }
            },
        );
        let mut out = Signal {
            tangent: signal.tangent.iter().map(|(owner, field)| (*owner, gather(linear, field, all))).collect(),
            mean: [vec![0.0; positions], vec![0.0; positions]],
            second,
            scale: signal.scale.map(|scale| scale + exponent),
            tangent_scale: signal.tangent_scale + 2 * exponent,
            gaussian: true,
            fresh: true,
            covariance,
            gap,
        };
        let (by_weights, by_biases) = self.rates(*index);
        let parts = self.request.parts;
        // Weights: what entered, times their number where they are not scaled in the forward pass.
        let weights = Field::from_fn(positions, all, |p, q| by_weights * own.factor * out.covariance.at(p, q));
        let scale = if own.scaled { &out } else { signal }.scale;
        out.add_part(Owner { index: *index, bias: false }, parts, weights, scale[0] + scale[1]);
        let biases = Field::from_fn(positions, all, |_, _| by_biases * bias_own);
        out.add_part(Owner { index: *index, bias: true }, parts, biases, 0);
        out.add_common(*bias);
        out.normalize();
        out
    }

    /// `(a - mean) / √(var + eps)` over channels, or channels and positions; at infinite width both are constants.
    fn layer_norm(
        &self,
        over: NormAxes,
        eps: f64,
        affine: Option<usize>,
        mut signal: Signal,
    ) -> Result<Signal, LimitError> {
        if !signal.gaussian && signal.tangent.is_empty() {
            return refuse("layer_norm", "it stands before the first weights");
        }
        signal.make_room(eps.sqrt());
        let positions = signal.positions();
        let statistics = [0, 1].map(|side| {
            let (mean, second) = (&signal.mean[side], &signal.second[side]);
            let eps = scaled_by(eps, -2 * signal.scale[side]);
            match over {
                NormAxes::Features => {
                    let of = |p: usize| (mean[p], (second[p] - mean[p] * mean[p] + eps).sqrt());
                    (0..positions).map(of).collect::<Vec<_>>()
                }
                NormAxes::Chw => {
                    let average = |v: &[f64]| v.iter().sum::<f64>() / positions as f64;
                    let (m, s) = (average(mean), average(second));
                    vec![(m, (s - m * m + eps).sqrt()); positions]
                }
            }
        });
        let [x, y] = &statistics;
        let (mean, second) = (signal.mean.clone(), signal.second.clone());
        // E[(a - s)(a' - t)]
        signal.covariance.update(|p, q, k| {
            let ((s, d), (t, e)) = (x[p], y[q]);
            (k - s * mean[1][q] - t * mean[0][p] + s * t) / (d * e)
        });
        for side in [0, 1] {
            for p in 0..positions {
                let (s, d) = statistics[side][p];
                signal.second[side][p] = (second[side][p] - 2.0 * s * mean[side][p] + s * s) / (d * d);
                signal.mean[side][p] = (mean[side][p] - s) / d;
            }
        }
        signal.tangent_scale -= signal.scale[0] + signal.scale[1];
        signal.scale = [0, 0];
        // ½ E(αa - α'a' - δ)², δ = αs - α't: not from second moments, which lose digits where the two are alike.
        signal.gap.update(|p, q, gap| {
            let ((s, d), (t, e)) = (x[p], y[q]);
            let (a, b) = (1.0 / d, 1.0 / e);
            let apart = a * s - b * t;
            let scaled = gap / (d * e) + 0.5 * (a - b) * (a * second[0][p] - b * second[1][q]);
            (scaled - apart * (a * mean[0][p] - b * mean[1][q]) + 0.5 * apart * apart).max(0.0)
        });
        for (_, part) in &mut signal.tangent {
            part.update(|p, q, value| value / (x[p].1 * y[q].1));
        }
        if let Some(index) = affine {
            // A scale and a shift for each normalized value: over channels and positions, none shared by positions.
            let shared = over == NormAxes::Features;
            let (by_scales, by_shifts) = self.rates(index);
            let all = signal.all();
            let scales = Field::from_fn(positions, all, |p, q| {
                if shared || p == q { by_scales * signal.covariance.at(p, q) } else { 0.0 }
            });
            let shifts = Field::from_fn(positions, all, |p, q| if shared || p == q { by_shifts } else { 0.0 });
            signal.add_part(Owner { index, bias: false }, self.request.parts, scales, 0);
            signal.add_part(Owner { index, bias: true }, self.request.parts, shifts, 0);
        }
        Ok(signal)
    }

    /// Sums over windows of positions, divided by numbers; windows of one position are copies, empty ones zeros.
    fn positions(&mut self, signal: &Signal, windows: &[Window], all: bool) -> Signal {
        let positions = windows.len();
        let all = all && positions > 1;
        let mapped = |field: &Field| {
            Field::from_fn(positions, all, |p, q| {
                let (a, b) = (&windows[p], &windows[q]);
                let sum: f64 = a.sources.iter().flat_map(|&i| b.sources.iter().map(move |&j| field.at(i, j))).sum();
                sum / (a.divisor as f64 * b.divisor as f64)
            })
        };
        let each = |values: &[f64]| -> Vec<f64> {
            let of = |window: &Window| window.sources.iter().map(|&i| values[i]).sum::<f64>() / window.divisor as f64;
            windows.iter().map(of).collect()
        };
        let covariance = mapped(&signal.covariance);
        let second = if averages(windows) {
            let own: Vec<f64> = (0..positions).map(|p| covariance.at(p, p)).collect();
            self.met.push(own.iter().map(|&value| signal.product(value, [0, 1])).collect());
            let number = self.pools;
            self.pools += 1;
            // Without second moments of each input by itself, this is the walk of an input with itself that finds them.
            [0, 1].map(|side| match self.pooled[side].get(number) {
                Some(known) => {
                    let back = Wide::scaled(1.0, -2 * signal.scale[side]);
                    known.iter().map(|second| (*second * back).value()).collect()
                }
                None => own.clone(),
            })
        } else {
            [0, 1].map(|side| each(&signal.second[side]))
        };
        // A copy has the difference of what it copies.
        let copied = |p: usize| match (&windows[p].sources[..], windows[p].divisor) {
            (&[source], 1) => Some(source),
            _ => None,
        };
        let gap = Field::from_fn(positions, all, |p, q| match (copied(p), copied(q)) {
            (Some(p), Some(q)) => signal.gap.at(p, q),
            _ => (f64::midpoint(second[0][p], second[1][q]) - covariance.at(p, q)).max(0.0),
        });
        Signal {
            tangent: signal.tangent.iter().map(|(owner, field)| (*owner, mapped(field))).collect(),
            mean: [0, 1].map(|side| each(&signal.mean[side])),
            scale: signal.scale,
            tangent_scale: signal.tangent_scale,
            gaussian: signal.gaussian,
            fresh: signal.fresh,
            covariance,
            gap,
            second,
        }
    }
}

fn same_taps(linear: &Linear, p: usize, q: usize) -> bool {
    let (a, b) = (&linear.wiring.parents[p], &linear.wiring.parents[q]);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0)
}

/// `√(w/c_p) √(w/c_p') Σ_{shared taps} field_qq'`.
fn gather(linear: &Linear, field: &Field, all: bool) -> Field {
    let Linear { wiring, factors, .. } = linear;
    let positions = wiring.parents.len();
    let mut out = Field::zeros(positions, all);
    // A single output needs no covariance between different inputs of the layer, since each has a tap of its own.
    if !all || positions == 1 {
        out.update(|p, _, _| {
            factors[p] * factors[p] * wiring.parents[p].iter().map(|&(_, q)| field.at(q, q)).sum::<f64>()
        });
        return out;
    }
    out.values.par_chunks_mut(positions).enumerate().for_each(|(p, row)| {
        for &(tap, q) in &wiring.parents[p] {
            let from = &field.values[q * field.positions..][..field.positions];
            for &(child, parent) in &wiring.edges[tap] {
                row[child] += from[parent];
            }
        }
        for (value, factor) in row.iter_mut().zip(factors) {
            *value *= factors[p] * factor;
        }
    });
    out
}

/// Independent neurons at each position.
fn spread(signal: &Signal, positions: usize, all: bool) -> Signal {
    let [x, y] = [0, 1].map(|side| (signal.second[side][0], signal.mean[side][0]));
    let on_diagonal = |field: &Field, off: f64| {
        let value = field.at(0, 0);
        Field::from_fn(positions, all, |p, q| if p == q { value } else { off })
    };
    let product = x.1 * y.1;
    Signal {
        covariance: on_diagonal(&signal.covariance, product),
        gap: on_diagonal(&signal.gap, f64::midpoint(x.0, y.0) - product),
        tangent: signal.tangent.iter().map(|(owner, field)| (*owner, on_diagonal(field, 0.0))).collect(),
        second: [vec![x.0; positions], vec![y.0; positions]],
        mean: [vec![x.1; positions], vec![y.1; positions]],
        scale: signal.scale,
        tangent_scale: signal.tangent_scale,
        gaussian: signal.gaussian,
        fresh: signal.fresh,
    }
}

fn activation(dual: &Dual, known: &Known, many: bool, mut signal: Signal) -> Result<Signal, LimitError> {
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
    let pair = |p: usize, q: usize, gap: f64| Pair { q1: variances[0][p], q2: variances[1][q], gap };
    let positions = signal.positions();
    let place = |i: usize, all: bool| if all { (i / positions, i % positions) } else { (i, i) };
    let all = signal.all();
    let duals: Vec<Duals> = if dual.is_quadrature() {
        // Few pairs differ in a network that shares its weights.
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
        let of = |pair: Pair| many.then(|| known.pair(dual, pair)).flatten().map_or_else(|| dual.pair(pair), Ok);
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
        line.pair(Pair { q1: variances[0][p], q2: variances[1][q], gap: gaps[i] })
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
    // From gaps: this way a pair of equals has exactly the second moment of each.
    let (second, gap) = (&signal.second, &signal.gap);
    signal.covariance.update(|p, q, _| f64::midpoint(second[0][p], second[1][q]) - gap.at(p, q));
    (signal.gaussian, signal.fresh) = (false, false);
    signal
}

impl Signal {
    /// The smallest variance that is not 0, and the largest.
    fn variances(&self) -> [Wide; 2] {
        let of = |pick: fn(f64, f64) -> f64, from: f64| {
            [0, 1].map(|side| {
                let values = self.second[side].iter().copied().filter(|&q| q > 0.0);
                self.product(Some(values.fold(from, pick)).filter(|q| q.is_finite()).unwrap_or(0.0), [side, side])
            })
        };
        let ([a, b], [c, d]) = (of(f64::min, f64::INFINITY), of(f64::max, 0.0));
        let least = match [a.is_positive(), b.is_positive()] {
            [true, true] => {
                if a.log2() < b.log2() {
                    a
                } else {
                    b
                }
            }
            [true, false] => a,
            [false, true | false] => b,
        };
        [least, if c.log2() > d.log2() { c } else { d }]
    }

    /// Adds to all values of x and y one Gaussian of that variance, independent of them.
    fn add_common(&mut self, variance: f64) {
        if variance == 0.0 {
            return;
        }
        self.make_room(variance.sqrt());
        let [a, b] = self.scale.map(|scale| power_of_two(-scale));
        let both = scaled_by(variance, -self.scale[0] - self.scale[1]);
        for value in &mut self.covariance.values {
            *value += both;
        }
        if a != b {
            for value in &mut self.gap.values {
                *value += 0.5 * variance * (a - b) * (a - b);
            }
        }
        for (values, scale) in self.second.iter_mut().zip(self.scale) {
            for value in values {
                *value += scaled_by(variance, -2 * scale);
            }
        }
    }

    /// Adds a constant to all values of x and y. The covariance is left to the caller.
    fn add_constant(&mut self, constant: f64) {
        if constant == 0.0 {
            return;
        }
        self.make_room(constant);
        let own = self.scale.map(|scale| scaled_by(constant, -scale));
        let apart = own[0] - own[1];
        if apart != 0.0 {
            let mean = &self.mean;
            self.gap.update(|p, q, gap| gap + apart * (mean[0][p] - mean[1][q]) + 0.5 * apart * apart);
        }
        for side in [0, 1] {
            let c = own[side];
            for (second, mean) in self.second[side].iter_mut().zip(&mut self.mean[side]) {
                *second += (2.0 * *mean + c) * c;
                *mean += c;
            }
        }
    }
}

/// To 46 bits: sums of the same numbers in another order count as equal.
fn rounded(x: f64) -> u64 {
    (x.to_bits() + 0x20) >> 6
}

/// `scale (branch + shortcut)`, independent of one another if one of them comes out of weights of its own.
///
/// `before`: the parts of the tangent kernel that entered both.
fn sum(mut through: Signal, mut around: Signal, scale: f64, before: usize, parts: bool) -> Result<Signal, LimitError> {
    if !through.fresh && !around.fresh {
        return refuse("residual", DEPENDENT);
    }
    if through.positions() != around.positions() {
        return refuse("residual", "a flattened image is added to a vector");
    }
    // In units of what is larger.
    if through.scale != around.scale {
        let larger = [0, 1].map(|side| through.size(side).max(around.size(side)));
        let scale = common(larger, through.scale);
        through.rescale(scale);
        around.rescale(scale);
    }
    if through.tangent_scale != around.tangent_scale {
        let size = through.tangent_size().max(around.tangent_size()).unwrap_or(0);
        through.shift_tangent(size);
        around.shift_tangent(size);
    }
    let exponent = outside(scale);
    let scale = scaled_by(scale, -exponent);
    let square = scale * scale;
    let both = |a: Field, b: &Field| {
        assert_eq!(a.values.len(), b.values.len(), "both sides hold the same pairs");
        let mut sum = a;
        for (x, y) in sum.values.iter_mut().zip(&b.values) {
            *x = square * (*x + y);
        }
        sum
    };
    // One mean is 0, and so is the covariance between the two.
    let add = |a: &[f64], b: &[f64], factor: f64| a.iter().zip(b).map(|(a, b)| factor * (a + b)).collect::<Vec<f64>>();
    let [second, mean] = [(&through.second, &around.second, square), (&through.mean, &around.mean, scale)]
        .map(|(a, b, factor)| [add(&a[0], &b[0], factor), add(&a[1], &b[1], factor)]);
    let shared = if parts { before } else { through.tangent.len().min(around.tangent.len()) };
    let mut tangent = through.tangent;
    let mut rest = around.tangent.into_iter();
    for (own, (_, other)) in tangent.iter_mut().zip(rest.by_ref().take(shared)) {
        assert_eq!(own.1.values.len(), other.values.len(), "both sides hold the same pairs");
        for (x, y) in own.1.values.iter_mut().zip(&other.values) {
            *x += y;
        }
    }
    tangent.extend(rest);
    for value in tangent.iter_mut().flat_map(|(_, field)| &mut field.values) {
        *value *= square;
    }
    Ok(Signal {
        covariance: both(through.covariance, &around.covariance),
        gap: both(through.gap, &around.gap),
        tangent,
        second,
        mean,
        scale: through.scale.map(|scale| scale + exponent),
        tangent_scale: through.tangent_scale + 2 * exponent,
        gaussian: through.gaussian && around.gaussian,
        fresh: false,
    })
}
