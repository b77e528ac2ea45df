//! Weights in and out, and what does not fit.

use burn::tensor::TensorData;
use fintan_net::Network;
use fintan_net::weights::{Tensors, read_safetensors, write_safetensors};

use crate::support::{Case, flex, golden, rng};

fn case() -> Case {
    golden().into_iter().find(|c| c.name == "norms").expect("a case with every layout")
}

#[test]
fn tensors_survive_a_file_and_a_network() {
    for case in golden() {
        let network = case.network(&flex());
        let out = network.to_tensors();
        for (name, data) in &out {
            if let Some(given) = case.tensors.get(name) {
                assert_eq!(data, given, "{}: {name}", case.name);
            }
        }
        let bytes = write_safetensors(&out);
        assert_eq!(read_safetensors(&bytes).expect("just written"), out);
        let again = Network::init(&case.architecture, &mut rng(99), &flex()).with_tensors(&out).expect("they fit");
        assert_eq!(write_safetensors(&again.to_tensors()), bytes);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let case = case();
    let fails = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = case.network(&flex()).to_tensors();
        change(&mut tensors);
        Network::init(&case.architecture, &mut rng(0), &flex())
            .with_tensors(&tensors)
            .expect_err("must not fit")
            .to_string()
    };
    let missing = fails(&|t| drop(t.remove("0.weight")));
    assert!(
        missing.starts_with("tensor `0.weight` of shape [24, 6] is missing; there are: 0.bias, 1.bias"),
        "{missing}"
    );
    let extra = fails(&|t| drop(t.insert("17.weight".into(), TensorData::new(vec![0.0], [1]))));
    assert_eq!(extra, "tensor `17.weight` is no parameter of the network, which has 12 tensors up to `5.bias`");
    let shape = fails(&|t| drop(t.insert("0.weight".into(), TensorData::new(vec![0.0; 144], [6, 24]))));
    assert_eq!(shape, "tensor `0.weight` must have shape [24, 6], got [6, 24]");
    let nan = fails(&|t| drop(t.insert("0.bias".into(), TensorData::new(vec![f64::NAN; 24], [24]))));
    assert_eq!(nan, "tensor `0.bias` holds a value that is not finite");
    let running = fails(&|t| drop(t.insert("running.0.mean".into(), TensorData::new(vec![0.0; 5], [5]))));
    assert_eq!(running, "tensor `running.0.mean` must have shape [6], got [5]");
}

#[test]
fn a_file_cut_short_is_refused() {
    let bytes = write_safetensors(&case().network(&flex()).to_tensors());
    for len in [0, 7, 40, bytes.len() - 1] {
        let error = read_safetensors(&bytes[..len]).expect_err("cut short").to_string();
        assert!(error.starts_with("not a complete safetensors file"), "{error}");
    }
}
