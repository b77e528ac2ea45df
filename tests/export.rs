//! `fintan export`: the folder says everything that its images follow from.

use std::path::Path;
use std::process::Command;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_artifact::{Array, read_arrays, write_npz};
use fintan_config::{Architecture, Description, Function, Layer, Parametrization, Shape};
use fintan_net::weights::{Tensors, read_safetensors, write_safetensors};
use fintan_net::{Lowering, Mode, PlacedNetwork, Placement, channels_first, channels_last};
use fintan_train::{Purpose, stream};
use serde_json::Value;

use fintan_testing::networks::golden;

use crate::support::{TINY, config, files, folder, run, succeed};

fn exported(folder: &Path, flags: &[&str]) {
    config(folder, &TINY.replace("steps = 100", "steps = 10"));
    succeed(folder, &[&["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"], flags].concat());
    succeed(folder, &["export", "a", "--out", "out", "--device", "flex", "--quiet"]);
}

/// Maps of one sample: `[channel][row][column]`.
type Maps = Vec<Vec<Vec<f64>>>;

/// A layer by its definition, from what the JSON says and nothing else: loops over pixels and taps.
fn layer(entry: &Value, tensors: &Tensors, x: &Maps) -> Maps {
    let number = |value: &Value| value.as_f64().expect("a number");
    let count = |value: &Value| value.as_u64().expect("a count") as usize;
    let tensor = |name: String| tensors[&name].iter::<f64>().collect::<Vec<_>>();
    let pair = |value: &Value| [count(&value[0]), count(&value[1])];
    let each = |f: &dyn Fn(usize, f64) -> f64| -> Maps {
        let map =
            |(c, map): (usize, &Vec<Vec<f64>>)| map.iter().map(|row| row.iter().map(|&v| f(c, v)).collect()).collect();
        x.iter().enumerate().map(map).collect()
    };
    let (kind, settings) = entry["layer"].as_object().expect("a layer").iter().next().expect("one kind");
    match kind.as_str() {
        "deconv" => {
            let (weight, bias) =
                (tensor(format!("{}.weight", entry["parameters"])), tensor(format!("{}.bias", entry["parameters"])));
            let ([kh, kw], [sh, sw], [ph, pw]) =
                (pair(&settings["kernel"]), pair(&settings["stride"]), pair(&settings["padding"]));
            let out = &entry["output"];
            let [channels, height, width] = ["channels", "height", "width"].map(|key| count(&out[key]));
            let mut y = vec![vec![vec![0.0; width]; height]; channels];
            for (ci, map) in x.iter().enumerate() {
                for (r, row) in map.iter().enumerate() {
                    for (c, value) in row.iter().enumerate() {
                        for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
                            let (Some(p), Some(q)) = ((r * sh + i).checked_sub(ph), (c * sw + j).checked_sub(pw))
                            else {
                                continue;
                            };
                            if p < height && q < width {
                                for (co, map) in y.iter_mut().enumerate() {
                                    // [in, out, rows, columns]
                                    map[p][q] += weight[((ci * channels + co) * kh + i) * kw + j] * value;
                                }
                            }
                        }
                    }
                }
            }
            for (co, map) in y.iter_mut().enumerate() {
                for (p, row) in map.iter_mut().enumerate() {
                    for (q, v) in row.iter_mut().enumerate() {
                        let scale = entry.get("weight_scale").unwrap_or(&entry["weight_scale_map"][p][q]);
                        *v = number(scale) * *v + number(&entry["bias_scale"]) * bias[co];
                    }
                }
            }
            y
        }
        "batch_norm" => {
            let tensor = |name: &str| tensor(format!("running.{}.{name}", entry["running"]));
            let (mean, variance) = (tensor("mean"), tensor("variance"));
            let affine =
                |name: &str| tensors[&format!("{}.{name}", entry["parameters"])].iter::<f64>().collect::<Vec<_>>();
            let (scale, shift) = (affine("weight"), affine("bias"));
            let eps = number(&settings["eps"]);
            each(&|c, v| scale[c] * (v - mean[c]) / (variance[c] + eps).sqrt() + shift[c])
        }
        "activation" => {
            let (centre, scale, gain) = (number(&entry["centre"]), number(&entry["scale"]), number(&settings["gain"]));
            let f: fn(f64) -> f64 = match settings["function"].as_str().expect("a name") {
                "relu" => |v| v.max(0.0),
                "tanh" => f64::tanh,
                other => panic!("{other}"),
            };
            each(&|_, v| (f(gain * v) - centre) / scale)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn images_follow_from_the_exported_files_by_loops() {
    for flags in [
        &[][..],
        &["--set", "generator.parametrization.graph.beta=0.3"],
        &["--set", "generator.parametrization.standard.init=he"],
        &["--set", "generator.dcgan.activation={ function = \"relu\", scaling = \"normalized\" }"],
    ] {
        let folder = folder();
        exported(folder.path(), flags);
        let out = folder.path().join("out");
        let names: Vec<String> = files(&out).iter().map(|(name, _)| name.display().to_string()).collect();
        assert_eq!(names, ["generator.json", "generator.py", "generator.safetensors", "samples.npz"]);
        let described: Value =
            serde_json::from_slice(&std::fs::read(out.join("generator.json")).expect("read")).expect("JSON");
        assert_eq!((&described["format"], &described["version"]), (&"fintan.architecture".into(), &1.into()));
        let tensors =
            read_safetensors(&std::fs::read(out.join("generator.safetensors")).expect("read")).expect("whole");
        let layers = described["layers"].as_array().expect("layers");
        assert_eq!(layers.iter().filter(|l| l["layer"]["batch_norm"].is_object()).count(), 2);
        assert!(tensors.contains_key("running.1.variance"));
        let [(_, images), (_, latents)] = read_arrays(&out.join("samples.npz"))
            .map(|mut all| {
                all.sort_by(|a, b| a.0.cmp(&b.0));
                all
            })
            .expect("read")
            .try_into()
            .expect("two");
        assert_eq!((images.shape.as_slice(), latents.shape.as_slice()), (&[16, 1, 8, 8][..], &[16, 6][..]));
        for (latent, image) in latents.to_f64().chunks_exact(6).zip(images.to_f64().chunks_exact(64)) {
            let input: Maps = latent.iter().map(|&v| vec![vec![v]]).collect();
            let found = layers.iter().fold(input, |x, entry| layer(entry, &tensors, &x));
            for (found, wanted) in found.iter().flatten().flatten().zip(image) {
                assert!((found - wanted).abs() < 2e-5, "{flags:?}: {found} and {wanted}");
            }
        }
    }
}

#[test]
fn an_export_is_read_back() {
    let folder = folder();
    exported(folder.path(), &[]);
    let flags = ["-n", "12", "--device", "flex", "--quiet"];
    let drawn = |path: &str| succeed(folder.path(), &[&["sample", path][..], &flags].concat()).trim().to_owned();
    let bytes = |path: &str| std::fs::read(folder.path().join(path)).expect("a picture");
    let (of_run, of_export) = (drawn("a"), drawn("out"));
    assert!(bytes(&of_run) == bytes(&of_export), "{of_run} and {of_export}");
    // As weights of the configuration it came from.
    let kernel = |args: &[&str], name: &str| {
        let common = ["-n", "3", "--bn", "running", "--device", "flex", "--quiet", "--out", name];
        succeed(folder.path(), &[&["ntk"], args, &common[..]].concat());
        let arrays = read_arrays(&folder.path().join(name)).expect("a kernel");
        arrays.into_iter().find(|(name, _)| name == "ntk").expect("a kernel").1
    };
    let weights = ["tiny.toml", "--weights", "out/generator.safetensors"];
    assert_eq!(kernel(&weights, "exported.npz"), kernel(&["a"], "run.npz"));
}

#[test]
fn nothing_is_overwritten_and_damage_is_named() {
    let folder = folder();
    exported(folder.path(), &[]);
    let said = |args: &[&str]| {
        let (code, stdout, stderr) = run(folder.path(), args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ")
    };
    assert!(said(&["export", "a", "--out", "out"]).contains("`out` exists already"));
    assert!(said(&["export", "out", "--out", "other"]).contains("is an exported folder already"));
    assert!(said(&["export", "a", "--out", "other", "--step", "3"]).contains("no checkpoint of step 3"));
    assert!(said(&["sample", "out", "--step", "3"]).contains("--step belongs to a run"));
    assert!(!folder.path().join("other").exists());
    let path = folder.path().join("out/generator.json");
    let text = std::fs::read_to_string(&path).expect("read");
    let spoil = |from: &str, to: &str| {
        assert!(text.contains(from));
        std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
        said(&["sample", "out"])
    };
    assert!(spoil("\"version\": 1", "\"version\": 2").contains("`version` is 2; this program reads up to 1"));
    assert!(spoil("\"bias_scale\": 0.1", "\"bias_scale\": 0.2").contains("`layers[0].bias_scale` is not what follows"));
    assert!(spoil("\"stride\"", "\"strides\"").contains("unknown field `strides`"));
    std::fs::write(&path, &text).expect("written");
    let weights = folder.path().join("out/generator.safetensors");
    let mut tensors = read_safetensors(&std::fs::read(&weights).expect("read")).expect("whole");
    tensors.remove("running.1.variance");
    std::fs::write(&weights, write_safetensors(&tensors)).expect("written");
    assert!(said(&["sample", "out"]).contains("tensor `running.1.variance`, running statistics"));
}

/// The loader in every layer there is, by NumPy and, where it is there, by PyTorch.
#[test]
fn the_loader_computes_what_the_network_does() {
    let python = |script: &str, folder: &Path| {
        Command::new("python3").args(["-B", "-c", script]).current_dir(folder).output().ok()
    };
    let folder = folder();
    let placement = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
    if !python("import numpy", folder.path()).is_some_and(|output| output.status.success()) {
        eprintln!("skipped: no python3 with NumPy");
        return;
    }
    let mut cases: Vec<(Architecture, Tensors)> =
        golden().into_iter().map(|case| (case.architecture, case.tensors)).collect();
    // Frames and pools of every kind, which no golden case has.
    let framed: Vec<Layer> = ["zero", "periodic", "symmetric"]
        .iter()
        .flat_map(|mode| {
            [
                serde_json::json!({ "pad": { "before": [1, 2], "after": [3, 0], "mode": mode } }),
                serde_json::json!({ "conv": { "out": 3, "kernel": [3, 2] } }),
                serde_json::json!({ "activation": { "function": "tanh" } }),
            ]
        })
        .map(|layer| serde_json::from_value(layer).expect("a layer"))
        .collect();
    let pool = |count: bool| serde_json::json!({ "avg_pool": { "window": [2, 3], "stride": [1, 2], "padding": [1, 2], "count_padding": count } });
    let framed: Vec<Layer> = [serde_json::json!({ "upsample": { "factor": [1, 4] } }), pool(true), pool(false)]
        .into_iter()
        .map(|layer| serde_json::from_value(layer).expect("a layer"))
        .chain(framed)
        .collect();
    let framed = Architecture::new(Shape::image(2, 4, 5), &framed, Parametrization::default()).expect("sound");
    let x: Vec<f64> = (0..2 * 40).map(|i| f64::from(i * i % 37) / 20.0 - 0.8).collect();
    let drawn = PlacedNetwork::init(&framed, &mut stream(2, Purpose::Generator, 0), &placement);
    let mut tensors = drawn.to_tensors();
    tensors.insert("x".into(), TensorData::new(x, [2, 2, 4, 5]));
    cases.push((framed, tensors));
    for (k, (architecture, tensors)) in cases.iter().enumerate() {
        let drawn = PlacedNetwork::init(architecture, &mut stream(1, Purpose::Generator, 0), &placement);
        let network = drawn.load(tensors).and_then(|loaded| loaded.in_mode(Mode::Train)).expect("fits");
        let Shape { channels, height, width } = architecture.input;
        let x: Vec<f64> = tensors["x"].iter().collect();
        let n = x.len() / architecture.input.len();
        let shape = [n, channels, height, width];
        let batch =
            channels_last(Tensor::<4>::from_data(TensorData::new(x.clone(), shape), (&placement.device, DType::F64)));
        // Running statistics that are not those of a new network.
        let (_, tape) = network.forward(batch.clone(), Mode::Train);
        let network = network.absorb_statistics(&tape);
        let y: Vec<f64> = channels_first(network.forward(batch, Mode::Eval).0).into_data().iter().collect();
        let out = folder.path().join(format!("case{k}"));
        std::fs::create_dir(&out).expect("made");
        let loader = include_str!("../crates/fintan/generator.py");
        std::fs::write(out.join("generator.py"), loader).expect("written");
        std::fs::write(out.join("generator.safetensors"), write_safetensors(&network.to_tensors())).expect("written");
        let described = serde_json::to_vec(&Description::of(architecture)).expect("JSON");
        std::fs::write(out.join("generator.json"), described).expect("written");
        let (input, output) = (architecture.input.len(), architecture.output().len());
        let arrays = [("x", Array::f64(&[n, input], x)), ("y", Array::f64(&[n, output], y))];
        write_npz(&out.join("case.npz"), &arrays).expect("written");
    }
    let script = "
import glob, importlib.util, numpy as np
for folder in sorted(glob.glob('case*')):
    spec = importlib.util.spec_from_file_location('generator', folder + '/generator.py')
    g = importlib.util.module_from_spec(spec); spec.loader.exec_module(g)
    case = np.load(folder + '/case.npz')
    n = len(case['x'])
    found = [g.generate(case['x'], folder)]
    if g.torch is not None:
        with g.torch.no_grad(): found.append(g.Generator(folder)(g.torch.tensor(case['x'])).numpy())
    for y in found:
        off = np.abs(y.reshape(n, -1) - case['y']).max() / np.abs(case['y']).max()
        assert off < 1e-10, (folder, off)
print('all', 'numpy and torch' if g.torch is not None else 'numpy')
";
    let output = python(script, folder.path()).expect("python3 starts");
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.starts_with("all numpy"), "{told}{wrong}");
}

#[test]
fn the_loader_has_every_nonlinearity_by_numpy_and_by_torch() {
    let loader = include_str!("../crates/fintan/generator.py");
    let table =
        loader.split_once("\nFUNCTIONS = {\n").and_then(|(_, rest)| rest.split_once("\n}\n")).expect("a table").0;
    let entries: Vec<&str> = table.split("\n    \"").collect();
    assert_eq!(entries.len(), Function::ALL.len());
    for function in Function::ALL {
        let name = format!("{}\": (", function.name());
        let entry = entries.iter().find(|entry| entry.trim_start_matches("    \"").starts_with(&name));
        let lambdas = entry.map_or(0, |entry| entry.matches("lambda x, slope: ").count());
        assert_eq!(lambdas, 2, "`{}`", function.name());
    }
}
