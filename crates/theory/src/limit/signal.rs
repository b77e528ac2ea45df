//! What is known about the values of two inputs on their way through a network of infinite width.

use rayon::prelude::*;

/// Entries over pairs of positions (p, p'), all of them row-major or those with p = p' only.
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

    /// Entry (p, p') by `of`, for every entry that is held.
    pub(super) fn from_fn(positions: usize, all: bool, of: impl Fn(usize, usize) -> f64 + Sync) -> Self {
        let mut field = Self::zeros(positions, all);
        field.update(|p, q, _| of(p, q));
        field
    }

    /// Replaces every entry.
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

    /// The entries with p = p' alone.
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

/// Part of the tangent kernel that belongs to one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) index: usize,
    pub(super) bias: bool,
}

/// A pair of inputs x and y at one place of the network: moments of one channel, the same for all.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    /// E\[a_p(x) a_p'(y)\]
    pub(super) covariance: Field,
    /// ½ E\[(a_p(x) - a_p'(y))²\]
    pub(super) gap: Field,
    /// The tangent kernel: one field, or one a parameter so far.
    pub(super) tangent: Vec<(Owner, Field)>,
    /// E\[a_p²\] of x and of y.
    pub(super) second: [Vec<f64>; 2],
    /// E\[a_p\] of x and of y.
    pub(super) mean: [Vec<f64>; 2],
    /// Whether values are jointly Gaussian.
    pub(super) gaussian: bool,
    /// Whether they come out of a linear layer of the same branch, perhaps through a norm: independent of what entered the
    /// branch, mean 0.
    pub(super) fresh: bool,
}

impl Signal {
    pub(super) fn positions(&self) -> usize {
        self.covariance.positions
    }

    pub(super) fn all(&self) -> bool {
        self.covariance.all
    }

    /// With the pairs of a position and itself alone.
    pub(super) fn diagonal(self) -> Self {
        Self {
            covariance: self.covariance.diagonal(),
            gap: self.gap.diagonal(),
            tangent: self.tangent.into_iter().map(|(owner, field)| (owner, field.diagonal())).collect(),
            ..self
        }
    }

    /// Adds to a parameter's part, or to the one part there is.
    pub(super) fn add_part(&mut self, owner: Owner, parts: bool, field: Field) {
        match self.tangent.first_mut() {
            Some((_, total)) if !parts => {
                for (t, v) in total.values.iter_mut().zip(field.values) {
                    *t += v;
                }
            }
            _ => self.tangent.push((owner, field)),
        }
    }
}
