//! The moments of two inputs, propagated through a network of infinite width.

use rayon::prelude::*;

use crate::wide::{Wide, exponent_of, power_of_two, scaled_by};

/// Entries for pairs of positions (p, p'): all pairs, row-major, or only those with p = p'.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) positions: usize,
    pub(super) all: bool,
    pub(super) values: Vec<f64>,
}

impl Field {
    pub(super) fn zeros(positions: usize, all: bool) -> Self {
        Self { positions, all, values: vec![0.0; if all { positions * positions } else { positions }] }
    }

    /// Computes every stored entry (p, p') with `of`.
    pub(super) fn from_fn(positions: usize, all: bool, of: impl Fn(usize, usize) -> f64 + Sync) -> Self {
        let mut field = Self::zeros(positions, all);
        field.update(|p, q, _| of(p, q));
        field
    }

    /// Replaces every entry by the result of `of`.
    pub(super) fn update(&mut self, of: impl Fn(usize, usize, f64) -> f64 + Sync) {
        if !self.all {
            for (p, value) in self.values.iter_mut().enumerate() {
                *value = of(p, p, *value);
            }
            return;
        }
        self.values.par_chunks_mut(self.positions).enumerate().with_min_len(64).for_each(|(p, row)| {
            for (q, value) in row.iter_mut().enumerate() {
                *value = of(p, q, *value);
            }
        });
    }

    /// Multiplies every entry by 2^exponent.
    fn shift(&mut self, exponent: i64) {
        if exponent != 0 {
            self.update(|_, _, value| scaled_by(value, exponent));
        }
    }

    /// The largest absolute value; NaN if an entry is NaN.
    pub(super) fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |most, v| if v.abs() > most || v.is_nan() { v.abs() } else { most })
    }

    /// Keeps only the entries with p = p'.
    pub(super) fn diagonal(self) -> Self {
        if !self.all {
            return self;
        }
        Self { all: false, values: (0..self.positions).map(|p| self.at(p, p)).collect(), ..self }
    }

    /// Entry (p, p').
    pub(super) fn at(&self, p: usize, q: usize) -> f64 {
        if self.all { self.values[p * self.positions + q] } else { self.values[p] }
    }
}

/// The parameter to which a part of the tangent kernel belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) index: usize,
    pub(super) bias: bool,
}

/// Two inputs x and y at one point of the network: moments of one channel, the same for all channels.
///
/// Scale and correlation are stored separately. The stored moments are those of `a(x) 2^-scale[0]` and `a(y) 2^-scale[1]`,
/// and the stored tangent kernel is multiplied by `2^-tangent_scale`. Homogeneous layers keep the stored moments near 1 at
/// any depth. If a number of fixed size is added (biases, the eps of a norm), the scale is adapted to the largest term.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    /// E\[a_p(x) a_p'(y)\]
    pub(super) covariance: Field,
    /// ½ E\[(a_p(x) - a_p'(y))²\] of the stored values
    pub(super) gap: Field,
    /// The tangent kernel: one field, or one for each parameter so far.
    pub(super) tangent: Vec<(Owner, Field)>,
    /// E\[a_p²\] of x and of y.
    pub(super) second: [Vec<f64>; 2],
    /// E\[a_p\] of x and of y.
    pub(super) mean: [Vec<f64>; 2],
    /// Scale exponents of x and of y.
    pub(super) scale: [i64; 2],
    /// Scale exponent of the tangent kernel.
    pub(super) tangent_scale: i64,
    /// Whether the values are jointly Gaussian.
    pub(super) gaussian: bool,
    /// Whether the values come from a linear layer of the same branch, possibly through a norm. They are then independent of
    /// the input of the branch and have mean 0.
    pub(super) fresh: bool,
}

/// Range of exponents in which values are not rescaled. Squares, and products with the factors of layers, stay far inside
/// the range of f64.
const WINDOW: i64 = 64;

impl Signal {
    pub(super) fn positions(&self) -> usize {
        self.covariance.positions
    }

    pub(super) fn all(&self) -> bool {
        self.covariance.all
    }

    /// Keeps only pairs of a position with itself.
    pub(super) fn diagonal(self) -> Self {
        Self {
            covariance: self.covariance.diagonal(),
            gap: self.gap.diagonal(),
            tangent: self.tangent.into_iter().map(|(owner, field)| (owner, field.diagonal())).collect(),
            ..self
        }
    }

    /// Exponent of the largest value of a side, including its scale; `None` if all values are 0.
    pub(super) fn size(&self, side: usize) -> Option<i64> {
        let most = self.second[side].iter().copied().fold(0.0, f64::max);
        exponent_of(most).map(|e| self.scale[side] + e.div_euclid(2))
    }

