//! Golden networks, CPU devices, random architectures, comparisons of tensors.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_config::{
    Architecture, InputShape, Layer, NetworkExperiment, NetworkSettings, NetworkTable, Observe, Parametrization, Shape,
    Subject,
};
use fintan_net::weights::Tensors;
use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// A network with its parameters and what a program in `assets/golden` computed of it.
pub struct NetworkCase {
    /// Name of the case.
    pub name: String,
    /// The network.
    pub architecture: Architecture,
    /// Parameters by PyTorch's names and layouts, inputs `x` and outputs `y`.
    pub tensors: Tensors,
    layers: Vec<Layer>,
    parametrization: Parametrization,
}

#[derive(serde::Deserialize)]
struct Written {
    name: String,
    parametrization: Parametrization,
    input: [usize; 3],
    layers: Vec<Layer>,
    tensors: BTreeMap<String, Array>,
}

#[derive(serde::Deserialize)]
struct Array {
    shape: Vec<usize>,
    data: Vec<f64>,
}

/// The networks of `assets/golden/network_cases.json`, in the mode of training.
///
/// # Panics
/// If the file is damaged.
pub fn golden() -> Vec<NetworkCase> {
    cases(include_str!("../../../assets/golden/network_cases.json"))
}

/// The networks of `assets/golden/evaluation_cases.json`, whose batch norms have running statistics.
///
/// # Panics
/// If the file is damaged.
pub fn golden_in_evaluation() -> Vec<NetworkCase> {
    cases(include_str!("../../../assets/golden/evaluation_cases.json"))
}

fn cases(text: &str) -> Vec<NetworkCase> {
    let written: Vec<Written> = serde_json::from_str(text).expect("golden cases");
    let case = |Written { name, parametrization, input: [c, h, w], layers, tensors }: Written| NetworkCase {
        name,
        architecture: Architecture::new(Shape::image(c, h, w), &layers, parametrization)
            .expect("golden architectures are sound"),
        tensors: tensors.into_iter().map(|(name, a)| (name, TensorData::new(a.data, a.shape))).collect(),
        layers,
        parametrization,
    };
    written.into_iter().map(case).collect()
}

/// A checked configuration with a `[network]`.
///
/// # Panics
/// If it is refused, or is a GAN.
pub fn experiment(text: &str) -> NetworkExperiment {
    match Subject::parse("test", text, &[]).unwrap_or_else(|e| panic!("{e:?}\n{text}")) {
        Subject::Network(network) => network,
        Subject::Gan(_) => panic!("not a [network]: {text}"),
    }
}

/// Burn's ndarray backend.
#[expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]
pub fn ndarray() -> Device {
    Device::ndarray()
}

/// The f64 placements that numeric checks run on.
pub fn placements() -> Vec<Placement> {
    let on = |device: Device, lowering| Placement { device, dtype: DType::F64, lowering };
    let mut all = Vec::new();
    for lowering in [Lowering::Native, Lowering::Views, Lowering::Host] {
        all.push(on(Device::flex(), lowering));
        all.push(on(ndarray(), lowering));
    }
    all
}

/// Flex in f64, in tensor operations that autodiff goes through.
pub fn flex() -> Placement {
    Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Views }
}

/// A stream of random numbers.
pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

impl NetworkCase {
    /// The network with the parameters of the case.
    ///
    /// # Panics
    /// If the parameters do not fit the network.
    pub fn network(&self, placement: &Placement) -> PlacedNetwork {
        let network = PlacedNetwork::init(&self.architecture, &mut rng(0), placement);
        let loaded = network.load(&self.tensors).and_then(|loaded| loaded.in_mode(Mode::Train));
        loaded.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Inputs, `[samples, height, width, channels]`.
    pub fn input(&self, placement: &Placement) -> Tensor<4> {
        samples(self.tensors["x"].clone(), self.architecture.input, placement)
    }

    /// Expected outputs, `[samples, height, width, channels]`.
    pub fn output(&self, placement: &Placement) -> Tensor<4> {
        samples(self.tensors["y"].clone(), self.architecture.output(), placement)
    }

    /// The network as a configuration in TOML.
    pub fn config(&self) -> String {
        let network = NetworkTable {
            input: InputShape(self.architecture.input),
            parametrization: self.parametrization,
            fc: None,
            vanilla: None,
            bn_ff: None,
            bn_res: None,
            outputs: None,
            layers: Some(self.layers.clone()),
        };
        NetworkSettings { seed: 0, network, data: None, task: None, moments: None, observe: Observe::default() }
            .to_toml()
    }
}

/// Channels-first data as channels-last samples.
fn samples(data: TensorData, shape: Shape, placement: &Placement) -> Tensor<4> {
    let n = data.shape()[0];
    let count = n * shape.len();
    let (bytes, _, dtype) = data.into_parts();
    let flat: Tensor<1> =
        Tensor::from_data(TensorData::from_bytes(bytes, [count], dtype), (&placement.device, DType::F64));
    fintan_net::channels_last(flat.reshape([n, shape.channels, shape.height, shape.width]))
}

/// Values from a uniform distribution on [-1.7, 1.7).
pub fn normal<const D: usize>(shape: [usize; D], rng: &mut impl Rng, placement: &Placement) -> Tensor<D> {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-1.7..1.7)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&placement.device, DType::F64))
}

