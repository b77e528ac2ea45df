//! `fintan moments`: one measurement, however it is cut.

use std::path::Path;

use burn::tensor::DType;
use fintan_artifact::read_arrays;

use crate::devices::wgpu_at_hand;
use crate::support::{answer, config, files, fintan, folder, placements, run, succeed};

const SMALL: &str = r#"
seed = 5
[network]
input = [2, 6, 6]
bn_res = { depth = 4, width = 5, kernel = 3, padding = "symmetric", embed_stride = 2 }
[moments]
inputs.spectrum.exponent = 1.0
batch = 6
realisations = 5
every = 2
per_channel = true
"#;

fn measured(folder: &Path, name: &str, more: &[&str]) {
    succeed(folder, &[&["moments", "tiny.toml", "--device", "flex", "--quiet", "--out", name], more].concat());
}

/// Everything in a run but how long it took.
fn numbers(run: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let untimed = |path: &Path| !["env.json", "config.toml"].iter().any(|name| path.ends_with(name));
    files(run).into_iter().filter(|(path, _)| untimed(path)).collect()
}

#[test]
fn the_same_bytes_for_any_number_of_threads_and_however_it_is_cut() {
    let folder = folder();
    config(folder.path(), SMALL);
    for threads in ["1", "4"] {
        let args = ["moments", "tiny.toml", "--device", "flex", "--quiet", "--out"];
        let out = format!("threads{threads}");
        let (code, _, stderr) = answer(
            fintan(folder.path()).args(args).arg(&out).env("RAYON_NUM_THREADS", threads).output().expect("starts"),
        );
        assert_eq!(code, 0, "{stderr}");
    }
    let whole = numbers(&folder.path().join("threads1"));
    assert_eq!(whole, numbers(&folder.path().join("threads4")));
    assert!(whole.len() >= 10);

    measured(folder.path(), "first", &["--range", "0..2"]);
    measured(folder.path(), "second", &["--range", "2..5"]);
    succeed(folder.path(), &["moments", "merge", "second", "first", "--out", "merged", "--device", "flex", "--quiet"]);
    assert_eq!(whole, numbers(&folder.path().join("merged")));
    let (code, _, stderr) = run(folder.path(), &["moments", "merge", "first", "merged", "--out", "twice"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("realisation 0 stands in two of the runs"), "{stderr}");
    assert!(!folder.path().join("twice").exists());

    // A kill in the middle of a line, and on.
    let log = folder.path().join("first/log.jsonl");
    let text = std::fs::read_to_string(&log).expect("a log");
    std::fs::write(&log, &text[..text.len() - 40]).expect("written");
    measured(folder.path(), "first", &["--resume"]);
    assert_eq!(whole, numbers(&folder.path().join("first")));
    let (code, _, stderr) = run(
        folder.path(),
        &["moments", "tiny.toml", "--device", "flex", "--out", "first", "--resume", "--set", "moments.batch=7"],
    );
    assert_eq!(code, 2);
    assert!(stderr.contains("are of different configurations"), "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["moments", "tiny.toml", "--device", "flex", "--out", "first"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("exists already"), "{stderr}");
}

#[test]
fn files_hold_what_was_measured_under_the_names_of_the_field() {
    let folder = folder();
    config(folder.path(), SMALL);
    measured(folder.path(), "run", &[]);
    let run = folder.path().join("run");
    let arrays = read_arrays(&run.join("moments.npz")).expect("arrays");
    let named = |name: &str| &arrays.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no `{name}`")).1;
    assert_eq!(named("depth").to_f64(), [2.0, 4.0]);
    assert_eq!(named("res_depth").to_f64(), [2.0]);
    for name in ["nu1_abs_signal_loc2", "mu2_noise_loc5", "chi_loc1", "reff_signal_loc3", "log_chi_loc4"] {
        assert_eq!(named(name).shape, [5, 2], "{name}");
        assert!(named(name).to_f64().iter().all(|v| v.is_finite()));
    }
    let chi = named("chi_loc5").to_f64();
    let logs = named("log_chi_loc5").to_f64();
    assert!(chi.iter().zip(&logs).all(|(chi, log)| (chi.ln() - log).abs() < 1e-9));
    let csv = std::fs::read_to_string(run.join("moments.csv")).expect("a table");
    // A head, and for each realisation: the embedding and 2 x 5 points, each of all channels and of 5.
    assert_eq!(csv.lines().count(), 1 + 5 * 11 * 6);
    assert!(!csv.contains("NaN"));
    let summary = std::fs::read_to_string(run.join("summary.csv")).expect("a table");
    for quantity in ["delta_bn", "delta_phi", "sensitivity", "pr_noise", "cosine"] {
        assert!(summary.contains(&format!(",{quantity},5,")), "{quantity}");
    }
    let report = std::fs::read_to_string(run.join("report.md")).expect("a report");
    let links: Vec<&str> =
        report.split("](").skip(1).map(|rest| rest.split_once(')').expect("a link that ends").0).collect();
    assert!(links.len() >= 5);
    for file in links {
        assert!(run.join(file).is_file(), "{file}");
    }
}

#[test]
fn kernels_of_the_same_networks_stand_beside_their_moments() {
    let folder = folder();
    config(
        folder.path(),
        r#"
        [network]
        input = 8
        vanilla = { depth = 3, width = 2048, activation = { function = "erf" } }
        parametrization.standard = { init.variance = 1.5, bias_std = 0.3 }
        [moments]
        batch = 6
        realisations = 2
        ntk = { inputs = 4, realisations = 2, depths = [1, 3] }
        "#,
    );
    measured(folder.path(), "run", &[]);
    let table = std::fs::read_to_string(folder.path().join("run/ntk.csv")).expect("a table");
    let rows: Vec<Vec<f64>> = table
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|cell| cell.parse().expect("a number")).collect())
        .collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), [1.0, 3.0]);
    for row in rows {
        let [diagonal, scaled, limit_diagonal, limit_scaled] = [row[2], row[4], row[8], row[9]];
        assert!((diagonal / limit_diagonal - 1.0).abs() < 0.1, "{diagonal} {limit_diagonal}");
        assert!((scaled - limit_scaled).abs() < 0.05, "{scaled} {limit_scaled}");
    }
    // Cosines follow the map of infinite width.
    let theory = std::fs::read_to_string(folder.path().join("run/theory.csv")).expect("a table");
    let summary = std::fs::read_to_string(folder.path().join("run/summary.csv")).expect("a table");
    let last: f64 = theory.lines().last().and_then(|l| l.split(',').nth(3)).expect("cells").parse().expect("a number");
    let measured: f64 = summary
        .lines()
        .find_map(|line| line.strip_prefix("3,loc3,cosine,2,"))
        .and_then(|rest| rest.split(',').next())
        .expect("measured")
        .parse()
        .expect("a number");
    assert!((last - measured).abs() < 0.05, "{last} {measured}");
}

