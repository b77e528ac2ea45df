//! Laws that moments follow whatever is drawn, and those that they follow on average.

use burn::tensor::DType;
use fintan_config::Unit;
use fintan_moments::summary::{Statistics, fits, rows};
use fintan_moments::{Batch, MomentsPlan, Pool, Realisation};

use fintan_testing::networks::experiment;

use crate::support::{flex, placements, realise};

fn deep(unit: &str, depth: usize, width: usize, rest: &str) -> String {
    format!(
        "[network]\ninput = 12\n{unit} = {{ depth = {depth}, width = {width} }}\n[moments]\nbatch = 16\nevery = 1\n{rest}"
    )
}

#[test]
fn increments_are_products_and_ranks_are_within_their_bounds() {
    for unit in ["bn_ff", "bn_res"] {
        let experiment = experiment(&deep(unit, 6, 24, "rank_locs = [\"loc1\", \"loc2\", \"loc3\", \"loc4\"]"));
        let done = realise(&experiment, 3);
        let [entered, normed] = ["loc1", if unit == "bn_ff" { "loc3" } else { "loc2" }];
        for realisation in &done {
            let at = |l: usize, loc: &str| {
                let found = realisation.records.iter().find(|r| r.depth == l && r.loc == loc);
                found.expect("measured").all.log_sensitivity
            };
            for l in 1..=6 {
                let whole = (at(l, "loc4") - at(l, entered)).exp();
                let parts = (at(l, normed) - at(l, entered)).exp() * (at(l, "loc4") - at(l, normed)).exp();
                assert!((whole / parts - 1.0).abs() < 1e-12);
            }
            for record in &realisation.records {
                for rank in
                    [record.reff_signal, record.reff_noise, record.pr_signal, record.pr_noise].into_iter().flatten()
                {
                    assert!((1.0 - 1e-9..=15.0 + 1e-9).contains(&rank), "{rank}");
                }
            }
        }
        let rows = rows(&done, experiment.settings.network.deep_preset().map(|(unit, _)| unit));
        assert!(rows.iter().any(|row| row.quantity == "delta_bn" && row.depth == 6));
    }
}

#[test]
fn the_scale_of_the_weights_does_not_matter_where_it_should_not() {
    let chi = |unit: &str, variance: f64, rest: &str| -> Vec<f64> {
        let text = deep(unit, 8, 16, rest)
            .replace("[moments]", &format!("parametrization.standard.init.variance = {variance}\n[moments]"));
        let experiment = experiment(&text);
        let plan = MomentsPlan::new(&experiment).expect("[moments]");
        let found = plan.realise(0, None, &flex(DType::F64)).expect("inputs");
        found.records.iter().map(|r| r.all.log_sensitivity).collect()
    };
    let agree = |a: Vec<f64>, b: Vec<f64>, tolerance: f64| {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < tolerance, "{a} {b}");
        }
    };
    // Vanilla networks of ReLUs are homogeneous, a hundred orders of magnitude away too.
    agree(chi("vanilla", 2.0, ""), chi("vanilla", 8.0, ""), 1e-6);
    agree(chi("vanilla", 2.0, ""), chi("vanilla", 2e-40, ""), 1e-6);
    let bn = |variance: f64, eps: f64| {
        let text = deep("bn_ff", 8, 16, "").replace("width = 16", &format!("width = 16, eps = {eps}"));
        let text =
            text.replace("[moments]", &format!("parametrization.standard.init.variance = {variance}\n[moments]"));
        let experiment = experiment(&text);
        let plan = MomentsPlan::new(&experiment).expect("[moments]");
        let found = plan.realise(0, None, &flex(DType::F64)).expect("inputs");
        found.records.iter().map(|r| r.all.log_sensitivity).collect::<Vec<f64>>()
    };
    agree(bn(2.0, 0.0), bn(8.0, 0.0), 1e-6);
    let differs = bn(2.0, 0.1).iter().zip(bn(8.0, 0.1)).any(|(a, b)| (a - b).abs() > 1e-3);
    assert!(differs, "with eps it does matter");
}

