//! Kernels in files: tiles that are damaged or of another plan, kernels and inputs that no network could have.

use std::path::Path;

use fintan_artifact::{Array, ArrayValues, read_arrays, write_npz};
use serde_json::Value;

use crate::kernels::said;
use crate::support::{config, files, folder, run, succeed};

/// What is done to a plan that was sound.
type PlanChange<'a> = &'a dyn Fn(&mut Value);

const NETWORK: &str = r"
[network]
input = 5
parametrization.ntk.beta = 0.3
fc = { widths = [8] }
outputs = 2
";

/// Changes arrays by their names: none leaves one out.
type Change<'a> = &'a dyn Fn(&str, Array<'static>) -> Option<(String, Array<'static>)>;

fn rewrite(path: &Path, change: Change) {
    let arrays = read_arrays(path).expect("arrays");
    let changed: Vec<(String, Array)> = arrays.into_iter().filter_map(|(name, array)| change(&name, array)).collect();
    let named: Vec<(&str, Array)> = changed.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
    write_npz(path, &named).expect("written");
}

/// The weights of the first layer as other numbers.
fn first(change: fn(Vec<f64>) -> Array<'static>) -> impl Fn(&str, Array<'static>) -> Option<(String, Array<'static>)> {
    move |name, array| Some((name.into(), if name == "0.weight" { change(array.to_f64()) } else { array }))
}

fn list(values: Vec<f64>) -> Array<'static> {
    Array::f64(&[values.len()], values)
}

/// Longer arrays were merged to a wrong kernel, shorter ones and those of another type ended in a panic.
#[test]
fn a_tile_that_is_not_of_its_plan_is_named() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, NETWORK).display().to_string();
    let plain = ["ntk", &path, "-n", "5", "--tile-samples", "2", "--device", "flex", "--quiet", "--out", "k.npz"];
    let tile = at.join("k.npz.tiles").join("000001.npz");
    let changes: [(&str, Change); 8] = [
        (
            "array `0.weight` of tile 1 must have shape [4], got [3]",
            &first(|mut v| {
                v.truncate(3);
                list(v)
            }),
        ),
        (
            "array `0.weight` of tile 1 must have shape [4], got [5]",
            &first(|mut v| {
                v.push(7.0);
                list(v)
            }),
        ),
        ("array `0.weight` of tile 1 must have shape [4], got [2, 2]", &first(|v| Array::f64(&[2, 2], v))),
        (
            "array `0.weight` of tile 1 must be float64, got float32",
            &first(|v| Array::f32(&[v.len()], v.iter().map(|&v| v as f32).collect::<Vec<_>>())),
        ),
        ("array `0.weight` of tile 1 must be float64, got int64", &first(|v| Array::integers(0..v.len()))),
        (
            "array `0.weight` of tile 1 holds a value that is not finite",
            &first(|mut v| {
                v[2] = f64::NAN;
                list(v)
            }),
        ),
        ("must hold the parts", &|name, array| (name != "1.bias").then(|| (name.into(), array))),
        ("must hold the parts", &|name, array| Some((name.replace("1.bias", "2.bias"), array))),
    ];
    for (words, change) in changes {
        succeed(at, &[&plain[..], &["--tiles", "0..6"]].concat());
        rewrite(&tile, change);
        let before = files(at);
        for args in [&["ntk", "merge", "k.npz.tiles", "--out", "merged.npz"][..], &plain] {
            let (code, stdout, stderr) = run(at, args);
            let named = said(&stderr, words) && stderr.contains("000001.npz");
            assert!(code == 2 && stdout.is_empty() && named, "{args:?}: {stderr}");
            assert!(files(at) == before, "{args:?}: nothing is written or lost");
        }
        // What helps is what the message says.
        std::fs::remove_file(&tile).expect("removed");
        succeed(at, &plain);
        std::fs::remove_file(at.join("k.npz")).expect("removed");
    }
}

/// The scaled kernel was NaN with exit code 0.
#[test]
fn a_tile_that_no_kernel_could_have_is_named() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, NETWORK).display().to_string();
    let plain = ["ntk", &path, "-n", "5", "--tile-samples", "2", "--device", "flex", "--quiet", "--out", "k.npz"];
    let negative: Change = &first(|mut v| {
        v[3] = -1e300;
        list(v)
    });
    let unknown: Change = &|name, array| {
        let mut values = array.to_f64();
        values[2] = f64::NAN;
        Some((name.into(), Array::f64(&array.shape, values)))
    };
    for (file, words, change) in [
        ("000002.npz", "array `0.weight` of tile 2 holds a value below 0 on the diagonal", negative),
        ("inputs.npz", "array `inputs` holds a value that is not finite", unknown),
    ] {
        succeed(at, &[&plain[..], &["--tiles", "0..6"]].concat());
        rewrite(&at.join("k.npz.tiles").join(file), change);
        let (code, stdout, stderr) = run(at, &["ntk", "merge", "k.npz.tiles", "--out", "merged.npz"]);
        assert!(code == 2 && stdout.is_empty() && said(&stderr, words) && stderr.contains(file), "{stderr}");
        std::fs::remove_dir_all(at.join("k.npz.tiles")).expect("removed");
    }
}