#[test]
fn gpus_measure_what_cpus_do() {
    if !wgpu_at_hand("moments on wgpu agree with flex") {
        return;
    }
    let folder = folder();
    config(folder.path(), SMALL);
    for device in ["flex", "wgpu:0"] {
        let out = device.replace(':', "");
        succeed(folder.path(), &["moments", "tiny.toml", "--device", device, "--out", &out, "--quiet"]);
    }
    let read = |name: &str| read_arrays(&folder.path().join(name).join("moments.npz")).expect("arrays");
    let (cpu, gpu) = (read("flex"), read("wgpu0"));
    assert_eq!(cpu.len(), gpu.len());
    for ((name, a), (_, b)) in cpu.iter().zip(&gpu) {
        for (a, b) in a.to_f64().iter().zip(b.to_f64()) {
            assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{name}: {a} {b}");
        }
    }
}

#[test]
fn what_cannot_be_measured_is_refused_by_name() {
    let folder = folder();
    let refused = |text: &str, args: &[&str]| {
        config(folder.path(), text);
        let (code, _, stderr) = run(folder.path(), &[&["moments", "tiny.toml", "--out", "never"], args].concat());
        assert_eq!(code, 2, "{stderr}");
        assert!(!folder.path().join("never").exists(), "{stderr}");
        stderr
    };
    let text = refused("[network]\ninput = 4\nvanilla = { depth = 2, width = 4 }\n", &[]);
    assert!(text.contains("has no [moments]"), "{text}");
    assert!(refused(SMALL, &["--range", "3..9"]).contains("A < B <= 5"));
    let npy = SMALL.replace("inputs.spectrum.exponent = 1.0", "inputs.npy.path = \"missing.npy\"");
    assert!(refused(&npy, &[]).contains("missing.npy"));
    let f64_on_gpu = SMALL.replace("batch = 6", "batch = 6\ndtype = \"f64\"");
    let text = refused(&f64_on_gpu, &["--device", "wgpu:7"]);
    assert!(text.contains("wgpu"), "{text}");
    let large = SMALL.replace("batch = 6", "batch = 16000000");
    let text = refused(&large, &["--device", "flex"]);
    assert!(text.contains("GB are free"), "{text}");
    // The transforms behind a spectrum grow with the square of a side, whatever the network does.
    let long = SMALL.replace("[2, 6, 6]", "[2, 1048576, 6]");
    let text = refused(&long, &["--device", "flex"]);
    assert!(text.contains("one realisation needs about"), "{text}");
    let few =
        SMALL.replace("[2, 6, 6]", "[1, 6, 6]").replace("inputs.spectrum.exponent = 1.0", "inputs.shapes.count = 5");
    let text = refused(&few, &[]);
    assert!(text.contains("`moments.batch` is 6") && text.contains("holds 5"), "{text}");
}

