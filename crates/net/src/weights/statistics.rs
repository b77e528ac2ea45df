//! The names of the running statistics of batch norms.

use super::{Tensors, WeightsError, some_of};

/// The names of the running statistics of one batch norm.
pub(super) struct StatisticsNames {
    /// The index k among batch norms.
    pub(super) norm: usize,
    /// The index i among layers with parameters, if the batch norm has scale and shift.
    pub(super) index: Option<usize>,
}

/// The names of one running statistic.
pub(super) struct Statistic {
    name: String,
    torch: Option<String>,
    pub(super) is_variance: bool,
}

impl StatisticsNames {
    /// The mean and the variance.
    pub(super) fn both(&self) -> [Statistic; 2] {
        let Self { norm, index } = self;
        [("mean", "running_mean", false), ("variance", "running_var", true)].map(|(name, torch, is_variance)| {
            Statistic {
                name: format!("running.{norm}.{name}"),
                torch: index.map(|i| format!("{i}.{torch}")),
                is_variance,
            }
        })
    }

    /// The name of PyTorch's counter of batches.
    pub(super) fn counter(&self) -> Option<String> {
        self.index.map(|i| format!("{i}.num_batches_tracked"))
    }
}

impl Statistic {
    /// The name of the statistic in the tensors, if it is there.
    pub(super) fn given(&self, tensors: &Tensors) -> Result<Option<String>, WeightsError> {
        let own = tensors.contains_key(&self.name).then(|| self.name.clone());
        match (own, self.torch.clone().filter(|torch| tensors.contains_key(torch))) {
            (Some(name), Some(torch)) => Err(WeightsError::Twice { name, torch }),
            (Some(name), None) | (None, Some(name)) => Ok(Some(name)),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn missing(&self, tensors: &Tensors) -> WeightsError {
        let (name, torch) = (self.name.clone(), self.torch.clone());
        WeightsError::MissingStatistics { name, torch, present: some_of(tensors) }
    }
}
