//! Networks and numbers of the tests.

use std::path::Path;

use fintan_config::{Activation, Architecture, Beta, Convolution, Function, Layer, Parametrization, Scaling, Shape};
use serde_json::Value;

/// High-precision numbers of a separate program.
pub(crate) fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/infinite_cases.json");
    serde_json::from_slice(&std::fs::read(path).expect("committed")).expect("made by a program")
}

pub(crate) fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap_or_else(|| panic!("{key} in {case}"))
}

pub(crate) fn numbers(case: &Value) -> Vec<f64> {
    case.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

pub(crate) fn function(name: &str) -> Function {
    serde_json::from_value(name.into()).expect("a known function")
}

pub(crate) fn activation(function: Function, scaling: Scaling) -> Activation {
    Activation::raw(function).with_scaling(scaling)
}

pub(crate) fn normalized_relu() -> Activation {
    activation(Function::Relu, Scaling::Normalized)
}

pub(crate) fn standardized_relu() -> Activation {
    activation(Function::Relu, Scaling::Standardized)
}

pub(crate) fn ntk(beta: f64) -> Parametrization {
    Parametrization::Ntk(Beta { beta })
}

pub(crate) fn graph(beta: f64) -> Parametrization {
    Parametrization::Graph(Beta { beta })
}

/// A fully connected net of that many linear layers.
pub(crate) fn dense(
    activation: Activation,
    layers: usize,
    parametrization: Parametrization,
    inputs: usize,
) -> Architecture {
    let mut list = vec![Layer::Dense(8.into())];
    for _ in 1..layers {
        list.extend([Layer::Activation(activation), Layer::Dense(8.into())]);
    }
    Architecture::new(Shape::vector(inputs), &list, parametrization).expect("sound")
}

pub(crate) fn deconv(kernel: usize, stride: usize, padding: usize) -> Convolution {
    Convolution {
        out: 8,
        kernel: kernel.into(),
        stride: stride.into(),
        padding: padding.into(),
        output_padding: 0.into(),
        init: None,
    }
}

/// 1x1 -> 4x4 -> 8x8 -> ..., doubling that many times.
pub(crate) fn generator(activation: Activation, doublings: usize, parametrization: Parametrization) -> Architecture {
    let mut list = vec![Layer::Deconv(deconv(4, 1, 0))];
    for _ in 0..doublings {
        list.extend([Layer::Activation(activation), Layer::Deconv(deconv(4, 2, 1))]);
    }
    Architecture::new(Shape::vector(1), &list, parametrization).expect("sound")
}

/// Two points of the sphere |x|² = 2 with a given x·y / 2.
pub(crate) fn pair(c: f64) -> [Vec<f64>; 2] {
    let root = 2.0_f64.sqrt();
    [vec![root, 0.0], vec![root * c, root * (1.0 - c * c).sqrt()]]
}

#[track_caller]
pub(crate) fn near(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got - want).abs() <= tolerance, "{what}: got {got}, want {want}, off by {:.1e}", (got - want).abs());
}
