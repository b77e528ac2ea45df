//! Kernels against those of another program, by differences of another forward pass.

use std::collections::BTreeMap;

use fintan_ntk::Entries;

use crate::support::{METHODS, backends, compute, far, list, problem};
use fintan_testing::networks::golden;

#[derive(serde::Deserialize)]
struct Golden {
    name: String,
    /// `[N, N]` for each parameter.
    traced: BTreeMap<String, Vec<f64>>,
    /// `[N · O, N · O]`, for few rows.
    full: Option<Vec<f64>>,
}

#[test]
fn golden_kernels_by_every_method_on_every_cpu_backend() {
    let text = include_str!("../../../assets/golden/kernel_cases.json");
    let kernels: Vec<Golden> = serde_json::from_str(text).expect("golden kernels");
    let cases = golden();
    assert_eq!(cases.len(), kernels.len());
    for (case, wanted) in cases.iter().zip(&kernels) {
        assert_eq!(case.name, wanted.name);
        for placement in backends() {
            let (network, x) = (case.network(&placement), case.input(&placement));
            for method in METHODS {
                let traced = compute(method, &problem(&network, &x, None, Entries::Traced));
                let largest = list(&traced.total()).iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                assert_eq!(traced.parts.len(), wanted.traced.len());
                for part in &traced.parts {
                    // What the differences of the other program are good for.
                    let off = far(&list(&part.values), &wanted.traced[&part.name]) / largest;
                    assert!(off < 2e-10, "{}, {method:?}, {}: {off:e}", case.name, part.name);
                }
                let Some(full) = &wanted.full else { continue };
                let kernel = compute(method, &problem(&network, &x, None, Entries::Full));
                let (n, o) = (kernel.samples[0], kernel.outputs);
                let by_rows = |values: &[f64]| -> Vec<f64> {
                    let at = |r: usize, s: usize| ((r / o * n + s / o) * o + r % o) * o + s % o;
                    (0..n * o).flat_map(|r| (0..n * o).map(move |s| at(r, s))).map(|i| values[i]).collect()
                };
                let off = far(&by_rows(&list(&kernel.total())), full) / largest;
                assert!(off < 2e-10, "{}, {method:?}, full: {off:e}", case.name);
            }
        }
    }
}