/// What a plan says of sizes is checked before anything of them is made.
#[test]
fn a_plan_that_contradicts_itself_is_named() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, NETWORK).display().to_string();
    let args = ["ntk", &path, "-n", "5", "--tile-samples", "2", "--device", "flex", "--quiet", "--out", "k.npz"];
    succeed(at, &[&args[..], &["--tiles", "0..6"]].concat());
    let tiles = at.join("k.npz.tiles");
    let merge = || run(at, &["ntk", "merge", "k.npz.tiles", "--out", "merged.npz"]);
    let plan = std::fs::read(tiles.join("plan.json")).expect("a plan");
    let changes: [(&str, PlanChange); 7] = [
        ("do not cover the kernel", &|plan| plan["samples"] = [6, 6].into()),
        ("do not cover the kernel", &|plan| plan["tiles"][0][0] = [0, 3].into()),
        ("do not cover the kernel", &|plan| drop(plan["tiles"].as_array_mut().expect("tiles").pop())),
        ("as many rows as columns", &|plan| plan["samples"] = [5, 4].into()),
        ("no kernel has", &|plan| plan["samples"] = [u64::MAX, u64::MAX].into()),
        ("no kernel has", &|plan| plan["parts"] = Value::Array(Vec::new())),
        ("must be full, traced or diagonal, got \"whole\"", &|plan| plan["entries"] = "whole".into()),
    ];
    for (words, change) in changes {
        let mut changed: Value = serde_json::from_slice(&plan).expect("JSON");
        change(&mut changed);
        std::fs::write(tiles.join("plan.json"), changed.to_string()).expect("written");
        let (code, _, stderr) = merge();
        assert!(code == 2 && said(&stderr, words) && stderr.contains("plan.json"), "{words}: {stderr}");
    }
    std::fs::write(tiles.join("plan.json"), &plan).expect("written");
    let inputs = tiles.join("inputs.npz");
    rewrite(&inputs, &|name, array| Some((name.into(), Array::f64(&[4, 5], array.to_f64()[..20].to_vec()))));
    let (code, _, stderr) = merge();
    assert!(code == 2 && said(&stderr, "array `inputs` must hold 5 samples, got shape [4, 5]"), "{stderr}");
    assert!(!at.join("merged.npz").exists());
}

/// Kernels that `theory --compare` reads have the shape that follows from their inputs and outputs.
#[test]
fn a_kernel_to_compare_with_fits_its_inputs() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, NETWORK).display().to_string();
    let kernel = at.join("k.npz");
    let compare = |change: Change| {
        succeed(at, &["ntk", &path, "-n", "4", "--device", "flex", "--quiet", "--out", "k.npz"]);
        rewrite(&kernel, change);
        let answer = run(at, &["theory", &path, "--compare", "k.npz", "--out", "theory"]);
        std::fs::remove_file(&kernel).expect("removed");
        let _ = std::fs::remove_dir_all(at.join("theory"));
        answer
    };
    let (code, _, stderr) = compare(&|name, array| Some((name.into(), array)));
    assert_eq!(code, 0, "{stderr}");
    let reshaped = |wanted: &'static str, shape: &'static [usize]| {
        move |name: &str, mut array: Array<'static>| {
            if name == wanted {
                array.shape = shape.to_vec();
            }
            Some((name.to_owned(), array))
        }
    };
    let spoiled = |wanted: &'static str, value: f64| {
        move |name: &str, array: Array<'static>| {
            let mut values = array.to_f64();
            if name == wanted {
                values[0] = value;
            }
            Some((name.to_owned(), Array { values: ArrayValues::F64(values.into()), ..array }))
        }
    };
    let changes: [(&str, Change); 6] = [
        ("does not fit its 4 x 4 inputs and 2 outputs", &reshaped("ntk", &[2, 8])),
        ("does not fit its 4 x 4 inputs", &reshaped("ntk", &[16])),
        ("array `ntk` holds a value that is not finite", &spoiled("ntk", f64::NAN)),
        ("array `inputs` holds a value that is not finite", &spoiled("inputs", f64::INFINITY)),
        ("made for another network", &spoiled("outputs", 0.5)),
        ("made for another network", &spoiled("outputs", -1.0)),
    ];
    for (words, change) in changes {
        let (code, _, stderr) = compare(change);
        assert!(code == 2 && said(&stderr, words), "{words}: {stderr}");
    }
}