#[test]
fn any_network_can_be_measured_layer_by_layer() {
    let folder = folder();
    config(
        folder.path(),
        r#"
        [network]
        input = [1, 8, 8]
        layers = [
            { conv = { out = 4, kernel = 3, padding = 1 } },
            { activation = { function = "leaky_relu" } },
            { conv = { out = 4, kernel = 4, stride = 2, padding = 1 } },
            { layer_norm = {} },
            { activation = { function = "gelu" } },
            { flatten = {} },
            { dense = { out = 7 } },
        ]
        [moments]
        inputs.shapes.count = 64
        batch = 8
        realisations = 2
        "#,
    );
    measured(folder.path(), "run", &[]);
    let csv = std::fs::read_to_string(folder.path().join("run/moments.csv")).expect("a table");
    for point in ["0,1,conv,all", "0,1,activation,all", "0,2,layer_norm,all", "0,3,dense,all"] {
        assert!(csv.contains(point), "{point}\n{csv}");
    }
}

#[test]
fn dead_channels_have_no_logarithm_and_do_no_harm() {
    let folder = folder();
    // In four channels some are off for a whole batch.
    config(
        folder.path(),
        "[network]\ninput = 6\nvanilla = { depth = 6, width = 4 }\n\
         [moments]\nbatch = 4\nrealisations = 6\nper_channel = true\n",
    );
    measured(folder.path(), "run", &["--range", "0..3"]);
    measured(folder.path(), "run", &["--resume"]);
    let csv = std::fs::read_to_string(folder.path().join("run/moments.csv")).expect("a table");
    assert!(csv.lines().any(|line| line.contains(",,")), "a channel that is off has an empty cell");
    assert!(!csv.contains("NaN") && !csv.contains("inf"), "{csv}");
}

#[test]
fn parts_are_told_by_what_their_data_hold_not_where_they_lie() {
    let folder = folder();
    let values = |seed: usize| -> Vec<f32> { (0..20 * 6).map(|i| ((i * seed) % 97) as f32).collect() };
    let write = |place: &str, seed: usize| {
        let place = folder.path().join(place);
        std::fs::create_dir(&place).expect("made");
        let array = fintan_artifact::Array::f32(&[20, 6], values(seed));
        fintan_artifact::write_npz(&place.join("x.npz"), &[("x", array)]).expect("written");
        let text = "[network]\ninput = 6\nvanilla = { depth = 3, width = 32 }\n\
                    [moments]\ninputs.npy.path = \"x.npz\"\nbatch = 8\nrealisations = 4\n";
        config(&place, text);
    };
    write("a", 31);
    write("b", 31);
    write("c", 53);
    let part = |place: &str, range: &str| {
        measured(&folder.path().join(place), "part", &["--range", range]);
    };
    part("a", "0..2");
    part("b", "2..4");
    part("c", "2..4");
    // The data are not needed once realisations are measured.
    std::fs::remove_file(folder.path().join("a/x.npz")).expect("removed");
    let merge = |other: &str, out: &str| {
        run(folder.path(), &["moments", "merge", "a/part", other, "--out", out, "--device", "flex", "--quiet"])
    };
    let (code, _, stderr) = merge("b/part", "merged");
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = merge("c/part", "foreign");
    assert_eq!(code, 2);
    assert!(stderr.contains("measure different data"), "{stderr}");
    assert!(!folder.path().join("foreign").exists());
    // Realisations beyond what is asked for are not forgotten.
    let (code, _, stderr) = run(
        &folder.path().join("b"),
        &["moments", "tiny.toml", "--device", "flex", "--out", "part", "--resume", "--set", "moments.realisations=3"],
    );
    assert_eq!(code, 2);
    assert!(stderr.contains("holds realisation 3"), "{stderr}");
}

