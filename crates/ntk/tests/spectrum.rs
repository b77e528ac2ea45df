//! Eigenvalues, formed and not.

use burn::tensor::Tensor;
use fintan_config::Shape;
use fintan_ntk::{
    Entries, KernelPart, KernelParts, KernelPlan, KernelValues, Method, Operator, PlanError, Spectrum, SpectrumError,
    SymmetricOperator, Trace, extreme_eigenpairs, largest_eigenpairs,
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

/// A matrix with given eigenvalues, in a basis of reflections.
struct Dense {
    rows: usize,
    matrix: Vec<f64>,
}

impl Dense {
    fn of(eigenvalues: &[f64]) -> Self {
        let rows = eigenvalues.len();
        let mut matrix = vec![0.0; rows * rows];
        for (i, value) in eigenvalues.iter().enumerate() {
            matrix[i * (rows + 1)] = *value;
        }
        for turn in 0..3 {
            let u: Vec<f64> = (0..rows).map(|i| ((5 * i + 3 * turn) % 7) as f64 - 2.5).collect();
            let square: f64 = u.iter().map(|u| u * u).sum();
            let reflection = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / square;
            let product = |a: &dyn Fn(usize, usize) -> f64, b: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
                (0..rows * rows).map(|at| (0..rows).map(|k| a(at / rows, k) * b(k, at % rows)).sum()).collect()
            };
            let half = product(&|i, j| matrix[i * rows + j], &reflection);
            matrix = product(&reflection, &|i, j| half[i * rows + j]);
        }
        Self { rows, matrix }
    }
}

impl SymmetricOperator for Dense {
    fn rows(&self) -> usize {
        self.rows
    }

    fn times(&self, v: &[f64]) -> Vec<f64> {
        self.matrix.chunks(self.rows).map(|row| row.iter().zip(v).map(|(a, v)| a * v).sum()).collect()
    }
}

/// Both ends of an indefinite spectrum, with eigenvalues that are repeated, and of a negative one.
#[test]
fn both_ends_of_a_spectrum_are_found() {
    let mixed: Vec<f64> = (0..60).map(|i| [3.0, -5.0, 0.5, -0.5, 1.0, 0.0][i % 6] / (1 + i / 12) as f64).collect();
    let negative: Vec<f64> = (0..60).map(|i| -1.0 - f64::from(i / 2)).collect();
    let zero = vec![0.0; 60];
    for eigenvalues in [mixed, negative, zero] {
        let operator = Dense::of(&eigenvalues);
        let mut sorted = eigenvalues.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let whole = Spectrum::of(&operator.matrix, 60).expect("finite");
        assert!(whole.values.iter().zip(&sorted).all(|(a, b)| (a - b).abs() < 1e-12 * 30.0), "the matrix is as meant");
        for [top, bottom] in [[4, 3], [1, 0], [0, 2], [40, 40]] {
            let found = extreme_eigenpairs(&operator, [top, bottom], 1e-8, 1000, 1).expect("converges");
            let wanted: Vec<f64> = if top + bottom > 60 {
                sorted.clone()
            } else {
                sorted[..top].iter().chain(&sorted[60 - bottom..]).copied().collect()
            };
            assert_eq!(found.values.len(), wanted.len());
            for (a, b) in found.values.iter().zip(&wanted) {
                assert!((a - b).abs() < 1e-8 * 30.0, "{top} and {bottom}: {a} and {b}");
            }
            let estimate = Trace::estimate(&operator, &found, 200, 3);
            let (trace, error) = (sorted.iter().sum::<f64>(), estimate.standard_error);
            assert!((estimate.value - trace).abs() <= 5.0 * error + 1e-6, "{estimate:?} and {trace}");
        }
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