/// All values on the host.
///
/// # Panics
/// If the tensor is not in f64.
pub fn values<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
    x.to_data().try_to_vec::<f64>().expect("f64 on the host")
}

/// Largest absolute difference over the largest absolute value of `b`.
///
/// # Panics
/// If shapes differ.
pub fn relative_difference<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (values(a), values(b));
    let largest = b.iter().fold(1e-300_f64, |m, x| m.max(x.abs()));
    a.iter().zip(&b).fold(0.0_f64, |m, (x, y)| m.max((x - y).abs())) / largest
}

/// Inner product.
pub fn dot<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f64 {
    values(a).iter().zip(values(b)).map(|(x, y)| x * y).sum()
}

/// A random network of images: convolutions of any geometry, norms, residual blocks, a dense head in some.
///
/// # Panics
/// Never: only layers that fit are kept.
pub fn random_architecture(seed: u64) -> Architecture {
    let mut rng = rng(seed);
    let parametrization = match rng.random_range(0..3) {
        0 => r#"{"standard":{"init":"lecun","bias_std":0.3}}"#,
        1 => r#"{"ntk":{"beta":0.3}}"#,
        _ => r#"{"graph":{"beta":0.2}}"#,
    };
    let parametrization = serde_json::from_str(parametrization).expect("a parametrization");
    let input = Shape::image(rng.random_range(1..4), rng.random_range(2..7), rng.random_range(2..7));
    let mut layers: Vec<Layer> = Vec::new();
    let wanted = rng.random_range(2..6);
    // Layers are drawn until enough of them fit, so that every geometry the checks allow can come up.
    while layers.len() < wanted {
        let layer = random_layer(&mut rng);
        layers.push(layer);
        let fits =
            Architecture::new(input, &with_first_conv(&layers), parametrization).is_ok_and(|a| a.output().len() <= 400);
        if !fits {
            layers.pop();
        }
    }
    Architecture::new(input, &with_first_conv(&layers), parametrization).expect("every layer was tried")
}

/// So that there is a parameter in front of every norm.
fn with_first_conv(layers: &[Layer]) -> Vec<Layer> {
    let first = serde_json::from_str(r#"{"conv":{"out":3,"kernel":[2,2],"padding":1}}"#).expect("a layer");
    std::iter::once(first).chain(layers.iter().cloned()).collect()
}

fn random_layer(rng: &mut ChaCha20Rng) -> Layer {
    let mut pair = |from: usize, to: usize| [rng.random_range(from..to), rng.random_range(from..to)];
    let (kernel, stride, padding, extra) = (pair(1, 5), pair(1, 4), pair(0, 3), pair(0, 2));
    let factor = pair(1, 3);
    let out = rng.random_range(1..4);
    let function = ["tanh", "erf", "gelu", "softplus", "sin", "mish"][rng.random_range(0..6)];
    let scaling = ["raw", "standardized", "normalized"][rng.random_range(0..3)];
    let affine = rng.random_bool(0.5);
    let text = match rng.random_range(0..13) {
        0 | 1 => format!(r#"{{"conv":{{"out":{out},"kernel":{kernel:?},"stride":{stride:?},"padding":{padding:?}}}}}"#),
        2 | 3 => format!(
            r#"{{"deconv":{{"out":{out},"kernel":{kernel:?},"stride":{stride:?},"padding":{padding:?},"output_padding":{extra:?}}}}}"#
        ),
        4 | 5 => format!(r#"{{"activation":{{"function":"{function}","scaling":"{scaling}"}}}}"#),
        6 => format!(r#"{{"batch_norm":{{"affine":{affine},"eps":0.01}}}}"#),
        7 => {
            let over = ["chw", "features"][rng.random_range(0..2)];
            format!(r#"{{"layer_norm":{{"affine":{affine},"over":"{over}","eps":0.01}}}}"#)
        }
        8 => format!(r#"{{"upsample":{{"factor":{factor:?}}}}}"#),
        9 => {
            let mode = ["zero", "periodic", "symmetric"][rng.random_range(0..3)];
            format!(r#"{{"pad":{{"before":{padding:?},"after":{extra:?},"mode":"{mode}"}}}}"#)
        }
        10 => r#"{"residual":{"layers":[{"batch_norm":{"eps":0.01}},{"activation":{"function":"tanh"}}],"shortcut":[],"scale":0.7}}"#.into(),
        11 => {
            let count = affine;
            format!(
                r#"{{"avg_pool":{{"window":{kernel:?},"stride":{stride:?},"padding":{padding:?},"count_padding":{count}}}}}"#
            )
        }
        _ => format!(r#"{{"{}":{{}}}}"#, ["flatten", "global_average_pool"][rng.random_range(0..2)]),
    };
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
}
