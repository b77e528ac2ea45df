//! Weights in and out, and what does not fit.

use burn::tensor::TensorData;
use fintan_config::{Architecture, Layer, Parametrization, Shape};
use fintan_net::weights::{Tensors, read_safetensors, write_safetensors};
use fintan_net::{Mode, Network};

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
    let beside = fails(&|t| drop(t.insert("x".into(), TensorData::new(vec![0.0], [1]))));
    assert_eq!(beside, "tensor `x` is no parameter of the network, which has 12 tensors up to `5.bias`");
    let half = fails(&|t| drop(t.remove("running.1.variance")));
    assert!(
        half.starts_with("tensor `running.1.variance`, running statistics of a batch norm, is missing; there"),
        "{half}"
    );
}

/// Half precision and integers are numbers too, and PyTorch counts batches in an integer tensor.
#[test]
fn tensors_of_other_types_are_read() {
    let layers: Vec<Layer> = serde_json::from_str(r#"[{"dense":{"out":2}},{"batch_norm":{}}]"#).expect("layers");
    let architecture = Architecture::new(Shape::vector(1), &layers, Parametrization::default()).expect("sound");
    let network = Network::init(&architecture, &mut rng(0), &flex());
    let header = r#"{"0.weight":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},"0.bias":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},"1.weight":{"dtype":"I32","shape":[2],"data_offsets":[8,16]},"1.bias":{"dtype":"U8","shape":[2],"data_offsets":[16,18]},"1.running_mean":{"dtype":"I8","shape":[2],"data_offsets":[18,20]},"1.running_var":{"dtype":"F32","shape":[2],"data_offsets":[20,28]},"1.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[28,36]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    // 1 and -0.5; 2 and -3; 4 and -5; 6 and 7; -8 and 9; 0.5 and 10; 11.
    bytes.extend([0x00, 0x3c, 0x00, 0xb8, 0x00, 0x40, 0x40, 0xc0, 4, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff, 6, 7, 0xf8, 9]);
    bytes.extend([0.5_f32, 10.0].map(f32::to_le_bytes).concat());
    bytes.extend(11_i64.to_le_bytes());
    let tensors = read_safetensors(&bytes).expect("read");
    let loaded = network.load(&tensors).expect("fits");
    assert!(loaded.unused().is_empty());
    let found = loaded.in_mode(Mode::Eval).expect("whole").to_tensors();
    let numbers: Vec<f64> = found.values().flat_map(|data| data.iter::<f64>().collect::<Vec<_>>()).collect();
    assert_eq!(numbers, [2.0, -3.0, 1.0, -0.5, 6.0, 7.0, 4.0, -5.0, -8.0, 9.0, 0.5, 10.0]);
}

#[test]
fn a_file_cut_short_is_refused() {
    let bytes = write_safetensors(&case().network(&flex()).to_tensors());
    for len in [0, 7, 40, bytes.len() - 1] {
        let error = read_safetensors(&bytes[..len]).expect_err("cut short").to_string();
        assert!(error.starts_with("not a complete safetensors file"), "{error}");
    }
}