#[test]
fn the_size_of_the_noise_does_not_matter() {
    let experiment = experiment(&deep("bn_res", 4, 8, ""));
    let plan = MomentsPlan::new(&experiment).expect("[moments]");
    let batch = Batch::draw(plan.settings(), experiment.network.input, 0, 0, None).expect("inputs");
    let run = |batch: &Batch| {
        let mut seed = 0_u64;
        plan.propagate_signal_noise(
            0,
            batch,
            &mut |_, shape, std| {
                seed += 1;
                let values = fintan_moments::Normals::new(1, 1, fintan_moments::Drawn::Weights, seed)
                    .take(shape[0] * shape[1], std as f32);
                burn::tensor::TensorData::new(values, shape)
            },
            &flex(DType::F64),
        )
    };
    let once = run(&batch);
    let louder = Batch { noise: batch.noise.iter().map(|v| 1e30 * v).collect(), ..batch };
    for (a, b) in once.records.iter().zip(&run(&louder).records) {
        let grown = b.all.log_sensitivity - a.all.log_sensitivity;
        assert!((grown - 1e30_f64.ln()).abs() < 1e-9, "{grown}");
        assert_eq!(a.all.nu2, b.all.nu2);
    }
}

#[test]
fn a_realisation_is_the_same_alone_and_beside_others_and_nearly_on_every_device() {
    let experiment = experiment(&deep("bn_ff", 5, 20, "inputs.spectrum.exponent = 1.3"));
    let plan = MomentsPlan::new(&experiment).expect("[moments]");
    let beside = realise(&experiment, 6);
    let of = |r: &Realisation| serde_json::to_string(r).expect("JSON");
    for number in [0, 3, 5] {
        let alone = plan.realise(number, None, &flex(DType::F32)).expect("inputs");
        assert_eq!(of(&alone), of(&beside[number as usize]));
    }
    assert_ne!(beside[0].records, beside[1].records);
    for placement in placements(DType::F64) {
        let other = plan.realise(3, None, &placement).expect("inputs");
        for (a, b) in other.records.iter().zip(&beside[3].records) {
            assert!((a.all.log_sensitivity - b.all.log_sensitivity).abs() < 1e-4);
        }
    }
}

/// Section 2, item 3 of the digest: the logarithms diffuse, `5/N` of variance a layer.
#[test]
fn logarithms_of_vanilla_networks_diffuse_as_predicted() {
    let text = "[network]\ninput = 64\nvanilla = { depth = 100, width = 64 }\n\
                [moments]\nbatch = 32\ndepths = [50, 100]\nlocs = [\"loc3\"]\n";
    let experiment = experiment(text);
    let done = realise(&experiment, 400);
    assert!(done.iter().all(|r| r.dead.is_none()));
    let fits = fits(&done, Unit::Vanilla, 1);
    assert_eq!(fits.between, Some((50, 100)));
    let n = 64.0_f64;
    let check = |what: &str, found: Option<fintan_moments::summary::Estimate>, expected: f64| {
        let found = found.expect("fitted");
        let away = (found.value - expected).abs() / found.standard_error;
        assert!(away < 4.0, "{what}: {} ± {} for {expected}", found.value, found.standard_error);
        assert!(found.standard_error < 0.25 * expected.abs(), "{what}: known to {}", found.standard_error);
    };
    check("mean", fits.log_nu2_mean, -2.5 / n - 4.1 / n.powi(2));
    check("variance", fits.log_nu2_variance, 5.0 / n + 18.5 / n.powi(2));
}

/// The first increment of Gaussian values is √(π/(π-1)), with or without batch norm.
#[test]
fn first_increments_are_those_of_gaussian_values() {
    let text = |unit: &str| {
        format!(
            "[network]\ninput = 256\n{unit} = {{ depth = 1, width = 256 }}\n[moments]\nbatch = 128\nlocs = [\"loc1\", \"loc2\", \"loc3\", \"loc4\"]\n"
        )
    };
    let expected = (std::f64::consts::PI / (std::f64::consts::PI - 1.0)).sqrt();
    let experiment = experiment(&text("bn_ff"));
    let rows = rows(&realise(&experiment, 40), Some(Unit::BnFf));
    let Statistics { mean, standard_error, .. } =
        rows.iter().find(|row| row.quantity == "delta_phi").expect("measured").statistics;
    assert!((mean - expected).abs() < 4.0 * standard_error + 2e-3, "{mean} ± {standard_error}");
}

