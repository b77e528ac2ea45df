//! Against the same metrics by NumPy and SciPy, see `assets/golden/make_metric_cases.py`.

use fintan_metrics::{
    Directions, Features, Rows, Samples, frechet_distance, kernel_distance, ms_ssim, precision_recall,
    sliced_wasserstein,
};
use serde_json::Value;

fn cases(kind: &str) -> Vec<Value> {
    let text = include_str!("../../../assets/golden/metric_cases.json");
    let all: Value = serde_json::from_str(text).expect("JSON");
    all[kind].as_array().expect("cases").clone()
}

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().expect("a list").iter().map(number).collect()
}

fn number(of: &Value) -> f64 {
    of.as_f64().expect("a number")
}

fn near(name: &str, found: f64, wanted: &Value, tolerance: f64) {
    let wanted = number(wanted);
    assert!((found - wanted).abs() <= tolerance * wanted.abs().max(1.0), "{name}: {found}, by NumPy {wanted}");
}

#[test]
fn distances_between_features_are_those_of_numpy() {
    for case in cases("features") {
        let width = case["width"].as_u64().expect("a width") as usize;
        let [a, b] = ["a", "b"].map(|key| Features { values: numbers(&case[key]), width });
        near("Frechet", frechet_distance(&a, &b).expect("defined"), &case["frechet"], 1e-9);
        near("kernel", kernel_distance(&a, &b, &|_| ()).expect("defined"), &case["kernel_distance"], 1e-9);
        let found = precision_recall(&a, &b, &|_| ()).expect("defined");
        near("precision", found.precision, &case["precision"], 1e-12);
        near("recall", found.recall, &case["recall"], 1e-12);
        if case["directions"].is_null() {
            continue;
        }
        let mut directions = Directions { values: numbers(&case["directions"]), width };
        for direction in directions.values.chunks_exact_mut(width) {
            let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
            for v in direction {
                *v /= length;
            }
        }
        let [p, q] = [a, b].map(|set| set.values.iter().map(|&v| v as f32).collect::<Vec<_>>());
        let [p, q] = [&p, &q].map(|values| Rows { values, width });
        let found = sliced_wasserstein(p, &[q, p], &directions, &|_| ()).expect("defined");
        near("sliced", found[0], &case["sliced"], 1e-6);
        assert_eq!(found[1], 0.0);
    }
}

#[test]
fn metrics_of_images_are_those_of_numpy() {
    for case in cases("images") {
        let hex = case["bytes"].as_str().expect("bytes");
        let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).expect("a byte");
        let values = (0..hex.len()).step_by(2).map(|i| f32::from(byte(i)) / 127.5 - 1.0).collect();
        let [size, channels] = ["size", "channels"].map(|key| case[key].as_u64().expect("a number") as usize);
        let samples = Samples { values, size, channels };
        let found = ms_ssim(&samples, &|_| ()).expect("defined");
        near("MS-SSIM", found.value, &case["ms_ssim"], 1e-6);
        assert_eq!((found.scales as u64, found.pairs), (case["scales"].as_u64().expect("a number"), samples.len() / 2));
        if let Some(pixels) = case["pixels"].as_object() {
            let found = samples.measure();
            let found = [found.correlation, found.std, found.nyquist, found.phase2, found.phase8, found.border];
            for ((key, wanted), found) in pixels.iter().zip(found) {
                near(key, found, wanted, 1e-6);
            }
        }
    }
}
