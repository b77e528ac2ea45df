//! The closed form of checkerboards against an eigendecomposition.

use faer::linalg::solvers::SelfAdjointEigen;
use faer::{Mat, Side};
use fintan_theory::Ultrametric;

use crate::support::{generator, graph, near, normalized_relu, standardized_relu};

/// On a torus of 16 x 16 positions every pair has a valuation and there is no border.
#[test]
fn eigenvalues_on_a_torus_are_the_closed_form() {
    for sigma in [standardized_relu(), normalized_relu()] {
        for beta in [0.1, 0.5] {
            let kernel = Ultrametric::of(&generator(sigma, 2, graph(beta)), [1.0; 3]).expect("ultrametric");
            let class = |p: usize, q: usize| {
                if p == q {
                    return 3;
                }
                let distance = (p / 16).abs_diff(q / 16) | (p % 16).abs_diff(q % 16);
                distance.trailing_zeros().min(2) as usize
            };
            let matrix = Mat::from_fn(256, 256, |p, q| kernel.ntk[class(p, q)]);
            let eigen = SelfAdjointEigen::new(matrix.as_ref(), Side::Lower).expect("finite");
            let mut wanted: Vec<f64> =
                kernel.spectrum().iter().flat_map(|&(value, count)| std::iter::repeat_n(value, count)).collect();
            wanted.sort_by(f64::total_cmp);
            assert_eq!(wanted.len(), 256);
            for (i, want) in wanted.iter().enumerate() {
                near(eigen.S().column_vector()[i], *want, 1e-10 * wanted[255], &format!("{sigma:?} {beta} {i}"));
            }
        }
    }
}
