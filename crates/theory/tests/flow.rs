//! Training in the kernel regime against explicit steps.

use fintan_theory::{Flow, Time};

use crate::support::near;

const N: usize = 6;

/// A positive kernel of N training and 2 test inputs, outputs and targets of 2 features.
fn problem() -> (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>) {
    let feature = |i: usize, j: usize| ((i * 7 + j * 3) as f64 * 0.37).sin();
    let kernel = |a: usize, b: usize| (0..9).map(|j| feature(a, j) * feature(b, j)).sum::<f64>();
    let gram = (0..N * N).map(|i| kernel(i / N, i % N)).collect();
    let test = (0..2 * N).map(|i| kernel(N + i / N, i % N)).collect();
    let values = |seed: usize, n: usize| (0..n).map(|i| ((seed + i) as f64 * 1.7).cos()).collect::<Vec<f64>>();
    (gram, test, values(1, 2 * N), values(5, 2 * N), values(9, 4))
}

/// Gradient descent on functions: f ← f - η/N Θ (f - y), f* ← f* - η/N Θ* (f - y).
fn descend(steps: u64, rate: f64) -> (Vec<f64>, Vec<f64>) {
    let (gram, test, mut f, y, mut g) = problem();
    for _ in 0..steps {
        let error: Vec<f64> = f.iter().zip(&y).map(|(f, y)| f - y).collect();
        let pull = |kernel: &[f64], row: usize, k: usize| -> f64 {
            (0..N).map(|j| kernel[row * N + j] * error[2 * j + k]).sum::<f64>() * rate / N as f64
        };
        for (i, f) in f.iter_mut().enumerate() {
            *f -= pull(&gram, i / 2, i % 2);
        }
        for (i, g) in g.iter_mut().enumerate() {
            *g -= pull(&test, i / 2, i % 2);
        }
    }
    (f, g)
}

#[test]
fn steps_are_those_of_gradient_descent_and_small_ones_are_the_flow() {
    let (gram, test, f, y, g) = problem();
    let flow = Flow::new(&gram, N, N).expect("sound");
    assert!(flow.eigenvalues().windows(2).all(|pair| pair[0] >= pair[1]));
    let rate = 0.4 * flow.largest_rate();
    for count in [0, 1, 7, 60] {
        let (train, other) = descend(count, rate);
        let time = Time::Steps { rate, count };
        for (got, want) in flow.train(&f, &y, time).expect("fits").iter().zip(&train) {
            near(*got, *want, 1e-11, "train");
        }
        for (got, want) in flow.test(&test, &g, &f, &y, time).expect("fits").iter().zip(&other) {
            near(*got, *want, 1e-11, "test");
        }
    }
    let (fine, other) = descend(20_000, 1e-4);
    for (got, want) in flow.train(&f, &y, Time::Flow(2.0)).expect("fits").iter().zip(&fine) {
        near(*got, *want, 1e-3, "flow, train");
    }
    for (got, want) in flow.test(&test, &g, &f, &y, Time::Flow(2.0)).expect("fits").iter().zip(&other) {
        near(*got, *want, 1e-3, "flow, test");
    }
}

/// A kernel between outputs too, block diagonal, is that of each output.
#[test]
fn kernels_between_outputs_are_the_same_flow() {
    let (gram, _, f, y, _) = problem();
    let both: Vec<f64> = (0..4 * N * N)
        .map(|i| {
            let (row, column) = (i / (2 * N), i % (2 * N));
            if row % 2 == column % 2 { gram[row / 2 * N + column / 2] } else { 0.0 }
        })
        .collect();
    let (one, all) = (Flow::new(&gram, N, N).expect("sound"), Flow::new(&both, 2 * N, N).expect("sound"));
    let time = Time::Steps { rate: 0.3, count: 9 };
    let (a, b) = (one.train(&f, &y, time).expect("fits"), all.train(&f, &y, time).expect("fits"));
    for (a, b) in a.iter().zip(&b) {
        near(*a, *b, 1e-12, "blocks");
    }
}

#[test]
fn a_null_direction_stays_and_shapes_are_checked() {
    let flow = Flow::new(&[1.0, 1.0, 1.0, 1.0], 2, 2).expect("sound");
    let moved = flow.train(&[1.0, 0.0], &[0.0, 0.0], Time::Flow(1e3)).expect("fits");
    near(moved[0], 0.5, 1e-12, "the mean is learnt");
    near(moved[1], -0.5, 1e-12, "the difference stays");
    let test = flow.test(&[1.0, 1.0], &[3.0], &[1.0, 1.0], &[0.0, 0.0], Time::Flow(1e3)).expect("fits");
    near(test[0], 2.0, 1e-9, "test");
    assert!(Flow::new(&[1.0; 3], 2, 2).is_err());
    assert!(Flow::new(&[1.0, f64::NAN, 0.0, 1.0], 2, 2).is_err());
    assert!(flow.train(&[1.0; 3], &[0.0; 3], Time::Flow(1.0)).is_err());
}

/// `(1 - e^{-tλ}) / λ` and its like of steps, where 1 - e^{-tλ} alone would lose half the digits.
#[test]
fn slow_modes_keep_their_digits() {
    for rate in [1e-12, 1e-8, 3e-8, 1e-6] {
        let flow = Flow::new(&[rate], 1, 1).expect("sound");
        let moved = |time| flow.test(&[1.0], &[0.0], &[0.0], &[1.0], time).expect("fits")[0];
        near(moved(Time::Flow(1.0)), 1.0 - rate / 2.0 + rate * rate / 6.0, 4e-16, "flow");
        // Two steps of one half: 1 - (1 - λ/2)² = λ (1 - λ/4).
        near(moved(Time::Steps { rate: 0.5, count: 2 }), 1.0 - rate / 4.0, 4e-16, "steps");
    }
}
