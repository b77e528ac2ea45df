//! Running statistics of batch normalization.

use burn::tensor::Tensor;

use super::{PlacedNetwork, Tape};
use crate::layers::{BatchNormSaved, Entry};
use crate::norm::BatchStatistics;

/// Running statistics of one batch normalization, `[1, channels]`.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) mean: Tensor<2>,
    pub(crate) variance: Tensor<2>,
    pub(crate) momentum: f64,
}

impl PlacedNetwork {
    /// Running means and variances of the batch norms, in order, each `[1, channels]`.
    #[must_use]
    pub fn running_statistics(&self) -> Vec<[Tensor<2>; 2]> {
        self.running.iter().map(|r| [r.mean.clone(), r.variance.clone()]).collect()
    }

    /// A network with the same parameters and other running statistics.
    ///
    /// # Panics
    /// If the number of statistics differs.
    #[must_use]
    pub fn with_running_statistics(mut self, statistics: Vec<[Tensor<2>; 2]>) -> Self {
        assert_eq!(statistics.len(), self.running.len(), "number of batch norms");
        for (running, [mean, variance]) in self.running.iter_mut().zip(statistics) {
            running.mean = mean;
            running.variance = variance;
        }
        self
    }

    /// Moves the running statistics towards those of a training forward pass (unbiased variance, as in PyTorch).
    #[must_use]
    pub fn absorb_statistics(mut self, tape: &Tape) -> Self {
        fn walk<'a>(entries: &'a [Entry], found: &mut Vec<&'a BatchStatistics>) {
            for entry in entries {
                match entry {
                    Entry::BatchNorm(BatchNormSaved { statistics, .. }) => found.extend(statistics),
                    Entry::Residual([branch, shortcut]) => {
                        walk(branch, found);
                        walk(shortcut, found);
                    }
                    Entry::LinearLayer(_)
                    | Entry::Pointwise(_)
                    | Entry::LayerNorm(_)
                    | Entry::Reshape(())
                    | Entry::Positions(()) => {}
                }
            }
        }
        let mut found = Vec::new();
        walk(&tape.0, &mut found);
        for (running, batch) in self.running.iter_mut().zip(found) {
            let m = running.momentum;
            let unbiased = batch.count as f64 / (batch.count.max(2) - 1) as f64;
            running.mean = running.mean.clone().mul_scalar(1.0 - m) + batch.mean.clone().mul_scalar(m);
            running.variance =
                running.variance.clone().mul_scalar(1.0 - m) + batch.variance.clone().mul_scalar(m * unbiased);
        }
        self
    }
}
