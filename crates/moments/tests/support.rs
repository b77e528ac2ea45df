//! Devices and configurations.

use burn::tensor::{DType, Device};
use fintan_config::{NetworkExperiment, Subject};
use fintan_moments::{Plan, Realisation};
use fintan_net::{Lowering, Placement};

#[expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]
fn ndarray() -> Device {
    Device::ndarray()
}

/// CPU placements of a precision.
pub(crate) fn placements(dtype: DType) -> Vec<Placement> {
    let on = |device, lowering| Placement { device, dtype, lowering };
    vec![on(Device::flex(), Lowering::Host), on(ndarray(), Lowering::Host), on(Device::flex(), Lowering::Views)]
}

pub(crate) fn flex(dtype: DType) -> Placement {
    placements(dtype).remove(0)
}

pub(crate) fn experiment(text: &str) -> NetworkExperiment {
    match Subject::parse("test", text, &[]).unwrap_or_else(|e| panic!("{e:?}\n{text}")) {
        Subject::Network(network) => network,
        Subject::Gan(_) => unreachable!("a [network]"),
    }
}

/// So many realisations of a configuration, in single precision.
pub(crate) fn realise(experiment: &NetworkExperiment, count: u64) -> Vec<Realisation> {
    let plan = Plan::new(experiment).expect("[moments]");
    let numbers: Vec<u64> = (0..count).collect();
    plan.realise_side_by_side(&numbers, None, &flex(DType::F32)).expect("inputs")
}