    /// Changes the units of the stored values.
    pub(super) fn rescale(&mut self, scale: [i64; 2]) {
        let by = [0, 1].map(|side| scale[side] - self.scale[side]);
        if by == [0, 0] {
            return;
        }
        if by[0] == by[1] {
            self.gap.shift(-2 * by[0]);
        } else {
            // ½ E(αu - α'v)² = αα' ½ E(u - v)² + ½ (α - α')(α E u² - α' E v²)
            let ([x, y], [a, b]) = (&self.second, by.map(|by| power_of_two(-by)));
            self.gap
                .update(|p, q, gap| (scaled_by(gap, -by[0] - by[1]) + 0.5 * (a - b) * (a * x[p] - b * y[q])).max(0.0));
        }
        self.covariance.shift(-by[0] - by[1]);
        for (side, by) in by.into_iter().enumerate() {
            for value in &mut self.second[side] {
                *value = scaled_by(*value, -2 * by);
            }
            for value in &mut self.mean[side] {
                *value = scaled_by(*value, -by);
            }
        }
        self.scale = scale;
    }

    /// Chooses units in which values are near 1; x and y have the same units unless their sizes are very different.
    pub(super) fn normalize(&mut self) {
        let size = [0, 1].map(|side| self.size(side));
        let far = |side: usize| size[side].is_some_and(|size| (size - self.scale[side]).abs() > WINDOW / 2);
        if far(0) || far(1) {
            self.rescale(common(size, self.scale));
        }
        let most = self.tangent.iter().map(|(_, field)| field.largest()).fold(0.0, f64::max);
        if let Some(e) = exponent_of(most).filter(|e| e.abs() > WINDOW) {
            self.shift_tangent(self.tangent_scale + e);
        }
    }

    /// Chooses units in which a constant of fixed size can be added: the constant's own if it is much larger than the
    /// signal.
    pub(super) fn make_room(&mut self, constant: f64) {
        let Some(own) = exponent_of(constant) else { return };
        let wanted = self.scale.map(|scale| if own - scale > WINDOW { own } else { scale });
        // If one side is rescaled and the other nearly was, both get common units.
        let wanted = if (wanted[0] - wanted[1]).abs() <= WINDOW { [wanted[0].max(wanted[1]); 2] } else { wanted };
        self.rescale(wanted);
    }

    /// Changes the units of the tangent kernel.
    pub(super) fn shift_tangent(&mut self, scale: i64) {
        for (_, field) in &mut self.tangent {
            field.shift(self.tangent_scale - scale);
        }
        self.tangent_scale = scale;
    }

    /// Exponent of the largest entry of the tangent kernel; `None` if all entries are 0.
    pub(super) fn tangent_size(&self) -> Option<i64> {
        let most = self.tangent.iter().map(|(_, field)| field.largest()).fold(0.0, f64::max);
        exponent_of(most).map(|e| self.tangent_scale + e)
    }

    /// Adds `field · 2^scale` to the part of a parameter, or to the only part.
    pub(super) fn add_part(&mut self, owner: Owner, parts: bool, mut field: Field, scale: i64) {
        if scale != self.tangent_scale {
            let here = exponent_of(field.largest()).map(|e| scale + e);
            // In units of the larger of the two; zeros have no size.
            if let Some(here) = here {
                self.shift_tangent(self.tangent_size().map_or(here, |there| there.max(here)));
                field.shift(scale - self.tangent_scale);
            }
        }
        match self.tangent.first_mut() {
            Some((_, total)) if !parts => {
                for (t, v) in total.values.iter_mut().zip(field.values) {
                    *t += v;
                }
            }
            _ => self.tangent.push((owner, field)),
        }
    }

    /// Converts a stored product of values of two sides to its true size.
    pub(super) fn product(&self, x: f64, sides: [usize; 2]) -> Wide {
        Wide::scaled(x, self.scale[sides[0]] + self.scale[sides[1]])
    }

    /// The tangent kernel: the sum of its parts.
    pub(super) fn summed(&self) -> Field {
        let mut sum = Field::zeros(self.positions(), self.all());
        for (_, part) in &self.tangent {
            for (sum, value) in sum.values.iter_mut().zip(&part.values) {
                *sum += value;
            }
        }
        sum
    }

    /// The smallest nonzero variance, and the largest variance.
    pub(super) fn variances(&self) -> [Wide; 2] {
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

    /// Adds one Gaussian variable of this variance, independent of the signal, to all values of x and y.
    pub(super) fn add_common(&mut self, variance: f64) {
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

    /// Adds a constant to all values of x and y. The caller must update the covariance.
    pub(super) fn add_constant(&mut self, constant: f64) {
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

/// Exponents for two signals or sides: those of their sizes, or a common one if their sizes are similar.
pub(super) fn common(size: [Option<i64>; 2], present: [i64; 2]) -> [i64; 2] {
    match size {
        [Some(x), Some(y)] if (x - y).abs() <= WINDOW / 2 => [x.max(y); 2],
        [Some(x), Some(y)] => [x, y],
        [Some(x), None] | [None, Some(x)] => [x; 2],
        [None, None] => present,
    }
}
