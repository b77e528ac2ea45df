//! Problems and comparisons.

use burn::tensor::{Device, Tensor};
use fintan_config::{Architecture, Layer, Parametrization, Shape};
use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest, KernelValues, Method};

use fintan_testing::networks::{flex, ndarray, normal, random_architecture, rng};

pub(crate) const METHODS: [Method; 3] = [Method::Structured, Method::NtkVectorProducts, Method::JacobianContraction];
pub(crate) const ENTRIES: [Entries; 3] = [Entries::Full, Entries::Traced, Entries::Diagonal];

/// The CPU backends in f64, as the program opens them.
pub(crate) fn backends() -> Vec<Placement> {
    let on = |device: Device| Placement { device, lowering: Lowering::Host, ..flex() };
    vec![on(Device::flex()), on(ndarray())]
}

pub(crate) fn problem(
    network: &PlacedNetwork,
    x1: &Tensor<4>,
    x2: Option<&Tensor<4>>,
    entries: Entries,
) -> KernelRequest {
    KernelRequest::new(network.clone(), x1.clone(), x2.cloned(), Mode::Train, entries, Vec::new())
        .expect("a sound problem")
}

pub(crate) fn compute(method: Method, problem: &KernelRequest) -> KernelParts {
    let plan = KernelPlan::new(problem, Some(method), f64::INFINITY).expect("no bound");
    KernelParts::compute(problem, &plan)
}

/// Largest difference of any part over the largest entry of the kernel.
pub(crate) fn difference(a: &KernelParts, b: &KernelParts) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (total, other) = (list(&a.total()), list(&b.total()));
    let largest = other.iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
    let parts = a.parts.iter().zip(&b.parts).map(|(a, b)| {
        assert_eq!(a.name, b.name);
        assert_eq!(a.values.len(), b.values.len());
        far(&list(&a.values), &list(&b.values))
    });
    parts.fold(far(&total, &other), f64::max) / largest
}

pub(crate) fn list(values: &KernelValues) -> Vec<f64> {
    values.iter().collect()
}

/// Largest absolute difference.
pub(crate) fn far(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (a, b)| f64::max(m, (a - b).abs()))
}

/// A random network small enough for whole Jacobians, with inputs of both sides.
pub(crate) fn random_network(seed: u64, placement: &Placement) -> (PlacedNetwork, [Tensor<4>; 2]) {
    let mut number = 5000 + seed;
    let architecture = loop {
        let architecture = random_architecture(number);
        if architecture.output().len() <= 12 {
            break architecture;
        }
        number += 1000;
    };
    let network = PlacedNetwork::init(&architecture, &mut rng(seed), placement);
    let Shape { channels, height, width } = architecture.input;
    let x = [3, 2].map(|n| normal([n, height, width, channels], &mut rng(seed + n as u64), placement));
    (network, x)
}

/// A network of layers written as JSON.
pub(crate) fn network(input: Shape, layers: &str, parametrization: &str, placement: &Placement) -> PlacedNetwork {
    let layers: Vec<Layer> = serde_json::from_str(layers).expect("layers");
    let parametrization: Parametrization = serde_json::from_str(parametrization).expect("a parametrization");
    let architecture = Architecture::new(input, &layers, parametrization).expect("a sound network");
    PlacedNetwork::init(&architecture, &mut rng(3), placement)
}
