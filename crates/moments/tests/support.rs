//! Devices and realisations.

use burn::tensor::{DType, Device};
use fintan_config::NetworkExperiment;
use fintan_moments::{MomentsPlan, Realisation};
use fintan_net::{Lowering, Placement};
use fintan_testing::networks::ndarray;

/// CPU placements of a precision.
pub(crate) fn placements(dtype: DType) -> Vec<Placement> {
    let on = |device, lowering| Placement { device, dtype, lowering };
    vec![on(Device::flex(), Lowering::Host), on(ndarray(), Lowering::Host), on(Device::flex(), Lowering::Views)]
}

pub(crate) fn flex(dtype: DType) -> Placement {
    placements(dtype).remove(0)
}

/// So many realisations of a configuration, in single precision.
pub(crate) fn realise(experiment: &NetworkExperiment, count: u64) -> Vec<Realisation> {
    let plan = MomentsPlan::new(experiment).expect("[moments]");
    let numbers: Vec<u64> = (0..count).collect();
    plan.realise_side_by_side(&numbers, None, &flex(DType::F32)).expect("inputs")
}
