//! The order and the cost of a sum, from the shapes of its factors.

use super::{Order, hadamard, patches, pushed, weights};

/// The shapes of the factors of a sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// `[b, groups, i, sites, C]` of the cotangents of each side. See [`Operand`](super::Operand).
    pub(crate) sides: [[usize; 5]; 2],
    /// Number of inputs of a site.
    pub(crate) k: usize,
    /// Whether the sides differ. Otherwise only half of the products are computed.
    pub(crate) distinct: bool,
}

/// Numbers that the multiply-adds of all orders depend on.
pub(super) struct Counts {
    pub(super) b: f64,
    /// The larger number of remaining rows: rows and columns of a tile may have different numbers of outputs.
    pub(super) i: f64,
    pub(super) s: f64,
    pub(super) c: f64,
    pub(super) k: f64,
    /// Groups of all sides that are computed.
    pub(super) groups: f64,
    /// Pairs of groups.
    pub(super) pairs: f64,
}

impl Sizes {
    /// The cheapest order that applies.
    pub(crate) fn order(&self) -> Order {
        let [[_, _, i1, s, _], [_, _, i2, ..]] = self.sides;
        if s == 1 {
            return Order::Hadamard;
        }
        let other = if i1.max(i2) == 1 { Order::Patches } else { Order::Pushed };
        if self.operations(other) < self.operations(Order::Weights) { other } else { Order::Weights }
    }

    /// Multiply-adds of an order.
    pub(crate) fn operations(&self, order: Order) -> f64 {
        let counts = self.counts();
        match order {
            Order::Hadamard => hadamard::operations(&counts),
            Order::Weights => weights::operations(&counts),
            Order::Patches => patches::operations(&counts),
            Order::Pushed => pushed::operations(&counts),
        }
    }

    /// Number of values that an order holds beside the factors and the result. `size` is the number of bytes of a value.
    pub(crate) fn held(&self, order: Order, size: usize) -> f64 {
        // Copies for the host's loops, and copies that products make.
        let copies = self.cotangents(0).max(self.cotangents(1));
        let of_order = match order {
            Order::Hadamard => hadamard::held(self, size),
            Order::Weights => weights::held(self, size),
            Order::Patches => patches::held(self, size),
            Order::Pushed => pushed::held(self, size),
        };
        copies + of_order
    }

    /// Number of values of the largest tensor that an order makes on a device.
    pub(crate) fn largest(&self, order: Order) -> f64 {
        let product = |numbers: &[usize]| numbers.iter().map(|&n| n as f64).product::<f64>();
        let [[b, g1, i1, s1, c], [_, g2, i2, s2, _]] = self.sides;
        let factors = self.cotangents(0).max(self.cotangents(1)).max(product(&[g1.max(g2), s1.max(s2), self.k]));
        // Products of cotangents at a single site, of the biases too: one matrix for each b, before they are added.
        let rows = product(&[b, g1 * i1, g2 * i2]);
        let made = match order {
            Order::Hadamard => product(&[g1, g2]),
            Order::Weights => weights::largest(self),
            Order::Patches => product(&[b, s1, s2]),
            Order::Pushed => product(&[s1, s2]).max(product(&[b, i1, s2, c])),
        };
        factors.max(rows).max(made)
    }

    /// Number of cotangents of a side.
    pub(crate) fn cotangents(&self, side: usize) -> f64 {
        self.sides[side].iter().product::<usize>() as f64
    }

    /// Rows of the products of each side.
    pub(super) fn rows(&self) -> [usize; 2] {
        self.sides.map(|[b, g, i, ..]| b * g * i)
    }

    /// Rows of the products of each side, or sites where those are more.
    pub(super) fn rows_or_sites(&self) -> [usize; 2] {
        let sites = self.sides[0][3];
        self.rows().map(|rows| rows.max(sites))
    }

    fn counts(&self) -> Counts {
        let [[b, g, i1, s, c], [_, g2, i2, ..]] = self.sides;
        let [b, g, i, s, c, k, g2] = [b, g, i1.max(i2), s, c, self.k, g2].map(|n| n as f64);
        let (groups, pairs) = if self.distinct { (g + g2, g * g2) } else { (g, 0.5 * g * g) };
        Counts { b, i, s, c, k, groups, pairs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One group of `i` rows with `s` sites of `c` channels.
    fn sizes(i: [usize; 2], s: usize, c: usize, k: usize, distinct: bool) -> Sizes {
        Sizes { sides: i.map(|i| [1, 2, i, s, c]), k, distinct }
    }

    #[test]
    fn the_order_is_the_cheapest_that_applies() {
        for (i, s, c, k) in [(1, 1, 8, 8), (1, 4, 8, 8), (1, 400, 1, 1), (6, 4, 8, 8), (6, 64, 2, 300), (2, 9, 64, 64)]
        {
            for distinct in [false, true] {
                let sizes = sizes([i, 1], s, c, k, distinct);
                let other = if i == 1 { Order::Patches } else { Order::Pushed };
                let applying = if s == 1 { vec![Order::Hadamard] } else { vec![Order::Weights, other] };
                let least = applying.into_iter().map(|order| sizes.operations(order)).fold(f64::INFINITY, f64::min);
                assert_eq!(sizes.operations(sizes.order()), least, "{sizes:?}");
            }
        }
    }

    #[test]
    fn operations_are_those_of_the_products() {
        // Weight cotangents: 2 groups of 3 rows, 4 sites, K = 5, C = 7; then products of rows in pairs of groups.
        let both = sizes([3, 3], 4, 7, 5, true);
        assert_eq!(both.operations(Order::Weights), f64::from(4 * 3 * 4 * 5 * 7 + 4 * 3 * 3 * 5 * 7));
        // Half of the pairs, if the sides are equal.
        let one = sizes([3, 3], 4, 7, 5, false);
        assert_eq!(one.operations(Order::Weights), f64::from(2 * 3 * 4 * 5 * 7 + 2 * 3 * 3 * 5 * 7));
        // Products of inputs of 4 x 4 sites, pushed cotangents of 3 rows, and their products with 3 rows.
        assert_eq!(both.operations(Order::Pushed), f64::from(4 * (4 * 4 * (5 + 3 * 7) + 3 * 3 * 4 * 7)));
    }

    #[test]
    fn weight_cotangents_of_both_sides_are_held() {
        let (both, one) = (sizes([3, 3], 4, 7, 5, true), sizes([3, 3], 4, 7, 5, false));
        // 6 rows more, with 5 inputs and 7 channels, three times.
        assert_eq!(both.held(Order::Weights, 4) - one.held(Order::Weights, 4), f64::from(3 * 6 * 5 * 7));
        assert!(both.held(Order::Hadamard, 4) >= both.cotangents(0), "{both:?}");
    }
}
