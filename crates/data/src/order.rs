//! The order of the images in training: a new shuffle in every epoch, from a seed, on the host.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

/// An endless sequence of image indices; its state is the number of images seen.
///
/// ```
/// use fintan_data::Order;
///
/// let mut order = Order::new(7, 5, 0);
/// let mut epoch = order.take(5);
/// let next = order.take(3);
/// // The position alone determines how an order goes on.
/// assert_eq!(Order::new(7, 5, 5).take(3), next);
/// epoch.sort_unstable();
/// assert_eq!((epoch, order.seen()), (vec![0, 1, 2, 3, 4], 8));
/// ```
#[derive(Debug, Clone)]
pub struct Order {
    seed: u64,
    count: usize,
    seen: u64,
    shuffled: Vec<usize>,
}

impl Order {
    /// The order of `count` images for `seed`, after `seen` images.
    ///
    /// # Panics
    /// If there is no image.
    #[must_use]
    pub fn new(seed: u64, count: usize, seen: u64) -> Self {
        assert!(count > 0, "an order of no images");
        let mut order = Self { seed, count, seen, shuffled: Vec::new() };
        order.shuffle();
        order
    }

    /// Number of images seen so far, which a checkpoint stores.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The next `n` images. Epochs follow each other without a gap, so every image is seen equally often.
    pub fn take(&mut self, n: usize) -> Vec<usize> {
        (0..n)
            .map(|_| {
                let at = (self.seen % self.count as u64) as usize;
                if at == 0 {
                    self.shuffle();
                }
                self.seen += 1;
                self.shuffled[at]
            })
            .collect()
    }

    fn shuffle(&mut self) {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(self.seen / self.count as u64);
        self.shuffled = (0..self.count).collect();
        self.shuffled.shuffle(&mut rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_another_permutation() {
        let mut order = Order::new(7, 10, 0);
        let (first, second) = (order.take(10), order.take(10));
        for epoch in [&first, &second] {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(first, second);
        assert_ne!(Order::new(8, 10, 0).take(10), first);
    }

    #[test]
    fn an_order_goes_on_where_it_was_left() {
        let mut whole = Order::new(3, 7, 0);
        let all = whole.take(40);
        for cut in [0, 1, 6, 7, 8, 21, 39] {
            let mut head = Order::new(3, 7, 0);
            let mut got = head.take(cut);
            got.extend(Order::new(3, 7, head.seen()).take(40 - cut));
            assert_eq!(got, all, "cut at {cut}");
        }
    }
}