/// χ counts signal and noise over the same channels, in theory as in networks.
#[test]
fn left_out_channels_change_neither_the_sensitivity_nor_its_limit() {
    let folder = folder();
    let values: Vec<f32> = (0..64 * 8).map(|i| if i % 8 < 4 { ((i * 7919) % 1013) as f32 } else { 2.5 }).collect();
    let array = fintan_artifact::Array::f32(&[64, 8], values);
    fintan_artifact::write_npz(&folder.path().join("x.npz"), &[("x", array)]).expect("written");
    config(
        folder.path(),
        "[network]\ninput = 8\nvanilla = { depth = 2, width = 1500 }\n\
         [moments]\ninputs.npy.path = \"x.npz\"\nbatch = 32\nrealisations = 6\ndrop_constant = true\n",
    );
    measured(folder.path(), "run", &[]);
    let cell = |file: &str, start: &str, column: usize| -> f64 {
        let text = std::fs::read_to_string(folder.path().join("run").join(file)).expect("a table");
        let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in\n{text}"));
        line.split(',').nth(column).expect("a cell").parse().expect("a number")
    };
    for depth in ["1", "2"] {
        let theory = cell("theory.csv", &format!("{depth},"), 2);
        let found = cell("summary.csv", &format!("{depth},loc3,log_sensitivity,"), 4);
        assert!((theory - found).abs() < 0.1, "layer {depth}: {found} measured, {theory} at infinite width");
    }
}

/// Another program, a bad merge, an editor.
#[test]
fn lines_of_a_measurement_in_any_order_are_taken_or_named() {
    let folder = folder();
    config(
        folder.path(),
        "[network]\ninput = 6\nvanilla = { depth = 2, width = 8 }\n[moments]\nbatch = 4\nrealisations = 3\n",
    );
    measured(folder.path(), "run", &[]);
    let log = folder.path().join("run/log.jsonl");
    let text = std::fs::read_to_string(&log).expect("a log");
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let foreign = lines[1].replacen("\"loc\":\"loc2\"", "\"loc\":\"loc3\"", 1);
    let huge = lines[0].replacen("\"number\":0", &format!("\"number\":{}", u64::MAX), 1);
    assert!(foreign != lines[1] && huge != lines[0], "{text}");
    for (changed, named) in [
        (joined(&[lines[2], lines[1], lines[0]]), None),
        (joined(&[lines[2], lines[0]]), None),
        (joined(&[lines[0], lines[1], lines[0]]), Some("realisation 0 stands there twice")),
        (joined(&[lines[0], &foreign]), Some("realisation 1 has another record where `loc2` of depth 1 belongs")),
        (joined(&[&huge, lines[1]]), Some("holds realisation 18446744073709551615")),
        (joined(&["{}", lines[1]]), Some("line 1")),
    ] {
        std::fs::write(&log, changed).expect("changed");
        let args = ["moments", "tiny.toml", "--device", "flex", "--out", "run", "--resume", "--quiet"];
        let (code, _, stderr) = run(folder.path(), &args);
        let said = stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ");
        match named {
            None => assert_eq!(code, 0, "{said}"),
            Some(named) => assert!(code == 2 && said.contains(named), "{named}: {said}"),
        }
    }
}

/// The crate's own tests do so on CPUs.
#[test]
fn small_networks_have_the_moments_computed_elsewhere_on_gpus() {
    for case in fintan_testing::moments::golden() {
        for placement in placements(DType::F32) {
            case.check(&placement, 1e-5);
        }
    }
}
