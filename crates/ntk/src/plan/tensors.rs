//! The largest tensor on the device, and the memory of the device, counted from shapes.

use fintan_net::LargestTensor;

use super::counter::{Counter, Extent, SCATTERED};
use super::{Bytes, PlanError, TileSize};
use crate::kernel::Entries;
use crate::method::Method;

impl Counter<'_> {
    /// Whether tiles of a size are within the limits of the device.
    pub(super) fn on_device(&self, method: Method, size: TileSize<usize>) -> bool {
        let limits = self.problem.limits();
        limits.largest_tensor.is_none_or(|most| self.largest_tensor(method, size) <= most)
            && limits.memory.is_none_or(|most| self.on_device_bytes(method, size) <= most)
    }

    /// The error for tiles that not even at the smallest size are within the limits of the device; `None` if they are.
    pub(super) fn beyond_device(&self, method: Method, wanted: TileSize) -> Option<PlanError> {
        let limits = self.problem.limits();
        let size = TileSize { samples: wanted.samples.unwrap_or(1), outputs: wanted.outputs.unwrap_or(1) };
        let tensor = self.largest_tensor(method, size);
        if let Some(largest) = limits.largest_tensor.filter(|&most| tensor > most) {
            let TileSize { samples, outputs } = size;
            return Some(PlanError::Tensor { samples, outputs, needed: Bytes(tensor), largest: Bytes(largest) });
        }
        let needed = self.on_device_bytes(method, size);
        let given = limits.memory.filter(|&most| needed > most)?;
        Some(PlanError::DeviceMemory { needed: Bytes(needed), given: Bytes(given) })
    }

    /// Bytes of the largest tensor of a pass through the network with some samples, or with all samples if they are coupled.
    pub(super) fn tensor_of_pass(&self, samples: usize) -> f64 {
        let samples = if self.problem.is_coupled() { self.batch() } else { samples };
        self.number * self.largest_of_layers().values(samples as f64).max(self.inputs())
    }

    fn largest_of_layers(&self) -> LargestTensor {
        let network = self.problem.network();
        LargestTensor::of(network.architecture(), network.lowering())
    }

    /// Number of values of the larger batch of inputs.
    fn inputs(&self) -> f64 {
        self.problem.inputs().map(|x| x.dims().iter().product::<usize>()).max().unwrap_or(0) as f64
    }

    /// Bytes of the largest tensor that tiles of a size make on the device.
    fn largest_tensor(&self, method: Method, size: TileSize<usize>) -> f64 {
        let problem = self.problem;
        let extent = Extent::largest(size, problem);
        let (t, coupled) = (extent.outputs as f64, problem.is_coupled());
        let largest = self.largest_of_layers();
        let batches = [0, 1].map(|side| if coupled { problem.side(side).x.dims()[0] } else { extent.samples[side] });
        let passed = largest.values(batches[0].max(batches[1]) as f64).max(self.inputs());
        let made = match method {
            Method::Structured => {
                // If samples are coupled, a cotangent spans the batch.
                let rows = [0, 1].map(|side| (extent.samples[side] * if coupled { batches[side] } else { 1 }) as f64);
                let sums = self.nodes.iter().filter(|node| node.index.is_some()).map(|node| {
                    let sizes = self.sizes_of(node, extent);
                    sizes.largest(sizes.order())
                });
                sums.fold(largest.values(t * rows[0].max(rows[1])), f64::max)
            }
            Method::NtkVectorProducts => 0.0,
            Method::JacobianContraction => {
                let parameters = self.nodes.iter().map(|node| node.weight_count().max(node.bias_count())).max();
                let [n1, n2] = extent.samples.map(|n| n as f64);
                let products = n1 * n2 * if problem.entries() == Entries::Full { t * t } else { t };
                (t * n1.max(n2) * parameters.unwrap_or(0) as f64).max(products)
            }
        };
        self.number * passed.max(made)
    }

    /// Bytes on the device: parameters, inputs, tapes, and what a tile makes.
    fn on_device_bytes(&self, method: Method, size: TileSize<usize>) -> f64 {
        let extent = Extent::largest(size, self.problem);
        let inputs: usize = self.problem.inputs().map(|x| x.dims().iter().product::<usize>()).sum();
        let passed = if self.problem.is_coupled() { self.batch() } else { self.passed(extent) };
        let kept = self.number * (self.parameters() + inputs as f64);
        kept + SCATTERED * self.tapes(passed) + self.tile(method, extent).bytes
    }
}
