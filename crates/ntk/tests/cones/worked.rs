//! A chain of two transposed convolutions above a dense layer, with decimals by hand.

use std::borrow::Cow;

use super::support::close;
use fintan_ntk::cones::{
    Chain, ConeCotangents, ConeLayer, ConePlan, Geometry, InputTerm, LayerKind, PartBuffers, Target, full, traced,
};

const SCALE: f64 = 0.4;
const BETA: f64 = 0.6;

fn relu(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.max(0.0)).collect()
}

fn step(values: &[f64]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(u8::from(value > 0.0))).collect()
}

/// A transposed convolution with kernel 4, stride 2, padding 1 and one channel.
fn deconv(input: &[f64], size: usize, weights: &[f64], bias: f64) -> Vec<f64> {
    let mut output = vec![BETA * bias; 4 * size * size];
    for (q, input) in input.iter().enumerate() {
        for (k, weight) in weights.iter().enumerate() {
            let (Some(y), Some(x)) = ((2 * (q / size) + k / 4).checked_sub(1), (2 * (q % size) + k % 4).checked_sub(1))
            else {
                continue;
            };
            if y < 2 * size && x < 2 * size {
                output[y * 2 * size + x] += SCALE * weight * input;
            }
        }
    }
    output
}

#[test]
fn kernel_of_the_worked_example() {
    let inputs = [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]];
    let dense = [[1.0, 1.0, 0.0, 0.0], [2.0, -3.0, 0.0, 0.0], [-1.0, 2.0, 0.0, 0.0], [3.0, -2.0, 0.0, 0.0]];
    let first = [1., 2., -1., 1., 2., 1., 1., -3., -1., 1., 2., 1., 1., -2., 1., 2.];
    let second = [1., 0., 2., 1., -1., 1., 1., 0., 2., 1., 0., 1., 0., 1., 1., -1.];
    let (mut h0, mut h1) = (Vec::new(), Vec::new());
    for z in &inputs {
        let h: Vec<f64> = dense.iter().map(|row| SCALE * row.iter().zip(z).map(|(a, b)| a * b).sum::<f64>()).collect();
        h1.extend(deconv(&relu(&h), 2, &first, 1.0));
        h0.extend(h);
    }
    close(&h0, &[0.4, 0.8, -0.4, 1.2, 0.8, -0.4, 0.4, 0.4], 1e-15, "h0");
    assert_eq!(h1.iter().filter(|&&value| value < 0.0).count(), 1);

    let shape = |size: usize| Geometry {
        kind: LayerKind::Deconv,
        kernel: [4, 4],
        stride: [2, 2],
        padding: [1, 1],
        input: [size, size, 1],
        output: [2 * size, 2 * size, 1],
    };
    let layer = |size: usize, weights, activations: &[f64], derivative: Option<Vec<f64>>| ConeLayer {
        geometry: shape(size),
        weights,
        scale: vec![SCALE; 4 * size * size],
        bias_scale: BETA,
        activations: Cow::Owned(relu(activations)),
        derivative: derivative.map(Cow::Owned),
    };
    let layers = vec![layer(2, &first, &h0, Some(step(&h1))), layer(4, &second, &h1, None)];
    let chain = Chain::new(2, layers, Some(Cow::Owned(step(&h0)))).expect("a chain");
    let plan = ConePlan::whole(&[shape(2), shape(4)]).expect("a plan");
    let factor: Vec<f64> = (0..4)
        .map(|i| SCALE * SCALE * inputs[i / 2].iter().zip(&inputs[i % 2]).map(|(a, b)| a * b).sum::<f64>())
        .collect();

    let sums = traced(&plan, &chain, None);
    let below = |pair: usize| sums.input[pair] * (factor[pair] + BETA * BETA);
    let total = sums.total();
    let whole: Vec<f64> = (0..4).map(|pair| total[pair] + below(pair)).collect();
    close(&whole, &[109.145_344, 88.392_448, 88.392_448, 91.059_456], 1e-14, "traced");
    let parts = [
        sums.input[0] * factor[0],
        sums.input[0] * BETA * BETA,
        sums.weights[0][0],
        sums.bias[0][0],
        sums.weights[1][0],
        sums.bias[1][0],
    ];
    close(&parts, &[3.383_296, 7.612_416, 8.093_696, 22.6368, 44.379_136, 23.04], 1e-14, "traced parts");

    let cotangents = ConeCotangents::new(&plan, &chain);
    let pixel = 3 * 8 + 4;
    let delta = cotangents.scatter(pixel..pixel + 1);
    close(&delta, &[0.64, 0.16, 0.0, 0.8, 0.64, 0.0, 0.16, 0.8], 1e-15, "delta0");

    let mut kernels = vec![vec![0.0; 128 * 128]; 6];
    let [weights0, bias0, weights1, bias1, weights2, bias2] = &mut kernels[..] else { unreachable!() };
    let buffers = PartBuffers { layers: vec![[weights1, bias1], [weights2, bias2]], input: Some([weights0, bias0]) };
    let term = InputTerm { factor: &factor, bias: BETA * BETA };
    full(&cotangents, None, Some(term), Target::Parts(buffers));
    let mut sum = vec![0.0; 128 * 128];
    full(&cotangents, None, Some(term), Target::Sum(&mut sum));
    let expected = [
        ([0, 3, 4], [0, 3, 4], [0.172_032, 0.387_072, 0.172_032, 0.5184, 1.610_752, 0.36], 3.220_288),
        ([0, 3, 4], [0, 2, 5], [0.028_672, 0.064_512, 0.049_152, 0.1728, 0.0, 0.36], 0.675_136),
        ([0, 3, 4], [1, 3, 4], [0.167_936, 0.377_856, 0.06144, 0.5184, 1.240_064, 0.36], 2.725_696),
        ([0, 3, 4], [1, 6, 6], [0.008_192, 0.018_432, 0.004_096, 0.1728, 0.0, 0.36], 0.56352),
        ([0, 3, 4], [0, 0, 0], [0.016_384, 0.036_864, 0.0, 0.1728, 0.0, 0.36], 0.586_048),
    ];
    for (a, b, parts, whole) in expected {
        let row = |[n, y, x]: [usize; 3]| n * 64 + y * 8 + x;
        for at in [row(a) * 128 + row(b), row(b) * 128 + row(a)] {
            let found: Vec<f64> = kernels.iter().map(|kernel| kernel[at]).collect();
            close(&found, &parts, 1e-14, "parts");
            close(&[sum[at]], &[whole], 1e-14, "sum");
        }
    }
}
