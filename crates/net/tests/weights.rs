//! Weights in and out, and what does not fit.

use burn::tensor::TensorData;
use fintan_config::{Architecture, Layer, Parametrization, Shape};
use fintan_net::weights::{Tensors, read_safetensors, read_tensor, write_safetensors};
use fintan_net::{Mode, PlacedNetwork};

use fintan_testing::networks::{NetworkCase, flex, golden, rng};

fn case() -> NetworkCase {
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
        let again =
            PlacedNetwork::init(&case.architecture, &mut rng(99), &flex()).with_tensors(&out).expect("they fit");
        assert_eq!(write_safetensors(&again.to_tensors()), bytes);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let case = case();
    let fails = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = case.network(&flex()).to_tensors();
        change(&mut tensors);
        PlacedNetwork::init(&case.architecture, &mut rng(0), &flex())
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
    let network = PlacedNetwork::init(&architecture, &mut rng(0), &flex());
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

/// A safetensors file of one tensor `x` and others.
fn file(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut body) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = body.len();
        body.extend(bytes);
        header.push(format!(
            "\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{}]}}",
            body.len()
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &body].concat()
}

#[test]
fn half_precision_and_integers_are_read_and_tensors_that_are_not_meant_refuse_nothing() {
    let cases: [(&str, Vec<u8>, [f64; 2]); 8] = [
        ("F16", vec![0x00, 0x3c, 0x00, 0xc4], [1.0, -4.0]),
        ("BF16", vec![0x80, 0x3f, 0x80, 0xc0], [1.0, -4.0]),
        ("F32", [0.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat(), [0.5, -2.0]),
        ("F64", [0.1_f64.to_le_bytes(), 1e300_f64.to_le_bytes()].concat(), [0.1, 1e300]),
        ("I64", [(-3_i64).to_le_bytes(), 7_i64.to_le_bytes()].concat(), [-3.0, 7.0]),
        ("U16", vec![1, 0, 0, 1], [1.0, 256.0]),
        ("I8", vec![0xff, 2], [-1.0, 2.0]),
        ("BOOL", vec![1, 0], [1.0, 0.0]),
    ];
    for (dtype, bytes, want) in cases {
        let odd = ("odd", "F8_E4M3", &[1][..], vec![0]);
        let bytes = file(&[("x", dtype, &[2], bytes), odd, ("n", "I64", &[], vec![9, 0, 0, 0, 0, 0, 0, 0])]);
        let x = read_tensor(&bytes, "x").expect("read");
        assert_eq!(x.iter::<f64>().collect::<Vec<_>>(), want, "{dtype}");
        let all = read_safetensors(&bytes).expect("read");
        assert_eq!(all.keys().collect::<Vec<_>>(), ["n", "x"]);
        assert_eq!(all["x"], x);
        let said = read_tensor(&bytes, "odd").expect_err("eight bits").to_string();
        assert!(said.starts_with("tensor `odd` is of type F8_E4M3, which is unsupported"), "{said}");
        let said = read_tensor(&bytes, "y").expect_err("not there").to_string();
        assert_eq!(said, "there is no tensor `y`, only n, odd, x");
    }
    // One that a network would need is not passed over.
    let bytes = file(&[("0.weight", "F8_E4M3", &[1], vec![0])]);
    assert!(read_safetensors(&bytes).expect_err("eight bits").to_string().starts_with("tensor `0.weight` is of type"));
}

#[test]
fn weights_of_half_precision_are_those_of_their_values() {
    let case = case();
    let tensors = case.network(&flex()).to_tensors();
    // Cut to what bf16 holds, and written as F32 and as BF16.
    let cut = |data: &TensorData| data.iter::<f32>().map(|v| v.to_bits() >> 16).collect::<Vec<u32>>();
    let (mut single, mut half) = (Tensors::new(), Vec::new());
    for (name, data) in &tensors {
        let values = cut(data);
        let floats: Vec<f32> = values.iter().map(|&bits| f32::from_bits(bits << 16)).collect();
        single.insert(name.clone(), TensorData::new(floats, data.shape().clone()));
        half.push((
            name.clone(),
            data.shape().to_vec(),
            values.iter().flat_map(|&b| (b as u16).to_le_bytes()).collect(),
        ));
    }
    let half: Vec<(&str, &str, &[usize], Vec<u8>)> = half
        .iter()
        .map(|(name, shape, bytes): &(String, Vec<usize>, Vec<u8>)| (name.as_str(), "BF16", &shape[..], bytes.clone()))
        .collect();
    let network = |tensors: &Tensors| {
        let network =
            PlacedNetwork::init(&case.architecture, &mut rng(1), &flex()).with_tensors(tensors).expect("they fit");
        write_safetensors(&network.to_tensors())
    };
    assert_eq!(network(&single), network(&read_safetensors(&file(&half)).expect("read")));
}
