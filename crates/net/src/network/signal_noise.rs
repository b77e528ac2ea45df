//! Propagates signal and noise together, layer by layer, without storing a tape.

use burn::tensor::Tensor;

use super::{Mode, PlacedNetwork};
use crate::layers::{BatchNormSaved, Entry, Operation, Residual};

/// How a perturbation of the input is propagated through a batch norm.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// # use fintan_net::{Lowering, NoiseRule, PlacedNetwork, Placement};
/// # let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let x = Tensor::<4>::from_data([[[[2.0, 3.0]]]], (&cpu.device, cpu.dtype));
/// // `network` is y = x₀ + x₁ + 1, which has no batch norm: both rules give ∂y/∂x dx.
/// let dx = x.ones_like();
/// let (y, dy) = network.propagate_signal_noise(x, dx, NoiseRule::Full, &mut |_, _, _| {});
/// assert_eq!((y.into_scalar::<f64>(), dy.into_scalar::<f64>()), (6.0, 2.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseRule {
    /// Mean and variance are constants: the derivative in the limit of infinitely many inputs.
    FixedStats,
    /// Mean and variance depend on the batch, as in [`PlacedNetwork::pushforward`].
    Full,
}

/// A callback that receives signal and noise after each layer: `(path, x, dx)`.
///
/// The path is the index of the layer in the list of layers, followed, within a residual block, by its index in the branch.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// # use fintan_net::{Lowering, NoiseRule, PlacedNetwork, Placement};
/// # let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let x = Tensor::<4>::from_data([[[[2.0, 3.0]]]], (&cpu.device, cpu.dtype));
/// // `network` is one layer, y = x₀ + x₁ + 1.
/// let mut paths = Vec::new();
/// let dx = x.zeros_like();
/// network.propagate_signal_noise(x, dx, NoiseRule::Full, &mut |path, _, _| paths.push(path.to_vec()));
/// assert_eq!(paths, [[0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type LayerProbe<'a> = dyn FnMut(&[usize], &Tensor<4>, &Tensor<4>) + 'a;

impl PlacedNetwork {
    /// Propagates a signal x and a linearised noise dx, `dy = ∂f/∂x dx`, and calls `watch` with both after each layer. Batch
    /// norms use the statistics of the batch.
    ///
    /// # Shapes
    /// - `x`, `dx`: `[batch, ..]`; returns both with the output's shape
    #[must_use]
    pub fn propagate_signal_noise(
        &self,
        x: Tensor<4>,
        dx: Tensor<4>,
        rule: NoiseRule,
        watch: &mut LayerProbe,
    ) -> (Tensor<4>, Tensor<4>) {
        self.signal_noise_through(&self.plan.operations, (x, dx), rule, &mut Vec::new(), watch)
    }

    fn signal_noise_through(
        &self,
        operations: &[Operation],
        mut pair: (Tensor<4>, Tensor<4>),
        rule: NoiseRule,
        path: &mut Vec<usize>,
        watch: &mut LayerProbe,
    ) -> (Tensor<4>, Tensor<4>) {
        for (i, operation) in operations.iter().enumerate() {
            path.push(i);
            pair = self.signal_noise_one(operation, pair, rule, path, watch);
            watch(path, &pair.0, &pair.1);
            path.pop();
        }
        pair
    }

    fn signal_noise_one(
        &self,
        operation: &Operation,
        (x, dx): (Tensor<4>, Tensor<4>),
        rule: NoiseRule,
        path: &mut Vec<usize>,
        watch: &mut LayerProbe,
    ) -> (Tensor<4>, Tensor<4>) {
        if let Operation::Residual(Residual { branch, shortcut, scale }) = operation {
            let through = self.signal_noise_through(branch, (x.clone(), dx.clone()), rule, path, watch);
            let around = self.signal_noise_through(shortcut, (x, dx), rule, path, &mut |_, _, _| {});
            return ((through.0 + around.0).mul_scalar(*scale), (through.1 + around.1).mul_scalar(*scale));
        }
        let (y, mut entry) = operation.forward(self, x, Mode::Train);
        if let (NoiseRule::FixedStats, Entry::BatchNorm(BatchNormSaved { normalized, .. })) = (rule, &mut entry) {
            normalized.over = None;
        }
        let dy = operation.pushforward(self, &entry, dx, None);
        (y, dy)
    }
}
