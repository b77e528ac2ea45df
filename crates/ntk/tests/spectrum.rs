//! Eigenvalues, formed and not.

use burn::tensor::Tensor;
use fintan_config::Shape;
use fintan_ntk::{
    Entries, KernelPart, KernelParts, KernelPlan, KernelValues, Method, Operator, PlanError, SpectrumError, Trace,
    largest_eigenpairs,
};

use crate::support::{backends, compute, list, network, problem, random_network};
use fintan_testing::networks::{normal, rng};

fn traced(n: usize, values: Vec<f64>) -> KernelParts {
    let part = KernelPart { name: "ntk".into(), values: KernelValues::F64(values) };
    KernelParts { entries: Entries::Traced, samples: [n, n], outputs: 1, parts: vec![part] }
}

/// Order and chaos in their purest form: a constant has one mode, a delta all of them.
#[test]
fn effective_rank_and_condition_number_tell_a_constant_from_a_delta() {
    let n = 6;
    let delta = traced(n, (0..n * n).map(|i| if i % (n + 1) == 0 { 2.5 } else { 0.0 }).collect());
    let spectrum = delta.spectrum(&delta.total()).expect("symmetric");
    assert!((spectrum.effective_rank() - 6.0).abs() < 1e-12);
    assert!((spectrum.condition_number().expect("all alike") - 1.0).abs() < 1e-12);
    let constant = traced(n, vec![0.7; n * n]);
    let spectrum = constant.spectrum(&constant.total()).expect("symmetric");
    assert!((spectrum.values[0] - 0.7 * 6.0).abs() < 1e-12);
    assert!((spectrum.effective_rank() - 1.0).abs() < 1e-9);
    assert_eq!(spectrum.condition_number(), None);
    // (1 + 3 δ) / 4: the edge of chaos of a ReLU network; eigenvalues (n + 3) / 4 and 3 / 4.
    let edge = traced(n, (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.25 }).collect());
    let spectrum = edge.spectrum(&edge.total()).expect("symmetric");
    assert!((spectrum.condition_number().expect("positive") - 3.0).abs() < 1e-12);
}

#[test]
fn eigenpairs_of_a_kernel_never_formed_are_those_of_the_formed_one() {
    for seed in 0..25 {
        let placement = &backends()[0];
        let (network, [x, _]) = random_network(seed, placement);
        let problem = problem(&network, &x, None, Entries::Full);
        let kernel = compute(Method::Structured, &problem);
        let formed = kernel.spectrum(&kernel.total()).expect("symmetric");
        let alone = kernel.eigenvalues(&kernel.total()).expect("symmetric").values;
        assert_eq!(alone.len(), formed.values.len());
        for (a, b) in alone.iter().zip(&formed.values) {
            assert!((a - b).abs() <= 1e-12 * formed.values[0], "{a} and {b}");
        }
        if formed.values[0] == 0.0 {
            continue;
        }
        assert!(formed.residuals.iter().all(|r| *r < 1e-12));
        let trace = kernel.trace(&kernel.total());
        assert!((formed.values.iter().sum::<f64>() - trace).abs() < 1e-11 * trace);
        let operator = Operator::new(&problem);
        let found = largest_eigenpairs(&operator, 3, 1e-9, 1000, 1).expect("converges");
        for (i, value) in found.values.iter().enumerate() {
            let off = (value - formed.values[i]).abs() / formed.values[0];
            assert!(
                off < 1e-9 && found.residuals[i] < 1e-9,
                "seed {seed}, pair {i}: {off:e}, {:e}",
                found.residuals[i]
            );
        }
        let exact = Trace::exact(&problem, &found, f64::INFINITY).expect("no bound");
        assert!((exact.value - trace).abs() < 1e-11 * trace && exact.standard_error == 0.0, "seed {seed}: {exact:?}");
        let estimate = Trace::estimate(&operator, &found, 400, 2);
        let (value, error) = (estimate.value, estimate.standard_error);
        assert!((value - trace).abs() <= 5.0 * error + 1e-11 * trace, "seed {seed}: {value} ± {error}, {trace}");
        // What is not found is never negative: shares stay below the whole whatever is drawn.
        assert!(value >= found.values.iter().sum::<f64>(), "seed {seed}");
    }
}

/// Θ v of the operator is the matrix times v.
#[test]
fn products_with_a_kernel_never_formed_are_exact() {
    for seed in 0..15 {
        let placement = &backends()[0];
        let (network, [x, _]) = random_network(seed, placement);
        let problem = problem(&network, &x, None, Entries::Full);
        let kernel = compute(Method::JacobianContraction, &problem);
        let (matrix, [rows, _]) = kernel.matrix(&kernel.total()).expect("full");
        let v: Vec<f64> = (0..rows).map(|i| ((7 * i + 3) % 11) as f64 - 5.0).collect();
        let largest = list(&kernel.total()).iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
        for (row, product) in Operator::new(&problem).times(&v).iter().enumerate() {
            let want: f64 = (0..rows).map(|j| matrix[row * rows + j] * v[j]).sum();
            assert!((product - want).abs() <= 1e-10 * largest * rows as f64, "seed {seed}");
        }
    }
}

