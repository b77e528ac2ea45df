//! Networks with given weights, inputs and noise, whose moments were computed by `assets/golden/make_moments_cases.py`.

use burn::tensor::TensorData;
use fintan_moments::{Batch, MomentsPlan, Realisation, Record};
use fintan_net::Placement;
use serde::Deserialize;

use crate::networks::experiment;

/// A network with weights, inputs and noise, and what is expected of it.
pub struct MomentsCase {
    name: String,
    text: String,
    channels: usize,
    batch: usize,
    raw: Vec<f64>,
    noise: Vec<f64>,
    /// Weights and biases in the order in which layers take them.
    parameters: Vec<[Vec<f64>; 2]>,
    expected: Vec<Expected>,
}

/// What is expected at a point; what is left out is not known.
#[derive(Deserialize, Default, Clone)]
struct Expected {
    #[serde(default)]
    depth: usize,
    #[serde(default)]
    loc: String,
    nu1: Option<f64>,
    nu1_abs: Option<f64>,
    nu2: Option<f64>,
    mu2: Option<f64>,
    mu4: Option<f64>,
    log_mu2_noise: Option<f64>,
    log_sensitivity: Option<f64>,
    reff_signal: Option<f64>,
    reff_noise: Option<f64>,
    pr_signal: Option<f64>,
    pr_noise: Option<f64>,
    cosine: Option<f64>,
}

#[derive(Deserialize)]
struct Golden {
    unit: String,
    kernel: usize,
    padding: String,
    size: usize,
    channels: usize,
    stride: usize,
    activation: String,
    bn_noise: String,
    eps: f64,
    depth: usize,
    width: usize,
    batch: usize,
    res_depth: usize,
    raw: Vec<f64>,
    noise: Vec<f64>,
    parameters: Vec<[Vec<f64>; 2]>,
    expected: Vec<Expected>,
}

impl Golden {
    fn case(self) -> MomentsCase {
        let Self {
            unit, kernel, padding, size, channels, stride, activation, bn_noise, eps, depth, width, batch, ..
        } = self;
        let input = if size == 1 { channels.to_string() } else { format!("[{channels}, {size}, {size}]") };
        let norm = if unit == "vanilla" { String::new() } else { format!("eps = {eps}, ") };
        let res = if unit == "bn_res" { format!("res_depth = {}, ", self.res_depth) } else { String::new() };
        // Biases as large as the cases have them: a network with biases is not homogeneous.
        let bias = if self.parameters.iter().any(|[_, b]| b.iter().any(|b| *b != 0.0)) { 0.3 } else { 0.0 };
        let locs = match unit.as_str() {
            "vanilla" => r#"["loc1", "loc2", "loc3"]"#,
            "bn_ff" => r#"["loc1", "loc2", "loc3", "loc4"]"#,
            _ => r#"["loc1", "loc2", "loc3", "loc4", "loc5"]"#,
        };
        let text = format!(
            "[network]\ninput = {input}\nparametrization.standard.bias_std = {bias}\n\
             {unit} = {{ {norm}{res}depth = {depth}, width = {width}, kernel = {kernel}, padding = \"{padding}\", \
             embed_stride = {stride}, activation = {{ function = \"{activation}\" }} }}\n\
             [moments]\nbatch = {batch}\nbn_noise = \"{bn_noise}\"\nrank_locs = {locs}\n"
        );
        MomentsCase {
            name: format!("{unit} k{kernel} {padding} {activation} {bn_noise}"),
            text,
            channels,
            batch,
            raw: self.raw,
            noise: self.noise,
            parameters: self.parameters,
            expected: self.expected,
        }
    }
}

impl MomentsCase {
    fn run(&self, placement: &Placement) -> Realisation {
        let experiment = experiment(&self.text);
        let plan = MomentsPlan::new(&experiment).expect("[moments]");
        let batch = Batch::new(self.raw.clone(), self.noise.clone(), self.channels, self.batch, plan.settings(), 0)
            .expect("inputs vary");
        let mut parameters = self.parameters.iter().flatten();
        plan.propagate_signal_noise(
            0,
            &batch,
            &mut |_, shape, _| TensorData::new(parameters.next().expect("one for each").clone(), shape),
            placement,
        )
    }

    /// Compares all records with what is expected.
    ///
    /// # Panics
    /// If a value is further off than the tolerance.
    pub fn check(&self, placement: &Placement, tolerance: f64) {
        let found = self.run(placement);
        assert_eq!(found.dead, None, "{}", self.name);
        for expected in &self.expected {
            let record = found
                .records
                .iter()
                .find(|r| r.depth == expected.depth && r.loc == expected.loc)
                .unwrap_or_else(|| panic!("{}: no point {} {}", self.name, expected.depth, expected.loc));
            compare(&self.name, record, expected, tolerance);
        }
    }
}

fn compare(name: &str, record: &Record, expected: &Expected, tolerance: f64) {
    let scale = 2.0_f64.powi(record.all.bits);
    let all = &record.all;
    // Logarithms to the same relative error as what they are of; a mean relative to what it is a mean of.
    let of = [
        ("nu1", Some(scale * all.nu1), expected.nu1, expected.nu1_abs.unwrap_or(1.0)),
        ("nu1_abs", Some(scale * all.nu1_abs), expected.nu1_abs, 0.0),
        ("nu2", Some(scale.powi(2) * all.nu2), expected.nu2, 0.0),
        ("mu2", Some(scale.powi(2) * all.mu2), expected.mu2, 0.0),
        ("mu4", Some(scale.powi(4) * all.mu4), expected.mu4, 0.0),
        ("log_nu2", Some(all.log_nu2), expected.nu2.map(f64::ln), 1.0),
        ("log_mu2", Some(all.log_mu2), expected.mu2.map(f64::ln), 1.0),
        ("log_mu2_noise", Some(all.log_mu2_noise), expected.log_mu2_noise, 1.0),
        ("log_sensitivity", Some(all.log_sensitivity), expected.log_sensitivity, 1.0),
        ("reff_signal", record.reff_signal, expected.reff_signal, 0.0),
        ("reff_noise", record.reff_noise, expected.reff_noise, 0.0),
        ("pr_signal", record.pr_signal, expected.pr_signal, 0.0),
        ("pr_noise", record.pr_noise, expected.pr_noise, 0.0),
        ("cosine", record.cosine, expected.cosine, 1.0),
    ];
    for (quantity, found, expected_value, size) in of {
        let Some(expected_value) = expected_value else { continue };
        let found = found.unwrap_or_else(|| panic!("{name}: no {quantity} at {}", record.loc));
        let error = (found - expected_value).abs() / expected_value.abs().max(size);
        assert!(
            error < tolerance,
            "{name}, layer {} {}: {quantity} {found} for {expected_value}, off by {error:.1e}",
            record.depth,
            record.loc
        );
    }
}

/// The cases of `assets/golden/moments_cases.json`: noise there is a difference of two whole networks.
///
/// # Panics
/// If the file is damaged.
pub fn golden() -> Vec<MomentsCase> {
    let text = include_str!("../../../assets/golden/moments_cases.json");
    let cases: Vec<Golden> = serde_json::from_str(text).expect("golden cases");
    cases.into_iter().map(Golden::case).collect()
}
