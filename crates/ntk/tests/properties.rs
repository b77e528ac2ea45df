//! What holds for every kernel.

use burn::tensor::DType;
use fintan_config::Shape;
use fintan_net::{PlacedNetwork, Placement};
use fintan_ntk::{Entries, KernelParts, Method};

use crate::support::{backends, compute, difference, far, list, network, problem, random_network};
use fintan_testing::networks::{normal, rng};

/// As a matrix over rows (n, o).
fn matrix(kernel: &KernelParts) -> (usize, Vec<f64>) {
    let ([n, m], o) = (kernel.samples, kernel.outputs);
    let values = list(&kernel.total());
    let at = |r: usize, s: usize| ((r / o * m + s / o) * o + r % o) * o + s % o;
    let rows = (0..n * o).flat_map(|r| (0..m * o).map(move |s| at(r, s))).map(|i| values[i]).collect();
    (n * o, rows)
}

#[test]
fn kernels_are_symmetric_and_positive() {
    for seed in 0..30 {
        let placement = &backends()[0];
        let (network, [x, _]) = random_network(seed, placement);
        let (rows, k) = matrix(&compute(Method::Structured, &problem(&network, &x, None, Entries::Full)));
        let trace: f64 = (0..rows).map(|i| k[i * rows + i]).sum();
        for i in 0..rows {
            for j in 0..rows {
                let (a, b) = (k[i * rows + j], k[j * rows + i]);
                // `<=`: a norm of one value leaves a kernel of zeros.
                assert!((a - b).abs() <= 1e-12 * trace, "seed {seed}: {a} and {b}");
            }
        }
        // vᵀ Θ v = |Jᵀ v|² for any v.
        for draw in 0..20 {
            let v: Vec<f64> = normal([rows], &mut rng(draw), placement).into_data().iter::<f64>().collect();
            let form: f64 = (0..rows * rows).map(|i| v[i / rows] * k[i] * v[i % rows]).sum();
            assert!(form >= -1e-12 * trace, "seed {seed}: {form:e}");
        }
    }
}

/// Θ(x1, x2) = Θ(x2, x1)ᵀ.
#[test]
fn sides_can_be_exchanged() {
    for seed in 0..20 {
        let placement = &backends()[0];
        let (network, [x1, x2]) = random_network(seed, placement);
        let there = compute(Method::Structured, &problem(&network, &x1, Some(&x2), Entries::Full));
        let back = compute(Method::Structured, &problem(&network, &x2, Some(&x1), Entries::Full));
        let ((rows, a), (columns, b)) = (matrix(&there), matrix(&back));
        let turned: Vec<f64> = (0..rows * columns).map(|i| b[i % columns * rows + i / columns]).collect();
        let largest = a.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        assert!(far(&a, &turned) <= 1e-12 * largest, "seed {seed}");
    }
}

#[test]
fn traced_and_diagonal_kernels_are_those_of_the_full_one() {
    for seed in 0..20 {
        let placement = &backends()[0];
        let (network, [x1, x2]) = random_network(seed, placement);
        let get = |entries| compute(Method::Structured, &problem(&network, &x1, Some(&x2), entries));
        let (full, traced, diagonal) = (get(Entries::Full), get(Entries::Traced), get(Entries::Diagonal));
        let o = full.outputs;
        for (part, (f, (t, d))) in full.parts.iter().zip(traced.parts.iter().zip(&diagonal.parts)).enumerate() {
            for pair in 0..6 {
                let entries: Vec<f64> = (0..o).map(|i| f.values.at((pair * o + i) * o + i)).collect();
                let sum: f64 = entries.iter().sum();
                assert!((sum - t.values.at(pair)).abs() < 1e-11 * (1.0 + sum.abs()), "seed {seed}, part {part}");
                assert!(
                    far(&entries, &list(&d.values)[pair * o..(pair + 1) * o]) < 1e-11 * (1.0 + sum.abs()),
                    "seed {seed}"
                );
            }
        }
    }
}

/// f32 stays within 1e-5 of f64, of the largest entry.
#[test]
fn single_precision_is_close_to_double() {
    for seed in 0..30 {
        for double in backends() {
            let (network, [x, _]) = random_network(seed, &double);
            let single = Placement { dtype: DType::F32, ..double.clone() };
            for entries in [Entries::Full, Entries::Traced] {
                let exact = compute(Method::Structured, &problem(&network, &x, None, entries));
                let rounded = problem(&network.moved(&single), &x.clone().cast(DType::F32), None, entries);
                let off = difference(&compute(Method::Structured, &rounded), &exact);
                assert!(off < 1e-5, "seed {seed}: {off:e}\n{:?}", network.architecture());
            }
        }
    }
}

/// An affine-free batch norm after the last nonlinearity leaves the constant mode to the last bias: the mean entry of the
/// Gram matrix of one output is β², at any depth, width and parameters.
#[test]
fn batch_norm_after_the_last_nonlinearity_pins_the_constant_mode() {
    for (depth, beta) in [(1, 0.3), (3, 0.3), (5, 0.1)] {
        let placement = &backends()[0];
        let block =
            r#"{"dense":{"out":24}},{"activation":{"function":"relu"}},{"batch_norm":{"affine":false,"eps":0.1}},"#;
        let layers = format!(r#"[{}{{"dense":{{"out":2}}}}]"#, block.repeat(depth));
        let network = network(Shape::vector(6), &layers, &format!(r#"{{"ntk":{{"beta":{beta}}}}}"#), placement);
        let x = normal([7, 1, 1, 6], &mut rng(1), placement);
        let kernel = compute(Method::Structured, &problem(&network, &x, None, Entries::Full));
        let total = list(&kernel.total());
        for (o, p, want) in [(0, 0, beta * beta), (1, 1, beta * beta), (0, 1, 0.0)] {
            let mean = (0..49).map(|pair| total[(pair * 2 + o) * 2 + p]).sum::<f64>() / 49.0;
            assert!((mean - want).abs() < 1e-12, "depth {depth}, outputs {o} and {p}: {mean}");
        }
    }
}

/// The last layer's weights see no pair of positions whose distance the stride does not divide; its bias gives β² there.
#[test]
fn last_layer_of_a_deconvolution_is_ultrametric() {
    let layers = r#"[{"dense":{"out":48}},{"reshape":{"channels":3,"height":4,"width":4}},{"activation":{"function":"relu"}},
        {"deconv":{"out":1,"kernel":4,"stride":2,"padding":1}}]"#;
    let placement = &backends()[0];
    let network: PlacedNetwork = network(Shape::vector(5), layers, r#"{"ntk":{"beta":0.2}}"#, placement);
    let x = normal([2, 1, 1, 5], &mut rng(1), placement);
    let kernel = compute(Method::Structured, &problem(&network, &x, None, Entries::Full));
    let [weights, biases] = [&kernel.parts[2], &kernel.parts[3]].map(|part| list(&part.values));
    let mut apart = 0;
    for pair in 0..4 {
        for p in 0..64_usize {
            for q in 0..64_usize {
                let at = (pair * 64 + p) * 64 + q;
                assert!((biases[at] - 0.04).abs() < 1e-14);
                if (p / 8).abs_diff(q / 8) % 2 == 1 || (p % 8).abs_diff(q % 8) % 2 == 1 {
                    assert_eq!(weights[at], 0.0);
                    apart += 1;
                }
            }
        }
    }
    assert!(apart > 0 && difference(&kernel, &kernel) == 0.0);
}
