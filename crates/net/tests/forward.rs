//! Forward passes against outputs computed elsewhere.

use burn::tensor::Tensor;
use fintan_config::{Architecture, Layer, Parametrization, Shape};
use fintan_net::{Mode, PlacedNetwork};

use fintan_testing::networks::{
    flex, golden, normal, placements, random_architecture, relative_difference, rng, values,
};

#[test]
fn golden_outputs_on_every_cpu_backend_and_lowering() {
    let cases = golden();
    for placement in placements() {
        for case in &cases {
            let (y, _) = case.network(&placement).forward(case.input(&placement), Mode::Train);
            let off = relative_difference(&y, &case.output(&placement));
            assert!(off < 1e-12, "{} on {:?}, {:?}: {off:e}", case.name, placement.device, placement.lowering);
        }
    }
}

/// Matrix products against Burn's own convolutions, over geometries nobody chose.
#[test]
fn lowerings_agree_with_native_convolutions() {
    for seed in 0..60 {
        let architecture = random_architecture(seed);
        let mut outputs: Vec<(String, Tensor<4>)> = Vec::new();
        for placement in placements() {
            let network = PlacedNetwork::init(&architecture, &mut rng(seed), &placement);
            let Shape { channels, height, width } = architecture.input;
            let x = normal([2, height, width, channels], &mut rng(1), &placement);
            let (y, _) = network.forward(x, Mode::Train);
            let y = Tensor::from_data(y.into_data(), (&flex().device, placement.dtype));
            outputs.push((format!("{:?} {:?}", placement.device, placement.lowering), y));
        }
        for (name, y) in &outputs[1..] {
            let off = relative_difference(y, &outputs[0].1);
            assert!(off < 1e-11, "seed {seed}, {name}: {off:e}\n{architecture:?}");
        }
    }
}

#[test]
fn running_statistics_average_batches_and_serve_evaluation() {
    let layers: Vec<Layer> =
        serde_json::from_str(r#"[{"dense":{"out":3}},{"batch_norm":{"momentum":0.25,"affine":false}}]"#)
            .expect("layers");
    let architecture = Architecture::new(Shape::vector(2), &layers, Parametrization::default()).expect("sound");
    let placement = flex();
    let network = PlacedNetwork::init(&architecture, &mut rng(3), &placement);
    let x = normal([5, 1, 1, 2], &mut rng(4), &placement);
    let (_, tape) = network.forward(x.clone(), Mode::Train);
    let dense = values(&x.clone().reshape([5, 2]).matmul(network.parameters()[0].clone()));
    let after = network.clone().absorb_statistics(&tape);
    let [mean, variance] = after.running_statistics().remove(0);
    for c in 0..3 {
        let column: Vec<f64> = (0..5).map(|n| dense[3 * n + c]).collect();
        let m = column.iter().sum::<f64>() / 5.0;
        let v = column.iter().map(|x| (x - m).powi(2)).sum::<f64>() / 4.0;
        assert!((values(&mean)[c] - 0.25 * m).abs() < 1e-14);
        assert!((values(&variance)[c] - (0.75 + 0.25 * v)).abs() < 1e-14);
    }
    let (y, _) = after.forward(x, Mode::Eval);
    let (y, m, v) = (values(&y), values(&mean), values(&variance));
    for (i, got) in y.iter().enumerate() {
        assert!((got - (dense[i] - m[i % 3]) / (v[i % 3] + 1e-5).sqrt()).abs() < 1e-13);
    }
}