/// A plan never takes more than it may, takes tiles rather than give up, and says what it needs if it must.
#[test]
fn plans_stay_within_their_memory() {
    for seed in 0..25 {
        let placement = &backends()[0];
        let (network, [x, _]) = random_network(seed, placement);
        for entries in [Entries::Full, Entries::Traced, Entries::Diagonal] {
            let problem = problem(&network, &x, None, entries);
            for method in crate::support::METHODS {
                let free = KernelPlan::new(&problem, Some(method), f64::INFINITY).expect("no bound");
                assert_eq!(free.tiles.len(), 1);
                let mut memory = free.bytes;
                loop {
                    match KernelPlan::new(&problem, Some(method), memory) {
                        Ok(plan) => {
                            assert!(plan.bytes <= memory, "seed {seed}");
                            let [some, all] = [plan.tile, free.tile];
                            assert!(some.outputs <= all.outputs && some.samples <= all.samples);
                            memory = plan.bytes * 0.9;
                        }
                        Err(PlanError::Memory { needed, .. }) => {
                            assert!(needed.0 > memory, "seed {seed}");
                            KernelPlan::new(&problem, Some(method), needed.0).expect("what it says it needs is enough");
                            break;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
    }
}

/// In little memory samples go through the network in pieces, and vectors are counted; the products are the same.
#[test]
fn products_in_pieces_are_those_of_the_whole() {
    let mut in_pieces = 0;
    for seed in 0..15 {
        let placement = &backends()[0];
        let (network, [x, _]) = random_network(seed, placement);
        let problem = problem(&network, &x, None, Entries::Full);
        let whole = Operator::new(&problem);
        let v: Vec<f64> = (0..whole.rows()).map(|i| ((7 * i + 3) % 11) as f64 - 5.0).collect();
        let want = whole.times(&v);
        let largest = want.iter().fold(1e-300_f64, |m, x| m.max(x.abs()));
        let Err(PlanError::Eigenpairs { needed, .. }) = Operator::within(&problem, 2, 1e6) else {
            panic!("a program takes more than a megabyte")
        };
        let least = Operator::within(&problem, 2, needed.0 * (1.0 + 1e-12)).expect("what it says it needs is enough");
        assert!(least.vectors() >= 2, "{}", least.vectors());
        let off = least.times(&v).iter().zip(&want).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(off <= 1e-12 * largest, "seed {seed}: {off:e}");
        in_pieces += usize::from(least.samples() < problem.samples()[0]);
        let enough = Operator::within(&problem, 2, 1e10).expect("ten gigabytes");
        assert_eq!(enough.times(&v), want);
    }
    assert!(in_pieces > 0);
    // An iteration that has no memory left says after how many products.
    let (network, [x, _]) = random_network(0, &backends()[0]);
    let problem = problem(&network, &x, None, Entries::Full);
    let operator = Operator::new(&problem);
    match largest_eigenpairs(&operator, 2, 1e-300, 3, 1) {
        Err(SpectrumError::NotConverged { products: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// An eigenvalue of several eigenvectors is given as often as it is there, or not at all: however early an iteration must end.
#[test]
fn eigenpairs_are_confirmed_or_not_given() {
    let placement = &backends()[0];
    let network = network(Shape::vector(20), r#"[{"dense":{"out":6}}]"#, r#"{"ntk":{"beta":0.1}}"#, placement);
    let x = normal([50, 1, 1, 20], &mut rng(4), placement);
    let problem = problem(&network, &x, None, Entries::Full);
    let kernel = compute(Method::Structured, &problem);
    let formed = kernel.spectrum(&kernel.total()).expect("symmetric").values;
    assert!((formed[3] - formed[0]).abs() < 1e-9 * formed[0], "six outputs, six copies of every eigenvalue");
    let operator = Operator::new(&problem);
    let (mut given, mut refused) = (0, 0);
    for products in (8..300).step_by(3) {
        match largest_eigenpairs(&operator, 4, 1e-6, products, 1) {
            Ok(found) => {
                given += 1;
                for (value, want) in found.values.iter().zip(&formed) {
                    assert!((value - want).abs() < 1e-5 * formed[0], "{products} products: {:?}", found.values);
                }
            }
            Err(SpectrumError::NotConverged { .. } | SpectrumError::NotConfirmed { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(given > 0 && refused > 0, "{given} and {refused}");
}

/// A large second side, a small first one: plans count both.
#[test]
fn plans_count_both_sides() {
    let placement = &backends()[0];
    let layers = r#"[{"dense":{"out":64}},{"batch_norm":{}},{"activation":{"function":"relu"}},{"dense":{"out":2}}]"#;
    let network = network(Shape::vector(8), layers, r#"{"ntk":{"beta":0.1}}"#, placement);
    let [few, many] = [2, 90].map(|n| normal([n, 1, 1, 8], &mut rng(n as u64), placement));
    let bytes = |x1: &Tensor<4>, x2: &Tensor<4>| {
        let problem = problem(&network, x1, Some(x2), Entries::Traced);
        KernelPlan::new(&problem, Some(Method::Structured), f64::INFINITY).expect("no bound").bytes
    };
    // The cotangents of 90 samples, 2 outputs, over a batch of 90, in f64.
    let cotangents = 8.0 * 90.0 * 2.0 * 90.0 * 64.0;
    assert!(bytes(&few, &many) > 64e6 + cotangents && bytes(&many, &few) > 64e6 + cotangents);
}