/// Single precision ends at 3.4e38: the message says where it did, not that something may be wrong.
#[test]
fn overflow_is_placed_and_double_precision_advised() {
    let folder = folder();
    let at = folder.path();
    let deep = r#"
[network]
input = 5
parametrization.ntk.beta = 0.0
layers = [
    { dense = { out = 8 } },
    { activation = { function = "identity", gain = 1e20 } },
    { dense = { out = 8 } },
    { activation = { function = "identity", gain = 1e20 } },
    { dense = { out = 2 } },
]
"#;
    let inputs = |value: f64| {
        write_npz(&at.join("x.npz"), &[("x", Array::f64(&[3, 5], vec![value; 15]))]).expect("written");
    };
    for (text, value, words) in [
        (NETWORK, 3e38, "the output of layer 0 (`dense`) overflows f32"),
        (NETWORK, 1e20, "sums of products of derivatives overflow f32"),
        // Outputs of 1e10, derivatives of 1e40.
        (deep, 1e-30, "derivatives of the outputs in the input of layer 1 (`activation`) overflow f32"),
    ] {
        let path = config(at, text).display().to_string();
        inputs(value);
        let base = ["ntk", &path, "--inputs", "x.npz:x", "--device", "flex", "--out", "k.npz"];
        let ways: [&[&str]; 5] =
            [&[], &["--entries", "full"], &["--entries", "diagonal"], &["--tile-samples", "1"], &["--top", "2"]];
        for more in ways {
            let (code, stdout, stderr) = run(at, &[&base[..], more].concat());
            let told = said(&stderr, words) && said(&stderr, "`--f64` computes in double precision");
            assert!(code == 1 && stdout.is_empty() && told, "{words}, {more:?}: {stderr}");
            assert!(!at.join("k.npz").exists());
            let _ = std::fs::remove_dir_all(at.join("k.npz.tiles"));
        }
        let (code, _, stderr) = run(at, &[&base[..], &["--f64"]].concat());
        assert_eq!(code, 0, "{words}: {stderr}");
        std::fs::remove_file(at.join("k.npz")).expect("removed");
    }
    let path = config(at, NETWORK).display().to_string();
    inputs(1e39);
    let base = ["ntk", &path, "--inputs", "x.npz:x", "--device", "flex", "--out", "k.npz"];
    let (code, _, stderr) = run(at, &base);
    assert!(
        code == 2 && said(&stderr, "sample 0 holds 1e39, which is too large for f32; `--f64` takes it"),
        "{stderr}"
    );
    succeed(at, &[&base[..], &["--f64"]].concat());
}

/// The trace was estimated where it is cheap, and eigenvalues were 109 % of it.
#[test]
fn shares_of_the_trace_never_exceed_the_whole() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, NETWORK).display().to_string();
    let top = |path: &str, args: &[&str]| -> Value {
        let all = [&["ntk", path, "--device", "flex", "--out", "top.npz", "--json"], args].concat();
        serde_json::from_str(&succeed(at, &all)).expect("JSON")
    };
    let numbers = |found: &Value| -> Vec<f64> {
        found.as_array().expect("a list").iter().map(|share| share.as_f64().expect("a number")).collect()
    };
    let formed: Value = {
        let args = ["ntk", &path, "-n", "6", "--entries", "full", "--device", "flex", "--out", "k.npz", "--json"];
        serde_json::from_str(&succeed(at, &args)).expect("JSON")
    };
    for count in ["3", "12"] {
        let found = top(&path, &["-n", "6", "--top", count]);
        let (trace, whole) = (found["trace"].as_f64().expect("a trace"), formed["trace"].as_f64().expect("a trace"));
        assert!((trace - whole).abs() < 1e-5 * whole, "{trace} and {whole}");
        assert_eq!(found["trace_is_exact"], true);
        let shares = numbers(&found["shares"]);
        assert!(shares.len() == count.parse::<usize>().expect("a number"));
        let sum: f64 = shares.iter().sum();
        assert!(sum <= 1.0 + 1e-12 && (count != "12" || sum > 1.0 - 1e-12), "{count}: {sum}");
        assert!(numbers(&found["share_standard_errors"]).iter().all(|error| *error == 0.0));
    }
    // Too many rows for an exact trace: every share has an error, and what is known of the trace is part of it.
    let wide = at.join("wide.toml");
    std::fs::write(&wide, NETWORK.replace("outputs = 2", "outputs = 9000")).expect("written");
    let wide = wide.display().to_string();
    let found = top(&wide, &["-n", "2", "--top", "2"]);
    assert_eq!(found["trace_is_exact"], false);
    let [shares, errors] = ["shares", "share_standard_errors"].map(|key| numbers(&found[key]));
    assert!(errors.iter().all(|error| *error > 0.0) && shares.iter().sum::<f64>() <= 1.0, "{found}");
    let args = ["ntk", &wide, "-n", "2", "--device", "flex", "--out", "k.npz", "--json"];
    let traced: Value = serde_json::from_str(&succeed(at, &args)).expect("JSON");
    let [trace, error, whole] = [&found["trace"], &found["trace_standard_error"], &traced["trace"]]
        .map(|number| number.as_f64().expect("a number"));
    assert!((trace - whole).abs() < 8.0 * error, "{trace} ± {error}, {whole}");
}