#[test]
fn dead_layers_are_told_and_not_averaged() {
    // Three channels, fifty layers: most of these networks die.
    let experiment = experiment(&deep("vanilla", 50, 2, ""));
    let done = realise(&experiment, 8);
    let dead: Vec<&Realisation> = done.iter().filter(|r| r.dead.is_some()).collect();
    assert!(dead.len() >= 6, "{} died", dead.len());
    for realisation in &dead {
        let death = realisation.dead.as_ref().expect("dead");
        assert!(!death.reason.is_empty() && death.depth <= 50);
        assert!(realisation.records.iter().all(|r| r.all.log_sensitivity.is_finite() && r.depth <= death.depth));
    }
    let rows = rows(&done, Some(Unit::Vanilla));
    assert!(rows.iter().all(|row| row.statistics.n == done.len() - dead.len() && row.statistics.mean.is_finite()));
}

#[test]
fn constant_channels_are_refused_or_left_out() {
    let shape = fintan_config::Shape::vector(12);
    let values: Vec<f32> = (0..12 * 40).map(|i| if i % 12 == 5 { 0.1 } else { ((i * 7919) % 101) as f32 }).collect();
    let pool = Pool { values, shape };
    let run = |rest: &str| {
        let experiment = experiment(&deep("vanilla", 3, 16, rest));
        MomentsPlan::new(&experiment).expect("[moments]").realise(0, Some(&pool), &flex(DType::F32))
    };
    let refused = run("").expect_err("a constant channel").to_string();
    assert!(refused.contains("1 of 12 input channels") && refused.contains("channel 5"), "{refused}");
    let done = run("drop_constant = true").expect("left out");
    assert!(done.records.iter().all(|r| r.all.log_sensitivity.is_finite()));
    // Linear up to its first nonlinearity, on average: χ of the embedding is 1 if noise and signal lost the same channels.
    let log = done.records[0].all.log_sensitivity;
    assert!(log.abs() < 0.5, "{log}");
    let few = Pool { values: pool.values[..12 * 8].to_vec(), shape };
    assert!(few.check(16).expect_err("too few").to_string().contains("holds 8 inputs"));
    let mut broken = pool.clone();
    broken.values[30] = f32::NAN;
    assert!(broken.check(16).expect_err("NaN").to_string().contains("input 2"));
}

/// γ of fully connected networks with batch norm: 0.2064 ± 0.0014 over realisations (computed from the results published with
/// arXiv 1811.03087, CIFAR-10, B = 64, N = 512, layers 100 to 200).
#[test]
fn batch_norm_makes_the_sensitivity_explode_at_the_published_rate() {
    let text = "[network]\ninput = 3072\nbn_ff = { depth = 200, width = 512 }\n\
                [moments]\ninputs.spectrum.exponent = 1.3\ndepths = [100, 200]\n";
    let experiment = experiment(text);
    let done = realise(&experiment, 8);
    let gamma = fits(&done, Unit::BnFf, 1).gamma.expect("fitted");
    assert!((gamma.value - 0.2064).abs() < 0.003, "{} ± {}", gamma.value, gamma.standard_error);
    assert!(gamma.standard_error < 0.001, "{}", gamma.standard_error);
    // The derivative through the statistics of the batch is another network: 0.1976.
    let full = text.replace("[moments]", "[moments]\nbn_noise = \"full\"");
    let gamma = fits(&realise(&fintan_testing::networks::experiment(&full), 4), Unit::BnFf, 1).gamma.expect("fitted");
    assert!((gamma.value - 0.1976).abs() < 0.003, "{} ± {}", gamma.value, gamma.standard_error);
}

/// τ of fully connected residual networks of 500 units of two layers: 0.652 (as above).
#[test]
fn residual_units_tame_the_sensitivity_to_the_published_power() {
    let text = "[network]\ninput = 3072\nbn_res = { depth = 500, width = 512 }\n\
                [moments]\ninputs.spectrum.exponent = 1.3\nevery = 10\nlocs = [\"loc1\", \"loc4\", \"loc5\"]\nranks = []\n";
    let experiment = experiment(text);
    let fits = fits(&realise(&experiment, 4), Unit::BnRes, 2);
    let tau = fits.tau.expect("fitted");
    assert!((tau.value - 0.652).abs() < 0.02, "{} ± {}", tau.value, tau.standard_error);
    assert!(tau.standard_error < 0.01, "{}", tau.standard_error);
    assert!(fits.largest_misfit.expect("fitted") < 0.1);
}
